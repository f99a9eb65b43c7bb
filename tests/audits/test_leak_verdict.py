"""What the sharer is told of a reading: judged by the truth where it is known, else by half width and check."""

from typing import Any

import numpy as np
import pytest

from diffshare.audits.leak.attributes import Leak, _of
from diffshare.audits.leak.result import Report, section_of
from diffshare.receiver.property.inference import Asked, Assumption, Inferred, infer
from diffshare.stats.calibration import Calibration

SHARE = 0.4
WHAT = Asked("Hat", ("no", "yes"), 1, 0.95, resamples=300)


def posteriors(rng: np.random.Generator, labels: np.ndarray, shift: float) -> np.ndarray:
    """P(yes) of a classifier whose logits are N(+-1.5, 1), all of them ``shift`` too high."""
    return 1 / (1 + np.exp(-rng.normal(3.0 * labels - 1.5 + shift, 1.0)))


def read(shift: float, seed: int = 0, queries: int = 4000) -> Inferred:
    rng = np.random.default_rng(seed)
    labels = np.arange(4000) % 2
    sampled = (np.arange(queries) < SHARE * queries).astype(np.int64)
    s = posteriors(rng, sampled, shift)
    return infer(
        WHAT,
        "pacc",
        Calibration(posteriors(rng, labels, 0.0), labels),
        np.stack([1 - s, s], -1)[None],
    )


def leak(result: Inferred, truth: float | None) -> Leak:
    return Leak("Hat", "yes", (_of(result),), result.method, result.assumption, truth=truth)


@pytest.mark.parametrize("seed", range(3))
def test_scores_that_are_shifted_by_a_logit_are_no_reading(seed: int) -> None:
    result = read(1.0, seed)
    assert (result.high - result.low) / 2 < 0.05  # by the half width alone it would be one
    assert abs(result.estimate - SHARE) > 0.05
    judged, unknown = leak(result, SHARE), leak(result, None)
    assert (judged.verdict, judged.readable) == ("missed", False)
    assert (unknown.verdict, unknown.readable) == ("doubtful", False)
    assert "check fails" in judged.said
    assert "check fails" in unknown.said


def test_a_classifier_that_errs_as_on_records_reads_the_share() -> None:
    result = read(0.0)
    for truth in (SHARE, None):
        assert leak(result, truth).verdict == "read"
        assert leak(result, truth).said == "read to +-0.05"


def reading(low: float, high: float, *, ok: bool = True) -> dict[str, Any]:
    one = Inferred(
        "Hat",
        "yes",
        "pacc",
        (low + high) / 2,
        low,
        high,
        0.95,
        0.5,
        100,
        0.1,
        0.0,
        Assumption(ok, 1.0, 0.5 * ok),
        {},
    )
    return {"readings": (_of(one),), "usual": "pacc", "assumption": one.assumption}


@pytest.mark.parametrize(
    ("low", "high", "ok", "truth", "verdict", "readable"),
    [
        (0.38, 0.42, True, 0.44, "read", True),
        # the check fails, and the reading is right all the same
        (
            0.38,
            0.42,
            False,
            0.44,
            "read",
            True,
        ),
        (0.38, 0.42, True, 0.46, "missed", False),
        (0.30, 0.50, True, 0.41, "near", True),
        (0.30, 0.50, True, 0.49, "missed", False),
        (0.38, 0.42, True, None, "read", True),
        (0.38, 0.42, False, None, "doubtful", False),
        (0.30, 0.50, True, None, "not read", False),
        (0.30, 0.50, False, None, "not read", False),
    ],
)
def test_truth_goes_before_the_check_and_the_check_before_the_half_width(
    low: float, high: float, ok: bool, truth: float | None, verdict: str, readable: bool
) -> None:
    result = Leak("Hat", "yes", truth=truth, **reading(low, high, ok=ok))
    assert (result.verdict, result.readable) == (verdict, readable)
    assert ("check fails" in result.said) == (not ok)
    assert result.json()["verdict"] == verdict


def report(*leaks: Leak) -> Report:
    return Report(leaks, (), 100, "none", 0.95, None)


def test_the_advice_names_what_is_read_what_is_doubtful_and_what_another_method_reads() -> None:
    read_, doubtful = (
        Leak("Hat", "yes", **reading(0.38, 0.42)),
        Leak("Male", "Male", **reading(0.38, 0.42, ok=False)),
    )
    assert report(read_).advice.startswith("A receiver reads Hat to +-0.05.")
    assert (
        "The intervals of Male are within +-0.05, but the classifier errs"
        in report(doubtful).advice
    )
    assert "reads" not in report(doubtful).advice.split("What may not be known")[0].replace(
        "read so", ""
    )
    nothing = report(Leak("Hat", "yes", **reading(0.2, 0.6))).advice
    assert "does not say that none can be" in nothing
    usual, other = reading(0.38, 0.42)["readings"][0], reading(0.5, 0.6)["readings"][0]
    missed = Leak(
        "Hat",
        "yes",
        (usual, other.__class__("emq", 100, 0.55, 0.5, 0.6, 0.05, 0.0)),
        "pacc",
        truth=0.56,
    )
    assert (missed.verdict, missed.nearer) == ("missed", "emq")
    assert (
        "Another method than the usual one comes within 0.05 of the truth of Hat."
        in report(missed).advice
    )


def test_the_card_tells_that_the_check_fails_and_never_the_truth() -> None:
    def card(truth: float | None, *, ok: bool) -> str:
        return "\n".join(
            section_of(report(Leak("Hat", "yes", truth=truth, **reading(0.38, 0.42, ok=ok))))
        )

    assert card(0.4, ok=False) == card(0.9, ok=False)
    assert "| Hat: yes | pacc | 0.020 | fails | unknown |" in card(None, ok=False)
    assert "| Hat: yes | pacc | 0.020 | passes |" in card(None, ok=True)
