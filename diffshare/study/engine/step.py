"""A step of a study: one piece of work with a folder of its own, and what makes it the same piece of work."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffshare.errors import UserError
from diffshare.storage import sha256_file

# Words, each with one value, that change how a step is carried out but not what comes out of it.
VOLATILE = ("--data.num_workers", "--data.cache_dir", "--trainer.enable_progress_bar", "--batch-size", "--device")
TRUSTED = "--trust-code"  # the study itself made the run that it goes on with: no part of what a step is


@dataclass(frozen=True)
class Place:
    """A file or folder that a step leaves, relative to the step's folder.

    As a word of another step's command it also says that the other step needs this one.
    """

    step: str
    path: str = ""

    def __str__(self) -> str:
        return f"{{{self.step}}}/{self.path}"


Word = str | Place
Command = tuple[Word, ...]


@dataclass(frozen=True)
class Step:
    """One piece of work.

    Attributes:
        name: of the step and its folder; unique in a study.
        commands: run in turn, each a list of words for ``run``; the first that does not return 0 fails the step.
        run: ``module:function`` that takes a list of words and returns an exit status; the command line by default.
        resume: commands that go on with a half-done step, instead of ``commands``.
        resume_if: file in the step's folder that has to be there for ``resume``; without it the step starts again.
        after: steps that have to succeed first although no place of theirs is used.
    """

    name: str
    commands: tuple[Command, ...]
    run: str = "diffshare.cli:main"
    resume: tuple[Command, ...] = ()
    resume_if: str = ""
    after: tuple[str, ...] = ()

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the steps whose places stand in the commands, and of those in ``after``, each once, in order."""
        places = [w.step for command in self.commands for w in command if isinstance(w, Place)]
        return tuple(dict.fromkeys(name for name in (*places, *self.after) if name != self.name))

    def definition(self, needs: Mapping[str, str]) -> dict[str, Any]:
        """What the step is: its function, its words without volatile ones, its config files and what it builds on.

        Args:
            needs: identity of each step that this one needs.

        Raises:
            UserError: a config file cannot be read.
        """
        commands = [[str(word) for word in _lasting(command)] for command in self.commands]
        files = sorted({str(w) for command in self.commands for w in command if _is_config(w)})
        return {
            "run": self.run,
            "commands": commands,
            "files": {name: _sha256(name) for name in files},
            "needs": {name: needs[name] for name in self.needs},
        }


def mix_and_fit(name: str, mix: Sequence[str], fit: Sequence[str]) -> tuple[Step, Step]:
    """Choose a training set, then train and release a generator on it; the training resumes where it stopped.

    Args:
        name: of the training set; the steps are called ``mix-NAME`` and ``fit-NAME``.
        mix: words after ``mix``.
        fit: words after ``fit``.
    """
    chosen, run = f"mix-{name}", Place(f"fit-{name}", "run")
    train: Command = ("fit", *fit, "--trainer.enable_progress_bar", "false", "--run-dir", run)
    return (
        Step(chosen, (("mix", *mix, "--out", Place(chosen, "mix")),)),
        Step(
            run.step,
            (train,),
            resume=(("fit", "--run-dir", run, "--resume", TRUSTED),),
            resume_if="run/checkpoints/last.ckpt",
            after=(chosen,),  # which fails in seconds where the mix cannot be had
        ),
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
            raise UserError(f"two steps of the study are called '{step.name}': give each cell of the grid once")
        by_name[step.name] = step
    found: dict[str, dict[str, Any]] = {}
    left = dict(by_name)
    while left:
        ready = [step for step in left.values() if all(name in found for name in step.needs)]
        if not ready:
            step = next(iter(left.values()))
            missing = next((name for name in step.needs if name not in by_name), None)
            reason = f"'{missing}', which the study has not" if missing else f"{step.needs[0]}, which needs it in turn"
            raise UserError(f"the step '{step.name}' needs {reason}: mend the study's steps()")
        for step in ready:
            found[step.name] = step.definition({name: identity(found[name]) for name in step.needs})
            del left[step.name]
    return found


def difference(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The first thing, in words, in which two definitions of a step differ."""
    for name in sorted(before["files"].keys() | now["files"].keys()):
        old, new = before["files"].get(name), now["files"].get(name)
        if old and new and old != new:
            return f"the content of {name} has changed"
    words = [[w for command in side["commands"] for w in command] for side in (before, now)]
    for i, (old, new) in enumerate(zip(*words, strict=False)):
        if old != new:
            option = words[1][i - 1] if i and words[1][i - 1].startswith("--") else ""
            return f"{option or 'a word'} was {_short(old)}, is now {_short(new)}"
    if words[0] != words[1]:
        longer = max(words, key=len)
        rest = " ".join(_short(w) for w in longer[min(map(len, words)) :][:2])
        return f"'{rest}' was {'taken out' if len(words[0]) > len(words[1]) else 'added'}"
    if before["run"] != now["run"]:
        return f"it was run by {before['run']}, is now by {now['run']}"
    changed = [name for name in now["needs"] if before["needs"].get(name) != now["needs"][name]]
    return f"it builds on '{changed[0]}', which has changed" if changed else "it builds on other steps"


def _lasting(command: Command) -> list[Word]:
    kept: list[Word] = []
    skip = False
    for word in command:
        if skip:
            skip = False
        elif word in VOLATILE:
            skip = True
        elif word != TRUSTED:
            kept.append(word)
    return kept


def _is_config(word: Word) -> bool:
    return isinstance(word, str) and word.endswith((".yaml", ".yml")) and Path(word).is_file()


def _sha256(name: str) -> str:
    try:
        return sha256_file(Path(name))
    except OSError as error:
        raise UserError(f"cannot read {name}: {error.strerror}; make it readable") from error


def _short(word: str) -> str:
    return word if len(word) <= 160 else f"{word[:157]}..."
