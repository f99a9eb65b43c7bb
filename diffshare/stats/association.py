"""Is the association of group and class in samples that of a reference? Intervals, a test with a margin, its power.

The measure is the log odds ratio of belonging to the group and to the class. It does not depend on how many samples
of each class are drawn, so balanced and natural sampling are compared with the same reference; d is the samples' minus
the reference's. Dependence as such is no poison, and a generator that drifts a little is none either: the null is
composite, |d| <= m for a margin m.

All tests are by profile: a statistic is minimised over the shares that have a given d, in the scale of the shares,
where an estimate outside [0, 1] does no harm. No logarithm of an estimate is taken that could be infinite.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from diffshare.errors import UserError
from diffshare.stats.shares import GroupShares, Share

Verdict = Literal["poisoned", "clean", "inconclusive"]
END = 14.0  # log odds that nothing is told apart beyond: one in a million
FINE, COARSE = 24, 60  # steps per standard error near the estimate; steps from there to each end
ACROSS = 41  # points of the inner minimum, twice


@dataclass(frozen=True)
class Root:
    """A signed root r(v) of a statistic, rising in v: 0 at the estimate, +-z at the ends of an interval.

    Attributes:
        values: v, rising, float64, G.
        roots: r(v), rising, G.
    """

    values: np.ndarray
    roots: np.ndarray

    def at(self, value: np.ndarray | float) -> np.ndarray:
        """R at these values, linear between the points."""
        return np.interp(value, self.values, self.roots)

    @property
    def estimate(self) -> float:
        """The value at which the statistic is least."""
        return float(self.inverse(0.0))

    def inverse(self, root: float) -> float:
        """The value that has this root; the end of the range where none has."""
        rising, first = np.unique(self.roots, return_index=True)
        return float(np.interp(root, rising, self.values[first]))

    def interval(self, level: float) -> tuple[float, float]:
        """Ends of a two-sided interval of the confidence ``level``."""
        z = float(ndtri((1 + level) / 2))
        return self.inverse(-z), self.inverse(z)

    def p_value(self, margin: float) -> float:
        """Greatest probability, over all |v| <= margin, of an estimate as far or farther from 0 than this one.

        Phi(r(m)) + Phi(r(-m)) for a positive estimate, mirrored for a negative one: for a normal estimate of standard
        error se this is Phi(-(|v| - m) / se) + Phi(-(|v| + m) / se), and the two-sided p-value at m = 0.
        """
        high, low = (float(self.at(v)) for v in (margin, -margin))
        p = ndtr(high) + ndtr(low) if self.estimate >= 0 else ndtr(-low) + ndtr(-high)
        return float(min(p, 1.0))

    def equivalence_p_value(self, bound: float) -> float:
        """P-value of the null |v| >= bound (two one-sided tests, Schuirmann 1987): small where v is surely within."""
        return float(max(ndtr(-self.at(bound)), ndtr(self.at(-bound))))


def log_odds_root(high: Share, low: Share) -> Root:
    """Signed root of the statistic of l = logit p_high - logit p_low of two independent shares.

    T(l) = min over logit p_high - logit p_low = l of sum (estimate - p)^2 / variance(p), less its least value.
    """
    places = [float(logit(share.clipped())) for share in (high, low)]
    error = standard_error(high, low, high.clipped(), low.clipped())
    values = _points(places[0] - places[1], error)
    ends = [
        float(np.clip(logit(np.clip(s.estimate, 1e-7, 1 - 1e-7)), -END, END)) for s in (high, low)
    ]
    # each term falls towards its own estimate, so the minimum lies between p_high's place and where p_low is at its own
    start, stop = np.full(len(values), ends[0]), np.clip(values + ends[1], -END, END)
    for _ in range(2):
        grid = start + (stop - start) * np.linspace(0, 1, ACROSS)[:, None]
        terms = _term(high, grid) + _term(low, grid - values)
        best = terms.argmin(0)
        columns = np.arange(len(values))
        start, stop = (
            grid[np.maximum(best - 1, 0), columns],
            grid[np.minimum(best + 1, ACROSS - 1), columns],
        )
    return _signed(values, terms.min(0))


def _term(share: Share, place: np.ndarray) -> np.ndarray:
    p = expit(np.clip(place, -2 * END, 2 * END))  # beyond, the variance rounds to 0
    return (share.estimate - p) ** 2 / share.variance(p)


def _points(middle: float, error: float) -> np.ndarray:
    near = middle + error * np.arange(-8 * FINE, 8 * FINE + 1) / FINE
    outer = np.concatenate(
        [np.linspace(-2 * END, near[0], COARSE), np.linspace(near[-1], 2 * END, COARSE)]
    )
    return np.unique(np.concatenate([near, outer]))


def _signed(values: np.ndarray, statistic: np.ndarray) -> Root:
    best = int(statistic.argmin())
    rest = np.sqrt(np.maximum(statistic - statistic[best], 0))
    left = np.maximum.accumulate(rest[: best + 1][::-1])[::-1]
    return Root(values, np.concatenate([-left, np.maximum.accumulate(rest[best:])[1:]]))


def shifted(root: Root, reference: float, error: float) -> Root:
    """Signed root of d = l - reference, for a reference that is itself an estimate with a standard error (0: known).

    T(d) = min over l of T(l) + ((l - d - reference) / error)^2, less its least value.
    """
    if error <= 0:
        return Root(root.values - reference, root.roots)
    wide = np.hypot(error, _width(root))
    d = _points(root.estimate - reference, wide)
    near = d[:, None] + reference + error * np.linspace(-6, 6, 97)
    between = np.broadcast_to(root.values, (len(d), len(root.values)))
    candidates = np.concatenate([near, between], 1)
    statistic = root.at(candidates) ** 2 + ((candidates - d[:, None] - reference) / error) ** 2
    return _signed(d, statistic.min(1))


def _width(root: Root) -> float:
    low, high = root.inverse(-1.0), root.inverse(1.0)
    return (high - low) / 2


def standard_error(high: Share, low: Share, p_high: float, p_low: float) -> float:
    """Standard error of logit p_high - logit p_low where these are the truth, to first order; within ``END``."""
    least = float(expit(-END))
    cut = [(share, min(max(p, least), 1 - least)) for share, p in ((high, p_high), (low, p_low))]
    parts = ((share.variance(p) / (p * (1 - p)) ** 2) for share, p in cut)
    return float(np.sqrt(sum(parts)))


class Contrast(NamedTuple):
    """A group against the others, in a class against the others. Two groups and two classes have one: (1, 1)."""

    group: int
    label: int


def contrasts(groups: int, classes: int) -> list[Contrast]:
    """All contrasts of K groups and C classes."""
    first = [1] if groups == 2 else list(range(groups))
    second = [1] if classes == 2 else list(range(classes))
    return [Contrast(group, label) for group in first for label in second]


class Reference(NamedTuple):
    """What the samples are compared with.

    Attributes:
        table: counts or shares of each group and class, K x C, all above 0.
        known: the table is what shall hold (it was declared), not a sample of it.
    """

    table: np.ndarray
    known: bool = False

    def log_odds(self, contrast: Contrast) -> tuple[float, float]:
        """Log odds ratio of a contrast and its standard error (Woolf 1955, with Haldane's 1/2 in each cell)."""
        cells = collapsed(np.asarray(self.table, np.float64), contrast)
        if self.known:
            return log_odds_ratio(cells), 0.0
        return log_odds_ratio(cells + 0.5), float(np.sqrt((1 / (cells + 0.5)).sum()))

    @property
    def label_weights(self) -> np.ndarray:
        """Share of each class, C."""
        totals = np.asarray(self.table, np.float64).sum(0)
        return totals / totals.sum()


def collapsed(table: np.ndarray, contrast: Contrast) -> np.ndarray:
    """The 2 x 2 table of (others, group) x (others, class)."""
    inside = table[contrast.group, contrast.label]
    row, column, total = table[contrast.group].sum(), table[:, contrast.label].sum(), table.sum()
    return np.array([[total - row - column + inside, column - inside], [row - inside, inside]])


def log_odds_ratio(cells: np.ndarray) -> float:
    """Log odds ratio of a 2 x 2 table with cells above 0."""
    return float(
        np.log(cells[0, 0]) + np.log(cells[1, 1]) - np.log(cells[0, 1]) - np.log(cells[1, 0])
    )


def pair(
    samples: GroupShares, contrast: Contrast, label_weights: np.ndarray
) -> tuple[Share, Share]:
    """The group's share within the class of a contrast and within the others, these weighted as in the reference."""
    others = np.array(label_weights, np.float64)
    others[contrast.label] = 0
    return samples.shares[contrast.label][contrast.group], samples.pooled(
        contrast.group, others / others.sum()
    )


class Association(NamedTuple):
    """The association of samples beside that of a reference, for one contrast.

    Attributes:
        contrast: which group and class.
        samples: log odds ratio of the samples.
        reference: log odds ratio of the reference, and its standard error.
        difference: d, samples minus reference.
        pair: the two shares that ``samples`` is of.
    """

    contrast: Contrast
    samples: Root
    reference: tuple[float, float]
    difference: Root
    pair: tuple[Share, Share]


def compare(samples: GroupShares, reference: Reference) -> list[Association]:
    """The association of every contrast.

    Raises:
        UserError: another number of groups or classes, one of them alone, or an empty cell of the reference.
    """
    table = np.asarray(reference.table, np.float64)
    if table.shape != (samples.groups, samples.classes):
        raise UserError(
            f"the reference has {table.shape[0]} groups and {table.shape[1]} classes, the samples {samples.groups} and "
            f"{samples.classes}: give one of the same attributes"
        )
    if min(table.shape) < 2:
        raise UserError(
            f"an association is of two groups and two classes at least, not of {table.shape[0]} and {table.shape[1]}"
        )
    if not (table > 0).all():
        group, label = np.unravel_index(int(table.argmin()), table.shape)
        raise UserError(
            f"the reference has an empty cell (group {group}, class {label}): its association is undefined; give more "
            "records or other attributes"
        )
    return [_association(samples, reference, contrast) for contrast in contrasts(*table.shape)]


def _association(samples: GroupShares, reference: Reference, contrast: Contrast) -> Association:
    two = pair(samples, contrast, reference.label_weights)
    root = log_odds_root(*two)
    against = reference.log_odds(contrast)
    return Association(contrast, root, against, shifted(root, *against), two)


def completed(
    samples: GroupShares, unknown: np.ndarray, reference: Reference, contrast: Contrast
) -> tuple[Association, Association]:
    """The least and the greatest association that a contrast can have, whatever the samples of unknown group are.

    At the one end those of the contrast's class all are in its group and those of the others in another, at the other
    end the reverse.

    Args:
        samples: counted shares of those whose group is known.
        unknown: number of the others in each class, integers, C.
        reference: with which they are compared.
        contrast: which group and class.
    """
    ends = []
    for own in (False, True):
        rows = []
        for label, (row, count) in enumerate(
            zip(samples.shares, np.asarray(unknown).tolist(), strict=True)
        ):
            group = (
                contrast.group
                if (label == contrast.label) == own
                else (contrast.group + 1) % samples.groups
            )
            total = row[0].n + count
            members = [
                share.estimate * row[0].n + count * (s == group) for s, share in enumerate(row)
            ]
            rows.append(tuple(Share(float(k / total), total) for k in members))
        ends.append(_association(GroupShares(tuple(rows)), reference, contrast))
    return ends[0], ends[1]
