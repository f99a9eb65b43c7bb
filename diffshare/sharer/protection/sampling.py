"""Samples that show a chosen share of a property, whatever the model would show: for a sharer who publishes samples.

The model is asked for candidates, and a candidate is accepted with a probability that depends on how it looks. Where f
is the density of the model's samples of a class, s(x) the posterior of the property among them and m its mean, f is a
mixture m f_1 + (1 - m) f_0 of what looks like the property, f_1 = s f / m, and of what does not, f_0 = (1 - s) f /
(1 - m). Accepting x with a probability proportional to

    w(x) = q s(x) / m + (1 - q) (1 - s(x)) / (1 - m)

leaves q f_1 + (1 - q) f_0, whose share of the property is q R_1 + (1 - q) R_0, where R_1 and R_0 are the shares in f_1
and f_0. A perfect s has R_1 = 1 and R_0 = 0, and q is the chosen share p. A classifier that was calibrated on records
is not so sure of what a model makes, so that much of a frequent property hides in f_0: R_1 and R_0 are therefore
*read*, on a pilot, by a second classifier of other records, as a receiver reads them, and q = (p - R_0) / (R_1 - R_0).
The first classifier would not do: it reads in f_1 and f_0 what it put there itself.

Quotas of a classifier's *decisions* would keep its false alarms at the model's own rate, which tells the methods of an
attack apart. A receiver with a better classifier than the two reads a share between p and the model's own where they
err on the same samples: the sharer needs the best classifier there is. It is the aim of PriSampler (Hu & Pang 2023,
arXiv 2306.05208), reached by choosing instead of by guiding.

The share is p *within each class*: an association of class and property is gone as well. The share within the errors of
R_1, R_0 and s is left, and the model itself must not be published.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from diffshare.classifiers.property import PropertyClassifier
from diffshare.data.derived import Derivation
from diffshare.data.recoding import NamedColumn, columns_as
from diffshare.errors import UserError
from diffshare.release.card import Card
from diffshare.release.generator import Generator, Ledger
from diffshare.sharer.protection.asked import check_share
from diffshare.stats.reweighing import systematic

PILOT = 250  # candidates of a class and of the rarer kind that its share is read from
FIRST, BATCH = 500, 100  # candidates that are asked for before a class is given up, and at once
LARGEST = 5000  # pilot of a class: a kind that is rarer than one in twenty is read from fewer
CLEAR = 0.1  # R_1 - R_0 that is needed at least
# candidate k of sample i is the model's sample i + k * APART; the pilot's come before the first
APART = 1 << 24
DEAREST = 50.0  # candidates a sample that are at most worth it
MOST = 2000  # candidates of a sample after which something must be wrong
LEAST = 1e-3  # a posterior is moved into [LEAST, 1 - LEAST] before it is re-weighted


class ShareReader(Protocol):
    """What reads how many samples have the property."""

    def share(self, x: np.ndarray) -> float:
        """Share of samples (n x ...) with the property; an estimate without bias may lie a little outside [0, 1]."""
        ...


class PosteriorReader(ShareReader, Protocol):
    """What says how likely each sample has the property as well."""

    def posterior(self, x: np.ndarray, share: float) -> np.ndarray:
        """P(property | x) among samples whose share it is, float64, n."""
        ...


@dataclass(frozen=True)
class ClassifierReader:
    """Reads the property with a cross-fitted classifier of two classes; ``place`` is the class that counts.

    The share is PACC's, not cut to [0, 1]: cut, the ends of a mixture would lie nearer to each other than they do. The
    posterior is the mean over the folds' models, moved from the calibration records' prior to
    the samples' share by Bayes' rule (Saerens, Latinne & Decaestecker 2002, equation 2.4).
    """

    classifier: PropertyClassifier
    place: int = 1

    def share(self, x: np.ndarray) -> float:
        """See :class:`PosteriorReader`."""
        calibration = self.classifier.calibration
        means = calibration.class_means(calibration.scores)
        shares, *_ = np.linalg.lstsq(means.T, self.classifier.scores(x).mean((0, 1)), rcond=None)
        return float(shares[self.place])

    def posterior(self, x: np.ndarray, share: float) -> np.ndarray:
        """See :class:`PosteriorReader`."""
        before = float(self.classifier.calibration.prior[self.place])
        said = np.clip(self.classifier.scores(x)[..., self.place].mean(0), LEAST, 1 - LEAST)
        odds = said / (1 - said) * (share / (1 - share)) * ((1 - before) / before)
        return odds / (1 + odds)


@dataclass(frozen=True)
class ColumnReader:
    """Reads the property off a column of a table's rows: ``column`` is its position, ``code`` the class that counts."""

    column: int
    code: int

    def share(self, x: np.ndarray) -> float:
        """See :class:`PosteriorReader`."""
        return float(self.posterior(x, 0.5).mean())

    def posterior(self, x: np.ndarray, share: float) -> np.ndarray:
        """See :class:`PosteriorReader`; 0 or 1."""
        return (x[:, self.column] == self.code).astype(np.float64)


