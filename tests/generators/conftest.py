"""Runs that several files look at."""

from pathlib import Path
from typing import Any

import pytest
from latent_runs import DENOISER, NETWORK, fit


@pytest.fixture(scope="session")
def autoencoder(run_cli: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of an autoencoder."""
    folder = tmp_path_factory.mktemp("autoencoder") / "run"
    outcome = fit(run_cli, "autoencoder", folder, *NETWORK)
    assert outcome.code == 0, outcome.err
    return folder


@pytest.fixture(scope="session")
def latent(run_cli: Any, autoencoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a denoiser on its latents."""
    folder = tmp_path_factory.mktemp("latent") / "run"
    outcome = fit(run_cli, "latent", folder, *DENOISER, "--model.vae", autoencoder)
    assert outcome.code == 0, outcome.err
    return folder
