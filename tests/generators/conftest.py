"""Runs that several files look at."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gan_runs
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


@pytest.fixture(scope="session")
def gans(run_cli: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run folder of a preset, trained when it is first asked for."""

    @functools.cache
    def trained(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name) / "run"
        outcome = gan_runs.fit(run_cli, name, folder)
        assert outcome.code == 0, outcome.err
        return folder

    return trained


@pytest.fixture(params=["sngan", "ssgan"])
def gan(request: pytest.FixtureRequest, gans: Callable[[str], Path]) -> Path:
    """The run folder of each preset in turn."""
    return gans(request.param)
