"""What grids are made of: the groups of arguments that their YAML has, and their cells."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from diffshare.study.engine.step import Place

REAL, PLAIN = "real", "plain"  # records in the place of samples; samples without protection


@dataclass
class Downstream:
    """The receiver's classifier of the target.

    Attributes:
        configs: of its ``fit``, base first.
        overrides: settings over those of the configs and of the data.
    """

    configs: list[Path]
    overrides: dict[str, Any] | None = None


@dataclass
class CrossFit:
    """How a classifier of a property is trained: a model for each fold, on the records outside it.

    Attributes:
        steps: training steps of each fold.
        folds: 2 or more; 1, where ``cc`` is the only method, is the paper's single one.
    """

    steps: int = 200
    folds: int = 2


@dataclass
class Reader(CrossFit):
    """A classifier that reads a property, and the records of the auxiliary part that it is trained and calibrated on.

    Attributes:
        records: how many.
        source: settings of their source over the study's: ``{seed: 2}`` draws faces of its own.
    """

    records: int = 2000
    source: dict[str, Any] | None = None


@dataclass
class Estimates:
    """How the share of a property is estimated.

    Attributes:
        methods: estimators of :func:`diffshare.stats.prevalence.estimate`.
        queries: numbers of samples that an estimate is made of.
        runs: most disjoint runs of each number of queries that are read off one generator's samples.
        resamples: of the bootstrap.
    """

    methods: list[str]
    queries: list[int]
    runs: int = 4
    resamples: int = 1000


@dataclass
class Sizes:
    """How all records of a source are cut.

    Attributes:
        reference: records of the receiver, for the audit.
        test: records that the gap is measured on.
        n: records of a training set; the sharer's pool is what is left, and has to be more.
    """

    reference: int
    test: int
    n: int


@dataclass
class Sets:
    """The training sets that a sharer chooses who knows the audit.

    Attributes:
        margins: that the sharer keeps, in log odds, > 0; 0, a random set, is always there.
        alpha: share of the set that the sharer chooses, in (0, 1].
        trainings: classifiers of each set, over which its gap is averaged.
    """

    margins: list[float]
    alpha: float = 0.5
    trainings: int = 2


@dataclass
class Audits:
    """The audits of a generator.

    Attributes:
        queries: numbers of samples that the receiver draws.
        repeats: audits of each set and number of queries, all against the cut's one reference.
        margin: m of the audit; that of the verb where None.
        level: of the audit's test.
    """

    queries: list[int]
    repeats: int = 8
    margin: float | None = None
    level: float = 0.05


@dataclass
class Family:
    """One family of generator.

    Attributes:
        configs: of its ``fit``, base first.
        kind: what the summary compares.
        overrides: settings of ``fit`` over those of the study; its ``trainer.max_steps`` spends the budget.
        sampling_steps: of its samples; the study's where None.
        before: configs of what has to be trained first, once a seed on the clean set: the autoencoder of a latent
            model, whose run becomes ``model.vae``.
        before_overrides: settings of that training over those of the study.
    """

    configs: list[Path]
    kind: Literal["diffusion", "gan", "vae"] = "diffusion"
    overrides: dict[str, Any] | None = None
    sampling_steps: int | None = None
    before: list[Path] = field(default_factory=list)
    before_overrides: dict[str, Any] | None = None


@dataclass
class Model:
    """One kind of model.

    Attributes:
        n: records of its training set.
        epsilon: bound of a training by DP-SGD; a plain training where None.
        delta: of the bound.
        overrides: settings of ``fit`` over those of the study.
    """

    n: int
    epsilon: float | None = None
    delta: float = 1e-5
    overrides: dict[str, Any] | None = None


@dataclass
class Protected:
    """One way of drawing samples by the verb ``protect``.

    Attributes:
        share: of the property that they show, in (0, 1).
        options: of the verb over those of the study: ``{folds: 3, reference.seed: 1}``.
    """

    share: float
    options: dict[str, Any] | None = None


@dataclass(frozen=True)
class ProtectionCell:
    """One training set and the model of it.

    Attributes:
        model: the model's name; ``real`` are the records themselves in the place of samples.
        p: true share of the property.
        seed: of parts, mix, training and samples.
    """

    model: str
    p: float
    seed: int

    @property
    def name(self) -> str:
        """For steps and folders."""
        return f"{self.model}-p{self.p:g}-s{self.seed}"

    def end(self, view: str) -> str:
        """For what is made of the samples that are drawn in one way."""
        return f"{self.name}-{view}"


@dataclass(frozen=True)
class PropertyCell:
    """One generator: of the sharer, or a surrogate of the receiver that is trained on auxiliary records."""

    attribute: str
    family: str
    seed: int
    p: float
    surrogate: bool = False

    @property
    def name(self) -> str:
        """For steps and folders."""
        return f"{self.attribute}-{self.family}-{'surrogate' if self.surrogate else 'p'}{self.p:g}-s{self.seed}"


@dataclass(frozen=True)
class View:
    """How a receiver looks at a generator: how it is sampled, and how the classifier was trained."""

    labels: str
    guidance: float
    training: str
    auxiliary: int

    @property
    def sampling(self) -> str:
        """For the steps of the samples, which all classifiers share."""
        return self.labels if self.labels == "none" else f"{self.labels}-g{self.guidance:g}"

    def samples_of(self, cell: PropertyCell) -> Place:
        """The samples folder of a generator; all classifiers and methods read the same."""
        return Place(f"sample-{cell.name}-{self.sampling}", "samples")

    def classifier_of(self, cell: PropertyCell) -> Place:
        """The receiver's classifier, which all generators of a seed share."""
        end = f"{cell.attribute}-{cell.family}-{self.training}{self.auxiliary}-s{cell.seed}"
        return Place(f"classifier-{end}", "classifier")

    def estimates_of(self, kind: str, cell: PropertyCell) -> Place:
        """What the step ``infer`` or ``remedy`` of a cell leaves."""
        return Place(
            f"{kind}-{cell.name}-{self.sampling}-{self.training}{self.auxiliary}", "estimates.json"
        )
