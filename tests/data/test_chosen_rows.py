"""Rows that are chosen, groups that no part cuts, and the options that every source takes."""

from pathlib import Path

import numpy as np
import pytest
from celeba_folder import make_celeba
from jsonargparse import ArgumentParser
from PIL import Image

from diffshare.data.attribute import Attribute
from diffshare.data.cache import open_records
from diffshare.data.celeba import CelebA
from diffshare.data.cifar10 import CIFAR10
from diffshare.data.idx import IDX
from diffshare.data.imagefolder import ImageFolder
from diffshare.data.memory import ImagesInMemory
from diffshare.data.mixes import Clean, Proportion
from diffshare.data.module import MixDataModule
from diffshare.data.rendered import RenderedFaces
from diffshare.data.rows import cut_groups
from diffshare.data.source import PARTS, BadRecord, Source, split
from diffshare.data.table import Adult, CSVTable
from diffshare.errors import UserError
from diffshare.receiver.records import Records
from diffshare.sharer.poisoning.mixes import RandomReplacement

OPTIONS = {
    "derive": {"old": "age>=40"},
    "where": "age >= 18",
    "group_column": "person",
    "on_shared_group": "drop",
}
COLUMNS = {"age": "numeric", "sex": ["F", "M"], "y": ["no", "yes"]}


def patients(path: Path, **options) -> CSVTable:
    """1,200 rows of 60 persons, one of whom has 300 of them; three ages are missing."""
    rng = np.random.default_rng(0)
    person = np.where(np.arange(1200) % 4 == 0, 0, rng.integers(1, 60, 1200))
    age = np.where(np.arange(1200) < 3, "?", rng.integers(10, 80, 1200).astype(str))
    rows = zip(
        age, rng.choice(["F", "M"], 1200), rng.choice(["no", "yes"], 1200), person, strict=True
    )
    path.write_text("age,sex,y,person\n" + "".join(f"{a},{s},{y},p{p}\n" for a, s, y, p in rows))
    return CSVTable(str(path), dict(COLUMNS), **options)


def persons_of(names: np.ndarray, source: CSVTable) -> set[str]:
    index = source.index()
    place = {name: i for i, name in enumerate(index.names.tolist())}
    return {str(index.groups[place[name]]) for name in names.tolist()}


@pytest.mark.parametrize(
    "source", [CelebA, ImageFolder, IDX, CIFAR10, RenderedFaces, CSVTable, Adult]
)
def test_every_source_takes_the_options_and_shows_them(source, capsys):
    given = {
        CelebA: {"root": "x"},
        ImageFolder: {"root": "x"},
        IDX: {"images": "x", "labels": "y"},
        CIFAR10: {"root": "x"},
        RenderedFaces: {},
        CSVTable: {"path": "x", "columns": COLUMNS},
        Adult: {"root": "x"},
    }[source]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--source", type=Source)
    name = f"{source.__module__}.{source.__qualname__}"
    read = parser.parse_object({"source": {"class_path": name, "init_args": given | OPTIONS}})
    made = parser.instantiate(read).source
    assert {option: getattr(made, option) for option in OPTIONS} == OPTIONS
    with pytest.raises(SystemExit):
        parser.parse_args([f"--source.help={name}"])
    shown = capsys.readouterr().out
    assert all(f"--source.{option}" in shown for option in OPTIONS)
    assert "names the person" in shown


def test_chosen_rows_are_read_from_their_own_places(tmp_path):
    whole = patients(tmp_path / "t.csv")
    some = patients(tmp_path / "t.csv", where="age >= 40 and sex == 'F'")
    index, x = whole.index(), whole.read(np.arange(1200))
    kept = np.flatnonzero((x[:, 0] >= 40) & (index.attribute("sex").codes == 0))
    assert some.index().names.tolist() == index.names[kept].tolist()
    places = np.array([7, 0, len(kept) - 1])
    assert np.array_equal(some.read(places), x[kept[places]])
    opened = open_records(some, tmp_path / "cache")
    assert np.array_equal(opened.x, x[kept])
    assert np.array_equal(open_records(whole, tmp_path / "cache").x, x, equal_nan=True)
    assert opened.source_sha256 != whole.index().sha256()
    assert some.notes == (f"where age >= 40 and sex == 'F': {len(kept)} of 1,200 records are left",)


