"""A step of a study: a function with its arguments, and what makes it the same piece of work."""

import hashlib
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from diffshare.errors import UserError
from diffshare.packaged import SUFFIXES, located, packaged
from diffshare.storage import as_path, sha256_file

# Arguments that change how fast a step is, but not what comes out of it.
VOLATILE = (
    "data.num_workers",
    "data.cache_dir",
    "trainer.enable_progress_bar",
    "batch_size",
    "device",
)


@dataclass(frozen=True)
class Place:
    """A file or folder that a step leaves, relative to the step's folder.

    As an argument of another step it also says that the other step needs this one.
    """

    step: str
    path: str = ""

    def __str__(self) -> str:
        return f"{{{self.step}}}/{self.path}"


@dataclass(frozen=True)
class Step:
    """One piece of work: a call of a function.

    Attributes:
        name: of the step and its folder; unique in a study.
        function: ``module:function``; it is called in another process, by the arguments' names.
        arguments: JSON values, with places among them at any depth, which the function gets as paths.
        resume_if: file in the step's folder with which a half-done step is called again as it
            stands; without it the step starts again from nothing.
        after: steps that have to succeed first although no place of theirs is used.
    """

    name: str
    function: str
    arguments: Mapping[str, Any]
    resume_if: str = ""
    after: tuple[str, ...] = ()

    @classmethod
    def leaving(cls, out: Place, function: str, **arguments: Any) -> "Step":
        """The step whose folder a place is in; the function gets the place as its argument ``out``."""
        return cls(out.step, function, {"out": out, **arguments})

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the steps whose places are used, and of those in ``after``, each once, in order."""
        names = [leaf.step for leaf in leaves(self.arguments) if isinstance(leaf, Place)]
        return tuple(dict.fromkeys(name for name in (*names, *self.after) if name != self.name))

    def definition(self, needs: Mapping[str, str]) -> dict[str, Any]:
        """What the step is: its function, its lasting arguments, its config files and what it builds on.

        Args:
            needs: identity of each step that this one needs.

        Raises:
            UserError: an argument is no JSON value, or a config file cannot be read.
        """
        lasting = {name: value for name, value in self.arguments.items() if name not in VOLATILE}
        files = sorted({leaf for leaf in leaves(lasting) if _is_config(leaf)})
        return {
            "function": self.function,
            "arguments": _plain(with_places(lasting, str)),
            "files": {name: _sha256(name) for name in files},
            "needs": {name: needs[name] for name in self.needs},
        }


def function_of(name: str) -> Callable[..., Any]:
    """The function that ``module:function`` names."""
    module, _, function = name.partition(":")
    call: Callable[..., Any] = getattr(importlib.import_module(module), function)
    return call


def leaves(value: Any) -> Iterator[Any]:
    """The values in mappings and lists, at any depth."""
    if isinstance(value, Mapping | list | tuple):
        for child in value.values() if isinstance(value, Mapping) else value:
            yield from leaves(child)
    else:
        yield value


def with_places(value: Any, change: Callable[[Place], Any]) -> Any:
    """The value with each place in it, at any depth, changed."""
    if isinstance(value, Place):
        return change(value)
    if isinstance(value, Mapping):
        return {key: with_places(child, change) for key, child in value.items()}
    return (
        [with_places(child, change) for child in value]
        if isinstance(value, list | tuple)
        else value
    )


def identity(definition: Mapping[str, Any]) -> str:
    """SHA-256 of a step's definition: equal where equal work was asked for."""
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()


def identities(steps: Sequence[Step]) -> dict[str, dict[str, Any]]:
    """The definition of each step by its name, in an order in which a step follows what it needs.

    Raises:
        UserError: two steps have one name; one needs a step that is not there, or itself by way of others.
    """
    by_name: dict[str, Step] = {}
    for step in steps:
        if step.name in by_name:
            raise UserError(
                f"two steps of the study are called '{step.name}': give each cell of the grid once"
            )
        by_name[step.name] = step
    definitions: dict[str, dict[str, Any]] = {}
    left = dict(by_name)
    while left:
        ready = [step for step in left.values() if all(name in definitions for name in step.needs)]
        if not ready:
            step = next(iter(left.values()))
            missing = next((name for name in step.needs if name not in by_name), None)
            reason = (
                f"'{missing}', which the study has not"
                if missing
                else f"{step.needs[0]}, which needs it in turn"
            )
            raise UserError(f"the step '{step.name}' needs {reason}: mend the study's steps()")
        for step in ready:
            definitions[step.name] = step.definition(
                {name: identity(definitions[name]) for name in step.needs}
            )
            del left[step.name]
    return definitions


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first thing, in words, in which two definitions of a step differ."""
    if "arguments" not in before:
        return "the step is written down as an earlier version of diffshare did it"
    for name in sorted(before["files"].keys() & now["files"].keys()):
        if before["files"][name] != now["files"][name]:
            return f"the content of {name} has changed"
    if before["function"] != now["function"]:
        return f"the function was {before['function']}, is now {now['function']}"
    if change := next(_changes(before["arguments"], now["arguments"], ""), None):
        return change
    changed = [name for name in now["needs"] if before["needs"].get(name) != now["needs"][name]]
    return (
        f"it builds on '{changed[0]}', which has changed" if changed else "it builds on other steps"
    )


def _changes(old: Any, new: Any, name: str) -> Iterator[str]:
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            inner = f"{name}.{key}" if name else key
            if key in old and key in new:
                yield from _changes(old[key], new[key], inner)
            else:
                value = old[key] if key in old else new[key]
                yield f"{inner} ({_short(value)}) was {'taken out' if key in old else 'added'}"
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (before, now) in enumerate(zip(old, new, strict=True)):
            yield from _changes(before, now, f"{name}.{i}")
    elif old != new:
        yield f"{name} was {_short(old)}, is now {_short(new)}"


def _plain(arguments: Any) -> Any:
    """The arguments as JSON has them."""
    for leaf in leaves(arguments):
        if not isinstance(leaf, str | int | float | None):
            raise UserError(
                f"an argument of a step is the object {type(leaf).__name__}: name a class as text, "
                '\'{"model.network": "diffshare.nets.classifiers.LeNet"}\', or in a config file of its own'
            )
    return json.loads(json.dumps(arguments))


def _is_config(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    return packaged(value) is not None or (value.endswith(SUFFIXES) and as_path(value).is_file())


def _sha256(name: str) -> str:
    try:
        return sha256_file(located(name))
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror}; make it readable") from error


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 160 else f"{text[:157]}..."
