"""Shadow generators as records: each is the set of its samples, embedded, and its label a known proportion."""

from pathlib import Path
from typing import Any

import numpy as np

from diffshare.data.module import RecordsDataModule
from diffshare.data.recordsets import RecordSet
from diffshare.errors import UserError
from diffshare.storage import read_json

INDEX = "shadows.json"
PARTS = ("train", "val", "test")


class ShadowDataModule(RecordsDataModule):
    """Reads embedded samples of generators that were trained at known proportions.

    ``root`` holds ``shadows.json``: ``{"shadows": [{"file": "embedded/000.npy", "p": 0.31, "part": "train"}, ...]}``.
    Each file is float32, M x D: M embedded samples of one generator. A batch has x of N x M x D and as target the
    proportions, float32, N.

    Args:
        root: the folder.
        batch_size: generators a training step.
        eval_batch_size: generators a step of validation and test; ``batch_size`` where left out.
        num_workers: loader processes.
        seed: of the order of generators.
    """

    def __init__(
        self,
        root: Path,
        batch_size: int = 16,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        self.root = root

    def setup(self, stage: str | None = None) -> None:
        """Read the index and the files that it names.

        Raises:
            UserError: no index, a file that is missing or malformed, a proportion outside [0, 1], an unknown part, or
                fewer generators to train on than a batch has.
        """
        if self.sets:
            return
        content = read_json(self.root / INDEX)
        shadows = content.get("shadows") if isinstance(content, dict) else None
        if not isinstance(shadows, list) or not shadows:
            raise UserError(
                f"{self.root / INDEX} lists no shadows: expected {{'shadows': [{{file, p, part}}, ...]}}"
            )
        parts, proportions = zip(*(self._checked(entry) for entry in shadows), strict=True)
        x = self._read([str(entry["file"]) for entry in shadows])
        for part in PARTS:
            rows = np.flatnonzero(np.array(parts) == part)
            if len(rows) or part == "train":
                target = np.array(proportions, np.float32)[rows]
                self.sets[part] = RecordSet(x, rows, target, np.full(len(rows), -1))
        if len(self.sets["train"]) < self.batch_size:
            raise UserError(
                f"{self.root} has {len(self.sets['train'])} shadows to train on, data.batch_size is {self.batch_size}: "
                "make more shadows or lower it"
            )

    def _checked(self, entry: Any) -> tuple[str, float]:
        where = self.root / INDEX
        if not isinstance(entry, dict) or not {"file", "p", "part"} <= entry.keys():
            raise UserError(
                f"{where} has an entry without file, p and part: mend it, or make the shadows anew"
            )
        if entry["part"] not in PARTS:
            raise UserError(f"{where} has the part '{entry['part']}': expected {', '.join(PARTS)}")
        if not isinstance(entry["p"], int | float) or not 0 <= entry["p"] <= 1:
            raise UserError(f"{where} has the proportion {entry['p']}: it lies in [0, 1]")
        return entry["part"], float(entry["p"])

    def _read(self, names: list[str]) -> np.ndarray:
        arrays: list[np.ndarray] = []
        for name in names:
            try:
                array = np.load(self.root / name)
            except (OSError, ValueError) as error:
                raise UserError(f"cannot read {self.root / name}: make the shadows anew") from error
            if array.dtype != np.float32 or array.ndim != 2 or not np.isfinite(array).all():
                raise UserError(
                    f"{self.root / name} is no M x D of finite float32: make the shadows anew"
                )
            if arrays and array.shape != arrays[0].shape:
                raise UserError(
                    f"{self.root / name} is {array.shape}, {names[0]} is {arrays[0].shape}: one shape for all"
                )
            arrays.append(array)
        return np.stack(arrays)
