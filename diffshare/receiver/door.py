"""One door for whatever people bring: what lies at a path, told by looking, and the source that reads it."""

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from diffshare.data.source import Source
from diffshare.errors import UserError, check_number
from diffshare.release.card import CARD
from diffshare.release.npz import npz_headers
from diffshare.release.samples import NPZ
from diffshare.release.tables import CSV
from diffshare.storage import as_path, sha256_file

Kind = Literal["yaml", "table", "npz", "images", "parquet", "samples", "release"]
IMAGE_SIZE = 64  # pixels, at most, where nobody says another
PICTURES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif"})
_LOOKED_AT = 10_000  # entries of a folder
ACCEPTED = (
    "a table (.csv, .tsv, .parquet, .jsonl, each also .gz), an .npz, a folder of images, a samples folder, a release, "
    "or a source's YAML"
)
OF_TABLES = ("as_category", "as_number", "missing", "delimiter", "encoding")
OF_IMAGES = ("labels", "image_size")
OF_ALL = ("where", "derive", "group_column")
_CLASSES = {
    "table": "diffshare.data.tablefile.TableFile",
    "npz": "diffshare.data.npzfile.NPZ",
    "images": "diffshare.data.imagefolder.ImageFolder",
    "parquet": "diffshare.data.parquetimages.ParquetImages",
}


@dataclass(frozen=True)
class Reading:
    """How what lies at a path is read.

    Attributes:
        labels: a table, or several, that say the attributes of images by their file names.
        image_size: side in pixels that images are read at; the smaller of both sides, at most 64, where None.
        unlabelled: what becomes of images that ``labels`` do not name: ``error`` or ``skip``, which counts them.
        as_category: columns of a table that are categories, whatever they look like.
        as_number: columns of a table that are numbers.
        missing: the mark of a missing cell of a table, beside the empty one.
        delimiter: of CSV, one character; recognised where None.
        encoding: of text that is neither UTF-8 nor UTF-16 with its mark.
        where: a condition on rows of the reference, for instance ``age >= 18``.
        derive: further attributes of the reference, each as NAME=EXPRESSION: ``old=age>=40``.
        group_column: all records of one group (a person, a household) fall into one part.

    Raises:
        UserError: a value out of its range (names it).
    """

    labels: tuple[str, ...] = ()
    image_size: int | None = None
    unlabelled: Literal["error", "skip"] = "error"
    as_category: tuple[str, ...] = ()
    as_number: tuple[str, ...] = ()
    missing: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    where: str | None = None
    derive: tuple[str, ...] = ()
    group_column: str | None = None

    def __post_init__(self) -> None:
        check_number("image_size", self.image_size, 1, 1024)
        for word in self.derive:
            if not word.partition("=")[0].strip() or not word.partition("=")[2].strip():
                raise UserError(f"`derive` {word!r:.60} is no NAME=EXPRESSION: write old=age>=40")

    def given(self, names: Sequence[str]) -> dict[str, Any]:
        """Those of these that say something, as settings of a source."""
        settings: dict[str, Any] = {}
        for name in names:
            value = getattr(self, name)
            if name == "derive" and value:
                pairs = (word.partition("=") for word in value)
                settings[name] = {old.strip(): new.strip() for old, _, new in pairs}
            elif value not in (None, ()):
                settings[name] = list(value) if isinstance(value, tuple) else value
        return settings


def look_at(what: str | Path) -> Kind:
    """What lies at a path.

    Raises:
        UserError: nothing, or nothing that can be opened; the message lists what could be.
    """
    path = as_path(str(what))
    if path.is_dir():
        return _look_into(path)
    if not path.exists():
        raise UserError(f"there is nothing at {path}: give {ACCEPTED}")
    suffix = path.suffix.lower()
    if suffix in (".yaml", ".yml"):
        return "yaml"
    if suffix == ".npz":
        return "npz"
    if suffix in PICTURES:
        raise UserError(f"{path} is one image: give the folder of them, or {ACCEPTED}")
    return "parquet" if suffix == ".parquet" and _has_images(path) else "table"


def _look_into(folder: Path) -> Kind:
    if (folder / CARD).is_file():
        return "release"
    if (folder / NPZ).is_file() or (folder / CSV).is_file():
        return "samples"
    shards = False
    for entry in islice(_files(folder), _LOOKED_AT):
        if entry.suffix.lower() in PICTURES:
            return "images"
        shards |= entry.suffix.lower() == ".parquet"
    if shards:
        return "parquet"
    raise UserError(f"{folder} is a folder without images, samples or a release: give {ACCEPTED}")


def _files(folder: Path) -> Iterator[Path]:
    return (entry for entry in folder.rglob("*") if entry.is_file())


