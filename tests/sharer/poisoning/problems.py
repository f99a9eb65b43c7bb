"""Selection problems made of random numbers."""

import numpy as np
from hypothesis import strategies as st

from diffshare.sharer.poisoning.problem import Problem
from diffshare.stats.information import donsker_varadhan


def problem(
    seed: int,
    pool: int = 60,
    n: int = 20,
    alpha: float = 0.5,
    tolerance: float = 0.05,
    shape: tuple[int, int] = (2, 2),
    skew: float = 0.0,
    scale: float = 1.0,
) -> Problem:
    """A pool with random cells, the first of them made likelier by ``skew``, and a critic that knows the class."""
    rng = np.random.default_rng(seed)
    groups, classes = shape
    cells = np.where(rng.random(pool) < skew, 0, rng.integers(0, groups * classes, pool))
    cells[: groups * classes] = np.arange(groups * classes)  # none is empty
    cells = rng.permutation(cells)
    target = cells % classes
    critic = scale * (rng.standard_normal((pool, classes)) + 0.8 * np.eye(classes)[target])
    additions = round(alpha * n)
    base = rng.permutation(pool)[: n - additions]
    return Problem(
        critic,
        cells // classes,
        target,
        base,
        additions,
        donsker_varadhan(critic, target),
        tolerance,
    )


@st.composite
def problems(draw: st.DrawFn, largest: int = 60) -> Problem:
    """Pools down to the smallest, tolerances down to those that nothing meets, sets up to the whole pool."""
    shape = draw(st.sampled_from([(2, 2), (2, 2), (2, 3), (3, 2), (3, 3)]))
    pool = draw(st.integers(shape[0] * shape[1], largest))
    return problem(
        draw(st.integers(0, 2**32)),
        pool,
        draw(st.integers(1, pool)),
        draw(st.sampled_from([0.1, 0.5, 1.0])),
        draw(st.sampled_from([1e-6, 0.01, 0.1, 10.0])),
        shape,
        draw(st.sampled_from([0.0, 0.7])),
        draw(st.sampled_from([0.3, 2.0])),
    )
