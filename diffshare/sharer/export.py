"""The sharer's last step: a trained model becomes a release folder."""

import contextlib
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from diffshare.errors import UserError
from diffshare.generators.base import GenerativeModule
from diffshare.received import shown
from diffshare.release.folder import Release, write_release
from diffshare.training.checkpoint import read_checkpoint
from diffshare.training.imports import installed_only


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
            card, for ``labels`` natural; where left out, all models do but those with an
            epsilon, which does not bound them.
        declare_counts: put the S x Y counts of the training set into the card.
        overwrite: replace a release.
    """
    fields = module.card_fields(declare_labels=declare_labels, declare_counts=declare_counts)
    return write_release(folder, fields, module.save_parts, overwrite=overwrite)


def module_of_checkpoint(path: Path, *, trust_code: bool = False) -> GenerativeModule:
    """The model of a checkpoint that ``fit`` wrote, with its averaged weights where the run kept an average.

    A checkpoint is the sharer's own file; even so nothing in it is unpickled, and of the classes that it names those
    of diffshare and of installed packages alone are imported.

    Args:
        path: the checkpoint.
        trust_code: import any class that it names, which runs the code of its module.

    Raises:
        UserError: no checkpoint, not one of a generator, or one that names a class from elsewhere.
    """
    checkpoint = read_checkpoint(path)
    saved = checkpoint.get("diffshare")
    config: Any = saved.get("model") if isinstance(saved, dict) else None
    if not isinstance(config, dict) or not config:
        raise UserError(
            f"{path} is not a checkpoint of a generator, it names no model class: give the last.ckpt of a run of fit"
        )
    if not checkpoint["global_step"]:
        raise UserError(
            f"{path} is of a training that has made no step: go on with it, or give another last.ckpt"
        )
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(GenerativeModule, "model")
    try:
        with contextlib.nullcontext() if trust_code else installed_only(config, str(path)):
            module = parser.instantiate(parser.parse_object({"model": config})).model
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"{path} was trained as {config.get('class_path')}, which cannot be built here: give the last.ckpt of a "
            "generator that this version has trained"
        ) from error
    try:
        _load(module, checkpoint, f"{path} does not hold the weights of {config['class_path']}")
    except UserError:
        raise
    except Exception as error:  # what somebody else wrote into it may be of any type
        raise UserError(
            f"{path} does not fit the model that it names ({shown(str(error))}): give the last.ckpt of a run"
        ) from error
    return module.eval()


def _load(module: GenerativeModule, checkpoint: dict[str, Any], refusal: str) -> None:
    module.on_load_checkpoint(checkpoint)
    missing, unexpected = module.load_state_dict(checkpoint["state_dict"], strict=False)
    if missing or unexpected:
        raise UserError(
            f"{refusal} ({', '.join([*missing, *unexpected][:3])}, ...): give the last.ckpt of a run of fit"
        )
    if module.facts is not None:
        module.check(module.facts)
