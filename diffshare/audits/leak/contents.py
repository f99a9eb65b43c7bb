"""All that a folder says by itself, file by file, before anybody asks the model for a sample."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from diffshare.data.csvfile import read_header
from diffshare.receiver.property.told import said_records
from diffshare.release.card import CARD, Card
from diffshare.release.folder import Release
from diffshare.release.info import INFO, read_info
from diffshare.release.samples import GRID, NPZ
from diffshare.release.section import README
from diffshare.release.table import SCHEMA, TableColumn, TableSchema, load_schema
from diffshare.release.tables import CSV

STANDARD = (  # headings of every README.md
    "What its sharer declares", "What the folder gives away without a query", "How to sample it",
)  # fmt: skip
SHOWN = 12  # names of a list that are printed


class Content(NamedTuple):
    """One thing that a file says.

    Attributes:
        file: its name in the folder.
        says: in words.
        records: it says something of the training records, not of the model or the tools alone.
    """

    file: str
    says: str
    records: bool = True


def of_release(release: Release) -> tuple[Content, ...]:
    """What a release says by itself."""
    contents = [*_card(release.card)]
    if SCHEMA in release.card.files:
        contents += _schema(load_schema(release))
    for name in sorted(release.card.files):
        if name == SCHEMA:
            continue
        if name == README:
            contents += _readme(release.read(README).decode("utf-8", "replace"))
        elif name.endswith(".safetensors"):
            contents.append(
                Content(
                    name,
                    "weights: whoever opens them is not held to samples; nothing here bounds what they tell",
                )
            )
        elif name.endswith(".json"):
            contents += _config(name, release.read(name))
        else:
            contents.append(
                Content(name, "a file that diffshare does not write: look at it before it goes out")
            )
    return tuple(contents)


def of_samples(folder: Path) -> tuple[Content, ...]:
    """What a samples folder says beside its samples."""
    contents = []
    for path in sorted(folder.iterdir()):
        if path.name == NPZ:
            contents.append(Content(NPZ, "the samples, and the class that each was asked for"))
        elif path.name == CSV:
            contents.append(
                Content(CSV, f"the samples; names of the columns: {_few(read_header(path, ','))}")
            )
        elif path.name == INFO:
            contents += _info(read_info(folder))
        elif path.name == GRID:
            contents.append(Content(GRID, "the first samples as a picture", records=False))
        else:
            contents.append(
                Content(
                    path.name,
                    "a file that the verb sample does not write: look at it before it goes out",
                )
            )
    return tuple(contents)


def _few(names: Any) -> str:
    named = [str(name) for name in names]
    return ", ".join(named[:SHOWN]) + (f", ... ({len(named)})" if len(named) > SHOWN else "")


def _card(card: Card) -> Iterator[Content]:
    if card.labels:
        yield Content(CARD, f"names of the classes: {_few(card.labels)}")
    if card.label_frequencies is not None:
        shares = (
            f"{name} {100 * share:g} %"
            for name, share in zip(card.labels, card.label_frequencies, strict=True)
        )
        yield Content(CARD, f"class frequencies of the training set: {_few(shares)}")
    if card.declared is not None:
        counts = ", ".join(
            f"{cell} {count}" for cell, count in sorted(card.declared.items())[:SHOWN]
        )
        yield Content(
            CARD,
            f"records of each group and class, exactly: {counts}; {sum(card.declared.values())} in all",
        )
    for said in card.protections:
        yield Content(CARD, f"protection, in the sharer's words: {said}")
    if card.privacy is not None:
        rate = card.privacy.sampling_rate
        yield Content(
            CARD,
            f"sampling rate {rate:g}, steps {card.privacy.steps}: n is about the batch / {rate:g}",
        )
        yield Content(
            CARD,
            f"epsilon {card.epsilon:.3g} does not bound: {'; '.join(card.privacy.outside)}",
            records=False,
        )
    if card.columns is not None:
        yield Content(CARD, f"names of the columns: {_few(card.columns)}")
    yield Content(
        CARD,
        f"versions of libraries ({_few(card.created_with)}), a hash of each file",
        records=False,
    )


def _schema(schema: TableSchema) -> Iterator[Content]:
    for column in schema.columns:
        yield Content(SCHEMA, _column(column))
    for said in said_records(schema):
        yield Content(SCHEMA, said)


def _column(column: TableColumn) -> str:
    if column.kind == "categorical":
        return f"{column.name}: the categories {_few(column.categories)} occur, others hardly"
    parts = [
        f"has {name}"
        for name, there in (("missing cells", column.missing), ("the value 0", column.zero))
        if there
    ]
    parts += ["is whole"] if column.integer else []
    if column.quantiles:
        ends, count = (column.quantiles[0], column.quantiles[-1]), len(column.quantiles)
        parts.append(
            f"has the least value {ends[0]:g} and the greatest {ends[1]:g}, and {count} quantiles, which give the "
            f"share above any threshold to +-{1 / (count - 1):.4f} without a query"
        )
    elif column.constant:
        parts.append(
            f"is {column.bounds[0]:g} in all or nearly all records"
            if column.bounds
            else "has hardly a value"
        )
    else:
        parts.append(
            f"lies between about {column.bounds[0]:g} and {column.bounds[1]:g}"
            if column.bounds
            else ""
        )
    parts += [f"has {column.decimals} decimals"] if column.decimals else []
    return f"{column.name}: " + ", ".join(filter(None, parts))


def _config(name: str, data: bytes) -> Iterator[Content]:
    value = json.loads(data)
    if isinstance(value, dict) and "scaling_factor" in value and "latent_channels" in value:
        yield Content(
            name, f"mean and deviation of the training latents, rounded: {value.get('shift_factor')}, "
            f"1 / {value['scaling_factor']}"
        )  # fmt: skip
    yield Content(name, "settings of a network or of its noise", records=False)


def _readme(text: str) -> Iterator[Content]:
    yield Content(
        README, "the card in words, and which parts load with diffusers alone", records=False
    )
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    for title in titles:
        if title not in STANDARD:
            yield Content(README, f"a section of its own: {title}")


def _info(info: dict[str, Any]) -> Iterator[Content]:
    model = info.get("model")
    if isinstance(model, dict):
        yield Content(
            INFO,
            f"name of the sharer's folder: {model.get('name')}; hash of the model: {model.get('sha256')}",
        )
    if "protections" in info:
        yield Content(INFO, f"protections, in the sharer's words: {_few(info['protections'])}")
    drawn = [key for key in ("labels", "seed", "steps", "guidance", "scheduler") if key in info]
    if drawn:
        yield Content(
            INFO,
            f"how they were drawn ({', '.join(drawn)}): who has the model can draw the same",
            records=False,
        )
    spent = [key for key in ("queries", "network_calls", "seconds") if key in info]
    if spent:
        yield Content(
            INFO,
            f"what drawing took ({', '.join(spent)}): of chosen samples, the share that was thrown away",
        )
    if others := sorted(set(info) - {"model", "protections", "count", "classes", *drawn, *spent}):
        yield Content(INFO, f"further fields: {_few(others)}")
