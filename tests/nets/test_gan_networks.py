"""The networks of the GANs: norms, classes, sizes."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize

from diffshare.errors import UserError
from diffshare.nets.gan import ClassBatchNorm, ResnetDiscriminator, ResnetGenerator


def discriminator(**settings: Any) -> ResnetDiscriminator:
    torch.manual_seed(0)
    return ResnetDiscriminator(
        **({"block_out_channels": (8, 12), "num_class_embeds": 3, "rotations": True} | settings)
    )


def generator(**settings: Any) -> ResnetGenerator:
    torch.manual_seed(0)
    return ResnetGenerator(
        **({"sample_size": 8, "latent_dim": 5, "block_out_channels": (12, 8)} | settings)
    )


def largest(weight: torch.Tensor) -> float:
    return float(np.linalg.svd(weight.detach().double().flatten(1).numpy(), compute_uv=False)[0])


def test_the_largest_singular_value_of_every_weight_is_one() -> None:
    network = discriminator()
    layers = [layer for layer in network.modules() if parametrize.is_parametrized(layer)]
    assert len(layers) == 2 * 3 + 3  # of two blocks, and three heads
    assert sum(
        isinstance(layer, nn.Conv2d | nn.Linear | nn.Embedding) for layer in network.modules()
    ) == len(layers)
    x, labels = torch.rand(2, 3, 8, 8) * 2 - 1, torch.tensor([0, 2])
    network(x, labels, x)
    assert [largest(layer.weight) for layer in layers] == pytest.approx([1] * len(layers), abs=0.02)
    for layer in layers:
        with torch.no_grad():  # as an optimiser would change them, though further
            layer.parametrizations.weight.original.mul_(3).add_(
                0.02 * torch.randn_like(layer.weight)
            )
    for _ in range(100):  # one iteration of the power method a pass
        network(x, labels, x)
    assert [largest(layer.weight) for layer in layers] == pytest.approx([1] * len(layers), abs=1e-3)


def test_each_weight_is_normalised_once_a_pass_in_fp32_and_not_refined_in_evaluation() -> None:
    network, seen = discriminator(), []
    norms = [
        layer.parametrizations.weight[0]
        for layer in network.modules()
        if parametrize.is_parametrized(layer)
    ]
    for norm in norms:
        norm.register_forward_hook(lambda *_: seen.append(torch.is_autocast_enabled("cpu")))
    x = torch.zeros(2, 3, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        scores, logits = network(x, torch.tensor([0, 1]), x)
    assert seen == [False] * len(norms)
    assert logits is not None
    assert (scores.dtype, logits.dtype) == (torch.float32, torch.float32)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    network.eval()(x, torch.tensor([0, 1]))
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_score_of_a_class_is_the_projection_on_its_embedding() -> None:
    network = discriminator().eval()
    x = torch.rand(4, 3, 8, 8) * 2 - 1
    with torch.no_grad():
        features = F.relu(network.blocks(x)).sum((2, 3))
        assert network.classes is not None
        for label in range(3):
            scores, logits = network(x, torch.full((4,), label))
            expected = [
                float(
                    network.score.bias
                    + (network.score.weight[0] + network.classes.weight[label]) @ row
                )
                for row in features
            ]
            assert scores.tolist() == pytest.approx(expected, abs=1e-4)
            assert logits is None
        turned = network(x, torch.zeros(4, dtype=torch.long), x.flip(0))[1]
        torch.testing.assert_close(turned, network.turn(features).flip(0), atol=1e-5, rtol=1e-4)


def test_a_block_halves_and_doubles_as_the_paper_draws_it() -> None:
    down = discriminator().blocks[1].eval()
    x = torch.randn(2, 8, 6, 6)
    with torch.no_grad():
        plain = F.avg_pool2d(down.conv2(F.relu(down.conv1(F.relu(x)))) + down.shortcut(x), 2)
        torch.testing.assert_close(down(x), plain, atol=1e-5, rtol=1e-4)
        up, labels = generator().blocks[0].eval(), torch.zeros(2, dtype=torch.long)
        x = torch.randn(2, 12, 3, 3)
        large = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        first = up.conv1(
            F.relu(up.norm1(x, labels)).repeat_interleave(2, 2).repeat_interleave(2, 3)
        )
        plain = up.conv2(F.relu(up.norm2(first, labels))) + up.shortcut(large)
        torch.testing.assert_close(up(x, labels), plain, atol=1e-5, rtol=1e-4)


def test_batch_norm_scales_by_class_and_keeps_statistics_where_an_average_of_weights_finds_them() -> (
    None
):
    norm = ClassBatchNorm(3, 2, momentum=0.1)
    assert [name for name, p in norm.named_parameters() if not p.requires_grad] == [
        "mean",
        "variance",
    ]
    assert not list(norm.buffers())
    with torch.no_grad():
        norm.scale.weight.copy_(torch.tensor([[1.0, 2, 3], [4, 5, 6]]))
        norm.shift.weight[1] = 7.0
    x, labels = 3 * torch.randn(8, 3, 4, 4) + 1, torch.arange(8) % 2
    made = norm(x, labels).detach().numpy()
    values = x.double().numpy()
    mean, variance = values.mean((0, 2, 3), keepdims=True), values.var((0, 2, 3), keepdims=True)
    scale = np.where(labels.numpy()[:, None] == 0, [1.0, 2, 3], [4.0, 5, 6])[..., None, None]
    shift = np.where(labels.numpy() == 0, 0.0, 7.0)[:, None, None, None]
    np.testing.assert_allclose(
        made, (values - mean) / np.sqrt(variance + 1e-5) * scale + shift, atol=1e-4
    )
    count = 8 * 4 * 4
    np.testing.assert_allclose(norm.mean.numpy(), 0.1 * mean.ravel(), rtol=1e-4)
    np.testing.assert_allclose(
        norm.variance.numpy(), 0.9 + 0.1 * variance.ravel() * count / (count - 1), rtol=1e-4
    )
    kept = norm.mean.clone()
    norm.eval()(x, labels)
    assert torch.equal(norm.mean, kept)


def test_the_class_acts_on_the_image() -> None:
    network, noise = generator(num_class_embeds=3), torch.randn(2, 5)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if name.endswith("scale.weight") and len(weight) > 1:
                weight.add_(torch.randn_like(weight))
        first, second = (network.eval()(noise, torch.full((2,), label)) for label in (0, 2))
    assert (first - second).abs().mean() > 0.01


@pytest.mark.parametrize("side", [16, 28, 32, 48, 64, 128])
def test_images_of_any_side_that_divides_by_the_stride(side: int) -> None:
    widths = (8, 8, 8) if side == 28 else (8, 8, 8, 8)
    x = generator(sample_size=side, block_out_channels=widths)(torch.randn(2, 5))
    assert x.shape == (2, 3, side, side)
    assert x.abs().max() <= 1
    assert discriminator(block_out_channels=widths, halvings=2, num_class_embeds=None)(x)[
        0
    ].shape == (2,)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"sample_size": 30, "block_out_channels": (8, 8, 8)},
            "30x30 pixels do not divide by the generator's stride 4",
        ),
        ({"sample_size": 4096}, "sample_size is 4096: a whole number from 4 to 256"),
        ({"latent_dim": 8000}, "latent_dim is 8000"),
        ({"out_channels": 0}, "out_channels is 0"),
        ({"block_out_channels": []}, r"len\(block_out_channels\) is 0"),
        ({"block_out_channels": [8, 9000]}, r"block_out_channels\[1\] is 9000"),
        ({"block_out_channels": [8, 0.5]}, r"block_out_channels\[1\] is 0.5"),
        ({"num_class_embeds": 0}, "num_class_embeds is 0"),
    ],
)
def test_a_generator_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        generator(**settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"halvings": 3}, "halvings is 3: a whole number from 0 to 2"),
        ({"in_channels": 9}, "in_channels is 9"),
        ({"block_out_channels": [8] * 9}, r"len\(block_out_channels\) is 9"),
        ({"num_class_embeds": 20_000}, "num_class_embeds is 20000"),
    ],
)
def test_a_discriminator_that_cannot_be(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        discriminator(**settings)
