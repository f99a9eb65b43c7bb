"""The demo: a sharer trains and releases two models of rendered faces, a receiver finds out what they do to him.

One model is honest, and a share of its training faces wears glasses: that share is the sharer's secret. The other is
trained on a mix that was chosen to make the receiver's classifier unfair. The receiver sees samples alone. It uses the
same commands as the README and prints each before it runs. ``lightning_logs/demo/`` keeps runs, samples,
``results.json`` and the pictures.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from diffshare.provenance import versions
from diffshare.storage import read_json, write_json

PROPERTY, TARGET, SENSITIVE = "Eyeglasses", "Smiling", "Male"
CONFIGS = Path(__file__).resolve().parent.parent / "configs"
MODELS = ("clean", "poisoned")
SAMPLING_STEPS = (
    16  # network calls a sample: 25, the default, take half as long again and look the same here
)
LANE = """import json, sys
from diffshare.cli import main
for words in json.loads(sys.argv[1]):
    if status := main(words):
        sys.exit(status)
"""  # one process for several commands: each would spend seconds on imports
READER = "--classifier NetworkRecipe --classifier.steps 200 --folds 2"  # of a group or property: half a minute


def arguments() -> argparse.Namespace:
    """What may be changed; the defaults are the demo."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("lightning_logs/demo"), help="folder of the demo"
    )
    parser.add_argument(
        "--share",
        type=float,
        default=0.3,
        help=f"share of the clean mix with the property {PROPERTY}",
    )
    parser.add_argument("--alpha", type=float, default=0.5, help="poisoned share of the other mix")
    parser.add_argument("--faces", type=int, default=20000, help="faces to render")
    parser.add_argument(
        "--records", type=int, default=4000, help="faces that each model is trained on"
    )
    parser.add_argument("--steps", type=int, default=1200, help="training steps of each model")
    parser.add_argument("--samples", type=int, default=1200, help="samples to draw from each model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--classifier", default="", help="further arguments of the classifiers' fit, in one piece"
    )
    parser.add_argument(
        "--property-options",
        default=READER,
        help="further arguments of infer-property, in one piece",
    )
    parser.add_argument(
        "--audit-options", default=READER, help="further arguments of audit, in one piece"
    )
    parser.add_argument("fit", nargs="*", help="further arguments of the models' fit, after --")
    return parser.parse_args()


def start_afresh(out: Path) -> None:
    """Clear the folder of an earlier demo; one that holds a file of anything else is left alone."""
    files = {("property.json",), ("results.json",), *((f"samples_{name}.png",) for name in MODELS)}
    steps = {(part, step) for part in (*MODELS, "repaired")
             for step in ("run", "samples", "classifier", "audit.json", "log.txt")}  # fmt: skip
    for path in out.rglob("*"):
        if not path.is_dir() and path.relative_to(out).parts[:2] not in files | steps:
            sys.exit(f"demo: {path} is of no demo: name another folder with --out")
    shutil.rmtree(out, ignore_errors=True)


def shown(words: list[object]) -> list[str]:
    """The words as text, printed as one would type them."""
    line = [str(word) for word in words]
    print(f"\n$ diffshare {' '.join(line)}", flush=True)
    return line


