"""Steps run once, in order, in processes of their own; what fails, dies or is stopped is told and redone."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from fake_steps import fake

from diffshare.errors import UserError
from diffshare.study.engine.folder import StudyFolder
from diffshare.study.engine.local import Failure, LocalRunner
from diffshare.study.engine.step import Place, Step, identities, identity


class Heard:
    """A watcher that takes notes."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.done: list[str] = []
        self.failures: list[Failure] = []

    def started(self, name: str) -> None:
        self.begun.append(name)

    def finished(self, name: str, seconds: float) -> None:
        self.done.append(name)

    def failed(self, failure: Failure) -> None:
        self.failures.append(failure)


def go(root: Path, steps: Sequence[Step], *, resume: bool = False, workers: int = 1) -> Heard:
    """Run the steps in ``root``."""
    folder, heard = StudyFolder(root, steps), Heard()
    with folder.opened(resume=resume):
        assert LocalRunner(workers, threads=1).run(folder, heard) == heard.failures
    return heard


def write(name: str, text: str) -> Step:
    return fake(name, "write", out=Place(name, "out.txt"), text=text)


def join(name: str, *needs: str) -> Step:
    return fake(
        name, "join", out=Place(name, "out.txt"), sources=[Place(n, "out.txt") for n in needs]
    )


def left_by(root: Path, name: str) -> str:
    return (root / "steps" / name / "out.txt").read_text()


def test_steps_follow_what_they_need_and_are_not_done_twice(tmp_path):
    steps = [join("c", "a", "b"), write("a", "A"), write("b", "B")]
    heard = go(tmp_path / "s", steps)
    assert left_by(tmp_path / "s", "c") == "AB"
    assert sorted(heard.done) == ["a", "b", "c"]
    assert heard.done[-1] == "c"
    again = go(tmp_path / "s", [*steps, join("d", "c", "a")], resume=True)  # a grid may grow
    assert again.begun == ["d"]
    assert left_by(tmp_path / "s", "d") == "ABA"
    record = json.loads((tmp_path / "s" / "steps" / "c" / "step.json").read_text())
    assert record["identity"] == identity(identities(steps)["c"])
    assert record["threads"] == 1
    assert record["seconds"] >= 0


def test_what_was_half_done_is_done_again_from_nothing(tmp_path):
    go(tmp_path / "s", [write("a", "A")])
    folder = tmp_path / "s" / "steps" / "a"
    (folder / "step.json").unlink()
    (folder / "stray.txt").write_text("half")
    go(tmp_path / "s", [write("a", "A")], resume=True)
    # the step appends: a folder that was kept would have AA
    assert left_by(tmp_path / "s", "a") == "A"
    assert not (folder / "stray.txt").exists()


@pytest.mark.parametrize(("state", "expected"), [("out.txt", "AA"), ("missing.txt", "A")])
def test_a_step_that_can_is_gone_on_with(tmp_path, state, expected):
    step = fake("a", "write", out=Place("a", "out.txt"), text="A", more={"resume_if": state})
    go(tmp_path / "s", [step])
    (tmp_path / "s" / "steps" / "a" / "step.json").unlink()
    go(tmp_path / "s", [step], resume=True)
    assert left_by(tmp_path / "s", "a") == expected


def test_a_failure_is_named_and_the_others_go_on(tmp_path):
    steps = [
        fake("bad", "fail", out=Place("bad", "out.txt")),
        join("after", "bad"),
        fake("left", "leave", status=2),
        fake("died", "die"),
        fake("fault", "fault"),
        write("good", "G"),
    ]
    heard = go(tmp_path / "s", steps)
    reasons = {f.step: f.reason for f in heard.failures}
    assert reasons["bad"] == "no such thing: mend it"
    assert reasons["left"] == "told you so"
    assert "killed (signal 9)" in reasons["died"]
    assert reasons["fault"] == "ValueError: a fault of the program"
    assert heard.done == ["good"]
    assert "first line" in (tmp_path / "s" / "steps" / "bad" / "log.txt").read_text()
    assert heard.failures[0].log == tmp_path / "s" / "steps" / "bad" / "log.txt"
    assert sorted(go(tmp_path / "s", steps, resume=True).begun) == ["bad", "died", "fault", "left"]


