"""Decoding to the cache against a bare pillow loop, opening a warm cache, and memory while decoding.

python scripts/bench_cache.py --root FOLDER [--json FILE]

FOLDER is in CelebA's layout. Times are the best of several rounds in which the candidates take turns. The bare loops
decode, crop and resize with pillow on all cores and gather one array in memory; they write nothing.
"""

import argparse
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
from _bench import Row, report
from PIL import Image

from diffshare.data.cache import open_records
from diffshare.data.celeba import ATTRIBUTES, IMAGES, PARTITION, CelebA
from diffshare.data.module import MixDataModule

SIZE, CROP, LEFT, TOP = 64, 178, 0, 20
BLOCK = 32  # files per task of the bare loops: the fastest of 1, 8, 32, 128 for processes


def bare(paths: list[str]) -> np.ndarray:
    out = np.empty((len(paths), SIZE, SIZE, 3), np.uint8)
    for row, path in enumerate(paths):
        with Image.open(path) as image:
            square = image.crop((LEFT, TOP, LEFT + CROP, TOP + CROP))
        out[row] = square.resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return out


def bare_loop(pool: Executor, paths: list[str]) -> np.ndarray:
    return np.concatenate(
        list(pool.map(bare, [paths[i : i + BLOCK] for i in range(0, len(paths), BLOCK)]))
    )


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def decode_to_cache(root: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        open_records(CelebA(root, SIZE, CROP), folder)


def decoding(root: Path, rounds: int) -> list[Row]:
    """Images a second of the cache and of the faster of two bare loops."""
    paths = [str(root / IMAGES / name) for name in CelebA(root).index().names.tolist()]
    # four threads more, as the product has: fair where the cores are shared
    cores = len(os.sched_getaffinity(0))
    context = multiprocessing.get_context("spawn")
    with ThreadPoolExecutor(cores + 4) as threads, ProcessPoolExecutor(cores, context) as processes:
        candidates: dict[str, Callable[[], object]] = {
            "pillow alone, threads": lambda: bare_loop(threads, paths),
            "pillow alone, processes": lambda: bare_loop(processes, paths),
            "decoding to the cache": lambda: decode_to_cache(root),
        }
        bare_loop(processes, paths[: 8 * BLOCK])  # the processes are started before the clock is
        times = {
            name: min(several)
            for name, several in zip(candidates, _turns(candidates, rounds), strict=True)
        }
    speeds = {name: len(paths) / best for name, best in times.items()}
    best = max(list(speeds)[:2], key=speeds.__getitem__)
    ours = speeds.pop("decoding to the cache")
    rows = [Row(name, speed, "images/s") for name, speed in speeds.items()]
    return [*rows, Row("decoding to the cache", ours, "images/s", best, ours / speeds[best])]


def _turns(candidates: dict[str, Callable[[], object]], rounds: int) -> list[list[float]]:
    table = [[seconds(work) for work in candidates.values()] for _ in range(rounds)]
    return [list(column) for column in zip(*table, strict=True)]


def warm(root: Path, rounds: int) -> list[Row]:
    """Opening what is decoded already: index, hash, checks and map; and the whole set-up of a data module."""
    with tempfile.TemporaryDirectory() as folder:
        index = open_records(CelebA(root, SIZE, CROP), folder).index
        names = list(index.attributes)

        def module() -> None:
            MixDataModule(
                CelebA(root, SIZE, CROP), names[0], names[-1], cache_dir=Path(folder)
            ).setup()

        opening = min(
            seconds(lambda: open_records(CelebA(root, SIZE, CROP), folder)) for _ in range(rounds)
        )
        setup = min(seconds(module) for _ in range(rounds))
    return [
        Row(f"open_records, warm, {len(index)} records", opening, "s"),
        Row(f"MixDataModule.setup, warm, {len(index)} records", setup, "s"),
    ]


def multiply(root: Path, times: int, target: Path) -> None:
    """The same layout with each image ``times`` times, as links."""
    (target / IMAGES).mkdir(parents=True)
    count, names, *rows = (root / ATTRIBUTES).read_text().splitlines()
    parts = dict(line.split() for line in (root / PARTITION).read_text().splitlines())
    copies = [(f"{k}-{row.split()[0]}", row) for k in range(times) for row in rows]
    for name, row in copies:
        (target / IMAGES / name).symlink_to((root / IMAGES / row.split()[0]).resolve())
    lines = [f"{name} {row.split(maxsplit=1)[1]}" for name, row in copies]
    (target / ATTRIBUTES).write_text("\n".join([str(int(count) * times), names, *lines]) + "\n")
    (target / PARTITION).write_text(
        "".join(f"{name} {parts[row.split()[0]]}\n" for name, row in copies)
    )


def growth(root: Path) -> float:
    """MiB by which the peak of resident memory, while the cache is built, exceeds what stood before (Linux)."""
    source = CelebA(root, SIZE, CROP)
    source.index()
    source.read(np.arange(8))
    before = _memory("VmRSS")
    with tempfile.TemporaryDirectory() as folder:
        open_records(source, folder)
    return _memory("VmHWM") - before


def _memory(field: str) -> float:
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status[field].split()[0]) / 1024


def memory(root: Path) -> list[Row]:
    rows: list[Row] = []
    for times in (1, 4):
        with tempfile.TemporaryDirectory() as folder:
            multiply(root, times, Path(folder) / "data")
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
                value = process.submit(growth, Path(folder) / "data").result()
        name = f"memory growth while decoding, {times}x the data"
        rows.append(
            Row(name, value, "MiB", rows[0].name, value / rows[0].value)
            if rows
            else Row(name, value, "MiB")
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", type=Path, required=True, help="folder in CelebA's layout")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", help="write the figures here, too")
    args = parser.parse_args()
    report(
        [*decoding(args.root, args.rounds), *warm(args.root, args.rounds), *memory(args.root)],
        args.json,
    )


if __name__ == "__main__":
    main()