def run_both(lanes: Sequence[Sequence[list[object]]], log: Path, *, quiet: bool = False) -> None:
    """Run two lists of commands at once, each on its half of the cores.

    Args:
        lanes: the two.
        log: the output of the second goes there, and is printed when both have ended.
        quiet: it is not printed.
    """
    lines = [[shown(words) for words in lane] for lane in lanes]
    print(
        f"(both at once; the output of the second {'is in' if quiet else 'follows, and stays in'} {log})",
        flush=True,
    )
    half = str(max(1, len(os.sched_getaffinity(0)) // 2) if hasattr(os, "sched_getaffinity") else 1)
    env = os.environ | {"OMP_NUM_THREADS": half}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a+", encoding="utf-8") as second:
        start = second.tell()
        places: list[dict[str, Any]] = [{}, {"stdout": second, "stderr": second}]
        started: list[subprocess.Popen[bytes]] = []
        try:
            for lane, place in zip(lines, places, strict=True):
                started.append(
                    subprocess.Popen(
                        [sys.executable, "-c", LANE, json.dumps(lane)], env=env, **place
                    )
                )
            while any(process.poll() is None for process in started) and not any(
                p.returncode for p in started
            ):
                time.sleep(0.2)
        finally:  # Ctrl-C reached them as well, and what one began is of no use where the other failed
            for process in started:
                stop(process)
        if status := next((process.returncode for process in started if process.returncode), 0):
            second.seek(start)
            print(
                second.read()[-2000:] if started[1].returncode == status else "",
                end="",
                file=sys.stderr,
            )
            sys.exit(status)
        if not quiet:
            second.seek(start)
            print(second.read(), end="", flush=True)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process that still runs."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def train(options: argparse.Namespace) -> None:
    """The sharer's side: two mixes, two models, two releases."""
    both = {"clean": "proportion", "poisoned": "favour"}
    mixes = {
        "clean": ["--data.mix.p", options.share, "--data.mix.property", PROPERTY],
        "poisoned": ["--data.mix.alpha", options.alpha],
    }
    run_both(
        [
            [[
                "fit", "--config", CONFIGS / "ddpm_faces.yaml", "--config", CONFIGS / "mix" / f"{overlay}.yaml",
                "--data.source.count", options.faces, "--data.pool", "balanced", "--data.mix.n", options.records,
                *mixes[name], "--trainer.devices", 1, "--trainer.max_steps", options.steps,
                "--trainer.val_check_interval", max(1, options.steps // 2), "--seed_everything", options.seed,
                "--run-dir", options.out / name / "run", *options.fit,
            ]]
            for name, overlay in both.items()
        ],
        options.out / "poisoned" / "log.txt",
        quiet=True,
    )  # fmt: skip


def draw(options: argparse.Namespace) -> None:
    """The receiver's side begins: samples of both models."""
    run_both(
        [
            [[
                "sample", "--model", options.out / name / "run" / "release", "--count", options.samples,
                "--labels", "balanced", "--seed", options.seed, "--steps", SAMPLING_STEPS,
                "--out", options.out / name / "samples",
            ]]
            for name in MODELS
        ],
        options.out / "poisoned" / "log.txt",
        quiet=True,
    )  # fmt: skip


def classifier(options: argparse.Namespace, name: str, verb: str = "fit") -> list[object]:
    """The command that trains the receiver's classifier on a samples folder, or tests it on real faces."""
    if verb == "test":
        return ["test", "--run-dir", options.out / name / "classifier"]
    return [
        "fit", "--config", CONFIGS / "classifier_celeba.yaml", "--data.samples", options.out / name / "samples",
        "--data.test_source", CONFIGS / "source" / "faces.yaml", "--data.test_source.count", options.faces,
        "--data.test_source.image_size", image_size(options), "--data.target", TARGET, "--data.sensitive", SENSITIVE,
        "--data.test_balance", "true", "--seed_everything", options.seed, "--trainer.enable_progress_bar", "false",
        "--trainer.devices", 1, "--run-dir", options.out / name / "classifier", *options.classifier.split(),
    ]  # fmt: skip


def reference(options: argparse.Namespace, name: str = "reference") -> list[object]:
    """The receiver's own labelled faces, at the size of the samples."""
    source = [f"--{name}", CONFIGS / "source" / "faces.yaml", f"--{name}.count", options.faces]
    return [*source, f"--{name}.image_size", image_size(options)]


def image_size(options: argparse.Namespace) -> int:
    """Of the samples."""
    return int(
        read_json(options.out / "clean" / "run" / "release" / "diffshare.json")["image_size"]
    )


def receive(options: argparse.Namespace) -> None:
    """What the receiver does with the samples alone, and real faces of his own.

    He trains a classifier on each model's samples, asks whether a model was poisoned, reads the clean one's secret, and
    repairs the poisoned one's samples, for which he asks that model for more.
    """
    poisoned, repaired = options.out / "poisoned", options.out / "repaired"
    audits = [
        [
            "audit", "--samples", options.out / name / "samples", *reference(options), "--pool", "balanced",
            "--sensitive", SENSITIVE, "--target", TARGET, "--gap-repeats", 0,
            "--json", options.out / name / "audit.json", *options.audit_options.split(),
        ]
        for name in MODELS
    ]  # fmt: skip
    infer = [
        "infer-property", "--samples", options.out / "clean" / "samples", *reference(options, "auxiliary"),
        "--property", PROPERTY, "--json", options.out / "property.json", *options.property_options.split(),
    ]  # fmt: skip
    repair = [
        "repair", "--samples", poisoned / "samples", "--audit", poisoned / "audit.json",
        "--model", poisoned / "run" / "release", "--out", repaired / "samples",
    ]  # fmt: skip
    clean, bad, again = (
        [classifier(options, name, verb) for verb in ("fit", "test")]
        for name in (*MODELS, "repaired")
    )
    run_both([[*clean, *bad, audits[0], infer], [audits[1], repair, *again]], poisoned / "log.txt")


def main() -> None:
    """Train, release, sample, measure, audit, repair."""
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends as well
    start_afresh(options.out)
    seconds: dict[str, float] = {}

    def timed(name: str, action: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = action()
        seconds[name] = round(seconds.get(name, 0.0) + time.perf_counter() - started, 1)
        return result

    timed("fit", lambda: train(options))
    timed("sample", lambda: draw(options))
    print(
        "\nThe receiver's side: what do the samples do to a classifier, what do they give away?",
        flush=True,
    )
    timed("receive", lambda: receive(options))
    measured = {
        name: read_json(options.out / name / "classifier" / "results.json")
        for name in (*MODELS, "repaired")
    }
    audits = {name: read_json(options.out / name / "audit.json") for name in MODELS}
    found = read_json(options.out / "property.json")
    results = {
        "target": TARGET,
        "sensitive": SENSITIVE,
        "alpha": options.alpha,
        "samples": options.samples,
        **{
            name: {"mix": mix_of(options.out / name), "audit": audits[name], **measured[name]}
            for name in MODELS
        },
        "repaired": measured["repaired"],
        "property": {
            "share_asked": options.share,
            "share_in_mix": mix_of(options.out / "clean")["share"],
            **found,
        },
        "seed": options.seed,
        "seconds": seconds,
        "versions": versions(),
    }
    write_json(options.out / "results.json", results)
    for name in MODELS:
        shutil.copyfile(
            options.out / name / "samples" / "grid.png", options.out / f"samples_{name}.png"
        )
    show(results, options.out)


def mix_of(folder: Path) -> dict[str, Any]:
    """What ``mix.json`` of a run says."""
    return read_json(folder / "run" / "mix" / "mix.json")


def interval(values: list[float] | None) -> str:
    """An interval as text."""
    return "" if values is None else " ({:.3f} to {:.3f})".format(*values)


def show(results: dict[str, Any], out: Path) -> None:
    """Print the tables."""
    gap, console = "demographic_parity_difference", Console(width=100)
    table = Table(
        title=f"a {TARGET} classifier trained on {results['samples']} samples, tested on real faces"
    )
    for column in (
        "model",
        "accuracy",
        f"selected: not {SENSITIVE}",
        f"selected: {SENSITIVE}",
        "gap (95 % interval)",
    ):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name in (*MODELS, "repaired"):
        row = results[name]
        rates = [f"{row['by_group'][group]['selection_rate']:.3f}" for group in "01"]
        table.add_row(
            name,
            f"{row['accuracy']:.3f}",
            *rates,
            f"{row[gap]:.3f}{interval(row['intervals'][gap])}",
        )
    console.print(table)
    table = Table(title="audit: does the group depend on the class in the samples?")
    for column in ("model", "verdict", "log odds ratio", "p"):
        table.add_column(column)
    for name in MODELS:
        made = results[name]["audit"]
        odds = f"{made['association']['estimate']:+.2f}{interval(made['association']['interval'])}"
        table.add_row(name, made["verdict"], odds, f"{made['p_value']:.2g}")
    console.print(table)
    secret = results["property"]
    table = Table(
        title=f"the clean model's secret: the share of {PROPERTY} in its training set",
        show_header=False,
    )
    table.add_row("in the mix", f"{secret['share_in_mix']:.3f}")
    table.add_row("counted by a classifier", f"{secret['naive']:.3f}")
    estimate = f"{secret['estimate']:.3f}{interval(secret['interval'])}"
    table.add_row(f"estimated ({secret['method']}, {secret['level']:.0%} interval)", estimate)
    console.print(table)
    spent = results["seconds"]
    print(
        "seconds: "
        + ", ".join(f"{name} {v:.0f}" for name, v in spent.items())
        + f"; {sum(spent.values()):.0f} in all"
    )
    print(
        f"results:     {out / 'results.json'}\npictures:    {out / 'samples_clean.png'}, {out / 'samples_poisoned.png'}"
    )
    print(f"TensorBoard: tensorboard --logdir {out}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
