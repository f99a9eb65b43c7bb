"""The sharer's last step: a trained model becomes a release folder."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from diffshare.errors import UserError
from diffshare.generators.base import GenerativeModule
from diffshare.release.folder import Release, write_release
from diffshare.training.checkpoint import read_checkpoint


def export(
    module: GenerativeModule,
    folder: str | Path,
    *,
    declare_labels: bool | None = None,
    declare_counts: bool = False,
    overwrite: bool = False,
) -> Release:
    """Write a release of a model from the weights that it has now.

    Args:
        module: the trained model.
        folder: where to.
        declare_labels: put the class frequencies of the training set, in whole percent, into the
            card, for ``sample --labels natural``; where left out, all models do but those with an
            epsilon, which does not bound them.
        declare_counts: put the S x Y counts of the training set into the card.
        overwrite: replace a folder that holds something.
    """
    fields = module.card_fields(declare_labels=declare_labels, declare_counts=declare_counts)
    return write_release(folder, fields, module.save_parts, overwrite=overwrite)


def module_of_checkpoint(path: Path) -> GenerativeModule:
    """The model of a checkpoint that ``fit`` wrote, with its averaged weights where the run kept an average.

    A checkpoint is the sharer's own file; even so nothing in it is unpickled.

    Raises:
        UserError: no checkpoint, or not one of a generator.
    """
    checkpoint = read_checkpoint(path)
    config: dict[str, Any] | None = (checkpoint.get("diffshare") or {}).get("model")
    if not config:
        raise UserError(
            f"{path} is not a checkpoint of a generator, it names no model class: give the last.ckpt of a run of fit"
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(GenerativeModule, "model")
    try:
        module = parser.instantiate(parser.parse_object({"model": config})).model
    except Exception as error:
        raise UserError(
            f"{path} was trained as {config.get('class_path')}, which cannot be built here: give the last.ckpt of a "
            "generator that this version has trained"
        ) from error
    module.on_load_checkpoint(checkpoint)
    missing, unexpected = module.load_state_dict(checkpoint["state_dict"], strict=False)
    if missing or unexpected:
        raise UserError(
            f"{path} does not hold the weights of {config['class_path']} "
            f"({', '.join([*missing, *unexpected][:3])}, ...): give the last.ckpt of a run of fit"
        )
    if module.facts is not None:
        module.check(module.facts)
    return module.eval()
