"""What the documents say is true: the README's commands run, links lead somewhere, versions agree."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import diffshare
from diffshare.study.engine.base import Study
from diffshare.study.engine.run import StudyResult
from diffshare.study.engine.step import identities

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])

# Lines of the README that no test types: the two scripts that are tests of their own, the way to an installation and
# the viewer, which runs until it is stopped.
NOT_RUN = re.compile(
    r"(\./)?scripts/(demo|test|setup)\b|git clone |cd |source |\. |export |tensorboard "
    r"|python3? -m venv |(python3? -m )?pip install "
)


class Run(NamedTuple):
    """How the tests run one command of the README.

    Attributes:
        extra: arguments appended to make it small; ``{data}`` becomes the folder of the real data.
        data: it needs the real data, or the output of a command that does.
        alone: it runs as a process of its own: Lightning starts further ones by the command line of the first.
        steps: its steps run; those of studies run from config to figure in tests/study, once, and are made here.
    """

    extra: str = ""
    data: bool = False
    alone: bool = False
    steps: bool = True


# Each command of the README as written there (continued lines joined by one space) -> how it is run here. They run in
# the README's order in one working folder outside the clone, where configs are found by name; those with ``data`` have
# a folder of their own.
TINY = (
    "--trainer.max_steps 2 --trainer.val_check_interval 2 --trainer.enable_progress_bar false "
    "--model.denoiser.block_out_channels [8,8,8,8] --model.denoiser.norm_num_groups 4 "
    "--data.source.image_size 8 --data.batch_size 8 --model.sampling_steps 2"
)
FACES = f"{TINY} --data.source.count 300"
CELEBA = f"{TINY} --data.source.root {{data}}/faces --data.target Young --data.mix.n 64"
BARE = "--model.denoiser.add_attention false --model.denoiser.attention_head_dim 8"
FIT = "diffshare fit --config "
SAMPLE_FACES = "diffshare sample --model lightning_logs/faces/release --count 64"
SMALL = f"{FIT}ddpm_celeba --config size/small --data.source.root data/celeba --data.target Young"

TINY_CLASSIFIER = (
    "--trainer.max_steps 2 --trainer.val_check_interval 2 --trainer.enable_progress_bar false"
)
REFERENCE = "--{0}.count 2400 --{0}.image_size 8 --classifier KernelRecipe --folds 2"
RUNS: dict[str, Run] = {
    f"{FIT}ddpm_faces --config mix/favour --data.pool balanced --data.mix.n 4000 "
    "--run-dir lightning_logs/poisoned": Run(
        f"{FACES} --data.mix.n 60 --data.mix.delta_kind absolute"
    ),
    "diffshare sample --model lightning_logs/poisoned/release --count 2000 --labels balanced "
    "--out samples_poisoned": Run("--count 80"),
    f"{FIT}classifier_celeba --data.samples samples_poisoned --data.test_source source/faces "
    "--data.test_balance true --run-dir lightning_logs/receiver": Run(
        f"{TINY_CLASSIFIER} --data.test_source.count 300 --data.test_source.image_size 8"
    ),
    "diffshare test --run-dir lightning_logs/receiver": Run(),
    "diffshare study --config study/fairness_poisoning": Run(steps=False),
    "diffshare study --config study/families": Run(steps=False),
    "diffshare infer-property --model lightning_logs/faces/release --auxiliary source/faces "
    "--property Eyeglasses --json property.json": Run(
        f"{REFERENCE.format('auxiliary')} --queries 60 --method cc"
    ),
    "diffshare sample --model lightning_logs/faces/release --count 2000 --labels balanced --seed 1 "
    "--out samples_audit": Run("--count 120"),
    "diffshare audit --samples samples_audit --reference source/faces --sensitive Male "
    "--target Smiling --json audit.json": Run(f"{REFERENCE.format('reference')} --gap-repeats 0"),
    "diffshare audit --as sharer --model lightning_logs/faces/release --reference "
    "source/faces --properties Eyeglasses Hat --manifest lightning_logs/faces/mix --json leak.json": Run(
        f"{REFERENCE.format('reference')} --queries 80"
    ),
    "diffshare release --ckpt lightning_logs/faces/checkpoints/last.ckpt --out lightning_logs/declared "
    "--declare_counts true": Run(),
    "diffshare audit --model lightning_logs/declared --reference source/faces "
    "--sensitive Male --target Smiling --json declared.json": Run(
        f"{REFERENCE.format('reference')} --queries 100 --gap-repeats 0"
    ),
    "diffshare repair --samples samples_audit --audit audit.json --model lightning_logs/faces/release "
    "--out samples_repaired": Run(),
    f"{FIT}ddpm_faces --run-dir lightning_logs/faces": Run(FACES),
    f"{SAMPLE_FACES} --labels balanced --seed 0 --out samples": Run(),
    f"{FIT}ddpm_celeba --data.source.root data/celeba --run-dir lightning_logs/celeba": Run(
        f"{CELEBA} {BARE} --model.denoiser.layers_per_block 1", data=True
    ),
    f"{SMALL} --data.sensitive Male --run-dir lightning_logs/small": Run(CELEBA, data=True),
    "diffshare sample --model lightning_logs/small/release --count 64 --labels balanced --guidance 2 "
    "--out samples_small": Run(data=True),
    "diffshare mix --config ddpm_faces --config mix/proportion "
    "--data.mix.p 0.3 --out lightning_logs/mix": Run(
        "--data.source.count 300 --data.source.image_size 8"
    ),
    "diffshare configs copy mix/poisoned --out lightning_logs/mine.yaml": Run(),
    "diffshare validate --run-dir lightning_logs/faces": Run(),
    "diffshare test --run-dir lightning_logs/faces": Run(),
    "diffshare predict --run-dir lightning_logs/faces --data.predict_count 16": Run(),
    "diffshare release --ckpt lightning_logs/faces/checkpoints/last.ckpt "
    "--out lightning_logs/release_faces": Run(),
    f"{FIT}ddpm_faces --model.denoiser.layers_per_block 2 --model.scheduler.prediction_type epsilon "
    "--run-dir lightning_logs/wider": Run(FACES),
    "diffshare fit --run-dir lightning_logs/faces --resume": Run(),
    f"{FIT}ddpm_faces --trainer.accelerator cpu --trainer.strategy ddp --trainer.devices 2 "
    "--data.batch_size 16 --run-dir lightning_logs/two": Run(
        f"{FACES} --data.batch_size 4", alone=True
    ),
    "diffshare test --run-dir lightning_logs/two": Run(alone=True),
    "diffshare cache": Run(),
    "diffshare cache limit 20GB": Run(),
}


def commands(text: str) -> list[str]:
    """The commands in the fenced ``sh`` and ``bash`` blocks of a Markdown text, in order, without comments."""
    found = []
    for block in re.findall(r"^```(?:sh|bash)[^\S\n]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for line in re.sub(r"\s*\\\n\s*", " ", block).splitlines():
            command = re.sub(r"(^|\s)#.*", "", line).strip().removeprefix("$ ")
            if command:
                found.append(command)
    return found


def arguments(command: str) -> list[str] | None:
    """The arguments of a call of diffshare, None for any other command."""
    words = shlex.split(command)
    for entry in (["diffshare"], ["python", "-m", "diffshare.cli"]):
        if words[: len(entry)] == entry and not {"|", "&&", ";", "&", ">"} & set(words):
            return words[len(entry) :]
    return None


def unknown_commands(text: str, runs: dict[str, Run]) -> list[str]:
    """Commands that are neither run through ``runs`` nor of a kind that is not run."""
    return [
        c
        for c in commands(text)
        if not NOT_RUN.match(c) and (c not in runs or arguments(c) is None)
    ]


def dead_links(document: Path) -> list[str]:
    """Relative links and image sources of a Markdown file that lead to no file."""
    text = re.sub(
        r"^```.*?^```", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL
    )
    text = re.sub(r"`[^`\n]*`", "", text)
    targets = re.findall(r"\]\(\s*<?([^)\s>]+)", text)
    targets += re.findall(r"^\[[^\]]+\]:\s*(\S+)", text, re.MULTILINE)
    targets += re.findall(r"(?:src|href)=\"([^\"]+)\"", text)
    paths = [target.split("#")[0] for target in targets if not re.match(r"[a-z]+:", target)]
    return [path for path in paths if path and not (document.parent / path).exists()]


README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_readme_command_is_known():
    assert unknown_commands(README, RUNS) == [], "add them to RUNS, or take them out of the README"
    assert [command for command in RUNS if command not in commands(README)] == [], (
        "in RUNS, but not in the README"
    )


def run_alone(*args: str) -> subprocess.CompletedProcess[str]:
    """Run ``diffshare ARGS`` in a process of its own, on one thread each where it starts others."""
    command = [sys.executable, "-m", "diffshare.cli", *args]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        command, env=env, capture_output=True, text=True, check=False, timeout=300
    )


def made(study: Study, *_: object, **__: object) -> StudyResult:
    """In place of a run: the steps of a study are made, in an order in which they can run."""
    assert identities(study.steps())
    return StudyResult("study", Path(), [], [], {}, [], [], [], [], {})


def run_in(folder: Path, readme: str, runs: dict[str, Run], run_cli, data: Path | None) -> int:
    """Run the commands that need the real data, or those that do not, in ``folder``; returns how many."""
    (folder / "docs").symlink_to(ROOT / "docs")
    chosen = [c for c in commands(readme) if c in runs and runs[c].data == (data is not None)]
    for command in chosen:
        extra = shlex.split(runs[command].extra.replace("{data}", str(data)))
        args = [*(arguments(command) or []), *extra]
        if runs[command].alone:
            process = run_alone(*args)
            code, err = process.returncode, process.stderr
        elif runs[command].steps:
            code, _, err = run_cli(*args)
        else:
            with mock.patch("diffshare.commands.study.run_study", side_effect=made) as run:
                code, _, err = run_cli(*args)
            run.assert_called_once()
        assert code == 0, f"{command}\nended with {code}\n{err}"
    return len(chosen)


@pytest.mark.timeout(1800)  # minutes on a busy machine
@pytest.mark.slow
def test_readme_commands_run(tmp_path, monkeypatch, run_cli):
    monkeypatch.chdir(tmp_path)
    assert run_in(tmp_path, README, RUNS, run_cli, None) > 0


@pytest.mark.data
def test_readme_commands_run_on_real_data(tmp_path, monkeypatch, run_cli, data_root):
    monkeypatch.chdir(tmp_path)
    assert run_in(tmp_path, README, RUNS, run_cli, data_root) > 0


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(document):
    assert dead_links(document) == []


def test_versions_agree():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert project["version"] == diffshare.__version__ == citation["version"]
    assert f"## [{diffshare.__version__}]" in (ROOT / "CHANGELOG.md").read_text()


def test_constraints_pin_every_dependency_within_its_range():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [
        line
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if not line.startswith("#")
    ]
    pins = {
        canonicalize_name(name): version for name, version in (line.split("==") for line in lines)
    }
    assert len(pins) == len(lines)
    texts = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    for text in texts:
        wanted = Requirement(text)
        if wanted.name == project["name"]:  # further extras of its own
            texts += [
                each
                for extra in sorted(wanted.extras)
                for each in project["optional-dependencies"][extra]
            ]
            continue
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), text


SAMPLE = """
Text with `sh` in it.
```sh
scripts/demo    # ten minutes
python -m diffshare.cli fit --config a.yaml \\
    --seed_everything 1
```
```yaml
diffshare: not a command
```
```bash
# only a comment
$ diffshare sample --out 'a b'
diffshare sample | head
rm -r everything
```
"""


def test_commands_are_found_in_order():
    assert commands(SAMPLE) == [
        "scripts/demo",
        "python -m diffshare.cli fit --config a.yaml --seed_everything 1",
        "diffshare sample --out 'a b'",
        "diffshare sample | head",
        "rm -r everything",
    ]


def test_commands_without_an_entry_are_reported():
    fit, sample, pipe, remove = commands(SAMPLE)[1:]
    assert unknown_commands(SAMPLE, {}) == [fit, sample, pipe, remove]
    assert unknown_commands(SAMPLE, {c: Run() for c in (fit, sample, pipe, remove)}) == [
        pipe,
        remove,
    ]


def test_commands_run_with_their_extra_arguments(tmp_path):
    fit, sample = commands(SAMPLE)[1:3]
    runs = {fit: Run("--trainer.max_steps 1"), sample: Run("--root {data}/faces", data=True)}
    calls: list[tuple[str, ...]] = []

    class Outcome(NamedTuple):
        code: int
        out: str = ""
        err: str = "the reason"

    def run_cli(*args):
        calls.append(args)
        return Outcome(code=2 if "sample" in args else 0)

    for name in "ab":
        (tmp_path / name).mkdir()
    assert run_in(tmp_path / "a", SAMPLE, runs, run_cli, None) == 1
    assert calls == [
        ("fit", "--config", "a.yaml", "--seed_everything", "1", "--trainer.max_steps", "1")
    ]
    with pytest.raises(
        AssertionError, match=r"diffshare sample --out 'a b'\s+ended with 2\s+the reason"
    ):
        run_in(tmp_path / "b", SAMPLE, runs, run_cli, Path("/x"))
    assert calls[1] == ("sample", "--out", "a b", "--root", "/x/faces")


def test_dead_links_are_reported(tmp_path):
    (tmp_path / "there.md").touch()
    page = tmp_path / "page.md"
    page.write_text(
        "[a](there.md#part) [b](gone.md) [c](https://example.org/x) [d](#here) ![e](pic.png) `[f](code.md)`\n"
        '<img src="also-gone.png">\n[g]: lost.md\n```\n[h](fenced.md)\n```\n'
    )
    assert sorted(dead_links(page)) == ["also-gone.png", "gone.md", "lost.md", "pic.png"]


def test_what_the_page_for_contributors_says_to_copy_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = text.split("## To add something, copy")[1].split("\n\n")[1]
    paths = re.findall(r"`([\w/]+\.(?:py|yaml))`", table)
    assert len(paths) >= 12
    assert [path for path in paths if not (ROOT / path).is_file()] == []
    for name, file in re.findall(r"`(\w+)`[^`|]* in `([\w/]+\.py)`", table):
        assert re.search(rf"\b{name}\b", (ROOT / file).read_text()), f"{name} of {file}"
