"""Every family of generator through both attacks at one small budget, side by side.

Luo et al., "Exploring Privacy and Fairness Risks in Sharing Diffusion Models", IEEE TIFS 19 (2024), hold that diffusion
models pass the bias and the proportions of their training set on more faithfully than GANs and VAEs do: the contrasts
of kinds in the summary confirm or contradict that.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.table import Table

from diffshare.errors import UserError, one_of
from diffshare.stats.prevalence import NAMES
from diffshare.study.engine.base import Find, Row, Study, find_under, left_at, under
from diffshare.study.engine.configs import check_axis, flat
from diffshare.study.engine.step import Place, Step
from diffshare.study.fairness_poisoning import Cell, FairnessPoisoning
from diffshare.study.reports.families import draw_families, family_row, real_row, summarise, tables
from diffshare.study.steps.grid import REAL, Downstream, Family, Reader
from diffshare.study.steps.pipeline import check_reader, train_readers

QUALITY = "diffshare.study.steps.quality"
POISONED = "poisoned"


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

    def __init__(
        self,
        generators: dict[str, Family],
        classifier: Downstream,
        policy: Path,
        seeds: list[int],
        n: int,
        samples: int,
        properties: list[str],
        alpha: float = 0.5,
        method: str = "pacc",
        overrides: dict[str, Any] | None = None,
        more: dict[str, Any] | None = None,
        sampling_steps: int | None = None,
        readers: Reader = Reader(steps=300),  # noqa: B008
        level: float = 0.95,
    ) -> None:
        for name, axis in (
            ("generators", list(generators)),
            ("seeds", seeds),
            ("properties", properties),
        ):
            check_axis(f"study.{name}", axis)
        check_reader("readers", readers, 1 if method == "cc" else 2)
        if not 0 < alpha <= 1:
            raise UserError(f"study.alpha is {alpha}: a poisoned share lies above 0 and up to 1")
        if method not in NAMES:
            raise one_of("method", method, NAMES)
        self.generators, self.seeds, self.properties = generators, seeds, properties
        self.alpha, self.method, self.samples, self.level = alpha, method, samples, level
        self.readers = readers
        self.overrides = dict(flat(overrides or {}))
        self.more = dict(flat(more or {}))
        self._shared: dict[str, Any] = {
            "classifier": classifier,
            "policies": {POISONED: policy},
            "guidances": [1.0],
            "n": n,
            "samples": samples,
            "count_groups": False,  # the readers do that
            "level": level,
        }
        self._shared_steps = sampling_steps
        for name, family in generators.items():
            self._check_family(name, family)

    def _check_family(self, name: str, family: Family) -> None:
        """Refuse a name that makes no folder, and configs that do not go together."""
        if not name.replace("_", "").isalnum() or name == REAL:
            raise UserError(
                f"study.generators has '{name}': a name has letters, digits and _, it becomes a folder, and is not "
                f"'{REAL}', which stands for records"
            )
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

    def _attack(self, family: Family, seed: int) -> FairnessPoisoning:
        """The poisoning of one family at one seed."""
        return FairnessPoisoning(
            generator=family.configs,
            alphas=[self.alpha],
            seeds=[seed],
            overrides=self.overrides | dict(flat(family.overrides or {})),
            more=self.more,
            sampling_steps=family.sampling_steps or self._shared_steps,
            direct=False,
            **self._shared,
        )

    def _before_study(self, family: Family, seed: int) -> FairnessPoisoning:
        """The study whose clean generator is what ``family`` builds on."""
        overrides = self.overrides | dict(flat(family.before_overrides or {}))
        return FairnessPoisoning(
            generator=family.before,
            alphas=[0.0],
            seeds=[seed],
            overrides=overrides,
            more=self.more,
            direct=False,
            **self._shared,
        )

    def _records(self, seed: int) -> FairnessPoisoning:
        """The attack without a generator: classifiers of the mixes themselves."""
        family = next(iter(self.generators.values()))
        return FairnessPoisoning(
            generator=family.configs,
            alphas=[self.alpha],
            seeds=[seed],
            overrides=self.overrides,
            more={key: value for key, value in self.more.items() if key.startswith("data.")},
            through_generator=False,
            **self._shared,
        )

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
            builds_on_vae = family.before and step.name.startswith(f"{name}-fit-")
            yield (
                replace(step, arguments={**step.arguments, "model.vae": vae})
                if builds_on_vae
                else step
            )
        for cell in attack.cells():
            yield self._measure(name, family, cell)

    def _role(self, role: str) -> str:
        """The attribute that is the target, or the sensitive one."""
        return str(self._records(self.seeds[0]).settings.role(role))

    @property
    def read(self) -> list[str]:
        """The attributes that there is a reader of."""
        return list(
            dict.fromkeys([*self.properties, self._role("sensitive"), self._role("target")])
        )

    def _auxiliary(self, seed: int) -> dict[str, Any]:
        return self._records(seed).settings.auxiliary(seed, None, self.readers.records)

    def _readers(self, seed: int) -> Step:
        """A classifier of each attribute, on auxiliary records of the seed."""
        attributes = {attribute: (attribute, self.readers, seed) for attribute in self.read}
        return train_readers("readers", self._records(seed).settings, seed, attributes)

    def _reading(self, seed: int) -> dict[str, Any]:
        readers = {"readers": Place(f"readers-s{seed}", "readers"), "names": self.read}
        return {**readers, "method": self.method, "seed": seed}

    def _reference(self, seed: int) -> Step:
        name = f"reference-s{seed}"
        arguments = {
            "data": self._auxiliary(seed),
            "count": self.samples,
            "out": Place(name, "reference"),
        }
        return Step(name, f"{QUALITY}:keep_halves", arguments | self._reading(seed))

    def _measure(self, name: str, family: Family, cell: Cell) -> Step:
        step = f"{name}-measure-{cell.name}"
        runs = [Place(f"{name}-fit-{cell.name}", "run")]
        if family.before:
            runs.append(Place(f"{name}-before-fit-clean-s{cell.seed}", "run"))
        arguments = {
            "data": self._records(cell.seed).settings.module(cell.seed),
            "samples": Place(f"{name}-sample-{cell.name}-g1", "samples"),
            "reference": Place(f"reference-s{cell.seed}", "reference"),
            "mix": Place(f"{name}-mix-{cell.name}", "mix"),
            "runs": runs,
            "out": Place(step, "measured.json"),
        }
        return Step(step, f"{QUALITY}:measure_family", arguments | self._reading(cell.seed))

    # --- what came of it -----------------------------------------------------------------------------------------

    def rows(self, find: Find) -> list[Row]:
        """See :class:`Study`: one row a family and seed, and one of real records a seed."""
        rows = []
        sensitive, target = self._role("sensitive"), self._role("target")
        for seed in self.seeds:
            attack = self._records(seed).rows(find_under(f"{REAL}-", find))
            halves = left_at(find, Place(f"reference-s{seed}", "reference/reference.json"))
            rows.append(real_row(seed, attack, halves, self.properties))
            for name, family in self.generators.items():
                attack = self._attack(family, seed).rows(find_under(f"{name}-", find))
                cells = {
                    cell.policy: (
                        left_at(find, Place(f"{name}-measure-{cell.name}", "measured.json")),
                        left_at(
                            find, Place(f"{name}-sample-{cell.name}-g1", "samples/samples.json")
                        ),
                    )
                    for cell in self._attack(family, seed).cells()
                }
                rows.append(
                    family_row(
                        name, family.kind, seed, attack, cells, self.properties, sensitive, target
                    )
                )
        return [row for row in rows if row is not None]

    def summary(self, rows: Sequence[Row]) -> list[Row]:
        """See :class:`Study`: means over seeds by family, then differences of kinds of family."""
        return summarise(rows, self.level)

    def tables(self, rows: Sequence[Row], summary: Sequence[Row]) -> list[Table]:
        """See :class:`Study`."""
        return tables(summary, self.level)

    def figures(self, rows: Sequence[Row], summary: Sequence[Row], folder: Path) -> list[Path]:
        """See :class:`Study`."""
        return [draw_families(rows, summary, folder / "families.png")]
