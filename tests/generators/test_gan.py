"""GANs: what each step trains, the second task, resuming, and settings that do not fit."""

import copy
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from gan_runs import CONFIGS, fit

from diffshare.batch import Batch
from diffshare.errors import UserError
from diffshare.generators.gan import GAN, turn
from diffshare.nets.gan import ResnetDiscriminator, ResnetGenerator


def tiny(
    classes: int | None = 2, rotations: tuple[float, float] = (0.0, 0.0), **options: Any
) -> GAN:
    """A GAN of a few thousand weights that can be stepped without a trainer."""
    torch.manual_seed(0)
    embeddings = None if classes is None else classes + 1
    network = ResnetGenerator(
        8, latent_dim=4, block_out_channels=(8, 8), num_class_embeds=embeddings
    )
    judge = ResnetDiscriminator(
        block_out_channels=(8, 8), halvings=1, num_class_embeds=embeddings, rotations=any(rotations)
    )
    module = GAN(network, judge, rotation_weights=rotations, **options)
    module.manual_backward = lambda loss: loss.backward()  # type: ignore[method-assign, assignment]
    module.log = lambda *_, **__: None  # type: ignore[method-assign, assignment]
    return module


def batch(n: int = 8, classes: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(0)
    target = torch.arange(n) % classes
    return Batch(
        torch.rand(n, 3, 8, 8, generator=generator) * 2 - 1, target, torch.zeros_like(target)
    )


def test_a_step_of_the_run_is_one_of_the_generator_and_some_of_the_discriminator(gan) -> None:
    checkpoint = torch.load(gan / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3
    taken = [
        {int(s["step"]) for s in states["state"].values()}
        for states in checkpoint["optimizer_states"]
    ]
    assert taken == [{3}, {6}]


def test_a_resumed_run_is_the_same_to_the_bit(run_cli, tmp_path) -> None:
    states = {}
    for name, ends in (("whole", [4]), ("parts", [2, 4])):
        for i, last in enumerate(ends):
            changes = {"trainer.max_steps": last, "trainer.val_check_interval": 2}
            outcome = fit(
                run_cli, "ssgan", tmp_path / name, *(["--resume"] if i else []), **changes
            )
            assert outcome.code == 0, outcome.err
        states[name] = torch.load(tmp_path / name / "checkpoints" / "last.ckpt", weights_only=True)
    assert states["whole"]["global_step"] == states["parts"]["global_step"] == 4
    for key in ("state_dict", "current_model_state"):
        for weight, value in states["whole"][key].items():
            assert torch.equal(value, states["parts"][key][weight]), weight


@pytest.mark.parametrize("rotations", [(0.0, 0.0), (1.0, 0.2)])
def test_each_step_moves_its_own_network_alone(rotations) -> None:
    module, data = tiny(2, rotations), batch()

    def state(network: torch.nn.Module) -> dict[str, torch.Tensor]:
        return copy.deepcopy(network.state_dict())

    def moved(network: torch.nn.Module, before: dict[str, torch.Tensor]) -> set[str]:
        return {
            name
            for name, value in network.state_dict().items()
            if not torch.equal(value, before[name])
        }

    statistics = {n for n, p in module.generator.named_parameters() if not p.requires_grad}
    made, judged = state(module.generator), state(module.discriminator)
    optimizer = torch.optim.SGD((p for p in module.generator.parameters() if p.requires_grad), 0.1)
    module._generator_step(optimizer, data)
    assert not moved(module.discriminator, judged)
    assert all(p.grad is None and p.requires_grad for p in module.discriminator.parameters())
    assert module.discriminator.training
    assert len(moved(module.generator, made) - statistics) > 10

    optimizer.zero_grad()
    made = state(module.generator)
    module.discriminator_loss(data.x, data.target)[0].backward()
    torch.optim.SGD(module.discriminator.parameters(), 0.1).step()
    assert moved(module.generator, made) <= statistics  # of batches of fakes
    assert all(p.grad is None for p in module.generator.parameters())
    expected = {
        n
        for n in judged
        if n.endswith("original") and not (rotations == (0.0, 0.0) and n.startswith("turn"))
    }
    assert expected <= moved(module.discriminator, judged)


def test_the_losses_are_those_of_the_papers() -> None:
    module, data = tiny(2, (0.5, 0.25), condition_dropout=0.0), batch()
    module.generator.eval()
    module.discriminator.eval()
    with torch.no_grad():
        torch.manual_seed(1)
        loss, known = module.discriminator_loss(data.x, data.target)
        torch.manual_seed(1)
        torch.rand(8)  # which classes are hidden
        made = module.generator(torch.randn(8, 4), data.target)
        real, false = (module.discriminator(x, data.target)[0] for x in (data.x, made))
        hinge = (1 - real).clamp(min=0).mean() + (1 + false).clamp(min=0).mean()

        def second_task(x: torch.Tensor) -> float:
            total = 0.0
            for image in x[:2]:  # a quarter of the records, in each direction
                for quarter in range(4):
                    turned = torch.from_numpy(np.rot90(image.numpy(), quarter, (1, 2)).copy())[None]
                    logits = module.discriminator(turned, torch.zeros(1, dtype=torch.long), turned)[
                        1
                    ]
                    total -= float(logits.log_softmax(1)[0, quarter])
            return total / 8

        assert float(loss) == pytest.approx(float(hinge) + 0.5 * second_task(data.x), abs=1e-4)
        assert known is not None
        assert 0 <= float(known) <= 1
        torch.manual_seed(1)
        expected = -float(false.mean()) + 0.25 * second_task(made)
        assert float(module.loss(data)) == pytest.approx(expected, abs=1e-4)


def test_images_are_turned_by_quarters() -> None:
    x = torch.rand(3, 2, 5, 5)
    turned, quarters = turn(x)
    assert quarters.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    for i, (image, quarter) in enumerate(zip(turned, quarters.tolist(), strict=True)):
        np.testing.assert_array_equal(image.numpy(), np.rot90(x[i % 3].numpy(), quarter, (1, 2)))


def test_classes_are_hidden_as_often_as_asked() -> None:
    module, target = tiny(2, condition_dropout=0.25), torch.arange(4000) % 2
    torch.manual_seed(0)
    hidden = module._hide(target)
    assert set(hidden.tolist()) == {0, 1, 2}
    assert float((hidden == 2).float().mean()) == pytest.approx(0.25, abs=0.03)
    assert torch.equal(hidden[hidden < 2], target[hidden < 2])


def test_it_learns_the_grey_of_each_class_and_both_of_no_class() -> None:
    module = tiny(2, condition_dropout=0.5)
    optimizers = [
        torch.optim.Adam(
            [p for p in network.parameters() if p.requires_grad],
            2e-3,
            betas=(0.0, 0.9),
            foreach=True,
        )
        for network in (module.generator, module.discriminator)
    ]
    target = torch.arange(32) % 2
    for _ in range(200):
        grey = (target * 1.0 - 0.5)[:, None, None, None]
        x = grey + 0.05 * torch.randn(32, 3, 8, 8)
        optimizers[1].zero_grad()
        module.discriminator_loss(x, target)[0].backward()
        optimizers[1].step()
        module._generator_step(optimizers[0], Batch(x, target, target))
    module.eval()
    numbers = np.arange(100)
    dark, bright, either = (
        module.draw(np.full(100, label), numbers, 0).mean((1, 2, 3)) / 127.5 - 1
        for label in (0, 1, -1)
    )
    assert (dark.mean(), bright.mean()) == pytest.approx((-0.5, 0.5), abs=0.2)
    assert 0.2 < (either > 0).mean() < 0.9


def test_a_rate_that_is_far_too_high_stops_the_run(run_cli, tmp_path) -> None:
    outcome = fit(run_cli, "sngan", tmp_path / "run", **{"model.optimizer.lr": 1e38})
    assert outcome.code == 2
    assert "the loss is nan" in outcome.err or "are not finite" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"data.source.image_size": 9}, "9x9 pixels do not divide by the discriminator's stride 2"),
        ({"data.source.image_size": 16}, "set model.generator.sample_size, which is 8"),
        (
            {"model.generator.sample_size": 9},
            "9x9 pixels do not divide by the generator's stride 2",
        ),
        (
            {"model.generator.out_channels": 1},
            "model.generator.out_channels is 1, the images have 3 channels",
        ),
        ({"model.discriminator.in_channels": 1}, "model.discriminator.in_channels is 1"),
        ({"model.generator.num_class_embeds": 2}, "num_class_embeds is 2 in model.generator and 3"),
        ({"model.discriminator.num_class_embeds": 4}, "set both to 3"),
        ({"model.discriminator.rotations": "true"}, "set that to true for a second task"),
        ({"model.rotation_weights": [1, 0.2]}, "set that to true for a second task"),
        ({"model.rotation_weights": [-1, 0]}, "two numbers of at least 0"),
        ({"model.discriminator_steps": 0}, "model.discriminator_steps is 0"),
        ({"model.condition_dropout": 1.5}, "a probability below 1"),
        ({"data.batch_size": 1}, "it must be at least model.discriminator_steps, which is 2"),
        ({"trainer.gradient_clip_val": 1.0}, "gradient clipping"),
    ],
)
def test_what_does_not_fit_is_refused(run_cli, tmp_path, changes, named) -> None:
    outcome = fit(run_cli, "sngan", tmp_path / "run", **changes)
    assert outcome.code == 2
    assert named in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "run" / "release").exists()


def test_a_scaled_precision_is_refused() -> None:
    module = tiny()
    module._trainer = SimpleNamespace(precision="16-mixed")  # type: ignore[assignment]
    with pytest.raises(UserError, match="trains in bf16-mixed or 32-true"):
        module.setup("fit")


def test_a_config_says_what_it_is() -> None:
    for name, second_task in (("sngan", False), ("ssgan", True)):
        for kind in ("faces", "celeba"):
            model = yaml.safe_load((CONFIGS / f"{name}_{kind}.yaml").read_text())["model"][
                "init_args"
            ]
            assert model["discriminator"]["init_args"]["rotations"] == second_task
            assert any(model["rotation_weights"]) == second_task
