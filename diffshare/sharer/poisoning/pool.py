"""What an attack needs of its pool."""

import numpy as np

from diffshare.data.mixes import Pool
from diffshare.errors import UserError
from diffshare.stats.association import log_odds_ratio
from diffshare.stats.information import contingency


def check_pool(pool: Pool, policy: str) -> None:
    """Refuse a pool in which S and Y have no association to be made.

    Raises:
        UserError: S is not named or unknown, S or Y is constant, or a cell is empty.
    """
    if pool.sensitive is None:
        raise UserError(
            f"the mix '{policy}' needs data.sensitive: name the attribute to be unfair to"
        )
    for role, name, attribute in (
        ("sensitive", pool.sensitive, pool.s),
        ("target", pool.target, pool.y),
    ):
        unknown = int(np.sum(attribute.codes < 0))
        if unknown:
            raise UserError(
                f"data.{role} '{name}' is unknown for {unknown} records of the pool: fill it in or drop them"
            )
        present = np.unique(attribute.codes)
        if len(present) < 2:
            value = attribute.classes[present[0]] if len(present) else "nothing"
            raise UserError(
                f"data.{role} '{name}' is constant in the pool (always '{value}'): choose another attribute"
            )
    s, y = pool.s, pool.y
    counts = contingency(s.codes, y.codes, len(s.classes), len(y.classes))
    if counts.min() == 0:
        a, b = np.unravel_index(counts.argmin(), counts.shape)
        raise UserError(
            f"the pool has no record with {pool.sensitive} = '{s.classes[a]}' and {pool.target} = '{y.classes[b]}': "
            f"the mix '{policy}' needs every cell; choose other attributes or more records"
        )


def leaning(pool: Pool, positions: np.ndarray) -> int | None:
    """Whom these records favour beside the whole pool: 1 where group 1 has class 1 more often, -1 where group 0 has.

    Args:
        pool: of two groups and two classes.
        positions: of the records, int64, n.

    Returns:
        None with other than two groups and classes, or where both lean alike. 0.5 is added to each count.
    """
    if (len(pool.s.classes), len(pool.y.classes)) != (2, 2):
        return None
    tables = [
        contingency(pool.s.codes[k], pool.y.codes[k], 2, 2)
        for k in (positions, np.arange(len(pool)))
    ]
    chosen, whole = (log_odds_ratio(table + 0.5) for table in tables)
    return int(np.sign(chosen - whole)) or None
