"""The verb ``audit``: is a model poisoned, what would a classifier's gap be, and what does a release leak?"""

import json
import time
from pathlib import Path
from typing import Any, Literal

from jsonargparse import Namespace

from diffshare.audits.fields import AUDIT, LEAK
from diffshare.audits.poisoning.plan import Plan
from diffshare.commands.configs import with_files
from diffshare.commands.door import add_door, named, samples_of, show_records
from diffshare.commands.fields import add_fields, choices
from diffshare.commands.flags import say_each
from diffshare.commands.leak import add_leak, check_leak
from diffshare.commands.options import add, add_recipe, changed, check_asking, check_one
from diffshare.commands.parsing import VerbParser, verb_parser
from diffshare.data.source import Source
from diffshare.errors import UserError, check_seed
from diffshare.receiver.choices import choose
from diffshare.release.info import SAMPLES
from diffshare.storage import check_apart, check_new_file, check_new_folder, write_result
from diffshare.study.steps.flags import flag
from diffshare.terminal import say

MODEL_HELP = "Release folder, asked for samples of each class."
OUT_HELP = "Keep the samples that were drawn in this folder, for repair."
REFERENCE_HELP = "YAML file of the receiver's own labelled records. The class that it names is imported: its code runs."
OF_RECORDS = (  # what --declared alone, which counts columns, has no use for
    "candidates", "clusters", "prompts", "margin_from", "sequential", "manifest", "part", "split_seed", "classifier",
    "folds", "degrade", "downstream", "withhold", "gap_repeats",
)  # fmt: skip


def parser(arguments: list[str]) -> VerbParser:
    """The parser of ``audit``."""
    verb = verb_parser(
        "audit",
        "Audit a generator by its samples: was it made to make a classifier unfair? With --as sharer: what does a "
        "release leak?",
        "synthetic.csv --against holdout.csv --sensitive sex --target income --json audit.json",
    )
    first, optional = verb.first, {"required": False, "default": None}
    add(first, "--model", type=Path | None, help=MODEL_HELP, **optional)
    add(first, "--samples")
    add(first, "--reference", help=REFERENCE_HELP)
    first.add_argument("--sensitive", type=str, default=None, help="Attribute that is the group S.")
    targets = "Attribute that the samples' classes stand for: Y."
    first.add_argument("--target", type=str, default=None, help=targets)
    roles = "receiver: was it poisoned? sharer: what does it leak?"
    first.add_argument("--as", type=Literal["receiver", "sharer"], default="receiver", help=roles)
    add_fields(first, Plan, "queries")
    add(first, "--json")
    add_fields(first, Plan, "seed")
    groups = verb.add_argument_group("which group, where it is not known")
    several = "Several attributes, where it is not known which."
    groups.add_argument("--candidates", type=str, nargs="+", default=[], help=several)
    add_fields(groups, Plan, "clusters", "prompts", "clip")
    asked = verb.add_argument_group("what is asked of the test")
    add_fields(asked, Plan, "margin", "margin_from", "level", "alpha", "power", "sequential")
    drawing = verb.add_argument_group("how a model is asked")
    scales = "guidance_scale to ask a model at, 1 by default; or that --samples were drawn at."
    add_fields(drawing, Plan, "guidance", help=scales)
    add(drawing, "--out", type=Path | None, help=OUT_HELP, **optional)
    add(drawing, "--steps", "--batch-size", "--device", "--overwrite")
    records = verb.add_argument_group("the records, and what else the samples are compared with")
    add_fields(records, Plan, "pool")
    tables = "S x Y table (JSON, YAML), or a release's diffshare.json."
    records.add_argument("--declared", type=Path | None, default=None, help=tables)
    add(records, "--part", "--split-seed", "--manifest")
    trained = verb.add_argument_group("the classifiers of the group and downstream")
    add_recipe(
        trained, "--classifier", arguments, "How the group's classifier is trained: a recipe."
    )
    add_fields(trained, Plan, "folds", "degrade")
    add_recipe(
        trained, "--downstream", arguments, "The classifier whose gap is predicted: a recipe."
    )
    add_fields(trained, Plan, "withhold", "gap_repeats")
    add_door(verb)
    add_leak(verb.add_argument_group("audit --as sharer"))
    return verb


def parse(arguments: list[str]) -> tuple[Namespace, Plan, Source | None]:
    """Parse and check.

    Returns:
        the arguments, the choices of the audit, and the source of the reference; None where not given.

    Raises:
        UserError: an argument that is none, or two that do not go together.
    """
    verb = parser(arguments)
    config = verb.parse_args(with_files(named(arguments, "--reference"), "--reference"))
    _check_together(config, verb)
    if config.model is not None and config.guidance is None:
        config.guidance = 1.0  # plain conditional sampling
    plan = choose(Plan, choices(Plan, config))
    check_asking(config)
    check_seed("--split-seed", config.split_seed)
    if config.json is not None:
        check_new_file(config.json, LEAK if config["as"] == "sharer" else AUDIT)
    if config.out is not None:
        check_apart(config.out, config.model)  # --out goes with --model alone
        check_new_folder(config.out, SAMPLES, overwrite=config.overwrite)
    built = verb.instantiate(config)
    return (
        config,
        plan.but(classifier=built.classifier, downstream=built.downstream),
        built.reference,
    )


