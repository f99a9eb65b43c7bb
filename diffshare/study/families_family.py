"""One family of the families study, as its YAML names it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal


@dataclass
class Family:
    """One family of generator.

    Attributes:
        configs: of its ``fit``, base first.
        kind: what the summary compares.
        overrides: settings of ``fit`` over those of the study; its ``trainer.max_steps`` spends the budget.
        sampling_steps: of its samples; the study's where None.
        before: configs of what has to be trained first, once a seed on the clean set: the autoencoder of a latent
            model, whose run becomes ``model.vae``.
        before_overrides: settings of that training over those of the study.
    """

    configs: list[Path]
    kind: Literal["diffusion", "gan", "vae"] = "diffusion"
    overrides: dict[str, Any] | None = None
    sampling_steps: int | None = None
    before: list[Path] = field(default_factory=list)
    before_overrides: dict[str, Any] | None = None
