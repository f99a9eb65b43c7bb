"""Keep what a study found in docs/results: its summary, configuration and command, without the paths of a machine.

python scripts/keep_study.py lightning_logs/study/NAME --root some/folder=data/celeba --json docs/results/NAME.json
"""

import argparse
import json
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diffshare.storage import read_json, write_json  # noqa: E402

GAPS = ("demographic_parity_difference", "equalized_odds_difference")
# of a row, what it has of these: fairness poisoning, then families
ROW = ("policy", "alpha", "where", "guidance", "seed", "direction", "accuracy")
ROW += tuple(f"{gap}{end}" for gap in GAPS for end in ("", "_signed"))
ROW += (
    "family",
    "kind",
    "kid",
    "directed",
    "gap",
    "poisoned_gap",
    "excess_gap",
    "excess_gap_absolute",
)
ROW += (
    "accuracy_loss",
    "bias_passed_on",
    "bias_error",
    "property_error",
    "property_errors",
    "class_shown",
)
ROW += (
    "checks_passed",
    "images_per_second",
    "training_seconds",
    "before_seconds",
    "samples_per_second",
)
ROW += ("network_calls",)


def main() -> None:
    """Read, strip, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", type=Path, help="folder of a study")
    parser.add_argument(
        "--root",
        action="append",
        default=[],
        metavar="HERE=THERE",
        help="path and what to write for it",
    )
    parser.add_argument(
        "--rows",
        nargs="*",
        default=ROW,
        help="fields of a row to keep, as text a.b; none drops the rows",
    )
    parser.add_argument("--json", type=Path, required=True, help="file to write")
    options = parser.parse_args()
    result = read_json(options.study / "results.json", limit=1 << 28)
    kept = {
        key: result[key]
        for key in ("study", "config", "command", "revision", "versions", "summary")
    }
    kept["command"] = re.sub(r"\s--(out|threads|workers) \S+|\s--resume\b", "", kept["command"])
    kept["seconds"] = result["seconds"]["total"]
    kept["failed"], kept["missing"] = result["failed"], result["missing"]
    if options.rows:
        kept["rows"] = [
            {key: row[key] for key in options.rows if key in row} for row in result["rows"]
        ]
    text = json.dumps(kept)
    for replacement in options.root:
        here, _, there = replacement.partition("=")
        text = text.replace(here, there)
    if found := re.search(r"(?<![\w.])/(?:[\w.-]+/)+[\w.-]+", text):
        sys.exit(f"{found[0]:.200} is a path of this machine: add --root HERE=THERE")
    write_json(options.json, json.loads(text))
    print(f"{options.json}: {len(kept['summary'])} cells")


if __name__ == "__main__":
    main()
