"""The card of a release, ``diffshare.json``: what the sharer says of the model, and the hashes of its files."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from diffshare.errors import UserError
from diffshare.received import Fields, is_name, is_number, shown

FORMAT, READABLE = 2, (1, 2)  # that is written, and those that are read
CARD = "diffshare.json"
MAX_LABELS = 10_000  # also the most columns of a table
MAX_FILES = 64
MAX_STEPS = 10_000
_FILE = re.compile(r"(?:[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}/)?[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_CELL = re.compile(r"s(0|[1-9][0-9]?)y(0|[1-9][0-9]{0,3})")


class DeclaredNames(NamedTuple):
    """What the numbers of declared cells stand for.

    Attributes:
        sensitive: name of the attribute that is the group.
        groups: names of the groups by number.
        target: name of the attribute that is the class.
        classes: names of the classes by number.
    """

    sensitive: str
    groups: tuple[str, ...]
    target: str
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Privacy:
    """How an epsilon was come by: whoever has these numbers can compute it again.

    Attributes:
        mechanism: what was made private, and how.
        adjacency: which two training sets epsilon tells apart.
        noise_multiplier: deviation of the noise in units of the norm, > 0.
        max_grad_norm: norm that each record's gradient was cut to, > 0.
        sampling_rate: probability with which a record was in a step, in (0, 1], rounded up to two
            digits.
        steps: of the training.
        delta: of (epsilon, delta).
        accountant: what summed the steps up.
        outside: what of the release epsilon does not bound.
    """

    mechanism: str
    adjacency: str
    noise_multiplier: float
    max_grad_norm: float
    sampling_rate: float
    steps: int
    delta: float
    accountant: str
    outside: tuple[str, ...] = ()


@dataclass(frozen=True)
class Card:
    """What a release says of itself. Everything but ``format`` and ``files`` is the sharer's claim, not a fact.

    Attributes:
        family: kind of model, for instance ``"ddpm"``.
        modality: ``"image"`` or ``"table"``.
        labels: names of the classes that can be asked for; empty for an unconditional model.
        steps: default number of sampling steps, 1 to 10,000.
        image_size: pixels a side, 1 to 4096; None for tables.
        columns: names of a table's columns; None for images.
        target: name of the attribute that ``labels`` are the classes of; None where it is not told.
        label_frequencies: shares of ``labels`` in the training set, summing to 1; None where not declared.
        declared: number of training records of each cell, ``{"s0y0": 10, ...}``; None where not declared.
        declared_names: what the numbers in ``declared`` stand for; None where it is not told.
        protections: what was done for privacy, in words.
        epsilon: of differential privacy, > 0; None where there is none.
        privacy: what epsilon is of: how it was come by and what lies outside it; None where there
            is no epsilon.
        files: every other file of the release to its SHA-256.
        created_with: versions of the libraries that wrote the release.
        format: version of the release format.
    """

    family: str
    modality: Literal["image", "table"]
    labels: tuple[str, ...]
    steps: int
    image_size: int | None = None
    columns: tuple[str, ...] | None = None
    target: str | None = None
    label_frequencies: tuple[float, ...] | None = None
    declared: Mapping[str, int] | None = None
    declared_names: DeclaredNames | None = None
    protections: tuple[str, ...] = ()
    epsilon: float | None = None
    privacy: Privacy | None = None
    files: Mapping[str, str] = field(default_factory=dict)
    created_with: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def to_json(self) -> dict[str, Any]:
        """The object that ``diffshare.json`` holds: ``format`` first; a table has no ``image_size`` and vice versa."""
        value = {"format": self.format} | asdict(self)
        value["declared_names"] = (
            None if self.declared_names is None else self.declared_names._asdict()
        )
        if self.privacy is not None:
            value["privacy"]["outside"] = list(self.privacy.outside)
        del value["columns" if self.modality == "image" else "image_size"]
        return value


def parse_card(value: Any, where: str = CARD) -> Card:
    """Check every field of a received card. Keys that this format does not know are ignored.

    Args:
        value: parsed JSON.
        where: the file's name for messages.

    Raises:
        UserError: another format, or a field of a wrong type, size or range (names the field and what was expected).
    """
    fields = Fields(value, where)
    form = fields.value.get("format")
    if form not in READABLE or type(form) is not int:
        raise UserError(
            f"{where}: format {shown(form)} is not understood: this version of diffshare reads the formats "
            f"{' and '.join(map(str, READABLE))}; get the version that wrote it or ask for a release in format {FORMAT}"
        )
    modality = fields.value.get("modality")
    if modality not in ("image", "table"):
        fields.refuse("modality", '"image" or "table"')
    labels, declared = fields.names("labels", MAX_LABELS), _declared(fields)
    return Card(
        family=fields.text("family"),
        modality=modality,
        labels=labels,
        steps=fields.integer("steps", 1, MAX_STEPS),
        image_size=fields.integer("image_size", 1, 4096) if modality == "image" else None,
        columns=fields.names("columns", MAX_LABELS, least=1) if modality == "table" else None,
        target=None if fields.value.get("target") is None else fields.text("target"),
        label_frequencies=_frequencies(fields, len(labels)),
        declared=declared,
        declared_names=_declared_names(fields, declared),
        protections=fields.names("protections", 64),
        epsilon=_epsilon(fields),
        privacy=_privacy(fields),
        files=_files(fields),
        created_with=_versions(fields),
        format=form,
    )


def _frequencies(fields: Fields, classes: int) -> tuple[float, ...] | None:
    shares = fields.value.get("label_frequencies")
    if shares is None:
        return None
    fits = (
        isinstance(shares, list)
        and len(shares) == classes
        and all(is_number(v) and 0 <= v <= 1 for v in shares)
    )
    if not fits or abs(sum(shares) - 1) > 1e-6:
        fields.refuse(
            "label_frequencies",
            f"null or {classes} numbers from 0 to 1 that sum to 1, one for each label",
        )
    return tuple(map(float, shares))


def _declared(fields: Fields) -> dict[str, int] | None:
    counts = fields.value.get("declared")
    if counts is None:
        return None
    expected = 'null or counts of every cell: {"s0y0": 10, "s0y1": ...}'
    if not isinstance(counts, dict) or not 1 <= len(counts) <= MAX_LABELS:
        fields.refuse("declared", expected)
    cells = [_CELL.fullmatch(key) for key in counts]
    if not all(cells) or not all(type(n) is int and 0 <= n <= 10**12 for n in counts.values()):
        fields.refuse("declared", expected)
    groups, classes = ({cell[i] for cell in cells if cell} for i in (1, 2))
    grid = {f"s{s}y{y}" for s in range(len(groups)) for y in range(len(classes))}
    if set(counts) != grid:
        fields.refuse("declared", expected)
    return counts


def _declared_names(fields: Fields, declared: Mapping[str, int] | None) -> DeclaredNames | None:
    value = fields.value.get("declared_names")
    if value is None or declared is None:
        return None
    names = Fields(value, f"{fields.where}, declared_names")
    read = DeclaredNames(
        names.text("sensitive"),
        names.names("groups", 100),
        names.text("target"),
        names.names("classes", MAX_LABELS),
    )
    if (
        len(read.groups) * len(read.classes) != len(declared)
        or f"s{len(read.groups) - 1}y0" not in declared
    ):
        fields.refuse(
            "declared_names", "the names of the groups and classes that 'declared' counts"
        )
    return read


def _epsilon(fields: Fields) -> float | None:
    epsilon = fields.value.get("epsilon")
    if epsilon is not None and not (is_number(epsilon) and epsilon > 0):
        fields.refuse("epsilon", "null or a number above 0")
    return None if epsilon is None else float(epsilon)


def _privacy(fields: Fields) -> Privacy | None:
    value = fields.value.get("privacy")
    if value is None:
        return None
    said = Fields(value, f"{fields.where}, privacy")
    return Privacy(
        mechanism=said.text("mechanism"),
        adjacency=said.text("adjacency"),
        noise_multiplier=_positive(said, "noise_multiplier", np.inf),
        max_grad_norm=_positive(said, "max_grad_norm", np.inf),
        sampling_rate=_positive(said, "sampling_rate", 1),
        steps=said.integer("steps", 1, 10**12),
        delta=_positive(said, "delta", 1),
        accountant=said.text("accountant"),
        outside=said.names("outside", 64),
    )


def _positive(fields: Fields, key: str, most: float) -> float:
    value = fields.value.get(key)
    if not (is_number(value) and 0 < value <= most):
        fields.refuse(key, "a number above 0" + ("" if most == np.inf else f", at most {most:g}"))
    return float(value)


def _files(fields: Fields) -> dict[str, str]:
    files = fields.value.get("files")
    if not isinstance(files, dict) or len(files) > MAX_FILES:
        fields.refuse("files", f"an object of at most {MAX_FILES} file names with their SHA-256")
    for name, digest in files.items():
        check_file_name(name, fields.where)
        if not isinstance(digest, str) or not re.fullmatch("[0-9a-f]{64}", digest):
            fields.refuse(
                "files", f"file names with their SHA-256 in 64 hexadecimal digits ({name} has none)"
            )
    return files


def check_file_name(name: str, where: str) -> None:
    """Refuse a file name that a release must not hold: a path that leads out, an odd character, a forbidden kind."""
    if not _FILE.fullmatch(name) or name == CARD:
        raise UserError(
            f"{where}: refused the file name {shown(name)}: a release holds plain names (letters, digits,"
            " '_', '-', '.') at most one folder deep"
        )
    if not name.endswith((".json", ".safetensors", ".md", ".txt")):
        raise UserError(
            f"{where}: refused the file {name}: a release holds .json, .safetensors, .md and .txt only; other formats"
            " (pickles, code) could run commands when they are opened: ask for weights in safetensors"
        )


def _versions(fields: Fields) -> dict[str, str]:
    versions = fields.value.get("created_with")
    if (
        not isinstance(versions, dict)
        or len(versions) > 16
        or not all(map(is_name, [*versions, *versions.values()]))
    ):
        fields.refuse("created_with", "an object of at most 16 names with their versions")
    return versions
