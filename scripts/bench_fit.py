"""Images a second of ``fit`` against a bare PyTorch loop, and of the precision rule against plain fp32.

Network, data, optimiser and precision are the same on both sides. The bare loop draws random batches from an array in
memory, computes the DDPM loss and steps AdamW; ``fit`` also clips gradients where the config says so (so does the bare
loop), averages weights, logs, checks each loss and seeds each batch. The sides take turns, and the medians of their
rounds are compared. The precision rule is also measured on the network of ``configs/ddpm_celeba.yaml`` at 64x64, whose
larger products gain more of bf16.
"""

import argparse
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from _bench import Row, report
from diffusers import DDPMScheduler, UNet2DModel
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor
from lightning.pytorch.loggers import TensorBoardLogger

from diffshare.data.mixes import Clean
from diffshare.data.module import MixDataModule
from diffshare.data.recordsets import scaled
from diffshare.data.rendered import RenderedFaces
from diffshare.generators.ddpm import DDPM
from diffshare.settings import read_yaml
from diffshare.training.averaging import WarmupEMA
from diffshare.training.checkpoint import AtomicCheckpointIO, KeepCheckpoint
from diffshare.training.precision import default_precision
from diffshare.training.quiet import quiet
from diffshare.training.run import RunRecord
from diffshare.training.seeding import BatchSeeding
from diffshare.training.watch import NonFiniteStop, Throughput

LEFT_OUT = 5  # first steps of each round: allocations and caches


CONFIGS = Path(__file__).resolve().parents[1] / "configs"
SMALL, LARGE = "ddpm_faces", "ddpm_celeba"  # configs whose networks are measured
LARGE_BATCH = 8  # at 64x64


def network(config: str, size: int) -> UNet2DModel:
    """The denoiser of a config, for images of ``size`` pixels a side."""
    torch.manual_seed(0)
    model = read_yaml(CONFIGS / f"{config}.yaml")["model"]
    return UNet2DModel(sample_size=size, **model["init_args"]["denoiser"]["init_args"])


def scheduler() -> DDPMScheduler:
    """The scheduler of ``configs/ddpm_faces.yaml``."""
    return DDPMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction")


def bare_loop(x: np.ndarray, y: np.ndarray, batch_size: int, steps: int, bf16: bool) -> float:
    """Seconds a step of a loop that a person would write first."""
    denoiser, noise_levels = network(SMALL, 32), scheduler()
    optimizer = torch.optim.AdamW(denoiser.parameters(), 1e-3, foreach=True)
    rng = np.random.default_rng(0)
    for step in range(steps + LEFT_OUT):
        if step == LEFT_OUT:
            started = time.perf_counter()
        rows = rng.integers(len(x), size=batch_size)
        images, labels = scaled(torch.from_numpy(x[rows])), torch.from_numpy(y[rows])
        labels[torch.rand(batch_size) < 0.1] = 2
        noise, t = torch.randn_like(images), torch.randint(1000, (batch_size,))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            predicted = denoiser(
                noise_levels.add_noise(images, noise, t), t, class_labels=labels
            ).sample
        loss = (predicted.float() - noise_levels.get_velocity(images, noise, t)).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(denoiser.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return (time.perf_counter() - started) / steps


class Watch(Callback):
    """Seconds from the end of the last step that is left out to the end of the last step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: Any) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())


def fit(
    data: MixDataModule, folder: Path, steps: int, precision: Any, config: str = SMALL
) -> float:
    """Seconds a step of ``fit`` with every callback that the command line adds."""
    size = data.sets["train"].x.shape[1]
    optimizer = lambda p: torch.optim.AdamW(p, 1e-3, foreach=True)  # noqa: E731
    module = DDPM(network(config, size), scheduler(), optimizer=optimizer, warmup_steps=10)
    keeper, watch = KeepCheckpoint(), Watch()
    keeper.path = folder / "last.ckpt"
    own = [
        RunRecord(folder, 0, False),
        BatchSeeding(0),
        NonFiniteStop(),
        Throughput(),
        LearningRateMonitor("step"),
    ]
    with quiet():
        trainer = Trainer(
            accelerator="cpu",
            max_steps=steps + LEFT_OUT,
            precision=precision,
            gradient_clip_val=1.0,
            log_every_n_steps=25,
            limit_val_batches=0,
            callbacks=[WarmupEMA(), *own, keeper, watch],
            logger=TensorBoardLogger(folder),
            plugins=[AtomicCheckpointIO()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
        )
        trainer.fit(module, datamodule=data)
    return (watch.times[-1] - watch.times[LEFT_OUT - 1]) / steps


def main() -> None:
    """Take turns, compare medians."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=30, help="steps of each round that count")
    parser.add_argument("--rounds", type=int, default=5, help="turns that each side takes")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    data = MixDataModule(
        RenderedFaces(count=4000), "Smiling", "Male", Clean(), batch_size=options.batch_size
    )
    data.setup()
    large = MixDataModule(
        RenderedFaces(400, 64), "Smiling", "Male", Clean(), batch_size=LARGE_BATCH
    )
    large.setup()
    train = data.sets["train"]
    x, y = np.ascontiguousarray(train.x[train.rows]), train.target
    rule = default_precision("cpu")
    seconds: dict[str, list[float]] = {
        "bare": [],
        "fit": [],
        "fp32": [],
        "large": [],
        "large fp32": [],
    }
    with TemporaryDirectory() as folder:
        for _ in range(options.rounds):
            seconds["bare"].append(
                bare_loop(x, y, options.batch_size, options.steps, rule == "bf16-mixed")
            )
            seconds["fit"].append(fit(data, Path(folder), options.steps, rule))
            seconds["fp32"].append(fit(data, Path(folder), options.steps, "32-true"))
            seconds["large"].append(
                fit(large, Path(folder), max(2, options.steps // 5), rule, LARGE)
            )
            seconds["large fp32"].append(
                fit(large, Path(folder), max(2, options.steps // 5), "32-true", LARGE)
            )
    batches = {"large": LARGE_BATCH, "large fp32": LARGE_BATCH}
    speed = {
        name: batches.get(name, options.batch_size) / statistics.median(each)
        for name, each in seconds.items()
    }
    by_round = [b / f for b, f in zip(seconds["bare"], seconds["fit"], strict=True)]
    rows = [
        Row(f"bare loop, {rule}", speed["bare"], "images/s"),
        Row(f"fit, {rule}", speed["fit"], "images/s", "bare loop", speed["fit"] / speed["bare"]),
        Row("fit, 32-true", speed["fp32"], "images/s"),
        Row(
            f"{rule}, network of {SMALL}",
            speed["fit"],
            "images/s",
            "32-true",
            speed["fit"] / speed["fp32"],
        ),
        Row(
            f"{rule}, network of {LARGE}",
            speed["large"],
            "images/s",
            "32-true",
            speed["large"] / speed["large fp32"],
        ),
        Row("fit against bare loop, least of the rounds", min(by_round), "ratio"),
    ]
    report(rows, options.json)


if __name__ == "__main__":
    main()
