"""The scheduler of a release."""

from collections.abc import Mapping

import diffusers.schedulers
import torch
from diffusers import SchedulerMixin

from diffshare.errors import UserError
from diffshare.received import shown
from diffshare.release.config import check_arguments, read_config
from diffshare.release.folder import Release


def load_scheduler(
    release: Release, name: str = "scheduler", own: Mapping[str, type[SchedulerMixin]] | None = None
) -> SchedulerMixin:
    """Build the scheduler that ``<name>/scheduler_config.json`` of a release describes.

    The class is one of ``own`` or of those that diffusers exports, looked up by exact name; no other code is imported.
    All numbers are bounded first (see ``check_arguments``).

    Args:
        release: an opened release.
        name: the part's folder.
        own: the family's schedulers that diffusers does not have, by class name.

    Raises:
        UserError: no such file, another class, an unknown or unbounded setting, or settings that do not fit together.
    """
    file = f"{name}/scheduler_config.json"
    where = str(release.folder / file)
    class_name, arguments = read_config(release, file)
    kind = (own or {}).get(class_name) or _exported(class_name)
    if kind is None:
        raise UserError(f"{where}: {shown(class_name)} is no scheduler of the installed diffusers")
    check_arguments(kind, arguments, where)
    betas, steps = arguments.get("trained_betas"), arguments.get("num_train_timesteps")
    if betas is not None and len(betas) != steps:
        raise UserError(
            f"{where}: 'trained_betas' must hold one number for each of the {shown(steps)} timesteps"
        )
    try:
        scheduler = kind(**arguments)
    except UserError as error:
        raise UserError(f"{where}: {error}") from error
    # a constructor may raise anything when its settings do not fit together
    except Exception as error:
        raise UserError(
            f"{where}: {class_name} cannot be built with these settings: {shown(str(error))}"
        ) from error
    check_levels(scheduler, where)
    return scheduler


def check_levels(scheduler: SchedulerMixin, where: str) -> None:
    """Refuse noise levels that are no numbers, or fewer than there are timesteps.

    Args:
        scheduler: any of diffusers or of ours.
        where: its name for the message.

    Raises:
        UserError: names what is wrong.
    """
    steps = getattr(scheduler, "config", {}).get("num_train_timesteps")
    for key in ("betas", "alphas_cumprod"):
        levels = torch.as_tensor(vars(scheduler).get(key, 0.0))
        if not bool(torch.isfinite(levels).all()):
            raise UserError(
                f"{where}: these settings give a '{key}' that is not finite: use others"
            )
        if levels.ndim and len(levels) != steps:
            raise UserError(
                f"{where}: 'trained_betas' must hold one number for each of the {steps} timesteps"
            )
        if levels.ndim and not bool(((levels >= 0) & (levels <= 1)).all()):
            raise UserError(f"{where}: these settings give a '{key}' outside [0, 1]: use others")


def _exported(name: str) -> type[SchedulerMixin] | None:
    """The scheduler of that name among those that diffusers exports; None where there is none."""
    kind = getattr(diffusers.schedulers, name, None) if name in dir(diffusers.schedulers) else None
    return (
        kind
        if isinstance(kind, type)
        and issubclass(kind, SchedulerMixin)
        and kind is not SchedulerMixin
        else None
    )
