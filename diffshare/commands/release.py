"""The verb ``release``: a release folder of a checkpoint of ``fit``."""

from pathlib import Path

from jsonargparse import Namespace

from diffshare.commands.options import add
from diffshare.commands.parsing import VerbParser, verb_parser
from diffshare.release.folder import RELEASE
from diffshare.storage import check_apart, check_new_folder
from diffshare.terminal import say
from diffshare.training.imports import HELP

LABELS_HELP = (
    "Put the class frequencies of the training set, in whole percent, into the card, for sample --labels natural: true "
    "or false. Left out, all models do but those with an epsilon, which does not bound them."
)


def parser(arguments: list[str]) -> VerbParser:
    """The parser of ``release``."""
    verb = verb_parser(
        "release",
        "Make a release folder of a checkpoint of fit, from its averaged weights.",
        "--ckpt lightning_logs/faces/checkpoints/last.ckpt --out lightning_logs/release_faces",
    )
    checkpoint = "Checkpoint, for instance RUN_DIR/checkpoints/last.ckpt."
    verb.first.add_argument("--ckpt", type=Path, required=True, help=checkpoint)
    add(verb.first, "--out")
    verb.first.add_argument("--declare_labels", type=bool | None, default=None, help=LABELS_HELP)
    counts = "Put the S x Y counts of the training set into the card: true or false, which it is where left out."
    verb.first.add_argument("--declare_counts", type=bool, default=False, help=counts)
    add(verb.first, "--overwrite")
    verb.first.add_argument("--trust-code", action="store_true", help=HELP)
    return verb


def parse(arguments: list[str]) -> Namespace:
    """Parse and check."""
    config = parser(arguments).parse_args(arguments)
    check_apart(config.out, config.ckpt, "checkpoint")
    check_new_folder(config.out, RELEASE, overwrite=config.overwrite)
    return config


def release(arguments: list[str]) -> int:
    """Make a release folder of a checkpoint."""
    config = parse(arguments)

    from diffshare.sharer.export import export, module_of_checkpoint

    module = module_of_checkpoint(config.ckpt, trust_code=config.trust_code)
    options = {name: config[name] for name in ("declare_labels", "declare_counts", "overwrite")}
    export(module, config.out, **options)
    say(f"release: {config.out}")
    return 0
