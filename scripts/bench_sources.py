"""Opening sources: UCI's Adult, MNIST's test digits, and the index of a folder of many images.

python scripts/bench_sources.py [--data FOLDER] [--files 100000] [--json FILE]

FOLDER holds adult/ and mnist/; without it only the image folder is measured, whose files the script makes and removes.
Times are the best of several rounds, with everything in the page cache. The folder's files hold no images: an index
that opened them would fail, and opens are counted besides.
"""

import argparse
import csv
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _bench import Row, report

from diffshare.data.idx import IDX
from diffshare.data.imagefolder import ImageFolder
from diffshare.data.table import Adult


def best(work: Callable[[], object], rounds: int = 5) -> float:
    """Seconds of the fastest round."""
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def make_folder(root: Path, files: int) -> None:
    """Many small files in folders of a thousand, and a table with four attributes."""
    with (root / "metadata.csv").open("w") as table:
        table.write("file_name,sex,age,place,camera\n")
        for number in range(files):
            folder = f"{number // 1000:04d}"
            if number % 1000 == 0:
                (root / folder).mkdir()
            (root / folder / f"{number:06d}.jpg").write_bytes(b"no image" * (1 + number % 50))
            table.write(
                f"{folder}/{number:06d}.jpg,{'fm'[number % 2]},{number % 80},town {number % 17},{number % 5}\n"
            )


def resident_bytes() -> int:
    """Resident memory now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_bytes() -> int:
    """The most resident memory so far (Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def image_folder(files: int) -> list[Row]:
    """Index of a folder: to be measured first, since the peak of memory never falls again."""
    opened: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        make_folder(Path(folder), files)
        sys.addaudithook(
            lambda event, args: opened.append(str(args[0])) if event == "open" else None
        )
        before = resident_bytes()
        assert len(ImageFolder(folder).index()) == files
        growth = peak_bytes() - before
        images = sum(path.endswith(".jpg") for path in opened)
        name = f"image folder, {files} files: index"
        return [
            Row(name, best(lambda: ImageFolder(folder).index()), "s"),
            Row(f"{name}, growth of memory at its peak", growth / 2**20, "MiB"),
            Row(f"{name}, images opened", images, "files"),
        ]


def adult(root: Path) -> list[Row]:
    """Both files to coded columns, against the bare parser of the standard library."""

    def read() -> None:
        source = Adult(str(root))
        assert len(source.read(np.arange(len(source.index())))) == 48_842

    def bare() -> None:
        for name in ("adult.data", "adult.test"):
            with (root / name).open(newline="") as stream:
                list(csv.reader(stream, skipinitialspace=True))

    reading, parsing = best(read), best(bare)
    return [
        Row("Adult, 48842 rows: csv.reader alone", parsing, "s"),
        Row(
            "Adult, 48842 rows: read and coded",
            reading,
            "s",
            "Adult, 48842 rows: csv.reader alone",
            reading / parsing,
        ),
    ]


def mnist(root: Path) -> list[Row]:
    """The gzipped test digits, as stored and in 32 x 32."""
    files = str(root / "t10k-images-idx3-ubyte.gz"), str(root / "t10k-labels-idx1-ubyte.gz")

    def read(size: int | None) -> None:
        source = IDX(*files, image_size=size)
        assert len(source.read(np.arange(len(source.index())))) == 10_000

    return [
        Row("MNIST, 10000 digits: read", best(lambda: read(None)), "s"),
        Row("MNIST, 10000 digits: read and framed to 32", best(lambda: read(32)), "s"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=os.environ.get("DIFFSHARE_DATA"),
        help="default: $DIFFSHARE_DATA",
    )
    parser.add_argument("--files", type=int, default=100_000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = image_folder(options.files)
    if options.data:
        rows += adult(Path(options.data) / "adult") + mnist(Path(options.data) / "mnist")
    report(rows, options.json)


if __name__ == "__main__":
    main()
