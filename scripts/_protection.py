"""What ``measure_protection.py`` measures with: records, classifiers and features of a seed, models, samples."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
from bench_sampling import Features

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diffshare.classifiers.property import PropertyClassifier, cross_fit  # noqa: E402
from diffshare.classifiers.recipes import NetworkRecipe  # noqa: E402
from diffshare.cli import main as diffshare  # noqa: E402
from diffshare.data.cache import open_records  # noqa: E402
from diffshare.data.rendered import RenderedFaces  # noqa: E402
from diffshare.data.source import split  # noqa: E402
from diffshare.receiver.sampling import draw_samples  # noqa: E402
from diffshare.release.generator import Generator  # noqa: E402
from diffshare.stats.kid import kernel_distance  # noqa: E402
from diffshare.stats.prevalence import NAMES, Method, estimate  # noqa: E402
from diffshare.storage import write_json  # noqa: E402

CONFIG = str(Path(__file__).resolve().parents[1] / "configs" / "ddpm_faces.yaml")
TARGET, PROPERTY, COUNT, SIZE = "Smiling", "Eyeglasses", 20000, 16
SAMPLES, SAMPLING_STEPS, PASS = 1200, 12, 300
READER, STRONG = (200, 3), (400, 2, 6000)  # steps and folds of a classifier of the property; records
DOWNSTREAM, TRAININGS = 300, 3  # steps of a classifier of the target, and how many are trained


@dataclass(frozen=True)
class Training:
    """Records of a training set, optimizer steps, records a step, channels of the network's levels."""

    records: int
    steps: int
    batch: int
    channels: tuple[int, ...]


class Bench:
    """Records, classifiers and features of a seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.source = RenderedFaces(COUNT, SIZE)
        self.records = open_records(self.source)
        parts = split(self.records.index, self.source.shares, seed)
        self.auxiliary, self.test = np.flatnonzero(parts == 1), np.flatnonzero(parts == 2)
        names = (TARGET, PROPERTY)
        self.y, self.s = (self.records.index.attribute(name).codes.astype(np.int64) for name in names)
        self.labels = np.arange(SAMPLES) % 2

    def reader(self, rows: np.ndarray) -> PropertyClassifier:
        """A classifier of the property from these records."""
        steps, folds = READER
        recipe = NetworkRecipe(steps=steps)
        return cross_fit(self.records.x[rows], self.s[rows], ("0", "1"), recipe, folds=folds, seed=self.seed)

    @cached_property
    def sharers(self) -> PropertyClassifier:
        """The sharer's, from one half of the auxiliary part."""
        return self.reader(self.auxiliary[::2])

    @cached_property
    def receivers(self) -> PropertyClassifier:
        """The receiver's, from the other."""
        return self.reader(self.auxiliary[1::2])

    @cached_property
    def strong(self) -> PropertyClassifier:
        """A better one: three times the records, none of them the sharer's, and twice the steps."""
        steps, folds, count = STRONG
        faces = RenderedFaces(count, SIZE, seed=1000 + self.seed)
        labels = faces.index().attribute(PROPERTY).codes.astype(np.int64)
        recipe = NetworkRecipe(steps=steps)
        return cross_fit(faces.read(np.arange(count)), labels, ("0", "1"), recipe, folds=folds, seed=self.seed)

    @cached_property
    def features(self) -> Features:
        """Of KID."""
        return Features(self.source, 200)

    def real(self, share: float, half: int) -> np.ndarray:
        """``SAMPLES`` real test records with this share of the property; the two halves have none in common."""
        rng, rows = np.random.default_rng([self.seed, round(100 * share)]), []
        for code, count in ((1, round(SAMPLES * share)), (0, SAMPLES - round(SAMPLES * share))):
            mine = rng.permutation(self.test[self.s[self.test] == code])
            rows.append(mine[half * (len(mine) // 2) :][:count])
        return np.concatenate(rows)

    def read(self, x: np.ndarray) -> dict[str, float]:
        """What every method of the receiver reads, and the stronger receiver's PACC."""
        scores, calibration = self.receivers.scores(x), self.receivers.calibration
        found = {m: float(estimate(cast(Method, m), calibration, scores)[1]) for m in NAMES}
        found["strong"] = float(estimate("pacc", self.strong.calibration, self.strong.scores(x))[1])
        return found

    def rightly(self, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Whether classifiers of the target that were trained on samples decide test records rightly, trainings x N.

        One training is a few points better or worse than the next: there are ``TRAININGS`` of them.
        """
        recipe, test = NetworkRecipe(steps=DOWNSTREAM), self.records.x[self.test]
        scorers = [recipe.train(x, labels, 2, self.seed + 1000 * k, ()) for k in range(TRAININGS)]
        return np.stack([scorer(test).argmax(1) == self.y[self.test] for scorer in scorers])

    def kid(self, x: np.ndarray, share: float) -> float:
        """KID to real records of this share."""
        return kernel_distance(self.features(x), self.features(self.records.x[self.real(share, 0)]))


def trained(root: Path, name: str, seed: int, p: float, how: Training, more: Sequence[str] = ()) -> Path:
    """The run of a model of the share p, trained where it is not there; its seconds are in ``seconds.json``."""
    run, levels = root / name, len(how.channels)
    if (run / "release").is_dir():
        return run
    words = ["--config", CONFIG, "--data.source.image_size", SIZE, "--data.source.count", COUNT]
    words += ["--data.batch_size", how.batch, "--data.seed", seed, "--seed_everything", seed]
    words += ["--model.denoiser.block_out_channels", list(how.channels), "--model.sampling_steps", SAMPLING_STEPS]
    words += ["--model.denoiser.down_block_types", ["DownBlock2D"] * levels]
    words += ["--model.denoiser.up_block_types", ["UpBlock2D"] * levels]
    words += ["--data.mix", "diffshare.data.mixes.Proportion", "--data.mix.p", p, "--data.mix.n", how.records]
    words += ["--data.mix.property", PROPERTY, "--trainer.max_steps", how.steps, "--trainer.limit_val_batches", 0]
    words += ["--trainer.enable_progress_bar", "false", *more, "--run-dir", run]
    started, busy = time.perf_counter(), time.process_time()
    if status := diffshare(["fit", *map(str, words)]):
        raise SystemExit(status)
    spent = {"wall": time.perf_counter() - started, "processor": time.process_time() - busy}
    write_json(run / "seconds.json", spent)
    return run


def drawn(box: Generator, bench: Bench) -> np.ndarray:
    """Samples of a model, as many of each class."""
    options: dict[str, Any] = {"seed": bench.seed, "batch_size": PASS, "steps": SAMPLING_STEPS}
    return draw_samples(box, bench.labels, **options)
