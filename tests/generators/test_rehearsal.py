"""Settings of networks, schedulers and optimisers that cannot work are refused before the first step, in one line."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from torch import nn

from diffshare.data.recordsets import RecordSet
from diffshare.errors import UserError
from diffshare.generators.base import Facts
from diffshare.generators.ddpm import DDPM
from diffshare.generators.diffusion import sampling_scheduler
from diffshare.generators.edm import EDM
from diffshare.generators.rehearsal import rehearse
from diffshare.generators.tabular import TabularDDPM
from diffshare.generators.vae import VAE
from diffshare.nets.tabular import TableDenoiser
from diffshare.training.rates import optimizer_and_rate


def unet(**options: Any) -> UNet2DModel:
    """A network of a few thousand weights for 8x8 images of two classes."""
    torch.manual_seed(0)
    settings = {
        "sample_size": 8,
        "layers_per_block": 1,
        "block_out_channels": (8, 8),
        "norm_num_groups": 4,
        "down_block_types": ("DownBlock2D", "DownBlock2D"),
        "up_block_types": ("UpBlock2D", "UpBlock2D"),
        "add_attention": False,
        "num_class_embeds": 3,
    }
    return UNet2DModel(**settings | options)


def data() -> Any:
    x = np.zeros((4, 8, 8, 3), np.uint8)
    return SimpleNamespace(
        sets={"train": RecordSet(x, np.arange(4), np.arange(4) % 2, np.full(4, -1))}
    )


def rehearsed(module: Any) -> Any:
    module.facts = Facts(("a", "b"), (3, 8, 8), (2, 2), None)
    module.check(module.facts)
    rehearse(module, data())
    return module


def test_a_rehearsal_leaves_no_trace() -> None:
    module = DDPM(unet(dropout=0.5))
    module.denoiser.train()
    module.denoiser.mid_block.eval()  # whoever froze a part finds it frozen
    before = {name: value.clone() for name, value in module.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    rehearsed(module)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())
    assert module.denoiser.training
    assert not module.denoiser.mid_block.training
    assert all(p.grad is None for p in module.parameters())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"class_embed_type": "identity"},
            "cannot compute a loss with these settings .*size of tensor",
        ),
        (
            {"class_embed_type": "other"},
            "cannot compute a loss .*class_embedding needs to be initialized",
        ),
        (
            {"down_block_types": ("KDownBlock2D", "DownBlock2D")},
            "cannot compute a loss .*division or modulo by zero",
        ),
        (
            {"down_block_types": ("DownBlock2D", "DownEncoderBlock2D")},
            "cannot compute a loss .*can only concatenate",
        ),
        ({"up_block_types": ("UpBlock2D", "UpDecoderBlock2D")}, "cannot compute a loss"),
        ({"downsample_padding": 3}, "cannot compute a loss .*Sizes of tensors must match"),
        ({"norm_eps": -1.0}, "has a loss of nan before its first step: mend the settings"),
        ({"mid_block_scale_factor": 0.0}, "has a loss of nan before its first step"),
        (
            {"num_train_timesteps": 10**5},
            "model.denoiser: 'num_train_timesteps' must be a plain value",
        ),
    ],
)
def test_settings_of_a_network(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        rehearsed(DDPM(unet(**options)))
    assert "\n" not in str(refused.value)


SENSELESS = "LogSnrSolver does not sample with the settings of this DDPMScheduler .*"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"beta_schedule": "sigmoid"}, SENSELESS + "sigmoid is not implemented"),
        ({"num_train_timesteps": 0}, SENSELESS + "size 0"),
        (
            {"num_train_timesteps": 3, "trained_betas": [0.1, 2.0, 0.1]},
            SENSELESS + "values that are not finite",
        ),
        ({"beta_start": -1.0}, SENSELESS + "values that are not finite"),
        ({"prediction_type": "sample"}, "it predicts 'sample': use epsilon or v_prediction"),
        (
            {"rescale_betas_zero_snr": True},
            "ends in noise alone .*set prediction_type to v_prediction",
        ),
        ({"num_train_timesteps": 10, "trained_betas": [0.1] * 9 + [1.0]}, "ends in noise alone"),
        ({"beta_end": 2.0}, "ends in noise alone"),
        (
            {"beta_end": 2.0, "prediction_type": "v_prediction"},
            "'beta_end' must be a number between 0 and 1, not 2.0",
        ),
        (
            {"num_train_timesteps": 50, "trained_betas": [0.1] * 40},
            "one number for each of the 50 timesteps",
        ),
        (
            {"num_train_timesteps": 40, "trained_betas": [0.1] * 50},
            "one number for each of the 40 timesteps",
        ),
    ],
)
def test_settings_of_a_scheduler(options: dict[str, Any], message: str) -> None:
    """What the scheduler of the training would fail at, or what no receiver could sample with."""
    with pytest.raises(UserError, match=message) as refused:
        rehearsed(DDPM(unet(), DDPMScheduler(**options), sampling_steps=2, min_snr_gamma=5.0))
    assert "\n" not in str(refused.value)


def test_noise_alone_can_be_learnt_from_by_velocity() -> None:
    scheduler = DDPMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    module = rehearsed(DDPM(unet(), scheduler, min_snr_gamma=5.0))
    x, times = torch.zeros(1, 3, 8, 8), torch.tensor([999])
    assert torch.isfinite(module.losses(x, torch.tensor([0]), torch.randn(x.shape), times)).all()


def test_a_scheduler_without_levels_is_not_taken_for_none() -> None:
    """diffusers' schedulers have a length: one of no timesteps is false, and was replaced by the default."""
    with pytest.raises(UserError, match="does not sample"):
        DDPM(unet(), DDIMScheduler(num_train_timesteps=0))


