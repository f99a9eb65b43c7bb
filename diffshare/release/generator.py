"""The receiver's whole world: a generator that can be asked for samples, and the ledger of what was asked."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np

from diffshare.classes import place_of, quoted
from diffshare.errors import UserError
from diffshare.progress import counting
from diffshare.release.card import Card

UNCONDITIONAL = -1  # the label of a sample that no class was asked for
MOST_SAMPLES = (4 << 20) - 1  # in one request: as many rows as a samples folder can hold


@dataclass
class Ledger:
    """What a generator was asked for and what it cost.

    Attributes:
        queries: samples asked for.
        by_label: samples asked for of each class number; -1 counts the unconditional ones.
        network_calls: samples through the network, one for each step and each of guidance's two predictions.
        seconds: wall-clock time spent in sampling.
    """

    queries: int = 0
    by_label: Counter[int] = field(default_factory=Counter)
    network_calls: int = 0
    seconds: float = 0.0

    def record(self, labels: np.ndarray, network_calls: int, seconds: float) -> None:
        """Add one call: its labels (int64, n), its network calls and its seconds."""
        self.queries += len(labels)
        self.by_label.update(labels.tolist())
        self.network_calls += network_calls
        self.seconds += seconds


@contextlib.contextmanager
def counted_calls(calls: list[int], expected: int) -> Iterator[Callable[[int], None]]:
    """Note each call of a network, and show how far the sampling is.

    Args:
        calls: the samples of each call are added to it.
        expected: about how many samples go through the network in all.

    Yields:
        what to tell of each call: its number of samples.
    """
    with counting("network calls", expected) as advance:

        def on_call(count: int) -> None:
            calls.append(count)
            advance(count)

        yield on_call


@runtime_checkable
class Generator(Protocol):
    """A black box that makes samples: a release folder, a service, any diffusers pipeline.

    Attributes:
        card: what the sharer says of the model.
        ledger: what was asked of it so far.
    """

    card: Card
    ledger: Ledger

    def sample(
        self,
        labels: np.ndarray,
        indices: np.ndarray,
        *,
        seed: int,
        steps: int | None = None,
        guidance: float = 1.0,
    ) -> np.ndarray:
        """Make one sample for each label.

        Sample ``indices[i]`` of ``seed`` depends on those two, the label, the steps and the guidance, not on the
        batch it is drawn in.

        Args:
            labels: int64, n: class numbers 0..K-1, or -1 for an unconditional sample.
            indices: int64, n, >= 0: number of each sample within the seed.
            seed: chooses the noise.
            steps: sampling steps; the card's default where None.
            guidance: diffusers' ``guidance_scale``; 1 is plain conditional sampling.

        Returns:
            uint8, n x H x W x C; of a table float32, n x columns (see ``TableGenerator``).
        """
        ...


Mode = Literal["balanced", "natural", "none"]
MODES: tuple[Mode, ...] = get_args(Mode)


@dataclass(frozen=True)
class Labels:
    """How the classes of samples are chosen.

    Attributes:
        mode: ``balanced`` (classes in turn, so that every prefix is balanced), ``natural`` (the card's label
            frequencies; in every prefix each class has its share rounded down or up), ``none`` (unconditional); None
            for one class.
        code: number of the one class.
        name: of the one class.
        note: that the class was told by its position; None where by its name.
    """

    mode: Mode | None = None
    code: int = UNCONDITIONAL
    name: str = ""
    note: str | None = None

    @property
    def text(self) -> str:
        """As ``samples.json`` has it: never a word for a class that has its name."""
        if self.mode is not None:
            return self.mode
        return f"class:{self.name}" if self.name in MODES or ":" in self.name else self.name


def read_labels(said: str, card: Card) -> Labels:
    """What ``labels`` asks for; see :mod:`diffshare.classes`.

    Args:
        said: a word of ``MODES``, or one class by its name or, where none is called so, its number; ``mode:WORD`` and
            ``class:NAME`` are always the one and the other.
        card: the generator's card.

    Raises:
        UserError: no such class, a class asked of an unconditional model, or a word that is also the name of a class.
    """
    names = card.labels
    words = [mode for mode in MODES if said in (mode, f"mode:{mode}")]
    classes = [code for code, name in enumerate(names) if said in (name, f"class:{name}")]
    if len(words) + len(classes) > 1:
        also = (
            "a word and the name of a class of this model" if words else "two classes of this model"
        )
        remedy = " or ".join(
            [f"mode:{word}" for word in words] + [f"class:{names[code]}" for code in classes]
        )
        raise UserError(f"labels {quoted(said)} can mean {also}: write {remedy}")
    if words:
        return Labels(words[0])
    if not names:
        raise UserError(
            f"labels {quoted(said)} asked of a model that has no classes: use `labels` none"
        )
    if classes:
        return Labels(None, classes[0], names[classes[0]])
    try:
        code, note = place_of(said, names, "labels")
    except UserError as error:
        raise UserError(f"{error}; or {', '.join(MODES)}") from None
    return Labels(None, code, names[code], note)


def asked_labels(said: str | None, card: Card) -> Labels:
    """What ``labels`` asks for; ``balanced``, or ``none`` of a model without classes, where it is left out."""
    return (
        Labels("balanced" if card.labels else "none") if said is None else read_labels(said, card)
    )


def plan_labels(labels: str | Labels, count: int, card: Card) -> np.ndarray:
    """The class of each sample for ``labels``. Sample i's class does not depend on ``count``.

    Args:
        labels: see :func:`read_labels`.
        count: number of samples, at least 1.
        card: the generator's card.

    Returns:
        int64, count: class numbers, or -1 everywhere for ``none``.

    Raises:
        UserError: no such class, a class asked of an unconditional model, or no declared frequencies.
    """
    if count < 1:
        raise UserError(f"`count` is {count}: ask for at least 1 sample")
    if count > MOST_SAMPLES:
        raise UserError(f"`count` is {str(count)[:20]}: ask for at most {MOST_SAMPLES} samples")
    asked = read_labels(labels, card) if isinstance(labels, str) else labels
    if asked.mode in (None, "none"):
        return np.full(count, asked.code, np.int64)
    classes = len(card.labels)
    if not classes:
        raise UserError(
            f"labels '{asked.mode}' asked of a model that has no classes: use `labels` none"
        )
    if asked.mode == "balanced":
        return np.arange(count, dtype=np.int64) % classes
    if card.label_frequencies is None:
        raise UserError(
            "the model's card declares no label frequencies: use `labels` balanced, none or one class"
        )
    return _quota_sequence(np.array(card.label_frequencies), count)


def _quota_sequence(frequencies: np.ndarray, count: int) -> np.ndarray:
    """Classes in an order where every prefix of i has floor or ceil of ``i * frequencies`` of each.

    Tijdeman's chairman assignment (Discrete Mathematics 32, 1980): of the classes that are owed at least
    1 / (2K - 2), the next is the one that must come soonest; no class is ever off its share by 1 - 1 / (2K - 2).

    Args:
        frequencies: float64, K, >= 0, positive sum.
        count: length of the sequence.

    Returns:
        int64, count, in 0..K-1.
    """
    classes = len(frequencies)
    sequence = np.zeros(count, np.int64)
    if classes == 1:
        return sequence
    frequencies, slack = frequencies / frequencies.sum(), 1 / (2 * classes - 2)
    given = np.zeros(classes)
    for i in range(count):
        owed = frequencies * (i + 1) - given
        eligible = np.flatnonzero(owed >= slack - 1e-9)
        due = (1 - slack - owed[eligible]) / frequencies[eligible]
        sequence[i] = eligible[np.argmin(due)]
        given[sequence[i]] += 1
    return sequence
