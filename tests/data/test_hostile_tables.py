"""Tables that somebody else wrote: no file that never ends, no cell that takes hours, memory that follows the file."""

import csv
import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from diffshare.audits.leak.training import read_training
from diffshare.data.celeba import read_attributes
from diffshare.data.coding import Coder
from diffshare.data.csvfile import BLOCK, MAX_RECORD, read_blocks, read_header
from diffshare.data.idx import read_idx
from diffshare.data.listed import listed_names
from diffshare.data.source import Attribute, Index
from diffshare.errors import UserError
from diffshare.receiver.disjoint import refuse_overlap
from diffshare.receiver.labelling import read_labels
from diffshare.receiver.samples import Samples, header

COLUMNS = 100_000


@pytest.mark.timeout(60)  # it took two minutes when every name was counted in all
def test_a_header_of_very_many_columns(tmp_path: Path):
    """In quotes a line end is no end of the record: no line of the file is long."""
    path = tmp_path / "samples.csv"
    names = [f"c{i}\n" if i % 1000 == 0 else f"c{i}" for i in range(COLUMNS)]
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [names, ["1\n" if i % 1000 == 0 else "1" for i in range(COLUMNS)]]
        )
    assert header(path) == names
    kinds = {names[-1]: "numeric", names[7]: "numeric"}
    table = Samples.from_path(tmp_path).rows(kinds)
    assert table.read(np.arange(len(table.index()))).tolist() == [[1, 1]]
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerow([*names, names[3]])
    with pytest.raises(UserError, match="more than one column 'c3'"):
        read_header(path)


def test_a_record_has_an_end(tmp_path: Path):
    path = tmp_path / "samples.csv"
    path.write_text('"a\n",b\n' + '"x\n",' * (MAX_RECORD // 4))
    with pytest.raises(UserError, match=f"a record of more than {MAX_RECORD} bytes"):
        list(read_blocks(path, 2, header=True))
    path.write_text("x" * (MAX_RECORD + 1))
    with pytest.raises(UserError, match=f"a record of more than {MAX_RECORD} bytes"):
        read_header(path)


def test_memory_of_wide_rows_follows_the_block_not_the_file(tmp_path: Path):
    path, width = tmp_path / "samples.csv", 50_000
    with path.open("w") as stream:
        for _ in range(200):  # fewer than a block has, 30 MB
            stream.write(",".join(["ab"] * width) + "\n")
    assert BLOCK > 200
    tracemalloc.start()
    assert sum(len(block.lines) for block in read_blocks(path, width)) == 200
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 45 * MAX_RECORD  # cells of a block, in rows and in columns


@pytest.mark.timeout(60)  # hours where digits are tried in every split
def test_a_long_cell_of_digits_is_looked_at_once():
    coder = Coder("?")
    coder.add(["1" * 100_000 + "x", *map(str, range(1100))])
    assert coder.overflow
    assert not coder.numeric()
    numbers = Coder("?")
    numbers.add([*map(str, range(1100)), "1.", "1.5", ".5", "-1e-3", "2E5"])
    assert numbers.numeric()


INDEX = Index(
    np.array(["a", "b"]), np.zeros(2, np.int64), {"s": Attribute(np.zeros(2, np.int16), ("f", "m"))}
)
READERS = {
    "overlap": lambda folder: refuse_overlap(INDEX.names, folder, "x"),
    "listed": lambda folder: listed_names(folder, "x"),
    "training": lambda folder: read_training(folder, INDEX),
    "labels": lambda folder: read_labels(folder / "records.csv", np.arange(3)),
    "header": lambda folder: read_header(folder / "records.csv"),
    "blocks": lambda folder: list(read_blocks(folder / "records.csv", 4)),
    "celeba": lambda folder: read_attributes(folder / "records.csv"),
    "idx": lambda folder: read_idx(folder / "records.csv", 0x0803),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("kind", ["pipe", "device", "link to a pipe", "folder"])
@pytest.mark.parametrize("file", ["records.csv", "mix.json"])
@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path, reader, file, kind):
    (tmp_path / "mix.json").write_text('{"source_sha256": "x"}')
    (tmp_path / "records.csv").write_text("record,target,sensitive,origin\nz,0,0,base\n")
    if file == "mix.json" and reader not in ("overlap", "listed", "training"):
        pytest.skip("it reads no mix.json")
    place = tmp_path / file
    place.unlink()
    if kind == "folder":
        place.mkdir()
    elif kind == "device":
        place.symlink_to("/dev/zero")
    else:
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "pipe").rename(place) if kind == "pipe" else place.symlink_to(tmp_path / "pipe")
    if (reader, file) == ("overlap", "mix.json"):
        # it need not be there
        assert "names no source" in refuse_overlap(INDEX.names, tmp_path, "x")
        return
    with pytest.raises(UserError, match=r"not a regular file|it has no mix\.json"):
        READERS[reader](tmp_path)


@pytest.mark.parametrize("cell", ["9" * 5000, "9" * 30, "x", ""])
def test_a_code_that_is_none_is_refused(tmp_path: Path, cell):
    (tmp_path / "mix.json").write_text('{"source_sha256": "x"}')
    (tmp_path / "records.csv").write_text(f"record,target,sensitive,origin\na,{cell},0,base\n")
    with pytest.raises(UserError, match="is no table of records"):
        read_training(tmp_path, INDEX)
