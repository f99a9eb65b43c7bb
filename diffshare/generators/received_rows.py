"""A released diffusion model of a table as the receiver has it: a black box that makes rows."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from diffshare.errors import UserError
from diffshare.generators.mixed import MixedDiffusion, sample_mixed
from diffshare.generators.rows import Rows
from diffshare.nets.tabular import TableDenoiser
from diffshare.release.card import Card
from diffshare.release.folder import Release
from diffshare.release.generator import UNCONDITIONAL, Ledger, counted_calls
from diffshare.release.schedulers import load_scheduler
from diffshare.release.table import TableSchema, load_schema
from diffshare.release.weights import load_part
from diffshare.stats.counters import RowStreams


def denoise_once(network: Any) -> None:
    """One pass through a denoiser of rows.

    Raises:
        ValueError: what it makes has another shape than what it is given.
    """
    config = network.config
    labels = None if config.num_class_embeds is None else torch.zeros(1, dtype=torch.long)
    row = torch.zeros(1, config.features)
    if network(row, torch.zeros(1, dtype=torch.long), labels).shape != row.shape:
        raise ValueError("it makes rows of another length")


@dataclass
class TableBox:
    """A diffusion model of a table behind the ``TableGenerator`` protocol. It computes in fp32.

    Attributes:
        card: what the sharer says of it.
        schema: what its columns are.
        denoiser: the network.
        process: its noise.
        ledger: what was asked of it so far.
    """

    card: Card
    schema: TableSchema
    denoiser: Any
    process: MixedDiffusion
    ledger: Ledger = field(default_factory=Ledger)

    @classmethod
    def open(
        cls, release: Release, *, device: str = "cpu", scheduler: str | None = None
    ) -> "TableBox":
        """Load the parts of a checked release.

        Args:
            release: of :func:`diffshare.release.folder.open_release`.
            device: where to compute.
            scheduler: None: categories have no other sampler than their posteriors.

        Raises:
            UserError: the parts do not fit each other or the card, or a scheduler was named.
        """
        if scheduler is not None:
            raise UserError(
                f"`scheduler` {scheduler} is for images: a model of a table has one way to sample; leave it out"
            )
        schema = load_schema(release)
        rows, card = Rows(schema), release.card
        denoiser: Any = load_part(
            release, "denoiser", {"TableDenoiser": TableDenoiser}, trial=denoise_once
        )
        embeddings = len(card.labels) + 1 if card.labels else None
        sizes = (denoiser.config.features, denoiser.config.num_class_embeds)
        if sizes != (rows.features, embeddings):
            raise UserError(
                f"{release.folder}: the network (features {sizes[0]}, num_class_embeds {sizes[1]}) does not fit the "
                f"table ({rows.features} features, {len(card.labels)} labels)"
            )
        try:
            process = MixedDiffusion.of(load_scheduler(release), len(rows.numeric), rows.sizes)
        except (UserError, IndexError) as error:  # no timesteps at all
            raise UserError(
                f"{release.folder}: its scheduler is not one that such a model is trained with"
            ) from error
        return cls(card, schema, denoiser.to(device), process)

    def sample(
        self,
        labels: np.ndarray,
        indices: np.ndarray,
        *,
        seed: int,
        steps: int | None = None,
        guidance: float = 1.0,
    ) -> np.ndarray:
        """Make one row for each label; see :class:`diffshare.release.generator.Generator`.

        Row i depends on (seed, i), its label, steps and guidance. Another batch size changes the order of
        floating-point sums: a number by a rounding, a category where the rounding tips a draw.

        Returns:
            float32, n x columns, coded as the schema says.
        """
        steps = self.card.steps if steps is None else steps
        if not 1 <= steps <= self.process.steps:
            raise UserError(f"`steps` is {steps}: this model takes 1 to {self.process.steps}")
        calls: list[int] = []
        started = time.perf_counter()
        null = len(self.card.labels)
        asked = torch.from_numpy(np.where(labels == UNCONDITIONAL, null, labels)).to(
            self.denoiser.device
        )
        with counted_calls(calls, steps * len(labels)) as on_call:
            scores, codes = sample_mixed(
                self.denoiser,
                self.process,
                asked if null else None,
                RowStreams(seed, indices),
                len(labels),
                steps=steps,
                guidance=guidance,
                null_label=null,
                on_call=on_call,
            )
        rows = Rows(self.schema).decode(scores, codes, labels)
        self.ledger.record(labels, sum(calls), time.perf_counter() - started)
        return rows
