"""Long work says how far it is where there is no terminal: an estimate early on, then one line a minute."""

import io
import re
import sys
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from diffshare import progress as told
from diffshare.commands import progress as module
from diffshare.commands.progress import EVERY, Shown, duration
from diffshare.progress import counting, progress


class Stamped(io.StringIO):
    """Calls back for each line."""

    def __init__(self, called: Callable[[], None]) -> None:
        super().__init__()
        self.called = called

    def write(self, text: str) -> int:
        if text.strip():
            self.called()
        return super().write(text)


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(module, "time", made)
    monkeypatch.setattr(told, "time", made)
    monkeypatch.setattr(told, "_display", Shown())
    return made


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    return lambda: capsys.readouterr().out.splitlines()


def work(clock: Clock, items: int, seconds: float, title: str = "training") -> Iterator[int]:
    for item in progress(range(items), title):
        clock.now += seconds
        yield item


def test_the_items_come_as_they_are(clock):
    assert list(progress(iter("abc"), "x", 3)) == list("abc")
    assert list(progress([], "x")) == []


@pytest.mark.parametrize(("items", "seconds"), [(1, 5), (20, 0.9), (3, 4)])
def test_what_is_soon_done_says_nothing(clock, lines, items, seconds):
    list(work(clock, items, seconds))
    assert lines() == []


def test_an_estimate_at_the_start_and_then_a_line_a_minute(clock, lines):
    list(work(clock, 300, 1))
    said = lines()
    assert said[0] == "training: 10 of 300, 10 s, about 5 min left"
    assert [int(re.search(r": (\d+) of 300", line)[1]) for line in said] == [10, 70, 130, 190, 250]
    assert said[-1] == "training: 250 of 300, 4 min, about 50 s left"


def test_the_estimate_comes_as_soon_as_one_long_item_is_done(clock, lines):
    list(work(clock, 5, 40))
    assert lines()[0] == "training: 1 of 5, 40 s, about 3 min left"


def test_many_short_loops_one_after_the_other_say_something_as_well(clock, lines):
    for number in range(40):
        list(work(clock, 2, 4, f"loop {number}"))
    said = lines()
    assert 4 <= len(said) <= 40 * 8 / EVERY + 1


@pytest.mark.parametrize("seconds", [0.1, 1.0, 7.0, 45.0, 61.0, 300.0])
def test_a_line_a_minute_neither_more_but_for_the_estimate_nor_less(clock, monkeypatch, seconds):
    rng = np.random.default_rng(0)
    stamps: list[float] = []
    monkeypatch.setattr(sys, "stdout", Stamped(lambda: stamps.append(clock.now)))
    for number in range(6):
        list(work(clock, 30, seconds * rng.uniform(0.5, 2), f"loop {number}"))
    total = clock.now - 1000
    assert len(stamps) <= total / EVERY + 6
    assert max(np.diff([1000, *stamps, clock.now])) <= EVERY + 2 * seconds


def test_what_an_inner_loop_has_done_is_part_of_an_item(clock, lines):
    for _ in progress(range(4), "folds"):
        with counting("step", 100) as step:
            for _ in range(100):
                clock.now += 1
                step()
    said = lines()
    assert said[0] == "folds: 0 of 4 (step 10 of 100), 10 s, about 6 min left"
    assert said[2] == "folds: 1 of 4 (step 30 of 100), 2 min, about 4 min left"


def test_a_resumed_loop_judges_its_pace_by_what_it_did_itself(clock, lines):
    with counting("batches", 1000, before=900) as step:
        for _ in range(20):
            clock.now += 1
            step()
    (line,) = lines()
    assert re.fullmatch(r"batches: 910 of 1000, 10 s, about (90 s|2 min) left", line)


def test_fractions_and_more_than_was_expected_do_no_harm(clock, lines):
    with counting("network calls", 10) as step:
        for _ in range(400):
            clock.now += 1
            step(0.5)
    assert lines()[-1] == "network calls: 10 of 10, 6 min, about 0 s left"
    with counting("unknown", 0) as step:
        clock.now += EVERY
        step()
    assert len(lines()) == 1


def test_a_loop_that_is_broken_off_is_over(clock, lines):
    for _ in work(clock, 10, 1, "first"):
        break
    with pytest.raises(KeyError), counting("second", 10), counting("third", 10):
        raise KeyError
    list(work(clock, 30, 30, "last"))
    assert all(line.startswith("last: ") for line in lines())


def test_a_loop_of_another_thread_does_no_harm(clock, lines):
    thread = threading.Thread(target=lambda: list(work(clock, 5, 1, "other")))
    with counting("mine", 10) as step:
        thread.start()
        thread.join()
        clock.now += EVERY
        step()
    assert lines()[-1].startswith("mine: 1 of 10")


def test_on_a_terminal_there_is_a_bar_and_no_line(clock, lines, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    for _ in progress(range(3), "folds"):
        list(work(clock, 200, 1, "step"))
    assert not [line for line in lines() if " of 200" in line]
    assert told._display.bars is None
    assert told._display.loops == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (89.4, "89 s"),
        (90, "2 min"),
        (600, "10 min"),
        (5399, "90 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text.replace("90 min", "1 h 30 min")
