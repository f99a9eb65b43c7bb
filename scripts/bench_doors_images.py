"""How fast a folder of pictures is opened: the index against os.walk and stat, the cache against bare pillow.

python scripts/bench_doors_images.py [--files 200000] [--decoded 20000] [--rounds 5] [--json FILE]

The folder's files hold no pictures: an index that opened them would fail. Times of the index are processor time, the
least of the rounds, each beside the walk in turn. The decoding is that of JPEGs of 128 pixels to a cache of 64, against
as many processes as cores in which pillow alone opens, crops and resizes them; both are wall-clock times in turn.
"""

import argparse
import csv
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from _bench import Row, report
from PIL import Image

from diffshare.data.cache import open_records
from diffshare.data.imagefolder import ImageFolder

SIDE, SIZE = 128, 64


def least(
    works: Sequence[Callable[[], object]], clock: Callable[[], float], rounds: int
) -> list[float]:
    """Seconds of the fastest round of each; they take turns, so that the machine is as busy for all."""
    times = np.zeros((rounds, len(works)))
    for turn in range(rounds):
        for place, work in enumerate(works):
            start = clock()
            work()
            times[turn, place] = clock() - start
    return times.min(0).tolist()


def make_files(root: Path, files: int) -> None:
    """Files of a few bytes in folders of a thousand, and a table with four attributes beside the folder."""
    with root.with_suffix(".csv").open("w") as table:
        table.write("file_name,sex,age,place,camera\n")
        for number in range(files):
            folder = f"{number // 1000:04d}"
            if number % 1000 == 0:
                (root / folder).mkdir(parents=True)
            (root / folder / f"{number:06d}.jpg").write_bytes(b"no image" * (1 + number % 50))
            table.write(
                f"{folder}/{number:06d}.jpg,{'fm'[number % 2]},{number % 80},town {number % 17},{number % 5}\n"
            )


def walk(root: Path) -> None:
    """Status of every file."""
    for folder, _, names in os.walk(root):
        for name in names:
            os.stat(os.path.join(folder, name))


def index_rows(files: int, rounds: int) -> list[Row]:
    """Index of a folder of class folders, and of one with a table."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary) / "photos"
        make_files(root, files)
        table = root.with_suffix(".csv")

        def parse() -> None:
            walk(root)
            with table.open(newline="") as stream:
                list(csv.reader(stream))

        works = [
            lambda: walk(root),
            lambda: ImageFolder(str(root)).index(),
            parse,
            lambda: ImageFolder(str(root), labels=str(table)).index(),
        ]
        bare, folders, parsed, labelled = least(works, time.process_time, rounds)
    names = f"{files} files: os.walk and stat", f"{files} files: os.walk, stat and csv.reader"
    return [
        Row(names[0], bare, "s"),
        Row(f"{files} files: index, class folders", folders, "s", names[0], folders / bare),
        Row(names[1], parsed, "s"),
        Row(f"{files} files: index, a table", labelled, "s", names[1], labelled / parsed),
    ]


def make_pictures(root: Path, count: int) -> list[Path]:
    """JPEGs of soft random colours."""
    root.mkdir()
    rng = np.random.default_rng(0)
    paths = [root / f"{number:06d}.jpg" for number in range(count)]
    for path in paths:
        soft = Image.fromarray(rng.integers(0, 256, (16, 16, 3), np.uint8))
        soft.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=90)
    return paths


def bare_pillow(paths: Sequence[Path]) -> bytes:
    """What a loader without checks does."""
    return b"".join(
        Image.open(path).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BICUBIC).tobytes()
        for path in paths
    )


def decoding_rows(count: int, rounds: int) -> list[Row]:
    """Pictures to the cache, against pillow in processes."""
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as temporary:
        paths = make_pictures(Path(temporary) / "photos", count)
        blocks = [paths[start : start + 64] for start in range(0, count, 64)]
        turn = iter(range(rounds))

        def in_processes() -> None:
            with ProcessPoolExecutor(cores) as pool:
                assert sum(map(len, pool.map(bare_pillow, blocks))) == count * SIZE * SIZE * 3

        def to_cache() -> None:
            source = ImageFolder(str(Path(temporary) / "photos"), image_size=SIZE)
            open_records(source, Path(temporary) / f"cache{next(turn)}")

        bare, cached = least([in_processes, to_cache], time.perf_counter, rounds)
    name = f"{count} JPEGs of {SIDE} pixels: pillow in {cores} processes"
    return [
        Row(name, count / bare, "pictures/s"),
        Row(
            f"{count} JPEGs of {SIDE} pixels: to the cache",
            count / cached,
            "pictures/s",
            name,
            bare / cached,
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--decoded", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = index_rows(options.files, options.rounds) + decoding_rows(
        options.decoded, options.rounds
    )
    report(rows, options.json)


if __name__ == "__main__":
    main()
