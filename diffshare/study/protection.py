"""Protections through a generator: what they hide, and what they cost in quality and in use.

Samples that show a chosen share of a property instead of the training set's own, and DP-SGD, which bounds what one
record can have given away and promises nothing of shares: both are measured by the same steps, beside plain models and
beside the records themselves.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table

from diffshare.errors import UserError
from diffshare.study.engine.base import Find, Row, Study, left_at
from diffshare.study.engine.checks import (
    check_axes,
    check_between,
    check_least,
    check_names,
    check_shares,
)
from diffshare.study.engine.configs import merged
from diffshare.study.engine.step import Place, Step
from diffshare.study.reports.protection import paired, sample_row, summarise
from diffshare.study.reports.protection_shown import draw_models, draw_shown, tables
from diffshare.study.steps.grid import (
    PLAIN,
    REAL,
    Downstream,
    Model,
    Protected,
    ProtectionCell,
    Reader,
)
from diffshare.study.steps.pipeline import (
    BATCH,
    MIXES,
    VERBS,
    Settings,
    least_of_reader,
    mix_and_fit,
    sampling,
    train_and_test,
    train_readers,
    verb_options,
)

QUALITY = "diffshare.study.steps.quality"
DDPM, PRIVATE = "diffshare.generators.ddpm.DDPM", "diffshare.sharer.protection.dp.PrivateDDPM"
APART = 1000  # between the seeds of two trainings of the receiver's classifier, and of two readers of the property


@dataclass(kw_only=True, eq=False)
class Protection(Study):
    """For each seed, true share p and kind of model: train, release, draw plain and protected samples, measure both.

    Args:
        generator: configs of the generator's ``fit``, base first.
        classifier: the receiver's, of the target.
        property: attribute whose share in the training set is to be hidden; class 1 counts.
        proportions: its true shares p in [0, 1].
        models: kinds of model by the name that each shall have; plain, or trained by DP-SGD to an epsilon.
        seeds: of data, mix, training, samples and classifiers alike.
        samples: samples of each generator, as many of each class, and real records that they are compared with.
        receivers: who infers the property, by name; the first is the one that errors are judged by.
        features: attributes; kernel distances are measured in the features of classifiers of them.
        protections: ways of drawing samples that show a chosen share, by name; beside ``plain``, which is always there.
        audit: options of ``audit as sharer``, which adds the membership test; no audit where None.
        trainings: of the receiver's classifier on each samples folder.
        overrides: settings of all ``fit``.
        more: settings over all others, for the command line: ``study.more``, ``'{"trainer.max_steps": 10}'``.
        sampling_steps: network calls a sample; the release's default where None.
        readers: how the classifiers of ``features`` are trained.
        level: of the intervals.
    """

    generator: list[Path]
    classifier: Downstream
    property: str
    proportions: list[float]
    models: dict[str, Model]
    seeds: list[int]
    samples: int
    receivers: dict[str, Reader]
    features: list[str]
    protections: dict[str, Protected] | None = None
    audit: dict[str, Any] | None = None
    trainings: int = 2
    overrides: dict[str, Any] | None = None
    more: dict[str, Any] | None = None
    sampling_steps: int | None = None
    readers: Reader = field(default_factory=Reader)
    level: float = 0.95

    def __post_init__(self) -> None:
        """Check the grid and read the configs."""
        self.ways = self.protections or {}
        self.settings = Settings(self.generator, self.overrides, self.more)
        merged(self.classifier.configs)  # refused before anything runs
        taken = {REAL: "records", PLAIN: "samples without protection"}
        check_names("study", [*self.models, *self.receivers, *self.ways], dashes="", taken=taken)
        check_axes(self, "models", "receivers", "proportions", "seeds", "features")
        check_shares(self, "proportions")
        check_between(self, *(f"protections.{name}.share" for name in self.ways), "level")
        least = {"seeds": 0, "samples": 4, "trainings": 1} | least_of_reader("readers")
        least |= {f"models.{name}.n": 1 for name in self.models}
        for name in self.receivers:
            least |= least_of_reader(f"receivers.{name}")
        check_least(self, least)
        if self.property == self.settings.role("target"):
            raise UserError(
                f"study.property is '{self.property}', the target, by which the samples are drawn: the receiver would "
                "choose its share; name another"
            )
        for name in self.models:
            self.noise(name)

    def noise(self, name: str) -> float | None:
        """Noise multiplier of a kind of model; None where it is trained plainly.

        Raises:
            UserError: a bound that makes no sense with the model's settings.
        """
        model, where = self.models[name], f"study.models.{name}"
        if model.epsilon is None:
            return None
        if self.settings.config.get("model", {}).get("class_path") != DDPM:
            raise UserError(f"{where}: DP-SGD trains a DDPM alone; name a config of one")
        if not (model.epsilon > 0 and 0 < model.delta < 1):
            raise UserError(
                f"{where}: epsilon lies above 0 (leave it out for a plain training), delta between 0 and 1"
            )
        fit, trainer = self.settings.fit(model.overrides), self.settings.config.get("trainer", {})
        batch = fit.get("data.batch_size", self.settings.data.get("batch_size", 64))
        steps = fit.get("trainer.max_steps", trainer.get("max_steps"))
        if not isinstance(steps, int) or steps < 1 or batch > model.n:
            raise UserError(
                f"{where}: epsilon needs trainer.max_steps, and a data.batch_size of at most n = {model.n}"
            )
        from diffshare.sharer.protection.noise import noise_of_batch  # imports torch

        return noise_of_batch(model.epsilon, batch / model.n, steps, model.delta)

    # --- the grid ------------------------------------------------------------------------------------------------

    def cells(self) -> Iterator[ProtectionCell]:
        """The training sets, and the records alone; a whole seed before the next."""
        for seed in self.seeds:
            for p in self.proportions:
                yield ProtectionCell(REAL, p, seed)
                yield from (ProtectionCell(model, p, seed) for model in self.models)

    def views(self, cell: ProtectionCell) -> list[str]:
        """How a cell's samples are drawn: plainly, and by each protection."""
        return [PLAIN] if cell.model == REAL else [PLAIN, *self.ways]

    def steps(self) -> list[Step]:
        """See :class:`Study`."""
        steps: list[Step] = []
        for seed, cells in itertools.groupby(self.cells(), lambda cell: cell.seed):
            steps += [self._readers(seed), self._receivers(seed), self._reference(seed)]
            for cell in cells:
                views = self.views(cell)
                if cell.model != REAL:
                    steps += self._trained(cell)
                    steps += [self._sample(cell, view) for view in views]
                    steps += [self._audit(cell)] if self.audit is not None else []
                for view in views:
                    steps += [self._measure(cell, view), self._use(cell, view)]
        return steps

    def _readers(self, seed: int) -> Step:
        """The classifiers whose features kernel distances are measured in."""
        attributes = {attribute: (attribute, self.readers, seed) for attribute in self.features}
        return train_readers("readers", self.settings, seed, attributes)

    def _receivers(self, seed: int) -> Step:
        # From other initial weights than the sharer's (those of `seed`), or their errors would agree for that reason.
        receivers = enumerate(self.receivers.items(), 1)
        attributes = {
            name: (self.property, receiver, seed + APART * k) for k, (name, receiver) in receivers
        }
        return train_readers("receivers", self.settings, seed, attributes)

    def _reading(self, seed: int) -> dict[str, Any]:
        return {"readers": Place(f"readers-s{seed}", "readers"), "names": self.features}

    def _reference(self, seed: int) -> Step:
        shown = [way.share for way in self.ways.values()]
        return Step.leaving(
            Place(f"reference-s{seed}", "reference"),
            f"{QUALITY}:keep_by_share",
            data=self.settings.module(seed),
            attribute=self.property,
            shares=list(dict.fromkeys([*self.proportions, *shown])),
            count=self.samples,
            **self._reading(seed),
        )

    def _trained(self, cell: ProtectionCell) -> tuple[Step, Step]:
        model = self.models[cell.model]
        sigma, settings = self.noise(cell.model), self.settings.fit(model.overrides)
        init = {"p": cell.p, "n": model.n, "property": self.property}
        chosen = {"class_path": f"{MIXES}.Proportion", "init_args": init}
        if sigma is not None:
            private: dict[str, Any] = {"model": PRIVATE, "model.noise_multiplier": sigma}
            private["model.delta"] = model.delta
            plainly = {"trainer.precision": "32-true", "trainer.gradient_clip_val": None}
            settings = private | settings | plainly
        mix = {"data.mix": chosen, "data.seed": cell.seed}
        return mix_and_fit(cell.name, self.settings.configs, settings, mix, cell.seed)

    def samples_of(self, cell: ProtectionCell, view: str) -> Place:
        """The samples folder of a cell drawn in one way."""
        if cell.model == REAL:
            return Place(f"reference-s{cell.seed}", f"reference/real-{cell.p:g}")
        return Place(f"sample-{cell.end(view)}", "samples")

    def _sample(self, cell: ProtectionCell, view: str) -> Step:
        out = self.samples_of(cell, view)
        drawing = sampling(cell.name, self.samples, cell.seed, self.sampling_steps)
        drawing["labels"] = "balanced"
        if view == PLAIN:
            return Step.leaving(out, f"{VERBS}:sample", **drawing)
        way = self.ways[view]
        records = {"reference": self.settings.source(), "part": "auxiliary"}
        return Step.leaving(
            out,
            f"{VERBS}:protect",
            **records | {"split_seed": cell.seed} | verb_options(way.options) | drawing,
            property=self.property,
            share=way.share,
            report=Place(out.step, "drawn.json"),
        )

    def _audit(self, cell: ProtectionCell) -> Step:
        """What the sharer's own audit says of the release: of members and of the property."""
        name = f"audit-{cell.name}"
        usual = {"split_seed": cell.seed, "target": self.settings.role("target")}
        arguments = {
            "as": "sharer",
            "model": Place(f"fit-{cell.name}", "run/release"),
            "manifest": Place(f"mix-{cell.name}", "mix"),
            "reference": self.settings.source(),
            **usual | verb_options(self.audit),
            "properties": self.property,
            "seed": cell.seed,
            "batch_size": BATCH,
            "json": Place(name, "audit.json"),
        }
        arguments |= {"steps": self.sampling_steps} if self.sampling_steps else {}
        return Step(name, f"{VERBS}:audit", arguments)

    def _measure(self, cell: ProtectionCell, view: str) -> Step:
        seed = cell.seed
        ways = self.views(cell)[1:] if view == PLAIN else [view]
        arguments = {} if view == PLAIN else {"plain": self.samples_of(cell, PLAIN)}
        arguments |= {} if cell.model == REAL else {"run": Place(f"fit-{cell.name}", "run")}
        return Step.leaving(
            Place(f"measure-{cell.end(view)}", "measured.json"),
            f"{QUALITY}:measure_protected",
            samples=self.samples_of(cell, view),
            reference=Place(f"reference-s{seed}", "reference"),
            shares=list(dict.fromkeys([cell.p, *(self.ways[way].share for way in ways)])),
            receivers=Place(f"receivers-s{seed}", "receivers"),
            receiver_names=list(self.receivers),
            **arguments,
            **self._reading(seed),
        )

    def _use(self, cell: ProtectionCell, view: str) -> Step:
        """The receiver's classifier of the target, trained on the samples and tested on real records."""
        data = self.settings.received(self.samples_of(cell, view), cell.seed)
        seeds = {f"run{k}": cell.seed + APART * k for k in range(self.trainings)}
        return train_and_test(f"classifier-{cell.end(view)}", self.classifier, data, seeds)

    # --- what came of it -----------------------------------------------------------------------------------------

    def rows(self, find: Find) -> list[Row]:
        """See :class:`Study`: one row a samples folder; the ``model`` real are records."""
        rows: list[Row] = []
        for cell in self.cells():
            model = self.models.get(cell.model)
            shared = vars(cell) | {"records": None, "bound": None, "noise_multiplier": None}
            if model:
                shared |= {"records": model.n, "bound": model.epsilon}
                shared["noise_multiplier"] = self.noise(cell.model)
            plain: Row | None = None
            for view in self.views(cell):  # plain first
                way = self.ways.get(view)
                drawn = {"protection": view, "shown": way.share if way else None}
                row = sample_row(shared | drawn, *self._left(find, cell, view))
                if view == PLAIN:
                    plain = row
                if row is not None:
                    rows.append(paired(row, plain) if way else row)
        return rows

    def _left(
        self, find: Find, cell: ProtectionCell, view: str
    ) -> tuple[dict[str, Any], list[Row]]:
        """What the steps of one samples folder left, and the results of each training on it."""
        end, samples = cell.end(view), self.samples_of(cell, view)
        report = f"{samples.path}/samples.json" if view == PLAIN else "drawn.json"
        places = {
            "measured": Place(f"measure-{end}", "measured.json"),
            "drawn": Place(samples.step, report),
            "card": Place(f"fit-{cell.name}", "run/release/diffshare.json"),
            "audit": Place(f"audit-{cell.name}", "audit.json") if view == PLAIN else None,
            "reference": Place(f"reference-s{cell.seed}", "reference/reference.json"),
        }
        runs = [Place(f"classifier-{end}", f"run{k}/results.json") for k in range(self.trainings)]
        tested = [result for run in runs if (result := left_at(find, run)) is not None]
        return {name: place and left_at(find, place) for name, place in places.items()}, tested

    def summary(self, rows: Sequence[Row]) -> list[Row]:
        """See :class:`Study`: one entry a kind of model and way of drawing, over proportions and seeds."""
        return summarise(rows, len(self.seeds) * len(self.proportions), self.level)

    def tables(self, rows: Sequence[Row], summary: Sequence[Row]) -> list[Table]:
        """See :class:`Study`."""
        return tables(rows, summary, self.level)

    def figures(self, rows: Sequence[Row], summary: Sequence[Row], folder: Path) -> list[Path]:
        """See :class:`Study`."""
        drawn = [draw_models(rows, summary, folder / "models.png")]
        protected = [entry for entry in summary if entry["shown"] is not None]
        return drawn + [
            draw_shown(rows, e, folder / f"{e['model']}_{e['protection']}.png") for e in protected
        ]
