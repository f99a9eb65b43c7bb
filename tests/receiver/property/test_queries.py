"""Queries one after the other: a folder's order, a black box's numbers, and rows in another table's codes."""

import json
from pathlib import Path

import numpy as np
import pytest

from diffshare.data.recoding import recode
from diffshare.errors import UserError
from diffshare.receiver.property.queries import ModelQueries, SampleQueries
from diffshare.receiver.samples import Samples
from diffshare.release.card import Card
from diffshare.release.generator import Ledger
from diffshare.release.samples import write_samples
from diffshare.release.table import TableColumn


class Numbers:
    """A black box whose sample shows its own number and label."""

    def __init__(
        self, labels: tuple[str, ...] = (), frequencies: tuple[float, ...] | None = None
    ) -> None:
        self.card = Card(
            "numbers", "image", labels, 10, image_size=4, label_frequencies=frequencies
        )
        self.ledger = Ledger()

    def sample(self, labels: np.ndarray, indices: np.ndarray, **options: object) -> np.ndarray:
        x = np.zeros((len(labels), 4, 4, 1), np.uint8)
        x[:, 0, 0, 0], x[:, 0, 1, 0] = indices, labels + 1
        return x


class TestModel:
    def test_parts_are_the_same_samples_as_the_whole(self) -> None:
        asked = ModelQueries(Numbers(("a", "b", "c"), (0.2, 0.3, 0.5)), batch_size=7)
        whole = asked.take(0, 50)
        parts = [asked.take(a, b) for a, b in ((0, 20), (20, 21), (21, 50))]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        assert whole[:, 0, 0, 0].tolist() == list(range(50))
        assert np.bincount(whole[:, 0, 1, 0] - 1).tolist() == [10, 15, 25]

    @pytest.mark.parametrize(
        ("labels", "frequencies", "expected"),
        [((), None, "none"), (("a", "b"), None, "none"), (("a", "b"), (0.5, 0.5), "natural")],
    )
    def test_the_default_leaves_the_choice_to_the_model(
        self, labels, frequencies, expected
    ) -> None:  # type: ignore[no-untyped-def]
        assert ModelQueries(Numbers(labels, frequencies)).labels == expected

    def test_labels_that_the_model_has_not_are_refused_at_once(self) -> None:
        with pytest.raises(UserError, match="declares no label frequencies"):
            ModelQueries(Numbers(("a", "b")), "natural")

    def test_guidance_costs_a_second_call(self) -> None:
        model = Numbers(("a", "b"), (0.5, 0.5))
        assert ModelQueries(model).network_calls == 10
        assert ModelQueries(model, guidance=3.0, steps=4).network_calls == 8
        assert ModelQueries(model, "none", guidance=3.0).network_calls == 10


