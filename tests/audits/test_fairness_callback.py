"""The fairness callback: integers that equal a direct count, however they were counted, and what it leaves."""

import json
import os
import subprocess
import sys
from pathlib import Path

import deciding
import numpy as np
import pytest
from deciding import Decided, Deciding, draw, trainer
from lightning.pytorch import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from diffshare.audits.fairness import Fairness, fairness_report
from diffshare.errors import UserError
from diffshare.stats.fairness import Disparity, disparity, group_rates
from diffshare.training.quiet import quiet

ROOT = Path(__file__).parents[2]
BY_GROUP = {"n", "accuracy", "selection_rate", "tpr", "fpr"}


@pytest.fixture(autouse=True)
def _without_library_notes():
    with quiet():
        yield


def count(records: np.ndarray, groups: int, classes: int) -> np.ndarray:
    """One record after the other."""
    counts = np.zeros((groups, classes, classes), int)
    for record in records.tolist():
        counts[tuple(record)] += 1
    return counts


# --- counting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("groups", "classes"), [(2, 2), (3, 4)])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_counts_are_those_of_the_records_in_any_batches(tmp_path, groups, classes, batch_size):
    records = draw(64, groups, classes)
    found = deciding.measure(tmp_path, Decided(records, batch_size)).results
    assert found["counts"] == count(records, groups, classes).tolist()
    assert found["n"] == 64


def test_two_processes_count_as_one(tmp_path):
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, deciding.__file__, "2", str(tmp_path)]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    records = draw(37, 3, 2)  # an odd number: a sampler that pads would count one twice
    alone = deciding.measure(tmp_path, Decided(records)).results
    assert alone["counts"] == count(records, 3, 2).tolist()
    for rank in range(2):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == alone


class AfterSanityCheck(Callback):
    """Notes what was measured until then."""

    def __init__(self, fairness: Fairness) -> None:
        self.fairness, self.found = fairness, []

    def on_sanity_check_end(self, *_: object) -> None:
        self.found.append(self.fairness.results)


def test_each_validation_counts_anew_and_the_sanity_check_not_at_all(tmp_path):
    records = draw(40, 2, 2)
    fairness, logger = Fairness(resamples=20), TensorBoardLogger(tmp_path, name="run", version="")
    seen = AfterSanityCheck(fairness)
    options = {"callbacks": [fairness, seen], "logger": logger, "log_every_n_steps": 1}
    trainer(tmp_path, max_epochs=2, num_sanity_val_steps=3, **options).fit(
        Deciding(), datamodule=Decided(records)
    )
    assert seen.found == [None]
    assert fairness.results["counts"] == count(records, 2, 2).tolist()
    log = EventAccumulator(str(tmp_path / "run")).Reload()
    assert [entry.step for entry in log.Scalars("val/demographic_parity_difference")] == [7, 15]
    assert [entry.step for entry in log.Images("val/fairness")] == [8, 16]


# --- groups ----------------------------------------------------------------------------------------------------------


def test_without_groups_the_accuracy_alone_is_reported(tmp_path):
    records = draw(30, 2, 3)
    records[:, 0] = -1
    found = deciding.measure(tmp_path, Decided(records)).results
    records[:, 0] = 0
    assert found["counts"] == count(records, 1, 3).tolist()
    assert found["accuracy"] == np.mean(records[:, 1] == records[:, 2])
    assert found["by_group"] == {}
    assert {found[name] for name in Disparity._fields if name != "accuracy"} == {None}
    assert list(found["intervals"]) == ["accuracy"]


def test_some_unknown_groups_are_refused_and_counted(tmp_path):
    records = draw(30, 2, 2)
    records[[3, 20], 0] = -1
    with pytest.raises(
        UserError, match="the group of 2 of 30 test records is unknown: fill it in or drop them"
    ):
        deciding.measure(tmp_path, Decided(records))


def test_a_group_that_no_test_record_has_is_reported_as_undefined(tmp_path):
    class Three(Decided):
        groups = ("a", "b", "c")

    records = draw(60, 2, 2)
    found = deciding.measure(tmp_path, Three(records)).results
    assert found["counts"] == count(records, 3, 2).tolist()
    assert found["by_group"]["2"] == {
        "n": 0,
        "accuracy": None,
        "selection_rate": None,
        "tpr": None,
        "fpr": None,
    }
    assert found["demographic_parity_difference"] is None
    assert found["intervals"]["by_group"]["2"] == dict.fromkeys(BY_GROUP - {"n"})


