"""Every preset of configs/source reads a small folder in the layout of its data set."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from diffshare.data.imagefolder import ImageFolder
from diffshare.data.npzfile import NPZ
from diffshare.data.parquetimages import ParquetImages
from diffshare.data.source import Index

PRESETS = Path(__file__).parents[2] / "configs" / "source"
CLASSES: dict[str, type] = {kind.__name__: kind for kind in (ImageFolder, NPZ, ParquetImages)}


def preset(name: str, place: Path, **more: Any) -> Any:
    """The source of a preset, its data at ``place``."""
    block = yaml.safe_load((PRESETS / f"{name}.yaml").read_text())
    options = block["init_args"] | {"image_size": 4} | more
    options["root" if "root" in options else "path"] = str(place)
    return CLASSES[block["class_path"].rpartition(".")[2]](**options)


def pictures(root: Path, names: Sequence[str], side: int = 6) -> None:
    """Pictures of one grey each: that of the k-th is 10 k."""
    for k, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (side, side), (10 * k,) * 3).save(root / name, "PNG")


def table(path: Path, rows: Sequence[Sequence[object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows(rows)


def words(index: Index, name: str) -> list[str]:
    """The class of each record in words."""
    attribute = index.attribute(name)
    return [*np.array([*attribute.classes, "?"])[attribute.codes]]


def check_decoded(source: Any, greys: Sequence[int]) -> None:
    """The records are the pictures of these greys, in this order."""
    decoded = source.read(np.arange(len(greys)))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, np.array(greys)[:, None, None, None] + 0 * decoded)


def test_kaggles_celeba(tmp_path: Path) -> None:
    names = [f"{k:06d}.jpg" for k in range(1, 4)]
    pictures(tmp_path / "img_align_celeba" / "img_align_celeba", names, 200)
    table(
        tmp_path / "list_attr_celeba.csv",
        [["image_id", "Male", "Smiling"], [names[0], 1, -1], [names[1], -1, -1], [names[2], -1, 1]],
    )
    # in another order
    table(
        tmp_path / "list_eval_partition.csv",
        [["image_id", "partition"], [names[2], 2], [names[0], 0], [names[1], 1]],
    )
    source = preset("kaggle_celeba", tmp_path)
    index = source.index()
    assert index.names.tolist() == [f"img_align_celeba/img_align_celeba/{name}" for name in names]
    assert index.attribute("Male").classes == ("Male", "not Male")
    assert words(index, "Smiling") == ["not Smiling", "not Smiling", "Smiling"]
    assert index.parts.tolist() == [0, 1, 2]
    assert set(index.attributes) == {"Male", "Smiling"}
    check_decoded(source, [0, 10, 20])
    # the authors' text files, which name no column of the files, say the same
    lines = [
        "3",
        "Male Smiling",
        *(f"{n}  {a} {b}" for n, a, b in zip(names, (1, -1, -1), (-1, -1, 1), strict=True)),
    ]
    (tmp_path / "attr.txt").write_text("\n".join(lines) + "\n")
    (tmp_path / "part.txt").write_text("".join(f"{n} {k}\n" for k, n in enumerate(names)))
    text = ImageFolder(str(tmp_path), labels=["attr.txt", "part.txt"], split_column="part").index()
    assert text.sha256() == index.sha256()
    assert text.parts.tolist() == [0, 1, 2]


def test_celebamask_hq(tmp_path: Path) -> None:
    pictures(tmp_path / "CelebA-HQ-img", [f"{k}.jpg" for k in range(3)])
    rows = "3\nMale Smiling\n0.jpg  1 -1\n1.jpg -1 -1\n2.jpg -1  1\n"
    (tmp_path / "CelebAMask-HQ-attribute-anno.txt").write_text(rows)
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text(
        "idx    orig_idx    orig_file\n0  119613  119614.jpg\n1  99094  099095.jpg\n2  200120 200121.jpg\n"
    )
    (tmp_path / "list_eval_partition.txt").write_text(
        "000001.jpg 0\n099095.jpg 1\n119614.jpg 0\n200121.jpg 2\n"
    )
    source = preset("celebamask_hq", tmp_path)
    index = source.index()
    assert words(index, "Male") == ["Male", "not Male", "not Male"]
    assert index.parts.tolist() == [0, 1, 2]
    check_decoded(source, [0, 10, 20])


def test_fairface(tmp_path: Path) -> None:
    pictures(tmp_path, ["train/1.jpg", "train/2.jpg", "val/1.jpg"])
    header = ["file", "age", "gender", "race", "service_test"]
    table(
        tmp_path / "fairface_label_train.csv",
        [
            header,
            ["train/1.jpg", "50-59", "Male", "East Asian", True],
            ["train/2.jpg", "3-9", "Female", "White", False],
        ],
    )
    table(
        tmp_path / "fairface_label_val.csv", [header, ["val/1.jpg", "3-9", "Male", "Black", True]]
    )
    source = preset("fairface", tmp_path)
    index = source.index()
    assert index.names.tolist() == ["train/1.jpg", "train/2.jpg", "val/1.jpg"]
    assert words(index, "race") == ["East Asian", "White", "Black"]
    assert index.attribute("age").classes == ("3-9", "50-59")
    assert index.parts.tolist() == [0, 0, 1]
    check_decoded(source, [0, 10, 20])


def test_utkface(tmp_path: Path) -> None:
    names = ["100_1_4_2017.jpg.chip.jpg", "61_1_2017.jpg.chip.jpg", "9_0_0_2017.jpg.chip.jpg"]
    pictures(tmp_path / "part1", names)
    source = preset("utkface", tmp_path)
    index = source.index()
    assert index.names.tolist() == [f"part1/{names[0]}", f"part1/{names[2]}"]
    assert index.attribute("age").classes == ("9", "100")
    assert index.numbers["age"].tolist() == [100.0, 9.0]
    assert set(index.numbers) == {"age"}
    assert words(index, "gender") == ["female", "male"]
    assert words(index, "race") == ["other", "White"]
    assert any("1 of 3 pictures" in note and names[1] in note for note in source.notes)
    check_decoded(source, [0, 20])


def test_afad(tmp_path: Path) -> None:
    names = ["18/111/1-0.jpg", "18/112/2-0.jpg", "31/112/3-0.jpg"]
    root = tmp_path / "AFAD-Full"
    pictures(root, names)
    (root / "31" / "Thumbs.db").touch()
    source = preset("afad", root)
    index = source.index()
    assert index.names.tolist() == names
    assert words(index, "gender") == ["male", "female", "female"]
    assert index.numbers["age"].tolist() == [18, 18, 31]
    # the folder above it will do
    assert preset("afad", tmp_path).index().sizes.tolist() == index.sizes.tolist()


def ffhq_record(number: int, category: str, country: str) -> dict[str, Any]:
    name = f"{number // 1000 * 1000:05d}/{number:05d}.png"
    marks = [[1.5, 2.5]] * 68
    return {
        "category": category,
        "metadata": {"photo_url": f"photo {number}", "country": country, "license": "CC BY 2.0"},
        "image": {"file_path": f"images1024x1024/{name}", "face_landmarks": marks},
        "thumbnail": {"file_path": f"thumbnails128x128/{name}", "file_size": 100 + number},
        "in_the_wild": {"file_path": f"in-the-wild-images/{name}", "face_rect": [1, 2, 3, 4]},
    }


@pytest.mark.parametrize("folder", ["images1024x1024", "ffhq-256", "thumbnails128x128"])
def test_ffhq(tmp_path: Path, folder: str) -> None:
    pictures(tmp_path / folder, ["00000/00000.png", "01000/01001.png"])
    records = [ffhq_record(0, "training", "Chile"), ffhq_record(1001, "validation", "Ghana")]
    text = json.dumps({str(k): record for k, record in zip((0, 1001), records, strict=True)})
    (tmp_path / "ffhq-dataset-v2.json").write_text(text)
    source = preset("ffhq", tmp_path)
    index = source.index()
    assert words(index, "country") == ["Chile", "Ghana"]
    assert index.parts.tolist() == [0, 1]
    check_decoded(source, [0, 10])


def test_waterbirds(tmp_path: Path) -> None:
    names = ["001.Albatross/a_01.jpg", "002.Wren/w_02.jpg", "002.Wren/w_03.jpg"]
    pictures(tmp_path, names)
    header = ["img_id", "img_filename", "y", "split", "place", "place_filename"]
    rows = [[7, names[0], 1, 0, 1, "/o/ocean/00.jpg"], [8, names[1], 0, 1, 0, "/b/bamboo/01.jpg"]]
    rows.append([9, names[2], 0, 2, 1, "/o/ocean/02.jpg"])
    table(tmp_path / "metadata.csv", [header, *rows])
    source = preset("waterbirds", tmp_path)
    index = source.index()
    assert words(index, "y") == ["waterbird", "landbird", "landbird"]
    assert words(index, "place") == ["water", "land", "water"]
    assert index.parts.tolist() == [0, 1, 2]
    # and it is found without being told
    bare = ImageFolder(str(tmp_path), image_size=4).index()
    assert bare.names.tolist() == names
    assert bare.parts.tolist() == [0, 1, 2]


def test_medmnist(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays, images = {}, []
    for part, labels in (("train", [0, 7, 3]), ("val", [1]), ("test", [2, 2])):
        images.append(rng.integers(0, 256, (len(labels), 28, 28, 3), np.uint8))
        arrays |= {
            f"{part}_images": images[-1],
            f"{part}_labels": np.array(labels, np.uint8)[:, None],
        }
    np.savez_compressed(tmp_path / "bloodmnist.npz", **arrays)
    source = preset("medmnist", tmp_path / "bloodmnist.npz", image_size=None)
    index = source.index()
    assert index.attribute("cell").classes[7] == "platelet"
    assert index.attribute("cell").codes.tolist() == [0, 7, 3, 1, 2, 2]
    assert index.parts.tolist() == [0, 0, 0, 1, 2, 2]
    assert len({*index.names}) == 6
    np.testing.assert_array_equal(source.read(np.arange(6)), np.concatenate(images))


def test_pictures_in_parquet(tmp_path: Path) -> None:
    pictures(tmp_path, [f"{k}.png" for k in range(6)])
    (tmp_path / "data").mkdir()
    names = json.dumps(
        {"info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}}}
    )
    for shard, part in enumerate(("test", "train", "validation")):
        rows = range(2 * shard, 2 * shard + 2)
        column = [{"bytes": (tmp_path / f"{k}.png").read_bytes(), "path": f"{k}.png"} for k in rows]
        batch = pa.table(
            {"image": column, "label": [k % 2 for k in rows], "age": [20.5 + k for k in rows]}
        )
        batch = batch.replace_schema_metadata({"huggingface": names})
        pq.write_table(batch, tmp_path / "data" / f"{part}-00000-of-00001.parquet")
    source = preset("parquet_images", tmp_path / "data")
    index = source.index()
    assert words(index, "label") == ["cat", "dog"] * 3
    assert index.numbers["age"].tolist() == [20.5 + k for k in range(6)]
    assert index.parts.tolist() == [2, 2, 0, 0, 1, 1]
    assert index.names[3] == "train-00000-of-00001.parquet:1"
    check_decoded(source, [0, 10, 20, 30, 40, 50])
    np.testing.assert_array_equal(source.read(np.array([5, 0, 3]))[:, 0, 0, 0], [50, 0, 30])


def test_npz(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    np.savez(
        tmp_path / "i.npz",
        x=x,
        y=np.array(["b", "a", "b"]),
        age=np.array([3, 5, 3]),
        w=np.ones((2, 2)),
    )
    source = preset("npz", tmp_path / "i.npz", image_size=None)
    index = source.index()
    assert words(index, "label") == ["b", "a", "b"]
    assert words(index, "age") == ["3", "5", "3"]
    assert index.numbers["age"].tolist() == [3, 5, 3]
    assert index.parts is None
    np.testing.assert_array_equal(source.read(np.array([2, 0])), x[[2, 0]])
