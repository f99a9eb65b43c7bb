"""Reading what someone else wrote: regular files only, bounded, and nothing of it reaches a terminal unescaped."""

import json
import math
import os
import stat
from io import BufferedReader
from pathlib import Path
from typing import Any, NoReturn, TypeGuard

from diffshare.errors import UserError

DEEPEST = 64  # lists and objects within each other
# of a JSON text, by its commas, brackets and colons
VALUES, OBJECTS, KEYS = (
    2_000_000,
    400_000,
    500_000,
)
LONGEST_NUMBER = 40  # characters; float64 takes 24 at most


def shown(value: object, limit: int = 80) -> str:
    """A received value, quoted for one line of a terminal: ASCII, escaped, at most about ``limit`` characters.

    A backtick is escaped too: it stands before the name of an argument.
    """
    text = ascii(value[:limit] if isinstance(value, str) else value).replace("`", r"\x60")
    return text if len(text) <= 4 * limit else text[: 4 * limit] + "...'"


def open_regular(path: Path, limit: int, *, links: bool = False) -> tuple[BufferedReader, int]:
    """Open a regular file of at most ``limit`` bytes: no link is followed, no pipe or device is waited for.

    Args:
        path: the file.
        limit: most bytes.
        links: follow a link, for a file whose name is the reader's own.

    Returns:
        The open file and its size in bytes. Size and content belong to one descriptor, whatever the name does later.

    Raises:
        UserError: missing, a link, not a regular file, too large, or not readable.
    """
    name = shown(str(path), 200)
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    flags |= 0 if links else getattr(os, "O_NOFOLLOW", 0)
    try:
        if not links and path.is_symlink():
            raise UserError(f"{name} is a link: copy the file that it points to in its place")
        stream = os.fdopen(os.open(path, flags), "rb")
    except (OSError, ValueError) as error:  # a null character in a name is a ValueError
        raise UserError(f"cannot read {name}: {getattr(error, 'strerror', error)}") from error
    status = os.fstat(stream.fileno())
    if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
        stream.close()
        reason = (
            f"larger than {limit} bytes" if stat.S_ISREG(status.st_mode) else "not a regular file"
        )
        raise UserError(f"cannot read {name}: it is {reason}")
    return stream, status.st_size


def read_regular(path: Path, limit: int, *, links: bool = False) -> bytes:
    """The bytes of a regular file of at most ``limit`` bytes; see ``open_regular``."""
    stream, size = open_regular(path, limit, links=links)
    with stream:
        # a file that grows meanwhile is read no further than one byte past its size
        data = stream.read(size + 1)
    if len(data) != size:
        raise UserError(f"cannot read {shown(str(path), 200)}: it changed while it was read")
    return data


def parse_json(data: bytes, where: str, *, infinite: bool = False) -> Any:
    """JSON of a received file, stricter than ``json.loads``: no key twice, no NaN, numbers within float64.

    Objects of Python take many times the text they are made of: their number and depth are bounded, not its size alone.

    Args:
        data: UTF-8.
        where: the file's name for the message.
        infinite: let ``Infinity`` and ``-Infinity`` pass (diffusers writes them into schedulers' configurations).

    Raises:
        UserError: not such JSON.
    """

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(items)) != len(items):
            raise ValueError("a key stands twice")
        return dict(items)

    def constant(text: str) -> float:
        if text == "NaN" or not infinite:
            raise ValueError(f"{text} is no JSON number")
        return float(text.replace("Infinity", "inf"))

    def number(text: str) -> float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError("a number is too large")
        return value

    def integer(text: str) -> int:
        if len(text) > LONGEST_NUMBER:
            raise ValueError("a number is too long")
        return int(text)

    hooks: dict[str, Any] = {
        "parse_constant": constant,
        "parse_float": number,
        "parse_int": integer,
    }
    try:
        # those within texts count too: no honest file has so many
        brackets = data.count(b"{") + data.count(b"[")
        if brackets > OBJECTS or data.count(b",") > VALUES or data.count(b":") > KEYS:
            raise ValueError("too many values")
        value = json.loads(data.decode("utf-8"), object_pairs_hook=pairs, **hooks)
        if brackets > DEEPEST:
            check_depth(value)
        return value
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{where} is not valid JSON ({shown(str(error))}): ask for the file again"
        ) from error


def check_depth(value: Any) -> None:
    """Refuse lists and objects that lie deeper within each other than ``DEEPEST``.

    Raises:
        ValueError: they do.
    """
    level: list[Any] = [value]
    for _ in range(DEEPEST + 1):
        level = [
            inner
            for item in level
            for inner in (item.values() if isinstance(item, dict) else item)
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise ValueError("too deep")


class Fields:
    """Typed access to the fields of a received JSON object; each mistake names file, field and what was expected.

    Args:
        value: parsed JSON.
        where: the file's name for messages.

    Raises:
        UserError: ``value`` is no object.
    """

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise UserError(f"{where} must be a JSON object")
        self.value, self.where = value, where

    def refuse(self, key: str, expected: str) -> NoReturn:
        """Raise the UserError that says what ``key`` should be."""
        raise UserError(
            f"{self.where}: '{key}' must be {expected}, not {shown(self.value.get(key))}"
        )

    def integer(self, key: str, low: int, high: int) -> int:
        """An integer in low..high."""
        value = self.value.get(key)
        if type(value) is not int or not low <= value <= high:
            self.refuse(key, f"an integer from {low} to {high}")
        return value

    def text(self, key: str) -> str:
        """A name: 1 to 100 printable characters."""
        value = self.value.get(key)
        if not is_name(value):
            self.refuse(key, "1 to 100 printable characters")
        return value

    def names(self, key: str, most: int, *, least: int = 0) -> tuple[str, ...]:
        """A list of at most ``most`` different names."""
        value = self.value.get(key)
        if (
            not isinstance(value, list)
            or not least <= len(value) <= most
            or not all(map(is_name, value))
        ):
            self.refuse(key, f"a list of {least} to {most} names of 1 to 100 printable characters")
        if len(set(value)) != len(value):
            self.refuse(key, "a list without repetitions")
        return tuple(value)


def is_name(value: object) -> TypeGuard[str]:
    """Whether ``value`` is text that may be printed: 1 to 100 characters, no control or direction marks."""
    return isinstance(value, str) and 1 <= len(value) <= 100 and value.isprintable()


def is_number(value: object) -> TypeGuard[float]:
    """Whether ``value`` is a finite JSON number (true and false are none)."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= 1e300