@dataclass(frozen=True)
class DerivedReader:
    """Reads a derived property off the columns of a table's rows; ``code`` is the class that counts."""

    derivation: Derivation
    columns: tuple[NamedColumn, ...]
    code: int

    def share(self, x: np.ndarray) -> float:
        """See :class:`PosteriorReader`."""
        return float(self.posterior(x, 0.5).mean())

    def posterior(self, x: np.ndarray, share: float) -> np.ndarray:
        """See :class:`PosteriorReader`; 0 or 1."""
        codes = self.derivation.apply(*columns_as(self.columns, x)).codes
        return (codes == self.code).astype(np.float64)


@dataclass(frozen=True)
class Choice:
    """How the candidates of a class are accepted.

    Attributes:
        own: share of the property among them, for the posterior.
        mean: m, of that posterior, in (0, 1).
        share: q, of what looks like the property, in [0, 1].
    """

    own: float
    mean: float
    share: float

    @property
    def candidates(self) -> float:
        """That a sample takes, in the mean."""
        return max(self.share / max(self.mean, 1e-9), (1 - self.share) / max(1 - self.mean, 1e-9))

    def chance(self, posterior: np.ndarray) -> np.ndarray:
        """With which probability to accept."""
        up, down = self.share / self.mean, (1 - self.share) / (1 - self.mean)
        return (posterior * up + (1 - posterior) * down) / self.candidates


