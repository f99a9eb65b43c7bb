"""DP-SGD: the gradient against its definition, the accountant, the card, and that the noise is really there."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from diffshare.errors import UserError
from diffshare.release.folder import open_release
from diffshare.sharer.protection import dp
from diffshare.training.checkpoint import read_checkpoint

CONFIG = Path(__file__).parents[3] / "configs" / "ddpm_faces.yaml"


def parameters(records: int = 5) -> list[nn.Parameter]:
    torch.manual_seed(0)
    made = [nn.Parameter(torch.zeros(shape)) for shape in ((3, 2), (4,))]
    for p in made:
        p.grad_sample = torch.randn(records, *p.shape) * torch.linspace(0.1, 3, records).reshape(
            -1, *[1] * p.ndim
        )
    return made


def test_each_records_gradient_is_cut_to_the_norm_and_the_sum_divided_by_the_expected_batch():
    made = parameters()
    samples = [[p.grad_sample[i].clone() for p in made] for i in range(5)]
    dp.privatise(made, 1.5, 0.0, 8, torch.Generator(), True)
    expected = [torch.zeros_like(p) for p in made]
    for record in samples:  # one after the other, as the definition has it
        norm = float(sum(g.square().sum() for g in record)) ** 0.5
        for total, g in zip(expected, record, strict=True):
            total += g * min(1, 1.5 / norm)
    for p, total in zip(made, expected, strict=True):
        torch.testing.assert_close(p.grad, total / 8, rtol=1e-5, atol=1e-7)
        assert p.grad_sample is None


def test_the_noise_has_the_deviation_that_the_accountant_assumes_whatever_the_records():
    big = nn.Parameter(torch.zeros(40_000))
    for counted in (True, False):
        big.grad_sample = torch.zeros(1, 40_000)
        dp.privatise([big], 0.5, 2.0, 4, torch.Generator().manual_seed(1), counted)
        assert float(big.grad.std()) == pytest.approx(2.0 * 0.5 / 4, rel=0.02)
    full = parameters()
    dp.privatise(full, 1.0, 0.0, 4, torch.Generator(), False)
    assert all(not p.grad.any() for p in full)  # an empty draw counts no record


def test_a_parameter_without_gradients_of_single_records_stops_the_training():
    made = [*parameters(), nn.Parameter(torch.zeros(2))]
    with pytest.raises(RuntimeError, match="would not be private"):
        dp.privatise(made, 1.0, 1.0, 4, torch.Generator(), True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"noise_multiplier": -1.0}, "model.noise_multiplier is -1.0"),
        ({"noise_multiplier": float("nan")}, "model.noise_multiplier is nan"),
        ({"max_grad_norm": 0.0}, "model.max_grad_norm is 0.0"),
        ({"delta": 1.0}, "model.delta is 1.0"),
    ],
)
def test_bad_settings_are_refused(options, words):
    denoiser: Any = SimpleNamespace(config=SimpleNamespace(num_class_embeds=None))
    with pytest.raises(UserError, match=words):
        dp.PrivateDDPM(denoiser, **options)


def test_what_the_loss_draws_for_a_record_is_secret(monkeypatch):
    """Times and noise of a known seed go by the place in the batch: one record more would change all behind it."""
    records = type(
        "Records", (), {"__len__": lambda self: 8, "__getitems__": lambda self, rows: rows}
    )()
    data = SimpleNamespace(
        sets={"train": records},
        transfer_batch_to_device=lambda batch, device, place: batch,
        on_after_batch_transfer=lambda batch, place: batch,
    )
    denoiser: Any = SimpleNamespace(config=SimpleNamespace(num_class_embeds=None))
    monkeypatch.setattr(dp.PrivateDDPM, "trainer", SimpleNamespace(datamodule=data))
    monkeypatch.setattr(dp.DDPM, "training_step", lambda self, batch, place: torch.rand(4))
    found = []
    for secret in (1, 1, 2):
        module = dp.PrivateDDPM(denoiser)
        module.private_batch, module._secret = 4, np.random.default_rng(secret)
        torch.manual_seed(0)  # what seed_everything gives a step
        found.append(module.training_step(None, 0))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize(
    ("rate", "told"),
    [
        (0.016, 0.016),
        (0.0161, 0.017),
        (128 / 7990, 0.017),
        (0.16, 0.16),
        (0.991, 1.0),
        (1.0, 1.0),
        (1e-5, 1e-5),
    ],
)
def test_the_sampling_rate_is_rounded_up_so_that_it_does_not_tell_the_number_of_records(rate, told):
    assert dp.told_rate(rate) == pytest.approx(told)
    assert rate <= dp.told_rate(rate) * (1 + 1e-9) <= min(1, 1.1 * rate) * (1 + 1e-9)


def arguments(tmp_path: Path, *more: Any) -> list[Any]:
    size = {
        "block_out_channels": [8] * 4,
        "layers_per_block": 1,
        "norm_num_groups": 4,
        "attention_head_dim": 4,
    }
    options = {
        "data.source.count": 200, "data.source.image_size": 8, "data.batch_size": 16, "trainer.max_steps": 4,
        "trainer.enable_progress_bar": "false", "trainer.precision": "32-true", "data.mix.n": 100,
        "model.sampling_steps": 2, "trainer.gradient_clip_val": "null",
    } | {f"model.denoiser.{key}": value for key, value in size.items()}  # fmt: skip
    made = [argument for key, value in options.items() for argument in (f"--{key}", value)]
    return ["fit", "--config", CONFIG, "--model", "diffshare.sharer.protection.dp.PrivateDDPM", *made,
            "--run-dir", tmp_path / "run", *more]  # fmt: skip


def test_without_opacus_the_extra_is_named(run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr(dp.importlib.util, "find_spec", lambda name: None)
    outcome = run_cli(*arguments(tmp_path))
    assert outcome.code == 2
    assert "pip install 'diffshare[dp]'" in outcome.err


class TestWithOpacus:
    @pytest.fixture(autouse=True)
    def _opacus(self) -> None:
        pytest.importorskip("opacus", reason="needs the extra dp")

    def test_one_step_without_sampling_is_the_gaussian_mechanism_and_epsilon_follows_noise_and_steps(
        self,
    ):
        found = [dp.spent(sigma, 1.0, 1, 1e-5) for sigma in (1.0, 2.0, 4.0)]
        assert found == sorted(found, reverse=True)
        orders = np.arange(2, 64)
        # Mironov 2017, proposition 3
        bound = min(a / (2 * 4.0**2) + np.log(1e5) / (a - 1) for a in orders)
        assert 0.5 * bound < found[-1] <= bound
        assert (
            dp.spent(1.0, 0.01, 100, 1e-5)
            < dp.spent(1.0, 0.01, 1000, 1e-5)
            < dp.spent(1.0, 0.1, 1000, 1e-5)
        )

    def test_the_other_accountant_finds_a_smaller_epsilon_for_the_same_noise(self):
        sums = {name: dp.spent(0.51, 0.016, 120, 1e-5, name) for name in ("rdp", "prv")}  # type: ignore[arg-type]
        assert sums["rdp"] == pytest.approx(10.1, abs=0.1)
        assert sums["prv"] == pytest.approx(8.4, abs=0.1)
        sigma = 4.0  # one step without sampling is the Gaussian mechanism (Balle & Wang 2018, theorem 8)

        def delta(epsilon: float) -> float:
            ends = (stats.norm.cdf(side / (2 * sigma) - epsilon * sigma) for side in (1, -1))
            return float(next(ends) - np.exp(epsilon) * next(ends))

        upper = dp.spent(sigma, 1.0, 1, 1e-5, "prv")
        assert delta(upper) <= 1e-5 <= delta(upper - 0.02)  # an upper bound, up to its 0.01

    def test_a_layer_that_mixes_records_is_named_with_its_remedy(self):
        network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4)))
        with pytest.raises(
            UserError, match=r"does not support the layer 1.0 \(BatchNorm2d\): use GroupNorm"
        ):
            dp.refuse_layers(network)
        for norm in (
            nn.BatchNorm2d(4, affine=False),
            nn.InstanceNorm2d(4, track_running_stats=True),
        ):
            with pytest.raises(
                UserError, match=r"does not support the layer 1 \(.*Norm2d\): use GroupNorm"
            ):
                # no weights to train: Opacus passes it
                dp.refuse_layers(nn.Sequential(nn.Conv2d(3, 4, 1), norm))
        dp.refuse_layers(nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.Linear(2, 2)))

    @pytest.mark.filterwarnings("ignore:Full backward hook is firing")
    def test_the_card_has_epsilon_and_a_checkpoint_releases_the_same(self, run_cli, tmp_path):
        outcome = run_cli(*arguments(tmp_path))
        assert outcome.code == 0, outcome.err
        card = open_release(tmp_path / "run" / "release").card
        assert card.family == "ddpm"
        assert card.epsilon == pytest.approx(dp.spent(1.0, 0.16, 4, 1e-5))
        assert card.protections == ("DP-SGD: noise multiplier 1, norm 1, delta 1e-05",)
        said = card.privacy
        assert said is not None
        assert (said.noise_multiplier, said.max_grad_norm, said.sampling_rate, said.steps) == (
            1,
            1,
            0.16,
            4,
        )
        assert (said.delta, said.adjacency) == (1e-5, "one record added or removed")
        assert said.accountant.endswith("(rdp)")
        assert (
            dp.spent(said.noise_multiplier, said.sampling_rate, said.steps, said.delta)
            == card.epsilon
        )
        assert any("choice of the mix" in what for what in said.outside)
        assert any("schema of a table" in what for what in said.outside)
        assert card.label_frequencies is None  # whole percents have no epsilon
        text = (tmp_path / "run" / "release" / "README.md").read_text()
        for line in (
            "- sampling rate: 0.16 (rounded up)",
            "- adjacency: one record added or removed",
            "- steps: 4",
        ):
            assert line in text
        refused = run_cli("sample", "--model", tmp_path / "run" / "release", "--count", 2, "--labels", "natural",
                          "--out", tmp_path / "n")  # fmt: skip
        assert refused.code == 2
        assert "declares no label frequencies" in refused.err
        again = run_cli(
            "release", "--ckpt", tmp_path / "run/checkpoints/last.ckpt", "--out", tmp_path / "again"
        )
        assert again.code == 0, again.err
        assert open_release(tmp_path / "again").card.epsilon == card.epsilon
        declared = run_cli("release", "--ckpt", tmp_path / "run/checkpoints/last.ckpt", "--declare_labels", "true",
                           "--out", tmp_path / "declared")  # fmt: skip
        assert declared.code == 0, declared.err
        told = open_release(tmp_path / "declared").card
        assert told.label_frequencies is not None
        assert told.privacy is not None
        # it is said that epsilon does not bound them
        assert told.privacy.outside[0] == "label_frequencies"
        drawn = run_cli(
            "sample", "--model", tmp_path / "again", "--count", 2, "--out", tmp_path / "s"
        )
        assert drawn.code == 0, drawn.err

    @pytest.mark.filterwarnings("ignore:Full backward hook is firing")
    def test_a_thousandfold_noise_destroys_the_model_and_no_noise_leaves_no_epsilon(
        self, run_cli, tmp_path
    ):
        """The test that the noise is really on: plain descent is carried off as far as a random walk of that step."""
        weights, rate, steps, batch = {}, 0.01, 4, 16
        for sigma in (0, 1000):
            folder = tmp_path / str(sigma)
            folder.mkdir()
            plain = (
                "--model.optimizer", "torch.optim.SGD", "--model.optimizer.lr", rate, "--trainer.callbacks", "[]",
                "--model.warmup_steps", "0", "--model.lr_schedule", "constant",
            )  # fmt: skip
            outcome = run_cli(*arguments(folder, "--model.noise_multiplier", sigma, *plain))
            assert outcome.code == 0, outcome.err
            state = read_checkpoint(folder / "run/checkpoints/last.ckpt")["state_dict"]
            weights[sigma] = torch.cat(
                [v.flatten() for k, v in state.items() if k.startswith("denoiser.")]
            )
            assert (open_release(folder / "run" / "release").card.epsilon is None) == (sigma == 0)
        # one normal number a weight and step
        walk = rate * 1000 / batch * (steps * len(weights[0])) ** 0.5
        away = float((weights[1000] - weights[0]).norm())
        assert away == pytest.approx(walk, rel=0.1)
        assert away > 5 * float(weights[0].norm())  # nothing is left of what was there

    @pytest.mark.parametrize(
        ("changed", "words"),
        [
            (("--trainer.precision", "bf16-mixed"), "add --trainer.precision 32-true"),
            (("--trainer.accumulate_grad_batches", 2), "without gradient accumulation"),
            (("--trainer.gradient_clip_val", 1.0), "add --trainer.gradient_clip_val null"),
        ],
    )
    def test_what_would_void_the_bound_is_refused(self, run_cli, tmp_path, changed, words):
        outcome = run_cli(*arguments(tmp_path, *changed))
        assert outcome.code == 2
        assert words in outcome.err
        assert outcome.err.count("\n") == 1
