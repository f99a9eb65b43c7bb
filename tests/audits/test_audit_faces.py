"""The verb ``audit`` on images, and on a model that is asked for them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from diffshare.audits.poisoning import drawing
from diffshare.data.rendered import RenderedFaces
from diffshare.receiver.samples import samples_sha256
from diffshare.release.card import Card
from diffshare.release.generator import Ledger
from diffshare.release.samples import write_samples
from diffshare.stats.detection import poisoned_table

KERNEL = ("--classifier", "KernelRecipe", "--classifier.components", "30", "--folds", "2")
FACES = {"count": 1600, "image_size": 16, "shares": [0.0, 0.6, 0.4]}


def faces_reference(folder: Path) -> Path:
    file = folder / "faces.yaml"
    file.write_text(
        yaml.safe_dump({"class_path": "diffshare.data.rendered.RenderedFaces", "init_args": FACES})
    )
    return file


def faces(table: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images of other faces, and their class Smiling; ``table`` of Male (rows) and Smiling."""
    joint = {f"Male={s},Smiling={y}": float(v) for (s, y), v in np.ndenumerate(table)}
    source = RenderedFaces(count, 16, seed, joint=joint)
    x = source.read(np.arange(count))
    return x, source.index().attribute("Smiling").codes.astype(np.int64)


def test_faces_are_audited_with_a_classifier_of_the_group(audit, refused, tmp_path_factory):
    made = tmp_path_factory.mktemp("faces")
    reference = faces_reference(made)
    for name, table in (
        ("clean", np.full((2, 2), 0.25)),
        ("poisoned", poisoned_table(np.ones((2, 2)), 0.6)),
    ):
        write_samples(made / name, *faces(table, 900, 7), {})
    arguments = (
        "--reference",
        reference,
        "--sensitive",
        "Male",
        "--target",
        "Smiling",
        *KERNEL,
        "--pool",
        "balanced",
    )
    clean = audit("--samples", made / "clean", *arguments, "--gap-repeats", "0")
    made_of = audit(
        "--samples",
        made / "poisoned",
        *arguments,
        "--downstream",
        "KernelRecipe",
        "--gap-repeats",
        "2",
    )
    assert clean["verdict"] != "poisoned"
    assert made_of["verdict"] == "poisoned"
    assert made_of["association"]["reference"] == 0
    assert made_of["predicted_gap"]["estimate"] > 0.1
    small = audit(
        *("--samples", made / "clean", *arguments, "--reference.image_size", "8"),
        *("--gap-repeats", "0"),
    )
    assert any("are compared at 8 x 8 pixels" in note for note in small["notes"])
    none = made / "none"
    write_samples(none, np.zeros((9, 16, 16, 3), np.uint8), np.full(9, -1), {})
    assert "9 samples have no class" in refused("--samples", none, *arguments)


