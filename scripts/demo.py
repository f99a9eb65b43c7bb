"""The demo: a sharer trains and releases two models of rendered faces, a receiver finds out what they do to him.

One model is honest, and a share of its training faces wears glasses: that share is the sharer's secret. The other is
trained on a mix that was chosen to make the receiver's classifier unfair. The receiver sees samples alone. It uses the
same commands as the README and prints each before it runs. ``lightning_logs/demo/`` keeps runs, samples,
``results.json`` and the pictures.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from diffshare.cli import main as diffshare
from diffshare.provenance import versions
from diffshare.storage import read_json, write_json

PROPERTY, TARGET, SENSITIVE = "Eyeglasses", "Smiling", "Male"
CONFIGS = Path(__file__).resolve().parent.parent / "configs"
MODELS = ("clean", "poisoned")
READER = "--classifier NetworkRecipe --classifier.steps 300 --folds 2"  # of a group or property: half a minute


def arguments() -> argparse.Namespace:
    """What may be changed; the defaults are the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("lightning_logs/demo"), help="folder of the demo")
    parser.add_argument("--share", type=float, default=0.3, help=f"share of the clean mix with the property {PROPERTY}")
    parser.add_argument("--alpha", type=float, default=0.5, help="poisoned share of the other mix")
    parser.add_argument("--faces", type=int, default=20000, help="faces to render")
    parser.add_argument("--records", type=int, default=4000, help="faces that each model is trained on")
    parser.add_argument("--samples", type=int, default=1500, help="samples to draw from each model")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--classifier", default="", help="further arguments of the classifiers' fit, in one piece")
    parser.add_argument("--property-options", default=READER, help="further arguments of infer-property, in one piece")
    parser.add_argument("--audit-options", default=READER, help="further arguments of audit, in one piece")
    parser.add_argument("fit", nargs="*", help="further arguments of the models' fit, after --")
    return parser.parse_args()


def start_afresh(out: Path) -> None:
    """Clear the folder of an earlier demo; any other folder that holds something is left alone."""
    if out.is_dir() and any(out.iterdir()) and not (out / MODELS[0] / "run" / "config.yaml").is_file():
        sys.exit(f"demo: {out} holds something that is no demo: name another folder with --out")
    shutil.rmtree(out, ignore_errors=True)


def shown(words: list[object]) -> list[str]:
    """The words as text, printed as one would type them."""
    line = [str(word) for word in words]
    print(f"\n$ python -m diffshare.cli {' '.join(line)}", flush=True)
    return line


def run(*words: object) -> None:
    """Run one command of diffshare."""
    status = diffshare(shown(list(words)))
    if status:
        sys.exit(status)


