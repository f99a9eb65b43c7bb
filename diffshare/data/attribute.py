"""One attribute of every record, in codes."""

from dataclasses import dataclass

import numpy as np

MAX_CLASSES = 1000


@dataclass(frozen=True)
class Attribute:
    """One attribute of every record, coded.

    Attributes:
        codes: int16, N, in 0..K-1; -1 where it is not known.
        classes: the K names of the codes, for instance ``("not Smiling", "Smiling")``.
    """

    codes: np.ndarray
    classes: tuple[str, ...]