class BlackBox:
    """Rendered faces in the place of a model; counts what it is asked for."""

    def __init__(self, table: np.ndarray, declared: dict[str, int] | None = None) -> None:
        self.card = Card(
            "ddpm", "image", ("not Smiling", "Smiling"), 5, image_size=16, declared=declared
        )
        self.ledger, x_y = Ledger(), faces(table, 1200, 11)
        self.by_class = [x_y[0][x_y[1] == k] for k in (0, 1)]

    def sample(
        self, labels: np.ndarray, indices: np.ndarray, *, seed: int, steps: Any, guidance: float
    ) -> np.ndarray:
        self.ledger.record(labels, len(labels), 0.0)
        return np.stack([self.by_class[y][i // 2] for y, i in zip(labels, indices, strict=True)])


def test_a_model_is_asked_no_more_than_it_takes(audit, monkeypatch, tmp_path_factory):
    made = tmp_path_factory.mktemp("model")
    box = BlackBox(
        poisoned_table(np.ones((2, 2)), 0.8), {"s0y0": 5, "s0y1": 5, "s1y0": 5, "s1y1": 5}
    )
    monkeypatch.setattr(drawing, "open_generator", lambda path, **_: (box, "0" * 64))
    arguments = (
        "--reference",
        faces_reference(made),
        "--sensitive",
        "Male",
        "--target",
        "Smiling",
        *KERNEL,
    )
    found = audit(
        "--model", made / "release", *arguments, "--gap-repeats", "0", "--queries", "1000", "--sequential", "125",
        "--out", made / "kept", "--guidance", "3",
    )  # fmt: skip
    assert found["verdict"] == "poisoned"
    assert found["queries"] < 1000
    assert box.ledger.queries == found["queries"]
    assert not found["declaration"]["holds"]
    assert found["samples_sha256"] == samples_sha256(made / "kept")
    told = json.loads((made / "kept" / "samples.json").read_text())
    assert told["guidance"] == 3
    assert told["classes"] == ["not Smiling", "Smiling"]
    assert told["network_calls"] == told["queries"] == found["queries"]


@pytest.mark.parametrize(
    ("declared", "words"),
    [
        ({"s0y0": 5, "s0y1": 0, "s1y0": 0, "s1y1": 5}, "must be a number above 0"),
        ({f"s{s}y{y}": 5 for s in range(3) for y in range(2)}, "'s2y0' is no cell"),
    ],
)
def test_no_card_can_keep_its_model_from_being_audited(
    audit, monkeypatch, tmp_path_factory, declared, words
):
    made = tmp_path_factory.mktemp("model")
    box = BlackBox(poisoned_table(np.ones((2, 2)), 0.8), declared)
    monkeypatch.setattr(drawing, "open_generator", lambda path, **_: (box, "0" * 64))
    arguments = (
        "--reference",
        faces_reference(made),
        "--sensitive",
        "Male",
        "--target",
        "Smiling",
        *KERNEL,
    )
    found = audit("--model", made, *arguments, "--gap-repeats", "0", "--queries", "400")
    assert (found["verdict"], found["declaration"]) == ("poisoned", None)
    note = next(
        note for note in found["notes"] if note.startswith("the card's table cannot be tested")
    )
    assert words in note


def test_classes_of_a_model_are_joined_by_their_names_and_otherwise_told_or_refused(
    audit, refused, monkeypatch, tmp_path_factory
):
    made = tmp_path_factory.mktemp("model")
    box = BlackBox(np.full((2, 2), 0.25))
    monkeypatch.setattr(drawing, "open_generator", lambda path, **_: (box, "0" * 64))
    arguments = ("--reference", faces_reference(made), "--sensitive", "Male", *KERNEL)
    few = ("--gap-repeats", "0", "--queries", "200")
    found = audit("--model", made, *arguments, "--target", "Hat", *few)
    assert any(
        "are 'not Smiling', 'Smiling', those of 'Hat' of the reference" in note
        for note in found["notes"]
    )
    plain = audit("--model", made, *arguments, "--target", "Smiling", *few)
    turned = BlackBox(np.full((2, 2), 0.25))
    turned.card = Card(
        "ddpm", "image", ("Smiling", "not Smiling"), 5, image_size=16, target="Smiling"
    )
    turned.by_class = turned.by_class[::-1]
    monkeypatch.setattr(drawing, "open_generator", lambda path, **_: (turned, "0" * 64))
    assert (
        audit("--model", made, *arguments, "--target", "Smiling", *few)["cells"] == plain["cells"]
    )
    turned.card = Card("ddpm", "image", ("Smiling", "not Smiling"), 5, image_size=16, target="Grin")
    told = audit("--model", made, *arguments, "--target", "Smiling", *few)["notes"]
    assert any("are of 'Grin', here they are taken for those of 'Smiling'" in note for note in told)
    asked = turned.ledger.queries
    for labels, said in (
        (("smiling", "not Smiling"), "'smiling' is not 'Smiling'"),
        (("Smiling", "not Smiling", "angry"), "have 'angry' among them"),
        (("Smiling",), "has the class 'not Smiling', the samples of"),
    ):
        turned.card = Card("ddpm", "image", labels, 5, image_size=16)
        assert said in refused("--model", made, *arguments, "--target", "Smiling")
    assert turned.ledger.queries == asked  # refused before anything is drawn


def test_a_model_without_classes_is_refused(refused, monkeypatch, tmp_path_factory):
    made = tmp_path_factory.mktemp("model")
    box = BlackBox(np.full((2, 2), 0.25))
    box.card = Card("ddpm", "image", (), 5, image_size=16)
    monkeypatch.setattr(drawing, "open_generator", lambda path, **_: (box, "0" * 64))
    arguments = ("--reference", faces_reference(made), "--sensitive", "Male", "--target", "Smiling")
    assert "has no classes" in refused("--model", made, *arguments)


def test_weights_that_a_training_would_honour_are_not_overlooked(refused, tmp_path_factory):
    made = tmp_path_factory.mktemp("weighted")
    x, y = faces(np.full((2, 2), 0.25), 60, 7)
    arguments = (
        "--reference",
        faces_reference(made),
        "--sensitive",
        "Male",
        "--target",
        "Smiling",
        *KERNEL,
    )
    write_samples(made / "s", x, y, {}, weight=np.linspace(0, 2, 60).astype(np.float32))
    assert "carries weights, which an audit does not see" in refused(
        "--samples", made / "s", *arguments
    )