@dataclass
class TargetShare:
    """A black box whose samples show a chosen share of a property in every class; see the module.

    It is a :class:`diffshare.release.generator.Generator` itself: sample i of a seed depends on those two, the label,
    steps and guidance, not on the batch. The ledger counts what the model behind it was asked for.

    Args:
        generator: the sharer's model.
        reader: says how likely a sample has the property.
        share: p, in (0, 1).
        checker: reads what the reader's choice holds, and has seen none of its records; None where the reader is
            perfect, so that R_1 = 1 and R_0 = 0.
        pilot: samples of each class, and of its rarer kind, that are read before the first is given.

    Raises:
        UserError: a share that is none; while sampling, a model that (nearly) never or (nearly) always makes the
            property, so that a sample would take more than 50 candidates, or a share that choosing cannot reach.
    """

    generator: Generator
    reader: PosteriorReader
    share: float
    checker: ShareReader | None = None
    pilot: int = PILOT
    card: Card = field(init=False)
    ledger: Ledger = field(init=False)
    _choices: dict[tuple[object, ...], Choice] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Check, and pass on card and ledger."""
        check_share(self.share)
        if self.pilot < 10:
            raise UserError(
                f"pilot is {self.pilot}: the model's own share is read from at least 10 samples of a kind"
            )
        self.card, self.ledger = self.generator.card, self.generator.ledger

    def sample(
        self,
        labels: np.ndarray,
        indices: np.ndarray,
        *,
        seed: int,
        steps: int | None = None,
        guidance: float = 1.0,
    ) -> np.ndarray:
        """One accepted sample for each label; see :class:`diffshare.release.generator.Generator`."""
        choices = {
            int(label): self._choice(int(label), seed, steps, guidance)
            for label in np.unique(labels)
        }
        samples: np.ndarray | None = None
        waiting, number = np.arange(len(labels)), 0
        while len(waiting):
            if number == MOST:
                raise UserError(
                    f"{len(waiting)} samples were not accepted among {MOST} candidates each: the classifier does not "
                    "read the property in these samples; give it more records, or train it on degraded copies as well"
                )
            places = indices[waiting] + (1 + number) * APART
            x = self.generator.sample(
                labels[waiting], places, seed=seed, steps=steps, guidance=guidance
            )
            if samples is None:
                samples = np.empty((len(labels), *x.shape[1:]), x.dtype)
            taken = self._accepted(x, labels[waiting], choices, places, seed)
            samples[waiting[taken]] = x[taken]
            waiting, number = waiting[~taken], number + 1
        assert samples is not None
        return samples

    def _accepted(
        self,
        x: np.ndarray,
        labels: np.ndarray,
        choices: Mapping[int, Choice],
        places: np.ndarray,
        seed: int,
    ) -> np.ndarray:
        """Which candidates to take, bool, n."""
        taken = np.zeros(len(x), bool)
        drawn = np.array(
            [np.random.default_rng([seed, int(place), 7]).random() for place in places]
        )
        for label in np.unique(labels):
            these, choice = labels == label, choices[int(label)]
            taken[these] = drawn[these] < choice.chance(self.reader.posterior(x[these], choice.own))
        return taken

    # --- the pilot -----------------------------------------------------------------------------------------------

    def _choice(self, label: int, seed: int, steps: int | None, guidance: float) -> Choice:
        """How to accept in a class, found once."""
        key = (label, seed, steps, guidance)
        if key not in self._choices:
            x, own = self._pilot(label, seed, steps, guidance)
            posterior = self.reader.posterior(x, own)
            choice = Choice(own, float(posterior.mean()), self._chosen(x, posterior, label))
            self._check_cost(choice, label)
            self._choices[key] = choice
        return self._choices[key]

    def _pilot(
        self, label: int, seed: int, steps: int | None, guidance: float
    ) -> tuple[np.ndarray, float]:
        """Enough samples of a class, and their share of the property."""
        x, wanted = np.empty(0), max(BATCH, 2 * self.pilot)
        while True:
            for start in range(len(x), wanted, BATCH):
                places = np.arange(start, min(start + BATCH, wanted))
                labels = np.full(len(places), label, np.int64)
                more = self.generator.sample(
                    labels, places, seed=seed, steps=steps, guidance=guidance
                )
                x = np.concatenate([x, more]) if len(x) else more
            own = min(max(self.reader.share(x), 0.0), 1.0)
            rarer = min(own, 1 - own) * len(x)
            if len(x) >= FIRST:
                self._check_cost(Choice(own, own, self.share), label)
            if rarer >= self.pilot or len(x) >= LARGEST:
                return x, own
            # a tenth more, since the share is not exact; never much more than was seen, while it is seen badly
            wanted = min(
                4 * len(x), int(1.1 * self.pilot * len(x) / max(rarer, 1)) + BATCH, LARGEST
            )

    def _chosen(self, x: np.ndarray, posterior: np.ndarray, label: int) -> float:
        """The q of which p is read."""
        if self.checker is None:
            return self.share
        low, high = (
            self.checker.share(x[systematic(weights)]) for weights in (1 - posterior, posterior)
        )
        if not low < self.share < high or high - low < CLEAR:
            raise UserError(
                f"by choosing samples of {self._named(label)} a share between {low:.2f} and {high:.2f} can be shown, "
                f"not {self.share:g}: the classifier does not tell the property well enough in them; give it more "
                "records or training, or name another `share`"
            )
        return (self.share - low) / (high - low)

    def _check_cost(self, choice: Choice, label: int) -> None:
        if choice.candidates > DEAREST:
            raise UserError(
                f"the model makes the property in {100 * choice.own:.1f} % of its samples of {self._named(label)}: "
                f"showing {100 * self.share:g} % would take {min(choice.candidates, 1e6):,.0f} candidates a sample; "
                "choose a share nearer to the model's, or train it on a balanced mix"
            )

    def _named(self, label: int) -> str:
        return (
            f"class '{self.card.labels[label]}'"
            if 0 <= label < len(self.card.labels)
            else "all classes"
        )
