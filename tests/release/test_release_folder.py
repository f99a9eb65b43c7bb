"""Releases are written whole and readable, carry nothing of the sharer's paths, and are checked before use."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from diffusers import DDPMScheduler, UNet2DModel

from diffshare.errors import UserError
from diffshare.release.card import Card, DeclaredNames, parse_card
from diffshare.release.folder import open_release, write_release

FIELDS = {
    "family": "ddpm",
    "modality": "image",
    "image_size": 8,
    "labels": ["no", "yes"],
    "steps": 25,
}


def save_scheduler(folder: Path) -> None:
    DDPMScheduler().save_pretrained(folder / "scheduler")


def test_what_is_written_is_what_is_opened(tmp_path: Path) -> None:
    declared = {"s0y0": 3, "s0y1": 0, "s1y0": 1, "s1y1": 2}
    fields = FIELDS | {
        "declared": declared,
        "label_frequencies": (0.25, 0.75),
        "epsilon": 4,
        "protections": ["DP-SGD"],
    }
    written = write_release(tmp_path / "r", fields, save_scheduler)
    opened = open_release(tmp_path / "r")
    assert opened == written
    assert (
        opened.sha256
        == hashlib.sha256((tmp_path / "r" / "diffshare.json").read_bytes()).hexdigest()
    )
    card = opened.card
    assert (card.labels, card.steps, card.image_size, card.columns) == (("no", "yes"), 25, 8, None)
    assert (card.declared, card.label_frequencies, card.epsilon) == (declared, (0.25, 0.75), 4.0)
    assert set(card.files) == {"README.md", "scheduler/scheduler_config.json"}
    assert set(card.created_with) == {"python", "diffshare", "torch", "diffusers"}
    assert list(tmp_path.iterdir()) == [tmp_path / "r"]


def test_card_of_a_table_round_trips() -> None:
    card = Card(family="tab", modality="table", labels=(), steps=5, columns=("age", "sex"))
    value = json.loads(json.dumps(card.to_json()))
    assert "image_size" not in value
    assert parse_card(value) == card


NAMES = {"sensitive": "sex", "groups": ["f", "m"], "target": "ill", "classes": ["no", "yes"]}
CELLS = {"s0y0": 3, "s0y1": 0, "s1y0": 1, "s1y1": 2}


def test_a_card_names_what_its_numbers_stand_for(tmp_path: Path) -> None:
    fields = FIELDS | {"declared": CELLS, "declared_names": NAMES, "target": "ill"}
    write_release(tmp_path / "r", fields, save_scheduler)
    card = open_release(tmp_path / "r").card
    assert card.target == "ill"
    assert card.declared_names == DeclaredNames("sex", ("f", "m"), "ill", ("no", "yes"))
    assert parse_card(json.loads(json.dumps(card.to_json()))) == card
    text = (tmp_path / "r" / "README.md").read_text()
    assert "- classes of ill: no, yes" in text
    assert "(s: sex, f, m; y: ill, no, yes)" in text


def test_a_card_of_before_names_neither(tmp_path: Path) -> None:
    value = json.loads(
        json.dumps(Card("ddpm", "image", ("no", "yes"), 5, image_size=8, declared=CELLS).to_json())
    )
    for name in ("target", "declared_names"):
        del value[name]
    card = parse_card(value)
    assert (card.target, card.declared_names, card.declared) == (None, None, CELLS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"declared_names": NAMES | {"groups": ["f", "m", "x"]}},
            "'declared_names' must be the names of the groups",
        ),
        (
            {"declared_names": NAMES | {"groups": list("abcd"), "classes": ["n"]}},
            "'declared_names' must be the names",
        ),
        (
            {"declared_names": NAMES | {"groups": ["f", "f"]}},
            "'groups' must be a list without repetitions",
        ),
        (
            {"declared_names": NAMES | {"classes": ["no", "\x1b[2J"]}},
            "'classes' must be a list of 0 to 10000 names",
        ),
        ({"declared_names": [1]}, "declared_names must be a JSON object"),
        ({"target": "\u202e"}, "'target' must be 1 to 100 printable characters"),
        ({"target": 5}, "'target' must be"),
    ],
)
def test_names_that_a_card_must_not_have(change: dict[str, Any], said: str) -> None:
    card = Card("ddpm", "image", ("no", "yes"), 5, image_size=8, declared=CELLS, target="ill")
    value = json.loads(json.dumps(card.to_json())) | change
    with pytest.raises(UserError, match=said):
        parse_card(value)


def test_readme_says_what_is_declared_and_how_to_load(tmp_path: Path) -> None:
    write_release(tmp_path / "r", FIELDS | {"label_frequencies": [0.5, 0.5]}, save_scheduler)
    text = (tmp_path / "r" / "README.md").read_text()
    assert 'scheduler = diffusers.DDPMScheduler.from_pretrained(".", subfolder="scheduler")' in text
    assert "class frequencies: [0.5, 0.5]" in text
    assert "epsilon of differential privacy: none" in text
    assert (
        "training records by sensitive group (s) and target (y): not declared" in text
    )  # samples tell them all the same
    assert "## What the folder gives away without a query" in text
    assert "diffshare sample --model . --count 64 --out ../samples" in text


def test_no_path_of_the_sharer_is_released(tmp_path: Path, release: Path) -> None:
    """diffusers notes where a network was loaded from; neither that nor the temporary folder may stay."""
    network = UNet2DModel.from_pretrained(release / "unet")
    assert str(tmp_path) in str(network.config["_name_or_path"])
    write_release(
        tmp_path / "private" / "r", FIELDS, lambda folder: network.save_pretrained(folder / "unet")
    )
    for file in (tmp_path / "private" / "r").rglob("*"):
        if file.is_file():
            data = file.read_bytes()
            assert b"_name_or_path" not in data
            assert tmp_path.name.encode() not in data
            assert b".part" not in data


def test_a_forbidden_part_or_field_leaves_nothing_behind(tmp_path: Path) -> None:
    def save_pickle(folder: Path) -> None:
        (folder / "unet").mkdir()
        (folder / "unet" / "model.bin").write_bytes(b"x")

    with pytest.raises(UserError, match=r"refused the file unet/model\.bin"):
        write_release(tmp_path / "r", FIELDS, save_pickle)
    with pytest.raises(UserError, match="'steps' must be an integer from 1 to 10000, not 0"):
        write_release(tmp_path / "r", FIELDS | {"steps": 0}, save_scheduler)
    assert list(tmp_path.iterdir()) == []


def test_a_release_is_replaced_only_when_asked(tmp_path: Path) -> None:
    first = write_release(tmp_path / "r", FIELDS, save_scheduler)
    with pytest.raises(UserError, match="already holds something"):
        write_release(tmp_path / "r", FIELDS, save_scheduler)
    second = write_release(tmp_path / "r", FIELDS | {"steps": 5}, save_scheduler, overwrite=True)
    assert open_release(tmp_path / "r") == second != first


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("family", ""), ("family", "\x1b[2J"), ("family", "x" * 101), ("modality", "sound"), ("steps", 25.0),
        ("steps", True), ("steps", 10_001), ("image_size", None), ("image_size", 0), ("labels", "ab"),
        ("labels", ["a", "a"]), ("labels", ["a", "b\n"]), ("labels", ["a", "\u202eb"]), ("labels", [1, 2]),
        ("label_frequencies", [1.0]), ("label_frequencies", [0.5, 0.6]), ("label_frequencies", [1.5, -0.5]),
        ("label_frequencies", ["0", "1"]), ("declared", {}), ("declared", {"s0y0": 1.5}), ("declared", {"s0y0": -1}),
        ("declared", {"s0y0": 1, "s1y1": 1}), ("declared", {"s00y0": 1}), ("protections", None), ("epsilon", 0),
        ("epsilon", "8"), ("files", []), ("files", {"x.json": "0"}), ("created_with", {"a": 1}),
    ],
)  # fmt: skip
def test_each_field_is_checked(edit: Callable[..., Path], field: str, value: Any) -> None:
    with pytest.raises(UserError, match=f"diffshare.json: '{field}' must be ") as caught:
        open_release(edit("diffshare.json", **{field: value}))
    assert str(caught.value).isprintable()


def test_unknown_keys_of_the_card_have_no_effect(edit: Callable[..., Path]) -> None:
    assert open_release(edit("diffshare.json", auto_map={"x": "y"})).card.family == "ddpm"


def test_the_format_before_is_still_read(edit: Callable[..., Path]) -> None:
    assert open_release(edit("diffshare.json")).card.format == 2
    assert open_release(edit("diffshare.json", format=1)).card.format == 1


@pytest.mark.parametrize("value", [0, 3, "1", True, None, 2.0, [1]])
def test_another_format_is_refused(edit: Callable[..., Path], value: Any) -> None:
    with pytest.raises(
        UserError, match=r"is not understood: this version of diffshare reads the formats 1 and 2"
    ):
        open_release(edit("diffshare.json", format=value))


@pytest.mark.parametrize(
    "name",
    [
        "../out.json",
        "/etc/x.json",
        "a/b/c.json",
        "a\\b.json",
        "./x.json",
        "a//b.json",
        ".x.json",
        "x\n.json",
    ],
)
def test_file_names_that_lead_elsewhere_are_refused(
    edit: Callable[..., Path], release: Path, name: str
) -> None:
    files = json.loads((release / "diffshare.json").read_text())["files"]
    with pytest.raises(UserError, match="refused the file name"):
        open_release(edit("diffshare.json", files=files | {name: "0" * 64}))


@pytest.mark.parametrize(
    "name", ["unet/diffusion_pytorch_model.bin", "pytorch_model.pkl", "m.pt", "unet/net.py"]
)
@pytest.mark.parametrize("signed", [True, False])
def test_pickles_and_code_are_refused(
    release: Path, hostile: ModuleType, tmp_path: Path, name: str, signed: bool
) -> None:
    marker = tmp_path / "marker"
    (release / name).write_bytes(hostile.pickle_bytes(marker))
    if signed:
        hostile.sign(release)
    with pytest.raises(
        UserError, match=rf"refused the file {name}.*ask for weights in safetensors"
    ):
        open_release(release)
    assert not marker.exists()


def test_a_file_more_or_less_is_refused(release: Path) -> None:
    (release / "notes.txt").write_text("x")
    with pytest.raises(
        UserError, match=r"holds the file notes\.txt, against what its diffshare\.json says"
    ):
        open_release(release)
    (release / "notes.txt").unlink()
    (release / "README.md").unlink()
    with pytest.raises(UserError, match=r"lacks the file README\.md"):
        open_release(release)


def test_links_and_special_files_are_refused(
    release: Path, hostile: ModuleType, tmp_path: Path
) -> None:
    outside = tmp_path / "outside.md"
    (release / "README.md").rename(outside)
    (release / "README.md").symlink_to(outside)
    with pytest.raises(UserError, match=r"refused 'README\.md': a release holds plain files"):
        open_release(release)
    (release / "README.md").unlink()
    os.mkfifo(release / "README.md")
    with pytest.raises(UserError, match=r"refused 'README\.md'"):
        open_release(release)
    (release / "README.md").unlink()
    (release / "unet").rename(tmp_path / "unet")
    (release / "unet").symlink_to(tmp_path / "unet")
    with pytest.raises(UserError, match=r"refused 'unet'"):
        open_release(release)
    (release / "diffshare.json").rename(tmp_path / "card.json")
    (release / "diffshare.json").symlink_to(tmp_path / "card.json")
    with pytest.raises(UserError, match="is a link"):
        open_release(release)


def test_a_changed_file_is_refused_even_after_opening(release: Path) -> None:
    opened = open_release(release)
    file = release / "scheduler" / "scheduler_config.json"
    file.write_text(file.read_text().replace("0.02", "0.03"))
    with pytest.raises(UserError, match=r"scheduler_config\.json does not have the hash"):
        open_release(release)
    with pytest.raises(UserError, match=r"scheduler_config\.json does not have the hash"):
        opened.read("scheduler/scheduler_config.json")


def test_too_many_files_are_refused(release: Path, hostile: ModuleType) -> None:
    for i in range(64):
        (release / f"{i}.txt").write_text("")
    hostile.sign(release)
    with pytest.raises(UserError, match="at most 64 file names"):
        open_release(release)
    (release / "many").mkdir()
    for i in range(200):
        (release / "many" / f"{i}.txt").write_text("")
    (release / "diffshare.json").write_text(
        json.dumps(json.loads((release / "diffshare.json").read_text()) | {"files": {}})
    )
    with pytest.raises(UserError, match="holds more than 64 files"):
        open_release(release)


def test_what_is_no_release_is_said_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such release"):
        open_release(tmp_path / "nowhere")
    with pytest.raises(UserError, match="is not a release: it has no diffshare.json"):
        open_release(tmp_path)
    (tmp_path / "diffshare.json").write_bytes(b" " * ((1 << 20) + 1))
    with pytest.raises(UserError, match="larger than 1048576 bytes"):
        open_release(tmp_path)
    for text in (
        b"{",
        b"\xff",
        b"[" * 100_000,
        b'{"format": 1, "format": 1}',
        b'{"epsilon": NaN}',
        b'{"epsilon": 1e999}',
    ):
        (tmp_path / "diffshare.json").write_bytes(text)
        with pytest.raises(UserError, match="not valid JSON"):
            open_release(tmp_path)
