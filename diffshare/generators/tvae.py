"""A variational autoencoder of tables: the baseline of tabular diffusion."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from diffshare.batch import Batch
from diffshare.errors import UserError
from diffshare.generators.losses import kl_divergence
from diffshare.generators.mixed import normal
from diffshare.generators.multinomial import Categories
from diffshare.generators.one_step import OneStepBox, refuse_scheduler
from diffshare.generators.rows import Rows
from diffshare.generators.tables import TableModule
from diffshare.nets.tvae import RowDecoder, RowVAE
from diffshare.release.folder import Release
from diffshare.release.generator import UNCONDITIONAL
from diffshare.release.table import TableSchema, load_schema
from diffshare.release.weights import load_part
from diffshare.stats.counters import RowStreams
from diffshare.training.rates import Rate

NetworkCallable = Callable[[int, int, int | None], RowVAE]

# means of the scores, their log deviations, logits of the categories
Decoded = tuple[Tensor, Tensor, Tensor]


@dataclass(kw_only=True)
class RowBox(OneStepBox):
    """A released decoder of rows behind the ``TableGenerator`` protocol.

    Attributes:
        schema: what the columns are.
    """

    schema: TableSchema

    def make(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """Rows, float32, n x columns; see the base class."""
        return sample_rows(self.network, Rows(self.schema), labels, indices, seed)


def decode_once(network: Any) -> None:
    """One pass through a decoder of rows."""
    config = network.config
    labels = None if config.num_class_embeds is None else torch.zeros(1, dtype=torch.long)
    network(torch.zeros(1, config.latent_dim), labels)


def row_loss(
    categories: Categories,
    scores: Tensor,
    codes: Tensor,
    output: Decoded,
    mean: Tensor,
    logvar: Tensor,
    kl_weight: float = 1.0,
) -> Tensor:
    """Negative evidence lower bound of rows (Xu et al. 2019, section 4.4).

    -sum log N(score; output, s^2) - sum log p(category) + w KL, a score having a deviation s of its column.

    Args:
        categories: the layout of the categories.
        scores: float32, n x D.
        codes: int64, n x J.
        output: what the decoder says of a draw of the posterior.
        mean: of the posterior, n x d.
        logvar: logarithm of its variances.
        kl_weight: w.

    Returns:
        nats, float32, n.
    """
    means, log_scales, logits = output
    numbers = (
        (scores - means).square() * torch.exp(-2 * log_scales) + math.log(2 * math.pi)
    ) / 2 + log_scales
    chosen = categories.normalise(logits).gather(1, codes + categories.starts.to(codes.device))
    return numbers.sum(1) - chosen.sum(1) + kl_weight * kl_divergence(mean, logvar)


@torch.inference_mode()
def sample_rows(
    network: Any, rows: Rows, labels: np.ndarray, indices: np.ndarray, seed: int
) -> np.ndarray:
    """Rows from latents of N(0, 1): every number and category drawn from what the decoder says of it.

    Args:
        network: a :class:`RowDecoder`.
        rows: the coding.
        labels: int64, n: class numbers, -1 for none.
        indices: int64, n: number of each row within the seed.
        seed: chooses the noise.

    Returns:
        float32, n x columns.

    Raises:
        UserError: values that are not finite.
    """
    config, device = network.config, network.device
    numeric, latent = config.numeric, config.latent_dim
    null = config.num_class_embeds
    uniform = torch.from_numpy(
        RowStreams(seed, indices).uniform(0, latent + numeric + len(rows.sizes))
    ).to(device)
    asked = torch.from_numpy(np.where(labels == UNCONDITIONAL, (null or 1) - 1, labels)).to(device)
    means, log_scales, logits = network(
        normal(uniform[:, :latent]), None if null is None else asked
    )
    if not (torch.isfinite(means).all() and torch.isfinite(logits).all()):
        raise UserError("the model makes values that are not finite: it is broken; ask for another")
    scores = means + torch.exp(log_scales) * normal(uniform[:, latent : latent + numeric])
    categories = Categories(rows.sizes)
    codes = categories.draw(categories.normalise(logits), uniform[:, latent + numeric :])
    return rows.decode(scores.cpu().numpy(), codes.cpu().numpy(), labels)


class TVAE(TableModule):
    """TVAE (Xu et al. 2019) on this program's coding of rows, and conditional.

    A number's mode is a cell of a grid in place of one of the paper's mixture of normals. How rows
    are coded, and what a release gives away, says :class:`diffshare.generators.tables.TableModule`.

    Args:
        network: makes encoder and decoder of the number of features, of scores among them, and of ``num_class_embeds``,
            which follow the data.
        optimizer: of all weights.
        bounds: the least and the largest value of a numeric column by its name; the others' are
            fitted to the mix.
        schema: a file like a release's ``table/schema.json`` by which rows are coded, in place of one that is fitted to
            the mix.
        conditional: whether the model can be asked for a class.
        condition_dropout: probability with which a training record's class is hidden.
        kl_weight: of the KL divergence of the posterior to N(0, 1); the authors' code has the equal of 0.5.
        lr_schedule: ``constant`` or ``cosine`` (to zero at the last step), after the warm-up.
        warmup_steps: steps in which the rate rises linearly from 0.
    """

    family: ClassVar[str] = "tvae"

    def __init__(
        self,
        network: NetworkCallable = RowVAE,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        bounds: dict[str, tuple[float, float]] | None = None,
        schema: Path | None = None,
        conditional: bool = True,
        condition_dropout: float = 0.2,
        kl_weight: float = 0.5,
        lr_schedule: Rate = "constant",
        warmup_steps: int = 0,
    ) -> None:
        super().__init__(
            optimizer,
            bounds,
            schema,
            conditional,
            condition_dropout,
            lr_schedule,
            warmup_steps,
            1,
            1.0,
        )
        if not 0 <= kl_weight < float("inf"):
            raise UserError(f"model.kl_weight is {kl_weight}: a number of at least 0 is expected")
        self.make_network, self.kl_weight = network, kl_weight
        self.network: Any = None

    def build_network(self, classes: int | None) -> None:
        """Make encoder and decoder; see the base class."""
        self.categories = Categories(self.rows.sizes)
        if self.network is None or self.network.decoder.config.features != self.rows.features:
            self.network = self.make_network(self.rows.features, len(self.rows.numeric), classes)

    def loss(self, batch: Batch) -> Tensor:
        """Mean negative evidence lower bound of a batch, some classes hidden."""
        scores, codes, target = self.trained_on(batch)
        if not len(scores):
            return self.no_loss()
        labels = self.hidden_labels(target)
        noise = torch.randn(
            len(scores), self.network.decoder.config.latent_dim, device=scores.device
        )
        return self._losses(scores, codes, labels, noise).mean()

    def losses_of(
        self, scores: Tensor, codes: Tensor, labels: Tensor | None, number: np.ndarray
    ) -> Tensor:
        """Bound from noise that is the same every time; see the base class."""
        uniform = RowStreams(0, number).uniform(0, self.network.decoder.config.latent_dim)
        return self._losses(
            scores, codes, labels, normal(torch.from_numpy(uniform)).to(scores.device)
        )

    def _losses(
        self, scores: Tensor, codes: Tensor, labels: Tensor | None, noise: Tensor
    ) -> Tensor:
        mean, logvar = self.network.encoder(
            torch.cat([scores, self.categories.one_hot(codes)], 1), labels
        )
        output = self.network.decoder(mean + torch.exp(logvar / 2) * noise, labels)
        return row_loss(self.categories, scores, codes, output, mean, logvar, self.kl_weight)

    def draw(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """Rows from the weights as they are now; see the base class."""
        return sample_rows(self.network.decoder, self.rows, labels, indices, seed)

    def save_parts(self, folder: Path) -> None:
        """Write ``decoder`` and ``table``; the encoder stays here."""
        self.network.decoder.save_pretrained(folder / "decoder")
        super().save_parts(folder)

    @classmethod
    def receive(
        cls, release: Release, *, device: str = "cpu", scheduler: str | None = None, **_: Any
    ) -> RowBox:
        """Open a release as a black box.

        Raises:
            UserError: the parts do not fit each other or the card, or a scheduler was named.
        """
        refuse_scheduler(release.card, scheduler)
        schema = load_schema(release)
        rows, decoder = (
            Rows(schema),
            load_part(release, "decoder", {"RowDecoder": RowDecoder}, trial=decode_once),
        )
        config: Any = decoder.config
        expected = (
            rows.features,
            len(rows.numeric),
            len(release.card.labels) + 1 if release.card.labels else None,
        )
        if (config.features, config.numeric, config.num_class_embeds) != expected:
            sizes = (config.features, config.numeric, config.num_class_embeds)
            raise UserError(
                f"{release.folder}: the decoder does not fit the table and the card: its features, numeric and "
                f"num_class_embeds are {sizes}, expected {expected}"
            )
        return RowBox(release.card, decoder.to(device), schema=schema)
