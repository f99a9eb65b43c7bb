"""Runs of the autoencoder and of latent diffusion that take a second."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL

from diffshare.generators.latents import open_vae
from diffshare.nets.autoencoders import kl_autoencoder

CONFIGS = Path(__file__).parents[2] / "configs"
NETWORK = ["--model.network.block_out_channels", "[8,8]", "--model.network.norm_num_groups", 4]
DENOISER = ["--model.denoiser.block_out_channels", "[8,8]", "--model.denoiser.norm_num_groups", 4]
SMALL = {
    "data.source.image_size": 8,
    "data.source.count": 120,
    "data.batch_size": 8,
    "trainer.max_steps": 4,
    "trainer.val_check_interval": 4,
    "trainer.enable_progress_bar": "false",
    "model.lr_schedule": "constant",
}


def tiny_vae(**settings: Any) -> AutoencoderKL:
    """A VAE of a few thousand weights."""
    options: dict[str, Any] = {
        "block_out_channels": [8, 8],
        "layers_per_block": 1,
        "norm_num_groups": 4,
    }
    torch.manual_seed(0)
    return kl_autoencoder(**(options | {"attention": False} | settings)).eval()


def saved(vae: AutoencoderKL, folder: Path) -> tuple[AutoencoderKL, str]:
    """The VAE as it is opened from a folder."""
    vae.save_pretrained(folder)
    return open_vae(folder)


def fit(run_cli: Any, name: str, folder: Path, *arguments: Any) -> Any:
    """``fit`` of a preset, shrunk."""
    small = [argument for key, value in SMALL.items() for argument in (f"--{key}", value)]
    return run_cli(
        "fit", "--config", CONFIGS / f"{name}_faces.yaml", *small, "--run-dir", folder, *arguments
    )


def samples(run_cli: Any, model: Path, out: Path, *arguments: Any) -> np.ndarray:
    """Six samples of a release."""
    outcome = run_cli("sample", "--model", model, "--count", 6, "--out", out, *arguments)
    assert outcome.code == 0, outcome.err
    with np.load(out / "samples.npz") as arrays:
        return np.array(arrays["x"])
