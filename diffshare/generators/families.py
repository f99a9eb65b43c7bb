"""Finds the family that a release says it is of."""

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import diffshare.generators
from diffshare.errors import one_of
from diffshare.release.folder import open_release
from diffshare.release.generator import Generator

if TYPE_CHECKING:  # torch is imported where a model is opened, after its folder was looked at
    from diffshare.generators.base import GenerativeModule


def families() -> dict[str, type["GenerativeModule"]]:
    """Every family by name: those of this package and any subclass that the program has imported."""
    from diffshare.generators.base import GenerativeModule

    for module in pkgutil.iter_modules(diffshare.generators.__path__):
        importlib.import_module(f"{diffshare.generators.__name__}.{module.name}")
    return {kind.family: kind for kind in _subclasses(GenerativeModule) if hasattr(kind, "family")}


def _subclasses(kind: type["GenerativeModule"]) -> Iterator[type["GenerativeModule"]]:
    for child in kind.__subclasses__():
        yield child
        yield from _subclasses(child)


def open_generator(path: str | Path, **options: Any) -> tuple[Generator, str]:
    """Open a release folder as a black box, everything that comes with it checked before use.

    Args:
        path: the release folder.
        options: of the family's ``receive``: ``device``, ``scheduler``.

    Returns:
        the generator, and the release's identity (SHA-256 of its card).

    Raises:
        UserError: it is no release, it was changed, it is of a family that is not known, or its parts do not fit.
    """
    release = open_release(path)
    kinds = families()
    # a name from outside only ever selects among classes that are already here
    if release.card.family not in kinds:
        raise one_of("family of the release", release.card.family, kinds)
    return kinds[release.card.family].receive(release, **options), release.sha256
