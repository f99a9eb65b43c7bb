"""A small fairness poisoning study: its arguments, with overlays of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from diffshare.study.steps.grid import Downstream

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def overlay(tmp_path: Path) -> Callable[..., Path]:
    """Write an overlay that names a mix."""

    def write(class_path: str = "fake_mixes.Flip", name: str = "flip") -> Path:
        path = tmp_path / f"{name}.yaml"
        mix = f"{{class_path: {class_path}, init_args: {{alpha: 0.5}}}}"
        path.write_text(f"data: {{init_args: {{mix: {mix}}}}}")
        return path

    return write


@pytest.fixture
def arguments(overlay: Callable[..., Path], tmp_path: Path) -> dict[str, Any]:
    """Arguments of ``FairnessPoisoning``."""
    classifier = tmp_path / "classifier.yaml"
    classifier.write_text(
        "data: {class_path: diffshare.data.synthetic.SyntheticDataModule, init_args: {seed: 0}}"
    )
    return {
        "generator": [ROOT / "configs" / "ddpm_faces.yaml"],
        "classifier": Downstream([classifier]),
        "policies": {"flip": overlay()},
        "alphas": [0.0, 0.25, 0.5],
        "guidances": [1.0, 3.0],
        "seeds": [0, 1],
        "n": 200,
        "samples": 40,
        "overrides": {
            "data": {"source": {"image_size": 8}, "batch_size": 16},
            "trainer.max_steps": 2,
        },
    }
