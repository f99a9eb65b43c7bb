"""Messages of the library in the command line's words: an argument in backticks becomes its flag."""

import re

from diffshare.study.steps.flags import flag
from diffshare.terminal import say

_ARGUMENT = re.compile(r"`([a-z]\w*(?:\.\w+)*)`")


def in_flags(text: str) -> str:
    """A message of the library with each argument as its flag: ```split_seed``` becomes ``--split-seed``."""
    return _ARGUMENT.sub(lambda argument: flag(argument[1]), text)


def say_each(kind: str, *lines: str | None) -> None:
    """Print lines of the library, each after what it is (``note``, ``advice``); None says nothing."""
    say(*(f"{kind + ':':9}{in_flags(line)}" for line in lines if line))
