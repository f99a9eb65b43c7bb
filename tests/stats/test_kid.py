import numpy as np
import torch
from torchmetrics.image.kid import poly_mmd

from diffshare.stats.kid import kernel_distance, kernel_distance_difference


def features(rng: np.random.Generator, n: int, shift: float = 0.0) -> np.ndarray:
    return rng.normal(shift, 1.0, (n, 6))


def test_the_distance_is_torchmetrics_distance() -> None:
    rng = np.random.default_rng(0)
    a, b = features(rng, 50), features(rng, 50, 0.5)
    assert np.isclose(
        kernel_distance(a, b), poly_mmd(torch.from_numpy(a), torch.from_numpy(b)).item()
    )


def test_the_difference_is_the_difference_of_the_distances() -> None:
    rng = np.random.default_rng(1)
    a, b, reference = features(rng, 40, 0.3), features(rng, 40), features(rng, 60)
    found = kernel_distance_difference(a, b, reference)
    assert np.isclose(found.estimate, kernel_distance(a, reference) - kernel_distance(b, reference))


def test_leaving_out_by_formula_equals_leaving_out_by_hand() -> None:
    rng = np.random.default_rng(2)
    a, b, reference = features(rng, 12, 0.3), features(rng, 12), features(rng, 9)

    def without(i: int | None, j: int | None) -> float:
        keep = [k for k in range(12) if k != i]
        ref = reference[[k for k in range(9) if k != j]]
        return kernel_distance(a[keep], ref) - kernel_distance(b[keep], ref)

    pairs = np.asarray([without(i, None) for i in range(12)])
    single = np.asarray([without(None, j) for j in range(9)])
    variance = (
        11 / 12 * ((pairs - pairs.mean()) ** 2).sum()
        + 8 / 9 * ((single - single.mean()) ** 2).sum()
    )
    found = kernel_distance_difference(a, b, reference)
    assert np.isclose(found.high - found.low, 2 * 1.96 * np.sqrt(variance))


def test_the_interval_covers_no_difference_as_often_as_it_says_and_sees_a_real_one() -> None:
    rng = np.random.default_rng(3)
    covered = 0
    for _ in range(300):
        common = features(rng, 60, 0.3)
        a, b = common + 0.5 * features(rng, 60), common + 0.5 * features(rng, 60)
        found = kernel_distance_difference(a, b, features(rng, 80))
        covered += found.low <= 0 <= found.high
    assert 0.90 <= covered / 300 <= 0.99
    worse = kernel_distance_difference(
        features(rng, 200, 0.6), features(rng, 200), features(rng, 200)
    )
    assert worse.low > 0
