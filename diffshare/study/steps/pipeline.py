"""What the grids share: the settings of a generator's training, and the steps from a mix to a tested classifier."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diffshare.errors import UserError
from diffshare.study.engine.configs import (
    below,
    flat,
    laid_over,
    merged,
    with_settings,
)
from diffshare.study.engine.step import Place, Step
from diffshare.study.steps.grid import Downstream, Reader

VERBS = "diffshare.study.steps.verbs"
MODULE = "diffshare.data.module.MixDataModule"
MIXES = "diffshare.data.mixes"
BATCH = 250  # samples a pass


class Settings:
    """The settings of a generator's ``fit``: its configs with the overrides of a study over them.

    Args:
        generator: configs, base first.
        overrides: settings, nested or dotted.
        more: settings over all others.
        where: the argument of the study that names the configs, for messages.
        needs: what their data module has to name.

    Raises:
        UserError: configs that cannot be read, or name no such data.
    """

    def __init__(
        self,
        generator: Sequence[Path],
        overrides: Mapping[str, Any] | None,
        more: Mapping[str, Any] | None,
        where: str = "study.generator",
        needs: Sequence[str] = ("source", "target"),
    ) -> None:
        self.configs = list(generator)
        self.data = data_block(generator, where, needs)
        self.config = merged(generator)
        self.more = dict(flat(more or {}))
        self.overrides = laid_over(dict(flat(overrides or {})), self.more)

    def fit(self, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Settings of a ``fit`` that has some of its own, which ``more`` is laid over as well."""
        return laid_over(laid_over(self.overrides, dict(flat(overrides or {}))), self.more)

    def of_data(self) -> dict[str, Any]:
        """Those of the data module."""
        return {name: value for name, value in self.overrides.items() if name.startswith("data.")}

    def role(self, role: str) -> str | None:
        """The attribute that is the ``target``, or the ``sensitive`` one, if any."""
        attribute = self.overrides.get(f"data.{role}", self.data.get(role))
        return None if attribute is None else str(attribute)

    def source(self, over: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The source as a block, with settings over all others."""
        block = self.overrides.get("data.source", self.data["source"])
        named = {"class_path": block} if isinstance(block, str) else block
        return with_settings(named, below("data.source.", self.overrides) | dict(flat(over or {})))

    def module(
        self,
        seed: int,
        target: str | None = None,
        source: Mapping[str, Any] | None = None,
        **init_args: Any,
    ) -> dict[str, Any]:
        """The block of a data module of the source.

        Args:
            seed: of the parts.
            target: attribute that is the class; the study's where None.
            source: settings of the source over all others.
            init_args: further ones of the module.
        """
        init = {
            "source": self.source(source),
            "target": target or self.role("target"),
            "seed": seed,
        } | init_args
        return {"class_path": MODULE, "init_args": init}

    def auxiliary(
        self, seed: int, target: str | None, records: int, source: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """The block of a data module of some auxiliary records, all of them for training."""
        mix = {"class_path": f"{MIXES}.Clean", "init_args": {"n": records}}
        return self.module(seed, target, source, part="auxiliary", validation_share=0.0, mix=mix)

    def received(self, samples: Place, seed: int) -> dict[str, Any]:
        """Settings of the receiver's data: samples, and test records of the source."""
        settings = {"data.samples": samples, "data.test_source": self.source(), "data.seed": seed}
        settings["data.test_balance"] = self.overrides.get(
            "data.test_balance", self.data.get("test_balance", False)
        )
        roles = {f"data.{role}": self.role(role) for role in ("target", "sensitive")}
        return settings | {name: role for name, role in roles.items() if role is not None}


def data_block(configs: Sequence[Path], where: str, needs: Sequence[str] = ()) -> dict[str, Any]:
    """Arguments of the data module that configs name.

    Raises:
        UserError: there is no config, or the data module does not name what it needs.
    """
    if not configs:
        raise UserError(f"{where} is empty: name at least one config file")
    block = merged(configs).get("data", {}).get("init_args")
    if not isinstance(block, dict) or not block.keys() >= set(needs):
        wanted = " and ".join(needs) or "init_args"
        raise UserError(
            f"{where}: data needs {wanted}, which {configs[-1]} and what it is laid over do not name; name a config "
            "of fit"
        )
    return block


def verb_options(block: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options of a verb as a YAML has them, nested or dotted, with dashes or without."""
    return {key if "." in key else key.replace("-", "_"): value for key, value in flat(block or {})}


def least_of_reader(name: str, folds: int = 2) -> dict[str, float]:
    """The least numbers that train a reader, the argument ``name`` of a study."""
    return {f"{name}.records": 1, f"{name}.steps": 1, f"{name}.folds": folds}


def mix_and_fit(
    name: str,
    configs: Sequence[Path],
    settings: Mapping[str, Any],
    mix: Mapping[str, Any],
    seed: int,
) -> tuple[Step, Step]:
    """Choose a training set, then train and release a generator on it; the training resumes where it stopped.

    Args:
        name: of the training set; the steps are called ``mix-NAME`` and ``fit-NAME``.
        configs: of the training, base first.
        settings: of the training over them.
        mix: settings of the data that choose the training set, over all others.
        seed: ``seed_everything``.
    """
    chosen, run = f"mix-{name}", Place(f"fit-{name}", "run")
    data = {key: value for key, value in settings.items() if key.startswith("data.")}
    base = {"config": list(map(str, configs))}
    train = base | dict(settings) | dict(mix) | {"seed_everything": seed, "run_dir": run}
    return (
        Step(chosen, f"{VERBS}:mix", base | data | dict(mix) | {"out": Place(chosen, "mix")}),
        # the mix fails in seconds where it cannot be had
        Step(
            run.step, f"{VERBS}:fit", train, resume_if="run/checkpoints/last.ckpt", after=(chosen,)
        ),
    )


def sampling(name: str, count: int, seed: int, steps: int | None) -> dict[str, Any]:
    """Arguments of ``sample`` and ``protect``.

    Args:
        name: of the generator, as in ``fit-NAME``.
        count: samples.
        seed: of their noise.
        steps: network calls a sample; the release's default where None.
    """
    model = Place(f"fit-{name}", "run/release")
    arguments = {"model": model, "count": count, "seed": seed, "batch_size": BATCH}
    return arguments | ({"steps": steps} if steps else {})


def train_and_test(
    name: str,
    classifier: Downstream,
    data: Mapping[str, Any],
    seeds: Mapping[str, int],
    after: tuple[str, ...] = (),
) -> Step:
    """Train and test the receiver's classifier.

    Args:
        name: of the step.
        classifier: its configs, and its overrides, which win over all others.
        data: settings of its data.
        seeds: of each training, by the folder of its run.
        after: see :class:`Step`.
    """
    runs = [(Place(name, folder), seed) for folder, seed in seeds.items()]
    # the overrides last: a data block undoes what comes before it
    arguments = {
        "config": list(map(str, classifier.configs)),
        **data,
        **dict(flat(classifier.overrides or {})),
        "runs": runs,
    }
    return Step(name, f"{VERBS}:fit_and_test", arguments, after=after)


def train_readers(
    name: str, settings: Settings, seed: int, attributes: Mapping[str, tuple[str, Reader, int]]
) -> Step:
    """Train classifiers that read properties, on auxiliary records.

    Args:
        name: of the step's folder; the step is called ``NAME-sSEED``.
        settings: whose source the records are of.
        seed: of the parts.
        attributes: of each classifier, by the name of its folder: the property, how it is trained, and its seed.
    """
    step = f"{name}-s{seed}"
    classifiers = [
        {
            "data": settings.auxiliary(seed, attribute, reader.records, reader.source),
            "steps": reader.steps,
            "folds": reader.folds,
            "seed": start,
            "out": Place(step, f"{name}/{folder}"),
        }
        for folder, (attribute, reader, start) in attributes.items()
    ]
    return Step(step, "diffshare.study.steps.shares:train", {"classifiers": classifiers})
