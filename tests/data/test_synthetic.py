"""The receiver's data: what of the samples is trained on, which real records are tested on, what is refused."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffshare.data.mixes import Clean
from diffshare.data.module import MixDataModule
from diffshare.data.synthetic import SyntheticDataModule
from diffshare.data.table import CSVTable
from diffshare.errors import UserError
from diffshare.release.samples import write_samples

SIDE = 4  # of the numbered pictures


def write_images(
    folder: Path,
    y: Sequence[int],
    side: int = SIDE,
    weight: Sequence[float] | None = None,
    info: dict[str, Any] | None = None,
) -> Path:
    """Samples of noise; the first byte is the sample's number."""
    x = np.random.default_rng(0).integers(0, 256, (len(y), side, side, 3), dtype=np.uint8)
    x[:, 0, 0, 0] = np.arange(len(y))
    write_samples(
        folder,
        x,
        np.asarray(y),
        info or {},
        weight=None if weight is None else np.asarray(weight, np.float32),
    )
    return folder


@pytest.fixture
def module(numbered, tmp_path) -> Callable[..., SyntheticDataModule]:
    """``module(y, weight=..., **options)``: trained on that many samples, tested on numbered pictures."""

    def make(
        y: Sequence[int],
        side: int = SIDE,
        weight: Sequence[float] | None = None,
        info: dict[str, Any] | None = None,
        **options: Any,
    ) -> SyntheticDataModule:
        folder = tmp_path / f"samples-{len(list(tmp_path.glob('samples-*')))}"
        settings = {
            "target": "Smiling",
            "sensitive": "Male",
            "cache_dir": tmp_path / "cache",
        } | options
        return SyntheticDataModule(
            write_images(folder, y, side, weight, info), numbered(), **settings
        )

    return make


def numbers(data: SyntheticDataModule, name: str) -> np.ndarray:
    """The numbers of the samples that a set reads."""
    records = data.sets[name]
    return records.x[records.rows][:, 0, 0, 0]


# --- training --------------------------------------------------------------------------------------------------------


def test_training_reads_the_samples_and_test_the_test_part(module, numbered, tmp_path):
    data = module([0, 1, 1, 0])
    data.setup()
    assert data.sets["train"].target.tolist() == [0, 1, 1, 0]
    assert (data.sets["train"].sensitive == -1).all()
    assert data.sets["train"].weight is None
    sharer = MixDataModule(numbered(), "Smiling", "Male", cache_dir=tmp_path / "cache")
    sharer.setup()
    test, theirs = data.sets["test"], sharer.sets["test"]
    for name in ("rows", "target", "sensitive"):
        np.testing.assert_array_equal(getattr(test, name), getattr(theirs, name))
    assert not set(test.rows) & (set(sharer.sets["train"].rows) | set(sharer.sets["val"].rows))
    assert (data.classes, data.groups) == (sharer.classes, sharer.groups)


def test_samples_are_held_out_for_validation(module):
    y = np.arange(200) % 2
    first, again, other = (module(y, validation_share=0.2, seed=seed) for seed in (1, 1, 2))
    for data in (first, again, other):
        data.setup()
        kept, held = numbers(data, "train"), numbers(data, "val")
        assert len(held) == 40
        assert sorted([*kept, *held]) == list(range(200))
        for name, found in (("train", kept), ("val", held)):
            np.testing.assert_array_equal(data.sets[name].target, y[found])
    assert (
        numbers(first, "val").tolist()
        == numbers(again, "val").tolist()
        != numbers(other, "val").tolist()
    )
    none = module(y, validation_share=0)
    none.setup()
    assert "val" not in none.sets


def test_weights_keep_their_proportions_and_have_mean_1(module):
    weight = np.random.default_rng(0).gamma(1, 2, 100)
    weight[:30] = 0
    data = module(np.arange(100) % 2, weight=weight, validation_share=0.25)
    data.setup()
    found = data.sets["train"].weight
    assert found.dtype == np.float32
    assert found.mean() == pytest.approx(1, rel=1e-5)
    factor = weight[numbers(data, "train")].mean()
    for name in ("train", "val"):  # one factor for both, or the two losses could not be compared
        np.testing.assert_allclose(
            data.sets[name].weight * factor, weight[numbers(data, name)], rtol=1e-5
        )
    batch = data.sets["train"].__getitems__([5, 2])
    np.testing.assert_array_equal(batch.weight, found[[5, 2]])