def test_a_named_scheduler_that_a_receiver_asks_for_is_tried() -> None:
    trained = DDPMScheduler(variance_type="learned")
    assert type(sampling_scheduler(trained)).__name__ == "LogSnrSolver"
    with pytest.raises(
        UserError, match="DDPMScheduler does not sample with the settings of this DDPMScheduler"
    ):
        sampling_scheduler(trained, "DDPMScheduler")


def test_other_families_are_rehearsed_too() -> None:
    with pytest.raises(UserError, match="model EDM has a loss of nan before its first step"):
        rehearsed(EDM(unet(), p_mean=1000.0))
    with pytest.raises(UserError, match="width is 0: a whole number from 1 to 8192"):
        TableDenoiser(3, width=0)
    with pytest.raises(UserError, match="noise levels do not rise"):
        TabularDDPM(scheduler=DDPMScheduler(rescale_betas_zero_snr=True))


def test_a_network_that_is_made_of_the_data(monkeypatch: pytest.MonkeyPatch) -> None:
    def network(channels: int, size: int, classes: int | None) -> nn.Module:
        raise ZeroDivisionError("integer modulo by zero")

    module = VAE(network)
    from diffshare.data.module import MixDataModule
    from diffshare.generators import fitted

    blank = MixDataModule.__new__(MixDataModule)
    monkeypatch.setattr(type(module), "check_modality", lambda self, data: None)
    monkeypatch.setattr(fitted, "describe", lambda data: Facts(("a", "b"), (3, 8, 8), (2, 2), None))
    module._trainer = SimpleNamespace(datamodule=blank)
    with pytest.raises(
        UserError,
        match="the network of VAE cannot be made: integer modulo by zero; mend its settings",
    ):
        module.configure_model()


# --- optimisers ------------------------------------------------------------------------------------------------------


def configured(optimizer: Any) -> Any:
    module: Any = nn.Linear(2, 2)
    module.trainer = SimpleNamespace(estimated_stepping_batches=5)
    return optimizer_and_rate(module, optimizer, "constant", 0)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("AdamW", {"lr": -1.0}, "model.optimizer cannot be set up: Invalid learning rate"),
        ("AdamW", {"lr": 0.0}, "its step leaves the weights as they are, is its lr 0"),
        (
            "AdamW",
            {"fused": True, "foreach": True},
            "'fused' and 'foreach' cannot be 'True' together",
        ),
        ("AdamW", {"capturable": True, "foreach": True}, "capturable=True"),
        ("AdamW", {"differentiable": True, "foreach": True}, "don't support autograd"),
        ("SparseAdam", {}, "does not support dense gradients"),
        ("LBFGS", {}, "LBFGS computes the loss several times a step"),
    ],
)
def test_optimisers_that_cannot_train(kind: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        configured(lambda p: getattr(torch.optim, kind)(p, **options))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "kind", ["AdamW", "SGD", "RMSprop", "Adagrad", "Adadelta", "NAdam", "RAdam", "Rprop", "ASGD"]
)
def test_optimisers_that_can(kind: str) -> None:
    options = {"lr": 0.1} if kind == "SGD" else {}
    made = configured(lambda p: getattr(torch.optim, kind)(p, **options))["optimizer"]
    # the trial was on weights of its own
    assert not any(state.get("step", 0) > 0 for state in made.state.values())
