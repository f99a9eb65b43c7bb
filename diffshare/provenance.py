"""What made a result: versions of the libraries and revision of the code."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import diffshare

LIBRARIES = ("torch", "lightning", "diffusers", "torchmetrics", "numpy", "pillow")


def code_revision() -> str | None:
    """Commit of the code that runs, with ``+changes`` where files differ from it; None outside a git checkout."""
    here = Path(__file__).resolve().parent
    try:
        commit = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--dirty=+changes", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip()


def versions(libraries: tuple[str, ...] = LIBRARIES) -> dict[str, str]:
    """Versions of Python, of diffshare and of libraries; one that is not installed is left out."""
    numbers = {"python": platform.python_version(), "diffshare": diffshare.__version__}
    for name in libraries:
        try:
            numbers[name] = version(name)
        except PackageNotFoundError:
            continue
    return numbers
