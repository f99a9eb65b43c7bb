"""The one exception that stands for a mistake of the user."""


class UserError(Exception):
    """Something that the user gave does not fit: the command line ends with status 2 and this one line.

    The message names the thing, says what was expected and how to mend it, on one line.
    """


def one_of(kind: str, name: str, known: object) -> UserError:
    """A refusal of an unknown name that lists the known ones (at most twelve).

    Args:
        kind: what is named, for instance ``"attribute"``.
        name: what the user wrote.
        known: an iterable of the names that exist.
    """
    names = sorted(map(str, known))  # type: ignore[call-overload]
    more = f" and {len(names) - 12} more" if len(names) > 12 else ""
    return UserError(f"unknown {kind} '{name}': choose one of {', '.join(names[:12])}{more}")


MOST_SEED = 2**32 - 1  # the largest that numpy, scikit-learn and Lightning all take


def check_number(name: str, value: int | float | None, least: float, most: float | None = None) -> None:
    """Refuse a number that is too small or too large.

    Args:
        name: of the setting.
        value: None, where nothing was given, fits.
        least: smallest that fits.
        most: largest that fits; None where all do.

    Raises:
        UserError: names the setting, the number and the bound.
    """
    if value is None:
        return
    if not value >= least:
        raise UserError(f"{name} is {value}: it must be at least {least}")
    if most is not None and value > most:
        raise UserError(f"{name} is {str(value)[:40]}: it must be at most {most}")


def check_seed(name: str, seed: int | None) -> None:
    """Refuse a seed that is negative or larger than the libraries take."""
    check_number(name, seed, 0, MOST_SEED)
