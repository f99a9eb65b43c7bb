"""Whether records are none of those that the sharer trained on: how that is known, or on what condition it holds."""

from pathlib import Path

import numpy as np

from diffshare.data.csvfile import read_list
from diffshare.errors import UserError
from diffshare.storage import read_json


def unchecked(seed: int) -> str:
    """On what condition records of a source without official parts are none of the sharer's, a sentence.

    Args:
        seed: of the parts.
    """
    return (
        "the auxiliary source has no official parts: if the sharer's records are of the same source, these are "
        f"disjoint from them only where `split_seed` {seed} is the sharer's data.seed and the shares are the same "
        "(an auditor checks with `manifest`)"
    )


def refuse_overlap(names: np.ndarray, manifest: Path, source_sha256: str) -> str:
    """Refuse auxiliary records that the sharer trained on.

    Records are compared by name. In one source that settles it; names of two sources may be alike by chance, or differ
    where the records do not. Whether it is one source is told by ``source_sha256`` of ``mix.json``, where there is one.

    Args:
        names: of the auxiliary records, N.
        manifest: folder with ``records.csv``, as the verb ``mix`` writes it.
        source_sha256: of the auxiliary source.

    Returns:
        which comparison was made, a sentence.

    Raises:
        UserError: the folder has no such file, or a record is in both.
    """
    theirs = _source_of(manifest)
    path = manifest / "records.csv"
    rows = read_list(path, "give the folder that 'mix' wrote")
    if next(rows, ([""], 1))[0][0] != "record":
        raise UserError(
            f"{path} is no manifest: its first column is not 'record'; give the folder of a mix"
        )
    listed = {cells[0] for cells, _ in rows}
    both = [name for name in names.tolist() if name in listed]
    if both:
        raise UserError(
            f"{len(both)} of the {len(names)} auxiliary records are among the sharer's in {manifest}, the first "
            f"'{both[0]}': auxiliary data must be disjoint from the sharer's (use `part` auxiliary or another source)"
        )
    count = f"none of the {len(names)} auxiliary records is in the sharer's manifest"
    if theirs == source_sha256:
        return f"{count}: compared by name, within one source (source_sha256 agrees)"
    why = (
        "is of another source (source_sha256 differs)"
        if theirs
        else "names no source (no source_sha256)"
    )
    return f"{count}: compared by name alone, since the manifest {why}; equal records of other names are not seen"


def _source_of(manifest: Path) -> str | None:
    """``source_sha256`` of ``mix.json``; None where there is none."""
    path = manifest / "mix.json"
    summary = read_json(path, limit=1 << 20) if path.is_file() else {}
    said = summary.get("source_sha256") if isinstance(summary, dict) else None
    return said if isinstance(said, str) and said else None
