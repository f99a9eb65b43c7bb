"""What the protection study reads in the configs of its generator, with the overrides of its YAML over them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from diffshare.errors import UserError
from diffshare.sharer.protection.dp import told_rate
from diffshare.study.engine.configs import as_word, flat, merged, words
from diffshare.study.protection_model import PLAIN, REAL, Model, noise_multiplier

BASE = "diffshare.generators.ddpm.DDPM"


def check_least(numbers: Iterable[tuple[str, int, int]]) -> None:
    """Refuse a number below the least: (argument, number, least)."""
    for name, value, least in numbers:
        if value < least:
            raise UserError(f"study.{name} is {value}: it must be at least {least}")


def check_names(names: Iterable[str]) -> None:
    """Refuse a name that makes no folder, or stands for something else."""
    for name in names:
        if not name.replace("_", "").isalnum() or name in (REAL, PLAIN):
            raise UserError(
                f"study has '{name}': the name of a model, receiver or protection has letters, digits and _, it "
                f"becomes a folder, and is not '{REAL}' (records) or '{PLAIN}' (samples without protection)"
            )


class Settings:
    """The settings of the generator's ``fit``.

    Args:
        generator: configs, base first.
        overrides: dotted settings of all models.
        more: settings over all others.

    Raises:
        UserError: configs that cannot be read or name no source and target.
    """

    def __init__(self, generator: Sequence[Path], overrides: Mapping[str, Any], more: Mapping[str, Any]) -> None:
        self.config = merged(generator)
        self.overrides, self.more = dict(overrides), dict(more)
        self.data: dict[str, Any] = self.config.get("data", {}).get("init_args", {})
        if not {"source", "target"} <= self.data.keys():
            raise UserError("study.generator: data needs source and target; name a config of fit")

    def fit(self, model: Model) -> dict[str, Any]:
        """Overrides of the ``fit`` of a kind of model."""
        return self.overrides | dict(flat(model.overrides or {})) | self.more

    def noise(self, where: str, model: Model) -> float | None:
        """Noise multiplier of a kind of model; None where it is trained plainly.

        Raises:
            UserError: a bound that makes no sense with the model's settings; ``where`` says which.
        """
        if model.epsilon is None:
            return None
        if self.config.get("model", {}).get("class_path") != BASE:
            raise UserError(f"{where}: DP-SGD trains a {BASE.rpartition('.')[2]} alone; name a config of one")
        if not (model.epsilon > 0 and 0 < model.delta < 1):
            raise UserError(f"{where}: epsilon lies above 0 (leave it out for a plain training), delta between 0 and 1")
        settings = self.fit(model)
        batch = settings.get("data.batch_size", self.data.get("batch_size", 64))
        steps = settings.get("trainer.max_steps", self.config.get("trainer", {}).get("max_steps"))
        if not isinstance(steps, int) or steps < 1 or batch > model.n:
            raise UserError(f"{where}: epsilon needs trainer.max_steps, and a data.batch_size of at most n = {model.n}")
        return noise_multiplier(model.epsilon, told_rate(batch / model.n), steps, model.delta)

    def role(self, role: str) -> str | None:
        """The attribute that is the target, or the sensitive one, if any."""
        found = (self.overrides | self.more).get(f"data.{role}", self.data.get(role))
        return None if found is None else str(found)

    def source(self, prefix: str) -> dict[str, Any]:
        """The source, and what is laid over it, under another name than ``data.source``."""
        over = {k: v for k, v in (self.overrides | self.more).items() if k.startswith("data.source.")}
        return {prefix: self.data["source"]} | {prefix + k.removeprefix("data.source"): v for k, v in over.items()}

    def module(self, seed: int, target: str, source: Mapping[str, Any] | None = None, **block: Any) -> list[str]:
        """Words for a data module of the source.

        Args:
            seed: of the parts.
            target: attribute that is the class.
            source: settings of the source over all others.
            block: further arguments of the module.
        """
        init = {"source": self.data["source"], "target": target, "seed": seed} | block
        module = {"class_path": "diffshare.data.module.MixDataModule", "init_args": init}
        over = {k: v for k, v in self.source("data.source").items() if k != "data.source"}
        over |= {f"data.source.{key}": value for key, value in flat(source or {})}
        return ["--data", as_word(module), *words(over.items())]
