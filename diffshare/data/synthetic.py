"""The receiver's data: trained on samples of a black box, tested on real records."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffshare.classes import Joined, another_attribute, join
from diffshare.data.cache import Decoded, open_records
from diffshare.data.listed import listed_names
from diffshare.data.module import RecordsDataModule
from diffshare.data.recoding import log_unknown, recode
from diffshare.data.recordsets import RecordSet
from diffshare.data.roles import Roles
from diffshare.data.source import Index, Source, portion, split
from diffshare.data.table import Column, CSVTable
from diffshare.errors import UserError
from diffshare.release.info import class_names, class_target
from diffshare.release.samples import read_samples
from diffshare.release.tables import CSV, check_rows_file


class SyntheticDataModule(RecordsDataModule):
    """Training reads a samples folder, test real records that the generator was not trained on.

    The samples' weights, where ``repair`` gave them some, count in the training loss.

    Args:
        samples: samples folder with a class for each sample: images, or rows whose columns are those of the source.
        test_source: source of the real records.
        target: attribute of ``test_source`` that the samples' classes stand for.
        sensitive: attribute of ``test_source`` that is the group S.
        test_part: part of ``test_source`` to test on.
        test_balance: cut the test set down to equal S x Y cells.
        validation_share: share of the samples that is kept out of training, to watch it.
        training_manifest: manifest of the generator's training records, where it is known: a test record among them
            is refused.
        cache_dir: where decoded records are kept; ``$DIFFSHARE_CACHE`` or the user's cache folder where left out.
        batch_size: samples a training step of one process.
        eval_batch_size: records a step of validation and test; ``batch_size`` where left out.
        num_workers: loader processes.
        seed: fixes the parts of ``test_source`` and the order of samples. Where the source has no official parts, it
            must be the ``data.seed`` of the generator's training, or the parts are others.
    """

    def __init__(
        self,
        samples: Path,
        test_source: Source,
        target: str,
        sensitive: str | None = None,
        test_part: Literal["auxiliary", "test"] = "test",
        test_balance: bool = False,
        validation_share: float = 0.05,
        training_manifest: Path | None = None,
        cache_dir: Path | None = None,
        batch_size: int = 64,
        eval_batch_size: int | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, num_workers, seed)
        if not 0 <= validation_share < 1:
            raise UserError(f"data.validation_share is {validation_share}: it lies in [0, 1)")
        self.samples, self.test_source, self.test_part = samples, test_source, test_part
        self.target, self.sensitive, self.roles = target, sensitive, Roles(target, sensitive)
        self.test_balance, self.validation_share = test_balance, validation_share
        self.training_manifest, self.cache_dir = training_manifest, cache_dir
        self._index: Index | None = None
        self._notes: tuple[str, ...] = ()

    def prepare_data(self) -> None:
        """Decode the test source into the cache where that was not done yet."""
        open_records(self.test_source, self.cache_dir)

    def setup(self, stage: str | None = None) -> None:
        """Read the samples and the test records.

        Raises:
            UserError: samples without a class, of another size, column or class than the test records, or of one
                class only; test records that the generator was trained on.
        """
        if self.sets:
            return
        records = open_records(self.test_source, self.cache_dir)
        self._index = records.index
        x, y, weight = self._read(records)
        kept, held = self._hold_out(len(x))
        if (y < 0).any():
            raise UserError(
                f"{self.samples} has samples without a class: draw them with `labels` balanced or natural"
            )
        self._check_both(y[kept] if weight is None else y[kept][weight[kept] > 0])
        if weight is not None:
            weight = (weight / weight[kept].mean(dtype=np.float64)).astype(np.float32)
        for name, rows in (("train", kept), ("val", held)):
            if len(rows):
                part = None if weight is None else weight[rows]
                self.sets[name] = RecordSet(x, rows, y[rows], np.full(len(rows), -1), part)
        self.sets["test"] = self._test(records)

    @property
    def index(self) -> Index:
        """The test source's index."""
        return self._index if self._index is not None else self.test_source.index()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the K classes of the target."""
        return self.index.attribute(self.target).classes

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups; none where no sensitive attribute is named."""
        return self.roles.groups(self.index)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a table; none of images."""
        return getattr(self.test_source, "columns", ())

    @property
    def target_columns(self) -> tuple[str, ...]:
        """The columns of a table that tell the class."""
        return self.index.columns_of(self.target)

    @property
    def used(self) -> str:
        """How many records of the test source are tested on, in words."""
        return portion(self.test_part, len(self.sets["test"]), len(self.index))

    @property
    def notes(self) -> tuple[str, ...]:
        """How the samples' classes were told, where it was not by their names."""
        return self._notes

    def _read(self, records: Decoded) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """Samples as the source codes its records, their classes, and their weights where they have some."""
        if (self.samples / "diffshare.json").is_file():
            raise UserError(
                f"{self.samples} is a release: draw samples from it first (verb sample), or let "
                "diffshare.receiver.drawn.DrawnDataModule do it"
            )
        if self.columns:
            return self._read_rows()
        samples = read_samples(self.samples)
        if samples.x.shape[1:] != records.x.shape[1:]:
            raise UserError(
                f"the samples in {self.samples} are {samples.x.shape[1:]}, the test records {records.x.shape[1:]}: "
                "give the test source the same image_size"
            )
        return samples.x, self._join(samples.info).recode(samples.y), samples.weight

    def _join(self, info: Mapping[str, Any]) -> Joined:
        """The samples' classes as the test source numbers them; what is to be said of it becomes a note."""
        who, whose = f"the samples in {self.samples}", f"data.target '{self.target}'"
        joined = join(class_names(info, self.samples), self.classes, who, whose)
        self._notes = tuple(
            filter(None, (joined.note, another_attribute(class_target(info), self.target, who)))
        )
        return joined

    def _read_rows(self) -> tuple[np.ndarray, np.ndarray, None]:
        if not (self.samples / CSV).is_file():
            raise UserError(
                f"{self.samples} holds no {CSV}: give the samples folder of a model of this table"
            )
        x, index = read_rows(
            self.samples / CSV, self.columns, getattr(self.test_source, "missing", "?"), self.target
        )
        of = self.index.derivation(self.target)
        y = (
            index.attributes[self.target]
            if of is None
            else of.apply(index.attributes, index.numbers)
        )
        return x, y.codes.astype(np.int64), None

    def _check_both(self, y: np.ndarray) -> None:
        """Refuse training samples of one class; ``y`` are the classes of those that count."""
        if not len(y):
            raise UserError(
                f"{self.samples}: the weights of all training samples are 0, give some of them more"
            )
        if y.min() == y.max():
            raise UserError(
                f"all training samples in {self.samples} are of class '{self.classes[y[0]]}': a classifier needs two, "
                "draw more with `labels` balanced"
            )

    def _hold_out(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the samples for training and of those for validation, each in order."""
        order = np.random.default_rng([self.seed, n]).permutation(n)
        held = int(n * self.validation_share)
        return np.sort(order[held:]), np.sort(order[:held])

    def _test(self, records: Decoded) -> RecordSet:
        parts = split(records.index, self.test_source.shares, self.seed)
        rows = self.roles.rows_of(
            records.index, parts, self.test_part, balance=self.test_balance, seed=self.seed
        )
        self.roles.check_known(records.index, rows, self.test_part)
        if self.training_manifest is not None:
            trained = listed_names(self.training_manifest, records.source_sha256)
            if both := [name for name in records.index.names[rows].tolist() if name in trained]:
                raise UserError(
                    f"{len(both)} of {len(rows)} test records are among the training records of "
                    f"{self.training_manifest}, the first {both[0]}: test on another part or with the data.seed of "
                    "the training"
                )
        return RecordSet(records.x, rows, *self.roles.codes(records.index, rows))


def read_rows(
    path: Path, columns: Sequence[Column], missing: str, target: str | None = None
) -> tuple[np.ndarray, Index]:
    """Rows of a file that has a source's columns, in the source's codes, and their attributes.

    A category that the source does not know is NaN, as in an audit, and so is a missing cell where
    the source has none; how many there are is logged.

    Args:
        path: CSV with a header.
        columns: of the source.
        missing: the source's mark of a missing cell.
        target: name of the class, whose categories must be those of the source; None where there is none.

    Raises:
        UserError: the file is malformed or too large, lacks a column, or has a class that the source has not.
    """
    kinds: dict[str, Any] = {column.name: column.kind for column in columns}
    for column in columns:
        if column.name == target and column.categories:
            kinds[column.name] = [name for name in column.categories if name != missing]
    check_rows_file(path)
    table = CSVTable(str(path), kinds, missing=missing, shares=(1.0, 0.0, 0.0))
    x = recode(table.read(np.arange(len(table.index()))), table.columns, columns)
    log_unknown(x, columns, str(path))
    return x, table.index()
