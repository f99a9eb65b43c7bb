"""A release folder: written whole or not at all, and checked before anything of it is used."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffshare.errors import UserError
from diffshare.layout import Layout, json_object
from diffshare.leftovers import restore
from diffshare.provenance import versions
from diffshare.received import open_regular, parse_json, read_regular, shown
from diffshare.release.card import CARD, FORMAT, MAX_FILES, Card, check_file_name, parse_card
from diffshare.release.readme import readme
from diffshare.storage import atomic_folder, sha256_file, write_json

MAX_JSON = 1 << 20  # bytes of diffshare.json and of each configuration
MAX_TOTAL = 16 << 30  # bytes of all files together


def _own_files(folder: Path) -> list[str] | None:
    card = json_object(folder / CARD, MAX_JSON)
    if (
        card is None
        or type(card.get("format")) is not int
        or not isinstance(card.get("files"), dict)
    ):
        return None
    return [CARD, *card["files"]]


RELEASE = Layout("release folder", _own_files)


@dataclass(frozen=True)
class Release:
    """A release whose names, sizes and hashes were checked.

    Attributes:
        folder: where it lies.
        card: its checked card.
        sha256: hash of ``diffshare.json``, which holds the hashes of all other files: the release's identity.
    """

    folder: Path
    card: Card
    sha256: str

    def read(self, name: str, limit: int = MAX_JSON) -> bytes:
        """The bytes of a file of the release, hashed again.

        The very bytes that are returned are hashed: a file that changed after the release was opened is refused.

        Args:
            name: a key of ``card.files``.
            limit: most bytes.

        Raises:
            UserError: no such file, too large, or its hash is not the card's.
        """
        if name not in self.card.files:
            raise UserError(
                f"{self.folder} has no {name}: it is no complete release; ask for it again"
            )
        data = read_regular(self.folder / name, limit)
        if hashlib.sha256(data).hexdigest() != self.card.files[name]:
            raise UserError(
                f"{self.folder / name} does not have the hash that {CARD} gives: get the release again"
            )
        return data


def check_fields(card_fields: Mapping[str, Any]) -> None:
    """Refuse fields that :func:`write_release` would refuse, before there is anything to write."""
    _parse(card_fields, {})


def _parse(card_fields: Mapping[str, Any], files: Mapping[str, str]) -> Card:
    own = {
        "created_with": versions(("torch", "diffusers")),
        "format": FORMAT,
        "files": dict(files),
    }
    fields: dict[str, Any] = {
        "label_frequencies": None,
        "declared": None,
        "protections": [],
        "epsilon": None,
    }
    fields["privacy"] = None
    fields |= {key: list(v) if isinstance(v, tuple) else v for key, v in card_fields.items()}
    return parse_card(fields | own)


def write_release(
    folder: str | Path,
    card_fields: Mapping[str, Any],
    save_parts: Callable[[Path], None],
    *,
    overwrite: bool = False,
) -> Release:
    """Write a release as a whole: the parts, a README.md, and last ``diffshare.json`` with the hash of every file.

    Args:
        folder: where to.
        card_fields: the fields of ``Card`` as JSON values, but for ``format``, ``files`` and ``created_with``.
        save_parts: writes every part into a folder of its own inside the folder that it is given, with diffusers'
            ``save_pretrained``. A path that diffusers has noted in a configuration (``_name_or_path``) is taken out:
            it says where the sharer keeps files.
        overwrite: replace a release.

    Raises:
        UserError: a field does not fit, ``save_parts`` wrote a file that a release must not hold, or ``folder``
            cannot be written.
    """
    card = _parse(card_fields, {})
    with atomic_folder(folder, RELEASE, overwrite=overwrite) as temporary:
        save_parts(temporary)
        _forget_paths(temporary)
        (temporary / "README.md").write_text(readme(card, temporary), encoding="utf-8")
        files = {name: sha256_file(temporary / name) for name in sorted(_list_files(temporary))}
        card = _parse(card_fields, files)
        write_json(temporary / CARD, card.to_json())
        identity = sha256_file(temporary / CARD)
    return Release(Path(folder), card, identity)


def open_release(path: str | Path) -> Release:
    """Open a release and check all of it before any of it is used.

    Checked are the card, that the files on disk are those that the card names (regular files of the allowed kinds, at
    most 64, at most 16 GiB together), and the hash of each. Nothing is written, no other place is read.

    Raises:
        UserError: no release, or one that does not pass (which file, why, and what to do).
    """
    folder = Path(path)
    restore(folder)
    if not folder.is_dir():
        raise UserError(
            f"no such release: {folder} is not a folder; give the folder that holds {CARD}"
        )
    if not os.path.lexists(folder / CARD):
        raise UserError(
            f"{folder} is not a release: it has no {CARD}; give the folder that 'diffshare fit' wrote"
        )
    data = read_regular(folder / CARD, MAX_JSON)
    card = parse_card(parse_json(data, str(folder / CARD)), str(folder / CARD))
    sizes = _list_files(folder)
    for name in sorted(set(sizes) ^ set(card.files)):
        problem = "holds" if name in sizes else "lacks"
        raise UserError(
            f"{folder} {problem} the file {name}, against what its {CARD} says: get the release again"
        )
    for name, size in sizes.items():
        stream, _ = open_regular(folder / name, size)
        with stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() != card.files[name]:
                raise UserError(
                    f"{folder / name} does not have the hash that {CARD} gives: get the release again"
                )
    return Release(folder, card, hashlib.sha256(data).hexdigest())


def _list_files(folder: Path) -> dict[str, int]:
    """Name and size in bytes of each file but the card; refuses links, special files, forbidden kinds, too much."""
    sizes: dict[str, int] = {}
    for seen, entry in enumerate(_entries(folder)):
        name = Path(entry.path).relative_to(folder).as_posix()
        if seen > 2 * MAX_FILES:  # stop at once: a folder may hold millions
            raise UserError(
                f"{folder} holds more than {MAX_FILES} files: that is no release of diffshare"
            )
        if entry.is_dir(follow_symlinks=False) and "/" not in name:
            continue
        if not entry.is_file(follow_symlinks=False):
            raise UserError(
                f"{folder}: refused {shown(name)}: a release holds plain files at most one folder deep"
            )
        if name != CARD:
            check_file_name(name, str(folder))
            sizes[name] = entry.stat(follow_symlinks=False).st_size
    if len(sizes) > MAX_FILES or sum(sizes.values()) > MAX_TOTAL:
        raise UserError(
            f"{folder} holds more than {MAX_FILES} files or {MAX_TOTAL >> 30} GiB: that is no release"
        )
    return sizes


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """What lies in the folder and in the folders directly inside it."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                yield entry
                if entry.is_dir(follow_symlinks=False):
                    with os.scandir(entry.path) as inner:
                        yield from inner
    except OSError as error:
        raise UserError(
            f"cannot read {shown(str(error.filename), 200)}: {error.strerror}"
        ) from error


def _forget_paths(folder: Path) -> None:
    """Take ``_name_or_path`` out of each part's configuration."""
    for file in folder.glob("*/*.json"):
        value = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(value, dict) and value.pop("_name_or_path", None) is not None:
            file.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