class TestFolder:
    def write(self, folder: Path, y: list[int], **info: object) -> Path:
        write_samples(folder, np.zeros((len(y), 4, 4, 3), np.uint8), np.array(y), info)
        return folder

    @pytest.mark.parametrize(
        ("y", "info", "labels"),
        [
            ([-1, -1], {}, "none"),
            ([-1, -1], {"labels": "balanced"}, "none"),
            ([0, 1], {"labels": "natural"}, "natural"),
            ([0, 1], {"labels": "balanced"}, "balanced"),
            ([0, 1], {}, "unknown"),
            ([0, 1], {"labels": "none"}, "unknown"),
            ([0, -1], {"labels": "none"}, "unknown"),
        ],
    )
    def test_how_they_were_drawn(
        self, tmp_path: Path, y: list[int], info: dict, labels: str
    ) -> None:
        assert (
            SampleQueries(Samples.from_path(self.write(tmp_path / "s", y, **info)), None).labels
            == labels
        )

    def test_the_names_of_the_classes(self, tmp_path: Path) -> None:
        assert (
            SampleQueries(Samples.from_path(self.write(tmp_path / "a", [0, 1])), None).classes == ()
        )
        assert SampleQueries(
            Samples.from_path(self.write(tmp_path / "b", [0, 1], classes=["no", "yes"])), None
        ).classes == ("no", "yes")

    @pytest.mark.parametrize(
        "classes", ["yes", 3, None, ["a", 1], ["a", "a"], ["\x1b[2J"], ["a" * 101], {"a": 1}]
    )
    def test_classes_that_are_no_names_are_refused(self, tmp_path: Path, classes: object) -> None:
        (tmp_path / "samples.csv").write_text("age\n3\n")
        (tmp_path / "samples.json").write_text(json.dumps({"classes": classes}))
        with pytest.raises(UserError, match="'classes' must be a list|may not be shown"):
            SampleQueries(Samples.from_path(tmp_path), {"age": "numeric"})

    def test_no_more_than_there_are(self, tmp_path: Path) -> None:
        folder = SampleQueries(Samples.from_path(self.write(tmp_path / "s", [-1] * 5)), None)
        assert len(folder.take(1, 5)) == 4
        with pytest.raises(UserError, match="6 queries asked of a folder of 5 samples"):
            folder.take(0, 6)

    def test_a_part_of_a_sorted_folder_is_a_sample_of_it(self, tmp_path: Path) -> None:
        x = np.repeat(np.array([0, 1], np.uint8), 400)[:, None, None, None] * np.ones(
            (4, 4, 3), np.uint8
        )
        write_samples(tmp_path / "s", x, np.full(800, -1), {})
        folder = SampleQueries(Samples.from_path(tmp_path / "s"), None)
        np.testing.assert_array_equal(folder.take(0, 800), x)
        folder.shuffle(5)
        assert 0.35 < folder.take(0, 200)[:, 0, 0, 0].mean() < 0.65
        parts = np.concatenate([folder.take(a, b) for a, b in ((0, 20), (20, 21), (21, 800))])
        np.testing.assert_array_equal(parts, x[folder.numbers(800)])
        assert sorted(folder.numbers(800)) == list(range(800))
        again = SampleQueries(Samples.from_path(tmp_path / "s"), None)
        again.shuffle(5)
        np.testing.assert_array_equal(again.numbers(30), folder.numbers(30))

    def test_other_peoples_rows_come_without_a_word(self, tmp_path: Path) -> None:
        (tmp_path / "samples.csv").write_text("extra,ward,age\n1,b,30\n2,a,?\n")
        folder = SampleQueries(
            Samples.from_path(tmp_path), {"age": "numeric", "ward": "categorical"}
        )
        assert [column.name for column in folder.columns] == ["ward", "age"]
        assert folder.labels == "unknown"
        np.testing.assert_array_equal(
            folder.take(0, 2), np.array([[1, 30], [0, np.nan]], np.float32)
        )

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("x,y\n1,2\n", "none of the columns"),
            ('a,"b\n', "."),
            ("age\nold\n", "no finite number"),
        ],
    )
    def test_rows_that_are_none_are_refused(self, tmp_path: Path, text: str, words: str) -> None:
        (tmp_path / "samples.csv").write_text(text)
        with pytest.raises(UserError, match=words):
            SampleQueries(Samples.from_path(tmp_path), {"age": "numeric"})

    def test_the_words_of_a_stranger_are_not_trusted(self, tmp_path: Path) -> None:
        (tmp_path / "samples.csv").write_text("age\n3\n")
        (tmp_path / "samples.json").write_text(json.dumps({"labels": ["x"]}))
        assert SampleQueries(Samples.from_path(tmp_path), {"age": "numeric"}).labels == "unknown"


class TestRecode:
    MINE = (TableColumn("ward", "categorical", ("a", "b", "z")), TableColumn("age", "numeric"))
    OTHER = (TableColumn("age", "numeric"), TableColumn("ward", "categorical", ("b", "a")))

    def test_categories_are_matched_by_their_text(self) -> None:
        x = np.array([[0, 30], [1, np.nan], [2, 50]], np.float32)
        found = recode(x, self.MINE, self.OTHER)
        np.testing.assert_array_equal(
            found, np.array([[30, 1], [np.nan, 0], [50, np.nan]], np.float32)
        )

    def test_there_and_back(self) -> None:
        x = np.array([[0, 30], [1, 2]], np.float32)
        np.testing.assert_array_equal(
            recode(recode(x, self.MINE, self.OTHER), self.OTHER, self.MINE), x
        )

    def test_a_missing_column_is_named(self) -> None:
        with pytest.raises(UserError, match="no column 'age'"):
            recode(np.zeros((2, 1), np.float32), self.MINE[:1], self.OTHER)
