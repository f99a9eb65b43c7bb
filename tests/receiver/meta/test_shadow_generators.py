"""Shadow generators: trained on auxiliary records alone, each once, the same again, and never mixed up."""

import json
import shutil
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from diffshare.data.rendered import RenderedFaces
from diffshare.data.shadow import INDEX
from diffshare.data.source import PARTS, split
from diffshare.errors import UserError
from diffshare.receiver.meta import shadows
from diffshare.receiver.meta.data import TrainedShadowDataModule
from diffshare.receiver.meta.shadows import ShadowMix, make_shadows, spread_proportions
from diffshare.release.samples import read_samples

ROOT = Path(__file__).parent.parent.parent.parent


def module(root: Path, **changes) -> TrainedShadowDataModule:
    """Three shadows in a moment."""
    settings = {
        "generator": [ROOT / "configs" / "ddpm_faces.yaml"],
        "source": RenderedFaces(400, 16, shares=(0.3, 0.6, 0.1)),
        "property": "Eyeglasses",
        "count": (2, 0, 1),
        "n": 20,
        "base_steps": 1,
        "steps": 1,
        "samples": 8,
        "sampling_steps": 1,
        "overrides": {"data.batch_size": 4, "model.denoiser.block_out_channels": [8, 8, 8, 8]},
        "auxiliary": 100,
        "classifier_steps": 1,
        "folds": 2,
        "batch_size": 2,
    }
    return TrainedShadowDataModule(root, **settings | changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    data = module(tmp_path_factory.mktemp("shadows"))
    data.prepare_data()
    return data


def test_every_shadow_is_there_with_its_exact_share(made):
    made.setup()
    assert {name: len(records) for name, records in made.sets.items()} == {"train": 2, "test": 1}
    for number, p in enumerate(made.proportions):
        info = read_samples(made.plan.shadow(number)).info
        assert info["p"] == pytest.approx(p, abs=0.5 / 20 + 1e-9)
    assert made.sets["train"].x.shape == (3, 8, 2 + 96)


def test_what_is_there_is_not_made_again_and_what_is_missing_comes_back_the_same(
    made, monkeypatch, tmp_path
):
    root = shutil.copytree(made.root, tmp_path / "copy")
    before = read_samples(root / "samples" / "0001").x
    shutil.rmtree(root / "samples" / "0001")
    trained = []
    real = shadows.make_shadow
    monkeypatch.setattr(
        shadows, "make_shadow", lambda *words: trained.append(words[1]) or real(*words)
    )
    monkeypatch.setattr(shadows, "make_base", lambda plan: pytest.fail("the base is there"))
    again = module(root)
    again.prepare_data()
    assert trained == [1]
    np.testing.assert_array_equal(read_samples(root / "samples" / "0001").x, before)


def test_another_plan_is_refused(made):
    with pytest.raises(UserError, match="holds shadows of another plan: steps was '1', is now '2'"):
        module(made.root, steps=2).prepare_data()
    with pytest.raises(UserError, match="source was"):
        module(made.root, source=RenderedFaces(401, 16)).prepare_data()
    content = json.loads((made.root / "plan.json").read_text())
    assert content["property"] == "Eyeglasses"


def test_shadows_of_somebody_else_are_kept(tmp_path):
    (tmp_path / INDEX).write_text("mine")
    with pytest.raises(UserError, match="holds shadows.json, which is of no plan of this class"):
        module(tmp_path).prepare_data()
    assert [path.name for path in tmp_path.iterdir()] == [INDEX]
    assert (tmp_path / INDEX).read_text() == "mine"


def test_a_shadow_is_trained_on_auxiliary_records(made):
    plan = made.plan
    _, data = shadows._built(plan, 0.3, 7)
    mix = data.chosen_mix()
    index = plan.source.index()
    parts = split(index, plan.source.shares, plan.seed)
    auxiliary = set(index.names[parts == PARTS.index("auxiliary")].tolist())
    chosen = mix.pool.index.names[mix.choice.positions].tolist()
    assert set(chosen) <= auxiliary
    assert mix.choice.report["share"] == pytest.approx(0.3)


def test_shadows_draw_records_of_their_own():
    source = RenderedFaces(200, 8)
    pool = shadows.Pool(source.index(), "Smiling", None)
    one, same, other = (
        set(ShadowMix(0.5, 40, "Hat", draw).choose(pool, 0).positions.tolist())
        for draw in (1, 1, 2)
    )
    assert one == same != other


def test_proportions_are_spread_in_every_prefix():
    for count in (8, 40):
        found = sorted(spread_proportions(count, 0.1, 0.9))
        assert 0.1 <= found[0] <= found[-1] <= 0.9
        assert np.diff(found).max() < 3 * 0.8 / count
    assert spread_proportions(40, 0.1, 0.9)[:8] == spread_proportions(8, 0.1, 0.9)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"low": 0.9, "high": 0.1}, "data.low 0.9 and data.high 0.1"),
        ({"high": 1.2}, "data.high 1.2"),
        ({"n": 0}, "data.n is 0"),
        ({"samples": 0}, "data.samples is 0"),
        ({"count": (0, 1, 1)}, "data.count is 0"),
        ({"base_steps": -1}, "must not be negative"),
        ({"generator": []}, "data.generator is empty"),
        ({"generator": [Path("missing.yaml")]}, "there is no config file missing.yaml"),
    ],
)
def test_plans_that_cannot_be(tmp_path, changes, words):
    with pytest.raises(UserError, match=words):
        module(tmp_path, **changes)


def test_no_process_at_all(tmp_path):
    with pytest.raises(UserError, match="data.workers is 0"):
        module(tmp_path / "x", workers=0).prepare_data()


@pytest.mark.slow
def test_two_processes_make_what_one_makes(made, tmp_path):
    plan = replace(made.plan, root=tmp_path)
    make_shadows(plan, made.proportions[:2], workers=2)
    for number in range(2):
        one, two = (read_samples(p.shadow(number)) for p in (made.plan, plan))
        assert one.info["p"] == two.info["p"]
        # another number of threads sums in another order
        assert np.abs(one.x.astype(int) - two.x).max() <= 1


def test_a_process_that_was_ended_from_outside(tmp_path, monkeypatch):
    class Pool:
        def __init__(self, *words) -> None: ...

        def __enter__(self):
            return self

        def __exit__(self, *words) -> None: ...

        def submit(self, *words):
            task: Future[None] = Future()
            task.set_exception(BrokenProcessPool("killed"))
            return task

    monkeypatch.setattr(shadows, "ProcessPoolExecutor", Pool)
    monkeypatch.setattr(shadows, "make_base", lambda plan: None)
    with pytest.raises(UserError, match="ended from outside, .* lower data.workers from 2"):
        module(tmp_path / "x", workers=2).prepare_data()
