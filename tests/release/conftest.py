"""A small valid release, made once, and copies of it to spoil."""

import importlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"


def _script(name: str) -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPTS))
        return importlib.import_module(name)


@pytest.fixture(scope="session")
def hostile() -> ModuleType:
    """``scripts/hostile_mutations.py``, which the fuzz test and the script share."""
    return _script("hostile_mutations")


@pytest.fixture(scope="session")
def check_hostile() -> ModuleType:
    """``scripts/check_hostile.py``, whose examples the fuzz test runs."""
    return _script("check_hostile")


@pytest.fixture(scope="session")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of each kind that comes from somebody else; not to be changed."""
    folder = tmp_path_factory.mktemp("originals")
    _script("hostile_originals").make_originals(folder)
    return folder


@pytest.fixture
def release(originals: Path, tmp_path: Path) -> Path:
    """A release that may be spoiled."""
    return Path(shutil.copytree(originals / "release", tmp_path / "release"))


@pytest.fixture
def edit(release: Path, hostile: ModuleType) -> Callable[..., Path]:
    """``edit("unet/config.json", layers_per_block=99)`` changes a JSON file of the release and signs it again."""

    def change(name: str, **values: Any) -> Path:
        file = release / name
        file.write_text(json.dumps(json.loads(file.read_text()) | values))
        if name != "diffshare.json":
            hostile.sign(release)
        return release

    return change
