"""Runs of small GANs, and samples of their releases, for the tests of GANs."""

from pathlib import Path
from typing import Any

import numpy as np

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL: dict[str, Any] = {
    "model.generator.sample_size": 8,
    "model.generator.latent_dim": 4,
    "model.generator.block_out_channels": [8, 8],
    "model.discriminator.block_out_channels": [8, 8],
    "model.discriminator.halvings": 1,
    "model.discriminator_steps": 2,
    "model.condition_dropout": 0.5,
    "model.lr_schedule": "constant",  # a cosine has its end from the start: no resuming to a later one
    "data.source.image_size": 8,
    "data.source.count": 120,
    "data.batch_size": 8,
    "trainer.max_steps": 3,
    "trainer.val_check_interval": 3,
    "trainer.log_every_n_steps": 1,
    "trainer.enable_progress_bar": "false",
}


def fit(run_cli: Any, name: str, folder: Path, *more: Any, **changes: Any) -> Any:
    """``fit`` of a preset, shrunk."""
    options = SMALL | changes
    arguments = [argument for key, value in options.items() for argument in (f"--{key}", value)]
    return run_cli(
        "fit", "--config", CONFIGS / f"{name}_faces.yaml", *more, *arguments, "--run-dir", folder
    )


def samples(run_cli: Any, model: Path, out: Path, *arguments: Any) -> np.ndarray:
    """Six samples of a release."""
    outcome = run_cli("sample", "--model", model, "--count", 6, "--out", out, *arguments)
    assert outcome.code == 0, outcome.err
    with np.load(out / "samples.npz") as arrays:
        return np.array(arrays["x"])
