"""The configuration of a part, as diffusers saves it, bounded before anything is built from it."""

import inspect
from collections.abc import Mapping
from typing import Any, NoReturn

from diffshare.errors import UserError
from diffshare.received import is_name, is_number, parse_json, shown
from diffshare.release.folder import MAX_JSON, Release

MAX_INTEGER = 8192  # of every integer that has no bound of its own: channels, sizes, groups
MAX_FLOAT = 1e6  # magnitude
MAX_LIST = 16  # entries, and as many in a list within a list
BOUNDS = {
    "layers_per_block": 32,
    "num_layers": 64,
    "num_class_embeds": 10_001,
    "num_train_timesteps": 10_000,
}
# what diffusers adds; none of it reaches a class
_PRIVATE = {
    "_class_name",
    "_diffusers_version",
    "_name_or_path",
}


def read_config(release: Release, file: str) -> tuple[str, dict[str, Any]]:
    """The class name and the arguments in a configuration of a release, unchecked but for JSON's own form.

    Raises:
        UserError: no such file, larger than 1 MiB, not JSON, or it names no class.
    """
    value = parse_json(release.read(file, MAX_JSON), f"{release.folder / file}", infinite=True)
    if not isinstance(value, dict) or not is_name(value.get("_class_name")):
        raise UserError(
            f"{release.folder / file} names no class: it is no configuration that diffusers saved"
        )
    return value["_class_name"], {key: v for key, v in value.items() if key not in _PRIVATE}


def check_settings(part: Any, where: str) -> None:
    """Refuse, before a training, settings of a part that no receiver would open.

    Args:
        part: a network or scheduler in diffusers' manner, with a ``config``.
        where: its name for the message.

    Raises:
        UserError: as :func:`check_arguments`.
    """
    settings = set(inspect.signature(type(part)).parameters)
    arguments = {key: _as_json(value) for key, value in part.config.items() if key in settings}
    check_arguments(type(part), arguments, where)


def _as_json(value: Any) -> Any:
    return [_as_json(entry) for entry in value] if isinstance(value, list | tuple) else value


def check_arguments(kind: type, arguments: Mapping[str, Any], where: str) -> None:
    """Refuse arguments that ``kind`` does not declare, and values that are too large to build anything from.

    Integers lie in 0..8192 or the key's own bound, floats within a million, lists hold at most 16 values and lists of
    at most 16 values, text is printable and at most 100 characters long; nothing is an object. Keys of schedulers
    differ: ``trained_betas`` holds up to 10,000 numbers in (0, 1], those that ``kind.long_lists`` names as many of any
    size, and ``lambda_min_clipped`` may be -Infinity; ``beta_start`` and ``beta_end`` lie in (0, 1).

    Raises:
        UserError: names the file, the key and what was expected.
    """
    settings = set(inspect.signature(kind).parameters) - {"kwargs"}
    for key, value in arguments.items():
        if key not in settings:
            raise UserError(
                f"{where}: refused the key {shown(key)}: {kind.__name__} does not know it, and nothing but its own"
                " settings may stand there; ask for a release that the installed diffusers reads"
            )
        _check_value(key, value, where, key in getattr(kind, "long_lists", ()))


def _check_value(key: str, value: Any, where: str, long: bool) -> None:
    def refuse(expected: str) -> NoReturn:
        raise UserError(f"{where}: '{key}' must be {expected}, not {shown(value)}")

    if key == "trained_betas" and value is not None:
        most = BOUNDS["num_train_timesteps"]
        if (
            not isinstance(value, list)
            or len(value) > most
            or not all(is_number(v) and 0 < v <= 1 for v in value)
        ):
            refuse("at most 10000 numbers above 0 and at most 1")
    elif long and isinstance(value, list):
        if len(value) > BOUNDS["num_train_timesteps"] or not all(
            is_number(v) and abs(v) <= MAX_FLOAT for v in value
        ):
            refuse(f"at most {BOUNDS['num_train_timesteps']} numbers within {MAX_FLOAT:.0e}")
    elif key in ("beta_start", "beta_end"):
        if type(value) is not float or not 0 < value < 1:
            refuse("a number between 0 and 1")
    elif isinstance(value, list):
        flat = [
            v
            for entry in value[: MAX_LIST + 1]
            for v in (entry if isinstance(entry, list) else [entry])
        ]
        if max(len(value), *(len(v) for v in value if isinstance(v, list)), 0) > MAX_LIST:
            refuse(f"a list of at most {MAX_LIST} values")
        if not all(_is_plain(key, v) for v in flat):
            refuse(f"a list of plain values ({_plain(key)})")
    elif not _is_plain(key, value) and not (key == "lambda_min_clipped" and value == float("-inf")):
        refuse(f"a plain value ({_plain(key)})")


def _is_plain(key: str, value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return True
    if type(value) is int:
        return 0 <= value <= BOUNDS.get(key, MAX_INTEGER)
    if type(value) is float:
        return abs(value) <= MAX_FLOAT
    return is_name(value)


def _plain(key: str) -> str:
    return f"an integer from 0 to {BOUNDS.get(key, MAX_INTEGER)}, a number within {MAX_FLOAT:.0e}, a short text or null"
