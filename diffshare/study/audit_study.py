"""Audits of generators: how often is a clean one flagged, how often does a poisoned one pass, is the gap predicted?

On top of the fairness poisoning study: the same training sets, generators, samples and classifiers, and an audit of
every samples folder against auxiliary records. The gap that the audit predicts stands beside the one that the
receiver's classifier really has on test records. Poisoned samples can be repaired after their audit, and classified
again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from rich.table import Table

from diffshare.errors import UserError
from diffshare.study.engine.base import Find, Row, left_at
from diffshare.study.engine.checks import check_axes
from diffshare.study.engine.configs import below
from diffshare.study.engine.step import Place, Step
from diffshare.study.fairness_poisoning import Cell, FairnessPoisoning
from diffshare.study.reports.audit import audit_row, draw_audit, summarise, verdict_table
from diffshare.study.reports.common import grouped
from diffshare.study.reports.repair import (
    draw_repairs,
    outcome,
    repair_table,
    repaired_row,
    summarise_repairs,
)
from diffshare.study.steps.pipeline import VERBS, verb_options
from diffshare.study.steps.repair import RepairOptions, check_repairs, repair_steps

MEASURED = "demographic_parity_difference"


@dataclass(kw_only=True, eq=False)
class AuditStudy(FairnessPoisoning):
    """For each training set and guidance: an audit of the samples, and the classifier that it speaks of.

    ``samples`` are the queries, and ``count_groups`` does nothing: the audit reads the groups.

    Args:
        clean_seeds: seeds of clean training sets; ``seeds`` are those of the poisoned ones.
        audit: options of the verb ``audit``: ``{downstream: NetworkRecipe, "downstream.steps": 600}``.
        repairs: how poisoned samples are repaired, by the name that it shall have; not at all where left out. With
            ``resample`` of a table the group is the samples' own column, hence known, and the figure an upper bound.
    """

    clean_seeds: list[int]
    audit: dict[str, Any] | None = None
    repairs: dict[str, RepairOptions] | None = None

    def __post_init__(self) -> None:
        """Check what is added to the grid."""
        super().__post_init__()
        check_axes(self, "clean_seeds")
        if not self.through_generator:
            raise UserError(
                "study.through_generator is false: an audit is of a generator's samples"
            )
        self.audit, self.repairs = verb_options(self.audit), self.repairs or {}
        check_repairs(self.repairs, self.seeds, self.clean_seeds)
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
        steps = super().steps()
        audits = [
            self._audit(cell, guidance) for cell in self.cells() for guidance in self.guidances
        ]
        return [*steps, *audits, *self._repairs({step.name: step for step in steps})]

    def _repairs(self, steps: Mapping[str, Step]) -> Iterator[Step]:
        """Repairs of every poisoned samples folder, and the classifier on what they leave."""
        poisoned = [cell for cell in self.cells() if cell.alpha]
        assert self.repairs is not None
        for cell, guidance, repair in product(poisoned, self.guidances, self.repairs.items()):
            end, release = cell.end(guidance), Place(f"fit-{cell.name}", "run/release")
            classified = steps[f"classifier-{end}"]
            yield from repair_steps(*repair, end, classified, release=release, seed=cell.seed)

    def _audit(self, cell: Cell, guidance: float) -> Step:
        """The audit of one samples folder, against the auxiliary part of the generator's own source."""
        end, settings = cell.end(guidance), self.settings
        name, data = f"audit-{end}", settings.data | below("data.", settings.overrides)
        arguments = {
            "samples": Place(f"sample-{end}", "samples"),
            "guidance": guidance,
            "reference": settings.source(),
            "pool": data.get("pool") or "natural",
            "sensitive": settings.role("sensitive"),
            "target": settings.role("target"),
            "split_seed": cell.seed,
            "seed": cell.seed,
        }
        over = {**(self.audit or {}), "json": Place(name, "audit.json")}
        return Step(name, f"{VERBS}:audit", arguments | over)

    def rows(self, find: Find) -> list[Row]:
        """See :class:`diffshare.study.engine.base.Study`: one row a samples folder."""
        measured = {
            self._key(row): row for row in super().rows(find) if row["where"] == "generator"
        }
        rows = []
        for cell, guidance in product(self.cells(), self.guidances):
            audit = left_at(find, Place(f"audit-{cell.end(guidance)}", "audit.json"))
            if audit is None:
                continue
            row = vars(cell) | {"guidance": guidance}
            real = measured.get(self._key(row), {})
            row |= {"measured_gap": real.get(MEASURED), "accuracy": real.get("accuracy")}
            row |= {"test_records": real.get("n"), "shares_in_mix": real.get("shares_in_mix")}
            row |= audit_row(audit)
            if self.repairs and cell.alpha:
                row["measured_gap_signed"] = real.get(f"{MEASURED}_signed")
                clean = measured.get(("clean", 0.0, guidance, cell.seed), {})
                row |= outcome(clean, "clean_")
                row["direction"] = real.get("direction")
                row["repairs"] = self._repaired(find, cell.end(guidance))
            rows.append(row)
        return rows

    def _repaired(self, find: Find, end: str) -> dict[str, Row | None]:
        """What each repair of one samples folder brought; None of one that is not done."""
        return {
            name: repaired_row(
                left_at(find, Place(f"repaired-{name}-{end}", "run/results.json")),
                left_at(find, Place(f"repair-{name}-{end}", "samples/repair.json")),
            )
            for name in self.repairs or {}
        }

    @staticmethod
    def _key(row: Row) -> tuple[Any, ...]:
        return row["policy"], row["alpha"], row["guidance"], row["seed"]

    def summary(self, rows: Sequence[Row]) -> list[Row]:
        """See :class:`diffshare.study.engine.base.Study`: one entry a guidance."""
        entries = []
        for (guidance,), mine in grouped(rows, ("guidance",)).items():
            repairs = {"repairs": summarise_repairs(mine, self.level)} if self.repairs else {}
            entries.append(summarise(mine, guidance, self.level) | repairs)
        return entries

    def tables(self, rows: Sequence[Row], summary: Sequence[Row]) -> list[Table]:
        """See :class:`diffshare.study.engine.base.Study`."""
        return [verdict_table(summary), *([repair_table(summary)] if self.repairs else [])]

    def figures(self, rows: Sequence[Row], summary: Sequence[Row], folder: Path) -> list[Path]:
        """See :class:`diffshare.study.engine.base.Study`."""
        repaired = any(entry.get("repairs") for entry in summary)
        drawn = [draw_audit(rows, folder / "audit.png")]
        return [*drawn, *([draw_repairs(summary, folder / "repairs.png")] if repaired else [])]
