"""GANs: what each step trains, the second task, release and refusals, a word when one has collapsed."""

import copy
import functools
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml

from diffshare.batch import Batch
from diffshare.errors import UserError
from diffshare.generators.gan import GAN, turn
from diffshare.generators.received_gan import deviations, warn_of_collapse
from diffshare.nets.gan import ResnetDiscriminator, ResnetGenerator

CONFIGS = Path(__file__).parents[2] / "configs"
WEIGHTS = "generator/diffusion_pytorch_model.safetensors"
SMALL: dict[str, Any] = {
    "model.generator.sample_size": 8,
    "model.generator.latent_dim": 4,
    "model.generator.block_out_channels": [8, 8],
    "model.discriminator.block_out_channels": [8, 8],
    "model.discriminator.halvings": 1,
    "model.discriminator_steps": 2,
    "model.condition_dropout": 0.5,
    "model.lr_schedule": "constant",  # a cosine has its end from the start: no resuming to a later one
    "data.source.image_size": 8,
    "data.source.count": 120,
    "data.batch_size": 8,
    "trainer.max_steps": 3,
    "trainer.val_check_interval": 3,
    "trainer.log_every_n_steps": 1,
    "trainer.enable_progress_bar": "false",
}
NONE = {"init_args": {"num_class_embeds": None}}
UNCONDITIONAL = {"model": {"init_args": {"generator": NONE, "discriminator": NONE}}}


def fit(run_cli: Any, name: str, folder: Path, *more: Any, **changes: Any) -> Any:
    """``fit`` of a preset, shrunk."""
    options = SMALL | changes
    arguments = [argument for key, value in options.items() for argument in (f"--{key}", value)]
    return run_cli("fit", "--config", CONFIGS / f"{name}_faces.yaml", *more, *arguments, "--run-dir", folder)


