"""What gap remains possible for a sharer who knows the audit, against the queries that the receiver spends?

Real records stand in for a generator that makes no mistakes. For each margin that the sharer keeps: the gap of a
classifier that is trained on the set, and how often an audit of samples of such a generator flags it.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from diffshare.audits.poisoning.verdict import MARGIN, Terms
from diffshare.classifiers.recipes import Recipe
from diffshare.errors import UserError
from diffshare.study.engine.base import Find, Row, Study, left_at
from diffshare.study.engine.checks import check_axes, check_between, check_least
from diffshare.study.engine.configs import (
    below,
    flat,
    merged,
    named_class,
    with_settings,
)
from diffshare.study.engine.step import Place, Step
from diffshare.study.reports.adaptive import draw_adaptive, summarise, tables, with_excess
from diffshare.study.steps.grid import Audits, Sets, Sizes

CUT = "diffshare.study.steps.cut:measure"


@dataclass(kw_only=True, eq=False)
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
        more: settings over ``overrides``, for the command line (``study.more``):
            ``'{"source.root": "data/adult"}'``.
        level: of the intervals over cuts.
    """

    source: Path
    target: str
    sensitive: str
    classifier: str
    sizes: Sizes
    seeds: list[int]
    sets: Sets
    audit: Audits
    risk: float = 0.2
    overrides: dict[str, Any] | None = None
    more: dict[str, Any] | None = None
    level: float = 0.95

    def __post_init__(self) -> None:
        """Check the grid and read the source."""
        self._check()
        margin = MARGIN if self.audit.margin is None else self.audit.margin
        Terms(margin=margin, level=self.audit.level)  # refuses what no audit could have
        if not issubclass(named_class(self.classifier, "study.classifier"), Recipe):
            raise UserError(
                f"study.classifier is {self.classifier}: name a Recipe of diffshare.classifiers.recipes"
            )
        block = merged([self.source])
        if "class_path" not in block:
            raise UserError(
                f"{self.source} names no class_path: name a source file, or a packaged source such as source/adult"
            )
        settings = dict(flat(self.overrides or {})) | dict(flat(self.more or {}))
        if other := [key for key in settings if not key.startswith(("source.", "classifier."))]:
            raise UserError(
                f"study.overrides has {other[0]}: settings here begin with 'source.' or 'classifier.'"
            )
        recipe = {"class_path": self.classifier}
        self.arguments = {
            "source": with_settings(block, below("source.", settings)),
            "classifier": with_settings(recipe, below("classifier.", settings)),
            "target": self.target,
            "sensitive": self.sensitive,
            "sizes": asdict(self.sizes),
            "sets": asdict(self.sets),
            "audit": asdict(self.audit) | {"margin": margin},
        }

    def _check(self) -> None:
        check_axes(self, "seeds", "sets.margins", "audit.queries")
        check_least(self, {"seeds": 0, "sizes.reference": 1, "sizes.test": 1, "sizes.n": 2})
        check_least(self, {"sets.trainings": 1, "audit.repeats": 1, "audit.queries": 2})
        check_between(self, "risk", "level")
        if len(self.seeds) < 2:
            raise UserError(
                f"study.seeds is {self.seeds}: give at least two seeds; the margin is chosen on one half of the cuts "
                "and judged on the other"
            )
        if bad := [margin for margin in self.sets.margins if not 0 < margin < float("inf")]:
            raise UserError(
                f"study.sets.margins has {bad[0]}: a margin is a finite number of log odds above 0"
            )
        if not 0 < self.sets.alpha <= 1:
            raise UserError(
                f"study.sets.alpha is {self.sets.alpha}: the share that the sharer chooses lies in (0, 1]"
            )

    def steps(self) -> list[Step]:
        """See :class:`diffshare.study.engine.base.Study`."""
        return [
            Step.leaving(self._cut(seed), CUT, seed=seed, **self.arguments) for seed in self.seeds
        ]

    @staticmethod
    def _cut(seed: int) -> Place:
        return Place(f"cut-s{seed}", "cut.json")

    def rows(self, find: Find) -> list[Row]:
        """See :class:`diffshare.study.engine.base.Study`: one row a cut and margin."""
        rows: list[Row] = []
        for seed in self.seeds:
            cut = left_at(find, self._cut(seed)) or {"rows": []}
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
