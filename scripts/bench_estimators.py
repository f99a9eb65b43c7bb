"""Prevalence estimators: agreement with QuaPy on the same posteriors, and the time of estimates and intervals.

    python scripts/bench_estimators.py --quapy-python /tmp/quapy/bin/python [--json FILE]

QuaPy is no dependency of this project. An environment of its own serves as the oracle:

    python3 -m venv /tmp/quapy && /tmp/quapy/bin/pip install quapy

Both sides get the same posteriors and run on one core, one after the other. An estimate is timed from calibration
posteriors to prevalence, checks included. QuaPy's interval (``AggregativeBootstrap``) resamples the queries alone;
ours resamples queries and calibration records. Agreement is the largest difference of any class's prevalence over all
cases: two and three classes, weak and good classifiers, calibration sets of 300 and 3,000. QuaPy's EMQ stops when its
iteration slows down to 1e-4; it is compared where it has converged (1e-9), and the difference of the default is a row
of its own. Without ``--quapy-python`` the figures of this project stand alone.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from _bench import Row, report

from diffshare.stats.bootstrap import bootstrap
from diffshare.stats.calibration import Calibration
from diffshare.stats.prevalence import NAMES, Method, estimate, median_sweep

QUERIES, RESAMPLES, LARGE, REPEATS = 10_000, 2_000, 1_000_000, 5
MEANS = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
Case = tuple[np.ndarray, np.ndarray, np.ndarray]  # calibration posteriors, labels, query posteriors
PAIRS = {
    "cc": "cc",
    "pcc": "pcc",
    "acc": "acc",
    "pacc": "pacc",
    "emq": "converged_emq",
    "dmy": "dmy",
}


def posteriors(
    rng: np.random.Generator, y: np.ndarray, classes: int, distance: float
) -> np.ndarray:
    """Bayes' posteriors, at equal prior, of normal points around the means of their classes."""
    means = distance * MEANS[:classes]
    x = means[y] + rng.normal(size=(len(y), 2))
    density = np.exp(-((x[:, None] - means) ** 2).sum(-1) / 2)
    return density / density.sum(1, keepdims=True)


def case(seed: int, shares: list[float], distance: float, calibrated: int, queries: int) -> Case:
    rng, classes = np.random.default_rng(seed), len(shares)
    y = np.arange(calibrated) % classes
    asked = rng.choice(classes, queries, p=shares)
    return posteriors(rng, y, classes, distance), y, posteriors(rng, asked, classes, distance)


def all_cases() -> list[Case]:
    """The timed case first, then those of the agreement."""
    made = [case(0, [0.7, 0.3], 1.35, 1000, QUERIES)]
    for distance in (1.35, 2.56):  # accuracies 0.75 and 0.90 of two classes
        for calibrated in (300, 3000):
            for p in (0.1, 0.3, 0.5, 0.7, 0.9):
                made.append(case(len(made), [1 - p, p], distance, calibrated, 1000))
            made.append(case(len(made), [0.2, 0.3, 0.5], distance, calibrated, 1000))
    return made


def ours(part: Case) -> dict[str, np.ndarray]:
    calibration = Calibration(part[0], part[1])
    found = {name: estimate(name, calibration, part[2]) for name in PAIRS}  # type: ignore[arg-type]
    if calibration.classes == 2:
        found["median sweep"] = median_sweep(calibration, part[2])
    return found


