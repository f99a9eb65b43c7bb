"""Fairness poisoning through a generator: which mix makes the receiver's classifier how unfair, at what accuracy.

The experiment of Luo et al., "Exploring Privacy and Fairness Risks in Sharing Diffusion Models", IEEE TIFS 19 (2024),
with guidance as an axis and clean sets of the same seed and size as control.
"""

import inspect
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from diffshare.errors import UserError
from diffshare.stats.information import row_shares
from diffshare.study.engine.base import Find, Row, Study, left_at
from diffshare.study.engine.checks import (
    check_axes,
    check_between,
    check_least,
    check_names,
    check_shares,
)
from diffshare.study.engine.configs import (
    merged,
    named_class,
)
from diffshare.study.engine.step import Place, Step
from diffshare.study.reports.excess import paired
from diffshare.study.reports.poisoning import (
    draw_amplifier,
    draw_curves,
    mix_shares,
    outcome_table,
    summarise,
)
from diffshare.study.steps.grid import Downstream
from diffshare.study.steps.pipeline import (
    MIXES,
    VERBS,
    Settings,
    data_block,
    mix_and_fit,
    sampling,
    train_and_test,
)

SHARES = "diffshare.study.steps.shares"


@dataclass(frozen=True)
class Cell:
    """One training set: a policy at a share alpha and a seed; alpha 0 is ``clean``."""

    policy: str
    alpha: float
    seed: int

    @property
    def name(self) -> str:
        """For steps and folders."""
        share = f"-a{self.alpha:g}" if self.alpha else ""
        return f"{self.policy}{share}-s{self.seed}"

    def end(self, guidance: float) -> str:
        """For what is made of its samples at one guidance."""
        return f"{self.name}-g{guidance:g}"


