"""A network a class: what is shared, what is not, and the way through fit, release and sample."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

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


def test_without_a_network_for_no_class_there_is_one_less_and_no_class_is_refused(tmp_path):
    network = ClasswiseUNet(3, 8, **SMALL, unconditional=False)
    assert len(network.networks) == 2
    x = torch.randn(2, 3, 8, 8)
    assert network(x, 5, class_labels=torch.tensor([0, 1])).sample.shape == x.shape
    with pytest.raises(UserError, match="none for 'no class': ask for classes .* at guidance 1"):
        network(x, 5, class_labels=torch.tensor([0, 2]))
    network.save_pretrained(tmp_path)
    again = ClasswiseUNet.from_pretrained(tmp_path, low_cpu_mem_usage=False)
    assert len(again.networks) == 2


@pytest.mark.parametrize("networks", [0, 1, 5000])
def test_a_number_that_makes_no_sense_is_refused(networks):
    with pytest.raises(UserError, match="a network for each class"):
        ClasswiseUNet(networks, 8, **SMALL)


def test_labels_are_needed(network):
    with pytest.raises(ValueError, match="each class has a network"):
        network(torch.randn(1, 3, 8, 8), 5)
    with pytest.raises(ValueError, match="must lie in 0..2"):
        network(torch.randn(1, 3, 8, 8), 5, class_labels=torch.tensor([3]))


OPTIONS = {
    "data.source.count": 120,
    "data.source.image_size": 8,
    "data.batch_size": 8,
    "trainer.max_steps": 2,
    "trainer.limit_val_batches": 1,
    "model.sampling_steps": 3,
    **{f"model.denoiser.{key}": json.dumps(value) for key, value in SMALL.items()},
}
WORDS = [
    *("--config", CONFIGS / "ddpm_faces.yaml", "--config", CONFIGS / "condition/per_class.yaml"),
    *(word for key, value in OPTIONS.items() for word in (f"--{key}", str(value))),
]


def test_every_record_trains_the_network_of_its_class_and_what_there_is_not_is_refused(
    run_cli, tmp_path
):
    outcome = run_cli("fit", *WORDS, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    release = tmp_path / "run" / "release"
    config = json.loads((release / "unet" / "config.json").read_text())
    assert (config["_class_name"], config["unconditional"]) == ("ClasswiseUNet", False)
    settings = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())["model"]["init_args"]
    assert settings["condition_dropout"] == 0
    for name, words in (("balanced", ["--labels", "balanced"]), ("one", ["--labels", 1])):
        outcome = run_cli(
            "sample", "--model", release, "--count", 4, *words, "--out", tmp_path / name
        )
        assert outcome.code == 0, outcome.err
        assert np.load(tmp_path / name / "samples.npz")["x"].shape == (4, 8, 8, 3)
    for name, words in (
        ("none", ["--labels", "none"]),
        ("guided", ["--labels", "balanced", "--guidance", 3]),
    ):
        outcome = run_cli(
            "sample", "--model", release, "--count", 4, *words, "--out", tmp_path / name
        )
        assert outcome.code == 2
        assert "none for 'no class'" in outcome.err
        assert not (tmp_path / name).exists()


def test_classes_can_be_hidden_where_there_is_a_network_for_it(run_cli, tmp_path):
    hidden = ["--model.condition_dropout", 0.5]
    outcome = run_cli("fit", *WORDS, *hidden, "--run-dir", tmp_path / "refused")
    assert outcome.code == 2
    assert "condition_dropout is 0.5, and model.denoiser has no network" in outcome.err
    outcome = run_cli(
        "fit",
        *WORDS,
        *hidden,
        "--model.denoiser.unconditional",
        "true",
        "--run-dir",
        tmp_path / "run",
    )
    assert outcome.code == 0, outcome.err
    arguments = ("--count", 4, "--labels", "none", "--out", tmp_path / "none")
    outcome = run_cli("sample", "--model", tmp_path / "run" / "release", *arguments)
    assert outcome.code == 0, outcome.err
