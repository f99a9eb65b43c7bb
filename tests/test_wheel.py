"""The wheel alone is enough: installed outside the clone, it does the main job with the configs that it brings."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from vendor_files import write_pictures, write_tables

from diffshare.packaged import names

ROOT = Path(__file__).parent.parent
SOURCES = ("diffshare", "configs", "setup.py", "pyproject.toml", "README.md", "LICENSE")
TINY = (
    "--trainer.max_steps 2 --trainer.val_check_interval 2 --trainer.enable_progress_bar false "
    "--model.denoiser.block_out_channels [8,8,8,8] --model.denoiser.norm_num_groups 4 --data.batch_size 8 "
    "--data.source.image_size 8 --data.source.count 300 --model.sampling_steps 2"
)
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def call(*words: object, cwd: Path) -> str:
    """Run a program without what leads back to the clone; its output."""
    kept = {
        key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")
    }
    done = subprocess.run(
        [str(word) for word in words], cwd=cwd, env=kept | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of a copy of the clone, so that nothing is left in the clone and nothing stale gets in."""
    copy = tmp_path_factory.mktemp("clone")
    for name in SOURCES:
        place = ROOT / name
        if place.is_dir():
            shutil.copytree(place, copy / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(place, copy / name)
    call(
        *PIP, "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", copy / "out", ".", cwd=copy
    )
    (built,) = (copy / "out").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def diffshare(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program in an environment of its own, which borrows the packages of this one and installs the wheel."""
    folder = tmp_path_factory.mktemp("environment")
    call(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    call(*PIP, "--python", python, "install", "--no-deps", "--no-index", "-q", wheel, cwd=folder)
    where = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(call(python, "-c", where, cwd=folder).strip())
    # what a .pth names is searched last, and the .pth files there, such as that of an editable install, are not read
    (packages / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "diffshare"


def test_the_wheel_holds_every_config_and_nothing_beside_the_package(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        files = {name for name in archive.namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in files} == {"diffshare"}
    held = {name.removeprefix("diffshare/configs/") for name in files if "/configs/" in name}
    assert held == {f"{name}.yaml" for name in names()}
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "diffshare").rglob("*.py")}
    assert {name for name in files if name.endswith(".py")} == modules


def test_the_main_job_runs_from_the_wheel_alone(diffshare: Path, tmp_path: Path) -> None:
    def run(words: str) -> str:
        return call(diffshare, *words.split(), cwd=tmp_path)

    code = "import diffshare.packaged as p; print(p.__file__); print(p.folder())"
    for line in call(diffshare.parent / "python", "-c", code, cwd=tmp_path).splitlines():
        assert Path(line).is_relative_to(diffshare.parent.parent)
    assert [line.split()[0] for line in run("configs").splitlines()] == names()
    run(f"fit --config ddpm_faces --config mix/proportion --data.mix.p 0.3 --run-dir run {TINY}")
    run("sample --model run/release --count 8 --labels balanced --out samples")
    assert json.loads((tmp_path / "samples" / "samples.json").read_text())["count"] == 8


def test_a_study_finds_the_configs_that_it_names_from_the_wheel_alone(
    diffshare: Path, tmp_path: Path
) -> None:
    for name in ("fairness_poisoning", "families", "protection", "dp", "audit"):
        code = (
            "from diffshare.commands.study import parser, with_configs; from diffshare.study.engine.base import Study\n"
            f"words = with_configs(['--config', 'study/{name}', '--out', 'out'])\n"
            "typed = parser(words, Study)\n"
            "print(len(typed.instantiate(typed.parse_args(words)).study.steps()))"
        )
        assert int(call(diffshare.parent / "python", "-c", code, cwd=tmp_path)) > 0


def test_a_csv_is_audited_and_read_from_the_wheel_alone(diffshare: Path, tmp_path: Path) -> None:
    cells = [("man", "no"), ("woman", "no"), ("man", "yes"), ("woman", "yes")]
    rows = "\n".join(["sex,ill", *(",".join(cells[i % 4]) for i in range(400)), ""])
    (tmp_path / "samples").mkdir()
    for file in (tmp_path / "own.csv", tmp_path / "samples" / "samples.csv"):
        file.write_text(rows)
    columns = {"sex": ["man", "woman"], "ill": ["no", "yes"]}
    settings = {"path": "own.csv", "columns": columns, "shares": [0.0, 1.0, 0.0]}
    source = {"class_path": "diffshare.data.table.CSVTable", "init_args": settings}
    (tmp_path / "own.yaml").write_text(json.dumps(source))
    audit = (
        "audit --samples samples --reference own.yaml --sensitive sex --target ill --gap-repeats 0"
    )
    call(diffshare, *audit.split(), "--json", "audit.json", cwd=tmp_path)
    assert json.loads((tmp_path / "audit.json").read_text())["verdict"] != "poisoned"
    infer = (
        "infer-property --samples samples --auxiliary own.yaml --property sex --json property.json"
    )
    call(diffshare, *infer.split(), cwd=tmp_path)
    low, high = json.loads((tmp_path / "property.json").read_text())["interval"]
    assert low <= 0.5 <= high


def test_the_one_liners_run_from_the_wheel_alone(diffshare: Path, tmp_path: Path) -> None:
    write_tables(tmp_path)
    write_pictures(tmp_path)
    pictures = "--labels photos.csv --sensitive Male --target Smiling --gap-repeats 0"
    for line in (
        "audit synthetic.csv --against holdout.csv --sensitive sex --target income --json audit.json",
        "infer-property synthetic.csv --against holdout.csv --property relationship=Husband",
        "repair synthetic.csv --against holdout.csv --audit audit.json --out repaired",
        f"audit generated/ --against photos/ {pictures} --classifier KernelRecipe --folds 2",
    ):
        call(diffshare, *line.split(), cwd=tmp_path)
    assert json.loads((tmp_path / "audit.json").read_text())["verdict"] == "poisoned"
    assert (tmp_path / "repaired" / "samples.csv").is_file()
