"""The verbs with a parser of their own: ``release``, ``sample``, ``mix``."""

import time
from pathlib import Path

import torch
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from lightning.pytorch import LightningDataModule

from diffshare.commands.formulas import formula_notes, refuse_escape
from diffshare.data.listed import Listed
from diffshare.data.manifest import MANIFEST
from diffshare.data.module import MixDataModule
from diffshare.errors import UserError, check_number, check_seed
from diffshare.generators.diffusion import SAMPLERS
from diffshare.generators.families import open_generator
from diffshare.receiver.sampling import draw_samples
from diffshare.release.folder import RELEASE
from diffshare.release.generator import MOST_SAMPLES, asked_labels, plan_labels
from diffshare.release.info import SAMPLES, Drawn, asked_info
from diffshare.release.samples import write_samples
from diffshare.release.table import TableGenerator
from diffshare.release.tables import ESCAPE, ESCAPE_HELP, write_table_samples
from diffshare.sharer.export import export, module_of_checkpoint
from diffshare.storage import check_apart, check_new_folder
from diffshare.terminal import say
from diffshare.training.imports import FLAG, HELP


def _parser(verb: str, description: str) -> ArgumentParser:
    parser = ArgumentParser(prog=f"diffshare {verb}", description=description, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--overwrite", action="store_true", help="Replace --out where it holds something.")
    return parser


def release(arguments: list[str]) -> int:
    """Make a release folder of a checkpoint."""
    parser = _parser("release", "Make a release folder of a checkpoint of fit, from its averaged weights.")
    parser.add_argument(
        "--ckpt", type=Path, required=True, help="Checkpoint, for instance RUN_DIR/checkpoints/last.ckpt."
    )
    parser.add_argument("--out", type=Path, required=True, help="Folder to make.")
    parser.add_argument(FLAG, action="store_true", help=HELP)
    parser.add_function_arguments(export, skip={"module", "folder", "overwrite"})
    config = parser.parse_args(arguments)
    check_apart(config.out, config.ckpt, "checkpoint")
    check_new_folder(config.out, RELEASE, overwrite=config.overwrite)
    options = {"declare_labels": config.declare_labels, "declare_counts": config.declare_counts}
    export(
        module_of_checkpoint(config.ckpt, trust_code=config.trust_code),
        config.out,
        overwrite=config.overwrite,
        **options,
    )
    say(f"release: {config.out}")
    return 0


def sample(arguments: list[str]) -> int:
    """Draw samples from a release, as a black box."""
    parser = _parser("sample", "Draw samples from a release, as a black box.")
    parser.add_argument("--model", type=Path, required=True, help="Release folder.")
    parser.add_argument("--count", type=int, required=True, help="Number of samples.")
    parser.add_argument(
        "--labels",
        default=None,
        type=str,  # not "or None": that would read a class called null as left out
        help="balanced: equal counts of each class; natural: as the card declares; none: unconditional; or one class, "
        "by its name, or by its number where no class is called so (class:NAME and mode:WORD are always the one and "
        "the other). Left out: balanced, or none where the model is unconditional.",
    )
    parser.add_argument("--seed", type=int, default=0, help="Sample i of a seed always starts from the same noise.")
    parser.add_argument("--steps", type=int | None, default=None, help="Network calls a sample; the card's default.")
    parser.add_argument("--guidance", type=float, default=1.0, help="guidance_scale; 1 is plain conditional sampling.")
    of_ddpm = f"Of a DDPM or latent diffusion one of {', '.join(SAMPLERS)}"
    of_others = "of another family one of its own (an unknown name lists them)"
    parser.add_argument("--scheduler", type=str, default=None, help=f"{of_ddpm}; {of_others}.")
    parser.add_argument(
        "--batch-size", type=int | None, default=None, help="Samples a pass; 64 images or 4096 rows where left out."
    )
    parser.add_argument("--device", default="cpu", help="Where to compute: cpu, cuda, cuda:1, ...")
    parser.add_argument(ESCAPE, action="store_true", help=ESCAPE_HELP)
    parser.add_argument("--out", type=Path, required=True, help="Folder to make.")
    config = parser.parse_args(arguments)
    _check_sample(config)
    generator, identity = open_generator(config.model, device=config.device, scheduler=config.scheduler)
    refuse_escape(config.escape_formulas, generator)
    wanted = asked_labels(config.labels, generator.card)
    labels = plan_labels(wanted, config.count, generator.card)
    started = time.perf_counter()
    x = draw_samples(
        generator,
        labels,
        seed=config.seed,
        batch_size=config.batch_size,
        steps=config.steps,
        guidance=config.guidance,
    )
    seconds = time.perf_counter() - started
    drawn = Drawn(wanted.text, config.seed, config.steps, config.guidance)
    info = asked_info(generator, drawn, config.model, identity) | {"scheduler": config.scheduler}
    if isinstance(generator, TableGenerator):
        options = {"overwrite": config.overwrite, "escape": config.escape_formulas}
        write_table_samples(config.out, generator.schema, x, info, **options)
        say(*formula_notes(config.escape_formulas, generator))
    else:
        write_samples(config.out, x, labels, info, overwrite=config.overwrite)
    say(f"samples: {config.out} ({config.count} in {seconds:.1f} s)")
    if wanted.note:
        say(f"note:    {wanted.note}")
    return 0


def _check_sample(config: Namespace) -> None:
    if config.count < 1:
        raise UserError(f"--count is {config.count}: ask for at least 1 sample")
    check_number("--count", config.count, 1, MOST_SAMPLES)
    check_seed("--seed", config.seed)
    try:
        torch.zeros(1, device=config.device).item()  # a device without memory ("meta") is made, not read
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"--device {config.device} cannot be used here: choose cpu, or cuda where there is one"
        ) from error
    check_apart(config.out, config.model)
    check_new_folder(config.out, SAMPLES, overwrite=config.overwrite)


def mix(arguments: list[str]) -> int:
    """Choose a training set and write its manifest."""
    parser = _parser("mix", "Choose a training set and write its manifest; takes the configs and overrides of fit.")
    parser.add_argument("-c", "--config", action=ActionConfigFile, help="Config of fit; several merge, base first.")
    parser.add_subclass_arguments(LightningDataModule, "data", required=True)
    for ignored in IGNORED:
        parser.add_argument(f"--{ignored}", default=None, help="Ignored: a mix depends on the data alone.")
    parser.add_argument("--out", type=Path, required=True, help="Folder to make.")
    config = parser.parse_args(_data_alone(arguments))
    data = parser.instantiate(Namespace(data=config.data)).data
    if not isinstance(data, MixDataModule):
        raise UserError(f"{config.data.class_path} chooses no mix: use a config whose data is a MixDataModule")
    if isinstance(data.mix, Listed):
        check_apart(config.out, data.mix.manifest, "manifest")
    check_new_folder(config.out, MANIFEST, overwrite=config.overwrite)
    chosen = data.chosen_mix()
    chosen.write(config.out, overwrite=config.overwrite)
    say(f"mix:     {config.out} ({chosen.policy}, {len(chosen.choice.positions)} of {len(chosen.pool)} records)")
    say(f"records: {data.used}")
    for note in data.notes:
        say(f"note:    {note}")
    return 0


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


def _data_alone(arguments: list[str]) -> list[str]:
    """The arguments without overrides of what a mix does not depend on."""
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip and not argument.startswith("--"):
            skip = False
        elif argument.startswith("--") and argument[2:].split("=")[0].split(".")[0] in IGNORED:
            skip = "=" not in argument
        else:
            kept.append(argument)
            skip = False
    return kept
