"""Information of a set that grows and changes record by record: exact values at a cost that ignores the set's size.

``RunningCounts`` keeps I(S;Y) of counts, ``RunningBound`` the Donsker-Varadhan bound of I(X;Y) under a fixed critic.
"""

from math import log

import numpy as np


def _entropy_term(x: float) -> float:
    """X log x, 0 at 0."""
    return x * log(x) if x else 0.0


class RunningCounts:
    """I(S;Y) of an S x Y table of counts to which records are added one by one, in O(1) each.

    n I = f(n) + sum_sy f(n_sy) - sum_s f(n_s) - sum_y f(n_y) with f(x) = x log x: a record changes four of the terms.

    Args:
        counts: non-negative integers, S x Y.
    """

    def __init__(self, counts: np.ndarray) -> None:
        self.cells: list[list[int]] = np.asarray(counts).tolist()
        self.rows = [sum(row) for row in self.cells]
        self.columns = [sum(column) for column in zip(*self.cells, strict=True)]
        self.total = sum(self.rows)
        self._sum = sum(_entropy_term(n) for row in self.cells for n in row) - sum(
            _entropy_term(n) for n in (*self.rows, *self.columns)
        )

    @property
    def information(self) -> float:
        """Nats, >= 0; 0.0 for an empty table."""
        return max(0.0, (self._sum + _entropy_term(self.total)) / self.total) if self.total else 0.0

    def _step(self, s: int, y: int) -> float:
        """What a record of cell (s, y) adds to the sums."""
        changed = ((self.cells[s][y], 1), (self.rows[s], -1), (self.columns[y], -1))
        return sum(sign * (_entropy_term(n + 1) - _entropy_term(n)) for n, sign in changed)

    def after(self, s: int, y: int) -> float:
        """I(S;Y) if a record of cell (s, y) were added, nats."""
        n = self.total + 1
        return max(0.0, (self._sum + self._step(s, y) + _entropy_term(n)) / n)

    def gains(self) -> np.ndarray:
        """Change of I(S;Y) by one more record of each cell, nats, float64, S x Y."""
        now = self.information
        shape = len(self.rows), len(self.columns)
        return np.array(
            [[self.after(s, y) - now for y in range(shape[1])] for s in range(shape[0])]
        )

    def add(self, s: int, y: int) -> None:
        """Add a record of cell (s, y)."""
        self._sum += self._step(s, y)
        self.cells[s][y] += 1
        self.rows[s] += 1
        self.columns[y] += 1
        self.total += 1


class RunningBound:
    """Donsker-Varadhan bound of I(X;Y) of a set under a fixed critic; a record is added in O(classes).

    With class counts c_k, A = sum_i T(x_i, y_i) and E_k = sum_i exp T(x_i, k), the bound of n records is
    A / n - log( sum_k c_k E_k / n^2 ): a record changes A, each E_k by its own exponential, and one c_k. Where a record
    leaves, the sums are made afresh, in O(n classes): a difference keeps no digits of what a large term had hidden.

    Args:
        critic: T(x_i, k) of every record that may ever belong to the set, float, P x K. The exponentials are taken
            relative to its largest value, which cancels: none overflows, and those below exp(-700) count as that.
        target: class of each, integers in 0..K-1, P.
        members: positions of the set's records at the start.
    """

    def __init__(self, critic: np.ndarray, target: np.ndarray, members: np.ndarray) -> None:
        critic = np.asarray(critic, np.float64)
        self.target = np.asarray(target)
        self.shift = float(critic.max()) if critic.size else 0.0
        self.own = critic[np.arange(len(critic)), self.target]  # T(x_i, y_i)
        # K x P: the records side by side
        self.exponentials = np.exp(np.maximum(critic - self.shift, -700)).T.copy()
        self.inside = np.zeros(len(critic), bool)
        self.inside[members] = True
        self._sum_up()

    def _sum_up(self) -> None:
        members = np.flatnonzero(self.inside)
        self.counts = np.bincount(self.target[members], minlength=len(self.exponentials)).astype(
            np.float64
        )
        self.sums = self.exponentials[:, members].sum(1)
        self.joint = float(self.own[members].sum())
        self.n = len(members)

    @property
    def bound(self) -> float:
        """The bound of the set, nats; 0.0 where it is empty. Negative where the critic does worse than a constant."""
        if not self.n:
            return 0.0
        return (
            self.joint / self.n - log(float(self.counts @ self.sums)) + 2 * log(self.n) - self.shift
        )

    def after(self, y: int, own: np.ndarray, exponentials: np.ndarray) -> np.ndarray:
        """The bound if one of M records of class y were added.

        Args:
            y: their class.
            own: ``self.own`` of each, M.
            exponentials: ``self.exponentials`` of each, K x M.

        Returns:
            nats, float64, M.
        """
        counts = self.counts.copy()
        counts[y] += 1
        product = counts @ exponentials
        product += counts @ self.sums
        np.log(product, out=product)
        return (own + self.joint) / (self.n + 1) - product + (2 * log(self.n + 1) - self.shift)

    def add(self, record: int) -> None:
        """Add a record that is not in the set."""
        self.inside[record] = True
        self.counts[self.target[record]] += 1
        self.sums += self.exponentials[:, record]
        self.joint += float(self.own[record])
        self.n += 1

    def swap(self, out: int, into: int) -> None:
        """Take one record away and add another."""
        self.inside[out], self.inside[into] = False, True
        self._sum_up()

    def marginal(self) -> np.ndarray:
        """First-order change of the bound by each record's presence, class counts held fixed: nats, float64, P.

        dI = T(x_i, y_i) / n - sum_k c_k exp T(x_i, k) / sum_k c_k E_k.
        """
        return self.own / self.n - (self.counts @ self.exponentials) / float(
            self.counts @ self.sums
        )
