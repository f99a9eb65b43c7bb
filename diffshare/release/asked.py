"""What a black box was asked for, written as a samples folder: rows or images, as the box makes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from diffshare.release.generator import Generator
from diffshare.release.samples import write_samples
from diffshare.release.table import TableGenerator
from diffshare.release.tables import write_table_samples


def write_asked(
    folder: str | Path,
    generator: Generator,
    x: np.ndarray,
    y: np.ndarray,
    info: Mapping[str, Any],
    *,
    overwrite: bool = False,
    escape: bool = False,
) -> None:
    """Write a samples folder of what a black box made.

    Args:
        folder: where to.
        generator: the black box.
        x: uint8, N x H x W x C; of a table float32, N x columns.
        y: the class that each sample was asked for, int64, N; -1 for none.
        info: JSON for ``samples.json``.
        overwrite: replace a samples folder.
        escape: prefix cells that a spreadsheet would run; of a table.

    Raises:
        UserError: a folder that cannot be written, or holds something else.
    """
    if isinstance(generator, TableGenerator):
        write_table_samples(folder, generator.schema, x, info, overwrite=overwrite, escape=escape)
    else:
        write_samples(folder, x, y, info, overwrite=overwrite)
