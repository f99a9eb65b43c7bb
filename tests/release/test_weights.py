"""Networks and schedulers of a release: equal to what was saved, or refused before anything large is built."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import diffusers.schedulers
import pytest
import safetensors.torch
import torch
from diffusers import (
    ConfigMixin,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    ModelMixin,
    SchedulerMixin,
    UNet2DModel,
)
from diffusers.configuration_utils import register_to_config
from diffusers.models.resnet import ResnetBlock2D
from torch import nn

from diffshare.errors import UserError
from diffshare.nets.classwise import ClasswiseUNet
from diffshare.release.building import bounded_building
from diffshare.release.folder import open_release, write_release
from diffshare.release.schedulers import load_scheduler
from diffshare.release.weights import load_part

ALLOWED = {"UNet2DModel": UNet2DModel}
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
FIELDS = {"family": "x", "modality": "image", "image_size": 8, "labels": [], "steps": 5}


class Counting(ModelMixin, ConfigMixin):
    """A network with a counter in its state and a table that is not in its state."""

    @register_to_config
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(width)
        self.register_buffer("table", torch.rand(width), persistent=False)
        self.register_buffer("squares", torch.arange(width) ** 2, persistent=False)


class Hidden(ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.table = torch.arange(width)


def test_a_network_comes_back_as_it_was(release: Path) -> None:
    network = load_part(open_release(release), "unet", ALLOWED)
    reference = UNet2DModel.from_config(UNet2DModel.load_config(release / "unet"))
    reference.load_state_dict(safetensors.torch.load_file(release / WEIGHTS))
    # torch rounds differently for weights that want gradients
    reference.eval().requires_grad_(False)
    x, t, y = torch.randn(2, 3, 8, 8), torch.tensor([1, 500]), torch.tensor([0, 1])
    with torch.no_grad():
        assert torch.equal(network(x, t, y).sample, reference(x, t, y).sample)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert {tensor.device.type for tensor in network.parameters()} == {"cpu"}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_widened(release: Path, hostile: ModuleType, dtype: torch.dtype) -> None:
    tensors = {k: v.to(dtype) for k, v in safetensors.torch.load_file(release / WEIGHTS).items()}
    safetensors.torch.save_file(tensors, release / WEIGHTS)
    hostile.sign(release)
    state = load_part(open_release(release), "unet", ALLOWED).state_dict()
    assert all(torch.equal(state[key], tensors[key].float()) for key in tensors)


def test_buffers_that_are_not_saved_are_filled(tmp_path: Path) -> None:
    network = Counting()
    network.norm(torch.randn(8, 3))
    opened = write_release(
        tmp_path / "r", FIELDS, lambda folder: network.save_pretrained(folder / "net")
    )
    before = torch.get_rng_state()
    loaded = load_part(opened, "net", {"Counting": Counting})
    assert torch.equal(torch.get_rng_state(), before)
    assert loaded.squares.tolist() == [0, 1, 4]
    assert torch.isfinite(loaded.table).all()
    assert loaded.norm.num_batches_tracked == 1
    assert loaded.norm.num_batches_tracked.dtype == torch.int64
    assert torch.equal(loaded.norm.running_mean, network.norm.running_mean)


def test_building_ends_where_the_file_cannot_fill_it(
    tmp_path: Path, hostile: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings of a thousand networks of 16 blocks of 32 layers, beside the weights of three small ones."""
    small = {"norm_num_groups": 4, "layers_per_block": 1, "add_attention": False}
    small |= {
        "block_out_channels": (8,),
        "down_block_types": ("DownBlock2D",),
        "up_block_types": ("UpBlock2D",),
    }
    network = ClasswiseUNet(3, 8, **small)
    write_release(tmp_path / "r", FIELDS, lambda folder: network.save_pretrained(folder / "unet"))
    file = tmp_path / "r" / "unet" / "config.json"
    large = {"num_class_embeds": 1001, "layers_per_block": 32, "block_out_channels": [8] * 16}
    large |= {"down_block_types": ["DownBlock2D"] * 16, "up_block_types": ["UpBlock2D"] * 16}
    made: list[int] = []
    init = ResnetBlock2D.__init__

    def counted(self: Any, *args: Any, **options: Any) -> None:
        made.append(1)
        init(self, *args, **options)

    monkeypatch.setattr(ResnetBlock2D, "__init__", counted)
    for changes in (large, {"num_class_embeds": 1001}, {**large, "num_class_embeds": 3}):
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
        hostile.sign(tmp_path / "r")
        made.clear()
        with pytest.raises(UserError, match="many more tensors than the"):
            load_part(open_release(tmp_path / "r"), "unet", {"ClasswiseUNet": ClasswiseUNet})
        # of 1,600 blocks of residual layers a network, and a thousand networks
        assert len(made) < 300


