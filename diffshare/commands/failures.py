"""Turns what went wrong into one line for a person, where it is a mistake that the person can mend."""

import errno
import re

from diffshare.errors import UserError


def explain(error: BaseException) -> str | None:
    """One line that says what was wrong and how to mend it; None for a fault of the program itself."""
    from jsonargparse import ArgumentError
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    for cause in _chain(error):
        if isinstance(cause, UserError):
            return _one_line(str(cause))
    if isinstance(error, ArgumentError):
        return _parser_message(str(error))
    if isinstance(error, MisconfigurationException):
        return _one_line(str(error))
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.ENOENT):
        return f"{error.filename or 'a file'}: {error.strerror}; choose a place that exists, is writable and has room"
    return None


def _chain(error: BaseException | None) -> list[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _one_line(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()


def _parser_message(text: str) -> str:
    """The innermost reason of jsonargparse's nested messages, with the key that it belongs to."""
    lines = [line.strip(" -") for line in text.splitlines() if line.strip(" -")]
    if len(lines) <= 1:
        return _one_line(text)
    head = lines[0].rstrip(":")
    reasons = [line for line in lines[1:] if not line.startswith(("Problem", "Given value", "Subtypes", "Does not"))]
    return _one_line(f"{head}: {(reasons or lines[1:])[-1]}")
