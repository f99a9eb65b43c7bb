"""A section of a release's README.md, written after the release: the hashes stay right."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from diffshare.errors import UserError
from diffshare.release.card import CARD
from diffshare.release.folder import RELEASE, Release, open_release
from diffshare.storage import atomic_folder, sha256_file, write_json

README, SAMPLING = "README.md", "## How to sample it"


def write_section(folder: Path, heading: str, lines: Sequence[str]) -> Release:
    """Put a section into the README.md of a release, in the place of one with the same heading, else before the last.

    The release is copied, changed and put in its place as a whole. Its identity, the hash of ``diffshare.json``,
    changes, for that file holds the hash of README.md.

    Args:
        folder: the release.
        heading: without ``##``.
        lines: Markdown, without headings.

    Returns:
        the release with its new identity.

    Raises:
        UserError: no release, one without README.md, or a folder that cannot be written.
    """
    release = open_release(folder)
    if README not in release.card.files:
        raise UserError(f"{folder} has no {README}: make the release anew with the verb release")
    try:
        text = release.read(README).decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{folder / README} is no text in UTF-8: make the release anew with the verb release"
        ) from error
    readme = _with_section(text, f"## {heading}", lines)
    with atomic_folder(folder, RELEASE, overwrite=True) as temporary:
        shutil.copytree(folder, temporary, dirs_exist_ok=True)
        (temporary / README).write_text(readme, encoding="utf-8")
        files = dict(release.card.files) | {README: sha256_file(temporary / README)}
        card = replace(release.card, files=files)
        write_json(temporary / CARD, card.to_json())
        identity = sha256_file(temporary / CARD)
    return Release(folder, card, identity)


def _with_section(text: str, heading: str, lines: Sequence[str]) -> str:
    sections: list[list[str]] = [[]]
    fenced = False
    for line in text.splitlines():
        fenced ^= line.startswith("```")
        if line.startswith("## ") and not fenced:
            sections.append([])
        sections[-1].append(line)
    new = [heading, "", *lines, ""]
    titles = [section[0] if section else "" for section in sections]
    if heading in titles:
        sections[titles.index(heading)] = new
    else:
        place = titles.index(SAMPLING) if SAMPLING in titles else len(sections)
        sections.insert(place, new)
    return "\n".join(line for section in sections for line in section).rstrip("\n") + "\n"
