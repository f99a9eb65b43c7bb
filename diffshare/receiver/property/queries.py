"""Where queries come from: a black box that is asked for samples, or a folder of samples that somebody drew."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from diffshare.classes import listed
from diffshare.data.recoding import NamedColumn
from diffshare.errors import UserError
from diffshare.receiver.samples import Samples
from diffshare.receiver.sampling import draw_samples
from diffshare.release.card import Card
from diffshare.release.generator import Generator, Labels, Ledger, plan_labels, read_labels
from diffshare.release.info import class_names, class_target
from diffshare.release.table import TableGenerator


class Queries(Protocol):
    """Samples that can be taken one after the other.

    Attributes:
        labels: how they were drawn: ``balanced``, ``natural``, ``none``, one class, or ``unknown``.
        classes: names of the classes that they were drawn by, where known.
        target: name of the attribute that these are of; None where not known.
        columns: of a table, in the order of ``take``'s columns; empty for images.
        available: how many there are; None where as many as one asks for.
    """

    labels: str
    classes: tuple[str, ...]
    target: str | None
    columns: tuple[NamedColumn, ...]
    available: int | None

    def take(self, start: int, stop: int) -> np.ndarray:
        """Samples ``start`` to ``stop`` (not included): uint8 n x H x W x C, or float32 n x columns."""
        ...

    def numbers(self, count: int) -> np.ndarray:
        """By which numbers the first ``count`` samples are known, int64, count."""
        ...


@dataclass
class _From:
    """A black box whose sample i is the sample ``start + i`` of another."""

    generator: Generator
    start: int
    card: Card = field(init=False)
    ledger: Ledger = field(init=False)

    def __post_init__(self) -> None:
        self.card, self.ledger = self.generator.card, self.generator.ledger

    def sample(self, labels: np.ndarray, indices: np.ndarray, **options: Any) -> np.ndarray:
        return self.generator.sample(labels, indices + self.start, **options)


class ModelQueries:
    """Samples asked of a black box.

    Args:
        generator: the black box.
        labels: see ``read_labels``; where None, ``natural`` if the card declares frequencies, else ``none``.
        seed: chooses the noise.
        steps: sampling steps; the card's default where None.
        guidance: ``guidance_scale``.
        batch_size: samples a pass.
    """

    available: int | None = None

    def __init__(
        self,
        generator: Generator,
        labels: str | Labels | None = None,
        *,
        seed: int = 0,
        steps: int | None = None,
        guidance: float = 1.0,
        batch_size: int | None = None,
    ) -> None:
        self.generator, self.classes = generator, generator.card.labels
        self.target = generator.card.target
        natural = generator.card.label_frequencies is not None
        if labels is None:
            labels = Labels("natural" if self.classes and natural else "none")
        self.asked = read_labels(labels, generator.card) if isinstance(labels, str) else labels
        self.labels = self.asked.text
        self._options: dict[str, Any] = {
            "seed": seed,
            "steps": steps,
            "guidance": guidance,
            "batch_size": batch_size,
        }
        self.columns: tuple[NamedColumn, ...] = ()
        if isinstance(generator, TableGenerator):
            self.columns = generator.schema.columns
        # refused here, not after the training of a classifier
        plan_labels(self.asked, 1, generator.card)

    @property
    def network_calls(self) -> int:
        """Calls of the network for one sample."""
        guided = self._options["guidance"] != 1 and bool(self.classes) and self.asked.mode != "none"
        return (self._options["steps"] or self.generator.card.steps) * (1 + guided)

    def take(self, start: int, stop: int) -> np.ndarray:
        """See :class:`Queries`."""
        labels = plan_labels(self.asked, stop, self.generator.card)[start:]
        return draw_samples(_From(self.generator, start), labels, **self._options)

    def numbers(self, count: int) -> np.ndarray:
        """See :class:`Queries`."""
        return np.arange(count)


class SampleQueries:
    """Samples that somebody drew, in their order until :meth:`shuffle` is called.

    Args:
        samples: images or rows.
        kinds: columns of the auxiliary table, by name ``numeric`` or ``categorical``; None where that is of images.
        missing: the mark of a missing cell of a table.

    Raises:
        UserError: they are not of the auxiliary source's kind, or have none of its columns.
    """

    def __init__(
        self, samples: Samples, kinds: Mapping[str, Any] | None, missing: str = "?"
    ) -> None:
        self.columns: tuple[NamedColumn, ...] = ()
        who = str(samples.folder or "the samples")
        hold = "holds" if samples.folder else "are"
        if samples.images is None:
            if kinds is None:
                raise UserError(
                    f"{who} {hold} rows of a table, the auxiliary source images: both must be of one kind"
                )
            source = samples.rows(_shared(samples, kinds), missing)
            self._x, self.columns = source.read(np.arange(len(source.index()))), source.columns
        else:
            if kinds is not None:
                raise UserError(
                    f"{who} {hold} images, the auxiliary source rows of a table: both must be of one kind"
                )
            self._x = samples.images
        self.available: int | None = len(self._x)
        self._order = np.arange(len(self._x))
        self.classes, self.target = (
            class_names(samples.info, samples.folder or Path()),
            class_target(samples.info),
        )
        if not self.classes and samples.y is not None:
            self.classes = samples.y.classes
        said, y = samples.info.get("labels"), None if samples.y is None else samples.y.codes
        self.labels = said if isinstance(said, str) else "unknown"
        if y is not None and samples.images is not None and (y < 0).all():
            self.labels = "none"
        elif y is not None and self.labels == "none":
            self.labels = "unknown"  # the arrays are there to be seen; the file is a claim

    def shuffle(self, seed: int) -> None:
        """Read in an order drawn by ``seed``.

        Where not all samples are read this must be called first: a folder may be sorted by class, and its first
        samples are then no sample of it. Confidence sequences need the order as well.
        """
        self._order = np.random.default_rng([seed, 3]).permutation(len(self._x))

    def numbers(self, count: int) -> np.ndarray:
        """See :class:`Queries`: their places in the folder."""
        return self._order[:count]

    def take(self, start: int, stop: int) -> np.ndarray:
        """See :class:`Queries`.

        Raises:
            UserError: fewer samples than asked for.
        """
        if stop > len(self._x):
            raise UserError(
                f"{stop} queries asked of a folder of {len(self._x)} samples: draw more, or lower `queries`"
            )
        return self._x[self._order[start:stop]]


def _shared(samples: Samples, kinds: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of the auxiliary table that samples have."""
    shared = {name: kinds[name] for name in samples.header if name in kinds}
    if not shared:
        raise UserError(
            f"{samples.table if samples.folder else 'the table of samples'} has none of the columns of the auxiliary "
            f"source, {listed(list(kinds))}: its header has {listed(list(samples.header))}"
        )
    return shared
