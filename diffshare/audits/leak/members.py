"""The membership test in the sharer's audit: records that were trained on against others with the same attributes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from diffshare.audits.leak.membership import LEVELS, NOISES, denoising_losses, released
from diffshare.audits.leak.training import TrainingSet
from diffshare.classes import join
from diffshare.data.cache import Decoded, open_records
from diffshare.data.source import PARTS, Part, Source, split
from diffshare.errors import UserError
from diffshare.generators.denoising import DenoisingModule
from diffshare.release.folder import open_release
from diffshare.stats.intervals import Interval
from diffshare.stats.membership import Membership, membership

MOST = 1000  # records of each kind


@dataclass(frozen=True)
class MemberLeak:
    """What the loss says of membership.

    Attributes:
        found: the test; None where there is none.
        matched: attributes that members and others have in the same numbers.
        level: of the intervals.
        reason: why there is no test.
    """

    found: Membership | None
    matched: tuple[str, ...] = ()
    level: float = 0.95
    reason: str | None = None

    def json(self) -> dict[str, Any]:
        """JSON values; all of them null but ``reason`` where there is no test."""
        test = self.found
        return {
            "advantage": _interval(None if test is None else test.advantage),
            "auroc": _interval(None if test is None else test.auroc),
            "tpr": _interval(None if test is None else test.tpr),
            "fpr": None if test is None else test.fpr,
            "members": None if test is None else test.members,
            "non_members": None if test is None else test.non_members,
            "matched": list(self.matched),
            "loss": {"levels": LEVELS, "noises": NOISES},
            "reason": self.reason,
        }

    @property
    def line(self) -> str:
        """One line for the terminal and for the card; the figures say nothing of any one record."""
        if self.found is None:
            return f"no membership test: {self.reason}"
        (a, low, high), (area, *ends) = self.found.advantage, self.found.auroc
        return (
            f"membership by the denoising loss: advantage {a:.3f} ({low:.3f} to {high:.3f}), AUROC {area:.3f} "
            f"({ends[0]:.3f} to {ends[1]:.3f}), {self.found.members} records that were trained on and as many others"
        )


def _interval(one: Interval | None) -> dict[str, Any] | None:
    return None if one is None else {"estimate": one.estimate, "interval": [one.low, one.high]}


def member_leak(
    folder: Path,
    source: Source,
    training: TrainingSet,
    part: Part | Literal["all"],
    *,
    split_seed: int = 0,
    device: str = "cpu",
    level: float = 0.95,
    seed: int = 0,
) -> MemberLeak:
    """Test a release with the records of a manifest and as many of a part that was not trained on.

    Both have the same number of records of each combination of the mix's attributes (target, sensitive one, and the
    property of the mix): a mix with another share of a property than the part differs from it without a record being
    remembered. A mix that chose its records by how they look differs all the same.

    Args:
        folder: the release.
        source: with the records of both.
        training: of the manifest.
        part: where the others are from.
        split_seed: of the parts.
        device: where to compute.
        level: of the intervals.
        seed: of the choice of records and of the noises.

    Returns:
        the test, or why there is none.
    """
    try:
        if not training.same_source:
            raise UserError(
                "the manifest is of another source than the reference: its records are not at hand"
            )
        release = open_release(folder)
        model = released(release, device=device)
        records = open_records(source)
        members, others, matched = _matched(records, source, training, part, split_seed, seed)
        target = training.roles.get("target")
        labels = np.full(len(records.index), -1, np.int64)
        if target is not None:
            labels = records.index.attribute(target).codes.astype(np.int64)
        where = (
            dict(zip(training.names, training.codes[target].tolist(), strict=True))
            if target
            else {}
        )
        trained = np.array(
            [where.get(name, -1) for name in records.index.names[members].tolist()], np.int64
        )
        if target is not None and release.card.labels:  # from the source's numbers to the model's
            classes = records.index.attribute(target).classes
            whole = join(classes, release.card.labels, f"'{target}' of the reference", "the model")
            labels, trained = (np.append(whole.codes, -1)[codes] for codes in (labels, trained))
        losses = [
            _losses(model, records, rows, given, seed)
            for rows, given in ((members, trained), (others, labels[others]))
        ]
        return MemberLeak(membership(*losses, level=level, seed=seed), matched, level)
    except UserError as error:
        return MemberLeak(None, level=level, reason=str(error))


def _losses(
    model: DenoisingModule, records: Decoded, rows: np.ndarray, labels: np.ndarray, seed: int
) -> np.ndarray:
    config: Any = model.denoiser.config
    shape = (config.sample_size, config.sample_size, config.in_channels)
    if records.x.shape[1:] != shape:
        raise UserError(
            f"the records are of the shape {records.x.shape[1:]}, the model's images of {shape}"
        )
    return denoising_losses(model, records.x[rows], labels, seed=seed)


def _matched(
    records: Decoded,
    source: Source,
    training: TrainingSet,
    part: Part | Literal["all"],
    split_seed: int,
    seed: int,
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Rows of members and of others, as many of each combination of attributes, at most ``MOST``; the attributes."""
    index = records.index
    trained = np.isin(index.names, np.array(training.names))
    other = ~trained
    if part != "all":
        other &= split(index, source.shares, split_seed) == PARTS.index(part)
    pools = [np.flatnonzero(trained), np.flatnonzero(other)]
    names = tuple(dict.fromkeys(name for name in training.roles.values() if index.has(name)))
    cells = np.zeros(len(index), np.int64)
    for name in names:
        attribute = index.attribute(name)
        cells = cells * (len(attribute.classes) + 1) + attribute.codes + 1
    rng = np.random.default_rng([seed, 2])
    taken: list[list[np.ndarray]] = [[], []]
    for cell in np.intersect1d(cells[pools[0]], cells[pools[1]]):
        each = [rng.permutation(pool[cells[pool] == cell]) for pool in pools]
        few = min(map(len, each))
        for rows, kept in zip(each, taken, strict=True):
            kept.append(rows[:few])
    if not taken[0]:
        raise UserError("no record outside the training set has the attributes of one in it")
    pairs = np.stack([np.concatenate(rows) for rows in taken])
    chosen = np.sort(rng.permutation(pairs.shape[1])[:MOST])
    return pairs[0][chosen], pairs[1][chosen], names
