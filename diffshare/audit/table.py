"""Groups and classes counted off the columns of a samples folder, without any records to compare with."""

from pathlib import Path
from typing import Any

import numpy as np

from diffshare.audit.material import read_rows, samples_file
from diffshare.errors import UserError
from diffshare.release.received import is_name, shown
from diffshare.stats.information import contingency


def counted_table(
    folder: Path, sensitive: str, target: str, count: int | None = None
) -> tuple[np.ndarray, tuple[str, ...], tuple[str, ...], int]:
    """Counts of each group and class.

    Categories are coded in natural order, as a source of the same file would code them.

    Args:
        folder: with ``samples.csv``.
        sensitive: column that is the group.
        target: column that is the class.
        count: rows from the first on; all where None.

    Returns:
        int64, K x C; names of the groups and of the classes; number of rows.

    Raises:
        UserError: no such column, fewer rows than asked for, a column with one category or an odd one.
    """
    kinds: dict[str, Any] = {sensitive: "categorical", target: "categorical"}
    _, table = read_rows(samples_file(folder), kinds, "?")
    index = table.index()
    if count is not None and count > len(index):
        raise UserError(f"{count} queries asked of a folder of {len(index)} samples: draw more, or lower --queries")
    kept = index.take(np.arange(count or len(index)))
    s, y = kept.attribute(sensitive), kept.attribute(target)
    for name, attribute in ((sensitive, s), (target, y)):
        if len(attribute.classes) < 2:
            raise UserError(f"all samples have the same '{name}': there is no association to audit")
        if odd := [text for text in attribute.classes if not is_name(text)]:
            raise UserError(f"{folder}: column '{name}' holds {shown(odd[0])}, which is no text that may be shown")
    counts = contingency(s.codes, y.codes, len(s.classes), len(y.classes))
    return counts, s.classes, y.classes, len(kept)
