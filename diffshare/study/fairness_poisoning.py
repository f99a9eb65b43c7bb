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
from diffshare.study.engine.configs import (
    check_axis,
    check_least,
    check_level,
    check_shares,
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

    def __init__(
        self,
        generator: list[Path],
        classifier: Downstream,
        policies: dict[str, Path],
        alphas: list[float],
        guidances: list[float],
        seeds: list[int],
        n: int,
        samples: int,
        overrides: dict[str, Any] | None = None,
        more: dict[str, Any] | None = None,
        sampling_steps: int | None = None,
        direct: bool = True,
        through_generator: bool = True,
        count_groups: bool = True,
        group_steps: int = 400,
        level: float = 0.95,
    ) -> None:
        _check_grid(policies, alphas, guidances if through_generator else [1.0], seeds)
        check_level(level)
        check_least(
            (name, value, 1)
            for name, value in (("n", n), ("samples", samples), ("group_steps", group_steps))
        )
        if not direct and not through_generator:
            raise UserError(
                "study.direct and study.through_generator are both false: nothing is left to measure"
            )
        self.classifier, self.policies = classifier, policies
        self.guidances, self.seeds, self.n, self.samples = guidances, seeds, n, samples
        self.settings = Settings(
            generator, overrides, more, needs=("source", "target", "sensitive")
        )
        self.sampling_steps, self.direct, self.through_generator = (
            sampling_steps,
            direct,
            through_generator,
        )
        self.count_groups, self.group_steps, self.level = (
            count_groups and through_generator,
            group_steps,
            level,
        )
        self.alphas = [alpha for alpha in alphas if alpha]
        self.receiver = data_block(classifier.configs, "study.classifier")
        for name, path in policies.items():
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
            mix, fit = mix_and_fit(
                cell.name, self._configs(cell), self.settings.overrides, self._mix(cell), cell.seed
            )
            steps += [mix, *([self._direct(cell)] if self.direct else [])]
            if self.through_generator:
                steps.append(fit)
                steps += [
                    step for guidance in self.guidances for step in self._receiver(cell, guidance)
                ]
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
        end = f"{cell.name}-g{guidance:g}"
        folder = Place(f"sample-{end}", "samples")
        options = {"labels": "balanced", "guidance": guidance, "out": folder}
        arguments = sampling(cell.name, self.samples, cell.seed, self.sampling_steps, **options)
        yield Step(folder.step, f"{VERBS}:sample", arguments)
        yield self._classifier(f"classifier-{end}", cell, self.settings.received(folder, cell.seed))
        if self.count_groups:
            name, reader = f"groups-{end}", Place(f"reader-s{cell.seed}", "reader")
            arguments = {"reader": reader, "samples": folder, "out": Place(name, "groups.json")}
            yield Step(name, f"{SHARES}:count_groups", arguments)

    def _classifier(self, name: str, cell: Cell, data: dict[str, Any]) -> Step:
        after = (f"mix-{cell.name}",)
        return train_and_test(name, self.classifier, data, {"run": cell.seed}, after)

    def _reader(self, seed: int) -> Step:
        """A classifier of the group, on auxiliary records of the same source."""
        name = f"reader-s{seed}"
        group, label = (self.settings.role(role) for role in ("sensitive", "target"))
        data = self.settings.module(
            seed, group, sensitive=label, part="auxiliary", validation_share=0.25
        )
        arguments = {
            "data": data,
            "steps": self.group_steps,
            "seed": seed,
            "out": Place(name, "reader"),
        }
        return Step(name, f"{SHARES}:train_group_reader", arguments)

    # --- what came of it -----------------------------------------------------------------------------------------

    def rows(self, find: Find) -> list[Row]:
        """See :class:`Study`; ``where`` says what the classifier was trained on, ``mix`` or ``generator``.

        ``direction`` is that of the mix (:func:`diffshare.study.reports.excess.paired`), None of a clean one.
        """
        cells = []
        for cell in self.cells():
            if self.direct:
                cells.append(
                    self._row(
                        find, cell, "mix", None, Place(f"direct-{cell.name}", "run/results.json")
                    )
                )
            for guidance in self.guidances if self.through_generator else []:
                end = f"{cell.name}-g{guidance:g}"
                place = Place(f"classifier-{end}", "run/results.json")
                cells.append(self._row(find, cell, "generator", guidance, place))
        rows = [row for row in cells if row is not None]
        clean = {row["seed"]: row for row in rows if row["policy"] == "clean"}
        return [
            row | {"direction": paired(row, clean.get(row["seed"], {})).direction} for row in rows
        ]

    def _row(
        self, find: Find, cell: Cell, where: str, guidance: float | None, place: Place
    ) -> Row | None:
        result = left_at(find, place)
        if result is None:
            return None
        if "counts" not in result:
            raise UserError(
                f"{find(place)} has no counts of S x Y x Yhat: name a classifier that measures fairness in its test"
            )
        row = {
            "policy": cell.policy,
            "alpha": cell.alpha,
            "where": where,
            "guidance": guidance,
            "seed": cell.seed,
        }
        if chosen := left_at(find, Place(f"mix-{cell.name}", "mix/mix.json")):
            row |= {
                "mutual_information_sy": chosen["mutual_information_sy"],
                "exhausted": chosen["exhausted"],
            }
            row |= {"direction": chosen["direction"]} if "direction" in chosen else {}
        end = None if guidance is None else f"{cell.name}-g{guidance:g}"
        groups = left_at(find, Place(f"groups-{end}", "groups.json")) if end else None
        row["shares_in_mix"] = mix_shares(chosen["counts"]) if chosen else None
        row["shares_in_samples"] = groups and groups["shares"]
        # [s][y][yhat] => [yhat][s]
        row["shares_in_decisions"] = row_shares(np.asarray(result["counts"]).sum(1).T)
        return row | result

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
            f"{where} names no data.init_args.mix.class_path: name an overlay such as configs/mix/clean.yaml"
        )
    parameters = inspect.signature(named_class(mix["class_path"], where)).parameters
    if missing := [parameter for parameter in ("alpha", "n") if parameter not in parameters]:
        raise UserError(
            f"{where}: {mix['class_path']} has no argument {missing[0]}, a policy has alpha and n"
        )


def _check_grid(
    policies: dict[str, Path], alphas: list[float], guidances: list[float], seeds: list[int]
) -> None:
    for name, axis in (
        ("policies", list(policies)),
        ("alphas", alphas),
        ("guidances", guidances),
        ("seeds", seeds),
    ):
        check_axis(f"study.{name}", axis)
    check_shares("alphas", alphas)
    if negative := [guidance for guidance in guidances if guidance < 0]:
        raise UserError(f"study.guidances has {negative[0]}: a guidance_scale is 0 or more")
    if below := [seed for seed in seeds if seed < 0]:
        raise UserError(f"study.seeds has {below[0]}: a seed is 0 or more")
    if "clean" in policies:
        raise UserError(
            "study.policies has 'clean', which is there by itself as alpha 0: take it out"
        )
    if bad := [name for name in policies if not name.replace("_", "").replace("-", "").isalnum()]:
        raise UserError(
            f"study.policies has '{bad[0]}': a name has letters, digits, - and _, it becomes a folder"
        )
