"""What the grids are made of: their cells, and the kinds of model, receiver and protection that a YAML names."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from diffshare.study.engine.step import Place

REAL, PLAIN = "real", "plain"  # records in the place of samples; samples without protection


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
class Receiver:
    """Whoever infers the property: a classifier of it.

    Attributes:
        records: that it is trained and calibrated on, of the auxiliary part.
        steps: training steps of each fold.
        folds: of the classifier, 2 or more.
        source: settings of its source over the study's: ``{seed: 2}`` draws faces of its own.
    """

    records: int
    steps: int = 200
    folds: int = 3
    source: dict[str, Any] | None = None


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
        return Place(f"{kind}-{cell.name}-{self.sampling}-{self.training}{self.auxiliary}", "estimates.json")
