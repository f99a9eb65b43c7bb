"""The meta-classifier's data from auxiliary records alone: trains the shadows that are missing, and embeds them."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffshare.classifiers.kept import Kept, read_kept, train_and_keep
from diffshare.data.mixes import Clean
from diffshare.data.module import MixDataModule
from diffshare.data.shadow import INDEX, PARTS, ShadowDataModule
from diffshare.data.source import Source
from diffshare.data.table import Column, column_positions
from diffshare.errors import UserError
from diffshare.packaged import located
from diffshare.receiver.meta.shadows import (
    ShadowPlan,
    make_shadows,
    read_shadow,
    spread_proportions,
)
from diffshare.storage import atomic_file, read_json, read_text, write_json

PLAN = "plan.json"


class TrainedShadowDataModule(ShadowDataModule):
    """Makes shadow generators once, keeps their samples in ``root``, and is a :class:`ShadowDataModule` of them.

    The shadows, and the classifier whose scores and features embed a sample, are trained on the auxiliary part of the
    source alone. A call that was stopped goes on with the shadows that are missing; more may be asked for later.

    Args:
        root: folder of the shadows.
        generator: configs of ``fit``, base first: the family that the sharer is thought to use.
        source: where the records come from; stands in place of the source in ``generator``.
        property: attribute whose share is inferred.
        count: shadows to train on, to watch and to test on.
        n: records of a shadow's mix.
        low: least share.
        high: greatest share.
        base_steps: training steps of a base at a share of one half, from which each shadow goes on; 0 for none.
        steps: training steps of a shadow.
        samples: drawn of each shadow.
        labels: ``natural`` or ``none``; the sharer's model is to be sampled alike.
        sampling_steps: network calls a sample, as above.
        guidance: ``guidance_scale``, as above.
        overrides: further settings of the generator's ``fit``, by dotted keys.
        auxiliary: records that the embedding classifier is trained on.
        classifier_steps: its training steps, of each fold.
        folds: of it.
        workers: processes that train shadows.
        batch_size: shadows a training step.
        eval_batch_size: shadows a step of validation and test.
        num_workers: loader processes.
        seed: of everything.
        withhold: columns of a table that the receiver's samples lack. The property's own column is embedded as it is
            where it is not among them; the classifier never sees it.
    """

    def __init__(
        self,
        root: Path,
        generator: list[Path],
        source: Source,
        property: str,
        count: tuple[int, int, int] = (32, 8, 8),
        n: int = 2000,
        low: float = 0.05,
        high: float = 0.95,
        base_steps: int = 1000,
        steps: int = 150,
        samples: int = 1000,
        labels: Literal["natural", "none"] = "natural",
        sampling_steps: int | None = None,
        guidance: float = 1.0,
        overrides: dict[str, Any] | None = None,
        auxiliary: int = 2000,
        classifier_steps: int = 400,
        folds: int = 3,
        workers: int = 1,
        batch_size: int = 16,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
        withhold: list[str] | None = None,
    ) -> None:
        super().__init__(root, batch_size, eval_batch_size, num_workers, seed)
        if not 0 <= low < high <= 1:
            raise UserError(f"data.low {low} and data.high {high} must be 0 <= low < high <= 1")
        least = {
            "n": n,
            "steps": steps,
            "samples": samples,
            "count": count[0],
            "auxiliary": auxiliary,
        }
        if below := [name for name, value in least.items() if value < 1]:
            raise UserError(f"data.{below[0]} is {least[below[0]]}: it must be at least 1")
        if not generator:
            raise UserError("data.generator is empty: name the configs of a generator's fit")
        for config in generator:
            located(config)
        if min(base_steps, *count) < 0:
            raise UserError(
                f"data.base_steps {base_steps} and data.count {list(count)} must not be negative"
            )
        self.source, self.count, self.low, self.high, self.workers = (
            source,
            count,
            low,
            high,
            workers,
        )
        self.auxiliary, self.classifier_steps, self.folds = auxiliary, classifier_steps, folds
        self.withhold = withhold or []
        column_positions(self.columns, self.withhold)  # what is no column is refused now
        words = [
            word for key, value in (overrides or {}).items() for word in (f"--{key}", _word(value))
        ]
        self.plan = ShadowPlan(
            root, tuple(generator), tuple(words), source, property, n, base_steps, steps, samples, labels,
            sampling_steps, guidance, seed=seed,
        )  # fmt: skip

    @property
    def proportions(self) -> list[float]:
        """Share of each shadow: those to train on first, then those to watch and to test on."""
        return spread_proportions(sum(self.count), self.low, self.high)

    def prepare_data(self) -> None:
        """Train, sample and embed what is missing, in one process or in those of ``workers``."""
        self._check_plan()
        make_shadows(self.plan, self.proportions, self.workers)
        if not (self.root / "classifier").is_dir():
            self._train_classifier()
        kept = None
        for number in range(sum(self.count)):
            path = self.root / _file(number)
            if not path.is_file():
                kept = kept or self.embedding()
                features = self.embed(kept, read_shadow(self.plan, number)[0])
                with atomic_file(path) as temporary, temporary.open("wb") as stream:
                    np.save(stream, features)
        parts = np.repeat(PARTS, self.count).tolist()
        achieved = [read_shadow(self.plan, i)[1] for i in range(sum(self.count))]
        shadows = [
            {"file": _file(i), "p": p, "part": part}
            for i, (p, part) in enumerate(zip(achieved, parts, strict=True))
        ]
        value = self.embedding().classes[1]  # whose share the proportions are
        write_json(
            self.root / INDEX, {"property": self.plan.property, "value": value, "shadows": shadows}
        )

    def embedding(self) -> Kept:
        """The classifier that embeds samples (``prepare_data`` makes it)."""
        return read_kept(self.root / "classifier")

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a table; none of images."""
        return getattr(self.source, "columns", ()) if self.source.modality == "table" else ()

    def embed(self, kept: Kept, x: np.ndarray) -> np.ndarray:
        """Samples as the meta-classifier reads them, a table's by what is not withheld; see :func:`embed`."""
        names = [column.name for column in self.columns]
        shown = self.plan.property in names and self.plan.property not in self.withhold
        return embed(kept, x, names.index(self.plan.property) if shown else None)

    def _seen(self) -> list[int] | None:
        """Positions of the columns that the classifier sees; None for images."""
        hidden = {*self.source.index().columns_of(self.plan.property), *self.withhold}
        seen = [i for i, column in enumerate(self.columns) if column.name not in hidden]
        if self.columns and not seen:
            raise UserError(
                f"no column is left to read '{self.plan.property}' from: withhold fewer of them"
            )
        return seen if self.columns else None

    def _check_plan(self) -> None:
        """Refuse to mix shadows of two plans in one folder."""
        now = {
            name: str(value)
            for name, value in vars(self.plan).items()
            if name not in ("root", "source")
        }
        now |= {"files": " ".join(read_text(located(path)) for path in self.plan.generator)}
        now |= {
            name: str(getattr(self, name))
            for name in ("auxiliary", "classifier_steps", "folds", "low", "high")
        }
        if self.columns:
            now["withhold"] = str(self.withhold)
        now["source"] = (
            f"{self.source.decoding()} {self.source.index().sha256()} {self.source.shares}"
        )
        index = self.source.index()
        if (derivation := index.derivation(self.plan.property)) is not None:
            now["derived"] = str(derivation.expression)
        if index.groups is not None:
            now["groups"] = hashlib.sha256("\n".join(index.groups.tolist()).encode()).hexdigest()
        path = self.root / PLAN
        if not path.is_file():
            if (self.root / INDEX).exists():
                raise UserError(
                    f"{self.root} holds {INDEX}, which is of no plan of this class: name another data.root"
                )
            write_json(path, now)
            return
        before = read_json(path)
        if changed := [name for name in now if before.get(name) != now[name]]:
            name = changed[0]
            was, same = str(before.get(name)), 0
            while same < min(len(was), len(now[name])) and was[same] == now[name][same]:
                same += 1
            start = max(0, same - 20)  # long settings begin alike: show where they part
            raise UserError(
                f"{self.root} holds shadows of another plan: {name} was {was[start : start + 80]!r}, is now "
                f"{now[name][start : start + 80]!r}; put it back, or name another data.root"
            )

    def _train_classifier(self) -> None:
        data = MixDataModule(
            self.source,
            self.plan.property,
            mix=Clean(self.auxiliary),
            part="auxiliary",
            validation_share=0.0,
            seed=self.seed,
        )
        data.setup()
        records = data.sets["train"]
        categorical = [i for i, column in enumerate(self.columns) if column.kind == "categorical"]
        train_and_keep(
            self.root / "classifier", records.x[records.rows], records.target, data.classes,
            steps=self.classifier_steps, folds=self.folds, seed=self.seed, categorical=categorical, seen=self._seen(),
        )  # fmt: skip


def embed(kept: Kept, x: np.ndarray, cell: int | None = None) -> np.ndarray:
    """Samples as the meta-classifier reads them.

    Args:
        kept: a property classifier of F folds.
        x: uint8, M x H x W x C; of a table float32, M x columns.
        cell: position of a column of the property itself, whose codes are given too.

    Returns:
        float32, M x (F + width): P(class 1) by each fold's model, then the features of the first fold's network, then
        the cells of the property.
    """
    scores = kept.classifier.scores(x)[..., 1].T
    parts = [scores, kept.features(x), *([] if cell is None else [x[:, cell : cell + 1]])]
    return np.concatenate(parts, 1).astype(np.float32)


def _file(number: int) -> str:
    return f"embedded/{number:04d}.npy"


def _word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
