"""The one exception that stands for a mistake of the user."""

from diffshare.terminal import printable


class UserError(Exception):
    """Something that the user gave does not fit: the command line ends with status 2 and this one line.

    The message names the thing, says what was expected and how to mend it, on one line. What it quotes may be of a
    received file: it is escaped and cut here, for the command line and for whoever calls the library.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(message.split())))


def one_of(kind: str, name: str, known: object) -> UserError:
    """A refusal of an unknown name that lists the known ones (at most twelve).

    Args:
        kind: what is named, for instance ``"attribute"``.
        name: what the user wrote.
        known: an iterable of the names that exist.
    """
    names = sorted(map(str, known))  # type: ignore[call-overload]
    if alike := [one for one in names if one != name and one.casefold() == name.strip().casefold()]:
        return UserError(f"unknown {kind} '{name}': write '{alike[0]}', names must agree exactly")
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return UserError(f"unknown {kind} '{name}': choose one of {', '.join(names[:12])}{more}")
