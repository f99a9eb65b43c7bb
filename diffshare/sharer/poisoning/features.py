"""Frozen features of records, on which I(X;Y) is estimated. YAML names one by ``class_path``."""

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from zipfile import BadZipFile

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from diffshare.classifiers.quick import fit_quickly
from diffshare.data.mixes import Pool
from diffshare.data.module import RecordsDataModule
from diffshare.data.recordsets import RecordSet, scaled
from diffshare.errors import UserError
from diffshare.nets.classifiers import SmallResNet
from diffshare.sharer.poisoning.critic import reproducible


@runtime_checkable
class Features(Protocol):
    """Turns records into vectors; a function of the pool and the seed."""

    def compute(self, pool: Pool, seed: int) -> np.ndarray:
        """Features of each record of the pool, float32, P x d."""
        ...


def checked(features: np.ndarray, count: int) -> np.ndarray:
    """The features as float32, P x d.

    Raises:
        UserError: they are not one row of finite numbers for each of ``count`` records.
    """
    if features.ndim != 2 or len(features) != count:
        shape = " x ".join(map(str, features.shape))
        raise UserError(
            f"the mix's features are {shape}, the pool has {count} records: one row for each is expected"
        )
    with np.errstate(over="ignore"):
        features = features.astype(np.float32)  # what is too large becomes infinite
    bad = int(np.sum(~np.isfinite(features).all(1)))
    if bad:
        raise UserError(
            f"the mix's features hold NaN or infinity in {bad} of {count} records: repair or drop them"
        )
    return features


def _all(pool: Pool) -> np.ndarray:
    if pool.read is None:
        raise UserError(
            "the mix looks at the records, and this pool gives only their names: use a MixDataModule"
        )
    return pool.read(np.arange(len(pool)))


class Raw:
    """The decoded values themselves: for tables and very small images."""

    def compute(self, pool: Pool, seed: int) -> np.ndarray:
        """See :class:`Features`; images are flattened and divided by 255.

        Of a table the target's own column is left out (X would hold Y), categories become one column each, and
        numbers are standardised; a missing number stays NaN.
        """
        x = _all(pool)
        if x.dtype == np.uint8:
            return x.reshape(len(x), -1).astype(np.float32) / 255
        columns = [_column(pool, values) for values in x.astype(np.float32).T]
        return np.concatenate(columns, axis=1)


def _column(pool: Pool, values: np.ndarray) -> np.ndarray:
    """A table's column as features, P x k. A categorical one has the same codes as the attribute of its name."""
    names = []
    for name, attribute in pool.index.attributes.items():
        labelled = attribute.codes >= 0
        if labelled.any() and np.array_equal(values[labelled], attribute.codes[labelled]):
            names.append(name)
    told = pool.index.columns_of(pool.target)
    if not {pool.target, *told}.isdisjoint((*names, *_numbers_of(pool, values, told))):
        return np.zeros((len(values), 0), np.float32)
    if names:
        return (values[:, None] == np.unique(values)).astype(np.float32)
    there = values[~np.isnan(values)]
    if not len(there):
        return values[:, None]
    return ((values - there.mean()) / (there.std() or 1))[:, None]


def _numbers_of(pool: Pool, values: np.ndarray, names: Sequence[str]) -> list[str]:
    """Those of these columns of numbers that a table's column is."""
    numbers = {name: pool.index.numbers[name] for name in names if name in pool.index.numbers}
    return [
        name
        for name, one in numbers.items()
        if np.array_equal(one.astype(np.float32), values, equal_nan=True)
    ]


class PCA:
    """Principal components of the pool's own records: cheap, nothing to train or to fetch.

    Args:
        components: how many; fewer where the pool has fewer records or values.
    """

    def __init__(self, components: int = 64) -> None:
        if components < 1:
            raise UserError(f"features.components is {components}: ask for at least 1")
        self.components = components

    def compute(self, pool: Pool, seed: int) -> np.ndarray:
        """See :class:`Features`."""
        from sklearn.decomposition import PCA as Decomposition

        flat = checked(Raw().compute(pool, seed), len(pool))
        count = min(self.components, *flat.shape)
        # sums over threads depend on their number, and records hang on the last bit
        with threadpool_limits(1):
            return Decomposition(count, svd_solver="randomized", random_state=seed).fit_transform(
                flat
            )