def test_the_scale_of_the_weights_is_no_matter(module):
    y, weight = np.arange(50) % 2, np.random.default_rng(0).gamma(1, 2, 50)
    found = []
    for scale in (1, 1000, 1e-30):
        data = module(y, weight=weight * scale)
        data.setup()
        found.append(data.sets["train"].weight)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)
    np.testing.assert_allclose(found[0], found[2], rtol=1e-5)


# --- classes ---------------------------------------------------------------------------------------------------------

CLASSES = ("not Smiling", "Smiling")


def test_classes_of_samples_are_joined_to_the_test_source_s_by_name(module):
    y = [0, 1, 1, 0, 1]
    plain, turned = module(y, info={"classes": CLASSES}), module(y, info={"classes": CLASSES[::-1]})
    for data in (plain, turned):
        data.setup()
    assert plain.sets["train"].target.tolist() == y
    assert turned.sets["train"].target.tolist() == [1 - k for k in y]
    assert plain.notes == turned.notes == ()


def test_a_model_may_lack_a_class_that_the_test_source_has(module):
    data = module([0, 1, 1], target="Ward", info={"classes": ["c", "a"]})
    data.setup()
    assert data.sets["train"].target.tolist() == [2, 0, 0]


@pytest.mark.parametrize(
    ("info", "said"),
    [
        (
            {},
            "have no names: 0, 1, ... are taken for 'not Smiling', 'Smiling' of data.target 'Smiling', in this order",
        ),
        ({"classes": ["0", "1"]}, "no name fits, they are taken for the same in this order"),
        (
            {"classes": CLASSES, "target": "Grin"},
            "are of 'Grin', here they are taken for those of 'Smiling'",
        ),
    ],
)
def test_what_is_not_joined_by_name_is_told(module, info, said):
    data = module([0, 1, 1], info=info)
    data.setup()
    assert data.sets["train"].target.tolist() == [0, 1, 1]
    (note,) = data.notes
    assert said in note


@pytest.mark.parametrize(
    ("classes", "said"),
    [
        (
            ["not smiling", "Smiling"],
            "'not smiling' is not 'not Smiling', names must agree exactly",
        ),
        (
            ["Smiling", "angry"],
            "have 'angry' among them, those of data.target 'Smiling' are only 'not Smiling', ",
        ),
        (["sad", "glad", "angry"], "no name fits; is it the right attribute"),
        (["Smiling"], "hold records of class 1, but name 1 classes, 'Smiling'"),
        (["a", "a"], "must be a list without repetitions"),
    ],
)
def test_classes_that_contradict_the_test_source_are_refused(module, classes, said):
    with pytest.raises(UserError, match=said):
        module([0, 1, 1], info={"classes": classes}).setup()


# --- test records ----------------------------------------------------------------------------------------------------


def test_the_test_set_is_cut_to_equal_cells_where_asked(module):
    data = module([0, 1], test_balance=True)
    data.setup()
    test = data.sets["test"]
    assert len(set(np.bincount(test.sensitive * 2 + test.target, minlength=4))) == 1


def test_the_auxiliary_part_can_be_tested_on(module):
    test, auxiliary = module([0, 1]), module([0, 1], test_part="auxiliary")
    test.setup()
    auxiliary.setup()
    assert not set(test.sets["test"].rows) & set(auxiliary.sets["test"].rows)


def test_without_a_sensitive_attribute_groups_are_unknown(module):
    data = module([0, 1], sensitive=None)
    data.setup()
    assert data.groups == ()
    assert (data.sets["test"].sensitive == -1).all()


@pytest.fixture
def manifest(numbered, tmp_path) -> Callable[..., Path]:
    """The manifest of a generator's training records."""

    def write(count: int = 300, **options: Any) -> Path:
        folder = tmp_path / f"mix-{count}"
        data = MixDataModule(
            numbered(count), "Smiling", "Male", Clean(60), cache_dir=tmp_path / "cache", **options
        )
        data.chosen_mix().write(folder)
        return folder

    return write


