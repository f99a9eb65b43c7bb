"""Few-step sampling against the ancestral sampler: network calls, seconds, and what it costs in quality.

Both samplers start sample i from the same noise. Quality is the kernel inception distance (KID) to real records of the
test part, in the features of a small classifier that was trained on auxiliary records; the difference of the two
distances comes with a 95 % jackknife interval. "No visible loss" means: the interval stays below a margin of a tenth of
the ancestral sampler's own distance.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from _bench import Row, report

from diffshare.classifiers.quick import fit_quickly
from diffshare.data.module import MixDataModule, scaled
from diffshare.data.rendered import RenderedFaces
from diffshare.generators.families import open_generator
from diffshare.nets.classifiers import SmallResNet
from diffshare.receiver.sampling import draw_samples
from diffshare.stats.kid import kernel_distance, kernel_distance_difference


@torch.inference_mode()
def features(network: SmallResNet, x: np.ndarray) -> np.ndarray:
    """Penultimate activations of images, N x d."""
    return np.concatenate([network.features(scaled(torch.from_numpy(x[i : i + 500]))) for i in range(0, len(x), 500)])


def draw(model: Path, scheduler: str | None, steps: int, labels: np.ndarray) -> tuple[np.ndarray, float, int]:
    """Samples, seconds, and passes through the network for each sample."""
    generator, _ = open_generator(model, scheduler=scheduler)
    started = time.perf_counter()
    x = draw_samples(generator, labels, seed=0, batch_size=100, steps=steps)
    return x, time.perf_counter() - started, generator.ledger.network_calls // len(labels)


def main() -> None:
    """Sample both ways, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("lightning_logs/demo/run/release"), help="of rendered faces")
    parser.add_argument("--count", type=int, default=300, help="samples of each")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--ancestral-steps", type=int, default=1000)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()

    faces = RenderedFaces(count=20000)
    data = MixDataModule(faces, "Smiling", part="auxiliary", validation_share=0)
    torch.manual_seed(0)
    network = fit_quickly(SmallResNet(), data, steps=400).network
    test = data.sets["test"]
    real = features(network, test.x[test.rows[:2000]])
    labels = np.arange(options.count) % 2
    fast, fast_seconds, fast_calls = draw(options.model, None, options.steps, labels)
    slow, slow_seconds, slow_calls = draw(options.model, "DDPMScheduler", options.ancestral_steps, labels)
    fast_features, slow_features = features(network, fast), features(network, slow)
    fast_kid, slow_kid = (kernel_distance(each, real) for each in (fast_features, slow_features))
    difference = kernel_distance_difference(fast_features, slow_features, real)
    faster, margin = slow_seconds / fast_seconds, 0.1 * slow_kid
    report(
        [
            Row("network calls a sample, ancestral", slow_calls, "calls"),
            Row("network calls a sample, DPM-Solver++", fast_calls, "calls", "ancestral", slow_calls / fast_calls),
            Row("samples, ancestral", options.count / slow_seconds, "samples/s"),
            Row("samples, DPM-Solver++", options.count / fast_seconds, "samples/s", "ancestral", faster),
            Row("KID, ancestral", slow_kid, "MMD^2"),
            Row("KID, DPM-Solver++", fast_kid, "MMD^2", "ancestral", fast_kid / slow_kid),
            Row("KID difference", difference.estimate, "MMD^2"),
            Row("KID difference, low end of 95 %", difference.low, "MMD^2"),
            Row("KID difference, high end of 95 %", difference.high, "MMD^2", "margin", difference.high / margin),
            Row("margin", margin, "MMD^2"),
        ],
        options.json,
    )


if __name__ == "__main__":
    main()
