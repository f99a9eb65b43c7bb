"""An audit's file as ``repair`` takes it up: whoever wrote it may be a stranger, so that every field is checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from jsonargparse import ArgumentError, ArgumentParser

from diffshare.audits.poisoning.candidates import NAME, PROMPTED
from diffshare.audits.repair.allowed_classes import RECIPES, SOURCES, check_block, check_recipe
from diffshare.classifiers.recipe import Recipe
from diffshare.data.source import Source
from diffshare.errors import UserError
from diffshare.received import Fields, is_number, parse_json, read_regular, shown
from diffshare.release.card import MAX_LABELS

ReceiversPart = Literal["auxiliary", "test", "all"]  # never the sharer's
Pool = Literal["natural", "balanced"]
LIMIT = 1 << 20  # bytes of an audit's file
MOST = 1000  # candidates and clusters
GUIDANCE = 1000  # as large as one may be
_KINDS = {"reference": Source, "classifier": Recipe}
_ALLOWED = {"reference": SOURCES, "classifier": RECIPES}


@dataclass(frozen=True)
class Audited:
    """What the file says of an audit.

    Attributes:
        path: of the file.
        samples_sha256: of the samples that were audited.
        sensitive: attribute that is the group.
        target: attribute that is the class.
        pool: ``balanced`` where the samples were compared with equal cells.
        part: of the reference.
        split_seed: of the parts.
        folds: models of the group's classifier.
        seed: of their training.
        degraded: they were trained on degraded copies too.
        clusters: number of clusters of features that the group is one of; 0 where it is an attribute.
        guidance: at which the samples were taken to be drawn, 0 to 1000; None where the file does not tell.
        names: attributes of the reference that were audited as the group, this one or others.
        groups: names of the groups; empty where the file does not tell.
        classes: names of the classes; likewise.
        blocks: ``class_path`` and ``init_args`` of ``reference`` and ``classifier``, unchecked; None where not given.
    """

    path: Path
    samples_sha256: str
    sensitive: str
    target: str
    pool: Pool
    part: ReceiversPart
    split_seed: int
    folds: int
    seed: int
    degraded: bool
    clusters: int
    guidance: float | None
    names: tuple[str, ...]
    groups: tuple[str, ...]
    classes: tuple[str, ...]
    blocks: dict[str, Any]

    def built(self, name: Literal["reference", "classifier"]) -> Any:
        """The source of the reference, or the recipe of the classifier; None where the audit had none.

        Raises:
            UserError: a class that is none of diffshare's own, or settings that it does not take or that are out of
                reason.
        """
        block = self.blocks[name]
        if block is None:
            return None
        check_block(block, _ALLOWED[name], str(self.path), name)
        parser = ArgumentParser(exit_on_error=False)
        parser.add_argument(f"--{name}", type=_KINDS[name])
        try:
            built = parser.instantiate(parser.parse_object({name: block}))[name]
        except (UserError, ArgumentError):
            raise
        # a constructor may raise anything when its settings do not fit together
        except Exception as error:
            reason = shown(str(error))
            raise UserError(
                f"{self.path}: its {name} cannot be built: {reason}; name it with `{name}`"
            ) from error
        check_recipe(built, str(self.path))
        return built


def read_audited(path: Path) -> Audited:
    """Read the JSON file that an audit wrote.

    Raises:
        UserError: no such file, not JSON, or fields that an audit does not have.
    """
    value = parse_json(read_regular(path, LIMIT), str(path))
    needed = {"samples_sha256", "sensitive", "target", "settings"}
    if (
        not isinstance(value, dict)
        or not needed <= value.keys()
        or not isinstance(value["settings"], dict)
    ):
        raise UserError(f"{path} is no audit: give the JSON file that an audit wrote")
    fields, settings = Fields(value, str(path)), Fields(value["settings"], f"{path}, settings")
    for key, choices in (
        ("pool", get_args(Pool)),
        ("part", get_args(ReceiversPart)),
        ("degrade", (True, False)),
    ):
        if settings.value.get(key) not in choices:
            settings.refuse(key, f"one of {', '.join(map(str, choices))}")
    clusters = _clusters(value)
    return Audited(
        path=path,
        samples_sha256=fields.text("samples_sha256"),
        sensitive=fields.text("sensitive"),
        target=fields.text("target"),
        pool=settings.value["pool"],
        part=settings.value["part"],
        split_seed=settings.integer("split_seed", 0, 1 << 62),
        folds=settings.integer("folds", 2, 1000),
        seed=settings.integer("seed", 0, 1 << 62),
        degraded=bool(settings.value["degrade"]),
        clusters=clusters,
        guidance=_guidance(fields),
        names=_names(value, fields, str(path), clustered=clusters > 0),
        groups=fields.names("groups", MAX_LABELS) if "groups" in value else (),
        classes=fields.names("classes", MAX_LABELS) if "classes" in value else (),
        blocks={name: settings.value.get(name) for name in _KINDS},
    )


def _clusters(value: dict[str, Any]) -> int:
    """Into how many clusters an audit with ``clusters`` parted the records, where one of them is the group; else 0."""
    groups = value.get("groups")
    if value["sensitive"] != NAME or not isinstance(groups, list) or not 2 <= len(groups) <= MOST:
        return 0
    return len(groups) if groups == [f"{NAME} {i}" for i in range(len(groups))] else 0


def _guidance(fields: Fields) -> float | None:
    """The guidance of the audit: what its user stated, else what the samples claim."""
    guidance = fields.value.get("guidance")
    if guidance is None:
        return None
    if not is_number(guidance) or not 0 <= guidance <= GUIDANCE:
        fields.refuse("guidance", f"a number from 0 to {GUIDANCE}")
    return float(guidance)


def _names(
    value: dict[str, Any], fields: Fields, where: str, *, clustered: bool
) -> tuple[str, ...]:
    """The attributes among the candidates for the group: samples of a table may lack their columns."""
    names = [] if clustered else [fields.text("sensitive")]
    candidates = value.get("candidates", [])
    if (
        not isinstance(candidates, list)
        or len(candidates) > MOST
        or not all(isinstance(c, dict) for c in candidates)
    ):
        fields.refuse("candidates", f"at most {MOST} candidates for the group")
    for candidate in candidates:
        name = Fields(candidate, f"{where}, candidates").text("sensitive")
        names += [name] if name not in (NAME, PROMPTED) else []
    return tuple(dict.fromkeys(names))
