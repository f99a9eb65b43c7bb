"""Images a second of training on cached latents against training on pixels, at one resolution and parameter count.

The networks are those of ``configs/ddpm_faces.yaml`` and ``configs/latent_faces.yaml`` (about a million parameters
each), the autoencoder that of ``configs/autoencoder_faces.yaml`` with random weights: speed does not depend on them.
Both sides read batches from the memory-mapped cache, compute the family's loss in the precision of ``fit`` and step
AdamW; they take turns, and the medians of their rounds are compared. Encoding is measured apart: it is done once.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from _bench import Row, report
from diffusers import DDPMScheduler, UNet2DModel

from diffshare.data.mixes import Clean
from diffshare.data.module import MixDataModule
from diffshare.data.recordsets import RecordSet
from diffshare.data.rendered import RenderedFaces
from diffshare.generators.base import describe
from diffshare.generators.ddpm import DDPM
from diffshare.generators.latent import LatentDiffusion
from diffshare.generators.latents import measure, open_latents
from diffshare.nets.autoencoders import kl_autoencoder
from diffshare.settings import read_yaml
from diffshare.training.precision import default_precision

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SIZE = 32
LEFT_OUT = 5  # first steps of each round: allocations and caches


def settings(config: str, part: str) -> dict[str, Any]:
    """The arguments of a network in a config."""
    return read_yaml(CONFIGS / f"{config}.yaml")["model"]["init_args"][part]["init_args"]


def denoiser(config: str) -> UNet2DModel:
    """The denoiser of a config."""
    torch.manual_seed(0)
    return UNet2DModel(**settings(config, "denoiser"))


def scheduler() -> DDPMScheduler:
    """The noise levels of both."""
    return DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")


def train(
    module: DDPM, data: MixDataModule, records: RecordSet, batch_size: int, steps: int
) -> float:
    """Seconds a step."""
    optimizer = torch.optim.AdamW(module.denoiser.parameters(), 1e-3, foreach=True)
    bf16 = default_precision("cpu") == "bf16-mixed"
    rows = torch.randint(
        len(records), (steps + LEFT_OUT, batch_size), generator=torch.Generator().manual_seed(0)
    )
    for step, chosen in enumerate(rows):
        if step == LEFT_OUT:
            started = time.perf_counter()
        batch = data.on_after_batch_transfer(records.__getitems__(chosen.tolist()), 0)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = module.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.denoiser.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return (time.perf_counter() - started) / steps


def main() -> None:
    """Encode once, take turns, compare medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=30, help="steps of each round that count")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each side takes")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--count", type=int, default=2000, help="faces")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        source = RenderedFaces(options.count, SIZE)
        data = MixDataModule(
            source, "Smiling", "Male", Clean(), batch_size=options.batch_size, cache_dir=place
        )
        data.setup()
        kl_autoencoder(**settings("autoencoder_faces", "network")).save_pretrained(place / "vae")
        pixels = DDPM(denoiser("ddpm_faces"), scheduler())
        latent = LatentDiffusion(place / "vae", denoiser("latent_faces"), scheduler())
        for module in (pixels, latent):
            module.check(describe(data))
        started = time.perf_counter()
        encoded = open_latents(
            source,
            data.records(),
            latent.vae,
            latent.vae_sha256,
            device=torch.device("cpu"),
            cache_dir=place,
        )
        encoding = len(encoded) / (time.perf_counter() - started)
        images = data.sets["train"]
        shift, scale = measure(encoded, images.rows)
        latent.vae.register_to_config(shift_factor=shift, scaling_factor=scale)
        latents = RecordSet(encoded, images.rows, images.target, images.sensitive)
        seconds: dict[str, list[float]] = {"pixels": [], "latents": []}
        for _ in range(options.rounds):
            seconds["pixels"].append(train(pixels, data, images, options.batch_size, options.steps))
            seconds["latents"].append(
                train(latent, data, latents, options.batch_size, options.steps)
            )
    speed = {name: options.batch_size / statistics.median(each) for name, each in seconds.items()}
    size = {
        n: sum(p.numel() for p in m.denoiser.parameters()) / 1e6
        for n, m in (("p", pixels), ("l", latent))
    }
    by_round = [p / n for p, n in zip(seconds["pixels"], seconds["latents"], strict=True)]
    rows = [
        Row(f"pixels, {size['p']:.2f} M parameters", speed["pixels"], "images/s"),
        Row(
            f"latents, {size['l']:.2f} M parameters", speed["latents"], "images/s", "pixels",
            speed["latents"] / speed["pixels"],
        ),
        Row("latents against pixels, least of the rounds", min(by_round), "ratio"),
        Row("encoding, once", encoding, "images/s"),
    ]  # fmt: skip
    report(rows, options.json)


if __name__ == "__main__":
    main()
