"""``samples.json``: how the samples of a folder were drawn, by whoever drew them. Written and read in one place."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from diffshare.errors import UserError
from diffshare.layout import Layout, json_object
from diffshare.received import Fields, is_name, is_number, parse_json, read_regular
from diffshare.release.card import MAX_LABELS
from diffshare.release.generator import Generator

# all that a samples folder holds
INFO, NPZ, CSV, GRID = (
    "samples.json",
    "samples.npz",
    "samples.csv",
    "grid.png",
)
MAX_INFO = 1 << 20  # bytes


def _files(folder: Path) -> tuple[str, ...] | None:
    info = json_object(folder / INFO, MAX_INFO)
    return (INFO, NPZ, CSV, GRID) if info is not None and type(info.get("count")) is int else None


SAMPLES = Layout("samples folder", _files)


class Drawn(NamedTuple):
    """How samples were asked for.

    Attributes:
        labels: as ``labels`` has it.
        seed: of the noise.
        steps: network calls a sample; the card's default where None.
        guidance: ``guidance_scale``.
    """

    labels: str
    seed: int
    steps: int | None = None
    guidance: float = 1.0


def drawn_info(
    drawn: Drawn,
    classes: Sequence[str],
    *,
    queries: int | None = None,
    seconds: float | None = None,
    model: str | None = None,
    sha256: str | None = None,
    target: str | None = None,
) -> dict[str, Any]:
    """What ``samples.json`` says of drawn samples; ``count`` is added where the folder is written.

    Args:
        drawn: how.
        classes: names of the model's classes, by number: samples of images have nothing else that says what their
            numbers stand for.
        queries: samples that were asked for; not told where None.
        seconds: that they took; likewise.
        model: name of the model's folder; what cannot be shown of it is replaced.
        sha256: identity of the model.
        target: name of the attribute that the classes stand for; not told where None.
    """
    info = drawn._asdict() | {"classes": list(classes)}
    if target is not None:
        info["target"] = target
    if queries is not None:
        info["queries"] = queries
    if seconds is not None:
        info["seconds"] = round(seconds, 3)
    if model is not None:
        name = "".join(c if c.isprintable() else "?" for c in model)[:100]
        info["model"] = {"name": name or "model", "sha256": sha256}
    return info


def asked_info(
    generator: Generator, drawn: Drawn, model: Path | None = None, sha256: str | None = None
) -> dict[str, Any]:
    """The same of a black box, whose card and ledger know the rest.

    Args:
        generator: after it was asked.
        drawn: how it was asked.
        model: its folder.
        sha256: its identity.
    """
    card, ledger = generator.card, generator.ledger
    info = drawn_info(
        drawn._replace(steps=drawn.steps or card.steps),
        card.labels,
        queries=ledger.queries,
        seconds=ledger.seconds,
        model=None if model is None else model.resolve().name,
        sha256=sha256,
        target=card.target,
    )
    return info | {"network_calls": ledger.network_calls}


def class_names(info: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """Names of the classes of samples by number, as ``samples.json`` has them; empty where it does not tell.

    Args:
        info: what :func:`read_info` gives.
        folder: of the samples, for messages.

    Raises:
        UserError: no list of different names.
    """
    if "classes" not in info:
        return ()
    return Fields(dict(info), str(folder / INFO)).names("classes", MAX_LABELS)


def class_target(info: Mapping[str, Any]) -> str | None:
    """Name of the attribute that the classes of samples stand for; None where ``samples.json`` does not tell."""
    said = info.get("target")
    return said if is_name(said) else None


def read_info(folder: Path) -> dict[str, Any]:
    """What ``samples.json`` of a folder says; empty where there is none. A claim of whoever made the folder.

    Raises:
        UserError: a link, more than 1 MiB, not JSON, not an object, or a number or text in it that may not be shown.
    """
    path = folder / INFO
    if not path.exists() and not path.is_symlink():
        return {}
    value = parse_json(read_regular(path, MAX_INFO), str(path))
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, dict):
            pending += [*item, *item.values()]
        elif isinstance(item, list):
            pending += item
        elif not (item is None or isinstance(item, bool) or is_number(item) or is_name(item)):
            raise UserError(
                f"{path} holds a number or a text that may not be shown: delete that file"
            )
    if not isinstance(value, dict):
        raise UserError(f"{path} must be a JSON object: delete that file")
    return value
