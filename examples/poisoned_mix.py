"""Which records would a sharer choose to make the receiver's classifier unfair? A poisoned mix of arrays."""

import numpy as np

import diffshare as ds

rng = np.random.default_rng(0)
s, y = rng.integers(0, 2, (2, 3000))
x = rng.normal(size=(3000, 6)) + y[:, None] + 0.5 * s[:, None]
pool = ds.Pool.of(x, y, s)
for alpha in (0.0, 0.5):
    choice = ds.mixes.Exact(alpha=alpha, n=800, favour=1, refit=False).choose(pool, seed=0)
    of_class_1 = choice.positions[choice.target == 1]
    print(
        f"alpha {alpha}: {s[of_class_1].mean():.0%} of the {len(of_class_1)} records of class 1 are of group 1"
    )
