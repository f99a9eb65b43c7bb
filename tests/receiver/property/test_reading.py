"""A property that is a column of the samples: its cells meet the records' classes by name."""

from typing import Any

import numpy as np
import pytest

from diffshare.errors import UserError
from diffshare.receiver.property.inference import asked
from diffshare.receiver.property.reading import counted_column
from diffshare.release.table import TableColumn

WHAT = asked("sex", ("Female", "Male"), "Male", 0.95, 0)


class Columns:
    """Queries whose only column has these categories."""

    def __init__(self, *categories: str) -> None:
        kind: Any = "categorical" if categories else "numeric"
        self.columns = (TableColumn("sex", kind, categories),)


def counted(codes: list[float], *categories: str) -> Any:
    queries: Any = Columns(*categories)
    return counted_column(WHAT, queries, np.array(codes, np.float32)[:, None])


def test_cells_are_counted_by_name_in_whichever_order():
    straight, turned = (
        counted([0, 1, 1, 1], "Female", "Male"),
        counted([1, 0, 0, 0], "Male", "Female"),
    )
    assert straight.shares == turned.shares == {"Female": 0.25, "Male": 0.75}


def test_other_cells_are_left_out_and_named():
    made = counted([0, 1, 2, np.nan], "Male", "Female", "none")
    assert made.shares == {"Female": 0.5, "Male": 0.5}
    assert (
        made.notes[-1] == "2 samples left out: the cell is missing or of another category ('none')"
    )


@pytest.mark.parametrize(
    ("categories", "said"),
    [
        (
            ("male", "Female"),
            "are 'male', 'Female', those of 'sex' .* 'Female', 'Male': 'male' is not 'Male'",
        ),
        (("0", "1"), "are '0', '1', those of 'sex' .*: no name fits"),
        ((), "holds numbers, not the classes 'Female', 'Male'"),
    ],
)
def test_cells_that_contradict_the_records_are_refused(categories, said):
    with pytest.raises(UserError, match=said):
        counted([0, 1], *categories)
