"""What the arguments of a study must be. Each check looks at arguments by their names in the YAML and names them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from diffshare.errors import UserError


def argument(study: Any, name: str) -> Any:
    """An argument of a study by its dotted name, such as ``readers.folds`` or, of a mapping, ``models.ddpm.n``."""
    value = study
    for part in name.split("."):
        value = value[part] if isinstance(value, Mapping) else getattr(value, part)
    return value


def check_axes(study: Any, *names: str) -> None:
    """Refuse axes of a grid that are empty or have a value twice.

    Raises:
        UserError: names the axis and the value.
    """
    for name in names:
        values = list(argument(study, name))
        if not values:
            raise UserError(f"study.{name} is empty: the grid needs at least one value")
        if twice := [value for i, value in enumerate(values) if value in values[:i]]:
            raise UserError(f"study.{name} has {twice[0]} twice: give each value once")


def check_least(study: Any, least: Mapping[str, float]) -> None:
    """Refuse numbers, alone or in a list, that are below the least.

    Raises:
        UserError: names the argument and the number.
    """
    for name, bound in least.items():
        value = argument(study, name)
        several = isinstance(value, Sequence)
        if low := [number for number in (value if several else [value]) if number < bound]:
            raise UserError(
                f"study.{name} {'has' if several else 'is'} {low[0]}: it must be at least {bound}"
            )


def check_shares(study: Any, *names: str) -> None:
    """Refuse lists with a share outside [0, 1]."""
    for name in names:
        if outside := [share for share in argument(study, name) if not 0 <= share <= 1]:
            raise UserError(f"study.{name} has {outside[0]}: a share lies in [0, 1]")


def check_between(study: Any, *names: str) -> None:
    """Refuse a level, or another probability, that is not between 0 and 1."""
    for name in names:
        if not 0 < (value := argument(study, name)) < 1:
            raise UserError(f"study.{name} is {value}: it lies between 0 and 1, both excluded")


def check_names(
    where: str, names: Iterable[str], dashes: str = "-", taken: Mapping[str, str] | None = None
) -> None:
    """Refuse names that make no folder, or stand for something else.

    Args:
        where: the argument, for messages.
        names: in it.
        dashes: that a name may have.
        taken: names that stand for something, and for what.
    """
    taken = taken or {}
    for name in names:
        if name in taken:
            raise UserError(
                f"{where} has '{name}', which stands for {taken[name]}: name it otherwise"
            )
        if not name.replace("_", "").replace(dashes or "_", "").isalnum():
            letters = f"letters, digits{', -' if dashes else ''} and _"
            raise UserError(f"{where} has '{name}': a name has {letters}, it becomes a folder")
