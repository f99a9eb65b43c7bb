"""Estimates of prevalences against QuaPy's, where it is installed: the same posteriors, the same answers."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from diffshare.stats.calibration import Calibration
from diffshare.stats.prevalence import estimate, median_sweep
from tests.stats.scored import labels, scores

pytest.importorskip("quapy")


@pytest.fixture(scope="module")
def oracle() -> ModuleType:
    path = Path(__file__).parents[2] / "scripts" / "_quapy_oracle.py"
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("shares", [[0.9, 0.1], [0.4, 0.6], [0.2, 0.3, 0.5]])
@pytest.mark.parametrize("distance", [0.6, 1.3])
def test_the_same_posteriors_give_the_same_prevalences(oracle, shares, distance):
    rng, classes = np.random.default_rng(0), len(shares)
    y = labels(rng, 900, [1 / classes] * classes)
    known, asked = (
        scores(rng, y, classes, distance),
        scores(rng, labels(rng, 1000, shares), classes, distance),
    )
    theirs, calibration = oracle.estimates(known, y, asked), Calibration(known, y)
    for ours, other, tolerance in (
        ("cc", "cc", 1e-12),
        ("pcc", "pcc", 1e-12),
        ("acc", "acc", 1e-3),
        ("pacc", "pacc", 1e-3),
        ("emq", "converged_emq", 1e-3),
        ("dmy", "dmy", 1e-2),
    ):
        np.testing.assert_allclose(
            estimate(ours, calibration, asked), theirs[other], atol=tolerance, err_msg=ours
        )
    if classes == 2:
        np.testing.assert_allclose(estimate("dmy", calibration, asked), theirs["dys"], atol=1e-2)
        np.testing.assert_allclose(median_sweep(calibration, asked), theirs["hdy"], atol=1e-2)
