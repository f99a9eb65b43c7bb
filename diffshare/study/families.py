"""Every family of generator through both attacks at one small budget, side by side.

Luo et al., "Exploring Privacy and Fairness Risks in Sharing Diffusion Models", IEEE TIFS 19 (2024), hold that diffusion
models pass the bias and the proportions of their training set on more faithfully than GANs and VAEs do: the contrasts
of kinds in the summary confirm or contradict that.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rich.table import Table

from diffshare.errors import UserError, one_of
from diffshare.stats.prevalence import NAMES
from diffshare.study.engine.base import Find, Row, Study, find_under, left_at, under
from diffshare.study.engine.checks import check_axes, check_least, check_names
from diffshare.study.engine.configs import flat
from diffshare.study.engine.step import Place, Step
from diffshare.study.fairness_poisoning import Cell, FairnessPoisoning
from diffshare.study.reports.families import draw_families, family_row, real_row, summarise, tables
from diffshare.study.steps.grid import REAL, Downstream, Family, Reader
from diffshare.study.steps.pipeline import least_of_reader, train_readers

QUALITY = "diffshare.study.steps.quality"
POISONED = "poisoned"


@dataclass(kw_only=True, eq=False)
class Families(Study):
    """For each family and seed a clean and a poisoned generator, and what both attacks make of their samples.

    A family and seed is a :class:`FairnessPoisoning` of one policy, so that the excess gap has the meaning that it has
    there. Properties are read off the same samples, which are drawn with as many of each class: of a balanced pool
    these are the training set's own shares, and no property but the target follows from the class.

    Args:
        generators: the families, by the name that each shall have.
        classifier: the receiver's.
        policy: overlay of the poisoned mix; its class takes ``alpha``, ``n``.
        seeds: of data, mix, training, samples and readers alike.
        n: records of a training set.
        samples: samples of each generator, as many of each class.
        properties: attributes whose shares in the clean training set are read off the samples, not the target.
        alpha: poisoned share in (0, 1].
        method: estimator of :func:`diffshare.stats.prevalence.estimate`.
        overrides: settings of all ``fit``.
        more: settings over all others, for the command line: ``study.more``, ``'{"trainer.max_steps": 10}'``.
        sampling_steps: network calls a sample; the release's default where None.
        readers: how the classifiers of the properties are trained.
        level: of the intervals.
    """

    generators: dict[str, Family]
    classifier: Downstream
    policy: Path
    seeds: list[int]
    n: int
    samples: int
    properties: list[str]
    alpha: float = 0.5
    method: str = "pacc"
    overrides: dict[str, Any] | None = None
    more: dict[str, Any] | None = None
    sampling_steps: int | None = None
    readers: Reader = field(default_factory=lambda: Reader(steps=300))
    level: float = 0.95

    def __post_init__(self) -> None:
        """Check the grid and read the configs."""
        check_axes(self, "generators", "seeds", "properties")
        check_least(
            self, {"seeds": 0} | least_of_reader("readers", 1 if self.method == "cc" else 2)
        )
        if not 0 < self.alpha <= 1:
            raise UserError(
                f"study.alpha is {self.alpha}: a poisoned share lies above 0 and up to 1"
            )
        if self.method not in NAMES:
            raise one_of("method", self.method, NAMES)
        check_names("study.generators", self.generators, dashes="", taken={REAL: "records"})
        for name, family in self.generators.items():
            self._check_family(name, family)

    def _check_family(self, name: str, family: Family) -> None:
        """Refuse configs that do not go together."""
        try:
            study = self._attack(family, self.seeds[0])
            if family.before:
                self._before_study(family, self.seeds[0])
        except UserError as error:
            raise UserError(f"study.generators.{name}: {error}") from error
        first = self._records(self.seeds[0])
        for key in ("source", "target", "sensitive"):
            own, theirs = (
                one.settings.source() if key == "source" else one.settings.role(key)
                for one in (study, first)
            )
            if own != theirs:
                raise UserError(
                    f"study.generators.{name} has another data.{key} than {next(iter(self.generators))}: all families "
                    "train on the same records; give them one"
                )
        if (target := first.settings.role("target")) in self.properties:
            raise UserError(
                f"study.properties has '{target}', the target, by which the samples are drawn: the "
                "receiver would choose its share; take it out"
            )

    # --- the grid ------------------------------------------------------------------------------------------------

    def _poisoning(
        self, generator: list[Path], seed: int, own: Mapping[str, Any] | None = None, **options: Any
    ) -> FairnessPoisoning:
        """A fairness poisoning of one seed, whose settings ``own`` lie over those of the study."""
        usual: dict[str, Any] = {"alphas": [self.alpha], "more": self.more, "direct": False}
        return FairnessPoisoning(
            generator=generator,
            seeds=[seed],
            classifier=self.classifier,
            policies={POISONED: self.policy},
            guidances=[1.0],
            n=self.n,
            samples=self.samples,
            count_groups=False,  # the readers do that
            level=self.level,
            overrides=dict(flat(self.overrides or {})) | dict(flat(own or {})),
            **usual | options,
        )

    def _attack(self, family: Family, seed: int) -> FairnessPoisoning:
        """The poisoning of one family at one seed."""
        steps = family.sampling_steps or self.sampling_steps
        return self._poisoning(family.configs, seed, family.overrides, sampling_steps=steps)

    def _before_study(self, family: Family, seed: int) -> FairnessPoisoning:
        """The study whose clean generator is what ``family`` builds on."""
        return self._poisoning(family.before, seed, family.before_overrides, alphas=[0.0])

    def _records(self, seed: int) -> FairnessPoisoning:
        """The attack without a generator: classifiers of the mixes themselves."""
        more = {k: v for k, v in flat(self.more or {}) if k.startswith("data.")}
        first = next(iter(self.generators.values()))
        return self._poisoning(first.configs, seed, direct=True, through_generator=False, more=more)

    def steps(self) -> list[Step]:
        """See :class:`Study`; a whole seed before the next."""
        steps = []
        for seed in self.seeds:
            steps += [self._readers(seed), self._reference(seed)]
            steps += under(f"{REAL}-", self._records(seed).steps())
            for name, family in self.generators.items():
                steps += self._family(name, family, seed)
        return steps

    def _family(self, name: str, family: Family, seed: int) -> Iterator[Step]:
        vae = Place(f"{name}-before-fit-clean-s{seed}", "run")
        if family.before:
            before = under(f"{name}-before-", self._before_study(family, seed).steps())
            wanted = (f"{name}-before-mix-clean-s{seed}", vae.step)
            yield from (step for step in before if step.name in wanted)
        attack = self._attack(family, seed)
        for step in under(f"{name}-", attack.steps()):
            if family.before and step.name.startswith(f"{name}-fit-"):
                step = replace(step, arguments={**step.arguments, "model.vae": vae})
            yield step
        for cell in attack.cells():
            yield self._measure(name, family, cell)

    def _role(self, role: str) -> str:
        """The attribute that is the target, or the sensitive one."""
        return str(self._records(self.seeds[0]).settings.role(role))

    @property
    def read(self) -> list[str]:
        """The attributes that there is a reader of."""
        roles = (self._role("sensitive"), self._role("target"))
        return list(dict.fromkeys([*self.properties, *roles]))

    def _readers(self, seed: int) -> Step:
        """A classifier of each attribute, on auxiliary records of the seed."""
        attributes = {attribute: (attribute, self.readers, seed) for attribute in self.read}
        return train_readers("readers", self._records(seed).settings, seed, attributes)

    def _reading(self, seed: int) -> dict[str, Any]:
        readers = {"readers": Place(f"readers-s{seed}", "readers"), "names": self.read}
        return {**readers, "method": self.method, "seed": seed}

    def _reference(self, seed: int) -> Step:
        data = self._records(seed).settings.auxiliary(seed, None, self.readers.records)
        out, reading = Place(f"reference-s{seed}", "reference"), self._reading(seed)
        function = f"{QUALITY}:keep_halves"
        return Step.leaving(out, function, data=data, count=self.samples, **reading)

    def _measure(self, name: str, family: Family, cell: Cell) -> Step:
        runs = [Place(f"{name}-fit-{cell.name}", "run")]
        if family.before:
            runs.append(Place(f"{name}-before-fit-clean-s{cell.seed}", "run"))
        return Step.leaving(
            Place(f"{name}-measure-{cell.name}", "measured.json"),
            f"{QUALITY}:measure_family",
            data=self._records(cell.seed).settings.module(cell.seed),
            samples=Place(f"{name}-sample-{cell.end(1)}", "samples"),
            reference=Place(f"reference-s{cell.seed}", "reference"),
            mix=Place(f"{name}-mix-{cell.name}", "mix"),
            runs=runs,
            **self._reading(cell.seed),
        )

    # --- what came of it -----------------------------------------------------------------------------------------

    def rows(self, find: Find) -> list[Row]:
        """See :class:`Study`: one row a family and seed, and one of real records a seed."""
        rows = []
        sensitive, target = self._role("sensitive"), self._role("target")
        for seed in self.seeds:
            of_mixes = self._records(seed).rows(find_under(f"{REAL}-", find))
            halves = left_at(find, Place(f"reference-s{seed}", "reference/reference.json"))
            rows.append(real_row(seed, of_mixes, halves, self.properties))
            for name, family in self.generators.items():
                attack = self._attack(family, seed)
                left = {cell.policy: self._left(find, name, cell) for cell in attack.cells()}
                attacked = attack.rows(find_under(f"{name}-", find))
                who: Row = {"family": name, "kind": family.kind, "seed": seed}
                rows.append(family_row(who, attacked, left, self.properties, sensitive, target))
        return [row for row in rows if row is not None]

    @staticmethod
    def _left(find: Find, name: str, cell: Cell) -> tuple[Row | None, Row | None]:
        """What was measured of a cell's samples, and how they were drawn."""
        drawn = Place(f"{name}-sample-{cell.end(1)}", "samples/samples.json")
        measured = Place(f"{name}-measure-{cell.name}", "measured.json")
        return left_at(find, measured), left_at(find, drawn)

    def summary(self, rows: Sequence[Row]) -> list[Row]:
        """See :class:`Study`: means over seeds by family, then differences of kinds of family."""
        return summarise(rows, self.level)

    def tables(self, rows: Sequence[Row], summary: Sequence[Row]) -> list[Table]:
        """See :class:`Study`."""
        return tables(summary, self.level)

    def figures(self, rows: Sequence[Row], summary: Sequence[Row], folder: Path) -> list[Path]:
        """See :class:`Study`."""
        return [draw_families(rows, summary, folder / "families.png")]
