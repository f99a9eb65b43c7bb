"""The receiver's whole world: a generator that can be asked for samples, and the ledger of what was asked."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np

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


def plan_labels(labels: str, count: int, card: Card) -> np.ndarray:
    """The class of each sample for ``--labels``. Sample i's class does not depend on ``count``.

    Args:
        labels: ``balanced`` (classes in turn, so that every prefix is balanced), ``natural`` (the card's label
            frequencies; in every prefix each class has its share rounded down or up), ``none`` (unconditional), a class
            number, or a class name. A number is a class number even where a class has that name.
        count: number of samples, at least 1.
        card: the generator's card.

    Returns:
        int64, count: class numbers, or -1 everywhere for ``none``.

    Raises:
        UserError: no such class, a class asked of an unconditional model, or no declared frequencies.
    """
    if count < 1:
        raise UserError(f"count is {count}: ask for at least 1 sample")
    if count > MOST_SAMPLES:
        raise UserError(f"count is {str(count)[:20]}: ask for at most {MOST_SAMPLES} samples")
    if labels == "none":
        return np.full(count, UNCONDITIONAL, np.int64)
    classes = len(card.labels)
    if not classes:
        raise UserError(f"labels '{labels}' asked of a model that has no classes: use --labels none")
    if labels == "balanced":
        return np.arange(count, dtype=np.int64) % classes
    if labels == "natural":
        if card.label_frequencies is None:
            raise UserError("the model's card declares no label frequencies: use --labels balanced, none or one class")
        return _quota_sequence(np.array(card.label_frequencies), count)
    if labels in card.labels and not labels.isdecimal():
        return np.full(count, card.labels.index(labels), np.int64)
    if not (labels.isascii() and labels.isdecimal() and len(labels) < 10 and int(labels) < classes):
        known = ", ".join(card.labels[:12]) + (", ..." if classes > 12 else "")
        raise UserError(
            f"unknown labels '{labels}': use balanced, natural, none, a number 0..{classes - 1} or one of {known}"
        )
    return np.full(count, int(labels), np.int64)


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