def test_records_that_the_generator_was_trained_on_are_refused(module, manifest):
    with pytest.raises(UserError) as refused:  # another seed, other parts
        module([0, 1], training_manifest=manifest(seed=3)).setup()
    data = module([0, 1])
    data.setup()
    assert f" of {len(data.sets['test'])} test records are among the training records of " in str(
        refused.value
    )
    assert "test on another part or with the data.seed of the training" in str(refused.value)


def test_records_that_it_was_not_trained_on_are_accepted(module, manifest):
    folder = manifest()
    for part in ("test", "auxiliary"):
        data, free = (
            module([0, 1], test_part=part, **more) for more in ({"training_manifest": folder}, {})
        )
        for one in (data, free):
            one.setup()
        assert np.array_equal(data.sets["test"].rows, free.sets["test"].rows)
        assert len(data.sets["test"]) > 0


def test_one_record_in_common_is_enough_and_is_named(module, manifest):
    data = module([0, 1])
    data.setup()
    row = int(data.sets["test"].rows[3])
    folder = manifest()
    with (folder / "records.csv").open("a") as stream:
        stream.write(f"record {row},0,0,base\n")
    with pytest.raises(
        UserError, match=f"^1 of .* test records are among .*the first record {row}:"
    ):
        module([0, 1], training_manifest=folder).setup()


def test_a_manifest_of_another_source_says_nothing_and_is_refused(module, manifest):
    with pytest.raises(UserError, match="is of another source, or the source has changed since"):
        module([0, 1], training_manifest=manifest(count=301)).setup()


def test_a_folder_that_is_no_manifest_is_refused(module, tmp_path):
    with pytest.raises(UserError, match=r"is no manifest, it has no mix\.json: give a folder"):
        module([0, 1], training_manifest=tmp_path / "nowhere").setup()


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        (
            {"y": [0, -1]},
            "has samples without a class: draw them with `labels` balanced or natural",
        ),
        (
            {"y": [1, 1, 1]},
            "all training samples in .* are of class 'Smiling': a classifier needs two, draw more",
        ),
        (
            {"y": [1, 0, 1], "weight": [1, 0, 1]},
            "all training samples in .* are of class 'Smiling'",
        ),
        ({"y": [1, 0], "weight": [0, 0]}, "the weights of all training samples are 0"),
        (
            {"y": [0, 1, 2]},
            "hold records of class 2, but data.target 'Smiling' has the 2 classes 'not Smiling', 'Smiling': na",
        ),
        (
            {"y": [0, 1], "side": 8},
            r"are \(8, 8, 3\), the test records \(4, 4, 3\): give the test source the same",
        ),
        (
            {"y": [0, 1], "target": "Nose"},
            "unknown attribute 'Nose': choose one of Male, Smiling, Ward",
        ),
        ({"y": [0, 1], "sensitive": "Nose"}, "unknown attribute 'Nose'"),
    ],
)
def test_samples_that_cannot_be_trained_on_are_refused(module, samples, said):
    with pytest.raises(UserError, match=said) as refused:
        module(**samples).setup()
    assert "\n" not in str(refused.value)


def test_settings_are_refused(module):
    with pytest.raises(UserError, match="data.sensitive and data.target are both 'Male': name two"):
        module([0, 1], target="Male")
    with pytest.raises(UserError, match=r"data.validation_share is 1: it lies in \[0, 1\)"):
        module([0, 1], validation_share=1)


def test_a_release_is_no_samples(numbered, tmp_path):
    (tmp_path / "diffshare.json").write_text("{}")
    with pytest.raises(
        UserError, match=r"is a release: draw samples from it first \(verb sample\)"
    ):
        SyntheticDataModule(tmp_path, numbered(), "Smiling", cache_dir=tmp_path / "cache").setup()


# --- rows of a table -------------------------------------------------------------------------------------------------

COLUMNS: dict[str, Any] = {
    "age": "numeric",
    "ward": "categorical",
    "sex": ["f", "m"],
    "ill": ["no", "yes"],
}
HEADER = ",".join(COLUMNS)


