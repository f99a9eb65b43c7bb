"""The manifest of a mix: which records were chosen, so that any other tool can train on the same set."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from diffshare.data.mixes import Choice, Pool
from diffshare.data.source import Part
from diffshare.layout import Layout, json_object
from diffshare.stats.information import contingency, mutual_information
from diffshare.storage import atomic_folder, write_json

RECORDS, SUMMARY = "records.csv", "mix.json"


def _files(folder: Path) -> tuple[str, ...] | None:
    summary = json_object(folder / SUMMARY)
    return (
        (RECORDS, SUMMARY)
        if summary is not None and {"policy", "counts", "source_sha256"} <= set(summary)
        else None
    )


MANIFEST = Layout("manifest of a mix", _files)


@dataclass(frozen=True)
class ChosenMix:
    """A mix as it was carried out.

    Attributes:
        policy: name of the mix.
        pool: what it chose from.
        choice: what it chose.
        seed: ``data.seed``.
        seconds: how long the choice took.
        source_sha256: hash of the source (names, sizes, attributes).
        part: part of the source that the pool is made of.
        shares: shares of the three parts, which with the seed say which records are whose; None where the source has
            an official partition.
    """

    policy: str
    pool: Pool
    choice: Choice
    seed: int
    seconds: float
    source_sha256: str
    part: Part = "sharer"
    shares: tuple[float, float, float] | None = None

    def counts(self) -> np.ndarray:
        """S x Y counts of the chosen set, classes as trained on; int64."""
        s = self.pool.s
        chosen = s.codes[self.choice.positions]
        return contingency(chosen, self.choice.target, len(s.classes), len(self.pool.y.classes))

    def summary(self) -> dict[str, object]:
        """The fields of ``mix.json``; a mix's own report fills in or adds fields."""
        counts = self.counts()
        known = self.pool.sensitive is not None
        return {
            "policy": self.policy,
            "alpha": 0.0,
            "n": len(self.choice.positions),
            "pool_n": len(self.pool),
            "target": self.pool.target,
            "sensitive": self.pool.sensitive,
            "classes": {  # names of the numbers in records.csv
                "target": list(self.pool.y.classes),
                "sensitive": list(self.pool.s.classes) if known else None,
            },
            "counts": {f"s{s}y{y}": int(n) for (s, y), n in np.ndenumerate(counts)}
            if known
            else None,
            "mutual_information_sy": mutual_information(counts) if known else None,
            "mutual_information_xy": {"pool": None, "chosen": None, "tolerance": None},
            "violations": 0,
            "exhausted": 0,
            "flipped": int(np.sum(self.choice.target != self.pool.y.codes[self.choice.positions])),
            "seconds": round(self.seconds, 6),
            "seed": self.seed,
            "source_sha256": self.source_sha256,
            "part": self.part,
            "shares": None if self.shares is None else list(self.shares),
            **self.choice.report,
        }

    def write(self, folder: str | Path, *, overwrite: bool = False) -> None:
        """Write ``records.csv`` and ``mix.json`` into a new folder, whole or not at all; for its owner's eyes alone.

        Args:
            folder: where to.
            overwrite: replace another manifest.
        """
        names = self.pool.index.names[self.choice.positions].tolist()
        sensitive = self.pool.s.codes[self.choice.positions].tolist()
        origin = np.where(self.choice.poisoned, "poison", "base").tolist()
        rows = zip(names, self.choice.target.tolist(), sensitive, origin, strict=True)
        with atomic_folder(folder, MANIFEST, overwrite=overwrite, private=True) as temporary:
            with (temporary / RECORDS).open("w", newline="", encoding="utf-8") as stream:
                writer = csv.writer(stream, lineterminator="\n")
                writer.writerow(("record", "target", "sensitive", "origin"))
                writer.writerows(rows)
            write_json(temporary / SUMMARY, self.summary())
