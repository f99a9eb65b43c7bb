"""What is looked at as the first argument, and ``--against`` what: words that name files become the usual arguments."""

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, get_args, get_origin, get_type_hints

from jsonargparse import Namespace

from diffshare.commands.configs import with_sources
from diffshare.commands.fields import add_fields
from diffshare.errors import UserError
from diffshare.receiver.choices import choose
from diffshare.receiver.door import Reading, common_size, look_at, source_block
from diffshare.storage import as_path
from diffshare.study.steps.flags import flag
from diffshare.terminal import say

AGAINST = "--against"
_AGAINST = re.compile(r"^--against(?=$|[.=])")
_CLASS = re.compile(r"[A-Za-z_][\w.]*")
AGAINST_HELP = (
    "What to compare with: a table (.csv, .tsv, .parquet, .jsonl), an .npz, a folder of images or of samples, all of "
    "it; or a source's YAML, of which a part."
)
RENAME_HELP = (
    "What the samples call otherwise: OLD=NEW for a column, COLUMN:OLD=NEW for a category."
)


def add_door(verb: Any, *, labels: bool = True) -> None:
    """Add ``--against`` and how files are read.

    Args:
        verb: the parser.
        labels: the verb has no other meaning of ``--labels``.
    """
    verb.first.add_argument(AGAINST, type=str | None, default=None, help=AGAINST_HELP)
    group = verb.add_argument_group("how files are read")
    names = [field.name for field in fields(Reading) if labels or field.name != "labels"]
    add_fields(group, Reading, *names)
    group.add_argument("--rename", type=str, nargs="+", default=[], help=RENAME_HELP)


def named(
    arguments: Sequence[str], reference: str, *, model: bool = True, parts: bool = True
) -> list[str]:
    """The arguments with ``--model`` or ``--samples`` for the first, and ``reference`` for ``--against``.

    Args:
        arguments: of the verb.
        reference: flag that takes a source.
        model: a release may be looked at.
        parts: the verb has ``--part``; a file or folder is then used whole.

    Raises:
        UserError: nothing is there, or nothing of this kind; ``--against`` beside the other flag.
    """
    words = with_sources(arguments)
    what = words.pop(0) if words and not words[0].startswith("-") else None
    size_of = what if what is not None else _value(words, "--samples")
    against = _value(words, AGAINST)
    if against is not None:
        if any(word.split("=")[0].split(".")[0] == reference for word in words):
            raise UserError(f"{AGAINST} and {reference} name the same records: give one of them")
        if _names_class(against):
            words = [_AGAINST.sub(reference, word) for word in words]
        else:
            words = _with_block(words, against, reference, size_of, what)
            if parts and not any(word.split("=")[0] == "--part" for word in words):
                words += ["--part", "all"]
    if what is None:
        return words
    if not _there(what):
        return ["--samples", what, *words]  # told by who reads it, after the arguments are checked
    kind = look_at(what)
    if kind == "yaml":
        raise UserError(
            f"{what} is a source's YAML: name it with {AGAINST}, and first what is looked at"
        )
    if kind == "release" and not model:
        raise UserError(f"{what} is a release: give the samples that were audited")
    return ["--model" if kind == "release" else "--samples", what, *words]


def _names_class(against: str) -> bool:
    """Whether it names a source by its YAML or its class, and no file of records."""
    if against.endswith((".yaml", ".yml")):
        return True
    last = against.rpartition(".")[2]
    return bool(_CLASS.fullmatch(against)) and last[:1].isupper() and not _there(against)


def _there(path: str) -> bool:
    return as_path(path).exists()


def _with_block(
    words: list[str], against: str, reference: str, looked_at: str | None, what: str | None
) -> list[str]:
    if other := [word for word in words if word.startswith(f"{AGAINST}.")]:
        raise UserError(
            f"{other[0].split('=')[0]} is for a source's YAML, {against} is read by looking: leave it out"
        )
    size = common_size(looked_at if looked_at and _there(looked_at) else None, against)
    if what is not None and _there(what) and look_at(what) == "release":
        size = _size_of_release(what) or size
    block = source_block(against, _reading(words, reference), size)
    place = next(i for i, word in enumerate(words) if _AGAINST.match(word))
    gone = 1 if "=" in words[place] else 2
    return [*words[:place], reference, json.dumps(block), *words[place + gone :]]


def _size_of_release(what: str) -> int | None:
    from diffshare.release.folder import open_release

    return open_release(as_path(what)).card.image_size


def _value(words: Sequence[str], option: str) -> str | None:
    """The value that an option has among the words."""
    for i, word in enumerate(words):
        if word == option and i + 1 < len(words):
            return words[i + 1]
        if word.startswith(f"{option}="):
            return word.partition("=")[2]
    return None


def _reading(words: Sequence[str], reference: str) -> Reading:
    """How files are read, picked out of all words before the verb's parser sees them."""
    picker = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    hints = get_type_hints(Reading)
    for field in fields(Reading):
        if field.name == "labels" and reference == "--auxiliary" and "--model" in words:
            continue  # there the labels that a model is asked for
        if field.name == "unlabelled":
            picker.add_argument("--unlabelled", choices=("error", "skip"), default="error")
            continue
        hint = hints[field.name]
        several = get_origin(hint) is tuple
        kind = int if int in get_args(hint) else str
        options: dict[str, Any] = {"nargs": "+", "default": []} if several else {"default": None}
        picker.add_argument(flag(field.name), type=kind, **options)
    try:
        chosen = vars(picker.parse_known_args(list(words))[0])
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from error
    return choose(Reading, chosen)


def reading_of(config: Namespace) -> Reading:
    """How the looked-at file is read, of parsed arguments."""
    chosen = {field.name: config[field.name] for field in fields(Reading)}
    if isinstance(chosen["labels"], str):
        chosen["labels"] = [chosen["labels"]]
    return choose(Reading, {name: value for name, value in chosen.items() if value is not None})


def samples_of(config: Namespace) -> Any:
    """The samples that are looked at."""
    from diffshare.receiver.samples import Samples

    against = config.reference if "reference" in config else config.auxiliary
    size = None
    if against is not None:
        settings = against.get("init_args") or {}
        size = settings.get("image_size") if hasattr(settings, "get") else None
    return Samples.from_path(
        config.samples, reading_of(config), image_size=size, rename=config.rename
    )


def show_records(source: Any, kind: str = "reference") -> None:
    """Say what records a file or folder was found to hold."""
    from diffshare.data.imagefolder import ImageFolder
    from diffshare.data.npzfile import NPZ
    from diffshare.data.parquetimages import ParquetImages
    from diffshare.data.recognised import Recognised
    from diffshare.receiver.door import described

    if isinstance(source, Recognised | ImageFolder | NPZ | ParquetImages):
        say(f"{kind + ':':11}{described(source)[0]}")
