"""How long a verb takes to start: processor time of ``--help``, of a refusal, and of an audit of a table.

python scripts/bench_start.py [--rounds 3] [--json FILE]

Everything runs in a fresh interpreter; the ratio is to ``python -c "import torch"`` in the same rounds. Processor time
of a process and its children (user and system), the least of the rounds: what else the machine does matters little.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from _bench import Row, report

TORCH = "python -c 'import torch'"
ROWS = 5000  # of the table that is audited
MIX = ("mix", "--config", "configs/ddpm_faces.yaml")
STUDY = ("study", "--config", "configs/study/families.yaml")
REFUSED = {  # what is refused of the arguments alone, of each verb
    "sample without --count": ("sample", "--model", "m", "--out", "o"),
    "sample --count 0": ("sample", "--model", "m", "--count", "0", "--out", "o"),
    "release without --ckpt": ("release", "--out", "o"),
    "release --out with something in it": ("release", "--ckpt", "c", "--out", "diffshare"),
    "mix without --out": MIX,
    "mix --out with something in it": (*MIX, "--out", "diffshare"),
    "study --workers many": (*STUDY, "--workers", "many"),
    "study with an unknown argument": (*STUDY, "--wokers", "1"),
    "cache limit without a size": ("cache", "limit"),
    "protect --share 2": ("protect", "--model", "m", "--count", "2", "--out", "o", "--property", "Hat", "--share", "2",
                          "--reference", "configs/source/faces.yaml"),
    "repair --most 1": ("repair", "--samples", "s", "--audit", "a", "--out", "o", "--most", "1"),
    "infer-property --level 2": ("infer-property", "--property", "Hat", "--samples", "s", "--level", "2"),
    "infer-property without records": ("infer-property", "--property", "Hat", "--samples", "s"),
    "audit without samples": ("audit", "--reference", "configs/source/faces.yaml"),
    "audit of one attribute twice": ("audit", "--samples", "s", "--reference", "configs/source/faces.yaml",
                                     "--sensitive", "Hat", "--target", "Hat"),
}  # fmt: skip
VERBS = (
    "sample",
    "release",
    "mix",
    "study",
    "cache",
    "protect",
    "repair",
    "infer-property",
    "audit",
)


def processor_time(arguments: list[str], status: int) -> float:
    """Seconds that a fresh interpreter computes."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == status, f"{arguments}: status {done.returncode}\n{done.stderr}"
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def write_table(file: Path, seed: int) -> None:
    """Rows with a group, a class that depends on it a little, and two columns of numbers."""
    rng = np.random.default_rng(seed)
    ill = rng.random(ROWS) < 0.4
    woman = rng.random(ROWS) < np.where(ill, 0.55, 0.45)
    age, dose = rng.normal(50, 12, ROWS).round(), rng.normal(ill, 1.0).round(3)
    lines = ["age,dose,sex,ill"]
    lines += [
        f"{a:g},{d:g},{('man', 'woman')[int(w)]},{('no', 'yes')[int(i)]}"
        for a, d, w, i in zip(age, dose, woman, ill, strict=True)
    ]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def table_audit(folder: Path) -> list[str]:
    """Write reference and samples below ``folder``; the arguments of their audit."""
    (folder / "samples").mkdir()
    write_table(folder / "own.csv", 1)
    write_table(folder / "samples" / "samples.csv", 2)
    columns = {"age": "numeric", "dose": "numeric", "sex": ["man", "woman"], "ill": ["no", "yes"]}
    settings = {"path": str(folder / "own.csv"), "columns": columns, "shares": [0.0, 1.0, 0.0]}
    source = {"class_path": "diffshare.data.table.CSVTable", "init_args": settings}
    (folder / "own.yaml").write_text(yaml.safe_dump(source), encoding="utf-8")
    named = ["--samples", str(folder / "samples"), "--reference", str(folder / "own.yaml")]
    return ["audit", *named, "--sensitive", "sex", "--target", "ill", "--gap-repeats", "0"]


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    root = Path(__file__).resolve().parents[1]
    os.chdir(root)
    os.environ["PYTHONPATH"] = str(root)
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["DIFFSHARE_CACHE"] = str(Path(temporary) / "cache")
        cli = ["-m", "diffshare.cli"]
        runs = {TORCH: (["-c", "import torch"], 0)}
        runs |= {f"{verb} --help": ([*cli, verb, "--help"], 0) for verb in VERBS}
        runs |= {name: ([*cli, *words], 2) for name, words in REFUSED.items()}
        runs[f"audit of {ROWS} rows, no gap predicted"] = ([*cli, *table_audit(Path(temporary))], 0)
        seconds = dict.fromkeys(runs, np.inf)
        for _ in range(options.rounds):
            for name, (arguments, status) in runs.items():
                seconds[name] = min(seconds[name], processor_time(arguments, status))
    torch = seconds.pop(TORCH)
    rows = [
        Row(TORCH, torch, "s"),
        *(Row(name, value, "s", TORCH, value / torch) for name, value in seconds.items()),
    ]
    report(rows, options.json)


if __name__ == "__main__":
    main()
