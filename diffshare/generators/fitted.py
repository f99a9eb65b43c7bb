"""Generators whose network is made once the data is known: its sizes follow from them."""

from typing import Any

from diffshare.data.module import MixDataModule
from diffshare.errors import UserError, reason_of
from diffshare.generators.base import Facts, GenerativeModule, describe


class FittedModule(GenerativeModule):
    """Base of such generators. A family gives ``build`` in place of a network that is there from the start."""

    def build(self, facts: Facts) -> None:
        """Make the network for this data, unless there is one that fits.

        Raises:
            UserError: no network of these settings fits.
        """
        raise NotImplementedError

    def configure_model(self) -> None:
        """Make the network, before weights are averaged or loaded."""
        data = getattr(self._trainer, "datamodule", None)
        if isinstance(data, MixDataModule):
            self.check_modality(data)
            facts = describe(data)
            try:
                self.build(facts)
            except UserError:
                raise
            except (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError) as error:
                reason = reason_of(error)
                raise UserError(
                    f"the network of {type(self).__name__} cannot be made: {reason:.160}; mend its settings"
                ) from error

    def setup(self, stage: str) -> None:
        """Learn from the data module what is trained on."""
        self.configure_model()
        super().setup(stage)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Make the network that the checkpoint's weights are for."""
        super().on_load_checkpoint(checkpoint)
        if self.facts is not None:
            self.build(self.facts)