@dataclass(kw_only=True, eq=False)
class FairnessPoisoning(Study):
    """For each training set: choose it, train and release a generator, sample it, train and test a classifier.

    A generator is trained once for all guidances. The clean set of a seed is the control of every policy.

    Args:
        generator: configs of the generator's ``fit``, base first.
        classifier: the receiver's.
        policies: overlay of the mix of each policy, by the name that it shall have; its class takes ``alpha``, ``n``.
        alphas: poisoned shares in [0, 1]; 0, the clean set, is always there.
        guidances: values of ``guidance_scale``; 1 is plain conditional sampling.
        seeds: of data, mix, training and samples alike.
        n: records of a training set.
        samples: samples of each generator, as many of each class.
        overrides: settings of ``fit`` over those of ``generator``: ``{trainer: {max_steps: 1000}}``.
        more: settings over ``overrides``, for the command line: ``study.more``, ``'{"data.target": "Young"}'``.
        sampling_steps: network calls a sample; the release's default where None.
        direct: also train the classifier on the mix itself: what the mix does without the generator.
        through_generator: train generators; False measures the mixes alone.
        count_groups: train a classifier of the group on auxiliary records and count the groups in the samples.
        group_steps: training steps of that classifier.
        level: of the intervals.
    """

    generator: list[Path]
    classifier: Downstream
    policies: dict[str, Path]
    alphas: list[float]
    guidances: list[float]
    seeds: list[int]
    n: int
    samples: int
    overrides: dict[str, Any] | None = None
    more: dict[str, Any] | None = None
    sampling_steps: int | None = None
    direct: bool = True
    through_generator: bool = True
    count_groups: bool = True
    group_steps: int = 400
    level: float = 0.95

    def __post_init__(self) -> None:
        """Check the grid and read the configs."""
        check_axes(self, "policies", "alphas", "seeds")
        if self.through_generator:
            check_axes(self, "guidances")
            check_least(self, {"guidances": 0})
        check_shares(self, "alphas")
        check_least(self, {"seeds": 0, "n": 1, "samples": 1, "group_steps": 1})
        check_between(self, "level")
        check_names("study.policies", self.policies, taken={"clean": "the set of alpha 0"})
        if not self.direct and not self.through_generator:
            raise UserError(
                "study.direct and study.through_generator are both false: nothing is left to measure"
            )
        roles = ("source", "target", "sensitive")
        self.settings = Settings(self.generator, self.overrides, self.more, needs=roles)
        self.count_groups = self.count_groups and self.through_generator
        self.alphas = [alpha for alpha in self.alphas if alpha]
        self.receiver = data_block(self.classifier.configs, "study.classifier")
        for name, path in self.policies.items():
            _check_policy(name, path)

    # --- the grid ------------------------------------------------------------------------------------------------

    def cells(self) -> Iterator[Cell]:
        """The training sets; a whole seed before the next."""
        for seed in self.seeds:
            yield Cell("clean", 0.0, seed)
            for policy in self.policies:
                yield from (Cell(policy, alpha, seed) for alpha in self.alphas)

    def steps(self) -> list[Step]:
        """See :class:`Study`."""
        steps = [self._reader(seed) for seed in self.seeds] if self.count_groups else []
        for cell in self.cells():
            settings = (self.settings.overrides, self._mix(cell), cell.seed)
            mix, fit = mix_and_fit(cell.name, self._configs(cell), *settings)
            steps += [mix, *([self._direct(cell)] if self.direct else [])]
            if self.through_generator:
                steps.append(fit)
                for guidance in self.guidances:
                    steps += self._receiver(cell, guidance)
        return steps

    def _configs(self, cell: Cell) -> list[Path]:
        return [*self.settings.configs, *([self.policies[cell.policy]] if cell.alpha else [])]

    def _mix(self, cell: Cell) -> dict[str, Any]:
        """What makes this cell's training set, over any config with a ``MixDataModule``."""
        mix = {"data.mix.alpha": cell.alpha} if cell.alpha else {"data.mix": f"{MIXES}.Clean"}
        return {**mix, "data.mix.n": self.n, "data.seed": cell.seed}

    def _direct(self, cell: Cell) -> Step:
        """The classifier on the records of the mix."""
        data = merged(self._configs(cell))["data"]
        data["init_args"].pop("batch_size", None)
        if "batch_size" in self.receiver:
            data["init_args"]["batch_size"] = self.receiver["batch_size"]
        over = {k: v for k, v in self.settings.of_data().items() if k != "data.batch_size"}
        return self._classifier(
            f"direct-{cell.name}", cell, {"data": data} | over | self._mix(cell)
        )

    def _receiver(self, cell: Cell, guidance: float) -> Iterator[Step]:
        """Samples at one guidance, the classifier on them, and the groups in them."""
        end = cell.end(guidance)
        folder = Place(f"sample-{end}", "samples")
        options = sampling(cell.name, self.samples, cell.seed, self.sampling_steps)
        yield Step.leaving(
            folder, f"{VERBS}:sample", labels="balanced", guidance=guidance, **options
        )
        yield self._classifier(f"classifier-{end}", cell, self.settings.received(folder, cell.seed))
        if self.count_groups:
            reader = Place(f"reader-s{cell.seed}", "reader")
            out = Place(f"groups-{end}", "groups.json")
            yield Step.leaving(out, f"{SHARES}:count_groups", reader=reader, samples=folder)

    def _classifier(self, name: str, cell: Cell, data: dict[str, Any]) -> Step:
        after = (f"mix-{cell.name}",)
        return train_and_test(name, self.classifier, data, {"run": cell.seed}, after)

    def _reader(self, seed: int) -> Step:
        """A classifier of the group, on auxiliary records of the same source."""
        group, label = (self.settings.role(role) for role in ("sensitive", "target"))
        data = self.settings.module(
            seed, group, sensitive=label, part="auxiliary", validation_share=0.25
        )
        out = Place(f"reader-s{seed}", "reader")
        function = f"{SHARES}:train_group_reader"
        return Step.leaving(out, function, data=data, steps=self.group_steps, seed=seed)

    # --- what came of it -----------------------------------------------------------------------------------------

    def rows(self, find: Find) -> list[Row]:
        """See :class:`Study`; ``where`` says what the classifier was trained on, ``mix`` or ``generator``.

        ``direction`` is that of the mix (:func:`diffshare.study.reports.excess.paired`), None of a clean one.
        """
        rows: list[Row] = []
        for cell in self.cells():
            if self.direct:
                place = Place(f"direct-{cell.name}", "run/results.json")
                rows += self._row(find, cell, None, place)
            for guidance in self.guidances if self.through_generator else []:
                place = Place(f"classifier-{cell.end(guidance)}", "run/results.json")
                rows += self._row(find, cell, guidance, place)
        clean = {row["seed"]: row for row in rows if row["policy"] == "clean"}
        return [
            row | {"direction": paired(row, clean.get(row["seed"], {})).direction} for row in rows
        ]

    def _row(self, find: Find, cell: Cell, guidance: float | None, place: Place) -> Iterator[Row]:
        """The row of one classifier, where it is there; of the mix itself where the guidance is None."""
        result = left_at(find, place)
        if result is None:
            return
        if "counts" not in result:
            raise UserError(
                f"{find(place)} has no counts of S x Y x Yhat: name a classifier that measures fairness in its test"
            )
        where = "mix" if guidance is None else "generator"
        row = {"policy": cell.policy, "alpha": cell.alpha, "where": where, "guidance": guidance}
        row["seed"] = cell.seed
        chosen = left_at(find, Place(f"mix-{cell.name}", "mix/mix.json")) or {}
        of_mix = ("mutual_information_sy", "exhausted", "direction")
        row |= {name: chosen[name] for name in of_mix if name in chosen}
        row["shares_in_mix"] = mix_shares(chosen.get("counts"))
        row["shares_in_samples"] = None
        if guidance is not None:
            groups = left_at(find, Place(f"groups-{cell.end(guidance)}", "groups.json"))
            row["shares_in_samples"] = groups and groups["shares"]
        # [s][y][yhat] => [yhat][s]
        row["shares_in_decisions"] = row_shares(np.asarray(result["counts"]).sum(1).T)
        yield row | result

    def summary(self, rows: Sequence[Row]) -> list[Row]:
        """See :class:`Study`: means over seeds, and paired differences to the clean set of the same seed."""
        return summarise(rows, self.level)

    def tables(self, rows: Sequence[Row], summary: Sequence[Row]) -> list[Table]:
        """See :class:`Study`."""
        return [outcome_table(summary, self.level)]

    def figures(self, rows: Sequence[Row], summary: Sequence[Row], folder: Path) -> list[Path]:
        """See :class:`Study`."""
        drawn = [draw_curves(rows, summary, folder / "gap_and_accuracy.png")]
        if self.through_generator:
            drawn.append(draw_amplifier(summary, folder / "amplifier.png"))
        return drawn


def _check_policy(name: str, path: Path) -> None:
    mix = merged([path]).get("data", {}).get("init_args", {}).get("mix", {})
    where = f"study.policies.{name} ({path})"
    if "class_path" not in mix:
        raise UserError(
            f"{where} names no data.init_args.mix.class_path: name an overlay such as mix/clean"
        )
    parameters = inspect.signature(named_class(mix["class_path"], where)).parameters
    if missing := [parameter for parameter in ("alpha", "n") if parameter not in parameters]:
        raise UserError(
            f"{where}: {mix['class_path']} has no argument {missing[0]}, a policy has alpha and n"
        )
