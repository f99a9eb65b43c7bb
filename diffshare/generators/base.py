"""What every family of generator shares: steps, optimiser, what it remembers of its data, how it is released."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
from lightning.pytorch import LightningModule
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from diffshare.batch import Batch, Request
from diffshare.data.module import MixDataModule
from diffshare.errors import UserError
from diffshare.generators.rehearsal import rehearse
from diffshare.received import is_name
from diffshare.release.disclosure import fit_schema
from diffshare.release.folder import Release, check_fields
from diffshare.release.generator import UNCONDITIONAL, Generator
from diffshare.training.rates import optimizer_and_rate


class Facts(NamedTuple):
    """What a generator must know of its training data to be released and sampled.

    Attributes:
        labels: names of the classes.
        shape: C, H, W of an image; the number of columns of a row.
        label_counts: records of each class in the mix.
        cells: S x Y counts of the mix, ``{"s0y0": n, ...}``; None where no sensitive attribute was named.
        table: the schema of a table, fitted to the mix, as JSON values; None for images.
        protections: what the mix did for privacy, in words, for the card.
        target: name of the attribute that the classes are of.
        sensitive: name of the attribute that is the group; empty where none was named.
        groups: names of the groups.
    """

    labels: tuple[str, ...]
    shape: tuple[int, ...]
    label_counts: tuple[int, ...]
    cells: Mapping[str, int] | None
    table: Mapping[str, Any] | None = None
    protections: tuple[str, ...] = ()
    target: str = ""
    sensitive: str = ""
    groups: tuple[str, ...] = ()


class GenerativeModule(LightningModule):
    """Base of all generators. A family implements ``loss``, ``draw``, ``save_parts``, ``receive`` and names itself.

    Args:
        optimizer: of the trained parameters.
        lr_schedule: ``constant`` or ``cosine`` (to zero at the last step), after the warm-up.
        warmup_steps: steps in which the rate rises linearly from 0.
        sampling_steps: network calls a sample, here and as the release's default.
        guidance: ``guidance_scale`` of ``predict`` and of the preview; a receiver chooses his own.
    """

    family: ClassVar[str]
    modality: ClassVar[Literal["image", "table"]] = "image"

    def __init__(
        self,
        optimizer: OptimizerCallable,
        lr_schedule: Literal["constant", "cosine"],
        warmup_steps: int,
        sampling_steps: int,
        guidance: float,
    ) -> None:
        super().__init__()
        for name, value, least in (
            ("warmup_steps", warmup_steps, 0),
            ("sampling_steps", sampling_steps, 1),
        ):
            if value < least:
                raise UserError(f"model.{name} is {value}: it must be at least {least}")
        self.optimizer, self.lr_schedule, self.warmup_steps = optimizer, lr_schedule, warmup_steps
        self.sampling_steps, self.guidance = sampling_steps, guidance
        self.facts: Facts | None = None
        self.config: dict[str, Any] | None = (
            None  # class_path and init_args, set by the command line
        )
        self.sampling_seed = 0
        self.loaded_step: int | None = None  # of the checkpoint that the weights are from

    # --- a family's own part -------------------------------------------------------------------------------------

    @property
    def conditional(self) -> bool:
        """Whether the model can be asked for a class."""
        raise NotImplementedError

    def check(self, facts: Facts) -> None:
        """Refuse data that the network does not fit.

        Raises:
            UserError: names the setting to change.
        """
        raise NotImplementedError

    def loss(self, batch: Batch) -> Tensor:
        """Mean training loss of a batch, a float32 scalar."""
        raise NotImplementedError

    def draw(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """Samples from the weights as they are now.

        Args:
            labels: int64, n; -1 asks for no class.
            indices: int64, n: number of each sample within the seed, from which its noise comes.
            seed: chooses the noise.

        Returns:
            uint8, n x H x W x C; of a table float32, n x columns.
        """
        raise NotImplementedError

    def save_parts(self, folder: Path) -> None:
        """Write networks and schedulers of the release with ``save_pretrained``."""
        raise NotImplementedError

    @classmethod
    def receive(cls, release: Release, **options: Any) -> Generator:
        """Open a release of this family as a black box."""
        raise NotImplementedError

    # --- shared ----------------------------------------------------------------------------------------------------

    def setup(self, stage: str) -> None:
        """Learn from the data module what is trained on."""
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, MixDataModule):
            self.check_modality(data)
            facts = describe(data)
            self.check(facts)
            self.facts = facts
            # not only after the training
            check_fields(self.card_fields(declare_labels=True, declare_counts=True))
            if stage == "fit":
                rehearse(self, data)

    def check_modality(self, data: MixDataModule) -> None:
        """Refuse images for a model of tables, and the other way round."""
        if data.source.modality != self.modality:
            raise UserError(
                f"{type(self).__name__} makes {self.modality}s, data.source holds {data.source.modality}s: choose a "
                "source or a model of the other kind"
            )

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One step; the loss is logged as ``train/loss``."""
        loss = self.loss(batch)
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss

    def predict_step(
        self, batch: Request, batch_idx: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples of a request: their numbers, classes and images or rows (see ``draw``)."""
        indices, labels = batch.number.cpu().numpy(), batch.label.cpu().numpy()
        if not self.conditional:
            labels = np.full_like(labels, UNCONDITIONAL)
        return indices, labels, self.draw(labels, indices, self.sampling_seed)

    def configure_optimizers(self) -> Any:
        """The injected optimiser, its rate warmed up and then constant or a half cosine."""
        return optimizer_and_rate(self, self.optimizer, self.lr_schedule, self.warmup_steps)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what a release needs beside the weights: plain values only."""
        facts = None if self.facts is None else self.facts._asdict()
        checkpoint["diffshare"] = {"model": self.config, "facts": facts}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another class of model."""
        self.loaded_step = checkpoint.get("global_step")
        saved = checkpoint.get("diffshare") or {}
        trained, mine = (
            (saved.get("model") or {}).get("class_path"),
            (self.config or {}).get("class_path"),
        )
        if trained and mine and trained != mine:
            raise UserError(
                f"the checkpoint was trained as {trained}, the config names {mine}: use the matching config"
            )
        if saved.get("facts"):
            try:
                facts = Facts(**saved["facts"])
            except TypeError as error:
                raise UserError(
                    "the checkpoint does not say what it was trained on: give one that fit wrote"
                ) from error
            now_of = self.facts.target if self.facts and facts.target else ""
            for what, was, now in (
                ("classes", facts.labels, self.facts and self.facts.labels),
                (f"{self.modality} shape", facts.shape, self.facts and self.facts.shape),
                ("classes of", facts.target, now_of or None),
            ):
                if now is not None and tuple(was) != tuple(now):
                    raise UserError(
                        f"the model was trained on {what} {was}, the data has {now}: use the run's config"
                    )
            self.facts = facts

    def card_fields(self, *, declare_labels: bool | None, declare_counts: bool) -> dict[str, Any]:
        """What the release says of the model, and what the sharer chose to declare of the data.

        Args:
            declare_labels: class frequencies; where None, a family decides, and most declare them.
            declare_counts: S x Y counts.
        """
        if self.facts is None:
            raise UserError(
                "this model does not know its training data: release it after fit, or from a checkpoint"
            )
        declared = declare_labels is not False and self.conditional
        frequencies = _rounded(self.facts.label_counts) if declared else None
        return {
            "family": self.family,
            "modality": self.modality,
            "image_size": self.facts.shape[1] if self.modality == "image" else None,
            "columns": [column["name"] for column in self.facts.table["columns"]]
            if self.facts.table
            else None,
            "labels": list(self.facts.labels) if self.conditional else [],
            "steps": self.sampling_steps,
            "label_frequencies": frequencies,
            "target": self.facts.target
            if self.conditional and is_name(self.facts.target)
            else None,
            "declared": dict(self.facts.cells) if declare_counts and self.facts.cells else None,
            "declared_names": self._declared_names()
            if declare_counts and self.facts.cells
            else None,
            "protections": list(self.facts.protections),
        }

    def _declared_names(self) -> dict[str, Any] | None:
        """What the cells stand for; None where a name is none that a card may hold."""
        assert self.facts is not None
        facts = self.facts
        if not all(map(is_name, (facts.sensitive, facts.target, *facts.groups, *facts.labels))):
            return None
        return {
            "sensitive": facts.sensitive,
            "groups": list(facts.groups),
            "target": facts.target,
            "classes": list(facts.labels),
        }


def _rounded(counts: tuple[int, ...]) -> list[float]:
    """Shares in whole percent, summing to 1 (largest remainder): exact shares would give away the counts."""
    exact = 100 * np.asarray(counts, float) / sum(counts)
    percent = np.floor(exact)
    short = 100 - int(percent.sum())
    percent[np.argsort(percent - exact, kind="stable")[:short]] += 1
    return (percent / 100).tolist()


def describe(data: MixDataModule) -> Facts:
    """The facts of a data module's mix."""
    mix = data.chosen_mix()
    train = data.sets["train"]
    labels = mix.pool.y.classes
    counts = np.bincount(mix.choice.target, minlength=len(labels))
    cells = (
        {f"s{s}y{y}": int(n) for (s, y), n in np.ndenumerate(mix.counts())}
        if data.sensitive
        else None
    )
    label_counts = tuple(counts.tolist())
    protections = tuple(mix.choice.report.get("protections", ()))
    names = (data.target, data.sensitive or "", data.groups)
    if data.source.modality == "table":
        source: Any = data.source
        mark = getattr(source, "missing", "?")
        schema = fit_schema(train.x[train.rows], source.columns, data.target, mark)
        return Facts(
            labels, train.x.shape[1:], label_counts, cells, schema.to_json(), protections, *names
        )
    _, height, width, channels = train.x.shape
    return Facts(labels, (channels, height, width), label_counts, cells, None, protections, *names)
