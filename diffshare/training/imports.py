"""What a run folder or a checkpoint may import: to import a class is to run the code of its module.

Configurations name classes by their import path. One that the user writes may name any; one that comes with a folder
is of whoever made the folder.
"""

import contextlib
import importlib.util
import site
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonargparse import _common as parsing
from jsonargparse import set_parsing_settings

from diffshare.errors import UserError
from diffshare.received import shown

HELP = (
    "Import any class that the folder names, also from the working directory: that runs its code. Without it, classes "
    "of diffshare and of installed packages alone."
)
# they would load or install code
_NEVER = (
    "jsonargparse",
    "pip",
    "setuptools",
    "pkg_resources",
    "_distutils_hack",
)


@contextlib.contextmanager
def installed_only(config: Any, where: str) -> Iterator[None]:
    """Within the block, parsers import nothing but diffshare and what lies in site-packages.

    Args:
        config: what will be parsed, plain values. A ``class_path`` of anything else is refused at once.
        where: its file, for the message.

    Raises:
        UserError: names the class and the way to allow it. Nothing was imported.
    """
    names = list(_texts(config))
    for path in (text for key, text in names if key == "class_path"):
        if not installed(path.partition(".")[0]) and "." in path:
            raise refusal(path, where)
    tops = {text.partition(".")[0] for _, text in names if "." in text} | {
        name.partition(".")[0] for name in sys.modules
    }
    before = dict(parsing.parsing_settings)
    set_parsing_settings(
        import_path_denylist=["*"], import_path_allowlist=sorted(filter(installed, tops))
    )
    try:
        yield
    except parsing.ImportDenied as error:
        raise refusal(_named(str(error)), where) from error
    except Exception as error:  # a parser wraps it into an error of its own, in words alone
        if "import path denylist" in str(error):
            raise refusal(_named(str(error)), where) from error
        raise
    finally:
        parsing.parsing_settings.clear()
        parsing.parsing_settings.update(before)


def refusal(path: str, where: str) -> UserError:
    """That a class may not be imported."""
    return UserError(
        f"{where} names {shown(path)}, which is neither of diffshare nor of an installed package: to import it would "
        f"run its code; add `trust_code` if you know what is in it"
    )


def _named(message: str) -> str:
    """The import path in jsonargparse's own message."""
    return message.partition("Importing '")[2].partition("'")[0]


def installed(name: str) -> bool:
    """Whether a top-level module is diffshare or lies in site-packages. Nothing is imported to find out."""
    if name == "diffshare":
        return True
    if not name.isidentifier() or name in _NEVER or name in sys.stdlib_module_names:
        return False
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return False
    if spec is None:
        return False
    places = (
        [spec.origin]
        if spec.has_location and spec.origin
        else list(spec.submodule_search_locations or [])
    )
    return bool(places) and all(_within_site(place) for place in places)


def _within_site(place: str) -> bool:
    path = Path(place).resolve()
    return any(path.is_relative_to(folder) for folder in _site_folders())


@cache
def _site_folders() -> frozenset[Path]:
    folders = [
        sysconfig.get_path("purelib"),
        sysconfig.get_path("platlib"),
        *site.getsitepackages(),
    ]
    folders += [site.getusersitepackages()]
    return frozenset(Path(folder).resolve() for folder in folders)


def _texts(config: Any) -> Iterator[tuple[str, str]]:
    """Every text with the nearest key above it."""
    pending: list[tuple[str, Any]] = [("", config)]
    while pending:
        key, value = pending.pop()
        if isinstance(value, dict):
            pending += [(str(name), item) for name, item in value.items()]
        elif isinstance(value, list | tuple):
            pending += [(key, item) for item in value]
        elif isinstance(value, str):
            yield key, value
