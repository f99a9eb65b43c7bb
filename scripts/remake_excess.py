"""Remake kept results whose excess gaps are differences of absolute gaps: in the direction of the mix.

python scripts/remake_excess.py docs/results/poisoning_generator_faces.json

For files that ``keep_study.py`` wrote before it kept signed gaps by seed. Of fairness poisoning such
a file has absolute gaps by seed, and mean and interval of the signed differences over seeds. The
signs of the gaps are those that give this mean and interval; where more than one choice of them
does, the file is refused. Of families it has the signed difference of each seed. The direction is
the ``favour`` of the policy's overlay, without which nothing is remade. Signed equalized odds were
not kept and stay unknown. Everything else of a file stays as it is.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from diffshare.stats.summary import paired_difference  # noqa: E402
from diffshare.storage import read_json, write_json  # noqa: E402
from diffshare.study.engine.base import Row  # noqa: E402
from diffshare.study.engine.configs import merged  # noqa: E402
from diffshare.study.reports.excess import GAP, Pair  # noqa: E402
from diffshare.study.reports.families import summarise  # noqa: E402
from diffshare.study.reports.poisoning import SHARED, differences  # noqa: E402

SAME = 1e-9  # sums in another order
COMMAND = "python scripts/remake_excess.py {}"


def main() -> None:
    """Read, remake, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", type=Path, nargs="+", help="kept results, written over")
    for path in parser.parse_args().files:
        kept = read_json(path, limit=1 << 28)
        try:
            remade = (
                families(kept) if "generators" in kept["config"]["init_args"] else poisoning(kept)
            )
        except ValueError as error:
            sys.exit(f"{path}: {error}")
        write_json(path, remade | {"remade": COMMAND.format(f"docs/results/{path.name}")})
        print(f"{path}: {len(remade['rows'])} rows")


def favoured(policy: str) -> int:
    """The direction of the policy that an overlay names: 1 for group 1, -1 for group 0."""
    mix = merged([Path(policy)])["data"]["init_args"]["mix"]
    favour = mix.get("init_args", {}).get("favour")
    if favour is None:
        raise ValueError(
            f"{policy} favours no group: signed gaps by seed are needed, run the study again"
        )
    return 1 if favour else -1


def poisoning(kept: Mapping[str, Any]) -> Row:
    """The kept fairness poisoning study with signed gaps by seed and directed differences."""
    rows = {(*(row[name] for name in SHARED), row["seed"]): row for row in kept["rows"]}
    policies = kept["config"]["init_args"]["policies"]
    summary = []
    for entry in kept["summary"]:
        if entry["policy"] == "clean":
            summary.append(entry)
            continue
        if "excess_gap_signed" not in entry:
            raise ValueError(
                "its summary has no excess_gap_signed: nothing says the signs of its gaps"
            )
        place, clean = (entry["where"], entry["guidance"]), ("clean", 0.0)
        seeds = [s for s in entry["seeds"] if (*clean, *place, s) in rows]
        mine = [rows[entry["policy"], entry["alpha"], *place, seed] for seed in seeds]
        base = [rows[*clean, *place, seed] for seed in seeds]
        signs = signs_of(mine, base, entry["excess_gap_signed"], entry["level"])
        for row, sign in zip([*mine, *base], signs, strict=True):
            row[f"{GAP}_signed"] = sign * row[GAP]
        for row in mine:
            row["direction"] = favoured(policies[entry["policy"]])
        pairs = [Pair(a, b, a["direction"]) for a, b in zip(mine, base, strict=True)]
        summary.append(directed(entry, differences(pairs, entry["level"])))
    return {**kept, "summary": summary, "rows": list(rows.values())}


def signs_of(
    mine: Sequence[Row], base: Sequence[Row], signed: Mapping[str, Any], level: float
) -> tuple[int, ...]:
    """The signs of the gaps of the poisoned and the clean rows that give the kept mean and interval.

    Raises:
        ValueError: none do, or several that differ.
    """
    gaps = np.array([row[GAP] for row in (*mine, *base)])
    choices = {}
    for signs in product((1, -1), repeat=len(gaps)):
        after, before = np.split(np.array(signs) * gaps, 2)
        difference = paired_difference(after.tolist(), before.tolist(), level).json()
        pairs = zip(
            (difference["mean"], *difference["interval"]),
            (signed["mean"], *signed["interval"]),
            strict=True,
        )
        if all(abs(a - b) < SAME for a, b in pairs):
            choices[tuple(np.round(np.array(signs) * gaps, 9))] = signs
    if len(choices) != 1:
        raise ValueError(
            f"{len(choices)} choices of signs give the signed difference {signed['mean']:.4f}"
        )
    return next(iter(choices.values()))


def directed(entry: Row, changes: Row) -> Row:
    """An entry of the summary with what was made anew; its absolute differences must be those that were kept."""
    if abs(changes["excess_gap_absolute"]["mean"] - entry["excess_gap"]["mean"]) > SAME:
        raise ValueError("its rows do not give the excess gap of its summary")
    odds = entry["excess_equalized_odds"]
    unknown = {"mean": None, "interval": None, "n": odds["n"]}
    gaps = {
        name: changes[name] for name in ("directed", "gap", "excess_gap", "excess_gap_absolute")
    }
    rest = {name: value for name, value in entry.items() if name != "excess_gap_signed"}
    return rest | gaps | {"excess_equalized_odds": unknown, "excess_equalized_odds_absolute": odds}


def families(kept: Mapping[str, Any]) -> Row:
    """The kept study of families with directed excess gaps, its summary made anew."""
    direction = favoured(kept["config"]["init_args"]["policy"])
    rows = []
    for row in kept["rows"]:
        new = {name: value for name, value in row.items() if name != "excess_gap_signed"}
        new |= {"directed": True, "excess_gap": direction * row["excess_gap_signed"]}
        new |= {"excess_gap_absolute": row["excess_gap"]}
        if (passed := row.get("bias_passed_on")) is not None:
            new["bias_error"] = abs(passed - 1)
        rows.append(new)
    return {**kept, "summary": summarise(rows, kept["config"]["init_args"]["level"]), "rows": rows}


if __name__ == "__main__":
    main()
