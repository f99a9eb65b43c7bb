"""How many records of each cell maximise I(S;Y): a question of counts alone, solved exactly where that is small.

Claim: with integers 0 <= k_sy <= a_sy that sum to m, I(S;Y) of b + k has a maximum at which, in every row s, at most
one k_sy lies strictly between its bounds.

Proof: hold the row sums of k fixed. Then p(s) is fixed, and I(S;Y) is a convex function of the rows p(y|s) (Cover and
Thomas, Elements of Information Theory, theorem 2.7.4). Suppose two cells of a row lie strictly between their bounds.
Moving one unit from one to the other, and back, keeps all sums; along that line I is convex, so one of the two moves
does not lower it. Going on in that direction (a convex function that has not fallen goes on not falling) one of the
two cells meets a bound: one cell fewer lies between. Repeat. The integer points with that property are those that fill
a row's cells in some order, so it suffices to try every row sum with every order: 4 (m + 1) points for 2 x 2. Columns
may take the place of rows, as I is symmetric.
"""

from itertools import permutations, product
from math import comb, factorial

import numpy as np

LIMIT = 2_000_000  # points tried; more than that is left to the ascent


def _terms(x: np.ndarray) -> np.ndarray:
    return x * np.log(np.maximum(x, 1))


def information_of(tables: np.ndarray) -> np.ndarray:
    """I(S;Y) of M tables of counts (M x S x Y, the same positive total in each), nats, M."""
    tables = tables.astype(np.float64)
    n = tables[0].sum()
    cells, rows, columns = (
        _terms(tables).sum((1, 2)),
        _terms(tables.sum(2)).sum(1),
        _terms(tables.sum(1)).sum(1),
    )
    return np.maximum(0, (cells - rows - columns + _terms(np.array(n))) / n)


def _row_sums(limits: list[int], total: int) -> np.ndarray:
    """All ways to write ``total`` as a sum of integers in 0..limit of each row, M x S."""
    ways = np.zeros((1, 0), np.int64)
    left = np.array([total])
    for row, limit in enumerate(limits):
        rest = sum(limits[row + 1 :])
        low, high = np.maximum(0, left - rest), np.minimum(limit, left)
        times = high - low + 1
        index = np.repeat(np.arange(len(ways)), times)
        value = np.arange(len(index)) - np.repeat(np.cumsum(times) - times, times) + low[index]
        ways = np.column_stack([ways[index], value])
        left = left[index] - value
    return ways


def _fill(total: np.ndarray, available: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """Fill the cells of a row in this order until each total is reached, M x K."""
    filled = np.zeros((len(total), len(available)), np.int64)
    for cell in order:
        filled[:, cell] = np.minimum(total, available[cell])
        total = total - filled[:, cell]
    return filled


def _points(rows: int, columns: int, additions: int) -> float:
    return comb(additions + rows - 1, rows - 1) * float(factorial(columns)) ** rows


def allocations(
    base: np.ndarray, available: np.ndarray, additions: int
) -> tuple[np.ndarray, np.ndarray]:
    """Additions to each cell, best first; the first maximises I(S;Y) exactly where there are at most ``LIMIT`` points.

    Args:
        base: S x Y counts of what is chosen already.
        available: S x Y counts of what may be added, at least ``additions`` together.
        additions: how many to add.

    Returns:
        integer tables, M x S x Y, all different, and I(S;Y) of base and additions for each, nats, falling, M. Larger
        problems give one table: a local maximum under moves of any size from one cell to another.
    """
    groups, classes = base.shape
    if _points(classes, groups, additions) < _points(groups, classes, additions):
        tables, information = allocations(base.T, available.T, additions)
        return tables.transpose(0, 2, 1), information
    if _points(groups, classes, additions) > LIMIT:
        table = _ascent(base, available, additions)
        return table[None], information_of((base + table)[None])
    sums = _row_sums(available.sum(1).tolist(), additions)
    orders = list(permutations(range(classes)))
    rows = [[_fill(sums[:, s], available[s], order) for order in orders] for s in range(groups)]
    tables = np.concatenate([np.stack(choice, 1) for choice in product(*rows)])
    tables = np.unique(tables.reshape(len(tables), -1), axis=0).reshape(-1, groups, classes)
    information = information_of(base + tables)
    order = np.argsort(-information, kind="stable")
    return tables[order], information[order]


def _ascent(base: np.ndarray, available: np.ndarray, additions: int) -> np.ndarray:
    """A start by single steps, then the best move of 1 or of as many as possible between two cells while one gains."""
    table = np.zeros_like(available)
    units = np.eye(base.size, dtype=np.int64).reshape(-1, *base.shape)
    for _ in range(additions):
        open_cells = np.flatnonzero((table < available).ravel())
        table = (
            table + units[open_cells[np.argmax(information_of(base + table + units[open_cells]))]]
        )
    now = information_of((base + table)[None])[0]
    while True:
        moves = []
        for a, b in permutations(range(base.size), 2):
            most = min(table.ravel()[a], (available - table).ravel()[b])
            moves += [size * (units[b] - units[a]) for size in {1, int(most)} if 0 < size <= most]
        values = information_of(base + table + np.array(moves)) if moves else np.array([now])
        if values.max() <= now + 1e-12:
            return table
        table, now = table + moves[int(values.argmax())], values.max()
