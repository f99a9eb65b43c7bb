"""Every family of images trains, releases and samples by the same commands."""

import functools
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

CONFIGS = Path(__file__).parents[2] / "configs"
SCHEDULERS: dict[str, dict[str, Any]] = {
    "ddpm.DDPM": {"class_path": "diffusers.DDPMScheduler"},
    "ncsn.NCSN": {
        "class_path": "diffshare.generators.ncsn.NoiseLevelsScheduler",
        "init_args": {"sigma_max": 8.0, "num_levels": 20},
    },
    "sde.SDE": {
        "class_path": "diffshare.generators.sde.BetaSdeScheduler",
        "init_args": {"kind": "sub_vp"},
    },
    "edm.EDM": {"class_path": "diffusers.EDMEulerScheduler"},
    "flow.Flow": {"class_path": "diffusers.FlowMatchEulerDiscreteScheduler"},
}
SAMPLERS = {
    "ddpm.DDPM": ["DDIMScheduler", "DDPMScheduler"],
    "ncsn.NCSN": ["annealed_langevin", "probability_flow"],
    "sde.SDE": ["probability_flow", "predictor_corrector", "euler_maruyama"],
    "edm.EDM": ["heun", "stochastic_heun", "EDMEulerScheduler", "EDMDPMSolverMultistepScheduler"],
    "flow.Flow": ["heun", "euler"],
}


def write_config(folder: Path, kind: str, classes: int | None, **denoiser: Any) -> Path:
    """A config of a model of a few thousand weights on rendered faces of 8x8 pixels."""
    base = yaml.safe_load((CONFIGS / "ddpm_faces.yaml").read_text())
    network = base["model"]["init_args"]["denoiser"]
    network["init_args"] |= {
        "block_out_channels": [8, 8],
        "down_block_types": ["DownBlock2D"] * 2,
        "up_block_types": ["UpBlock2D"] * 2,
        "norm_num_groups": 4,
        "num_class_embeds": None if classes is None else classes + 1,
    } | denoiser
    base["model"] = {
        "class_path": f"diffshare.generators.{kind}",
        "init_args": {"denoiser": network, "scheduler": SCHEDULERS[kind], "sampling_steps": 5},
    }
    base["data"]["init_args"]["source"]["init_args"] = {"count": 120, "image_size": 8}
    base["data"]["init_args"]["batch_size"] = 8
    base["trainer"] = {
        "max_steps": 3,
        "enable_progress_bar": False,
        "limit_val_batches": 1,
        "log_every_n_steps": 1,
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(base))
    return path


