"""The receiver's data straight from a release: draws the samples that a classifier then trains on."""

import hashlib
from pathlib import Path
from typing import Any, Literal

from diffshare.classes import join
from diffshare.data.cache import Decoded, open_records
from diffshare.data.cachefolder import (
    DRAWN,
    building,
    default_cache_dir,
    keep_within,
    note_use,
    refuse_foreign,
)
from diffshare.data.source import Source
from diffshare.data.synthetic import SyntheticDataModule
from diffshare.errors import UserError
from diffshare.generators.families import open_generator
from diffshare.receiver.sampling import draw_samples
from diffshare.release.asked import write_asked
from diffshare.release.card import Card
from diffshare.release.folder import open_release
from diffshare.release.generator import Generator, Labels, plan_labels
from diffshare.release.info import CSV, INFO, NPZ, Drawn, asked_info


class DrawnDataModule(SyntheticDataModule):
    """Draws samples of a release once, keeps them in the cache, and is a :class:`SyntheticDataModule` of them.

    Args:
        model: release folder.
        test_source: source of the real records.
        target: attribute of ``test_source`` that the model's classes stand for.
        sensitive: attribute of ``test_source`` that is the group S.
        count: samples to draw.
        labels: ``balanced``: equal counts of each class; ``natural``: as the card declares.
        guidance: ``guidance_scale``; 1 is plain conditional sampling.
        steps: network calls a sample; the card's default where left out.
        sample_seed: chooses the noise.
        options: of :class:`SyntheticDataModule`, but ``samples``; ``cache_dir`` keeps the samples as well.
    """

    def __init__(
        self,
        model: Path,
        test_source: Source,
        target: str,
        sensitive: str | None = None,
        count: int = 10000,
        labels: Literal["balanced", "natural"] = "balanced",
        guidance: float = 1.0,
        steps: int | None = None,
        sample_seed: int = 0,
        **options: Any,
    ) -> None:
        self.model, self.count, self.labels, self.guidance = model, count, labels, guidance
        self.steps, self.sample_seed = steps, sample_seed
        super().__init__(Path(), test_source, target, sensitive, **options)

    def prepare_data(self) -> None:
        """Draw the samples where that was not done yet, in one process."""
        records = open_records(self.test_source, self.cache_dir)
        folder = self._folder()
        for path in (folder, *(folder / name for name in (INFO, NPZ, CSV))):
            refuse_foreign(path)
        if folder.is_dir():
            note_use(folder)
            return
        # what is wrong with the test records shows now, not after hours of drawing
        self._test(records)
        generator, identity = open_generator(self.model)
        self._check(generator.card, records)
        with building(folder):
            if not folder.is_dir():  # another run may have drawn the same in the meantime
                self._draw(folder, generator, identity)
        keep_within(self._root(), keep=folder)

    def _draw(self, folder: Path, generator: Generator, identity: str) -> None:
        y = plan_labels(Labels(self.labels), self.count, generator.card)
        x = draw_samples(
            generator, y, seed=self.sample_seed, steps=self.steps, guidance=self.guidance
        )
        drawn = Drawn(self.labels, self.sample_seed, self.steps, self.guidance)
        info = asked_info(generator, drawn, self.model, identity)
        write_asked(folder, generator, x, y, info)

    def setup(self, stage: str | None = None) -> None:
        """Read the samples that were drawn, and the test records."""
        if not self.sets:
            self.samples = self._folder()
        super().setup(stage)

    def _check(self, card: Card, records: Decoded) -> None:
        """Refuse a model whose samples could not be used."""
        if card.modality != self.test_source.modality:
            kinds = {"image": "images", "table": "rows of a table"}
            raise UserError(
                f"{self.model} makes {kinds[card.modality]}, data.test_source holds "
                f"{kinds[self.test_source.modality]}: test on what the model imitates"
            )
        if card.image_size is not None and card.image_size not in records.x.shape[1:2]:
            raise UserError(
                f"{self.model} makes images of {card.image_size} pixels, data.test_source has {records.x.shape[1]}: "
                f"set `data.test_source.image_size` {card.image_size}"
            )
        if not card.labels:
            raise UserError(
                f"{self.model} has no classes: its samples have none that a classifier could learn"
            )
        whole = join(
            card.labels,
            self.classes,
            f"the samples of {self.model}",
            f"data.target '{self.target}'",
        )
        if whole.beyond:
            raise whole.refusal(whole.beyond[0])

    def _folder(self) -> Path:
        """Where the samples of this plan are kept."""
        identity = open_release(self.model).sha256
        plan = (identity, self.count, self.labels, self.guidance, self.steps, self.sample_seed)
        name = hashlib.sha256(repr(plan).encode()).hexdigest()[:32]
        return self._root() / DRAWN / name

    def _root(self) -> Path:
        return Path(self.cache_dir or default_cache_dir())
