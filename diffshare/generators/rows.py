"""Rows of a table as a diffusion model sees them, and back: the quantile transform, and codes of categories."""

from collections.abc import Sequence

import numpy as np

from diffshare.classes import listed
from diffshare.errors import UserError
from diffshare.release.table import SourceColumn, TableColumn, TableSchema
from diffshare.stats.quantiles import from_normal, to_normal

KNOWN, MISSING = 0, 1  # codes of the column that says whether a number is missing


class Rows:
    """Turns records into scores and codes and back.

    A numeric column becomes its normal score. Where it has missing cells, a column with the codes 0 (known) and 1
    (missing) stands behind the categorical ones, and the score of a missing cell is 0, the middle. The value of a
    constant column is no part of what a network sees or makes: it is put in behind it.

    Args:
        schema: what the columns are.
    """

    def __init__(self, schema: TableSchema) -> None:
        self.schema = schema
        self.numeric = tuple(i for i in schema.numeric if not schema.columns[i].constant)
        self.categorical = tuple(i for i in schema.categorical if not schema.columns[i].constant)
        self.gappy = tuple(i for i in schema.numeric if schema.columns[i].missing and schema.columns[i].quantiles)
        self.sizes = [len(schema.columns[i].categories) for i in self.categorical] + [2] * len(self.gappy)
        self._recode: list[np.ndarray] | None = None

    @property
    def features(self) -> int:
        """Numbers in a row of the network: a score for each numeric column, a place for each category."""
        return len(self.numeric) + sum(self.sizes)

    def match(self, columns: Sequence[SourceColumn]) -> None:
        """Note how the source codes its categories; ``encode`` needs it.

        Raises:
            UserError: the columns are others than the model was trained on.
        """
        ours, theirs = ([f"{c.name} ({c.kind})" for c in side] for side in (self.schema.columns, columns))
        if ours != theirs:
            known, found = ([name for name in a if name not in b] for a, b in ((ours, theirs), (theirs, ours)))
            differ = f"{listed(known)} and not {listed(found)}" if known or found else "them in another order"
            raise UserError(f"the model was trained on other columns than the data has: {differ}; use the run's config")
        self._recode = []
        for i in self.categorical:
            mine = self.schema.columns[i].categories
            codes = [mine.index(text) if text in mine else -1 for text in columns[i].categories]
            self._recode.append(np.array(codes, np.int64))

    def encode(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scores and codes of records.

        Args:
            x: as the source reads them, float32, N x columns.

        Returns:
            scores, float32, N x numeric columns, and codes, int64, N x discrete columns; -1 for a category that the
            training set lacks.
        """
        assert self._recode is not None
        scores = np.zeros((len(x), len(self.numeric)), np.float32)
        for j, i in enumerate(self.numeric):
            known = ~np.isnan(x[:, i])
            scores[known, j] = to_normal(x[known, i], np.array(self.schema.columns[i].quantiles))
        codes = [recode[x[:, i].astype(np.int64)] for i, recode in zip(self.categorical, self._recode, strict=True)]
        codes += [np.where(np.isnan(x[:, i]), MISSING, KNOWN) for i in self.gappy]
        return scores, np.stack(codes, 1)

    def decode(self, scores: np.ndarray, codes: np.ndarray, labels: np.ndarray | None = None) -> np.ndarray:
        """Records of scores and codes, with the codes of the schema.

        Args:
            scores: float, N x numeric columns.
            codes: int64, N x discrete columns.
            labels: int64, N: the class that each record was asked for, -1 for none; it overrides the target's cell.

        Returns:
            float32, N x columns, NaN where a number is missing.
        """
        x = np.empty((len(scores), len(self.schema.columns)), np.float32)
        x[:] = [self._constant(column) for column in self.schema.columns]
        for j, i in enumerate(self.numeric):
            column = self.schema.columns[i]
            values = from_normal(scores[:, j], np.array(column.quantiles))
            decimals = 0 if column.integer else column.decimals
            x[:, i] = values if decimals is None else np.round(values, decimals)
        x[:, self.categorical] = codes[:, : len(self.categorical)]
        for j, i in enumerate(self.gappy, len(self.categorical)):
            x[codes[:, j] == MISSING, i] = np.nan
        if labels is not None:
            target = self.schema.names.index(self.schema.target)
            x[labels >= 0, target] = labels[labels >= 0]
        return x

    @staticmethod
    def _constant(column: TableColumn) -> float:
        """What stands in every cell of a constant column; of another one it is put over."""
        return 0.0 if column.kind == "categorical" else next(iter(column.quantiles), np.nan)
