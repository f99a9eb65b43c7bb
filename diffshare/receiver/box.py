"""A received model: a black box that is asked for samples."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffshare.classes import place_of
from diffshare.errors import UserError, check_seed
from diffshare.generators.families import open_generator
from diffshare.receiver.choices import as_option, checked
from diffshare.receiver.records import Records
from diffshare.receiver.samples import Samples
from diffshare.receiver.sampling import check_device, draw_samples
from diffshare.release.card import Card
from diffshare.release.generator import Generator, plan_labels
from diffshare.release.info import Drawn, asked_info
from diffshare.release.table import TableGenerator, TableSchema

Words = Literal["balanced", "natural", "none"]


class Box:
    """A model that is asked for samples and shows nothing else.

    Args:
        generator: the black box.
        folder: of the release.
        identity: SHA-256 of the release.
    """

    def __init__(self, generator: Generator, folder: Path, identity: str) -> None:
        self.generator, self.folder, self.identity = generator, folder, identity

    def __repr__(self) -> str:
        card = self.card
        return (
            f"Box({card.family}, {card.modality}, classes={list(card.labels)}, steps={card.steps})"
        )

    @property
    def card(self) -> Card:
        """What the release says of itself: claims of whoever made it."""
        return self.generator.card

    def draw(
        self,
        labels: Words | Sequence[int | str] | np.ndarray = "balanced",
        *,
        count: int | None = None,
        seed: int = 0,
        steps: int | None = None,
        guidance: float = 1.0,
        batch_size: int | None = None,
    ) -> Samples:
        """Ask for samples.

        Args:
            labels: the class of each sample, by name or number; or how to choose ``count`` of them: as many
                of each, as the card says they are among the training records, or none.
            count: how many; needed with a word, left out with a list.
            seed: chooses the noise.
            steps: network calls a sample; the card's default where None.
            guidance: ``guidance_scale``, 1 is plain conditional sampling.
            batch_size: samples a pass.

        Raises:
            UserError: no such class, no count, or an option that the model does not take.
        """
        options = {"seed": seed, "steps": steps, "guidance": guidance, "batch_size": batch_size}
        checked(Box.draw, options | {"count": count})
        check_seed("seed", seed)
        if isinstance(labels, str):
            if count is None:
                raise UserError(
                    f"`count` is missing: say how many samples to draw with the labels {labels}"
                )
            codes, said = plan_labels(labels, count, self.card), labels
        else:
            codes, said = self._codes(labels), "given"
            if count is not None and count != len(codes):
                raise UserError(f"`count` is {count}, {len(codes)} labels are given: leave one out")
        x = draw_samples(self.generator, codes, **options)  # type: ignore[arg-type]
        info = asked_info(
            self.generator, Drawn(said, seed, steps, guidance), self.folder, self.identity
        )
        return as_samples(self.generator, x, codes, info)

    def _codes(self, labels: Sequence[int | str] | np.ndarray) -> np.ndarray:
        """The number of each class that is named, int64, N."""
        several = labels.tolist() if isinstance(labels, np.ndarray) and labels.ndim == 1 else labels
        if not isinstance(several, list | tuple) or not several:
            raise UserError(
                "`labels` is no list of classes: give one for each sample, or a word and `count`"
            )
        several = [as_option("labels", label, int | str) for label in several]
        return np.array([place_of(label, self.card.labels).code for label in several], np.int64)


def as_samples(
    generator: Generator, x: np.ndarray, codes: np.ndarray, info: Mapping[str, Any]
) -> Samples:
    """What a black box gave, as whoever asked it has it.

    Args:
        generator: the black box.
        x: uint8, N x H x W x C; of a table float32, N x columns.
        codes: class that each was asked for, int64, N.
        info: what ``samples.json`` would say.
    """
    if isinstance(generator, TableGenerator):
        return Samples.drawn(_columns(x, generator.schema), None, info)
    return Samples.drawn(x, codes, info, generator.card.labels)


def check_kinds(what: Any, kinds: tuple[type, ...], records: Any) -> None:
    """Refuse what are no samples or model, and what are no records: a slip in the order of two arguments.

    Raises:
        UserError: names what was given.
    """
    if not isinstance(what, kinds):
        raise UserError(
            f"a {type(what).__name__} was given first: give Samples, or a model that open_model opened"
        )
    if not isinstance(records, Records):
        raise UserError(f"a {type(records).__name__} was given as the records: give Records")


def open_model(what: str | Path, *, device: str = "cpu") -> Box:
    """A received model as a black box.

    Args:
        what: a release folder. Every file of it is checked before it is used, and none is unpickled.
        device: where to compute.

    Raises:
        UserError: it is no release, or one that is damaged.
    """
    folder = checked(open_model, {"what": what, "device": device})["what"]
    check_device(device)
    generator, identity = open_generator(Path(folder), device=device)
    return Box(generator, Path(folder), identity)


def _columns(x: np.ndarray, schema: TableSchema) -> dict[str, np.ndarray]:
    """Rows as a mapping of columns: numbers, and texts of categories; None where a cell is missing."""
    columns: dict[str, np.ndarray] = {}
    for i, column in enumerate(schema.columns):
        if column.kind == "numeric":
            columns[column.name] = x[:, i]
        else:
            texts = [None if text == schema.mark else text for text in column.categories]
            columns[column.name] = np.array(
                [texts[code] for code in x[:, i].astype(np.int64)], object
            )
    return columns
