"""Samples of a black box for an audit: as many of each class, drawn as they are needed, kept as a samples folder."""

import shutil
import tempfile
import weakref
from pathlib import Path

import numpy as np

from diffshare.errors import UserError
from diffshare.generators.families import open_generator
from diffshare.receiver.property.queries import ModelQueries
from diffshare.receiver.records import Records
from diffshare.receiver.samples import Samples, join_classes
from diffshare.release.asked import write_asked
from diffshare.release.generator import Labels, plan_labels
from diffshare.release.info import Drawn, asked_info

_EACH = Labels("balanced")


class Drawing:
    """Samples of a release, as many of each class, drawn as they are needed.

    Args:
        model: release folder.
        seed: chooses the noise.
        steps: sampling steps; the card's default where None.
        guidance: ``guidance_scale``.
        batch_size: samples a pass.
        device: where to compute.
        folder: where the samples are kept; a temporary place where None.

    Raises:
        UserError: no release, or a model without classes: its samples have no Y.
    """

    def __init__(
        self,
        model: Path,
        *,
        seed: int = 0,
        steps: int | None = None,
        guidance: float = 1.0,
        batch_size: int | None = None,
        device: str = "cpu",
        folder: Path | None = None,
    ) -> None:
        self.generator, identity = open_generator(model, device=device)
        card = self.generator.card
        if not card.labels:
            raise UserError(
                f"{model} has no classes: its samples have no class that a classifier could be trained on, so there is "
                "nothing to audit"
            )
        self.card = card
        self._queries = ModelQueries(
            self.generator, _EACH, seed=seed, steps=steps, guidance=guidance, batch_size=batch_size
        )
        self._drawn, self._model, self._identity = (
            Drawn(_EACH.text, seed, steps, guidance),
            model,
            identity,
        )
        self._x: list[np.ndarray] = []
        self.folder = self._own_folder() if folder is None else folder

    def _own_folder(self) -> Path:
        """A folder for the samples that goes with this object."""
        place = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        return Path(place) / "samples"

    def check_classes(self, reference: Records) -> None:
        """Refuse a model whose samples could not be compared with a reference, before any is drawn.

        Raises:
            UserError: the classes of the two contradict each other, or one has a class that the other has not.
        """
        joined = join_classes(self.card.labels, reference, f"the samples of {self._model}")
        if joined.beyond:
            raise joined.refusal(joined.beyond[0])

    def first(self, count: int) -> Samples:
        """The first ``count`` samples; those that were drawn before are not asked for again."""
        start = sum(map(len, self._x))
        if count > start:
            self._x.append(self._queries.take(start, count))
        x = np.concatenate(self._x)[:count]
        info = asked_info(self.generator, self._drawn, self._model, self._identity)
        y = plan_labels(_EACH, count, self.generator.card)
        write_asked(self.folder, self.generator, x, y, info, overwrite=True)
        return Samples.from_path(self.folder)
