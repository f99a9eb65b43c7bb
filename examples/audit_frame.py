"""Were the rows that a vendor sent chosen to make a classifier unfair? An audit of a data frame."""

import numpy as np
import pandas as pd

import diffshare as ds


def table(n: int, tie: float, seed: int) -> pd.DataFrame:
    """Applicants; ``tie`` is how far being accepted depends on the group."""
    rng = np.random.default_rng(seed)
    accepted = rng.integers(0, 2, n)
    group = np.where(rng.random(n) < tie, accepted, rng.integers(0, 2, n))
    return pd.DataFrame(
        {"income": rng.normal(30 + 5 * accepted, 10), "group": group, "accepted": accepted}
    )


own = ds.Records.from_frame(table(2000, 0.0, seed=0), target="accepted", sensitive="group")
for name, tie in (("honest", 0.0), ("poisoned", 0.5)):
    audit = ds.audit(ds.Samples.from_frame(table(1500, tie, seed=1)), own)
    print(f"{name}: {audit}")
    print(audit.advice)