def test_what_is_derived_needs_no_other_cache(tmp_path):
    patients(tmp_path / "t.csv")
    for number in range(2):
        derive = {"old": f"age>={40 + number}"}
        source = CSVTable(str(tmp_path / "t.csv"), dict(COLUMNS), derive=derive)
        open_records(source, tmp_path / "cache")
    assert len([path for path in (tmp_path / "cache").iterdir() if len(path.name) == 40]) == 1


def test_quantiles_are_those_of_the_chosen_rows(tmp_path):
    source = patients(tmp_path / "t.csv", where="age >= 40", derive={"half": "age:quantiles(2)"})
    half = source.index().attribute("half")
    assert abs(np.bincount(half.codes)[0] / len(half.codes) - 0.5) < 0.05
    part = source.index().take(np.arange(5))
    assert part.attribute("half").classes == half.classes
    assert part.attribute("half").codes.tolist() == half.codes[:5].tolist()


def test_a_picture_that_cannot_be_decoded_is_left_out_of_the_chosen_ones(tmp_path):
    for name, shade in (("a", 1), ("b", 2), ("c", 3), ("d", 4)):
        Image.new("RGB", (4, 4), (60 * shade,) * 3).save(tmp_path / f"{name}.png")
    (tmp_path / "c.png").write_bytes(b"no picture")
    (tmp_path / "metadata.csv").write_text(
        "file_name,k,n\na.png,u,1\nb.png,v,2\nc.png,u,3\nd.png,u,4\n"
    )
    options = {"image_size": 4, "where": "k == 'u'"}
    source = ImageFolder(str(tmp_path), on_bad_image="skip", **options)
    opened = open_records(source, tmp_path / "cache")
    assert opened.index.names.tolist() == ["a.png", "d.png"]
    assert opened.x[:, 0, 0, 0].tolist() == [60, 240]
    with pytest.raises(BadRecord) as refused:
        open_records(ImageFolder(str(tmp_path), **options), tmp_path / "other")
    assert refused.value.position == 1


def test_one_person_in_many_records_stands_on_one_side_everywhere(tmp_path):
    source = patients(tmp_path / "t.csv", group_column="person")
    index = source.index()
    sides = {}
    for mix in (Clean(), Proportion(0.5, 100), RandomReplacement(0.5, 100)):
        module = MixDataModule(
            source, "y", "sex", mix=mix, validation_share=0.3, cache_dir=tmp_path / "cache", seed=3
        )
        chosen = module.chosen_mix()
        sides = {
            "train": persons_of(chosen.pool.index.names[chosen.choice.positions], source),
            **{
                name: persons_of(index.names[module.sets[name].rows], source)
                for name in ("val", "test")
            },
        }
        for part in ("auxiliary", "test"):
            own = Records.from_source(
                source, target="y", part=part, split_seed=3, cache_dir=tmp_path / "cache"
            )
            names = index.names[np.flatnonzero(split(index, source.shares, 3) == PARTS.index(part))]
            assert len(own) == len(names)
            sides[part] = persons_of(names, source)
        assert all(sides.values())
        for one in ("train", "val"):
            for other in {"train", "val", "test", "auxiliary"} - {one}:
                assert not sides[one] & sides[other]
        assert not sides["auxiliary"] & sides["test"]
        assert sides["auxiliary"] | sides["test"] | sides["val"] | sides["train"] <= {
            f"p{i}" for i in range(60)
        }


def photos(root: Path, rows: list[str], **options) -> ImageFolder:
    for row in rows:
        path = root / row.split(",")[0]
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    (root / "metadata.csv").write_text("file_name,who,split\n" + "\n".join(rows) + "\n")
    return ImageFolder(str(root), image_size=4, **options)


CUT = [
    "w1/a.png,ann,train",
    "w1/b.png,ann,test",
    "w2/c.png,bob,validation",
    "w2/d.png,bob,test",
    "w2/e.png,,test",
    "w3/f.png,cid,train",
    "w3/g.png,cid,train",
]


def test_a_person_on_both_sides_of_an_official_split_is_refused(tmp_path):
    source = photos(tmp_path, CUT, group_column="who")
    with pytest.raises(UserError, match="2 groups of 'who' .* the first 'ann' in sharer and test"):
        source.index()


