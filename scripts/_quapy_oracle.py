"""QuaPy's estimates of prevalences from given posteriors: the oracle of ``bench_estimators.py`` and of a test.

Needs quapy and what it needs alone, so that the interpreter of another environment can run it:

    python scripts/_quapy_oracle.py CASES.npz ANSWERS.json

CASES.npz holds ``calibration_I``, ``labels_I`` and ``queries_I`` for I = 0, 1, ..: posteriors N x K, classes N and
posteriors M x K; ``timing``, the case whose estimates are timed; and ``large``, posteriors for EMQ alone.
"""

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
from sklearn.base import BaseEstimator

os.environ.setdefault("LOKY_MAX_CPU_COUNT", "1")  # one core, as the other side has

REPEATS = 5
BOOTSTRAPPED = ("pacc", "dmy")


class Given(BaseEstimator):
    """A fitted classifier, as scikit-learn has them, whose records are their own posteriors."""

    def __init__(self, classes: int):
        self.classes_ = np.arange(classes)

    def fit(self, x: np.ndarray, y: np.ndarray) -> "Given":
        return self

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return x

    def predict(self, x: np.ndarray) -> np.ndarray:
        return (x[:, 1] >= 0.5).astype(int) if x.shape[1] == 2 else x.argmax(1)


def quantifiers(classes: int) -> dict[str, Callable[[], Any]]:
    """QuaPy's methods under our names; ``converged_emq`` iterates until nothing moves."""
    from quapy.method.aggregative import ACC, CC, EMQ, PACC, PCC, DMy, DyS, HDy

    class Converged(EMQ):
        def aggregate(self, classif_posteriors: np.ndarray, epsilon: float = 1e-9) -> np.ndarray:
            with mock.patch.object(EMQ, "MAX_ITER", 20_000):  # the loop reads the class's attribute
                return super().aggregate(classif_posteriors, epsilon)

    def given(method: Callable[..., Any]) -> Callable[[], Any]:
        return lambda: method(Given(classes), fit_classifier=False, val_split=None)

    both = {
        "cc": lambda: CC(Given(classes), fit_classifier=False),
        "pcc": given(PCC),
        "acc": given(ACC),
    }
    both |= {
        "pacc": given(PACC),
        "emq": given(EMQ),
        "converged_emq": given(Converged),
        "dmy": given(DMy),
    }
    return both | ({"dys": given(DyS), "hdy": given(HDy)} if classes == 2 else {})


def estimates(
    calibration: np.ndarray, labels: np.ndarray, queries: np.ndarray
) -> dict[str, list[float]]:
    """Prevalence of each class by every method."""
    found = {}
    for name, make in quantifiers(calibration.shape[1]).items():
        found[name] = make().fit(calibration, labels).predict(queries).tolist()
    return found


def seconds(call: Callable[[], Any], repeats: int = REPEATS) -> float:
    """Median time of a call."""
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return float(np.median(taken))


def timings(
    calibration: np.ndarray, labels: np.ndarray, queries: np.ndarray, resamples: int
) -> dict[str, float]:
    """Seconds of an estimate by each method, fitted and asked, and of the interval of some from query resamples."""
    from quapy.method.confidence import AggregativeBootstrap

    taken = {}
    for name, make in quantifiers(calibration.shape[1]).items():
        taken[name] = seconds(lambda make=make: make().fit(calibration, labels).predict(queries))
        if name in BOOTSTRAPPED:
            whole = AggregativeBootstrap(make(), n_test_samples=resamples, random_state=0)
            taken[f"bootstrap {name}"] = seconds(
                lambda whole=whole: whole.fit(calibration, labels).predict(queries), repeats=1
            )
    return taken


def main() -> None:
    cases_file, answers_file = sys.argv[1:3]
    warnings.simplefilter("ignore")
    import quapy
    from quapy.method.aggregative import EMQ

    cases = np.load(cases_file, allow_pickle=False)
    count = sum(name.startswith("calibration_") for name in cases.files)
    parts = [
        [cases[f"{part}_{i}"] for part in ("calibration", "labels", "queries")]
        for i in range(count)
    ]
    answers: dict[str, Any] = {
        "version": quapy.__version__,
        "estimates": [estimates(*part) for part in parts],
    }
    answers["seconds"] = timings(*parts[int(cases["timing"])], int(cases["resamples"]))
    large = cases["large"]
    answers["seconds"]["large emq"] = seconds(lambda: EMQ.EM(np.array([0.5, 0.5]), large))
    answers["large emq"] = EMQ.EM(np.array([0.5, 0.5]), large)[0].tolist()
    with open(answers_file, "w") as file:
        json.dump(answers, file)


if __name__ == "__main__":
    main()
