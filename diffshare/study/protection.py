"""Protections through a generator: what they hide, and what they cost in quality and in use.

Samples that show a chosen share of a property instead of the training set's own, and DP-SGD, which bounds what one
record can have given away and promises nothing of shares: both are measured by the same steps, beside plain models and
beside the records themselves.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from diffshare.errors import UserError
from diffshare.study.engine.base import Find, Row, Study
from diffshare.study.engine.configs import as_word, check_axis, flat, merged, words
from diffshare.study.engine.step import TRUSTED, Command, Place, Step, mix_and_fit
from diffshare.study.protection_model import PLAIN, REAL, Cell, Model, Protected, Receiver
from diffshare.study.protection_settings import Settings, check_least, check_names
from diffshare.study.reports.protection_figures import draw_models, draw_shown
from diffshare.study.reports.protection_results import Files, paired, sample_row, summarise
from diffshare.study.reports.protection_tables import tables

STEPS = "diffshare.study.steps.protection"
PRIVATE = "diffshare.sharer.protection.dp.PrivateDDPM"
APART = 1000  # between the seeds of two trainings of the receiver's classifier, and of two readers of the property


class Protection(Study):
    """For each seed, true share p and kind of model: train, release, draw plain and protected samples, measure both.

    Args:
        generator: configs of the generator's ``fit``, base first.
        classifier: configs of the receiver's classifier of the target, base first.
        property: attribute whose share in the training set is to be hidden; class 1 counts.
        proportions: its true shares p in [0, 1].
        models: kinds of model by the name that each shall have; plain, or trained by DP-SGD to an epsilon.
        seeds: of data, mix, training, samples and classifiers alike.
        samples: samples of each generator, as many of each class, and real records that they are compared with.
        receivers: who infers the property, by name; the first is the one that errors are judged by.
        features: attributes; kernel distances are measured in the features of classifiers of them.
        protections: ways of drawing samples that show a chosen share, by name; beside ``plain``, which is always there.
        audit: options of ``audit --as sharer``, which adds the membership test; no audit where None.
        trainings: of the receiver's classifier on each samples folder.
        overrides: settings of all ``fit``.
        more: settings over all others, for the command line: ``--study.more '{"trainer.max_steps": 10}'``.
        classifier_overrides: settings over those of ``classifier``.
        sampling_steps: network calls a sample; the release's default where None.
        reader_records: auxiliary records that the classifiers of ``features`` are trained on.
        reader_steps: training steps of theirs.
        level: of the intervals.
    """

    def __init__(
        self,
        generator: list[Path],
        classifier: list[Path],
        property: str,
        proportions: list[float],
        models: dict[str, Model],
        seeds: list[int],
        samples: int,
        receivers: dict[str, Receiver],
        features: list[str],
        protections: dict[str, Protected] | None = None,
        audit: dict[str, Any] | None = None,
        trainings: int = 2,
        overrides: dict[str, Any] | None = None,
        more: dict[str, Any] | None = None,
        classifier_overrides: dict[str, Any] | None = None,
        sampling_steps: int | None = None,
        reader_records: int = 2000,
        reader_steps: int = 200,
        level: float = 0.95,
    ) -> None:
        self.generator, self.classifier, self.property = generator, classifier, property
        self.proportions, self.models, self.seeds, self.samples = proportions, models, seeds, samples
        self.receivers, self.features, self.protections = receivers, features, protections or {}
        self.audit = None if audit is None else dict(flat(audit))
        self.trainings, self.sampling_steps, self.level = trainings, sampling_steps, level
        self.reader_records, self.reader_steps = reader_records, reader_steps
        self.classifier_overrides = dict(flat(classifier_overrides or {}))
        self.settings = Settings(generator, dict(flat(overrides or {})), dict(flat(more or {})))
        merged(classifier)  # refused before anything runs
        self._check()

    def _check(self) -> None:
        axes: dict[str, Sequence[Any]] = {"models": list(self.models), "receivers": list(self.receivers)}
        for name, axis in (axes | {n: getattr(self, n) for n in ("proportions", "seeds", "features")}).items():
            check_axis(f"study.{name}", axis)
        if outside := [p for p in self.proportions if not 0 <= p <= 1]:
            raise UserError(f"study.proportions has {outside[0]}: a share lies in [0, 1]")
        for name, way in self.protections.items():
            if not 0 < way.share < 1:
                raise UserError(
                    f"study.protections.{name}.share is {way.share}: it lies between 0 and 1, both excluded"
                )
        numbers = [("seeds", min(self.seeds), 0), ("samples", self.samples, 4), ("trainings", self.trainings, 1)]
        numbers += [("reader_records", self.reader_records, 1), ("reader_steps", self.reader_steps, 1)]
        numbers += [(f"models.{name}.n", model.n, 1) for name, model in self.models.items()]
        for name, one in self.receivers.items():
            numbers += [(f"receivers.{name}.{k}", getattr(one, k), 1) for k in ("records", "steps")]
            numbers.append((f"receivers.{name}.folds", one.folds, 2))
        check_least(numbers)
        check_names([*self.models, *self.receivers, *self.protections])
        if self.property == self.settings.role("target"):
            raise UserError(
                f"study.property is '{self.property}', the target, by which the samples are drawn: the receiver would "
                "choose its share; name another"
            )
        if not 0 < self.level < 1:
            raise UserError(f"study.level is {self.level}: it lies between 0 and 1")
        for name, model in self.models.items():
            self.settings.noise(f"study.models.{name}", model)

    # --- the grid ------------------------------------------------------------------------------------------------

    def cells(self) -> Iterator[Cell]:
        """The training sets, and the records alone; a whole seed before the next."""
        for seed in self.seeds:
            for p in self.proportions:
                yield Cell(REAL, p, seed)
                yield from (Cell(model, p, seed) for model in self.models)

    def views(self, cell: Cell) -> list[str]:
        """How a cell's samples are drawn: plainly, and by each protection."""
        return [PLAIN] if cell.model == REAL else [PLAIN, *self.protections]

    def steps(self) -> list[Step]:
        """See :class:`Study`."""
        found: list[Step] = []
        for seed in self.seeds:
            found += [self._readers(seed), self._receivers(seed), self._reference(seed)]
            for cell in (cell for cell in self.cells() if cell.seed == seed):
                if cell.model != REAL:
                    found += [*self._trained(cell), *(self._sample(cell, view) for view in self.views(cell))]
                    found += [self._audit(cell)] if self.audit is not None else []
                for view in self.views(cell):
                    found += [self._measure(cell, view), self._use(cell, view)]
        return found

    def _kept(self, seed: int, attribute: str, one: Receiver, out: Place, start: int) -> Command:
        mix = {"class_path": "diffshare.data.mixes.Clean", "init_args": {"n": one.records}}
        block = {"part": "auxiliary", "validation_share": 0.0, "mix": mix}
        options = ("--steps", str(one.steps), "--folds", str(one.folds), "--seed", str(start), "--out", out)
        return (*self.settings.module(seed, attribute, one.source, **block), *options)

    def _readers(self, seed: int) -> Step:
        """The classifiers whose features kernel distances are measured in."""
        name, one = f"readers-s{seed}", Receiver(self.reader_records, self.reader_steps, folds=2)
        places = {attribute: Place(name, f"readers/{attribute}") for attribute in self.features}
        commands = [self._kept(seed, attribute, one, out, seed) for attribute, out in places.items()]
        return Step(name, tuple(commands), run="diffshare.study.steps.property:train")

    def _receivers(self, seed: int) -> Step:
        name = f"receivers-s{seed}"
        places = {who: Place(name, f"receivers/{who}") for who in self.receivers}
        # From other initial weights than the sharer's (those of `seed`), or their errors would agree for that reason.
        each = enumerate(self.receivers.items(), 1)
        commands = [self._kept(seed, self.property, one, places[who], seed + APART * k) for k, (who, one) in each]
        return Step(name, tuple(commands), run="diffshare.study.steps.property:train")

    def _reading(self, seed: int) -> Command:
        return ("--readers", Place(f"readers-s{seed}", "readers"), "--names", as_word(self.features))

    def _reference(self, seed: int) -> Step:
        name = f"reference-s{seed}"
        shares = list(dict.fromkeys([*self.proportions, *(way.share for way in self.protections.values())]))
        command: Command = (
            *self.settings.module(seed, str(self.settings.role("target"))), *self._reading(seed),
            "--property", self.property, "--shares", as_word(shares), "--count", str(self.samples),
            "--out", Place(name, "reference"),
        )  # fmt: skip
        return Step(name, (command,), run=f"{STEPS}:reference")

    def _trained(self, cell: Cell) -> tuple[Step, Step]:
        model = self.models[cell.model]
        sigma, settings = self.settings.noise(cell.model, model), self.settings.fit(model)
        configs = [word for path in self.generator for word in ("--config", str(path))]
        init = {"p": cell.p, "n": model.n, "property": self.property}
        mix = {"data.mix": {"class_path": "diffshare.data.mixes.Proportion", "init_args": init}, "data.seed": cell.seed}
        private: dict[str, Any] = {}
        if sigma is not None:
            private = {"model": PRIVATE, "model.noise_multiplier": sigma, "model.delta": model.delta}
            settings |= {"trainer.precision": "32-true", "trainer.gradient_clip_val": None}
        data = words((k, v) for k, v in settings.items() if k.startswith("data."))
        fit = [*configs, *words((private | settings | mix).items()), "--seed_everything", str(cell.seed)]
        return mix_and_fit(cell.name, [*configs, *data, *words(mix.items())], fit)

    def samples_of(self, cell: Cell, view: str) -> Place:
        """The samples folder of a cell drawn in one way."""
        if cell.model == REAL:
            return Place(f"reference-s{cell.seed}", f"reference/real-{cell.p:g}")
        return Place(f"sample-{cell.end(view)}", "samples")

    def _drawn(self, seed: int) -> Command:
        steps = ("--steps", str(self.sampling_steps)) if self.sampling_steps else ()
        return ("--seed", str(seed), *steps, "--batch-size", "250")

    def _sample(self, cell: Cell, view: str) -> Step:
        out = self.samples_of(cell, view)
        shared: Command = ("--model", Place(f"fit-{cell.name}", "run/release"), "--count", str(self.samples))
        shared = (*shared, "--labels", "balanced", *self._drawn(cell.seed), "--out", out)
        if view == PLAIN:
            return Step(out.step, (("sample", *shared),))
        way = self.protections[view]
        options = self.settings.source("reference") | {"part": "auxiliary", "split-seed": cell.seed}
        options |= dict(flat(way.options or {}))
        what = ("--property", self.property, "--share", f"{way.share:g}")
        return Step(out.step, (("protect", *words(options.items()), *what, *shared),))

    def _audit(self, cell: Cell) -> Step:
        """What the sharer's own audit says of the release: of members and of the property."""
        name = f"audit-{cell.name}"
        options = self.settings.source("reference") | {"split-seed": cell.seed, "target": self.settings.role("target")}
        command: Command = (
            "audit", "--as", "sharer", "--model", Place(f"fit-{cell.name}", "run/release"),
            "--manifest", Place(f"mix-{cell.name}", "mix"), *words((options | (self.audit or {})).items()),
            "--properties", self.property, *self._drawn(cell.seed), "--json", Place(name, "audit.json"),
        )  # fmt: skip
        return Step(name, (command,))

    def _measure(self, cell: Cell, view: str) -> Step:
        name, seed = f"measure-{cell.end(view)}", cell.seed
        ways = self.views(cell)[1:] if view == PLAIN else [view]
        shares = list(dict.fromkeys([cell.p, *(self.protections[way].share for way in ways)]))
        plain = () if view == PLAIN else ("--plain", self.samples_of(cell, PLAIN))
        run = () if cell.model == REAL else ("--run", Place(f"fit-{cell.name}", "run"))
        command: Command = (
            "--samples", self.samples_of(cell, view), *plain, *self._reading(seed), *run,
            "--reference", Place(f"reference-s{seed}", "reference"), "--shares", as_word(shares),
            "--receivers", Place(f"receivers-s{seed}", "receivers"), "--receiver_names", as_word(list(self.receivers)),
            "--out", Place(name, "measured.json"),
        )  # fmt: skip
        return Step(name, (command,), run=f"{STEPS}:measure")

    def _use(self, cell: Cell, view: str) -> Step:
        """The receiver's classifier of the target, trained on the samples and tested on real records."""
        name = f"classifier-{cell.end(view)}"
        settings = {"data.samples": self.samples_of(cell, view)} | self.settings.source("data.test_source")
        settings |= {
            f"data.{r}": self.settings.role(r) for r in ("target", "sensitive") if self.settings.role(r) is not None
        }
        data = [w for k, v in settings.items() for w in (f"--{k}", v if isinstance(v, Place) else as_word(v))]
        configs = [word for path in self.classifier for word in ("--config", str(path))]
        shared = (*configs, *data, "--data.seed", str(cell.seed), *words(self.classifier_overrides.items()))
        commands: list[Command] = []
        for k in range(self.trainings):
            run = Place(name, f"run{k}")
            seed = ("--seed_everything", str(cell.seed + APART * k), "--trainer.enable_progress_bar", "false")
            commands += [("fit", *shared, *seed, "--run-dir", run), ("test", "--run-dir", run, TRUSTED)]
        return Step(name, tuple(commands))

    # --- what came of it -----------------------------------------------------------------------------------------

    def rows(self, find: Find) -> list[Row]:
        """See :class:`Study`: one row a samples folder; the ``model`` real are records."""
        found = []
        for cell in self.cells():
            model = self.models.get(cell.model)
            shared: Row = {"model": cell.model, "p": cell.p, "seed": cell.seed}
            shared |= {"records": model.n if model else None, "bound": model.epsilon if model else None}
            shared["noise_multiplier"] = self.settings.noise(cell.model, model) if model else None
            plain: Row | None = None
            for view in self.views(cell):  # plain first
                way = self.protections.get(view)
                drawn = {"protection": view, "shown": way.share if way else None}
                row = sample_row(shared | drawn, self._files(find, cell, view))
                if view == PLAIN:
                    plain = row
                found.append(paired(row, plain) if row and way else row)
        return [row for row in found if row is not None]

    def _files(self, find: Find, cell: Cell, view: str) -> Files:
        end, samples = cell.end(view), self.samples_of(cell, view)
        return Files(
            measured=find(Place(f"measure-{end}", "measured.json")),
            tested=[find(Place(f"classifier-{end}", f"run{k}/results.json")) for k in range(self.trainings)],
            samples=find(Place(samples.step, f"{samples.path}/samples.json")),
            log=find(Place(samples.step, "log.txt")) if cell.model != REAL else None,
            card=find(Place(f"fit-{cell.name}", "run/release/diffshare.json")),
            audited=find(Place(f"audit-{cell.name}", "audit.json")) if view == PLAIN else None,
            reference=find(Place(f"reference-s{cell.seed}", "reference/reference.json")),
        )

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
        return drawn + [draw_shown(rows, e, folder / f"{e['model']}_{e['protection']}.png") for e in protected]
