"""The list of seeded faults does not rot: each has one place in the package, and tests that exist."""

import ast
import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def check_faults():
    """``scripts/check_faults.py``."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "scripts"))
        patch.setenv("OMP_NUM_THREADS", "1")  # which it sets for the runs that it starts
        yield importlib.import_module("check_faults")


def test_every_fault_has_one_place_and_tests(check_faults: ModuleType):
    faults = check_faults.FAULTS
    assert len(faults) >= 30
    assert len({fault.name for fault in faults}) == len(faults)
    assert len({fault.file for fault in faults}) >= 30
    for fault in faults:
        assert check_faults.places(fault) == 1, f"{fault.file}: {fault.text}"
        assert fault.slip != fault.text
        files = [name.partition("::")[0] for name in fault.tests.split()]
        assert all((ROOT / "tests" / file).is_file() for file in files), fault.tests
        changed = (ROOT / "diffshare" / fault.file).read_text().replace(fault.text, fault.slip)
        ast.parse(changed)  # a slip that is no Python would be caught by any test


def test_every_room_has_a_fault(check_faults: ModuleType):
    rooms = {path.parent.name for path in (ROOT / "diffshare").glob("*/__init__.py")}
    assert {fault.file.split("/")[0] for fault in check_faults.FAULTS} >= rooms


def test_a_text_that_moved_is_seen(check_faults: ModuleType, tmp_path: Path):
    fault = check_faults.FAULTS[0]
    assert check_faults.places(fault, tmp_path) == 0
    file = tmp_path / "diffshare" / fault.file
    file.parent.mkdir(parents=True)
    file.write_text(fault.text * 2)
    assert check_faults.places(fault, tmp_path) == 2
