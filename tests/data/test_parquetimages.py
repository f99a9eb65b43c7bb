"""Pictures in parquet files: decoded as from files, batch by batch, and damaged files are told in one line."""

import copy
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from diffshare.data import parquetimages
from diffshare.data.cache import open_records
from diffshare.data.parquetimages import ParquetImages
from diffshare.data.source import BadRecord, Source
from diffshare.errors import UserError


def picture(value: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (5, 5), (value, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def struct(values: Any) -> list[dict[str, Any]]:
    return [{"bytes": value, "path": None} for value in values]


def write(path: Path, count: int = 10, group: int = 4, **columns: Any) -> Path:
    """Pictures whose red is their number, in row groups of ``group``."""
    table = {"image": struct(map(picture, range(count))), "label": [k % 3 for k in range(count)]}
    pq.write_table(pa.table(table | columns), path, row_group_size=group)
    return path


def reds(source: ParquetImages, positions: list[int]) -> list[int]:
    return source.read(np.array(positions))[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("positions", [[0, 1, 9], [9, 0, 5, 5], list(range(10)), [3], []])
@pytest.mark.parametrize("kind", ["struct", "bytes"])
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_any_records_in_any_order(tmp_path, monkeypatch, positions, kind, batch):
    monkeypatch.setattr(parquetimages, "_BATCH", batch)
    columns = {} if kind == "struct" else {"image": list(map(picture, range(10)))}
    source = ParquetImages(str(write(tmp_path / "a.parquet", **columns)), image_size=3)
    assert isinstance(source, Source)
    for _ in range(2):
        assert reds(source, positions) == positions
    assert open_records(source).x[:, 0, 0, 0].tolist() == list(range(10))


def test_a_row_group_is_read_once_however_many_reads_there_are(tmp_path, monkeypatch):
    """A cache is built of ascending pieces: going back to the start for each would take the square of the time."""
    opened = []
    original = parquetimages._Cursor._read
    monkeypatch.setattr(
        parquetimages._Cursor,
        "_read",
        lambda self, *a: opened.append(self.group) or original(self, *a),
    )
    source = ParquetImages(str(write(tmp_path / "a.parquet")), image_size=3)
    for position in range(10):
        assert reds(source, [position]) == [position]
    assert [group.start for group in opened] == [0, 4, 8]


def test_the_index_reads_no_picture(tmp_path):
    data = [b"no picture"] * 10
    source = ParquetImages(str(write(tmp_path / "a.parquet", image=struct(data))))
    assert len(source.index()) == 10
    assert source.index().attribute("label").codes.tolist() == [0, 1, 2] * 3 + [0]
    with pytest.raises(BadRecord, match=r"cannot decode a\.parquet:0: it is no JPEG"):
        source.read(np.arange(2))


def test_bad_pictures_can_be_skipped(tmp_path):
    data = [picture(0), None, b"", picture(3)]
    path = write(tmp_path / "a.parquet", 4, image=struct(data))
    source = ParquetImages(str(path), image_size=3, on_bad_image="skip")
    records = open_records(source)
    assert records.index.names.tolist() == ["a.parquet:0", "a.parquet:3"]
    assert set(records.skipped) == {"a.parquet:1", "a.parquet:2"}
    with pytest.raises(BadRecord, match=r"a\.parquet:1 has no bytes"):
        source.read(np.arange(4))


def test_a_source_that_has_read_can_be_copied(tmp_path):
    source = ParquetImages(str(write(tmp_path / "a.parquet")), image_size=3)
    assert reds(source, [5]) == [5]
    assert reds(copy.deepcopy(source), [6]) == [6]


def test_parts_are_told_where_all_files_say_them(tmp_path):
    for name in ("train", "test"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "0000.parquet", 2)
    source = ParquetImages(str(tmp_path), image_size=3)
    assert source.index().parts.tolist() == [2, 2, 0, 0]
    assert source.index().names.tolist()[0] == "test/0000.parquet:0"
    write(tmp_path / "more.parquet", 1)
    assert ParquetImages(str(tmp_path)).index().parts is None


def test_mistakes(tmp_path):
    with pytest.raises(UserError, match="no file or folder"):
        ParquetImages(str(tmp_path / "none")).index()
    with pytest.raises(UserError, match="holds no file that ends with .parquet"):
        ParquetImages(str(tmp_path)).index()
    path = write(tmp_path / "a.parquet", mask=struct([picture(1)] * 10))
    with pytest.raises(UserError, match="pictures in 'image', 'mask': say which in image_column"):
        ParquetImages(str(path)).index()
    assert reds(ParquetImages(str(path), image_column="mask", image_size=3), [4]) == [1]
    with pytest.raises(UserError, match="unknown image_column 'label': choose one of image, mask"):
        ParquetImages(str(path), image_column="label").index()
    pq.write_table(pa.table({"label": [1]}), tmp_path / "b.parquet")
    with pytest.raises(
        UserError, match="has no column of pictures: .* expected a struct with bytes"
    ):
        ParquetImages(str(tmp_path / "b.parquet")).index()
    with pytest.raises(UserError, match=r"b\.parquet has no column 'image'|has no column 'mask'"):
        ParquetImages(str(tmp_path), image_column="image").index()


def test_a_damaged_file_is_told_in_one_line(tmp_path):
    path = write(tmp_path / "a.parquet", 200, 200)
    data = path.read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match=r"cut\.parquet is no parquet file that can be read"):
        ParquetImages(str(tmp_path / "cut.parquet")).index()
    # the pages of the pictures alone
    (tmp_path / "odd.parquet").write_bytes(data[:4] + b"\xff" * 4000 + data[4004:])
    source = ParquetImages(str(tmp_path / "odd.parquet"), image_size=3)
    with pytest.raises(
        UserError, match=r"odd\.parquet is no parquet file|no more different|cannot decode"
    ):
        source.read(np.arange(len(source.index())))


def test_a_column_that_unpacks_to_far_more_than_it_takes_is_refused(tmp_path):
    table = pa.table({"image": struct([bytes(1 << 20)] * 100)})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", use_dictionary=False)
    with pytest.raises(UserError, match=r"a\.parquet: 'image' would unpack from \d+ to \d+ bytes"):
        ParquetImages(str(tmp_path / "a.parquet")).index()
