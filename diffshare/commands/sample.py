"""The verb ``sample``: samples of a release, as a black box makes them."""

import time

from jsonargparse import Namespace

from diffshare.commands.flags import say_each
from diffshare.commands.options import add
from diffshare.commands.parsing import VerbParser, verb_parser
from diffshare.errors import UserError, check_number, check_seed
from diffshare.generators.scheduler_names import SAMPLERS
from diffshare.receiver.sampling import check_device
from diffshare.release.asked import write_asked
from diffshare.release.generator import MOST_SAMPLES
from diffshare.release.info import SAMPLES
from diffshare.storage import check_apart, check_new_folder
from diffshare.terminal import say

LABELS_HELP = (
    "balanced: equal counts of each class; natural: as the card declares; none: unconditional; or one class, by its "
    "name, or by its number where no class is called so (class:NAME and mode:WORD are always the one and the other). "
    "Left out: balanced, or none where the model is unconditional."
)


def parser(arguments: list[str]) -> VerbParser:
    """The parser of ``sample``."""
    verb = verb_parser(
        "sample",
        "Draw samples from a release, as a black box.",
        "--model lightning_logs/faces/release --count 64 --labels balanced --out samples",
    )
    add(verb.first, "--model", "--count", "--out")
    add(verb.first, "--labels", help=LABELS_HELP)
    add(verb.first, "--seed", help="Sample i of a seed always starts from the same noise.")
    add(verb.first, "--guidance", "--overwrite")
    how = verb.add_argument_group("how the samples are made and written")
    add(how, "--steps")
    of_ddpm = f"Of a DDPM or latent diffusion one of {', '.join(SAMPLERS)}"
    of_others = "of another family one of its own (an unknown name lists them)"
    how.add_argument("--scheduler", type=str, default=None, help=f"{of_ddpm}; {of_others}.")
    add(how, "--batch-size", help="Samples a pass; 64 images or 4096 rows where left out.")
    add(how, "--device", "--escape-formulas")
    return verb


def sample(arguments: list[str]) -> int:
    """Draw samples from a release, as a black box."""
    return _draw(parse(arguments))


def parse(arguments: list[str]) -> Namespace:
    """Parse and check."""
    config = parser(arguments).parse_args(arguments)
    if config.count < 1:
        raise UserError(f"--count is {config.count}: ask for at least 1 sample")
    check_number("count", config.count, 1, MOST_SAMPLES)
    check_seed("seed", config.seed)
    check_apart(config.out, config.model)
    check_new_folder(config.out, SAMPLES, overwrite=config.overwrite)
    check_device(config.device)
    return config


def _draw(config: Namespace) -> int:
    from diffshare.commands.formulas import formula_notes, refuse_escape
    from diffshare.generators.families import open_generator
    from diffshare.receiver.sampling import draw_samples
    from diffshare.release.generator import asked_labels, plan_labels
    from diffshare.release.info import Drawn, asked_info
    from diffshare.release.table import TableGenerator

    generator, identity = open_generator(
        config.model, device=config.device, scheduler=config.scheduler
    )
    refuse_escape(config.escape_formulas, generator)
    wanted = asked_labels(config.labels, generator.card)
    labels = plan_labels(wanted, config.count, generator.card)
    started = time.perf_counter()
    options = {name: config[name] for name in ("seed", "batch_size", "steps", "guidance")}
    x = draw_samples(generator, labels, **options)
    seconds = time.perf_counter() - started
    drawn = Drawn(wanted.text, config.seed, config.steps, config.guidance)
    info = asked_info(generator, drawn, config.model, identity) | {"scheduler": config.scheduler}
    writing = {"overwrite": config.overwrite, "escape": config.escape_formulas}
    write_asked(config.out, generator, x, labels, info, **writing)
    if isinstance(generator, TableGenerator):
        say_each("note", *formula_notes(config.escape_formulas, generator))
    say(f"samples: {config.out} ({config.count} in {seconds:.1f} s)")
    say_each("note", wanted.note)
    return 0