def _check_together(config: Namespace, verb: VerbParser) -> None:
    check_one(config)
    sharer = config["as"] == "sharer"
    if config.samples is not None:
        drawing = ("steps", "batch_size", "out", *(("guidance",) if sharer else ()))
        if given := changed(config, verb, drawing):
            raise UserError(
                f"{given[0]} is for a model that is asked for samples, --samples are drawn: leave it out"
            )
    check_leak(config, verb)
    if config.reference is None and config.declared is None:
        raise UserError(
            "give --reference FILE (labelled records) or --declared FILE (an S x Y table) to compare with"
        )
    if sharer:
        return
    if config.target is None:
        raise UserError("name with --target the attribute that the samples' classes stand for")
    names = _names(config)
    unnamed = config.clusters is not None or bool(config.prompts)
    if not names and not unnamed:
        raise UserError(
            "name the group with --sensitive, or several with --candidates, or ask for --clusters or --prompts"
        )
    if config.target in names:
        named = "sensitive" if config.target == config.sensitive else "candidates"
        raise UserError(
            f"{flag(named)} and --target are both '{config.target}': name two attributes"
        )
    if config.declared is not None and (len(names) > 1 or unnamed):
        raise UserError(
            "--declared is a table of one group: name it with --sensitive, not with --candidates, --clusters or "
            "--prompts"
        )
    if config.reference is None and (given := changed(config, verb, OF_RECORDS)):
        raise UserError(f"{given[0]} needs records: add --reference FILE, or leave it out")
    if config.pool == "balanced" and config.reference is None:
        raise UserError(
            "--pool balanced and --declared both say what the samples are compared with: give one of them"
        )


def _names(config: Namespace) -> list[str]:
    """Attributes that are audited as the group, each once."""
    return list(dict.fromkeys([*filter(None, [config.sensitive]), *config.candidates]))


def audit(arguments: list[str]) -> int:
    """Audit a model or its samples."""
    config, plan, source = parse(arguments)
    if config["as"] == "sharer" and source is not None:
        from diffshare.commands.leak import attack

        return attack(config, plan, source)
    started = time.perf_counter()

    from diffshare.audits.poisoning.result import Audit
    from diffshare.commands.audit_table import show

    result = _audited(config, plan, source)
    if config.json is not None:
        fields_of_file = result.to_json(time.perf_counter() - started)
        write_result(config.json, fields_of_file | {"settings": _settings(config)}, Audit.FIELDS)
    for one in result.candidates or (result,):
        show(one)
    if result.candidates:
        say(
            f"verdict: {result.verdict} (of {len(result.candidates)} candidates, p-values adjusted by Holm)"
        )
    say_each("advice", result.advice)
    return 0


def _audited(config: Namespace, plan: Plan, source: Source | None) -> Any:
    from diffshare.audits.poisoning.audit import audit, declared_audit
    from diffshare.audits.poisoning.drawing import Drawing
    from diffshare.receiver.records import Records
    from diffshare.receiver.samples import Samples

    what: Samples | Drawing
    if config.model is None:
        what = samples_of(config)
    else:
        names = ("seed", "steps", "guidance", "batch_size", "device")
        what = Drawing(config.model, folder=config.out, **{name: config[name] for name in names})
    if source is None:
        samples = what if isinstance(what, Samples) else what.first(plan.count_of(None))
        columns = {"sensitive": config.sensitive, "target": config.target}
        return declared_audit(samples, config.declared, **columns, **vars(plan))
    show_records(source)
    records = Records.from_source(
        source,
        target=config.target,
        sensitive=_names(config),
        part=config.part,
        split_seed=config.split_seed,
        manifest=config.manifest,
    )
    return audit(what, records, declared=config.declared, plan=plan)


def _settings(config: Namespace) -> dict[str, Any]:
    """How the group was read, so that ``repair`` reads it in the same way."""
    blocks = {
        key: config[key].as_dict() if config[key] else {} for key in ("reference", "classifier")
    }
    named = {
        key: {part: block[part] for part in ("class_path", "init_args") if part in block} or None
        for key, block in blocks.items()
    }
    kept = ("part", "pool", "split_seed", "folds", "degrade", "seed")
    # a path becomes text
    return json.loads(json.dumps(named, default=str)) | {key: config[key] for key in kept}