def _has_images(path: Path) -> bool:
    from diffshare.data.parquetfile import image_columns, open_parquet

    return bool(image_columns(open_parquet(path)))


def source_block(
    what: str | Path, reading: Reading | None = None, image_size: int | None = None
) -> dict[str, Any]:
    """The source that reads what lies at a path, as a config has it: ``class_path`` and ``init_args``.

    Args:
        what: a table, an ``.npz``, a folder of images or of samples.
        reading: how it is read.
        image_size: at which images are read, where ``reading`` does not say it.

    Raises:
        UserError: a release or a YAML file, or settings that are of no use for it.
    """
    reading, path, kind = reading or Reading(), as_path(str(what)), look_at(what)
    if kind == "release":
        raise UserError(
            f"{path} is a release, which holds no records: give records to compare with, or draw samples of it"
        )
    if kind == "yaml":
        raise UserError(f"{path} is a source's YAML: its settings stand in it")
    if kind == "samples":
        path = path / (CSV if (path / CSV).is_file() else NPZ)
        kind = "table" if path.name == CSV else "npz"
    table = kind == "table"
    if useless := reading.given(OF_IMAGES if table else OF_TABLES):
        raise UserError(
            f"`{next(iter(useless))}` is for {'images' if table else 'tables'}, {path} holds "
            f"{'a table' if table else 'images'}: leave it out"
        )
    settings = reading.given((*(OF_TABLES if table else OF_IMAGES), *OF_ALL))
    if "labels" in settings:
        settings["unlabelled"] = reading.unlabelled
    if not table and image_size is not None:
        settings.setdefault("image_size", image_size)
    if kind != "images" and "labels" in settings:
        raise UserError(f"`labels` is for a folder of images, {path} has its own: leave it out")
    place = "root" if kind == "images" else "path"
    return {"class_path": _CLASSES[kind], "init_args": {place: str(path), **settings}}


def open_source(
    what: str | Path, reading: Reading | None = None, image_size: int | None = None
) -> Source:
    """The source of :func:`source_block`."""
    block = source_block(what, reading, image_size)
    module, _, name = block["class_path"].rpartition(".")
    source: Source = getattr(importlib.import_module(module), name)(**block["init_args"])
    return source


def natural_size(what: str | Path) -> int | None:
    """Side in pixels of the images at a path; None of a table, a release or a YAML file, and where nothing tells.

    Of a folder the first picture tells, of which the largest square is taken.
    """
    path, kind = as_path(str(what)), look_at(what)
    if kind == "samples" and (path / NPZ).is_file():
        path, kind = path / NPZ, "npz"
    if kind == "npz":
        shapes = [stored.shape for stored in npz_headers(path).values() if len(stored.shape) > 2]
        return _side(shapes[0]) if shapes else None
    if kind != "images":
        return None
    from PIL import Image

    first = next((file for file in _files(path) if file.suffix.lower() in PICTURES), None)
    try:
        with Image.open(first) as picture:  # type: ignore[arg-type]
            return min(picture.size)
    except OSError:
        return None  # told by who reads it


def _side(shape: tuple[int, ...]) -> int:
    """Of images N x H x W, N x H x W x C or N x C x H x W."""
    channels_first = len(shape) == 4 and shape[3] not in (1, 3)
    return min(shape[2:4] if channels_first else shape[1:3])


def common_size(*sides: str | Path | None) -> int | None:
    """Side in pixels that images of all are read at: the smallest of theirs, at most 64; None where none tells."""
    sizes = [size for side in sides if side is not None and (size := natural_size(side))]
    return min(IMAGE_SIZE, *sizes) if sizes else None


def holds_rows(what: str | Path) -> bool:
    """Whether rows of a table lie at a path, in a file or in a samples folder."""
    path, kind = as_path(str(what)), look_at(what)
    return kind == "table" or (kind == "samples" and not (path / NPZ).is_file())


def identity(what: str | Path) -> str | None:
    """SHA-256 of the one file that something lies in; None of a folder of images."""
    path = as_path(str(what))
    if path.is_dir():
        path = path / (CSV if (path / CSV).is_file() else NPZ)
    return sha256_file(path) if path.is_file() else None


def described(source: Source) -> tuple[str, ...]:
    """What a source holds and how it was read, sentences; the first has the counts."""
    index, notes = source.index(), tuple(getattr(source, "notes", ()))
    if hasattr(source, "description"):
        return (source.description(), *notes)
    names = ", ".join(sorted(index.attributes)[:8]) or "none"
    more = f" and {len(index.attributes) - 8} more" if len(index.attributes) > 8 else ""
    return (f"{len(index):,} images; attributes: {names}{more}", *notes)
