"""Faces drawn a second, against the same drawing one face at a time (which is also checked to give the same bytes)."""

import argparse
import time
from collections.abc import Callable

import numpy as np
from _bench import Row, report

from diffshare.data.rendered import RenderedFaces


def fastest(work: Callable[[], object], repeats: int) -> float:
    """The least of some wall-clock times in seconds: what else the machine does can only add to it."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", help="write the figures to this file")
    parser.add_argument(
        "--count",
        type=int,
        default=8192,
        help="faces of 32 x 32; as many pixels of the other sizes",
    )
    parser.add_argument("--repeats", type=int, default=5, help="the fastest counts")
    args = parser.parse_args()
    rows = []
    for size in (16, 32, 64):
        source = RenderedFaces(count=max(args.count * 32**2 // size**2, 8), image_size=size)
        positions = np.arange(len(source.index()))
        single = positions[: max(len(positions) // 64, 8)]
        together = source.read(positions)
        alone = np.concatenate([source.read(single[k : k + 1]) for k in range(len(single))])
        assert np.array_equal(together[: len(single)], alone)
        out = np.empty_like(together)
        batched = len(positions) / fastest(lambda: source.read(positions, out), args.repeats)  # noqa: B023
        one = len(single) / fastest(
            lambda: [source.read(single[k : k + 1]) for k in range(len(single))],  # noqa: B023
            args.repeats,
        )
        rows.append(Row(f"render {size}x{size}, one at a time", one, "faces/s"))
        rows.append(
            Row(
                f"render {size}x{size}",
                batched,
                "faces/s",
                f"render {size}x{size}, one at a time",
                batched / one,
            )
        )
    report(rows, args.json)


if __name__ == "__main__":
    main()
