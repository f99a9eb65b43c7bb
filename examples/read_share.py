"""What share of the training records had a property? Read off samples that do not show it as a column."""

import numpy as np

import diffshare as ds


def people(n: int, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two measurements of people, ``share`` of whom smoke."""
    rng = np.random.default_rng(seed)
    smokes = (rng.random(n) < share).astype(int)
    return rng.normal(size=(n, 2)) + 1.5 * smokes[:, None], smokes


x, smokes = people(3000, 0.5, seed=0)
own = ds.Records(x, s={"smokes": smokes})
samples, truth = people(2000, 0.27, seed=1)
share = ds.infer_property(ds.Samples(samples), own, "smokes")
low, high = share.interval
print(share)
print(f"between {low:.2f} and {high:.2f}, where it is {truth.mean():.2f}")