def run_both(commands: dict[str, list[object]], log: Path) -> None:
    """Run two commands at once, each on its half of the cores; the output of the second goes to ``log``."""
    lines = [shown(words) for words in commands.values()]
    print(f"(both at once; the output of the second is in {log})", flush=True)
    half = str(max(1, len(os.sched_getaffinity(0)) // 2) if hasattr(os, "sched_getaffinity") else 1)
    env = os.environ | {"OMP_NUM_THREADS": half}
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as quiet:
        places: list[dict[str, Any]] = [{}, {"stdout": quiet, "stderr": quiet}]
        started = [
            subprocess.Popen([sys.executable, "-m", "diffshare.cli", *line], env=env, **place)
            for line, place in zip(lines, places, strict=True)
        ]
        try:
            statuses = [process.wait() for process in started]
        except KeyboardInterrupt:  # Ctrl-C reached them as well
            for process in started:
                process.wait()
            sys.exit(130)
    if any(statuses):
        print(log.read_text(encoding="utf-8")[-2000:], file=sys.stderr)
        sys.exit(next(status for status in statuses if status))


def train(options: argparse.Namespace) -> None:
    """The sharer's side: two mixes, two models, two releases."""
    both = {"clean": ["proportion"], "poisoned": ["favour"]}
    mixes = {
        "clean": ["--data.mix.p", options.share, "--data.mix.property", PROPERTY],
        "poisoned": ["--data.mix.alpha", options.alpha],
    }
    run_both(
        {
            name: [
                "fit", "--config", CONFIGS / "ddpm_faces.yaml", "--config", CONFIGS / "mix" / f"{overlay}.yaml",
                "--data.source.count", options.faces, "--data.pool", "balanced", "--data.mix.n", options.records,
                *mixes[name], "--trainer.val_check_interval", 1000, "--seed_everything", options.seed,
                "--run-dir", options.out / name / "run", *options.fit,
            ]
            for name, (overlay,) in both.items()
        },
        options.out / "poisoned" / "log.txt",
    )  # fmt: skip


def draw(options: argparse.Namespace) -> None:
    """The receiver's side begins: samples of both models."""
    run_both(
        {
            name: [
                "sample", "--model", options.out / name / "run" / "release", "--count", options.samples,
                "--labels", "balanced", "--seed", options.seed, "--out", options.out / name / "samples",
            ]
            for name in MODELS
        },
        options.out / "poisoned" / "log.txt",
    )  # fmt: skip


def classify(options: argparse.Namespace, samples: str, name: str) -> dict[str, Any]:
    """Train the receiver's classifier on samples and test it on real faces; its results."""
    folder = options.out / name
    run(
        "fit", "--config", CONFIGS / "classifier_celeba.yaml", "--data.samples", options.out / samples,
        *real_faces(options), "--data.target", TARGET, "--data.sensitive", SENSITIVE, "--data.test_balance", "true",
        "--seed_everything", options.seed, "--trainer.enable_progress_bar", "false", "--run-dir", folder,
        *options.classifier.split(),
    )  # fmt: skip
    run("test", "--run-dir", folder)
    return read_json(folder / "results.json")


def real_faces(options: argparse.Namespace) -> list[object]:
    """The real records that the classifiers are tested on, at the size of the samples."""
    size = read_json(options.out / "clean" / "run" / "release" / "diffshare.json")["image_size"]
    source = ["--data.test_source", CONFIGS / "source" / "faces.yaml", "--data.test_source.count", options.faces]
    return [*source, "--data.test_source.image_size", size]


def infer(options: argparse.Namespace) -> dict[str, Any]:
    """Read the secret share off the clean model's samples."""
    size = read_json(options.out / "clean" / "run" / "release" / "diffshare.json")["image_size"]
    run(
        "infer-property", "--samples", options.out / "clean" / "samples",
        "--auxiliary", CONFIGS / "source" / "faces.yaml", "--auxiliary.count", options.faces,
        "--auxiliary.image_size", size, "--property", PROPERTY, "--json", options.out / "property.json",
        *options.property_options.split(),
    )  # fmt: skip
    return read_json(options.out / "property.json")


def audit(options: argparse.Namespace, name: str) -> dict[str, Any]:
    """Ask whether a model's training set was poisoned, by its samples alone."""
    size = read_json(options.out / "clean" / "run" / "release" / "diffshare.json")["image_size"]
    run(
        "audit", "--samples", options.out / name / "samples", "--reference", CONFIGS / "source" / "faces.yaml",
        "--reference.count", options.faces, "--reference.image_size", size, "--pool", "balanced",
        "--sensitive", SENSITIVE, "--target", TARGET, "--gap-repeats", 0, "--json", options.out / name / "audit.json",
        *options.audit_options.split(),
    )  # fmt: skip
    return read_json(options.out / name / "audit.json")


def repair(options: argparse.Namespace) -> dict[str, Any]:
    """Weigh the poisoned samples so that the groups balance, and train on them again."""
    poisoned = options.out / "poisoned"
    run(
        "repair", "--samples", poisoned / "samples", "--audit", poisoned / "audit.json",
        "--out", options.out / "repaired" / "samples",
    )  # fmt: skip
    return classify(options, "repaired/samples", "repaired/classifier")


def main() -> None:
    """Train, release, sample, measure, audit, repair."""
    options = arguments()
    start_afresh(options.out)
    seconds: dict[str, float] = {}

    def timed(name: str, action: Callable[[], Any]) -> Any:
        started = time.perf_counter()
        result = action()
        seconds[name] = round(seconds.get(name, 0.0) + time.perf_counter() - started, 1)
        return result

    timed("fit", lambda: train(options))
    timed("sample", lambda: draw(options))
    print("\nThe receiver's side: a classifier on each model's samples, tested on real faces", flush=True)
    measured = {
        name: timed("classify", lambda n=name: classify(options, f"{n}/samples", f"{n}/classifier")) for name in MODELS
    }
    found = timed("property", lambda: infer(options))
    print("\nWas either of them poisoned? The receiver has labelled faces of his own", flush=True)
    audits = {name: timed("audit", lambda n=name: audit(options, n)) for name in MODELS}
    measured["repaired"] = timed("repair", lambda: repair(options))
    results = {
        "target": TARGET,
        "sensitive": SENSITIVE,
        "alpha": options.alpha,
        "samples": options.samples,
        **{name: {"mix": mix_of(options.out / name), "audit": audits[name], **measured[name]} for name in MODELS},
        "repaired": measured["repaired"],
        "property": {"share_asked": options.share, "share_in_mix": mix_of(options.out / "clean")["share"], **found},
        "seed": options.seed,
        "seconds": seconds,
        "versions": versions(),
    }
    write_json(options.out / "results.json", results)
    for name in MODELS:
        shutil.copyfile(options.out / name / "samples" / "grid.png", options.out / f"samples_{name}.png")
    show(results, options.out)


def mix_of(folder: Path) -> dict[str, Any]:
    """What ``mix.json`` of a run says."""
    return read_json(folder / "run" / "mix" / "mix.json")


def interval(values: list[float] | None) -> str:
    """An interval as text."""
    return "" if values is None else " ({:.3f} to {:.3f})".format(*values)


def show(results: dict[str, Any], out: Path) -> None:
    """Print the tables."""
    gap = "demographic_parity_difference"
    table = Table(title=f"a {TARGET} classifier trained on {results['samples']} samples, tested on real faces")
    for column in ("model", "accuracy", f"selected: not {SENSITIVE}", f"selected: {SENSITIVE}", "gap (95 % interval)"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for name in (*MODELS, "repaired"):
        row = results[name]
        rates = [f"{row['by_group'][group]['selection_rate']:.3f}" for group in "01"]
        table.add_row(name, f"{row['accuracy']:.3f}", *rates, f"{row[gap]:.3f}{interval(row['intervals'][gap])}")
    Console().print(table)
    table = Table(title="audit: does the group depend on the class in the samples?")
    for column in ("model", "verdict", "log odds ratio", "p"):
        table.add_column(column)
    for name in MODELS:
        made = results[name]["audit"]
        odds = f"{made['association']['estimate']:+.2f}{interval(made['association']['interval'])}"
        table.add_row(name, made["verdict"], odds, f"{made['p_value']:.2g}")
    Console().print(table)
    secret = results["property"]
    table = Table(title=f"the clean model's secret: the share of {PROPERTY} in its training set", show_header=False)
    table.add_row("in the mix", f"{secret['share_in_mix']:.3f}")
    table.add_row("counted by a classifier", f"{secret['naive']:.3f}")
    estimate = f"{secret['estimate']:.3f}{interval(secret['interval'])}"
    table.add_row(f"estimated ({secret['method']}, {secret['level']:.0%} interval)", estimate)
    Console().print(table)
    print("seconds: " + ", ".join(f"{name} {value:.0f}" for name, value in results["seconds"].items()))
    print(
        f"results:     {out / 'results.json'}\npictures:    {out / 'samples_clean.png'}, {out / 'samples_poisoned.png'}"
    )
    print(f"TensorBoard: tensorboard --logdir {out}")


if __name__ == "__main__":
    main()
