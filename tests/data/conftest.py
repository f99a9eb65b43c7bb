"""A source whose pictures say which record they are, so that a batch can be traced back to its records."""

from typing import Literal

import numpy as np
import pytest

from diffshare.data.source import Attribute, Index


class Numbered:
    """``count`` pictures of 4x4 pixels: the first two bytes are the record's number, the rest is noise.

    Attributes: ``Male`` (30 %), ``Smiling`` (50 %), ``Ward`` (three classes).
    """

    modality: Literal["image", "table"] = "image"
    on_bad_image: Literal["error", "skip"] = "error"

    def __init__(
        self, count: int = 300, shares: tuple[float, float, float] = (0.6, 0.2, 0.2)
    ) -> None:
        self.count, self.shares = count, shares
        rng = np.random.default_rng(count)
        self.codes = {
            "Male": (rng.random(count) < 0.3).astype(np.int16),
            "Smiling": (rng.random(count) < 0.5).astype(np.int16),
            "Ward": rng.integers(0, 3, count).astype(np.int16),
        }

    def index(self) -> Index:
        classes = {
            "Male": ("not Male", "Male"),
            "Smiling": ("not Smiling", "Smiling"),
            "Ward": ("a", "b", "c"),
        }
        names = np.array([f"record {i}" for i in range(self.count)])
        attributes = {name: Attribute(codes, classes[name]) for name, codes in self.codes.items()}
        return Index(names, np.full(self.count, 48, np.int64), attributes)

    def decoding(self) -> str:
        return "Numbered"

    def read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        x = np.random.default_rng(0).integers(0, 256, (self.count, 4, 4, 3), np.uint8)[positions]
        x[:, 0, 0, 0], x[:, 0, 0, 1] = positions % 256, positions // 256
        if out is not None:
            out[:] = x
        return x


@pytest.fixture
def numbered() -> type[Numbered]:
    """The class: ``numbered(count=300)`` makes a source."""
    return Numbered
