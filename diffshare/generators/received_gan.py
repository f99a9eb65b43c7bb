"""A released generator as the receiver has it: samples from one pass, and a word where they are all the same."""

import warnings
from collections.abc import Mapping, Sequence

import numpy as np

from diffshare.generators.one_step import OneStepBox
from diffshare.release.generator import UNCONDITIONAL

COLLAPSED = (
    1.0  # grey levels: samples that deviate less from each other are all the same to the eye
)


def deviations(images: np.ndarray, labels: np.ndarray) -> dict[int, float]:
    """Standard deviation over the samples of each class, in grey levels, mean over the elements of an image.

    Args:
        images: uint8, N x H x W x C.
        labels: int64, N. A class of one sample is left out.
    """
    classes, counts = np.unique(labels, return_counts=True)
    return {int(k): float(images[labels == k].std(0).mean()) for k in classes[counts > 1]}


def warn_of_collapse(spread: Mapping[int, float], labels: Sequence[str]) -> None:
    """Warn of each class whose samples are nearly equal.

    Args:
        spread: of :func:`deviations`.
        labels: names of the classes.
    """
    for label, deviation in spread.items():
        if deviation < COLLAPSED:
            named = "" if label == UNCONDITIONAL or not labels else f" of class '{labels[label]}'"
            warnings.warn(
                f"the GAN has collapsed: its samples{named} are all equal within {COLLAPSED:g} grey level; train it "
                "again with another seed, a lower learning rate or more discriminator_steps",
                stacklevel=2,
            )


class GANBox(OneStepBox):
    """A released generator behind the ``Generator`` protocol."""

    def make(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """Images of the generator; see the base class."""
        images = super().make(labels, indices, seed)
        warn_of_collapse(deviations(images, labels), self.card.labels)
        return images