def test_or_is_dropped_on_the_receivers_side_and_counted(tmp_path):
    source = photos(tmp_path, CUT, group_column="who", on_shared_group="drop")
    assert [name[3] for name in source.index().names] == ["a", "d", "e", "f", "g"]
    assert source.notes == (
        "2 groups of 'who' stood in more than one part: 5 of 7 records are left",
    )
    assert Records.from_source(source, part="test").used.endswith(source.notes[0])


def test_a_folder_is_a_group(tmp_path):
    rows = [f"f{i % 9}/{i}.png,x," for i in range(60)]
    source = photos(tmp_path, [row.removesuffix(",") + ",train" for row in rows], group_column="folder")  # fmt: skip
    assert source.index().groups.tolist() == [f"f{i % 9}" for i in range(60)]


def test_where_only_the_test_part_is_official_the_rest_is_split_by_person(tmp_path):
    row = "{}, State-gov, {}, B, 13, N, A, O, W, Male, 0, 0, 40, Cuba, <=50K"
    train = [row.format(30, 100 + i % 10) for i in range(200)]
    (tmp_path / "adult.data").write_text("\n".join(train) + "\n")
    (tmp_path / "adult.test").write_text("|1x3\n" + row.format(30, 500) + ".\n")
    index = Adult(str(tmp_path), group_column="fnlwgt").index()
    assert set(index.parts.tolist()) == {0, 1, 2}
    for person in set(index.groups.tolist()):
        assert len(set(index.parts[index.groups == person].tolist())) == 1
    (tmp_path / "adult.test").write_text("|1x3\n" + row.format(30, 101) + ".\n")
    with pytest.raises(UserError, match="the first '101'"):
        Adult(str(tmp_path), group_column="fnlwgt").index()


def test_the_identities_of_celeba_are_read_where_they_are(tmp_path):
    make_celeba(tmp_path, 8)
    source = CelebA(tmp_path, image_size=8)
    assert source.index().groups is None
    parts = source.index().parts
    lines = [f"{i + 1:06d}.jpg {10 + part}" for i, part in enumerate(parts)]
    (tmp_path / "identity_CelebA.txt").write_text("\n".join(lines[:-1]) + "\n")
    groups = CelebA(tmp_path, image_size=8).index().groups
    assert groups.tolist() == [*(f"{10 + part}" for part in parts[:-1]), ""]
    (tmp_path / "identity_CelebA.txt").write_text("\n".join(line[:11] + "7" for line in lines))
    with pytest.raises(UserError, match="1 groups .persons. stand in more than one part"):
        CelebA(tmp_path, image_size=8).index()
    dropped = CelebA(tmp_path, image_size=8, on_shared_group="drop").index()
    assert len(dropped) == int((parts == 0).sum())
    (tmp_path / "identity_CelebA.txt").write_text("000001.jpg seven\n")
    with pytest.raises(UserError, match="line 1: expected a file name and the number"):
        CelebA(tmp_path, image_size=8).index()


def test_cut_groups_keep_the_sharer_then_the_test_part():
    groups = np.array(["a", "a", "b", "b", "c", "", ""])
    parts = np.array([0, 1, 1, 2, 1, 0, 2], np.int8)
    assert cut_groups(groups, parts).tolist() == [False, True, True, False, False, False, False]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"derive": {"sex": "age>=40"}}, "'sex' is an attribute of the source already"),
        ({"derive": {"old": "agee>=40"}}, "unknown attribute 'agee'"),
        ({"where": "agee > 3"}, "unknown column of where 'agee'"),
        ({"where": "age > 300"}, "keeps none of the 1,200 records"),
        ({"group_column": "persn"}, "unknown group_column 'persn'"),
        ({"group_column": "folder"}, "unknown group_column 'folder'"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, options, words):
    with pytest.raises(UserError, match=words):
        patients(tmp_path / "t.csv", **options).index()


def test_arrays_take_the_options_too():
    source = ImagesInMemory(
        np.arange(3 * 12, dtype=np.uint8).reshape(3, 2, 2, 3),
        {"k": Attribute(np.array([0, 1, 1], np.int16), ("u", "v"))},
        where="k == 'v'",
    )
    assert open_records(source).x[:, 0, 0, 0].tolist() == [12, 24]
