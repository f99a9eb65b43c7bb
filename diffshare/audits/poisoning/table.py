"""Groups and classes counted off the columns of a samples folder, without any records to compare with."""

from typing import Any, NamedTuple

import numpy as np

from diffshare.data.derived import columns_read
from diffshare.errors import UserError
from diffshare.received import is_name, shown
from diffshare.receiver.samples import Samples
from diffshare.stats.information import contingency


class Counted(NamedTuple):
    """A table of samples.

    Attributes:
        counts: of each group and class, int64, K x C.
        groups: names of the K groups.
        classes: names of the C classes.
        unknown: samples of each class whose group is not known, int64, C.
        rows: number of samples, these included.
    """

    counts: np.ndarray
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    unknown: np.ndarray
    rows: int


def counted_table(
    samples: Samples, sensitive: str, target: str, count: int | None = None
) -> Counted:
    """Counts of each group and class.

    Categories are coded in natural order, as a source of the same file would code them.

    Args:
        samples: rows.
        sensitive: column that is the group, or a derived one.
        target: column that is the class, or a derived one.
        count: rows from the first on; all where None.

    Raises:
        UserError: no such column, fewer rows than asked for, a row without a class, a column with one category or an
            odd one.
    """
    kinds: dict[str, Any] = {}
    for name in (sensitive, target):
        kinds = {**kinds, **columns_read(name, samples.header)}
    index = samples.rows(kinds).index()
    if count is not None and count > len(index):
        raise UserError(
            f"{count} queries asked of a folder of {len(index)} samples: draw more, or lower `queries`"
        )
    kept = index.take(np.arange(count or len(index)))
    s, y = kept.attribute(sensitive), kept.attribute(target)
    for name, attribute in ((sensitive, s), (target, y)):
        if len(attribute.classes) < 2:
            raise UserError(f"all samples have the same '{name}': there is no association to audit")
        if odd := [text for text in attribute.classes if not is_name(text)]:
            raise UserError(
                f"{samples.where}: column '{name}' holds {shown(odd[0])}, which is no text that may be shown"
            )
    if lacking := int((y.codes < 0).sum()):
        raise UserError(
            f"{samples.where}: {lacking} samples have no '{target}': fill it in or drop them"
        )
    counts = contingency(s.codes, y.codes, len(s.classes), len(y.classes))
    unknown = np.bincount(y.codes[s.codes < 0], minlength=len(y.classes))
    return Counted(counts, s.classes, y.classes, unknown, len(kept))
