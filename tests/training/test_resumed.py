"""Which settings a resumed run may change: those that leave its weights alone, and an end that no schedule fixes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from diffshare.errors import UserError
from diffshare.training.resumed import refuse_changes

STARTED: dict[str, Any] = {
    "seed_everything": 1,
    "data": {"init_args": {"num_workers": 0, "batch_size": 8}},
    "model": {"init_args": {"lr_schedule": "constant", "width": 4}},
    "trainer": {"max_steps": 10, "callbacks": {}},
    "release": {"count": 3},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The settings with another value at a dotted path."""
    settings = yaml.safe_load(yaml.safe_dump(STARTED))
    *blocks, last = path.split(".")
    place = settings
    for block in blocks:
        place = place[block]
    place[last] = value
    return settings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(STARTED))
    return tmp_path


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.init_args.num_workers", 2),
        ("trainer.max_steps", 20),
        ("release.count", 4),
        ("release.more", {"a": 1}),
    ],
)
def test_what_leaves_the_weights_alone_may_change(folder, path, value) -> None:
    refuse_changes(folder, STARTED)
    refuse_changes(folder, changed(path, value))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            "data.init_args.batch_size",
            9,
            "data.init_args.batch_size was 8, is now 9; leave out `config`",
        ),
        ("data.init_args.batch_size", "8", "data.init_args.batch_size was 8, is now '8'; leave"),
        ("model.init_args.depth", 2, "model.init_args.depth was None, is now 2"),
        ("model.init_args", {}, r"model.init_args was None, is now {} \(and 2 more\)"),
        ("trainer.max_steps_more", 1, "trainer.max_steps_more was None, is now 1"),
    ],
)
def test_what_the_weights_depend_on_may_not(folder, path, value, said) -> None:
    with pytest.raises(UserError, match=f"was started with another configuration: {said}"):
        refuse_changes(folder, changed(path, value))


def test_the_end_of_a_schedule_may_not_move(folder) -> None:
    settings = changed("model.init_args.lr_schedule", "cosine")
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    settings["trainer"]["max_steps"] = 20
    with pytest.raises(UserError, match="trainer.max_steps was 10, is now 20"):
        refuse_changes(folder, settings)


def test_a_run_without_a_config_is_not_looked_at(tmp_path) -> None:
    refuse_changes(tmp_path, STARTED)