@pytest.fixture(scope="module")
def run_dirs(run_cli: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run folder of a preset, trained when it is first asked for."""

    @functools.cache
    def trained(name: str) -> Path:
        folder = tmp_path_factory.mktemp(name) / "run"
        outcome = fit(run_cli, name, folder)
        assert outcome.code == 0, outcome.err
        return folder

    return trained


@pytest.fixture(params=["sngan", "ssgan"])
def run_dir(request: pytest.FixtureRequest, run_dirs: Callable[[str], Path]) -> Path:
    return run_dirs(request.param)


def samples(run_cli: Any, model: Path, out: Path, *arguments: Any) -> np.ndarray:
    outcome = run_cli("sample", "--model", model, "--count", 6, "--out", out, *arguments)
    assert outcome.code == 0, outcome.err
    with np.load(out / "samples.npz") as arrays:
        return np.array(arrays["x"])


def tiny(classes: int | None = 2, rotations: tuple[float, float] = (0.0, 0.0), **options: Any) -> GAN:
    """A GAN of a few thousand weights that can be stepped without a trainer."""
    torch.manual_seed(0)
    embeddings = None if classes is None else classes + 1
    network = ResnetGenerator(8, latent_dim=4, block_out_channels=(8, 8), num_class_embeds=embeddings)
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
    return Batch(torch.rand(n, 3, 8, 8, generator=generator) * 2 - 1, target, torch.zeros_like(target))


# --- release ---------------------------------------------------------------------------------------------------------


def test_a_run_ends_with_a_release_of_the_generator_alone(run_cli, run_dir, tmp_path) -> None:
    card = json.loads((run_dir / "release" / "diffshare.json").read_text())
    assert (card["family"], card["steps"], len(card["labels"])) == ("gan", 1, 2)
    assert {name.partition("/")[0] for name in card["files"]} == {"generator", "README.md"}
    made = run_cli("release", "--ckpt", run_dir / "checkpoints" / "last.ckpt", "--out", tmp_path / "again")
    assert made.code == 0, made.err
    assert json.loads((tmp_path / "again" / "diffshare.json").read_text())["files"] == card["files"]


def test_the_release_has_the_averaged_weights_and_the_averaged_statistics(run_dir) -> None:
    checkpoint = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    released = safetensors.torch.load_file(run_dir / "release" / WEIGHTS)
    moved = set()
    for name, value in released.items():
        assert torch.equal(value, checkpoint["state_dict"][f"generator.{name}"])
        if not torch.equal(value, checkpoint["current_model_state"][f"generator.{name}"]):
            moved.add(name)
    assert {"start.weight", "blocks.0.norm1.mean", "norm.variance"} <= moved


def test_a_sample_is_the_same_again_and_in_any_batch(run_cli, run_dir, tmp_path) -> None:
    whole = samples(run_cli, run_dir / "release", tmp_path / "a")
    assert whole.shape == (6, 8, 8, 3)
    assert len(np.unique(whole.reshape(6, -1), axis=0)) == 6
    assert np.array_equal(whole, samples(run_cli, run_dir / "release", tmp_path / "b", "--steps", 1))
    for size in (1, 4):
        parts = samples(run_cli, run_dir / "release", tmp_path / str(size), "--batch-size", size)
        assert np.abs(whole.astype(int) - parts).max() <= 1
    assert not np.array_equal(whole, samples(run_cli, run_dir / "release", tmp_path / "c", "--seed", 1))
    assert json.loads((tmp_path / "a" / "samples.json").read_text())["network_calls"] == 6


def test_no_class_is_a_class_of_its_own(run_cli, run_dir, tmp_path) -> None:
    none = samples(run_cli, run_dir / "release", tmp_path / "none", "--labels", "none")
    others = [samples(run_cli, run_dir / "release", tmp_path / k, "--labels", k) for k in ("0", "1", "natural")]
    assert none.shape == others[0].shape
    assert not np.array_equal(none, others[0])
    scales = safetensors.torch.load_file(run_dir / "release" / WEIGHTS)["blocks.0.norm1.scale.weight"]
    assert scales.shape == (3, 8)
    assert not torch.equal(scales[2], torch.ones(8))  # some classes were hidden in training


def test_an_unconditional_model(run_cli, tmp_path) -> None:
    (tmp_path / "none.yaml").write_text(yaml.safe_dump(UNCONDITIONAL))
    outcome = fit(run_cli, "ssgan", tmp_path / "run", "--config", tmp_path / "none.yaml")
    assert outcome.code == 0, outcome.err
    assert len(samples(run_cli, tmp_path / "run" / "release", tmp_path / "samples")) == 6
    refused = run_cli(
        "sample", "--model", tmp_path / "run" / "release", "--count", 1, "--labels", "0", "--out", tmp_path / "no"
    )
    assert refused.code == 2


@pytest.mark.parametrize(
    ("argument", "value", "named"),
    [
        ("--steps", 2, "a model of the family gan samples in 1"),
        ("--guidance", 3, "guidance is 3: a model of the family gan has none"),
        ("--scheduler", "DDIMScheduler", "a model of the family gan has none"),
    ],
)
def test_what_only_a_diffusion_model_has_is_refused(run_cli, run_dirs, tmp_path, argument, value, named) -> None:
    model = run_dirs("sngan") / "release"
    outcome = run_cli("sample", "--model", model, "--count", 1, argument, value, "--out", tmp_path / "no")
    assert outcome.code == 2
    assert named in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ({"_class_name": "ResnetDiscriminator"}, "ResnetDiscriminator"),
        ({"num_class_embeds": 4}, "must have the shape"),
        ({"num_class_embeds": None}, "must have the shape"),
        ({"sample_size": 16}, "must have the shape"),
        ({"sample_size": 4097}, "sample_size is 4097"),
        ({"latent_dim": 10**9}, "'latent_dim' must be"),
        ({"block_out_channels": [8] * 17}, "a list of at most 16"),
        ({"block_out_channels": [8192, 8192]}, "block_out_channels[0] is 8192"),
        ({"block_out_channels": "88"}, "cannot be built"),
        ({"block_out_channels": None}, "cannot be built"),
        ({"depth": 3}, "refused the key"),
    ],
)
def test_a_received_configuration_is_checked(run_cli, run_dirs, tmp_path, setting, named) -> None:
    release = shutil.copytree(run_dirs("sngan") / "release", tmp_path / "release")
    file = release / "generator" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | setting))
    sign(release, "generator/config.json")
    refuse(run_cli, release, named)


def test_received_labels_and_weights_are_checked(run_cli, run_dirs, tmp_path) -> None:
    release = shutil.copytree(run_dirs("sngan") / "release", tmp_path / "release")
    card = json.loads((release / "diffshare.json").read_text())
    changed = card | {"labels": ["a", "b", "c"], "label_frequencies": None}
    (release / "diffshare.json").write_text(json.dumps(changed))
    refuse(run_cli, release, "does not fit the card (3 labels, image_size 8)")
    (release / "diffshare.json").write_text(json.dumps(card))
    weights = safetensors.torch.load_file(release / WEIGHTS)
    safetensors.torch.save_file(weights | {"norm.variance": -torch.ones(8)}, release / WEIGHTS)
    refuse(run_cli, release, "does not have the hash")
    sign(release, WEIGHTS)
    refuse(run_cli, release, "values that are not finite")
    shutil.rmtree(release / "generator")
    del card["files"][WEIGHTS], card["files"]["generator/config.json"]
    (release / "diffshare.json").write_text(json.dumps(card))
    refuse(run_cli, release, "has no generator/config.json")


def sign(release: Path, name: str) -> None:
    """Put the hash that a file has now into the card."""
    card = json.loads((release / "diffshare.json").read_text())
    card["files"][name] = hashlib.sha256((release / name).read_bytes()).hexdigest()
    (release / "diffshare.json").write_text(json.dumps(card))


def refuse(run_cli: Any, release: Path, named: str) -> None:
    outcome = run_cli("sample", "--model", release, "--count", 1, "--out", release.parent / "samples")
    assert outcome.code == 2, outcome.err
    assert named in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (release.parent / "samples").exists()


# --- training --------------------------------------------------------------------------------------------------------


def test_a_step_of_the_run_is_one_of_the_generator_and_some_of_the_discriminator(run_dir) -> None:
    checkpoint = torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)
    assert checkpoint["global_step"] == 3
    taken = [{int(s["step"]) for s in states["state"].values()} for states in checkpoint["optimizer_states"]]
    assert taken == [{3}, {6}]


def test_a_resumed_run_is_the_same_to_the_bit(run_cli, tmp_path) -> None:
    states = {}
    for name, ends in (("whole", [4]), ("parts", [2, 4])):
        for i, last in enumerate(ends):
            changes = {"trainer.max_steps": last, "trainer.val_check_interval": 2}
            outcome = fit(run_cli, "ssgan", tmp_path / name, *(["--resume"] if i else []), **changes)
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
        return {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}

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
    expected = {n for n in judged if n.endswith("original") and not (rotations == (0.0, 0.0) and n.startswith("turn"))}
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
                    logits = module.discriminator(turned, torch.zeros(1, dtype=torch.long), turned)[1]
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
        torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 2e-3, betas=(0.0, 0.9), foreach=True)
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
        module.draw(np.full(100, label), numbers, 0).mean((1, 2, 3)) / 127.5 - 1 for label in (0, 1, -1)
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
        ({"model.generator.sample_size": 9}, "9x9 pixels do not divide by the generator's stride 2"),
        ({"model.generator.out_channels": 1}, "model.generator.out_channels is 1, the images have 3 channels"),
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


# --- collapse --------------------------------------------------------------------------------------------------------


def test_the_deviation_is_within_a_class() -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0, 0, 0, 1, 1, 1, 2])
    x = rng.integers(0, 256, (7, 4, 4, 3), np.uint8)
    x[3:6] = x[3]  # class 1 has one image, which differs from the others
    found = deviations(x, labels)
    assert set(found) == {0, 1}
    assert found[0] == pytest.approx(np.sqrt(((x[:3] - x[:3].mean(0)) ** 2).mean(0)).mean())
    assert found[1] == 0
    with pytest.warns(UserWarning, match="the GAN has collapsed: its samples of class 'b' are all equal") as caught:
        warn_of_collapse(found, ("a", "b", "c"))
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="its samples are all equal within 1 grey level"):
        warn_of_collapse({-1: 0.4}, ("a", "b"))


def test_a_collapsed_model_is_named_when_it_is_sampled_and_validated(run_cli, run_dirs, tmp_path) -> None:
    run = shutil.copytree(run_dirs("sngan"), tmp_path / "run")
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["state_dict"]["generator.end.weight"].zero_()
    torch.save(checkpoint, run / "checkpoints" / "last.ckpt")
    with pytest.warns(UserWarning, match="the GAN has collapsed") as caught:
        outcome = run_cli("validate", "--run-dir", run)
    assert outcome.code == 0, outcome.err
    assert {str(w.message).split("'")[1] for w in caught} <= {"not Smiling", "Smiling"}
    made = run_cli("release", "--ckpt", run / "checkpoints" / "last.ckpt", "--out", tmp_path / "collapsed")
    assert made.code == 0, made.err
    for labels, named in (("0", "its samples of class 'not Smiling' are all equal"), ("none", "its samples are all")):
        with pytest.warns(UserWarning, match=named):
            samples(run_cli, tmp_path / "collapsed", tmp_path / labels, "--labels", labels)


def test_a_config_says_what_it_is() -> None:
    for name, second_task in (("sngan", False), ("ssgan", True)):
        for kind in ("faces", "celeba"):
            model = yaml.safe_load((CONFIGS / f"{name}_{kind}.yaml").read_text())["model"]["init_args"]
            assert model["discriminator"]["init_args"]["rotations"] == second_task
            assert any(model["rotation_weights"]) == second_task
