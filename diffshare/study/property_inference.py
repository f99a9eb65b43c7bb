"""Property inference through generators: how near, and how honest, is a proportion that was read off samples?

The experiment of Luo et al., "Exploring Privacy and Fairness Risks in Sharing Diffusion Models", IEEE TIFS 19 (2024),
with corrected estimators beside the count, intervals beside the estimates, and surrogate generators as a remedy.
"""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from rich.table import Table

from diffshare.errors import UserError, one_of
from diffshare.stats.inverse import LEAST
from diffshare.stats.prevalence import NAMES
from diffshare.study.engine.base import Find, Row, Study
from diffshare.study.engine.configs import as_word, check_axis, flat, merged, words
from diffshare.study.engine.step import Command, Place, Step, Word, mix_and_fit
from diffshare.study.property_grid import Cell, View, classifier_of, estimates_of, samples_of
from diffshare.study.reports.property_figures import draw_error, draw_truth
from diffshare.study.reports.property_results import of_inference, of_remedy, outcome_table, summarise

PROPORTION = "diffshare.data.mixes.Proportion"
STEPS = "diffshare.study.steps.property"
Labels = Literal["natural", "none"]
Training = Literal["plain", "degraded"]


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
        methods: estimators of :func:`diffshare.stats.prevalence.estimate`.
        queries: numbers of samples that an estimate is made of.
        seeds: of parts, mix, training, samples and classifier alike.
        n: records of a training set.
        labels: ``natural`` samples classes as the card declares, ``none`` asks for no class.
        guidances: values of ``guidance_scale`` for ``natural``; ``none`` has no guidance.
        trainings: of the classifier: ``plain``, or ``degraded``, with blurred and noisy copies of its records.
        auxiliary: numbers of records that the classifier is trained and calibrated on.
        surrogates: shares p of generators that the receiver trains on auxiliary records, three or more, as the remedy;
            none where empty.
        runs: most disjoint runs of each number of queries that are read off one generator's samples.
        overrides: settings of ``fit`` over those of the configs: ``{trainer: {max_steps: 1000}}``.
        more: settings over ``overrides``, for the command line.
        sampling_steps: network calls a sample; the release's default where None.
        classifier_steps: training steps of each fold's classifier.
        folds: of the classifier, 2 at least; 1, where ``cc`` is the only method, is the paper's single one.
        resamples: of the bootstrap.
        level: of the intervals.
    """

    def __init__(
        self,
        generators: dict[str, list[Path]],
        properties: list[str],
        proportions: list[float],
        methods: list[str],
        queries: list[int],
        seeds: list[int],
        n: int,
        labels: list[Labels],
        guidances: list[float],
        trainings: list[Training],
        auxiliary: list[int],
        surrogates: list[float],
        runs: int = 4,
        overrides: dict[str, Any] | None = None,
        more: dict[str, Any] | None = None,
        sampling_steps: int | None = None,
        classifier_steps: int = 400,
        folds: int = 5,
        resamples: int = 1000,
        level: float = 0.95,
    ) -> None:
        self.generators, self.properties, self.proportions = generators, properties, proportions
        self.methods, self.queries, self.seeds, self.n = methods, queries, seeds, n
        self.labels, self.guidances, self.trainings = labels, guidances, trainings
        self.surrogates, self.runs, self.auxiliary = surrogates, runs, auxiliary
        self.overrides = dict(flat(overrides or {})) | dict(flat(more or {}))
        self.sampling_steps, self.classifier_steps, self.folds = sampling_steps, classifier_steps, folds
        self.resamples, self.level = resamples, level
        self._check()
        self.data = {family: _data_block(family, paths) for family, paths in generators.items()}

    def _check(self) -> None:
        axes: dict[str, Sequence[Any]] = {"generators": list(self.generators)}
        names = (
            "properties",
            "proportions",
            "methods",
            "queries",
            "seeds",
            "labels",
            "guidances",
            "trainings",
            "auxiliary",
        )
        for name, axis in (axes | {name: getattr(self, name) for name in names}).items():
            check_axis(f"study.{name}", axis)
        if self.surrogates:
            check_axis("study.surrogates", self.surrogates)
        if 0 < len(self.surrogates) < LEAST:
            raise UserError(f"study.surrogates has {len(self.surrogates)}: give {LEAST} or more shares, or none")
        for name in ("proportions", "surrogates"):
            if outside := [p for p in getattr(self, name) if not 0 <= p <= 1]:
                raise UserError(f"study.{name} has {outside[0]}: a share lies in [0, 1]")
        if unknown := [method for method in self.methods if method not in NAMES]:
            raise one_of("method", unknown[0], NAMES)
        numbers: list[tuple[str, Sequence[float], float]] = [
            ("queries", self.queries, 2),
            ("seeds", self.seeds, 0),
            ("guidances", self.guidances, 0),
            ("auxiliary", self.auxiliary, 1),
            *((name, [getattr(self, name)], 1) for name in ("n", "runs", "classifier_steps", "resamples")),
            ("folds", [self.folds], 1 if list(self.methods) == ["cc"] else 2),
        ]
        for name, values, least in numbers:
            if below := [value for value in values if value < least]:
                raise UserError(f"study.{name} has {below[0]}: it must be at least {least}")
        for name in (*self.generators, *self.properties):
            if not name.replace("_", "").replace("-", "").isalnum():
                raise UserError(f"study has '{name}': a name has letters, digits, - and _, it becomes a folder")
        if not 0 < self.level < 1:
            raise UserError(f"study.level is {self.level}: it lies between 0 and 1")

    # --- the grid ------------------------------------------------------------------------------------------------

    def cells(self) -> Iterator[Cell]:
        """The sharer's generators; a whole seed before the next."""
        for seed, name, family in itertools.product(self.seeds, self.properties, self.generators):
            yield from (Cell(name, family, seed, p) for p in self.proportions)

    def views(self) -> Iterator[View]:
        """How each generator is looked at."""
        for labels in self.labels:
            for guidance in self.guidances if labels == "natural" else [1.0]:
                kinds = itertools.product(self.trainings, self.auxiliary)
                yield from (View(labels, guidance, *kind) for kind in kinds)

    def steps(self) -> list[Step]:
        """See :class:`Study`: of each seed, property and family the sharer's generators first, then the remedy."""
        found: list[Step] = []
        for _, group in itertools.groupby(self.cells(), lambda c: (c.seed, c.attribute, c.family)):
            mine = list(group)
            classifiers = [self._classifier(mine[0], view) for view in self.views()]
            found += {step.name: step for step in classifiers}.values()
            for cell in mine:
                found += [*self._generator(cell), *(self._infer(cell, view) for view in self.views())]
            for surrogate in self._surrogates_of(mine[0]):
                found += self._generator(surrogate)
            if self.surrogates:
                found += [self._remedy(cell, view) for cell in mine for view in self.views()]
        return found

    def _surrogates_of(self, cell: Cell) -> list[Cell]:
        """The receiver's generators, the same for all p."""
        return [Cell(cell.attribute, cell.family, cell.seed, p, surrogate=True) for p in self.surrogates]

    def _generator(self, cell: Cell) -> list[Step]:
        samplings = {view.sampling: self._sample(cell, view) for view in self.views()}
        return [*self._trained(cell), *samplings.values()]

    def _data_words(self, cell: Cell) -> list[str]:
        """What makes this cell's training set, over a config with a ``MixDataModule``."""
        mix = {"class_path": PROPORTION, "init_args": {"p": cell.p, "n": self.n, "property": cell.attribute}}
        part = {"data.part": "auxiliary"} if cell.surrogate else {}
        return words({"data.mix": mix, "data.seed": cell.seed, **part}.items())

    def _configs(self, cell: Cell) -> list[str]:
        return [word for path in self.generators[cell.family] for word in ("--config", str(path))]

    def _trained(self, cell: Cell) -> tuple[Step, Step]:
        configs, mix = self._configs(cell), self._data_words(cell)
        data = words((k, v) for k, v in self.overrides.items() if k.startswith("data."))
        seed = ("--seed_everything", str(cell.seed))
        return mix_and_fit(cell.name, [*configs, *data, *mix], [*configs, *words(self.overrides.items()), *mix, *seed])

    def _sample(self, cell: Cell, view: View) -> Step:
        folder = samples_of(cell, view)
        steps = ("--steps", str(self.sampling_steps)) if self.sampling_steps else ()
        command: Command = (
            "sample", "--model", Place(f"fit-{cell.name}", "run/release"), "--count", str(max(self.queries)),
            "--labels", view.labels, "--seed", str(cell.seed), *steps, "--guidance", f"{view.guidance:g}",
            "--batch-size", "250", "--out", folder,
        )  # fmt: skip
        return Step(folder.step, (command,))

    def _classifier(self, cell: Cell, view: View) -> Step:
        """The receiver's classifier of a property, on auxiliary records of the source of this seed."""
        place = classifier_of(cell, view)
        over = [(k, v) for k, v in self.overrides.items() if k.startswith("data.source.")]
        block = {"source": self.data[cell.family]["source"], "target": cell.attribute, "part": "auxiliary"}
        block |= {"seed": cell.seed, "validation_share": 0.0}
        block["mix"] = {"class_path": "diffshare.data.mixes.Clean", "init_args": {"n": view.auxiliary}}
        module = {"class_path": "diffshare.data.module.MixDataModule", "init_args": block}
        command: Command = (
            "--data", as_word(module), *words(over), "--steps", str(self.classifier_steps), "--folds", str(self.folds),
            "--degraded", as_word(view.training == "degraded"), "--seed", str(cell.seed), "--out", place,
        )  # fmt: skip
        return Step(place.step, (command,), run=f"{STEPS}:train")

    def _estimate_words(self, cell: Cell, view: View, out: Place) -> tuple[Word, ...]:
        return (
            "--classifier", classifier_of(cell, view), "--samples", samples_of(cell, view),
            "--methods", as_word(self.methods), "--queries", as_word(self.queries), "--runs", str(self.runs),
            "--level", str(self.level), "--seed", str(cell.seed), "--out", out,
        )  # fmt: skip

    def _infer(self, cell: Cell, view: View) -> Step:
        out = estimates_of("infer", cell, view)
        command = (*self._estimate_words(cell, view, out), "--resamples", str(self.resamples))
        return Step(out.step, (command,), run=f"{STEPS}:infer")

    def _remedy(self, cell: Cell, view: View) -> Step:
        out = estimates_of("remedy", cell, view)
        folders = [samples_of(other, view) for other in self._surrogates_of(cell)]
        command = (
            *self._estimate_words(cell, view, out), "--surrogates", *folders, "--known", as_word(self.surrogates),
        )  # fmt: skip
        return Step(out.step, (command,), run=f"{STEPS}:remedy")

    # --- what came of it -----------------------------------------------------------------------------------------

    def rows(self, find: Find) -> list[Row]:
        """See :class:`Study`; ``calibration`` says what an estimate was corrected by.

        ``real``: held-out real records. ``widened``: the same, the interval widened by the surrogates' drift.
        ``surrogate``: the line through the surrogates.
        """
        found = []
        for cell in self.cells():
            for view in self.views():
                shared: Row = {"property": cell.attribute, "family": cell.family, "p": cell.p, "seed": cell.seed}
                shared |= {"labels": view.labels, "guidance": view.guidance, "training": view.training}
                shared["auxiliary"] = view.auxiliary
                classifier = classifier_of(cell, view)
                card = find(Place(classifier.step, f"{classifier.path}/classifier.json"))
                estimates = find(estimates_of("infer", cell, view))
                if card is None or estimates is None:
                    continue
                found += of_inference(shared, card, estimates)
                remedied = find(estimates_of("remedy", cell, view))
                if self.surrogates and remedied is not None:
                    found += of_remedy(shared, card, estimates, remedied, self.level)
        return found

    def summary(self, rows: Sequence[Row]) -> list[Row]:
        """See :class:`Study`: errors and coverage over proportions and seeds."""
        return summarise(rows, self.level)

    def tables(self, rows: Sequence[Row], summary: Sequence[Row]) -> list[Table]:
        """See :class:`Study`: one table for each property, at the number of queries nearest 1,000."""
        return [outcome_table(summary, name, self.level) for name in dict.fromkeys(r["property"] for r in rows)]

    def figures(self, rows: Sequence[Row], summary: Sequence[Row], folder: Path) -> list[Path]:
        """See :class:`Study`."""
        drawn = []
        for name in dict.fromkeys(row["property"] for row in rows):
            mine = [[r for r in some if r["property"] == name] for some in (rows, summary)]
            drawn.append(draw_truth(mine[0], folder / f"{name}_estimate_against_truth.png", self.level))
            drawn.append(draw_error(mine[1], folder / f"{name}_error_against_queries.png", self.level))
        return drawn


def _data_block(family: str, paths: list[Path]) -> dict[str, Any]:
    """Arguments of the data module that a family's configs name."""
    key = f"study.generators.{family}"
    if not paths:
        raise UserError(f"{key} is empty: name at least one config file")
    block = merged(paths).get("data", {}).get("init_args")
    if not isinstance(block, dict) or "source" not in block:
        raise UserError(
            f"{key}: {paths[-1]} and what it is laid over name no data.init_args.source; name a config of fit"
        )
    return block
