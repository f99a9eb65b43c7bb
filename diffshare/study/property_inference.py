"""Property inference through generators: how near, and how honest, is a proportion that was read off samples?

The experiment of Luo et al., "Exploring Privacy and Fairness Risks in Sharing Diffusion Models", IEEE TIFS 19 (2024),
with corrected estimators beside the count, intervals beside the estimates, and surrogate generators as a remedy.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from diffshare.errors import UserError, one_of
from diffshare.stats.inverse import LEAST
from diffshare.stats.prevalence import NAMES
from diffshare.study.engine.base import Find, Row, Study, left_at
from diffshare.study.engine.checks import (
    check_axes,
    check_between,
    check_least,
    check_names,
    check_shares,
)
from diffshare.study.engine.step import Place, Step
from diffshare.study.reports.property import (
    draw_error,
    draw_truth,
    of_inference,
    of_remedy,
    outcome_table,
    summarise,
)
from diffshare.study.steps.grid import CrossFit, Estimates, PropertyCell, View
from diffshare.study.steps.pipeline import (
    MIXES,
    VERBS,
    Settings,
    mix_and_fit,
    sampling,
)

SHARES = "diffshare.study.steps.shares"
FIGURES = ("estimate_against_truth", "error_against_queries")
Labels = Literal["natural", "none"]
Training = Literal["plain", "degraded"]


@dataclass(kw_only=True, eq=False)
class PropertyInference(Study):
    """For each training set with a known share of a property: train and release a generator, sample it, estimate.

    A generator is trained once for all ways of sampling, classifiers, methods and numbers of queries, which all read
    the same samples. The receiver's classifier is trained on the auxiliary part, which no generator of the sharer
    sees. Samples come unconditionally or by the declared class frequencies alone: otherwise the receiver would choose
    what he infers.

    Args:
        generators: configs of the ``fit`` of each family, base first, by the name that it shall have.
        properties: attributes whose share is inferred.
        proportions: shares p in [0, 1] of the property in the sharer's training set.
        estimates: how it is estimated.
        seeds: of parts, mix, training, samples and classifier alike.
        n: records of a training set.
        labels: ``natural`` samples classes as the card declares, ``none`` asks for no class.
        guidances: values of ``guidance_scale`` for ``natural``; ``none`` has no guidance.
        trainings: of the classifier: ``plain``, or ``degraded``, with blurred and noisy copies of its records.
        auxiliary: numbers of records that the classifier is trained and calibrated on.
        surrogates: shares p of generators that the receiver trains on auxiliary records, three or more, as the remedy;
            none where empty.
        overrides: settings of ``fit`` over those of the configs: ``{trainer: {max_steps: 1000}}``.
        more: settings over ``overrides``, for the command line.
        sampling_steps: network calls a sample; the release's default where None.
        classifier: how it is trained.
        level: of the intervals.
    """

    generators: dict[str, list[Path]]
    properties: list[str]
    proportions: list[float]
    estimates: Estimates
    seeds: list[int]
    n: int
    labels: list[Labels]
    guidances: list[float]
    trainings: list[Training]
    auxiliary: list[int]
    surrogates: list[float]
    overrides: dict[str, Any] | None = None
    more: dict[str, Any] | None = None
    sampling_steps: int | None = None
    classifier: CrossFit = field(default_factory=lambda: CrossFit(400, 5))
    level: float = 0.95

    def __post_init__(self) -> None:
        """Check the grid and read the configs."""
        check_axes(self, "generators", "properties", "proportions", "seeds", "labels", "guidances")
        check_axes(self, "trainings", "auxiliary", "estimates.methods", "estimates.queries")
        if self.surrogates:
            check_axes(self, "surrogates")
            if len(self.surrogates) < LEAST:
                raise UserError(
                    f"study.surrogates has {len(self.surrogates)}: give {LEAST} or more shares, or none"
                )
        check_shares(self, "proportions", "surrogates")
        if other := [method for method in self.estimates.methods if method not in NAMES]:
            raise one_of("method", other[0], NAMES)
        check_least(self, {"seeds": 0, "guidances": 0, "auxiliary": 1, "n": 1})
        check_least(self, {f"estimates.{name}": 1 for name in ("runs", "resamples")})
        folds = 1 if self.estimates.methods == ["cc"] else 2
        numbers = {"classifier.steps": 1, "classifier.folds": folds, "estimates.queries": 2}
        check_least(self, numbers)
        check_names("study", (*self.generators, *self.properties))
        check_between(self, "level")
        self.settings = {
            family: Settings(
                paths, self.overrides, self.more, f"study.generators.{family}", ("source",)
            )
            for family, paths in self.generators.items()
        }

    # --- the grid ------------------------------------------------------------------------------------------------

    def cells(self) -> Iterator[PropertyCell]:
        """The sharer's generators; a whole seed before the next."""
        for seed, name, family in itertools.product(self.seeds, self.properties, self.generators):
            yield from (PropertyCell(name, family, seed, p) for p in self.proportions)

    def views(self) -> Iterator[View]:
        """How each generator is looked at."""
        for labels in self.labels:
            for guidance in self.guidances if labels == "natural" else [1.0]:
                kinds = itertools.product(self.trainings, self.auxiliary)
                yield from (View(labels, guidance, *kind) for kind in kinds)

    def steps(self) -> list[Step]:
        """See :class:`Study`: of each seed, property and family the sharer's generators first, then the remedy."""
        steps: list[Step] = []
        for _, group in itertools.groupby(self.cells(), lambda c: (c.seed, c.attribute, c.family)):
            mine, views = list(group), list(self.views())
            classifiers = [self._classifier(mine[0], view) for view in views]
            steps += {step.name: step for step in classifiers}.values()
            for cell in mine:
                steps += [*self._generator(cell), *(self._infer(cell, view) for view in views)]
            for surrogate in self._surrogates_of(mine[0]):
                steps += self._generator(surrogate)
            if self.surrogates:
                steps += [self._remedy(cell, view) for cell in mine for view in views]
        return steps

    def _surrogates_of(self, cell: PropertyCell) -> list[PropertyCell]:
        """The receiver's generators, the same for all p."""
        return [
            PropertyCell(cell.attribute, cell.family, cell.seed, p, surrogate=True)
            for p in self.surrogates
        ]

    def _generator(self, cell: PropertyCell) -> list[Step]:
        """A generator, and its samples in every way."""
        init = {"p": cell.p, "n": self.n, "property": cell.attribute}
        mix = {
            "data.mix": {"class_path": f"{MIXES}.Proportion", "init_args": init},
            "data.seed": cell.seed,
        }
        mix |= {"data.part": "auxiliary"} if cell.surrogate else {}
        settings = self.settings[cell.family]
        trained = mix_and_fit(cell.name, settings.configs, settings.overrides, mix, cell.seed)
        samples = {view.sampling: self._sample(cell, view) for view in self.views()}
        return [*trained, *samples.values()]

    def _sample(self, cell: PropertyCell, view: View) -> Step:
        count = max(self.estimates.queries)
        options = sampling(cell.name, count, cell.seed, self.sampling_steps)
        options |= {"labels": view.labels, "guidance": view.guidance}
        return Step.leaving(view.samples_of(cell), f"{VERBS}:sample", **options)

    def _classifier(self, cell: PropertyCell, view: View) -> Step:
        """The receiver's classifier of a property, on auxiliary records of the source of this seed."""
        data = self.settings[cell.family].auxiliary(cell.seed, cell.attribute, view.auxiliary)
        options = asdict(self.classifier) | {"degraded": view.training == "degraded"}
        out = view.classifier_of(cell)
        return Step.leaving(out, f"{SHARES}:train_one", data=data, seed=cell.seed, **options)

    def _estimates(self, kind: str, cell: PropertyCell, view: View, **more: Any) -> Step:
        options = asdict(self.estimates) | {"level": self.level} | more
        if kind == "remedy":
            del options["resamples"]  # a line has an interval without them
        return Step.leaving(
            view.estimates_of(kind, cell),
            f"{SHARES}:{kind}",
            classifier=view.classifier_of(cell),
            samples=view.samples_of(cell),
            **options,
        )

    def _infer(self, cell: PropertyCell, view: View) -> Step:
        return self._estimates("infer", cell, view, seed=cell.seed)

    def _remedy(self, cell: PropertyCell, view: View) -> Step:
        folders = [view.samples_of(other) for other in self._surrogates_of(cell)]
        return self._estimates(
            "remedy", cell, view, surrogates=folders, proportions=self.surrogates
        )

    # --- what came of it -----------------------------------------------------------------------------------------

    def rows(self, find: Find) -> list[Row]:
        """See :class:`Study`; ``calibration`` says what an estimate was corrected by.

        ``real``: held-out real records. ``widened``: the same, the interval widened by the surrogates' drift.
        ``surrogate``: the line through the surrogates.
        """
        rows = []
        for cell, view in itertools.product(self.cells(), list(self.views())):
            shared: Row = {"property": cell.attribute, "family": cell.family, "p": cell.p}
            shared |= {"seed": cell.seed} | vars(view)
            classifier = view.classifier_of(cell)
            card = left_at(find, Place(classifier.step, f"{classifier.path}/classifier.json"))
            estimates = left_at(find, view.estimates_of("infer", cell))
            if card is None or estimates is None:
                continue
            rows += of_inference(shared, card["accuracy"], estimates)
            remedy = left_at(find, view.estimates_of("remedy", cell))
            if self.surrogates and remedy is not None:
                rows += of_remedy(shared, card["accuracy"], estimates, remedy, self.level)
        return rows

    def summary(self, rows: Sequence[Row]) -> list[Row]:
        """See :class:`Study`: errors and coverage over proportions and seeds."""
        return summarise(rows, self.level)

    def tables(self, rows: Sequence[Row], summary: Sequence[Row]) -> list[Table]:
        """See :class:`Study`: one table for each property, at the number of queries nearest 1,000."""
        return [
            outcome_table(summary, name, self.level)
            for name in dict.fromkeys(r["property"] for r in rows)
        ]

    def figures(self, rows: Sequence[Row], summary: Sequence[Row], folder: Path) -> list[Path]:
        """See :class:`Study`."""
        drawn = []
        for name in dict.fromkeys(row["property"] for row in rows):
            own_rows, own_summary = (
                [row for row in some if row["property"] == name] for some in (rows, summary)
            )
            truth, error = (f"{name}_{kind}.png" for kind in FIGURES)
            drawn.append(draw_truth(own_rows, folder / truth, self.level))
            drawn.append(draw_error(own_summary, folder / error, self.level))
        return drawn
