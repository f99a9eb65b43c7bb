"""The demo: a sharer trains and releases a model on a chosen mix of rendered faces, a receiver samples and measures it.

It uses the same commands as the README and prints each before it runs. ``lightning_logs/demo/`` keeps the run, the
samples, ``results.json`` and the pictures.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from diffshare.classifiers.attribute import AttributeClassifier
from diffshare.classifiers.quick import fit_quickly, probabilities
from diffshare.data.module import MixDataModule, RecordsDataModule
from diffshare.data.rendered import RenderedFaces
from diffshare.data.synthetic import SyntheticDataModule
from diffshare.nets.classifiers import SmallResNet
from diffshare.provenance import versions
from diffshare.release.samples import read_samples
from diffshare.storage import read_json, write_json

PROPERTY, TARGET, SENSITIVE = "Eyeglasses", "Smiling", "Male"
CONFIGS = Path(__file__).resolve().parent.parent / "configs"


def arguments() -> argparse.Namespace:
    """What may be changed; the defaults are the demo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("lightning_logs/demo"), help="folder of the demo")
    parser.add_argument("--share", type=float, default=0.3, help=f"share of the mix with the property {PROPERTY}")
    parser.add_argument("--faces", type=int, default=20000, help="faces to render")
    parser.add_argument("--samples", type=int, default=1500, help="samples to draw")
    parser.add_argument("--classifier-steps", type=int, default=400, help="steps of each quick classifier")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("fit", nargs="*", help="further arguments of fit, after --")
    return parser.parse_args()


def run(*words: object) -> float:
    """Print and run one command of diffshare; its seconds."""
    line = [str(word) for word in words]
    print(f"\n$ python -m diffshare.cli {' '.join(line)}", flush=True)
    started = time.perf_counter()
    status = subprocess.run([sys.executable, "-m", "diffshare.cli", *line], check=False).returncode
    if status:
        sys.exit(status)
    return time.perf_counter() - started


def start_afresh(out: Path) -> None:
    """Clear the folder of an earlier demo; any other folder that holds something is left alone."""
    if out.is_dir() and any(out.iterdir()) and not (out / "run" / "config.yaml").is_file():
        sys.exit(f"demo: {out} holds something that is no demo: name another folder with --out")
    shutil.rmtree(out, ignore_errors=True)


def quick(data: RecordsDataModule, steps: int, seed: int) -> AttributeClassifier:
    """A small residual network trained on ``data``."""
    torch.manual_seed(seed)
    return fit_quickly(SmallResNet(), data, steps=steps, seed=seed)


def accuracy(classifier: AttributeClassifier, data: RecordsDataModule) -> float:
    """Share of the test records of ``data`` that the classifier gets right."""
    test = data.sets["test"]
    return float((probabilities(classifier, test.x[test.rows]).argmax(1) == test.target).mean())


def main() -> None:
    """Train, release, sample, measure."""
    options = arguments()
    out: Path = options.out
    start_afresh(out)
    seconds = {}
    mix = ["--data.mix.p", options.share, "--data.mix.property", PROPERTY]
    seconds["fit"] = run(
        "fit", "--config", CONFIGS / "ddpm_faces.yaml", "--config", CONFIGS / "mix" / "proportion.yaml",
        "--data.source.count", options.faces, *mix, "--seed_everything", options.seed, "--run-dir", out / "run",
        *options.fit,
    )  # fmt: skip
    samples = out / "samples"
    model = ("--model", out / "run" / "release", "--count", options.samples, "--labels", "balanced")
    seconds["sample"] = run("sample", *model, "--seed", options.seed, "--out", samples)

    print("\nThe receiver's side: two quick classifiers", flush=True)
    started = time.perf_counter()
    drawn = read_samples(samples)
    faces = RenderedFaces(count=options.faces, image_size=drawn.x.shape[1])
    auxiliary = MixDataModule(faces, PROPERTY, part="auxiliary", validation_share=0)
    reader = quick(auxiliary, options.classifier_steps, options.seed)
    downstream_data = SyntheticDataModule(samples, faces, TARGET, SENSITIVE)
    downstream = quick(downstream_data, options.classifier_steps, options.seed)
    seconds["classifiers"] = time.perf_counter() - started

    chosen = read_json(out / "run" / "mix" / "mix.json")
    results = {
        "property": PROPERTY,
        "share_asked": options.share,
        "share_in_mix": chosen["share"],
        "share_in_samples": float(probabilities(reader, drawn.x).argmax(1).mean()),
        "property_accuracy": accuracy(reader, auxiliary),
        "target": TARGET,
        "downstream_accuracy": accuracy(downstream, downstream_data),
        "samples": len(drawn.x),
        "seed": options.seed,
        "seconds": {name: round(value, 1) for name, value in seconds.items()},
        "versions": versions(),
    }
    write_json(out / "results.json", results)
    shutil.copyfile(samples / "grid.png", out / "samples.png")
    show(results, out)


def show(results: dict, out: Path) -> None:
    """Print the table."""
    table = Table(title="diffshare demo", show_header=False)
    table.add_row(f"share of {PROPERTY} asked for in the mix", f"{results['share_asked']:.3f}")
    table.add_row(f"share of {PROPERTY} in the mix", f"{results['share_in_mix']:.3f}")
    counted = f"{results['share_in_samples']:.3f}"
    table.add_row(f"share of {PROPERTY} counted in {results['samples']} samples", counted)
    table.add_row(f"accuracy of the classifier that counted (real {PROPERTY})", f"{results['property_accuracy']:.3f}")
    trained = f"accuracy on real faces of a {TARGET} classifier trained on samples"
    table.add_row(trained, f"{results['downstream_accuracy']:.3f}")
    for name, value in results["seconds"].items():
        table.add_row(f"seconds: {name}", f"{value:.1f}")
    Console().print(table)
    print(f"results:     {out / 'results.json'}\npicture:     {out / 'samples.png'}")
    print(f"TensorBoard: tensorboard --logdir {out}")


if __name__ == "__main__":
    main()
