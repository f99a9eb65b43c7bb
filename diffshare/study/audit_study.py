"""Audits of generators: how often is a clean one flagged, how often does a poisoned one pass, is the gap predicted?

On top of the fairness poisoning study: the same training sets, generators, samples and classifiers, and an audit of
every samples folder against auxiliary records. The gap that the audit predicts stands beside the one that the
receiver's classifier really has on test records. Poisoned samples can be repaired after their audit, and classified
again.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table
from sklearn.metrics import roc_auc_score

from diffshare.errors import UserError
from diffshare.stats.intervals import clopper_pearson
from diffshare.storage import read_json
from diffshare.study.engine.base import Find, Row
from diffshare.study.engine.configs import as_word, flat, words
from diffshare.study.engine.step import Command, Place, Step
from diffshare.study.fairness_poisoning import Cell, FairnessPoisoning
from diffshare.study.reports.audit_figures import draw_audit, draw_repairs
from diffshare.study.reports.repair_results import outcome, repair_table, repaired_row, summarise_repairs
from diffshare.study.steps.repair import RepairOptions, check_repairs, repair_steps

MEASURED = "demographic_parity_difference"


class AuditStudy(FairnessPoisoning):
    """For each training set and guidance: an audit of the samples, and the classifier that it speaks of.

    Args:
        clean_seeds: seeds of clean training sets; ``seeds`` are those of the poisoned ones.
        audit: options of the verb ``audit``: ``{downstream: NetworkRecipe, "downstream.steps": 600}``.
        repairs: how poisoned samples are repaired, by the name that it shall have; not at all where left out. With
            ``resample`` of a table the group is the samples' own column, hence known, and the figure an upper bound.
        kwargs: as for :class:`diffshare.study.fairness_poisoning.FairnessPoisoning`; ``samples`` are the queries, and
            ``count_groups`` does nothing: the audit reads the groups.
    """

    def __init__(
        self,
        clean_seeds: list[int],
        audit: dict[str, Any] | None = None,
        repairs: dict[str, RepairOptions] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not clean_seeds or len(set(clean_seeds)) < len(clean_seeds):
            raise UserError(f"study.clean_seeds is {clean_seeds}: give at least one seed, each once")
        if not self.through_generator:
            raise UserError("study.through_generator is false: an audit is of a generator's samples")
        self.clean_seeds, self.audit, self.repairs = clean_seeds, dict(flat(audit or {})), repairs or {}
        check_repairs(self.repairs, self.seeds, clean_seeds)
        self.count_groups = False  # the audit reads them

    def cells(self) -> Iterator[Cell]:
        """The training sets: poisoned and clean ones of a seed side by side."""
        for seed in dict.fromkeys([*self.clean_seeds, *self.seeds]):
            if seed in self.clean_seeds:
                yield Cell("clean", 0.0, seed)
            for policy in self.policies if seed in self.seeds else []:
                yield from (Cell(policy, alpha, seed) for alpha in self.alphas)

    def steps(self) -> list[Step]:
        """See :class:`diffshare.study.engine.base.Study`."""
        found = super().steps()
        audits = [self._audit(cell, guidance) for cell in self.cells() for guidance in self.guidances]
        return [*found, *audits, *self._repairs({step.name: step for step in found})]

    def _repairs(self, steps: Mapping[str, Step]) -> Iterator[Step]:
        """Repairs of every poisoned samples folder, and the classifier on what they leave."""
        poisoned = [cell for cell in self.cells() if cell.alpha]
        for cell, guidance, (name, options) in product(poisoned, self.guidances, self.repairs.items()):
            end = f"{cell.name}-g{guidance:g}"
            release = Place(f"fit-{cell.name}", "run/release")
            classifier = steps[f"classifier-{end}"]
            yield from repair_steps(name, end, options, classifier, release=release, seed=cell.seed)

    def _audit(self, cell: Cell, guidance: float) -> Step:
        """The audit of one samples folder, against the auxiliary part of the generator's own source."""
        end = f"{cell.name}-g{guidance:g}"
        name = f"audit-{end}"
        data = {key.removeprefix("data."): value for key, value in self.overrides.items() if key.startswith("data.")}
        roles = {key: data.get(key, self.data.get(key)) for key in ("target", "sensitive", "pool")}
        options = {f"reference.{k.removeprefix('source.')}": v for k, v in data.items() if k.startswith("source.")}
        options |= {"sensitive": roles["sensitive"], "target": roles["target"], "pool": roles["pool"] or "natural"}
        options |= {"split-seed": cell.seed, "seed": cell.seed} | self.audit
        command: Command = (
            "audit", "--samples", Place(f"sample-{end}", "samples"), "--guidance", f"{guidance:g}",
            "--reference", as_word(self.data["source"]), *words(options.items()), "--json", Place(name, "audit.json"),
        )  # fmt: skip
        return Step(name, (command,))

    def rows(self, find: Find) -> list[Row]:
        """See :class:`diffshare.study.engine.base.Study`: one row a samples folder."""
        measured = {self._key(row): row for row in super().rows(find) if row["where"] == "generator"}
        found = []
        for cell in self.cells():
            for guidance in self.guidances:
                path = find(Place(f"audit-{cell.name}-g{guidance:g}", "audit.json"))
                if path is None:
                    continue
                row = {"policy": cell.policy, "alpha": cell.alpha, "guidance": guidance, "seed": cell.seed}
                real = measured.get(self._key(row), {})
                row |= {"measured_gap": real.get(MEASURED), "accuracy": real.get("accuracy")}
                row |= {"test_records": real.get("n"), "shares_in_mix": real.get("shares_in_mix")}
                row |= audit_row(read_json(path))
                if self.repairs and cell.alpha:
                    row["measured_gap_signed"] = real.get(f"{MEASURED}_signed")
                    clean = measured.get(("clean", 0.0, guidance, cell.seed), {})
                    row |= outcome(clean, "clean_")
                    row["direction"] = real.get("direction")
                    row["repairs"] = self._repaired(find, f"{cell.name}-g{guidance:g}")
                found.append(row)
        return found

    def _repaired(self, find: Find, end: str) -> dict[str, Row | None]:
        """What each repair of one samples folder brought; None of one that is not done."""

        def read(step: str, path: str) -> Any:
            found = find(Place(f"{step}-{end}", path))
            return None if found is None else read_json(found)

        return {
            name: repaired_row(
                read(f"repaired-{name}", "run/results.json"), read(f"repair-{name}", "samples/repair.json")
            )
            for name in self.repairs
        }

    @staticmethod
    def _key(row: Row) -> tuple[Any, ...]:
        return row["policy"], row["alpha"], row["guidance"], row["seed"]

    def summary(self, rows: Sequence[Row]) -> list[Row]:
        """See :class:`diffshare.study.engine.base.Study`: one entry a guidance."""
        guidances = dict.fromkeys(row["guidance"] for row in rows)
        found = []
        for guidance in guidances:
            mine = [row for row in rows if row["guidance"] == guidance]
            repairs = {"repairs": summarise_repairs(mine, self.level)} if self.repairs else {}
            found.append(summarised(mine, guidance, self.level) | repairs)
        return found

    def tables(self, rows: Sequence[Row], summary: Sequence[Row]) -> list[Table]:
        """See :class:`diffshare.study.engine.base.Study`."""
        return [verdict_table(summary), *([repair_table(summary)] if self.repairs else [])]

    def figures(self, rows: Sequence[Row], summary: Sequence[Row], folder: Path) -> list[Path]:
        """See :class:`diffshare.study.engine.base.Study`."""
        repaired = any(entry.get("repairs") for entry in summary)
        made = [draw_audit(rows, folder / "audit.png")]
        return [*made, *([draw_repairs(summary, folder / "repairs.png")] if repaired else [])]


