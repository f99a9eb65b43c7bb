"""Samples that show a chosen share of a property, whatever the model would show: for a sharer who publishes samples.

The model is asked for candidates, and a candidate is accepted with a probability that depends on how it looks. Where f
is the density of the model's samples of a class, pi their share of the property and s(x) the posterior of the property
among them, f = pi f_1 + (1 - pi) f_0 and s = pi f_1 / f. Accepting x with a probability proportional to

    w(x) = s(x) p / pi + (1 - s(x)) (1 - p) / (1 - pi)

leaves the density p f_1 + (1 - p) f_0 of all that s depends on: an attack that sees no more of a sample than the
sharer's classifier does finds what it would find in a model of the share p, by every method. Quotas of a classifier's
*decisions* would keep its false alarms at the model's own rate, which tells the methods apart.

Where the property is plain to see, s is 0 or 1 and the accepted samples have it in the share p. Where the classifier is
unsure, the true share among them lies between the model's own and p, and a receiver with a better classifier reads
that: the sharer needs the best classifier there is. It is the aim of PriSampler (Hu & Pang 2023, arXiv 2306.05208),
reached by choosing instead of by guiding.

The share is p *within each class*: an association of class and property is gone as well. The share within the errors of
pi and s is left, and the model itself must not be published.
"""

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from diffshare.classifiers.property import PropertyClassifier
from diffshare.errors import UserError
from diffshare.release.card import Card
from diffshare.release.generator import Generator, Ledger
from diffshare.stats.prevalence import estimate

PILOT = 500  # candidates of a class that its share is estimated from
PILOT_BATCH = 100  # how many of them are asked for at once
APART = 1 << 24  # candidate k of sample i is the model's sample i + k * APART; the pilot's come before the first
DEAREST = 50.0  # candidates a sample that are at most worth it
MOST = 2000  # candidates of a sample after which something must be wrong
LEAST = 1e-3  # a posterior is moved into [LEAST, 1 - LEAST] before it is re-weighted


def check_share(share: float) -> None:
    """Refuse a share that samples cannot show.

    Raises:
        UserError: it does not lie in (0, 1).
    """
    if not 0 < share < 1:
        raise UserError(f"the share to show is {share}: it lies between 0 and 1, both excluded")


class PosteriorReader(Protocol):
    """What says how likely each sample has the property."""

    def share(self, x: np.ndarray) -> float:
        """Share of samples (n x ...) with the property, in [0, 1]."""
        ...

    def posterior(self, x: np.ndarray, share: float) -> np.ndarray:
        """P(property | x) among samples whose share it is, float64, n."""
        ...


@dataclass(frozen=True)
class ClassifierReader:
    """Reads the property with a cross-fitted classifier of two classes; ``place`` is the class that counts.

    The share is PACC's; the posterior is the mean over the folds' models, moved from the calibration records' prior to
    the samples' share by Bayes' rule (Saerens, Latinne & Decaestecker 2002, equation 2.4).
    """

    classifier: PropertyClassifier
    place: int = 1

    def share(self, x: np.ndarray) -> float:
        """See :class:`PosteriorReader`."""
        return float(estimate("pacc", self.classifier.calibration, self.classifier.scores(x))[self.place])

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


@dataclass
class TargetShare:
    """A black box whose samples show a chosen share of a property in every class; see the module.

    It is a :class:`diffshare.release.generator.Generator` itself: sample i of a seed depends on those two, the label,
    steps and guidance, not on the batch. The ledger counts what the model behind it was asked for.

    Args:
        generator: the sharer's model.
        reader: says how likely a sample has the property.
        share: p, in (0, 1).
        pilot: samples of each class from which the model's own share is estimated, before the first is given.

    Raises:
        UserError: a share that is none; while sampling, a model that (nearly) never or (nearly) always makes the
            property, so that a sample would take more than 50 candidates.
    """

    generator: Generator
    reader: PosteriorReader
    share: float
    pilot: int = PILOT
    card: Card = field(init=False)
    ledger: Ledger = field(init=False)
    _own: dict[tuple[object, ...], float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Check, and pass on card and ledger."""
        check_share(self.share)
        if self.pilot < 10:
            raise UserError(f"pilot is {self.pilot}: the model's own share is estimated from at least 10 samples")
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
        own = np.zeros(len(labels))
        for label in np.unique(labels):
            own[labels == label] = self._share_of(int(label), seed, steps, guidance)
        made: np.ndarray | None = None
        waiting, number = np.arange(len(labels)), 0
        while len(waiting):
            if number == MOST:
                raise UserError(
                    f"{len(waiting)} samples were not accepted among {MOST} candidates each: the classifier does not "
                    "read the property in these samples; give it more records, or train it on degraded copies as well"
                )
            places = indices[waiting] + (1 + number) * APART
            x = self.generator.sample(labels[waiting], places, seed=seed, steps=steps, guidance=guidance)
            if made is None:
                made = np.empty((len(labels), *x.shape[1:]), x.dtype)
            taken = self._accepted(x, own[waiting], places, seed)
            made[waiting[taken]] = x[taken]
            waiting, number = waiting[~taken], number + 1
        assert made is not None
        return made

    def _share_of(self, label: int, seed: int, steps: int | None, guidance: float) -> float:
        """The model's own share in a class, estimated once."""
        key = (label, seed, steps, guidance)
        if key not in self._own:
            parts = []
            for start in range(0, self.pilot, PILOT_BATCH):
                places = np.arange(start, min(start + PILOT_BATCH, self.pilot))
                labels = np.full(len(places), label, np.int64)
                parts.append(self.generator.sample(labels, places, seed=seed, steps=steps, guidance=guidance))
            own = self.reader.share(np.concatenate(parts))
            cost = max(self.share / max(own, 1e-9), (1 - self.share) / max(1 - own, 1e-9))
            if cost > DEAREST:
                raise UserError(
                    f"the model makes the property in {100 * own:.1f} % of its samples of class {label}: showing "
                    f"{100 * self.share:g} % would take {min(cost, 1e6):,.0f} candidates a sample; choose a share "
                    "nearer to the model's, or train it on a balanced mix"
                )
            self._own[key] = own
        return self._own[key]

    def _accepted(self, x: np.ndarray, own: np.ndarray, places: np.ndarray, seed: int) -> np.ndarray:
        """Which candidates to take, bool, n."""
        taken = np.zeros(len(x), bool)
        chance = np.array([np.random.default_rng([seed, int(place), 7]).random() for place in places])
        for share in np.unique(own):
            these = own == share
            s = self.reader.posterior(x[these], float(share))
            up, down = self.share / max(share, 1e-9), (1 - self.share) / max(1 - share, 1e-9)
            taken[these] = chance[these] * max(up, down) < s * up + (1 - s) * down
        return taken
