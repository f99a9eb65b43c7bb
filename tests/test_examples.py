"""The scripts in examples/ and the Python of the documents run."""

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_release import random_ddpm
from vendor_files import write_tables

ROOT = Path(__file__).parent.parent
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
SAID = {
    "audit_frame.py": r"honest: Audit\(clean(.|\n)*poisoned: Audit\(poisoned",
    "audit_by_guidance.py": r"guidance 1: Audit\((.|\n)*guidance 2: Audit\(",
    "poisoned_mix.py": r"alpha 0.0: 54% (.|\n)*alpha 0.5: 78% ",
    "read_share.py": r"between 0.2\d and 0.[23]\d, where it is 0.27",
}


def test_each_example_is_tried():
    assert set(EXAMPLES) == set(SAID)
    for name in EXAMPLES:
        assert len((ROOT / "examples" / name).read_text().splitlines()) < 40


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs(
    name: str, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [name, str(random_ddpm(tmp_path / "model", 16, steps=2))])
    runpy.run_path(str(ROOT / "examples" / name), run_name="__main__")
    assert re.search(SAID[name], capsys.readouterr().out)


def python_of(document: str) -> str:
    return "\n".join(re.findall(r"```python\n(.*?)```", (ROOT / document).read_text(), re.DOTALL))


def test_the_python_of_the_documents_runs(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    write_tables(tmp_path)
    exec(compile(python_of("docs/python.md"), "python.md", "exec"), {})
    rng = np.random.default_rng(0)
    s, y = rng.integers(0, 2, (2, 900))
    x = rng.normal(size=(900, 2)) + 1.5 * s[:, None] + y[:, None]
    names = {"x": x, "y": y, "s": s, "new_x": x[::-1].copy(), "new_y": y[::-1].copy()}
    code = python_of("README.md").replace(
        "runs/faces/release", str(random_ddpm(tmp_path / "m", 16, steps=2))
    )
    exec(compile(code, "README.md", "exec"), names)
    assert names["audit"].verdict in ("poisoned", "clean", "inconclusive")
