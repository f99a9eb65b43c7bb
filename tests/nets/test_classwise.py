"""A network a class: what is shared, what is not, and the way through fit, release and sample."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffshare.errors import UserError
from diffshare.nets.classwise import ClasswiseUNet

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL: dict[str, Any] = {
    "block_out_channels": (8, 8),
    "down_block_types": ("DownBlock2D",) * 2,
    "up_block_types": ("UpBlock2D",) * 2,
    "layers_per_block": 1,
    "norm_num_groups": 4,
    "add_attention": False,
}


@pytest.fixture
def network() -> ClasswiseUNet:
    torch.manual_seed(0)
    return ClasswiseUNet(3, 8, **SMALL)


def test_a_record_goes_through_the_network_of_its_class_alone(network):
    x, times = torch.randn(5, 3, 8, 8), torch.tensor([3, 700, 20, 1, 999])
    labels = torch.tensor([2, 0, 1, 0, 2])
    made = network(x, times, class_labels=labels).sample
    for i, label in enumerate(labels.tolist()):
        alone = network.networks[label](x[i : i + 1], times[i : i + 1]).sample
        torch.testing.assert_close(made[i : i + 1], alone)


def test_one_time_serves_all_records(network):
    x, labels = torch.randn(3, 3, 8, 8), torch.tensor([0, 1, 2])
    one = network(x, 7, class_labels=labels).sample
    torch.testing.assert_close(one, network(x, torch.tensor([7, 7, 7]), class_labels=labels).sample)


def test_a_class_trains_no_other_class(network):
    x = torch.randn(4, 3, 8, 8)
    network(x, 5, class_labels=torch.ones(4, dtype=torch.long)).sample.square().mean().backward()
    trained = [any(p.grad is not None for p in one.parameters()) for one in network.networks]
    assert trained == [False, True, False]


def test_settings_and_weights_come_back(network, tmp_path):
    network.save_pretrained(tmp_path)
    again = ClasswiseUNet.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    torch.testing.assert_close(again.state_dict(), network.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("networks", [0, 1, 5000])
def test_a_number_that_makes_no_sense_is_refused(networks):
    with pytest.raises(UserError, match="a network for each class"):
        ClasswiseUNet(networks, 8, **SMALL)


def test_labels_are_needed(network):
    with pytest.raises(ValueError, match="each class has a network"):
        network(torch.randn(1, 3, 8, 8), 5)
    with pytest.raises(ValueError, match="must lie in 0..2"):
        network(torch.randn(1, 3, 8, 8), 5, class_labels=torch.tensor([3]))


def test_it_trains_and_is_released_and_sampled_as_any_other(run_cli, tmp_path):
    options = {
        "data.source.count": 120,
        "data.source.image_size": 8,
        "data.batch_size": 8,
        "trainer.max_steps": 2,
        "trainer.limit_val_batches": 1,
        "model.sampling_steps": 3,
        **{f"model.denoiser.{key}": json.dumps(value) for key, value in SMALL.items()},
    }
    words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
    configs = ["--config", CONFIGS / "ddpm_faces.yaml", "--config", CONFIGS / "condition/per_class.yaml"]
    outcome = run_cli("fit", *configs, *words, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    release = tmp_path / "run" / "release"
    assert json.loads((release / "unet" / "config.json").read_text())["_class_name"] == "ClasswiseUNet"
    for labels in ("balanced", "none"):
        arguments = ("--count", 4, "--labels", labels, "--out", tmp_path / labels)
        outcome = run_cli("sample", "--model", release, *arguments)
        assert outcome.code == 0, outcome.err
        assert np.load(tmp_path / labels / "samples.npz")["x"].shape == (4, 8, 8, 3)