# --- the report ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("shape", "positive"), [((2, 2), 1), ((2, 2), 0), ((3, 4), 2)])
def test_the_report_is_that_of_the_counts(shape, positive):
    counts = np.random.default_rng(0).integers(12, 40, (shape[0], shape[1], shape[1]))
    found = fairness_report(counts, positive=positive, resamples=200)
    overall, rates = disparity(counts, positive), group_rates(counts, positive)
    for name in Disparity._fields:
        value = getattr(overall, name)
        assert found[name] == (None if np.isnan(value) else pytest.approx(value, rel=1e-12)), name
    assert list(found["by_group"]) == [str(s) for s in range(shape[0])]
    for s in range(shape[0]):
        row = found["by_group"][str(s)]
        assert row.keys() == BY_GROUP
        for name in BY_GROUP:
            assert row[name] == pytest.approx(getattr(rates, name)[s], rel=1e-12), name
            if name != "n":
                low, high = found["intervals"]["by_group"][str(s)][name]
                assert low < row[name] < high, name
    json.loads(json.dumps(found, allow_nan=False))


def test_nothing_is_made_of_rates_without_records():
    counts = np.array([[[50, 50], [0, 0]], [[20, 80], [10, 90]]])
    found = fairness_report(counts)
    assert found["by_group"]["0"]["tpr"] is None
    assert found["by_group"]["0"]["fpr"] == 0.5
    assert found["equalized_odds_difference"] is None
    assert found["equalized_odds_difference_signed"] is None
    assert found["demographic_parity_difference"] == pytest.approx(0.35)
    assert found["intervals"]["equalized_odds_difference"] is None
    assert found["intervals"]["demographic_parity_difference"] is not None


def test_a_handful_of_records_has_no_interval():
    # two records: their resamples hardly differ
    counts = np.array([[[1, 0], [0, 1]], [[20, 80], [10, 90]]])
    found = fairness_report(counts, min_group=10)
    assert found["by_group"]["0"]["n"] == 2
    assert found["intervals"]["by_group"]["0"] == dict.fromkeys(BY_GROUP - {"n"})
    for name in Disparity._fields:
        assert (found["intervals"][name] is None) == (name != "accuracy"), name
    assert found["demographic_parity_difference"] is not None
    assert fairness_report(counts, min_group=1)["intervals"]["by_group"]["0"]["accuracy"] == [1, 1]


def test_intervals_hold_about_as_often_as_they_claim():
    rng = np.random.default_rng(0)
    truth = rng.dirichlet(np.full(8, 5.0)).reshape(2, 2, 2)
    gap = disparity(truth).demographic_parity_difference_signed
    held = 0
    for seed in range(100):
        counts = rng.multinomial(800, truth.ravel()).reshape(2, 2, 2)
        low, high = fairness_report(counts, resamples=200, level=0.9, seed=seed)["intervals"][
            "demographic_parity_difference_signed"
        ]
        held += low <= gap <= high
    assert abs(held / 100 - 0.9) < 4 * np.sqrt(0.9 * 0.1 / 100)


# --- what it leaves --------------------------------------------------------------------------------------------------


def test_scalars_and_a_figure_are_in_the_log(tmp_path):
    class Named(Decided):
        groups = ("women", "men")

    fairness, logger = Fairness(resamples=20), TensorBoardLogger(tmp_path, name="run", version="")
    data = Named(draw(80, 2, 2))
    logged = trainer(tmp_path, callbacks=[fairness], logger=logger).test(
        Deciding(), datamodule=data, verbose=False
    )
    found = fairness.results
    assert (found["classes"], found["groups"]) == (["0", "1"], ["women", "men"])
    differences = {f"test/{name}" for name in Disparity._fields[1:]}
    assert logged[0].keys() == differences
    log = EventAccumulator(str(tmp_path / "run")).Reload()
    by_group = {
        f"test/{rate}/{name}": found["by_group"][str(s)][rate]
        for s, name in enumerate(Named.groups)
        for rate in BY_GROUP - {"n"}
    }
    assert differences | by_group.keys() <= set(log.Tags()["scalars"])
    for tag, value in by_group.items():
        assert log.Scalars(tag)[0].value == pytest.approx(value, rel=1e-6)
    assert log.Tags()["images"] == ["test/fairness"]


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"level": 1.0}, "`level` is 1.0: it lies between 0 and 1"),
        ({"resamples": 0}, "resamples is 0: it must be at least 1"),
        ({"min_group": 0}, "min_group is 0: it must be at least 1"),
    ],
)
def test_settings_are_refused(options, said):
    with pytest.raises(UserError, match=said):
        Fairness(**options)


def test_a_positive_class_that_is_none_is_refused_before_an_epoch_is_spent(tmp_path):
    made = trainer(tmp_path, callbacks=[Fairness(positive=2)], max_epochs=1)
    with pytest.raises(UserError, match="positive is 2: name one of the classes 0 to 1"):
        made.fit(Deciding(), datamodule=Decided(draw(20, 2, 2)))
    assert made.global_step == 0


def test_a_model_that_decides_nothing_is_refused(tmp_path):
    class Silent(Deciding):
        def test_step(self, batch, batch_idx):
            return None

    with pytest.raises(UserError, match="this model makes none"):
        trainer(tmp_path, callbacks=[Fairness()]).test(
            Silent(), datamodule=Decided(draw(9, 2, 2)), verbose=False
        )
