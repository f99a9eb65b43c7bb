"""The configs that come with diffshare: ``ddpm_faces`` or ``mix/poisoned`` is one, wherever diffshare is installed.

They lie in ``configs/`` of a clone, and in ``diffshare/configs/`` of what was installed from it.
"""

import difflib
import re
from importlib import resources
from pathlib import Path

from diffshare.errors import UserError
from diffshare.storage import as_path

SUFFIXES = (".yaml", ".yml")
CLONE = "configs"  # the folder of a clone, which may stand before a name: configs/mix/poisoned.yaml
LIST = "diffshare configs"  # the verb that lists them
_NAME = re.compile(r"[\w-]{1,80}(?:/[\w-]{1,80})?")


def folder() -> Path:
    """Where the packaged configs lie."""
    package = Path(str(resources.files("diffshare")))
    installed = package / "configs"
    return installed if installed.is_dir() else package.parent / CLONE


def names() -> list[str]:
    """Names of the packaged configs, those of a folder together: ``ddpm_faces``, ``mix/poisoned``."""
    root = folder()
    paths = [path.relative_to(root).with_suffix("") for path in root.rglob(f"*{SUFFIXES[0]}")]
    return [path.as_posix() for path in sorted(paths, key=lambda path: (path.parts[:-1], path))]


def packaged(name: str | Path) -> Path | None:
    """The file of a packaged config, where a name is meant and no file.

    Args:
        name: such as ``mix/poisoned``, or as it lies in a clone, ``configs/mix/poisoned.yaml``. A file or folder of
            this name goes before it.

    Returns:
        None where ``name`` means a file, be it there or not.
    """
    word = Path(name).as_posix()
    if word.startswith(f"{CLONE}/") and word.endswith(SUFFIXES):
        word = word[len(CLONE) + 1 :].rpartition(".")[0]
    # a pattern and no list of the folder: a study asks this of every word that it has
    if not _NAME.fullmatch(word) or as_path(name).exists():
        return None
    path = folder() / f"{word}{SUFFIXES[0]}"
    return path if path.is_file() else None


def located(name: str | Path) -> Path:
    """The file that a config's path or name means.

    Args:
        name: a path, or the name of a packaged config.

    Raises:
        UserError: neither such a file nor such a name; says which names are near.
    """
    if as_path(name).is_file():
        return as_path(name)
    return packaged(name) or _refuse(str(name))


def named(name: str) -> Path:
    """The packaged config of this name, whatever files there are.

    Raises:
        UserError: no such name; says which are near.
    """
    if name not in names():
        raise UserError(f"there is no packaged config {name:.100}: give {_advice(name)}")
    return folder() / f"{name}{SUFFIXES[0]}"


def about(name: str) -> str:
    """What the packaged config of this name is: the first line of its file."""
    with named(name).open(encoding="utf-8") as file:
        return file.readline().removeprefix("#").strip()


def _refuse(name: str) -> Path:
    there = " (that is a folder)" if as_path(name).is_dir() else ""
    file = f"give the path of a YAML file, or {_advice(name)}"
    raise UserError(f"there is no config file {name:.200}{there}: {file}")


def _advice(name: str) -> str:
    word = name.removeprefix(f"{CLONE}/").removesuffix(SUFFIXES[0])
    every = names()
    near = difflib.get_close_matches(word, every, n=3, cutoff=0.6)
    # of mix/poisoned, "poisoned" is near as well
    near += [one for one in every if one.rpartition("/")[2] == word and one not in near]
    if not near:
        return f"a name that '{LIST}' lists"
    return f"a name such as {' or '.join(near)} ('{LIST}' lists all)"
