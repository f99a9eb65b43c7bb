"""Numbers out of reason: one line that names the setting and the bound, and nothing is begun."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_release import random_ddpm

from diffshare.classifiers.recipes import (
    KernelRecipe,
    NetworkRecipe,
    Recipe,
    TableNetworkRecipe,
    TreesRecipe,
)
from diffshare.errors import MOST_SEED, UserError, check_number
from diffshare.nets.classifiers import SmallResNet, TableMLP
from diffshare.nets.patches import PatchDiscriminator
from diffshare.nets.tabular import TableDenoiser
from diffshare.receiver import sampling
from diffshare.receiver.sampling import draw_samples
from diffshare.release.card import Card
from diffshare.release.generator import MOST_SAMPLES, plan_labels
from diffshare.release.samples import write_samples

CONFIGS = Path(__file__).parents[1] / "configs"
FACES = CONFIGS / "source" / "faces.yaml"
Cli = Callable[..., Any]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("world")
    random_ddpm(root / "release", 8, steps=2)
    x = np.random.default_rng(0).integers(0, 256, (60, 8, 8, 3), np.uint8)
    write_samples(root / "samples", x, np.arange(60) % 2, {"labels": "balanced"})
    return root


def commands(root: Path, out: Path) -> dict[str, list[Any]]:
    faces = ["--reference", FACES, "--reference.count", 300, "--reference.image_size", 8]
    auxiliary = [str(word).replace("--reference", "--auxiliary") for word in faces]
    config = ["--config", CONFIGS / "ddpm_faces.yaml"]
    return {
        "sample": ["sample", "--model", root / "release", "--count", 4, "--out", out],
        "protect": ["protect", "--model", root / "release", "--count", 4, "--property", "Hat", "--share", 0.5, *faces,
                    "--out", out],
        "audit": ["audit", "--model", root / "release", *faces, "--sensitive", "Male", "--target", "Smiling"],
        "infer-property": ["infer-property", "--model", root / "release", *auxiliary, "--property", "Hat"],
        "mix": ["mix", *config, "--out", out],
        "fit": ["fit", *config, "--run-dir", out],
    }  # fmt: skip


SEEDS = [(verb, "--seed") for verb in ("sample", "protect", "audit", "infer-property")]
SEEDS += [(verb, "--split-seed") for verb in ("protect", "audit", "infer-property")]
SEEDS += [
    ("mix", "--data.seed"),
    ("mix", "--data.source.seed"),
    ("fit", "--data.seed"),
    ("fit", "--seed_everything"),
]


@pytest.mark.parametrize(("verb", "option"), SEEDS)
def test_seeds_that_the_libraries_do_not_take(
    world: Path, run_cli: Cli, tmp_path: Path, verb: str, option: str
) -> None:
    for seed in (-1, MOST_SEED + 1, 10**30):
        outcome = run_cli(*commands(world, tmp_path / "out")[verb], option, seed)
        assert outcome.code == 2, outcome.err
        assert outcome.err.count("\n") == 1, outcome.err
        assert str(seed) in outcome.err
        assert f"give a number from 0 to {MOST_SEED}" in outcome.err
    assert list(tmp_path.iterdir()) == []


COUNTS = [
    ("sample", "--count"),
    ("protect", "--count"),
    ("audit", "--queries"),
    ("infer-property", "--queries"),
]
COUNTS += [("fit", "--data.predict_count"), ("mix", "--data.source.count")]


@pytest.mark.parametrize(("verb", "option"), COUNTS)
def test_counts_that_no_machine_holds(
    world: Path, run_cli: Cli, tmp_path: Path, verb: str, option: str
) -> None:
    for count in (10**12, 10**19, 10**40):
        outcome = run_cli(*commands(world, tmp_path / "out")[verb], option, count)
        assert outcome.code == 2, outcome.err
        assert outcome.err.count("\n") == 1, outcome.err
        assert "at most" in outcome.err or "a number that is too long" in outcome.err
    assert list(tmp_path.iterdir()) == []


SIZES = [("block_out_channels", "[-8,8,8,8]"), ("block_out_channels", "[0,8,8,8]"), ("block_out_channels", "[]"),
         ("norm_num_groups", 0), ("norm_num_groups", -1), ("num_class_embeds", -1), ("in_channels", 0)]  # fmt: skip


@pytest.mark.filterwarnings("ignore:Initializing zero-element tensors")
@pytest.mark.parametrize(("name", "value"), SIZES)
def test_a_network_that_cannot_be(
    world: Path, run_cli: Cli, tmp_path: Path, name: str, value: Any
) -> None:
    small = ["--data.source.count", 60, "--data.source.image_size", 8, "--data.batch_size", 8]
    small += [
        "--model.denoiser.block_out_channels",
        "[8,8,8,8]",
        "--model.denoiser.norm_num_groups",
        4,
    ]
    outcome = run_cli(
        *commands(world, tmp_path / "out")["fit"], *small, f"--model.denoiser.{name}", value
    )
    assert outcome.code == 2, outcome.err
    assert outcome.err.count("\n") == 1, outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "build",
    [
        lambda w: SmallResNet(width=w),
        lambda w: TableMLP(width=w),
        lambda w: TableDenoiser(5, width=w),
        lambda w: PatchDiscriminator(width=w),
    ],
    ids=["SmallResNet", "TableMLP", "TableDenoiser", "PatchDiscriminator"],
)
@pytest.mark.parametrize("width", [-8, 0, 10**9])
def test_widths_are_named(build: Callable[[int], Any], width: int) -> None:
    with pytest.raises(
        UserError, match=rf"width is {width}: a whole number from \d+ to \d+ is expected"
    ):
        build(width)


IMAGES = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
ROWS = IMAGES.reshape(40, -1)[:, :4].astype(np.float32)


@pytest.mark.parametrize(
    ("recipe", "x"),
    [(KernelRecipe(components=4), IMAGES), (TreesRecipe(trees=2), ROWS), (NetworkRecipe(steps=1), IMAGES),
     (TableNetworkRecipe(steps=1), ROWS)],
)  # fmt: skip
def test_a_recipe_takes_any_seed(recipe: Recipe, x: np.ndarray) -> None:
    """A fold's seed is a thousand times the user's."""
    scorer = recipe.train(x, np.arange(40) % 2, 2, MOST_SEED * 1000 + 4, ())
    assert scorer(x).shape == (40, 2)


class Box:
    """A black box of images so large that a thousand of them fill a samples folder."""

    class card:  # noqa: N801
        modality = "image"

    def sample(self, labels: np.ndarray, indices: np.ndarray, **_: Any) -> np.ndarray:
        return np.zeros((len(labels), 64, 64, 3), np.uint8)


def test_more_than_a_samples_folder_holds_is_refused_before_memory_is_asked_for(
    monkeypatch,
) -> None:
    monkeypatch.setattr(sampling, "MAX_BYTES", 1000 * 64 * 64 * 3)
    assert len(draw_samples(Box(), np.zeros(1000, np.int64), seed=0)) == 1000
    with pytest.raises(
        UserError, match="1001 samples of this model take 0 GiB: ask for at most 1000 at once"
    ):
        draw_samples(Box(), np.zeros(1001, np.int64), seed=0)


def test_the_most_samples_can_be_planned() -> None:
    card = Card("ddpm", "image", (), 3, image_size=8)
    assert len(plan_labels("none", MOST_SAMPLES, card)) == MOST_SAMPLES
    with pytest.raises(UserError, match=f"ask for at most {MOST_SAMPLES} samples"):
        plan_labels("none", MOST_SAMPLES + 1, card)


@pytest.mark.parametrize("value", [0, 5, None, 2.5])
def test_what_fits_passes(value) -> None:
    check_number("x", value, 0, 5)


@pytest.mark.parametrize("value", [-1, 6, float("nan"), 10**400])
def test_what_does_not_fit_is_refused(value) -> None:
    with pytest.raises(UserError, match="`x` is .*: it must be at (least 0|most 5)"):
        check_number("x", value, 0, 5)