def test_a_part_without_weights_is_refused(release: Path, hostile: ModuleType) -> None:
    (release / WEIGHTS).unlink()
    hostile.sign(release)
    with pytest.raises(UserError, match=f"has no {WEIGHTS}"):
        load_part(open_release(release), "unet", ALLOWED)


class Layers(ModelMixin, ConfigMixin):
    @register_to_config
    def __init__(self, layers: int = 3) -> None:
        super().__init__()
        self.end = nn.Linear(2, 2)
        self.inner = nn.Sequential(*(nn.Dropout() for _ in range(layers)))


def test_layers_without_weights_count_too(tmp_path: Path, hostile: ModuleType) -> None:
    opened = write_release(
        tmp_path / "r", FIELDS, lambda folder: Layers(8000).save_pretrained(folder / "net")
    )
    with pytest.raises(UserError, match="many more tensors"):
        load_part(opened, "net", {"Layers": Layers})
    opened = write_release(
        tmp_path / "s", FIELDS, lambda folder: Layers(300).save_pretrained(folder / "net")
    )
    assert len(load_part(opened, "net", {"Layers": Layers}).inner) == 300


def test_a_network_that_another_thread_builds_does_not_count() -> None:
    with bounded_building(1):
        thread = threading.Thread(
            target=lambda: nn.Sequential(*(nn.Linear(1, 1) for _ in range(1000)))
        )
        thread.start()
        thread.join()
        nn.Linear(1, 1)
        with pytest.raises(UserError, match="than the 1 of its weights"):
            nn.Sequential(*(nn.Linear(1, 1) for _ in range(1000)))
    nn.Sequential(*(nn.Linear(1, 1) for _ in range(1000)))


