"""What needs a GPU: the precision rule, a shortened training of ddpm_celeba, resume, several devices."""

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffshare.release.samples import read_samples
from diffshare.training.precision import default_precision
from diffshare.training.run import LAST

pytestmark = pytest.mark.cuda
Fit = Callable[..., Any]
ROOT = Path(__file__).parents[2]
SHORT = (
    ["--config", ROOT / "configs" / "ddpm_celeba.yaml", "--trainer.enable_progress_bar", "false"]
    + [
        "--trainer.max_steps",
        12,
        "--trainer.val_check_interval",
        6,
        "--trainer.log_every_n_steps",
        3,
    ]
    + ["--data.batch_size", 16, "--checkpoint.every_n_batches", 4, "--model.sampling_steps", 4]
    + ["--trainer.accelerator", "gpu"]
)
SAME = ["--trainer.deterministic", "true"]


@pytest.fixture(scope="module")
def celeba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in CelebA's layout with 600 small pictures of noise."""
    root = tmp_path_factory.mktemp("celeba")
    (root / "img_align_celeba").mkdir()
    rng = np.random.default_rng(0)
    names = [f"{i + 1:06d}.jpg" for i in range(600)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (218, 178, 3), np.uint8)).save(
            root / "img_align_celeba" / name
        )
    rows = [f"{name} {1 if i % 2 else -1} {1 if i % 3 else -1}" for i, name in enumerate(names)]
    (root / "list_attr_celeba.txt").write_text(
        "\n".join([str(len(names)), "Smiling Male", *rows]) + "\n"
    )
    parts = [f"{name} {0 if i < 500 else 1 if i < 550 else 2}" for i, name in enumerate(names)]
    (root / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return root


@pytest.fixture(scope="module")
def reference(celeba: Path, fit: Fit, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on one device that nothing interrupted."""
    folder = tmp_path_factory.mktemp("reference") / "run"
    done = fit(
        *SHORT, *SAME, "--data.source.root", celeba, "--trainer.devices", 1, "--run-dir", folder
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def states(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Raw and averaged weights."""
    checkpoint = torch.load(folder / LAST, map_location="cpu", weights_only=True)
    return checkpoint["current_model_state"], checkpoint["state_dict"]


def test_the_precision_rule() -> None:
    expected = (
        "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    )
    assert default_precision("auto") == default_precision("gpu") == expected


def test_a_shortened_training_of_the_celeba_config_leaves_a_release(
    reference: Path, fit: Fit
) -> None:
    assert json.loads((reference / "run.json").read_text())["precision"] == default_precision("gpu")
    assert (reference / "release" / "diffshare.json").is_file()
    for state in states(reference):
        assert all(bool(torch.isfinite(t).all()) for t in state.values())
    done = fit("--run-dir", reference, "--data.predict_count", 8, verb="predict")
    assert done.returncode == 0, done.stderr
    assert read_samples(reference / "samples").x.shape == (8, 64, 64, 3)


def test_a_whole_epoch(celeba: Path, fit: Fit, tmp_path: Path) -> None:
    ends = ["--trainer.max_steps", -1, "--trainer.max_epochs", 1]
    done = fit(
        *SHORT,
        *ends,
        "--data.source.root",
        celeba,
        "--trainer.devices",
        1,
        "--run-dir",
        tmp_path / "run",
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (
        400 // 16
        <= torch.load(tmp_path / "run" / LAST, weights_only=True)["global_step"]
        <= 500 // 16
    )


@pytest.mark.parametrize("fault", ["batch:6:kill", "write:3:kill"])
def test_killed_and_resumed_it_ends_with_the_same_weights(
    celeba: Path, fit: Fit, reference: Path, tmp_path: Path, fault: str
) -> None:
    folder = tmp_path / "run"
    where = ["--data.source.root", celeba, "--trainer.devices", 1, "--run-dir", folder]
    assert fit(*SHORT, *SAME, *where, faults=fault).returncode == -signal.SIGKILL
    done = fit("--run-dir", folder, "--resume")
    assert done.returncode == 0, done.stdout + done.stderr
    for mine, expected in zip(states(folder), states(reference), strict=True):
        assert mine.keys() == expected.keys()
        for name, value in mine.items():
            assert torch.equal(value, expected[name]), name


@pytest.mark.cuda(devices=2)
def test_two_devices_share_the_work(
    celeba: Path, fit: Fit, reference: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    two = ["--trainer.devices", 2, "--trainer.strategy", "ddp", "--data.batch_size", 8]
    done = fit(*SHORT, *two, "--data.source.root", celeba, "--run-dir", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((folder / "run.json").read_text())["processes"] == 2
    assert len(list(folder.glob("events.out.tfevents.*"))) == 1
    losses = []
    for devices in (2, 1):
        strategy = [
            "--trainer.devices",
            devices,
            "--trainer.strategy",
            "ddp" if devices == 2 else "auto",
        ]
        done = fit("--run-dir", folder, "--trainer.precision", "32-true", *strategy, verb="test")
        assert done.returncode == 0, done.stderr
        losses.append(json.loads((folder / "results.json").read_text()))
    # TF32 and other kernels for other batches
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)


@pytest.mark.cuda(devices=2)
def test_a_killed_device_ends_the_job_and_the_job_resumes(
    celeba: Path, fit: Fit, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    two = ["--trainer.devices", 2, "--trainer.strategy", "ddp", "--data.batch_size", 8]
    assert (
        fit(
            *SHORT, *two, "--data.source.root", celeba, "--run-dir", folder, faults="batch:6:kill"
        ).returncode
        != 0
    )
    done = fit("--run-dir", folder, "--resume")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "release" / "diffshare.json").is_file()