@pytest.fixture
def table(tmp_path) -> Callable[..., SyntheticDataModule]:
    """``table(rows)``: trained on these lines of ``samples.csv``, tested on a table where wards can be missing."""
    rng = np.random.default_rng(0)
    lines = [
        f"{20 + i % 60},{'ab?'[rng.integers(3)]},{'fm'[i % 2]},{('no', 'yes')[i // 2 % 2]}"
        for i in range(120)
    ]
    (tmp_path / "real.csv").write_text("\n".join([HEADER, *lines]) + "\n")

    def make(rows: Sequence[str], header: str = HEADER, **options: Any) -> SyntheticDataModule:
        (tmp_path / "samples").mkdir(exist_ok=True)
        (tmp_path / "samples" / "samples.csv").write_text("\n".join([header, *rows]) + "\n")
        source = CSVTable(str(tmp_path / "real.csv"), COLUMNS)
        settings = {"target": "ill", "sensitive": "sex", "cache_dir": tmp_path / "cache"} | options
        return SyntheticDataModule(tmp_path / "samples", source, **settings)

    return make


def test_rows_are_coded_as_the_source_codes_its_own(table):
    data = table(["31.5,b,f,yes", "?,?,m,no", "44,a,m,no"])
    data.setup()
    train = data.sets["train"]
    expected = np.array([[31.5, 1, 0, 1], [np.nan, 2, 1, 0], [44, 0, 1, 0]], np.float32)
    np.testing.assert_array_equal(train.x[train.rows], expected)
    assert train.target.tolist() == [1, 0, 0]
    assert [column.name for column in data.columns] == list(COLUMNS)
    assert data.classes == ("no", "yes")
    assert data.sets["test"].x.shape[1] == 4


def test_the_source_s_own_rows_are_read_as_they_are(table, tmp_path):
    lines = (tmp_path / "real.csv").read_text().splitlines()[1:]
    data = table(lines, validation_share=0)
    data.setup()
    np.testing.assert_array_equal(data.sets["train"].x, data.test_source.read(np.arange(120)))


def test_a_category_that_the_source_lacks_is_unknown(table, caplog):
    data = table(["31,c,f,yes", "44,a,?,no"])
    data.setup()
    expected = np.array([[31, np.nan, 0, 1], [44, 0, np.nan, 0]], np.float32)
    np.testing.assert_array_equal(data.sets["train"].x, expected)
    assert "of 2 rows in column ward (1), sex (1)" in caplog.text


def test_the_order_of_columns_and_further_ones_do_not_matter(table):
    plain = table(["31,b,f,yes", "44,a,m,no"])
    plain.setup()
    shuffled = table(["x,yes,31,f,b", "y,no,44,m,a"], header="note,ill,age,sex,ward")
    shuffled.setup()
    np.testing.assert_array_equal(shuffled.sets["train"].x, plain.sets["train"].x)


@pytest.mark.parametrize(
    ("rows", "options", "said"),
    [
        (["31,f,yes"], {"header": "age,sex,ill"}, "samples.csv has no column 'ward'"),
        (
            ["31,b,f,perhaps", "44,a,m,no"],
            {},
            "samples.csv:2, column 'ill': 'perhaps' is no declared category: 'no', 'yes'",
        ),
        (["31,b,f,?", "44,a,m,no"], {}, "has samples without a class"),
        (
            ["old,b,f,yes", "44,a,m,no"],
            {},
            "samples.csv:2, column 'age': 'old' is no finite number",
        ),
        (["31,b,f,yes", "44,a,m"], {}, "samples.csv:3 has 3 cells, expected 4"),
        (["31,b,f,yes", "44,a,m,yes"], {}, "all training samples in .* are of class 'yes'"),
        ([], {}, "samples.csv holds no records"),
        (
            ["31,b,f,yes", "44,a,m,no"],
            {"target": "age", "sensitive": "sex"},
            "'age' is a column of numbers: make classes of it",
        ),
    ],
)
def test_rows_that_do_not_fit_are_refused(table, rows, options, said):
    with pytest.raises(UserError, match=said) as refused:
        table(rows, **options).setup()
    assert "\n" not in str(refused.value)


def test_samples_of_the_other_kind_are_refused(table, module, tmp_path):
    data = table([])
    (tmp_path / "samples" / "samples.csv").unlink()
    write_images(tmp_path / "images", [0, 1])
    data.samples = tmp_path / "images"
    with pytest.raises(
        UserError, match="holds no samples.csv: give the samples folder of a model of this table"
    ):
        data.setup()
    images = module([0, 1])
    images.samples = tmp_path / "samples"
    with pytest.raises(UserError, match=r"it has no samples\.npz"):
        images.setup()