@pytest.fixture(scope="module", params=SCHEDULERS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def run_dirs(run_cli: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run folder of a conditional model of a family, trained when it is first asked for."""

    @functools.cache
    def trained(kind: str) -> Path:
        folder = tmp_path_factory.mktemp("family")
        outcome = run_cli(
            "fit", "--config", write_config(folder, kind, 2), "--run-dir", folder / "run"
        )
        assert outcome.code == 0, outcome.err
        return folder / "run"

    return trained


@pytest.fixture(scope="module")
def run_dir(kind: str, run_dirs: Callable[[str], Path]) -> Path:
    return run_dirs(kind)


def samples(run_cli: Any, model: Path, out: Path, *arguments: Any) -> np.ndarray:
    outcome = run_cli("sample", "--model", model, "--count", 6, "--out", out, *arguments)
    assert outcome.code == 0, outcome.err
    with np.load(out / "samples.npz") as arrays:
        return np.array(arrays["x"])


def test_a_run_ends_with_a_release_and_release_makes_the_same_again(
    run_cli, kind, run_dir, tmp_path
) -> None:
    card = json.loads((run_dir / "release" / "diffshare.json").read_text())
    assert card["family"] == kind.partition(".")[0]
    assert {name.partition("/")[0] for name in card["files"]} >= {"unet", "scheduler"}
    made = run_cli(
        "release", "--ckpt", run_dir / "checkpoints" / "last.ckpt", "--out", tmp_path / "again"
    )
    assert made.code == 0, made.err
    again = json.loads((tmp_path / "again" / "diffshare.json").read_text())
    assert again["files"] == card["files"]


def test_a_sample_is_the_same_again_and_in_any_batch(run_cli, run_dir, tmp_path) -> None:
    whole = samples(run_cli, run_dir / "release", tmp_path / "a")
    assert whole.shape == (6, 8, 8, 3)
    assert np.array_equal(whole, samples(run_cli, run_dir / "release", tmp_path / "b"))
    parts = samples(run_cli, run_dir / "release", tmp_path / "c", "--batch-size", 4)
    assert np.abs(whole.astype(int) - parts).max() <= 1
    assert len(np.unique(whole.reshape(6, -1), axis=0)) == 6


def test_every_sampler_of_the_family_guides_and_counts(run_cli, kind, run_dir, tmp_path) -> None:
    for name in SAMPLERS[kind]:
        options = ("--scheduler", name, "--steps", 4, "--guidance", 2)
        made = samples(run_cli, run_dir / "release", tmp_path / name, *options)
        again = samples(
            run_cli, run_dir / "release", tmp_path / f"{name}-1", *options, "--batch-size", 1
        )
        assert np.abs(made.astype(int) - again).max() <= 1
        info = json.loads((tmp_path / name / "samples.json").read_text())
        assert 6 * 2 * 3 <= info["network_calls"] <= 6 * 2 * 4
    refused = run_cli(
        "sample",
        "--model",
        run_dir / "release",
        "--count",
        1,
        "--scheduler",
        "nothing",
        "--out",
        tmp_path / "no",
    )
    assert refused.code == 2
    assert "unknown scheduler 'nothing'" in refused.err


def test_no_class_can_be_asked_for(run_cli, run_dir, tmp_path) -> None:
    assert len(samples(run_cli, run_dir / "release", tmp_path / "none", "--labels", "none")) == 6


def test_validation_reports_the_loss_of_each_quarter_of_the_noise_levels(run_cli, run_dir) -> None:
    outcome = run_cli(
        "test",
        "--config",
        run_dir / "config.yaml",
        "--ckpt_path",
        run_dir / "checkpoints" / "last.ckpt",
    )
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("test/loss_") == 4


def test_an_unconditional_model(run_cli, kind, tmp_path) -> None:
    outcome = run_cli(
        "fit", "--config", write_config(tmp_path, kind, None), "--run-dir", tmp_path / "run"
    )
    assert outcome.code == 0, outcome.err
    assert len(samples(run_cli, tmp_path / "run" / "release", tmp_path / "samples")) == 6


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"block_out_channels": [8] * 5, "down_block_types": ["DownBlock2D"] * 5, "up_block_types": ["UpBlock2D"] * 5},
         "images of 8x8 pixels do not divide by the denoiser's stride 16"),
        ({"num_class_embeds": 5}, "num_class_embeds 5, the target has 2 classes"),
        ({"in_channels": 1}, "in_channels 1, the images have 3 channels"),
        ({"time_embedding_type": "fourier"}, "time_embedding_type fourier"),
    ],
)  # fmt: skip
def test_a_network_that_does_not_fit_is_refused(run_cli, kind, tmp_path, change, named) -> None:
    outcome = run_cli(
        "fit", "--config", write_config(tmp_path, kind, 2, **change), "--run-dir", tmp_path / "run"
    )
    assert outcome.code == 2
    assert named in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "scheduler", "named"),
    [
        ("ncsn.NCSN", {"noise_levels": [0.1, 1.0]}, "not decreasing"),
        ("ncsn.NCSN", {"sigma_max": 0.01, "sigma_min": 1.0}, "not decreasing"),
        ("edm.EDM", {"sigma_max": 0.001}, "not decreasing"),
        ("sde.SDE", {"beta_min": 3.0, "beta_max": 2.0}, "must rise"),
        ("flow.Flow", {"shift": -1.0}, "shift is -1"),
        ("ddpm.DDPM", {"prediction_type": "sample"}, "use epsilon or v_prediction"),
    ],
)
def test_levels_that_do_not_fall_are_refused(run_cli, tmp_path, kind, scheduler, named) -> None:
    config = write_config(tmp_path, kind, 2)
    value = yaml.safe_load(config.read_text())
    value["model"]["init_args"]["scheduler"].setdefault("init_args", {}).update(scheduler)
    config.write_text(yaml.safe_dump(value))
    outcome = run_cli("fit", "--config", config, "--run-dir", tmp_path / "run")
    assert outcome.code == 2
    assert named in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("kind", "setting", "named"),
    [
        ("ncsn.NCSN", {"noise_levels": [0.1, 1.0]}, "not decreasing"),
        ("ncsn.NCSN", {"noise_levels": [1.0] * 10_001}, "at most 10000 numbers"),
        ("ncsn.NCSN", {"noise_levels": [{}]}, "at most 10000 numbers"),
        ("ncsn.NCSN", {"noise_levels": "x"}, "cannot be built"),
        ("ncsn.NCSN", {"num_levels": 8000000}, "num_levels"),
        ("ncsn.NCSN", {"sigma_max": float("inf")}, "sigma_max"),
        (
            "ncsn.NCSN",
            {"_class_name": "BetaSdeScheduler"},
            "is no scheduler of the installed diffusers",
        ),
        ("sde.SDE", {"beta_max": "x"}, "settings do not sample"),
        ("sde.SDE", {"sampling_eps": 0.9}, "sampling_eps is 0.9"),
        ("sde.SDE", {"kind": "ve"}, "vp or sub_vp"),
        ("edm.EDM", {"sigma_min": 90.0}, "not decreasing"),
        ("edm.EDM", {"rho": 0.5}, "rho 0.5"),
        ("flow.Flow", {"shift": 0}, "shift is 0"),
        ("flow.Flow", {"shift": None}, "cannot be built"),
    ],
)
def test_a_received_scheduler_is_checked_like_ones_own(
    run_cli, run_dirs, tmp_path, kind, setting, named
) -> None:
    release = shutil.copytree(run_dirs(kind) / "release", tmp_path / "release")
    file = release / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | setting))
    card = json.loads((release / "diffshare.json").read_text())
    card["files"]["scheduler/scheduler_config.json"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (release / "diffshare.json").write_text(json.dumps(card))
    outcome = run_cli("sample", "--model", release, "--count", 1, "--out", tmp_path / "samples")
    assert outcome.code == 2, outcome.err
    assert named in outcome.err
    assert outcome.err.count("\n") == 1
