"""Rewrite the tables, sentences and pictures of the documentation that come from docs/results.

python scripts/tables.py            rewrites the marked blocks of README.md and docs
python scripts/tables.py --check    says which of them differ; exit status 1 where one does
python scripts/tables.py --pictures draws the pictures of docs/pictures that kept results hold, too

A block stands between ``<!-- results: NAME -->`` and ``<!-- end of NAME -->``; ``BLOCKS`` says what is in it.
"""

import argparse
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import _demo  # noqa: E402
import _families  # noqa: E402
import _harm  # noqa: E402
import _measured  # noqa: E402
import _poisoning  # noqa: E402
from _kept import kept, one  # noqa: E402

from diffshare.storage import atomic_file  # noqa: E402
from diffshare.study.reports.adaptive import draw_adaptive  # noqa: E402
from diffshare.study.reports.families import draw_families  # noqa: E402
from diffshare.study.reports.poisoning import draw_curves  # noqa: E402
from diffshare.study.reports.protection_shown import draw_models, draw_shown  # noqa: E402

BLOCKS: Mapping[str, Callable[[], str]] = {
    "measured": _measured.measured,
    "demo": _demo.shown,
    "demo-told": _demo.told,
    "poisoning-caption": _poisoning.caption,
    "poisoning": _poisoning.measured,
    "poisoning-amplifier": _poisoning.amplifier,
    "poisoning-flipping": _poisoning.flipping,
    "families-receiver": _families.receiver,
    "families-short": _families.short,
    "families-sentence": _families.sentence,
    "families": _families.outcomes,
    "families-ordering": _families.ordering,
    "families-verdicts": _families.verdicts,
    "families-checks": _families.checks,
    "families-costs": _families.costs,
    "harm": _harm.measured,
}
BLOCK = re.compile(r"(<!-- results: ([\w-]+) -->\n).*?(<!-- end of \2 -->)", re.DOTALL)
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def filled(text: str) -> str:
    """A document with each of its blocks made anew.

    Raises:
        KeyError: a block that there is none of.
    """
    return BLOCK.sub(lambda block: f"{block[1]}{BLOCKS[block[2]]()}\n{block[3]}", text)


def draw(folder: Path) -> None:
    """Draw the pictures that come from kept results."""
    name = "poisoning_generator_faces"
    draw_curves(kept(name)["rows"], kept(name)["summary"], folder / "fairness_poisoning.png")
    draw_families(kept("families")["rows"], kept("families")["summary"], folder / "families.png")
    for data in ("adult", "faces"):
        draw_adaptive(kept(f"adaptive_{data}")["summary"], folder / f"adaptive_{data}.png")
    draw_models(kept("dp")["rows"], kept("dp")["summary"], folder / "dp.png")
    rows = kept("protection")["rows"]
    plain = {
        (row["model"], row["p"], row["seed"]): row for row in rows if row["protection"] == "plain"
    }
    beside = []
    for row in rows:
        other = plain.get((row["model"], row["p"], row["seed"]), row)
        more = {
            "plain_read": other["read"],
            "accuracy_differences": [row["accuracy"] - other["accuracy"]],
        }
        beside.append(row | more)
    draw_shown(
        beside, one(kept("protection")["summary"], protection="guided"), folder / "protection.png"
    )


def main() -> None:
    """Rewrite, or say what differs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="change nothing; exit status 1 where a block differs"
    )
    parser.add_argument("--pictures", action="store_true", help="draw the pictures too")
    options = parser.parse_args()
    texts = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
    differ = {path: new for path, text in texts.items() if (new := filled(text)) != text}
    for path, new in differ.items():
        print(path.relative_to(ROOT))
        if not options.check:
            with atomic_file(path) as temporary:
                temporary.write_text(new, encoding="utf-8")
    if options.pictures and not options.check:
        draw(ROOT / "docs" / "pictures")
    sys.exit(1 if options.check and differ else 0)


if __name__ == "__main__":
    main()