def test_workers_are_processes_with_their_share_of_threads(tmp_path):
    steps = [fake(name, "threads", out=Place(name, "out.txt")) for name in "abcd"]
    go(tmp_path / "s", steps, workers=2)
    replies = [left_by(tmp_path / "s", name).split() for name in "abcd"]
    assert {threads for threads, _ in replies} == {"1"}
    assert 1 <= len({process for _, process in replies}) <= 2  # long-lived: never one a step


def test_an_interrupt_reaches_the_steps_and_nothing_half_done_counts(tmp_path):
    steps = [write("a", "A"), fake("slow", "wait", out=Place("slow", "out.txt"))]

    def interrupt() -> None:
        while not (tmp_path / "s" / "steps" / "slow" / "out.txt").exists():
            time.sleep(0.02)
        signal.pthread_kill(main, signal.SIGINT)

    main = threading.main_thread().ident
    assert main is not None
    thread = threading.Thread(target=interrupt, daemon=True)
    # a shell's background jobs ignore it
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            go(tmp_path / "s", steps)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert (tmp_path / "s" / "steps" / "a" / "step.json").is_file()
    assert not (tmp_path / "s" / "steps" / "slow" / "step.json").exists()
    assert go(tmp_path / "s", [steps[0], write("b", "B")], resume=True).begun == ["b"]


# --- what a step is ------------------------------------------------------------------------------------------------


