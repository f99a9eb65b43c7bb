"""A margin from the samples of generators that are known to be clean, and what it is worth."""

from collections.abc import Sequence

import numpy as np

from diffshare.audits.poisoning.reading import GroupReader
from diffshare.receiver.samples import CodedSamples
from diffshare.stats.association import Reference, compare


def surrogate_margin(
    readers: Sequence[tuple[GroupReader, CodedSamples]], reference: Reference
) -> float:
    """A margin from samples of generators that are known to be clean: the largest |d| among them.

    The samples of a further such generator exceed it with probability 1 / (n + 1), whatever the distribution.

    Args:
        readers: of each surrogate, the reader and the samples.
        reference: as for the audit itself.
    """
    return max(
        abs(a.difference.estimate)
        for reader, samples in readers
        for a in compare(reader.shares(samples), reference)
    )


def surrogate_note(margin: float, count: int, level: float) -> str:
    """What such a margin is worth: how often a further clean generator is beyond it, and whether that backs the level.

    Args:
        margin: of :func:`surrogate_margin`.
        count: n surrogates.
        level: of the test.
    """
    beyond = 1 / (count + 1)
    note = f"margin {margin:.3f} from {count} clean surrogates: a further clean generator exceeds it with probability "
    note += f"1/{count + 1} = {beyond:.3g}"
    needed = int(np.ceil(1 / level - 1e-9)) - 1
    if count < needed:
        note += (
            f", which does not back a level of {level:g}: that takes at least {needed} surrogates"
        )
    return note
