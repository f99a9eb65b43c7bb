"""What gap remains possible for a sharer who knows the audit, against the queries that the receiver spends?

Real records stand in for a generator that makes no mistakes. For each margin that the sharer keeps: the gap of a
classifier that is trained on the set, and how often an audit of samples of such a generator flags it.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.table import Table

from diffshare.audits.poisoning.verdict import MARGIN, Terms
from diffshare.classifiers.recipes import Recipe
from diffshare.errors import UserError
from diffshare.study.engine.base import Find, Row, Study, left_at
from diffshare.study.engine.configs import (
    below,
    check_axis,
    check_least,
    check_level,
    flat,
    merged,
    named_class,
    with_settings,
)
from diffshare.study.engine.step import Place, Step
from diffshare.study.reports.adaptive import draw_adaptive, summarise, tables, with_excess
from diffshare.study.steps.grid import Audits, Sets, Sizes

CUT = "diffshare.study.steps.cut:measure"


class AdaptiveSharer(Study):
    """One step a cut of the records, all margins and numbers of queries in it; the audit is at guidance 1.

    Args:
        source: YAML file of a source; all parts of it are cut anew for each seed.
        target: attribute that is the class Y, of two classes.
        sensitive: attribute that is the group S, of two groups; where it is no column, a classifier reads it.
        classifier: recipe by its ``class_path``, of the receiver's classifier and of that of the group.
        sizes: of the cut.
        seeds: of the cuts, at least 2: the margin is chosen on one half of them and judged on the other.
        sets: that the sharer chooses.
        audit: by the receiver.
        risk: probability of being flagged that the sharer takes, in (0, 1).
        overrides: settings of the source and the classifier: ``{source.image_size: 32, classifier.components: 100}``.
        more: settings over ``overrides``, for the command line: ``--study.more '{"source.root": "data/adult"}'``.
        level: of the intervals over cuts.
    """

    def __init__(
        self,
        source: Path,
        target: str,
        sensitive: str,
        classifier: str,
        sizes: Sizes,
        seeds: list[int],
        sets: Sets,
        audit: Audits,
        risk: float = 0.2,
        overrides: dict[str, Any] | None = None,
        more: dict[str, Any] | None = None,
        level: float = 0.95,
    ) -> None:
        _check_grid(seeds, sets, audit)
        check_least(
            (f"sizes.{name}", value, 2 if name == "n" else 1) for name, value in vars(sizes).items()
        )
        check_least((("sets.trainings", sets.trainings, 1), ("audit.repeats", audit.repeats, 1)))
        check_level(risk, "risk")
        check_level(level)
        margin = MARGIN if audit.margin is None else audit.margin
        Terms(margin=margin, level=audit.level)  # refuses what no audit could have
        if not issubclass(named_class(classifier, "study.classifier"), Recipe):
            raise UserError(
                f"study.classifier is {classifier}: name a Recipe of diffshare.classifiers.recipes"
            )
        block = merged([source])
        if "class_path" not in block:
            raise UserError(
                f"{source} names no class_path: name a source file, or a packaged source such as source/adult"
            )
        settings = dict(flat(overrides or {})) | dict(flat(more or {}))
        if other := [key for key in settings if not key.startswith(("source.", "classifier."))]:
            raise UserError(
                f"study.overrides has {other[0]}: settings here begin with 'source.' or 'classifier.'"
            )
        self.seeds, self.risk, self.level = seeds, risk, level
        self.arguments = {
            "source": with_settings(block, below("source.", settings)),
            "classifier": with_settings({"class_path": classifier}, below("classifier.", settings)),
            "target": target,
            "sensitive": sensitive,
            "sizes": asdict(sizes),
            "sets": asdict(sets),
            "audit": asdict(audit) | {"margin": margin},
        }

    def steps(self) -> list[Step]:
        """See :class:`diffshare.study.engine.base.Study`."""
        cuts = {seed: Place(f"cut-s{seed}", "cut.json") for seed in self.seeds}
        return [
            Step(out.step, CUT, self.arguments | {"seed": seed, "out": out})
            for seed, out in cuts.items()
        ]

    def rows(self, find: Find) -> list[Row]:
        """See :class:`diffshare.study.engine.base.Study`: one row a cut and margin."""
        rows: list[Row] = []
        for seed in self.seeds:
            cut = left_at(find, Place(f"cut-s{seed}", "cut.json")) or {"rows": []}
            shared = {name: value for name, value in cut.items() if name != "rows"}
            rows += [{"seed": seed, **row, **shared} for row in cut["rows"]]
        return with_excess(rows)

    def summary(self, rows: Sequence[Row]) -> list[Row]:
        """See :class:`diffshare.study.engine.base.Study`."""
        return summarise(rows, self.risk, self.level)

    def tables(self, rows: Sequence[Row], summary: Sequence[Row]) -> list[Table]:
        """See :class:`diffshare.study.engine.base.Study`."""
        return tables(summary)

    def figures(self, rows: Sequence[Row], summary: Sequence[Row], folder: Path) -> list[Path]:
        """See :class:`diffshare.study.engine.base.Study`."""
        return [draw_adaptive(summary, folder / "adaptive.png")]


def _check_grid(seeds: list[int], sets: Sets, audit: Audits) -> None:
    for name, axis in (
        ("seeds", seeds),
        ("sets.margins", sets.margins),
        ("audit.queries", audit.queries),
    ):
        check_axis(f"study.{name}", axis)
    if len(seeds) < 2 or min(seeds) < 0:
        raise UserError(
            f"study.seeds is {seeds}: give at least two seeds, 0 or more; the margin is chosen on one half of the cuts "
            "and judged on the other"
        )
    if bad := [margin for margin in sets.margins if not 0 < margin < float("inf")]:
        raise UserError(
            f"study.sets.margins has {bad[0]}: a margin is a finite number of log odds above 0"
        )
    if low := [count for count in audit.queries if count < 2]:
        raise UserError(
            f"study.audit.queries has {low[0]}: an audit draws at least one sample of each class"
        )
    if not 0 < sets.alpha <= 1:
        raise UserError(
            f"study.sets.alpha is {sets.alpha}: the share that the sharer chooses lies in (0, 1]"
        )