def seconds(call: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Median time of a call."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def timings(part: Case, large: np.ndarray) -> dict[str, float]:
    def calibration() -> Calibration:
        return Calibration(part[0], part[1])

    def interval(method: Method) -> Any:
        return bootstrap(
            method, calibration(), part[2], np.random.default_rng(0), resamples=RESAMPLES
        )

    taken = {
        name: seconds(lambda name=name: estimate(name, calibration(), part[2])) for name in NAMES
    }  # type: ignore[misc]
    taken |= {f"bootstrap {name}": seconds(lambda name=name: interval(name), 3) for name in NAMES}  # type: ignore[misc]
    known = Calibration(part[0], part[1])
    return taken | {"large emq": seconds(lambda: estimate("emq", known, large))}


def five_folds() -> float:
    """Seconds of the interval where five models scored calibration records and queries."""
    rng = np.random.default_rng(1)
    y = np.arange(1000) % 2
    scores, queries = posteriors(rng, y, 2, 1.35), rng.random((5, QUERIES))
    calibration = Calibration(scores, y, np.arange(1000) // 2 % 5)
    return seconds(
        lambda: bootstrap(
            "pacc", calibration, np.stack([1 - queries, queries], -1), rng, resamples=2000
        ),
        3,
    )


def ask_quapy(python: Path, cases: list[Case], large: np.ndarray) -> dict[str, Any]:
    arrays = {"timing": np.array(0), "resamples": np.array(RESAMPLES), "large": large}
    for i, part in enumerate(cases):
        arrays |= dict(zip((f"calibration_{i}", f"labels_{i}", f"queries_{i}"), part, strict=True))
    script = Path(__file__).with_name("_quapy_oracle.py")
    one_core = {**os.environ, "OMP_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1"}
    with TemporaryDirectory() as folder:
        given, answered = Path(folder) / "cases.npz", Path(folder) / "answers.json"
        np.savez(given, **arrays)  # type: ignore[arg-type]
        subprocess.run([python, script, given, answered], check=True, env=one_core)
        return json.loads(answered.read_text())


def agreement(cases: list[Case], answers: dict[str, Any]) -> list[Row]:
    """Largest difference of a prevalence, by method."""
    apart: dict[str, float] = {}

    def note(name: str, mine: np.ndarray, theirs: list[float]) -> None:
        apart[name] = max(apart.get(name, 0.0), float(np.abs(mine - theirs).max()))

    for part, theirs in zip(cases, answers["estimates"], strict=True):
        mine = ours(part)
        for name, other in PAIRS.items():
            few = "" if name != "dmy" else f", {part[0].shape[1]} classes"
            note(f"difference of {name}{few}", mine[name], theirs[other])
        note("difference of emq, QuaPy's own stopping", mine["emq"], theirs["emq"])
        if "dys" in theirs:
            note("difference of dmy and QuaPy's DyS", mine["dmy"], theirs["dys"])
            note(
                "difference of the median sweep and QuaPy's HDy (grid of 0.01)",
                mine["median sweep"],
                theirs["hdy"],
            )
    return [
        Row(name, value, "prevalence", f"QuaPy {answers['version']}")
        for name, value in apart.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quapy-python", type=Path, help="interpreter of an environment with QuaPy"
    )
    parser.add_argument("--json", help="write the figures to this file")
    options = parser.parse_args()
    cases = all_cases()
    large = case(99, [0.7, 0.3], 1.35, 10, LARGE)[2]
    mine = timings(cases[0], large)
    answers = ask_quapy(options.quapy_python, cases, large) if options.quapy_python else None
    theirs = answers["seconds"] if answers else {}
    words = {"large emq": f"emq, {LARGE:,} scores"}
    words |= {name: f"{name}, {QUERIES:,} scores" for name in NAMES}
    words |= {
        f"bootstrap {n}": f"interval of {n}, {RESAMPLES:,} resamples of {QUERIES:,} scores"
        for n in NAMES
    }
    rows = []
    for name, taken in mine.items():
        if name in theirs:
            rows.append(
                Row(words[name], taken, "s", f"QuaPy, {theirs[name]:.3g} s", theirs[name] / taken)
            )
        else:
            rows.append(Row(words[name], taken, "s"))
    rows.append(
        Row(f"interval of pacc, five models' scores, {RESAMPLES:,} resamples", five_folds(), "s")
    )
    report(rows + (agreement(cases, answers) if answers else []), options.json)


if __name__ == "__main__":
    main()
