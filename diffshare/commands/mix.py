"""The verb ``mix``: a training set is chosen and its manifest written."""

from collections.abc import Sequence

from jsonargparse import ActionConfigFile, Namespace

from diffshare.commands.configs import with_configs
from diffshare.commands.flags import say_each
from diffshare.commands.options import add
from diffshare.commands.parsing import VerbParser, add_class, verb_parser, without
from diffshare.data.manifest import MANIFEST
from diffshare.errors import UserError
from diffshare.storage import check_apart, check_new_folder
from diffshare.terminal import say

IGNORED = (
    "seed_everything",
    "trainer",
    "model",
    "checkpoint",
    "release",
    "ckpt_path",
    "weights_only",
    "run-dir",
    "resume",
)
DATA_HELP = (
    "The data module, as for fit: --data.KEY VALUE changes one of its settings, such as --data.mix.p 0.3; --data.help "
    "CLASS explains those of a class."
)


def parser(arguments: Sequence[str], base: type | None = None) -> VerbParser:
    """The parser of ``mix``.

    Args:
        arguments: that will be parsed.
        base: what the data is an instance of; None for a parser that imports no class.
    """
    verb = verb_parser(
        "mix",
        "Choose a training set and write its manifest; takes the configs and overrides of fit.",
        "--config ddpm_faces --config mix/proportion --data.mix.p 0.3 --out mix",
    )
    configs = "Config of fit; several merge, base first."
    verb.first.add_argument("-c", "--config", action=ActionConfigFile, help=configs)
    add(verb.first, "--out", "--overwrite")
    add_class(verb, "data", base, arguments, DATA_HELP)
    others = verb.add_argument_group("settings of fit that make no difference")
    for ignored in IGNORED:
        others.add_argument(
            f"--{ignored}", default=None, help="Ignored: a mix depends on the data alone."
        )
    return verb


def mix(arguments: list[str]) -> int:
    """Choose a training set and write its manifest."""
    parse(arguments)
    return _choose(without(with_configs(arguments), IGNORED))


def parse(arguments: list[str]) -> Namespace:
    """Parse and check all but the data, for which classes are imported."""
    plain = without(with_configs(arguments), IGNORED)
    config = parser(plain).parse_args(without(plain, ("data", "print_config")))
    check_new_folder(config.out, MANIFEST, overwrite=config.overwrite)
    return config


def _choose(arguments: list[str]) -> int:
    from lightning.pytorch import LightningDataModule

    from diffshare.data.listed import Listed
    from diffshare.data.module import MixDataModule

    typed = parser(arguments, LightningDataModule)
    config = typed.parse_args(arguments)
    data = typed.instantiate(Namespace(data=config.data)).data
    if not isinstance(data, MixDataModule):
        raise UserError(
            f"{config.data.class_path} chooses no mix: use a config whose data is a MixDataModule"
        )
    if isinstance(data.mix, Listed):
        check_apart(config.out, data.mix.manifest, "manifest")
    check_new_folder(config.out, MANIFEST, overwrite=config.overwrite)
    chosen = data.chosen_mix()
    chosen.write(config.out, overwrite=config.overwrite)
    say(
        f"mix:     {config.out} ({chosen.policy}, {len(chosen.choice.positions)} of {len(chosen.pool)} records)"
    )
    say(f"records: {data.used}")
    say_each("note", *data.notes)
    return 0
