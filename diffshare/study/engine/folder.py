"""The folder of a study on disk: which steps are done, which were begun, and that nothing else works in it."""

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffshare.claim import claim
from diffshare.errors import UserError
from diffshare.storage import check_new_folder, read_json, write_json
from diffshare.study.engine.step import Place, Step, difference, identities, identity, with_places


@dataclass(frozen=True)
class Job:
    """What a worker is asked to do: a step with its places filled in.

    Attributes:
        name: of the step.
        function: ``module:function``.
        arguments: by name; JSON values and paths.
        log: file that takes the output; it is appended to.
    """

    name: str
    function: str
    arguments: Mapping[str, Any]
    log: Path


class StudyFolder:
    """``steps/NAME/`` for each step, with ``begun.json``, ``log.txt``, what the step leaves, and last ``step.json``.

    A step counts as done when its ``step.json`` is there, which is written last and atomically.

    Args:
        root: the study's folder.
        steps: all steps of the study.
    """

    def __init__(self, root: Path, steps: Sequence[Step]) -> None:
        self.root = root
        self.steps = {step.name: step for step in steps}
        self.definitions = identities(steps)

    def at(self, place: Place) -> Path:
        """The path of a place."""
        return self.root / "steps" / place.step / place.path

    @contextlib.contextmanager
    def opened(self, *, resume: bool) -> Iterator[None]:
        """Hold the folder for this process alone.

        Raises:
            UserError: the folder holds something and ``resume`` is False; there is nothing to resume; another study
                works in it; a step in it was made by another configuration.
        """
        if not resume:
            self._check_new()
        elif not (self.root / "steps").is_dir():
            raise UserError(
                f"there is no study to go on with in {self.root}: leave `resume` out, or mend `out`"
            )
        busy = (
            f"another study works in {self.root} ({{holder}}): wait for it, or choose another `out`"
        )
        with claim(self.root, busy):
            (self.root / "steps").mkdir(exist_ok=True)
            self._check_same()
            yield

    def _check_new(self) -> None:
        if (self.root / "steps").is_dir():
            raise UserError(
                f"{self.root} holds a study already: add `resume` to go on with it, or choose another `out`"
            )
        check_new_folder(self.root)

    def _check_same(self) -> None:
        """Refuse to go on with steps that were made, or begun, in another way: their results would be mixed."""
        for name, now in self.definitions.items():
            for file in ("step.json", "begun.json"):
                path = self.at(Place(name, file))
                if not path.is_file():
                    continue
                before = read_json(path)["definition"]
                if identity(before) != identity(now):
                    raise UserError(
                        f"{self.root} was started with another configuration: in step '{name}' "
                        f"{difference(before, now)}; put it back to go on, or start a new study with another `out`"
                    )

    def is_done(self, name: str) -> bool:
        """Whether the step is finished."""
        return self.at(Place(name, "step.json")).is_file()

    def seconds(self) -> dict[str, float]:
        """Seconds that each finished step took, by its name."""
        done = [name for name in self.definitions if self.is_done(name)]
        return {name: read_json(self.at(Place(name, "step.json")))["seconds"] for name in done}

    def begin(self, name: str) -> Job:
        """Make the step's folder ready: afresh, unless a half-done step can be gone on with."""
        step, folder = self.steps[name], self.at(Place(name))
        stands = (
            step.resume_if
            and (folder / step.resume_if).is_file()
            and (folder / "begun.json").is_file()
        )
        if not stands:
            self._clear(folder)  # half-written: not trusted
            folder.mkdir(parents=True)
            write_json(folder / "begun.json", {"definition": self.definitions[name]})
        return Job(name, step.function, with_places(step.arguments, self.at), folder / "log.txt")

    def _clear(self, folder: Path) -> None:
        """Delete what a step has begun, which begins by saying what it is."""
        if folder.is_dir() and any(folder.glob("[!.]*")) and not (folder / "begun.json").is_file():
            raise UserError(
                f"{folder} holds what no study wrote: move it away, or choose another `out`"
            )
        shutil.rmtree(folder, ignore_errors=True)

    def finish(self, name: str, seconds: float, record: Mapping[str, Any]) -> None:
        """Say that the step is done; nothing of it is written after this."""
        definition = self.definitions[name]
        content = {
            "identity": identity(definition),
            "seconds": round(seconds, 2),
            **record,
            "definition": definition,
        }
        write_json(self.at(Place(name, "step.json")), content)