def test_tensors_outside_the_state_are_refused(tmp_path: Path) -> None:
    opened = write_release(
        tmp_path / "r", FIELDS, lambda folder: Hidden().save_pretrained(folder / "net")
    )
    with pytest.raises(UserError, match="Hidden keeps tensors outside its state"):
        load_part(opened, "net", {"Hidden": Hidden})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"_class_name": "AutoencoderKL"}, "unknown network in .*'AutoencoderKL': choose one of UNet2DModel"),
        ({"_class_name": ["UNet2DModel"]}, "names no class"),
        ({"auto_map": {"AutoModel": "evil.Net"}}, "refused the key 'auto_map'"),
        ({"quantization_config": {}}, "refused the key 'quantization_config'"),
        ({"_private": 1}, "refused the key '_private'"),
        ({"in_channels": 8193}, "'in_channels' must be a plain value .an integer from 0 to 8192"),
        ({"in_channels": -1}, "'in_channels' must be"),
        ({"layers_per_block": 33}, "'layers_per_block' must be .*from 0 to 32"),
        ({"block_out_channels": [4] * 17}, "'block_out_channels' must be a list of at most 16 values"),
        ({"block_out_channels": [[4] * 17]}, "'block_out_channels' must be a list of at most 16 values"),
        ({"block_out_channels": [[[4]]]}, "'block_out_channels' must be a list of plain values"),
        ({"block_out_channels": [4, 10**12]}, "'block_out_channels' must be"),
        ({"norm_eps": 1e300}, "'norm_eps' must be"),
        ({"norm_eps": float("-inf")}, "'norm_eps' must be"),
        ({"norm_eps": float("nan")}, "not valid JSON"),
        ({"act_fn": "\x1b[2J"}, "'act_fn' must be"),
        ({"act_fn": "nonsense"}, "UNet2DModel cannot be built with these settings"),
        ({"norm_num_groups": 3}, "UNet2DModel cannot be built with these settings"),
        ({"block_out_channels": [8192, 8192]}, "more than the 2500000000 that are loaded"),
        ({"block_out_channels": [4, 16]}, "must have the shape"),
        ({"layers_per_block": 2}, "lacks weights of the network"),
        ({"num_class_embeds": None}, "has weights that the network lacks: 'class_embedding.weight'"),
    ],
)  # fmt: skip
def test_a_configuration_that_does_not_fit_is_refused(
    edit: Callable[..., Path], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as caught:
        load_part(open_release(edit("unet/config.json", **values)), "unet", ALLOWED)
    assert str(caught.value).isprintable()


def test_the_number_of_parameters_is_bounded(release: Path) -> None:
    with pytest.raises(UserError, match="parameters, more than the 1000 that are loaded"):
        load_part(open_release(release), "unet", ALLOWED, max_parameters=1000)


def test_a_part_that_is_not_there_is_named(release: Path) -> None:
    with pytest.raises(UserError, match=r"has no vae/config\.json"):
        load_part(open_release(release), "vae", ALLOWED)


def test_another_paths_are_ignored(edit: Callable[..., Path]) -> None:
    opened = open_release(edit("unet/config.json", _name_or_path="someone/else"))
    assert "_name_or_path" not in load_part(opened, "unet", ALLOWED).config


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(
    release: Path, hostile: ModuleType, value: float
) -> None:
    tensors = safetensors.torch.load_file(release / WEIGHTS)
    tensors["conv_in.bias"][1] = value
    safetensors.torch.save_file(tensors, release / WEIGHTS)
    hostile.sign(release)
    with pytest.raises(UserError, match=r"the weights conv_in\.bias are not all finite"):
        load_part(open_release(release), "unet", ALLOWED)


def _drop(header: dict[str, Any]) -> None:
    del header["conv_in.bias"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop, "lacks weights of the network: 'conv_in.bias'"),
        (lambda h: h.update(evil=h["conv_in.bias"]), "has weights that the network lacks: 'evil'"),
        (
            lambda h: h["conv_in.bias"].update(dtype="F64"),
            "conv_in.bias must be of type F32 or F16 or BF16, not 'F64'",
        ),
        (lambda h: h["conv_in.bias"].update(dtype=["F32"]), "conv_in.bias must be of type"),
        (
            lambda h: h["conv_in.bias"].update(shape=[5]),
            r"conv_in.bias must have the shape \[4\], not \[5\]",
        ),
        (lambda h: h.update({"conv_in.bias": 3}), "conv_in.bias must have the shape"),
        (lambda h: h["conv_in.bias"].update(data_offsets=[0, 2**63]), "is no safetensors file"),
        (lambda h: h["conv_in.bias"].update(data_offsets=[0, 16]), "is no safetensors file"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(
    release: Path, hostile: ModuleType, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    data = (release / WEIGHTS).read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    (release / WEIGHTS).write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    hostile.sign(release)
    with pytest.raises(UserError, match=message):
        load_part(open_release(release), "unet", ALLOWED)


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 8, (2**40).to_bytes(8, "little") + b"{}", bytes(8)]
)
def test_a_header_of_a_wrong_length_is_refused(
    release: Path, hostile: ModuleType, data: bytes
) -> None:
    (release / WEIGHTS).write_bytes(data)
    hostile.sign(release)
    with pytest.raises(UserError, match="is no safetensors file: its header is"):
        load_part(open_release(release), "unet", ALLOWED)


def test_a_file_larger_than_the_network_is_not_read(release: Path, hostile: ModuleType) -> None:
    with (release / WEIGHTS).open("ab") as stream:
        stream.truncate(1 << 20)
    hostile.sign(release)
    with pytest.raises(UserError, match="larger than"):
        load_part(open_release(release), "unet", ALLOWED)


def test_weights_that_change_after_opening_are_refused(release: Path) -> None:
    opened = open_release(release)
    data = bytearray((release / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (release / WEIGHTS).write_bytes(data)
    with pytest.raises(UserError, match="does not have the hash"):
        load_part(opened, "unet", ALLOWED)


@pytest.mark.parametrize(
    "name",
    [
        "DDIMScheduler",
        "DPMSolverMultistepScheduler",
        "EDMEulerScheduler",
        "ScoreSdeVeScheduler",
        "FlowMatchEulerDiscreteScheduler",
        "UniPCMultistepScheduler",
    ],
)
def test_schedulers_come_back_as_they_were(tmp_path: Path, name: str) -> None:
    scheduler = getattr(diffusers.schedulers, name)()
    opened = write_release(
        tmp_path / "r", FIELDS, lambda folder: scheduler.save_pretrained(folder / "scheduler")
    )
    loaded = load_scheduler(opened)
    assert type(loaded) is type(scheduler)
    assert isinstance(loaded, SchedulerMixin)
    kept = {k: v for k, v in scheduler.config.items() if not k.startswith("_")}
    assert {k: v for k, v in loaded.config.items() if not k.startswith("_")} == json.loads(
        json.dumps(kept)
    )


def test_trained_betas_are_kept(tmp_path: Path) -> None:
    betas = torch.linspace(1e-4, 0.5, 20).tolist()
    scheduler = DDIMScheduler(num_train_timesteps=20, trained_betas=betas)
    opened = write_release(
        tmp_path / "r", FIELDS, lambda folder: scheduler.save_pretrained(folder / "scheduler")
    )
    assert torch.equal(load_scheduler(opened).alphas_cumprod, scheduler.alphas_cumprod)


def test_lambda_min_clipped_may_be_infinite(tmp_path: Path) -> None:
    opened = write_release(
        tmp_path / "r",
        FIELDS,
        lambda folder: DPMSolverMultistepScheduler().save_pretrained(folder / "scheduler"),
    )
    assert load_scheduler(opened).config.lambda_min_clipped == float("-inf")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"_class_name": "UNet2DModel"},
            "'UNet2DModel' is no scheduler of the installed diffusers",
        ),
        ({"_class_name": "SchedulerMixin"}, "is no scheduler"),
        ({"_class_name": "scheduling_utils"}, "is no scheduler"),
        ({"_class_name": "AysSchedules"}, "is no scheduler"),
        ({"_class_name": "__doc__"}, "is no scheduler"),
        ({"num_train_timesteps": 10_001}, "'num_train_timesteps' must be .* from 0 to 10000"),
        ({"num_train_timesteps": 10**30}, "'num_train_timesteps' must be"),
        ({"beta_end": 1.5}, "'beta_end' must be a number between 0 and 1"),
        ({"beta_start": 0}, "'beta_start' must be a number between 0 and 1"),
        ({"trained_betas": [0.1] * 10_001}, "'trained_betas' must be at most 10000 numbers"),
        ({"trained_betas": [0.1, 2.0]}, "'trained_betas' must be at most 10000 numbers"),
        (
            {"trained_betas": [0.1, 0.2]},
            "'trained_betas' must hold one number for each of the 1000 timesteps",
        ),
        ({"trained_betas": "linear"}, "'trained_betas' must"),
        ({"trained_betas": 5}, "'trained_betas' must"),
        ({"beta_schedule": "nonsense"}, "DDPMScheduler cannot be built with these settings"),
        ({"auto_map": {}}, "refused the key 'auto_map'"),
        ({"clip_sample_range": float("-inf")}, "'clip_sample_range' must be"),
    ],
)
def test_a_scheduler_that_does_not_fit_is_refused(
    edit: Callable[..., Path], values: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        load_scheduler(open_release(edit("scheduler/scheduler_config.json", **values)))
