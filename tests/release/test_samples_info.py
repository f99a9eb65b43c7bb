"""``samples.json``: what is written of drawn samples, and what of a stranger's file is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from diffshare.errors import UserError
from diffshare.release.card import Card
from diffshare.release.generator import Ledger
from diffshare.release.info import INFO, MAX_INFO, Drawn, asked_info, drawn_info, read_info


class Box:
    """A black box that was asked for three samples."""

    def __init__(self) -> None:
        self.card = Card("box", "image", ("no", "yes"), 7, image_size=8)
        self.ledger = Ledger()
        self.ledger.record(np.array([0, 1, 0]), 21, 0.5)

    def sample(self, labels: np.ndarray, indices: np.ndarray, **options: object) -> np.ndarray:
        raise NotImplementedError


def test_the_classes_and_the_cost_of_a_black_box_are_told(tmp_path: Path) -> None:
    info = asked_info(Box(), Drawn("balanced", 3, None, 1.5), tmp_path / "release", "0" * 64)
    assert info == {
        "labels": "balanced", "seed": 3, "steps": 7, "guidance": 1.5, "classes": ["no", "yes"], "queries": 3,
        "network_calls": 21, "seconds": 0.5, "model": {"name": "release", "sha256": "0" * 64},
    }  # fmt: skip
    assert asked_info(Box(), Drawn("none", 0, 4))["steps"] == 4
    assert "model" not in asked_info(Box(), Drawn("none", 0))


@pytest.mark.parametrize("name", ["x" * 300, "a\x1b[31mb", ""])
def test_what_is_written_can_be_read(tmp_path: Path, name: str) -> None:
    info = drawn_info(Drawn("none", 0), (), queries=1, seconds=0.0, model=name, sha256="0" * 64)
    (tmp_path / INFO).write_text(json.dumps(info))
    assert read_info(tmp_path) == info


def test_no_file_says_nothing(tmp_path: Path) -> None:
    assert read_info(tmp_path) == {}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not valid JSON"),
        ('{"seed": 1, "seed": 2}', "not valid JSON"),
        ('{"guidance": Infinity}', "not valid JSON"),
        ("[1]", "must be a JSON object"),
        ('{"labels": "\\u001b[2J"}', "may not be shown"),
        ('{"a": {"b": ["' + "x" * 101 + '"]}}', "may not be shown"),
        ('{"labels": ' + "1" * 400 + "}", "a number is too long"),
        (" " * (MAX_INFO + 1), "larger than"),
    ],
)
def test_a_file_of_a_stranger_is_checked(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / INFO).write_text(text)
    with pytest.raises(UserError, match=words):
        read_info(tmp_path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / INFO).symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is a link"):
        read_info(tmp_path)
