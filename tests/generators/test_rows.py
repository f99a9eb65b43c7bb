"""Rows of a model and of the data at hand: categories meet by name, and what differs is said."""

import numpy as np
import pytest

from diffshare.data.table import Column
from diffshare.errors import UserError
from diffshare.generators.rows import Rows
from diffshare.release.table import TableColumn, TableSchema

SCHEMA = TableSchema(
    (
        TableColumn("age", "numeric", bounds=(0.0, 1.0), cells=1),
        TableColumn("ill", "categorical", ("no", "yes")),
    ),
    "ill",
)
AGE = Column("age", "numeric")


def test_categories_are_joined_by_name():
    x = np.array([[0.5, 0], [0.5, 1], [0.5, 2]], np.float32)
    for categories, codes in ((("no", "yes", "?"), [0, 1, -1]), (("yes", "?", "no"), [1, -1, 0])):
        rows = Rows(SCHEMA)
        rows.match((AGE, Column("ill", "categorical", categories)))
        assert rows.encode(x)[1][:, 0].tolist() == codes


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            (Column("age", "categorical", ("1",)), Column("ill", "categorical")),
            "'age .numeric.' and not 'age .categ",
        ),
        (
            (AGE, Column("sick", "categorical")),
            "'ill .categorical.' and not 'sick .categorical.'; use",
        ),
        ((AGE,), "'ill .categorical.' and not none"),
        ((Column("ill", "categorical"), AGE), "them in another order"),
    ],
)
def test_what_differs_is_said(columns, said):
    with pytest.raises(UserError, match=f"trained on other columns than the data has: {said}"):
        Rows(SCHEMA).match(columns)
