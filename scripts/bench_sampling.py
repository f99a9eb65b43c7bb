"""Few-step sampling against the ancestral sampler: network calls, seconds, and what it costs in quality.

    python scripts/bench_sampling.py --json docs/results/sampling.json
    python scripts/bench_sampling.py --model lightning_logs/demo/run/release

Without ``--model`` a small DDPM of rendered faces at 16x16 is trained first. Both samplers start sample i from the same
noise. Quality is the squared MMD, with KID's kernel, to real test records in the joined features of small classifiers
of three attributes. They are trained and whitened on auxiliary records: unwhitened, the few directions in which faces
differ most (hat or none) drown all others in their noise. The difference of the two distances comes with a 95 %
jackknife interval.

"No visible loss" means: the whole interval lies below a margin that does not depend on the model. The margin is what
saving *real* pictures as JPEG of pillow's default quality, a change that people accept without a look, adds to their
own distance to other real pictures.
"""

import argparse
import io
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from _bench import Row, report
from PIL import Image

from diffshare.classifiers.quick import fit_quickly
from diffshare.cli import main as diffshare
from diffshare.data.module import MixDataModule
from diffshare.data.recordsets import scaled
from diffshare.data.rendered import RenderedFaces
from diffshare.generators.families import open_generator
from diffshare.nets.classifiers import SmallResNet
from diffshare.receiver.sampling import draw_samples
from diffshare.stats.kid import kernel_distance, kernel_distance_difference

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "ddpm_faces.yaml"
# what the feature networks tell: mouth, eyes, and the top of the head
ATTRIBUTES = (
    "Smiling",
    "Eyeglasses",
    "Hat",
)
FLOOR = 1e-2  # of the mean variance: directions in which hardly anything varies would drown the others in turn
QUALITY = 75  # pillow's default


def train(folder: Path, steps: int) -> Path:
    """The release of a DDPM of faces at 16x16."""
    size = ["--data.source.image_size", "16", "--data.batch_size", "64"]
    quick = ["--trainer.enable_progress_bar", "false", "--trainer.limit_val_batches", "0"]
    run = ["--trainer.max_steps", str(steps), "--run-dir", str(folder / "run")]
    if diffshare(["fit", "--config", str(CONFIG), *size, *quick, *run]):
        raise SystemExit("the training failed")
    return folder / "run" / "release"


class Features:
    """The joined and whitened penultimate activations of classifiers, one for each of ``ATTRIBUTES``."""

    def __init__(self, faces: RenderedFaces, steps: int) -> None:
        self.networks: list[SmallResNet] = []
        for name in ATTRIBUTES:
            data = MixDataModule(faces, name, part="auxiliary", validation_share=0)
            torch.manual_seed(0)
            self.networks.append(fit_quickly(SmallResNet(), data, steps=steps).network)
        train, self.test = data.sets["train"], data.sets["test"]
        known = self.joined(train.x[train.rows]).astype(np.float64)
        self.mean = known.mean(0)
        variance, axes = np.linalg.eigh(np.cov(known.T))
        self.axes = axes / np.sqrt(variance + FLOOR * variance.mean())

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Images, uint8, N x H x W x 3 => float64, N x d, uncorrelated and of variance 1 on auxiliary records."""
        return (self.joined(x) - self.mean) @ self.axes

    @torch.inference_mode()
    def joined(self, x: np.ndarray) -> np.ndarray:
        """Images, uint8, N x H x W x 3 => float32, N x d."""
        passes = [scaled(torch.from_numpy(x[i : i + 500])) for i in range(0, len(x), 500)]
        return np.concatenate(
            [torch.cat([n.features(part) for n in self.networks], 1).numpy() for part in passes]
        )


def compressed(x: np.ndarray) -> np.ndarray:
    """The images after a way through JPEG."""
    out = np.empty_like(x)
    for image, row in zip(x, out, strict=True):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, "JPEG", quality=QUALITY)
        row[:] = np.asarray(Image.open(stream))
    return out


def draw(
    model: Path, scheduler: str | None, steps: int, labels: np.ndarray
) -> tuple[np.ndarray, float, int]:
    """Samples, seconds, and passes through the network for each sample."""
    generator, _ = open_generator(model, scheduler=scheduler)
    started = time.perf_counter()
    x = draw_samples(generator, labels, seed=0, batch_size=200, steps=steps)
    return x, time.perf_counter() - started, generator.ledger.network_calls // len(labels)


def compare(model: Path, options: argparse.Namespace) -> list[Row]:
    """Sample both ways; what each costs and how far it is from real records."""
    labels = np.arange(options.count) % 2
    fast, fast_seconds, fast_calls = draw(model, None, options.steps, labels)
    slow, slow_seconds, slow_calls = draw(model, "DDPMScheduler", options.ancestral_steps, labels)
    features = Features(RenderedFaces(20000, fast.shape[1]), options.classifier_steps)
    x = features.test.x[features.test.rows]
    reference, other = features(x[: len(x) // 2]), x[len(x) // 2 :]
    margin = kernel_distance_difference(
        features(compressed(other)), features(other), reference
    ).estimate
    fast_features, slow_features = features(fast), features(slow)
    fast_kid, slow_kid = (
        kernel_distance(each, reference) for each in (fast_features, slow_features)
    )
    difference = kernel_distance_difference(fast_features, slow_features, reference)
    faster = slow_seconds / fast_seconds
    return [
        Row("network calls a sample, ancestral", slow_calls, "calls"),
        Row(
            "network calls a sample, DPM-Solver++",
            fast_calls,
            "calls",
            "ancestral",
            slow_calls / fast_calls,
        ),
        Row("samples, ancestral", options.count / slow_seconds, "samples/s"),
        Row(
            "samples, DPM-Solver++", options.count / fast_seconds, "samples/s", "ancestral", faster
        ),
        Row("MMD of other real records", kernel_distance(features(other), reference), "MMD^2"),
        Row("MMD, ancestral", slow_kid, "MMD^2"),
        Row("MMD, DPM-Solver++", fast_kid, "MMD^2", "ancestral", fast_kid / slow_kid),
        Row("MMD difference", difference.estimate, "MMD^2"),
        Row("MMD difference, low end of 95 %", difference.low, "MMD^2"),
        Row(
            "MMD difference, high end of 95 %",
            difference.high,
            "MMD^2",
            "margin",
            difference.high / margin,
        ),
        Row(f"margin: JPEG of quality {QUALITY} on real records", margin, "MMD^2"),
    ]


def main() -> None:
    """Train where no model is given, compare, report."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model",
        type=Path,
        help="release of rendered faces, Smiling or not; trained where left out",
    )
    parser.add_argument("--train-steps", type=int, default=1200)
    parser.add_argument("--classifier-steps", type=int, default=300, help="of each feature network")
    parser.add_argument("--count", type=int, default=1000, help="samples of each")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--ancestral-steps", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        model = options.model or train(Path(folder), options.train_steps)
        report(compare(model, options), options.json)


if __name__ == "__main__":
    main()
