"""The one exception that stands for a mistake of the user."""

from numbers import Integral, Real

from diffshare.terminal import printable


class UserError(Exception):
    """Something that the user gave does not fit: the command line ends with status 2 and this one line.

    The message names the thing, says what was expected and how to mend it, on one line. An argument stands in
    backticks (```split_seed```), of which the command line makes a flag. What it quotes may be of a
    received file: it is escaped and cut here, for the command line and for whoever calls the library.
    """

    def __init__(self, message: str) -> None:
        super().__init__(printable(" ".join(message.split())))


def one_of(kind: str, name: str, choices: object) -> UserError:
    """A refusal of an unknown name that lists the known ones (at most twelve).

    Args:
        kind: what is named, for instance ``"attribute"``.
        name: what the user wrote.
        choices: an iterable of the names that exist.
    """
    name, names = str(name), sorted(map(str, choices))  # type: ignore[call-overload]
    if alike := [one for one in names if one != name and one.casefold() == name.strip().casefold()]:
        return UserError(f"unknown {kind} '{name}': write '{alike[0]}', names must agree exactly")
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return UserError(f"unknown {kind} '{name}': choose one of {', '.join(names[:12])}{more}")


def reason_of(error: BaseException) -> str:
    """First line of another library's error, or its kind; backticks, which stand for our arguments, become quotes."""
    line = next(iter(str(error).splitlines()), "") or type(error).__name__
    return line.replace("`", "'")


MOST_SEED = 2**32 - 1  # the largest that numpy, scikit-learn and Lightning all take


def check_number(
    name: str, value: int | float | None, least: float, most: float | None = None
) -> None:
    """Refuse a number that is too small or too large.

    Args:
        name: of the argument, which stands in backticks in the message; a key of a config or words do not.
        value: None, where nothing was given, fits.
        least: smallest that fits.
        most: largest that fits; None where all do.

    Raises:
        UserError: names the setting, the number and the bound.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, Real):
        raise UserError(f"{_argument(name)} is {value!r:.60}: give a number")
    if not value >= least:
        raise UserError(f"{_argument(name)} is {value}: it must be at least {least}")
    if most is not None and value > most:
        raise UserError(f"{_argument(name)} is {str(value)[:40]}: it must be at most {most}")


def check_seed(name: str, seed: object) -> None:
    """Refuse what is no seed that all libraries take alike; None, where nothing was given, fits.

    Raises:
        UserError: true or false (some take 0 for true), no whole number, a negative one, or one of more than 32 bits.
    """
    if seed is None or (
        isinstance(seed, Integral) and not isinstance(seed, bool) and 0 <= int(seed) <= MOST_SEED
    ):
        return
    told = str(seed).lower() if isinstance(seed, bool) else str(seed)[:40]
    raise UserError(f"{_argument(name)} is {told}: give a number from 0 to {MOST_SEED}")


def _argument(name: str) -> str:
    return f"`{name}`" if name.isidentifier() else name
