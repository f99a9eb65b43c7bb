"""The cells of the property inference study, and where their steps leave what."""

from dataclasses import dataclass

from diffshare.study.engine.step import Place


@dataclass(frozen=True)
class Cell:
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

    @property
    def name(self) -> str:
        """For the steps of the estimates."""
        return f"{self.sampling}-{self.training}{self.auxiliary}"


def samples_of(cell: Cell, view: View) -> Place:
    """The samples folder of a generator; all classifiers and methods read the same."""
    return Place(f"sample-{cell.name}-{view.sampling}", "samples")


def classifier_of(cell: Cell, view: View) -> Place:
    """The receiver's classifier, which all generators of a seed share."""
    return Place(
        f"classifier-{cell.attribute}-{cell.family}-{view.training}{view.auxiliary}-s{cell.seed}", "classifier"
    )


def estimates_of(kind: str, cell: Cell, view: View) -> Place:
    """What the step ``infer`` or ``remedy`` of a cell leaves."""
    return Place(f"{kind}-{cell.name}-{view.name}", "estimates.json")
