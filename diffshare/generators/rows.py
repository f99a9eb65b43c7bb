"""Rows of a table as a generator sees them, and back: cells of a grid with a score in each, and codes of categories."""

from collections.abc import Sequence

import numpy as np

from diffshare.classes import listed
from diffshare.errors import UserError
from diffshare.release.disclosure import OTHER, SourceColumn
from diffshare.release.table import TableColumn, TableSchema
from diffshare.stats.grid import from_cells, to_cells
from diffshare.stats.quantiles import from_normal


class Rows:
    """Turns records into scores and codes and back.

    A numeric column becomes a score and a code, which stands behind those of the categorical
    columns: a cell of the grid between the column's bounds, with the score the place within it, or
    the value 0, or a missing cell, with the score 0. Of a release of format 1 the score is that of
    a quantile transform, and there is a code only where cells may be missing. The value of a constant
    column is no part of what a network sees or makes: it is put in behind it.

    Args:
        schema: what the columns are.
    """

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema
        self.categorical = tuple(i for i in schema.categorical if not schema.columns[i].constant)
        self.numeric = tuple(i for i in schema.numeric if not schema.columns[i].constant)
        self.coded = tuple(i for i in schema.numeric if schema.columns[i].states > 1)
        self.sizes = [len(schema.columns[i].categories) for i in self.categorical]
        self.sizes += [schema.columns[i].states for i in self.coded]
        self._recode: list[np.ndarray] | None = None

    @property
    def features(self) -> int:
        """Numbers in a row of the network: a score for each numeric column, a place for each code."""
        return len(self.numeric) + sum(self.sizes)

    def match(self, columns: Sequence[SourceColumn]) -> None:
        """Note how the source codes its categories; ``encode`` needs it.

        A category that the schema does not name is a missing cell where the schema names these,
        else ``other``.

        Raises:
            UserError: the columns are others than the model was trained on.
        """
        ours, theirs = (
            [f"{c.name} ({c.kind})" for c in side] for side in (self.schema.columns, columns)
        )
        if ours != theirs:
            missing, extra = (
                [name for name in a if name not in b] for a, b in ((ours, theirs), (theirs, ours))
            )
            differ = (
                f"{listed(missing)} and not {listed(extra)}"
                if missing or extra
                else "them in another order"
            )
            raise UserError(
                f"the model was trained on other columns than the data has: {differ}; use the run's config"
            )
        self._recode = []
        for i in self.categorical:
            code = {text: number for number, text in enumerate(self.schema.columns[i].categories)}
            rare = code.get(self.schema.mark, code.get(OTHER, -1))
            rare = -1 if self.schema.columns[i].name == self.schema.target else rare
            self._recode.append(
                np.array([code.get(text, rare) for text in columns[i].categories], np.int64)
            )

    def encode(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores and codes of records.

        Args:
            x: as the source reads them, float32, N x columns.

        Returns:
            scores, float32, N x numeric columns, and codes, int64, N x discrete columns; -1 for a
            category or a missing cell that the schema does not name.
        """
        assert self._recode is not None
        scores = np.zeros((len(x), len(self.numeric)), np.float32)
        codes = [
            recode[x[:, i].astype(np.int64)]
            for i, recode in zip(self.categorical, self._recode, strict=True)
        ]
        for i in self.schema.numeric:
            code, score = _coded(x[:, i], self.schema.columns[i])
            if i in self.numeric:
                scores[:, self.numeric.index(i)] = score
            if i in self.coded:
                codes.append(code)
        return scores, np.stack(codes, 1)

    def decode(
        self, scores: np.ndarray, codes: np.ndarray, labels: np.ndarray | None = None
    ) -> np.ndarray:
        """Records of scores and codes, with the codes of the schema.

        Args:
            scores: float, N x numeric columns.
            codes: int64, N x discrete columns.
            labels: int64, N: the class that each record was asked for, -1 for none; it overrides the target's cell.

        Returns:
            float32, N x columns, NaN where a number is missing.
        """
        x = np.empty((len(scores), len(self.schema.columns)), np.float32)
        x[:, self.schema.categorical] = (
            0  # of a constant column; of another one the code is put over it
        )
        x[:, self.categorical] = codes[:, : len(self.categorical)]
        code = dict(zip(self.coded, codes[:, len(self.categorical) :].T, strict=True))
        score = dict(zip(self.numeric, scores.T, strict=True))
        for i in self.schema.numeric:
            state = code.get(i, np.zeros(len(scores), np.int64))
            x[:, i] = _values(state, score.get(i), self.schema.columns[i])
        if labels is not None:
            target = self.schema.names.index(self.schema.target)
            x[labels >= 0, target] = labels[labels >= 0]
        return x


def _coded(values: np.ndarray, column: TableColumn) -> tuple[np.ndarray, np.ndarray]:
    """Code and score of each value of a numeric column with bounds: cells first, then 0, then missing."""
    missing = np.isnan(values)
    code, score = np.zeros(len(values), np.int64), np.zeros(len(values))
    if not column.constant and len(column.bounds) == 2:
        present = np.where(missing, column.bounds[0], values)
        code, score = to_cells(present, column.bounds, column.cells, whole=column.integer)
    cells = max(column.cells, 1)
    zero = (values == 0) & column.zero
    code = np.where(zero, cells, code)
    code = np.where(missing, cells + column.zero if column.missing else -1, code)
    return code, np.where(zero | missing, 0, score)


def _values(state: np.ndarray, scores: np.ndarray | None, column: TableColumn) -> np.ndarray:
    """Values of the codes and, unless it is constant, scores of a numeric column; NaN where missing."""
    cells = max(column.cells, 1)
    if scores is None:
        values = np.full(len(state), column.bounds[0] if len(column.bounds) == 2 else np.nan)
    elif len(column.bounds) != 2:  # format 1
        values = from_normal(scores, np.array(column.quantiles))
        values = np.round(values) if column.integer else values
    else:
        values = from_cells(
            np.minimum(state, cells - 1), scores, column.bounds, cells, whole=column.integer
        )
        values = values if column.decimals is None else np.round(values, column.decimals)
    values = np.where((state == cells) & column.zero, 0.0, values)
    return np.where((state == cells + column.zero) & column.missing, np.nan, values)
