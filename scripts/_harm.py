"""The page on harm: what docs/results/harm.json says."""

from _kept import kept, table


def measured() -> str:
    """Coverage of the intervals, and what real rows of Adult are called."""
    result = kept("harm")
    covered = [
        [
            f"{row['samples']:,}",
            f"{row['records']:,}",
            f"{row['truth']:.3f}",
            f"{row['half_width']:.3f}",
            "{:.3f} ({:.3f} to {:.3f})".format(*row["coverage"]),
        ]
        for row in result["coverage"]
    ]
    called = [
        [
            f"{row['share']:g}",
            f"{row['excess_gap'][0]:.3f}",
            "{harmful} / {undecided} / {harmless}".format(**row["verdicts"]),
            f"{row['repair']['excess_left'][0]:.3f}",
            "{samples:.3f} / {repaired:.3f} / {reference:.3f}".format(**row["repair"]["accuracy"]),
        ]
        for row in result["adult"]
    ]
    repetitions, folders = result["coverage"][0]["repetitions"], result["adult"][0]["folders"]
    intervals = table(
        ["samples", "records", "true excess gap", "half width", "coverage (95 %)"], covered
    )
    rows = table(
        [
            "share chosen", "excess gap", "harmful / undecided / harmless", "left by the repair",
            "accuracy: samples / repaired / records",
        ],
        called,
    )  # fmt: skip
    return (
        f"Intervals, {repetitions:,} repetitions a row with data whose distribution is known and a linear "
        f"classifier:\n\n{intervals}\n\nReal rows of Adult (S = sex, Y = income), 2,000 samples chosen inside the "
        f"cells, 5,000 records, boosted trees,\n{folders} folders a row; the table of group and class is that of a "
        f"random draw. What the repair leaves is measured on\n10,000 further rows.\n\n{rows}"
    )