def test_identity_is_what_changes_the_outcome(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("a: 1")

    def of(function: str = "m:f", name: str = "x", **more: object) -> str:
        arguments = {
            "config": [str(config)],
            "data.num_workers": 0,
            "nested": {"batch_size": 8},
        } | more
        return identity(identities([Step(name, function, arguments)])[name])

    base = of()
    assert of(**{"data.num_workers": 2, "device": "cuda"}) == base  # speed alone
    assert of(name="other") == base
    changes = ({"data.seed": 2}, {"nested": {"batch_size": 9}}, {"function": "m:g"}, {"config": []})
    others = [of(**change) for change in changes]
    config.write_text("a: 2")
    assert len({base, *others, of()}) == 6


def test_places_count_at_any_depth_and_become_paths(tmp_path):
    inner = {"out": Place("a", "b.txt"), "each": [{"x": Place("b", "c")}, (Place("d"), 1)]}
    step = Step("a", "m:f", inner, after=("e",))
    assert step.needs == ("b", "d", "e")
    folder = StudyFolder(tmp_path, [step, *(write(name, "") for name in "bde")])
    root = tmp_path / "steps"
    job = folder.begin("a")
    assert job.arguments == {
        "out": root / "a" / "b.txt",
        "each": [{"x": root / "b" / "c"}, [root / "d", 1]],
    }
    assert job.function == "m:f"


def test_an_object_among_the_arguments_is_refused():
    with pytest.raises(
        UserError, match="an argument of a step is the object .*Path.*: name a class as text"
    ):
        identities([Step("a", "m:f", {"x": {"y": [Path()]}})])


@pytest.mark.parametrize(
    ("steps", "words"),
    [
        ([write("a", "A"), write("a", "B")], "two steps of the study are called 'a'"),
        ([join("a", "b")], "needs 'b', which the study has not"),
        ([join("a", "b"), join("b", "a")], "needs b, which needs it in turn"),
    ],
)
def test_steps_that_make_no_order(steps, words):
    with pytest.raises(UserError, match=words):
        identities(steps)


@pytest.mark.parametrize(
    ("after", "words"),
    [
        ([write("a", "B"), join("b", "a")], "in step 'a' text was A, is now B"),
        (
            [fake("a", "write", out=Place("a", "out.txt"), text="A", n=1), join("b", "a")],
            r"n \(1\) was added",
        ),
        (
            [write("a", "A"), write("c", "C"), join("b", "c")],
            "in step 'b' sources.0 was .*a.*, is now .*c",
        ),
        (
            [fake("a", "threads", out=Place("a", "out.txt")), join("b", "a")],
            "was fake_steps:write, is now .*threads",
        ),
    ],
)
def test_another_configuration_is_refused_by_name(tmp_path, after, words):
    go(tmp_path / "s", [write("a", "A"), join("b", "a")])
    with pytest.raises(UserError, match=words):
        go(tmp_path / "s", after, resume=True)
    assert left_by(tmp_path / "s", "b") == "A"


def test_a_step_that_builds_on_a_changed_one_is_changed():
    def chain(value: int) -> dict[str, str]:
        first = Step("first", "m:f", {"x": value})
        second = Step("second", "m:f", {"of": Place("first", "out")})
        third = Step("third", "m:f", {}, after=("second",))
        apart = Step("apart", "m:f", {})
        definitions = identities([first, second, third, apart])
        return {name: identity(definition) for name, definition in definitions.items()}

    before, after = chain(1), chain(2)
    assert [name for name in before if before[name] != after[name]] == ["first", "second", "third"]


def test_a_changed_config_file_is_named(tmp_path):
    config = tmp_path / "base.yaml"
    config.write_text("a: 1")
    steps = [fake("a", "write", out=Place("a", "out.txt"), text="A", config=[str(config)])]
    go(tmp_path / "s", steps)
    config.write_text("a: 2")
    with pytest.raises(UserError, match="the content of .*base.yaml has changed"):
        go(tmp_path / "s", steps, resume=True)


def test_a_step_of_an_earlier_version_is_not_gone_on_with(tmp_path):
    go(tmp_path / "s", [write("a", "A")])
    path = tmp_path / "s" / "steps" / "a" / "step.json"
    record = json.loads(path.read_text())
    record["definition"] = {"run": "m:f", "commands": [["write"]], "files": {}, "needs": {}}
    path.write_text(json.dumps(record))
    with pytest.raises(
        UserError,
        match="in step 'a' the step is written down as an earlier version of diffshare did",
    ):
        go(tmp_path / "s", [write("a", "A")], resume=True)


def test_folders_that_cannot_be_used(tmp_path):
    go(tmp_path / "s", [write("a", "A")])
    with pytest.raises(UserError, match="holds a study already: add `resume`"):
        go(tmp_path / "s", [write("a", "A")])
    with pytest.raises(UserError, match="there is no study to go on with"):
        go(tmp_path / "t", [write("a", "A")], resume=True)
    (tmp_path / "u").mkdir()
    (tmp_path / "u" / "thesis.txt").write_text("x")
    with pytest.raises(UserError, match="already holds something"):
        go(tmp_path / "u", [write("a", "A")])
    folder = StudyFolder(tmp_path / "s", [write("a", "A")])
    who = f"process {os.getpid()} on {socket.gethostname()}"
    with (
        folder.opened(resume=True),
        pytest.raises(UserError, match=rf"another study works in .*/s \({who}\): wait"),
    ):
        go(tmp_path / "s", [write("a", "A")], resume=True)


def test_a_folder_of_steps_that_no_study_began_is_kept(tmp_path):
    (tmp_path / "steps" / "a").mkdir(parents=True)
    (tmp_path / "steps" / "a" / "thesis.txt").write_text("mine")
    with pytest.raises(
        UserError, match="steps/a holds what no study wrote: move it away, or choose another `out`"
    ):
        go(tmp_path, [write("a", "A")], resume=True)
    assert (tmp_path / "steps" / "a" / "thesis.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "words"), [((0,), "`workers` is 0"), ((1, 0), "`threads` is 0")]
)
def test_a_runner_needs_workers_and_threads(arguments, words):
    with pytest.raises(UserError, match=words):
        LocalRunner(*arguments)