class ClassifierFeatures:
    """Penultimate layer of a small residual network that learnt the target on the source's auxiliary part.

    Args:
        steps: training steps.
        width: channels of its first stage, a multiple of 8; there are four times as many features.
        batch_size: images a step.
    """

    def __init__(self, steps: int = 300, width: int = 24, batch_size: int = 64) -> None:
        self.steps, self.width, self.batch_size = steps, width, batch_size

    def compute(self, pool: Pool, seed: int) -> np.ndarray:
        """See :class:`Features`.

        Raises:
            UserError: there are no auxiliary records, or the records are no images.
        """
        other = pool.auxiliary
        if other is None or not len(other):
            raise UserError(
                "ClassifierFeatures learns on the source's auxiliary part, which is empty here: "
                "give it a share or use diffshare.sharer.poisoning.features.PCA"
            )
        x = _all(pool)
        if x.ndim != 4:
            raise UserError(
                "ClassifierFeatures is for images: use diffshare.sharer.poisoning.features.Raw for tables"
            )
        labelled = np.flatnonzero(other.y.codes >= 0)
        learnt = _all(other)
        data = RecordsDataModule(batch_size=min(self.batch_size, len(labelled)), seed=seed)
        y = other.y.codes[labelled].astype(np.int64)
        data.sets["train"] = RecordSet(learnt, labelled, y, np.full(len(labelled), -1))
        with reproducible(seed):
            network = SmallResNet(len(pool.y.classes), x.shape[3], self.width)
            fit_quickly(network, data, steps=self.steps, seed=seed)
            with torch.inference_mode():
                passes = [scaled(torch.from_numpy(x[i : i + 256])) for i in range(0, len(x), 256)]
                return np.concatenate([network.features(batch).float().numpy() for batch in passes])


class ClipFeatures:
    """Image features of a CLIP model (the paper uses ViT-B/32: 512 of them). Needs the extra ``clip``.

    Args:
        path: folder of the model, or its name on the hub.
        download: whether the model may be fetched where it is not on this machine.
        batch_size: images a pass.
    """

    def __init__(self, path: str, download: bool = False, batch_size: int = 64) -> None:
        self.path, self.download, self.batch_size = path, download, batch_size

    def compute(self, pool: Pool, seed: int) -> np.ndarray:
        """See :class:`Features`.

        Raises:
            UserError: the extra or the model is missing.
        """
        try:
            from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection
        except ImportError:
            raise UserError(
                "ClipFeatures needs transformers: pip install 'diffshare[clip]'"
            ) from None
        x = _all(pool)
        options: dict[str, Any] = {"local_files_only": not self.download}
        try:
            processor = CLIPImageProcessor.from_pretrained(self.path, **options)
            network = CLIPVisionModelWithProjection.from_pretrained(
                self.path, use_safetensors=True, **options
            ).eval()
        except (OSError, ValueError):
            raise UserError(
                f"no CLIP model at '{self.path}': name a folder that holds one, or set features.download to true"
            ) from None
        embeddings = []
        with reproducible(seed), torch.inference_mode():
            for i in range(0, len(x), self.batch_size):
                pixels = processor(list(x[i : i + self.batch_size]), return_tensors="pt")
                embeddings.append(network(**pixels).image_embeds.float().numpy())
        return np.concatenate(embeddings)


class Precomputed:
    """Features that another tool computed.

    Args:
        path: ``.npz`` with ``record`` (the source's names, text, M) and ``features`` (float, M x d), in any order;
            each record of the pool must be in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def compute(self, pool: Pool, seed: int) -> np.ndarray:
        """See :class:`Features`.

        Raises:
            UserError: the file is missing or malformed, or lacks records of the pool.
        """
        try:
            with self.path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
                names, features = (
                    file["record"].astype(str).ravel().tolist(),
                    file["features"].astype(np.float32),
                )
        except (
            OSError,
            ValueError,
            KeyError,
            TypeError,
            EOFError,
            BadZipFile,
            zlib.error,
        ) as error:
            raise UserError(
                f"features.path {self.path} cannot be read ({type(error).__name__}): "
                "expected an .npz with the arrays 'record' and 'features'"
            ) from None
        if features.ndim != 2 or len(features) != len(names):
            raise UserError(
                f"features.path {self.path} has {len(names)} names and features of shape {features.shape}: "
                "one row for each name is expected"
            )
        place = {name: row for row, name in enumerate(names)}
        if len(place) < len(names):
            twice = next(name for row, name in enumerate(names) if place[name] != row)
            raise UserError(
                f"features.path {self.path} names '{twice}' twice: give each record one row"
            )
        lacking = [name for name in pool.index.names.tolist() if name not in place]
        if lacking:
            raise UserError(
                f"features.path {self.path} lacks {len(lacking)} of {len(pool)} records, the first is '{lacking[0]}': "
                "compute features for the whole source"
            )
        return features[[place[name] for name in pool.index.names.tolist()]]
