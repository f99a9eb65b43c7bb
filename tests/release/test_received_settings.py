"""Settings that can be built and do not run are refused when a release is opened, in one line, for every family."""

import json
import shutil
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from diffshare.errors import UserError
from diffshare.generators.families import open_generator
from diffshare.receiver.sampling import draw_samples
from diffshare.release import weights

FAMILIES = [
    *("autoencoder", "classwise", "ddpm", "edm", "flow", "gan", "latent"),
    *("ncsn", "sde", "sde_ve", "tabular", "tvae", "vae"),
]


@pytest.fixture
def spoiled(originals: Path, hostile: ModuleType, tmp_path: Path) -> Any:
    """``spoiled("ddpm", "unet/config.json", norm_eps="x")``: the release of a family with other settings, signed."""

    def make(family: str, name: str = "", **values: Any) -> Path:
        folder = Path(shutil.copytree(originals / "families" / family, tmp_path / family))
        if name:
            (folder / name).write_text(json.dumps(json.loads((folder / name).read_text()) | values))
            hostile.sign(folder)
        return folder

    return make


@pytest.mark.parametrize("family", FAMILIES)
def test_a_sound_release_is_opened_and_sampled(originals: Path, family: str):
    generator, _ = open_generator(originals / "families" / family)
    labels = np.array([0, -1] if generator.card.labels else [-1, -1])
    first, again = (draw_samples(generator, labels, seed=0) for _ in range(2))
    assert len(first) == 2
    assert np.array_equal(first, again, equal_nan=first.dtype == np.float32)


UNET, SCHEDULER = "unet/config.json", "scheduler/scheduler_config.json"
BAD = [
    ("ddpm", UNET, {"norm_eps": "x"}, "UNet2DModel does not run with these settings"),
    ("ddpm", UNET, {"downsample_padding": 12}, "UNet2DModel does not run with these settings"),
    ("edm", UNET, {"mid_block_scale_factor": None}, "UNet2DModel does not run with these settings"),
    ("flow", UNET, {"freq_shift": "group"}, "UNet2DModel does not run with these settings"),
    ("sde", UNET, {"sample_size": 9}, "UNet2DModel does not run with these settings"),
    ("ncsn", UNET, {"sample_size": [8, 8]}, "does not fit the card"),
    ("ddpm", UNET, {"sample_size": None}, "does not fit the card"),
    ("latent", UNET, {"norm_eps": ["x"]}, "UNet2DModel does not run with these settings"),
    ("classwise", UNET, {"sample_size": 9}, "ClasswiseUNet does not run with these settings"),
    ("tabular", SCHEDULER, {"num_train_timesteps": 0}, "its scheduler is not one"),
    (
        "ddpm",
        SCHEDULER,
        {"thresholding": True, "dynamic_thresholding_ratio": "x"},
        "settings do not sample",
    ),
    ("sde", SCHEDULER, {"snr": "x"}, "settings do not sample"),
    ("ncsn", SCHEDULER, {"num_levels": "x"}, "cannot be built with these settings"),
]


@pytest.mark.parametrize(("family", "name", "values", "words"), BAD)
def test_what_does_not_run_is_refused_before_its_weights_are_read(
    spoiled: Any,
    monkeypatch: pytest.MonkeyPatch,
    family: str,
    name: str,
    values: dict[str, Any],
    words: str,
):
    folder = spoiled(family, name, **values)
    read = weights._weights

    def but_for_this_part(release: Any, part: str, expected: Any) -> Any:
        assert part != name.partition("/")[0], "the weights were read"
        return read(release, part, expected)

    if "does not run" in words:
        monkeypatch.setattr(weights, "_weights", but_for_this_part)
    with pytest.raises(UserError, match=words) as caught:
        open_generator(folder)
    assert str(caught.value).isprintable()


def test_a_scheduler_that_the_receiver_names_is_tried_too(spoiled: Any):
    folder = spoiled("ddpm", SCHEDULER, timestep_spacing="x")
    open_generator(folder)  # the default has a spacing of its own
    with pytest.raises(UserError, match="does not sample with the settings.*is not supported"):
        open_generator(folder, scheduler="DDIMScheduler")


def test_steps_that_a_scheduler_does_not_take_are_refused_in_one_line(spoiled: Any):
    generator, _ = open_generator(
        spoiled("ddpm", SCHEDULER, num_train_timesteps=3), scheduler="UniPCMultistepScheduler"
    )
    with pytest.raises(UserError, match="UniPCMultistepScheduler of this model fails with 3 steps"):
        draw_samples(generator, np.array([0, 1]), seed=0, steps=3)
