"""A study as a part of another: its steps under a name in front, so that several of one kind stand side by side."""

from collections.abc import Iterable
from dataclasses import replace

from diffshare.study.engine.base import Find
from diffshare.study.engine.step import Command, Place, Step, Word


def under(prefix: str, steps: Iterable[Step]) -> list[Step]:
    """The steps with ``prefix`` before their names and those of all steps that they need.

    Args:
        prefix: what comes before the names.
        steps: a study's, all that any of them needs among them.
    """

    def command(words: Command) -> Command:
        return tuple(_moved(word, prefix) for word in words)

    return [
        replace(
            step,
            name=prefix + step.name,
            commands=tuple(map(command, step.commands)),
            resume=tuple(map(command, step.resume)),
            after=tuple(prefix + name for name in step.after),
        )
        for step in steps
    ]


def find_under(prefix: str, find: Find) -> Find:
    """A ``find`` for the study whose steps were put under ``prefix``."""
    return lambda place: find(Place(prefix + place.step, place.path))


def _moved(word: Word, prefix: str) -> Word:
    return Place(prefix + word.step, word.path) if isinstance(word, Place) else word