def audit_row(made: dict[str, Any]) -> Row:
    """What a row keeps of an audit's file."""
    association, gap = made["association"], made["predicted_gap"]
    row = {name: made[name] for name in ("verdict", "p_value", "margin", "minimum_detectable_alpha", "queries")}
    row |= {"difference": association["difference"], "difference_interval": association["difference_interval"]}
    row |= {"association": association["estimate"], "reference": association["reference"]}
    fit = made["assumption"]
    row |= {"classifier_accuracy": made["classifier_accuracy"], "assumption_ok": None if fit is None else fit["ok"]}
    return row | {"predicted_gap": gap["estimate"], "predicted_interval": gap["interval"]}


def summarised(rows: Sequence[Row], guidance: float, level: float) -> Row:
    """Verdicts by alpha, and predicted against measured gaps.

    Args:
        rows: of one guidance.
        guidance: which.
        level: of the intervals of rates.
    """
    clean = [row for row in rows if row["alpha"] == 0]
    by_alpha = []
    for alpha in sorted({row["alpha"] for row in rows}):
        mine = [row for row in rows if row["alpha"] == alpha]
        verdicts = {v: sum(row["verdict"] == v for row in mine) for v in ("poisoned", "clean", "inconclusive")}
        flagged = clopper_pearson(verdicts["poisoned"], len(mine), level)
        entry: Row = {"alpha": alpha, "generators": len(mine), "verdicts": verdicts, "flagged": flagged.estimate}
        entry |= {"flagged_interval": [flagged.low, flagged.high], "auroc": None}
        if alpha and clean:
            sizes = [abs(row["difference"]) for row in (*clean, *mine)]
            entry["auroc"] = float(roc_auc_score([False] * len(clean) + [True] * len(mine), sizes))
        entry["difference_mean"] = float(np.mean([row["difference"] for row in mine]))
        by_alpha.append(entry)
    return {"guidance": guidance, "by_alpha": by_alpha, "gap": gap_errors(rows, level)}


def gap_errors(rows: Sequence[Row], level: float) -> Row | None:
    """Mean absolute error of the predicted gap and how often its interval holds the measured one; None without any."""
    both = [r for r in rows if r["predicted_gap"] is not None and r["measured_gap"] is not None]
    if not both:
        return None
    errors = [abs(row["predicted_gap"] - row["measured_gap"]) for row in both]
    held = sum(r["predicted_interval"][0] <= r["measured_gap"] <= r["predicted_interval"][1] for r in both)
    covered = clopper_pearson(held, len(both), level)
    return {
        "generators": len(both),
        "mean_absolute_error": float(np.mean(errors)),
        "largest_error": float(np.max(errors)),
        "coverage": covered.estimate,
        "coverage_interval": [covered.low, covered.high],
    }


def verdict_table(summary: Sequence[Row]) -> Table:
    """Verdicts by guidance and alpha."""
    names = ("guidance", "alpha", "generators", "poisoned", "clean", "inconclusive", "AUROC", "mean d", "gap error")
    table = Table(*names, title="audits of generators' samples")
    for entry in summary:
        error = "" if entry["gap"] is None else f"{entry['gap']['mean_absolute_error']:.3f}"
        for one in entry["by_alpha"]:
            counts = [str(one["verdicts"][name]) for name in ("poisoned", "clean", "inconclusive")]
            auroc = "" if one["auroc"] is None else f"{one['auroc']:.3f}"
            first = (f"{entry['guidance']:g}", f"{one['alpha']:g}", str(one["generators"]))
            table.add_row(*first, *counts, auroc, f"{one['difference_mean']:+.2f}", error)
    return table
