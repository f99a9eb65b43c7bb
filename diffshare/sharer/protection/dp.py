"""DP-SGD: a diffusion model whose weights bound what one training record can have given away.

Abadi et al. 2016 (arXiv 1607.00133, algorithm 1): each step draws every record independently with
the probability q = batch / n (Poisson sampling, which is what the accountant assumes), cuts each
record's own gradient to the norm C, adds normal noise of the deviation sigma C to their sum and
divides by the expected batch q n. Per-record gradients and the accountants (Renyi, Mironov 2017;
privacy loss random variables, Gopi et al. 2021, arXiv 2106.02848) are Opacus's.

The bound is of training sets of which one has one record more (adjacency by adding or removing a
record), which makes their size a secret as well: q is rounded up to two digits, and epsilon is of
that q, so that neither gives it away.

It bounds records, not proportions: what thousands of records say together, a share of a property
for instance, is what the model is trained to learn. The mix, the class frequencies of the card
(which a private model does not declare unless it is told to: in whole percent they have no epsilon
at all) and the choice of settings are outside the bound as well; the card lists what is.

Noise and draws come from a seed of the operating system's, not from ``seed_everything``: who knew the seed could take
the noise off again. So do the times, noise and hidden classes of the diffusion loss. They go to records by their place
in the batch; were they known, one record more would change the gradients of all behind it, and the sum by more than C.
So two runs are never the same, unlike all other trainings here.
"""

import importlib.util
import secrets
import warnings
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import SchedulerMixin, UNet2DModel
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from diffshare.batch import Batch
from diffshare.errors import UserError
from diffshare.generators.ddpm import DDPM

TINY = 1e-6  # added to a norm that is divided by
Accountant = Literal["rdp", "prv"]
ACCOUNTANTS: dict[Accountant, str] = {
    "rdp": "Renyi differential privacy (rdp)",
    "prv": "privacy loss random variables (prv)",
}
OUTSIDE = (  # of the bound, whatever is declared
    "the choice of the mix: which records, and how many, were there to be drawn from",
    "names of the classes, image size or schema of a table, and the sampling rate up to its rounding",
    "settings, steps and checkpoint where they were chosen by looking at the records",
    "protections that the mix declares, and what was written into README.md afterwards",
)


class PrivateDDPM(DDPM):
    """A :class:`diffshare.generators.ddpm.DDPM` that is trained with DP-SGD. Needs the extra ``dp``.

    Args:
        denoiser: predicts noise or velocity; every layer must be one that Opacus has gradients of single records for.
        scheduler: noise levels of the training; a linear DDPM scheduler of 1000 levels where left out.
        min_snr_gamma: gamma of min-SNR loss weighting; no weighting where left out.
        noise_multiplier: sigma >= 0; 0 cuts gradients and protects nothing.
        max_grad_norm: C > 0, the norm that a record's gradient is cut to.
        delta: of (epsilon, delta), in (0, 1); well below one in the number of records.
        accountant: what sums the steps up: ``rdp``, or ``prv``, which finds a smaller epsilon for
            the same noise and takes longer.
        options: of :class:`diffshare.generators.denoising.DenoisingModule`.
    """

    def __init__(
        self,
        denoiser: UNet2DModel,
        scheduler: SchedulerMixin | None = None,
        min_snr_gamma: float | None = None,
        noise_multiplier: float = 1.0,
        max_grad_norm: float = 1.0,
        delta: float = 1e-5,
        accountant: Accountant = "rdp",
        **options: Any,
    ) -> None:
        super().__init__(denoiser, scheduler, min_snr_gamma, **options)
        if not 0 <= noise_multiplier < np.inf:  # NaN fails too
            raise UserError(
                f"model.noise_multiplier is {noise_multiplier}: a number >= 0, of the order of 1"
            )
        if not 0 < max_grad_norm < np.inf:
            raise UserError(f"model.max_grad_norm is {max_grad_norm}: a number above 0")
        if not 0 < delta < 1:
            raise UserError(
                f"model.delta is {delta}: it lies between 0 and 1, well below one in the number of records"
            )
        self.noise_multiplier, self.max_grad_norm, self.delta = (
            noise_multiplier,
            max_grad_norm,
            delta,
        )
        self.accountant: Accountant = accountant
        self.private_steps = 0  # optimizer steps that the accountant must count
        self.private_batch = 0  # records of an expected batch
        self._hooked: list[nn.Module] = []  # a list, so that it is no part of the state
        self._counted = True
        self._secret = np.random.default_rng(0)
        self._noise = torch.Generator()

    def setup(self, stage: str) -> None:
        """Refuse what would void the bound, before the training."""
        super().setup(stage)
        if stage != "fit":
            return
        if self.trainer.precision != "32-true":
            raise UserError(
                "gradients of single records are taken in full precision: add `trainer.precision` 32-true"
            )
        if self.trainer.gradient_clip_val:
            raise UserError(
                "trainer.gradient_clip_val would cut the noisy mean, which protects nothing and distorts it: add "
                "`trainer.gradient_clip_val` null (model.max_grad_norm cuts each record's gradient)"
            )
        if self.trainer.world_size > 1 or self.trainer.accumulate_grad_batches != 1:
            raise UserError(
                "DP-SGD runs in one process and without gradient accumulation: set both to 1"
            )
        refuse_layers(self.denoiser)
        self.private_batch = self.trainer.datamodule.batch_size  # type: ignore[attr-defined]
        self._secret = np.random.default_rng(secrets.randbits(128))
        self._noise = torch.Generator(self.device).manual_seed(secrets.randbits(63))

    def on_train_start(self) -> None:
        """Have Opacus note each record's gradient."""
        from opacus.grad_sample import GradSampleModule

        if not self._hooked:
            self._hooked.append(GradSampleModule(self.denoiser, loss_reduction="mean"))

    def on_train_end(self) -> None:
        """Take Opacus's hooks off again."""
        for hooked in self._hooked:
            hooked.remove_hooks()  # type: ignore[operator]
        self._hooked.clear()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """A step on records that are drawn here; the loader's batch only keeps time."""
        data: Any = self.trainer.datamodule  # type: ignore[attr-defined]
        records = data.sets["train"]
        drawn = np.flatnonzero(
            self._secret.random(len(records)) < self.private_batch / len(records)
        )
        self._counted = bool(len(drawn))
        # an empty draw is a step of noise alone
        taken = records.__getitems__(drawn if len(drawn) else np.array([0]))
        taken = data.transfer_batch_to_device(taken, self.device, 0)
        # times, noise and hidden classes: see the module
        torch.manual_seed(int(self._secret.integers(1 << 62)))
        return super().training_step(data.on_after_batch_transfer(taken, 0), batch_idx)

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        """Cut, add noise, average: the gradient that the optimizer sees."""
        parameters = [p for p in self.denoiser.parameters() if p.requires_grad]
        privatise(
            parameters,
            self.max_grad_norm,
            self.noise_multiplier,
            self.private_batch,
            self._noise,
            self._counted,
        )
        self.private_steps += 1

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what the accountant needs."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["diffshare"]["private"] = [self.private_steps, self.private_batch]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up what the accountant needs."""
        super().on_load_checkpoint(checkpoint)
        steps, batch = (checkpoint.get("diffshare") or {}).get("private") or (0, 0)
        self.private_steps, self.private_batch = int(steps), int(batch)

    @property
    def sampling_rate(self) -> float:
        """Probability with which a record is in a step, rounded up: what the accountant is told."""
        assert self.facts is not None
        return told_rate(self.private_batch / sum(self.facts.label_counts))

    @property
    def epsilon(self) -> float | None:
        """Of the steps so far, at ``delta``; None where nothing is protected."""
        if self.facts is None or not self.private_steps or not self.noise_multiplier:
            return None
        return spent(
            self.noise_multiplier,
            self.sampling_rate,
            self.private_steps,
            self.delta,
            self.accountant,
        )

    def card_fields(self, *, declare_labels: bool | None, declare_counts: bool) -> dict[str, Any]:
        """With epsilon, how it was come by, and what it does not bound.

        Class frequencies are declared only where they are asked for: they are outside the bound.
        """
        epsilon = self.epsilon
        private = self.noise_multiplier > 0
        frequencies = (not private) if declare_labels is None else declare_labels
        fields = super().card_fields(declare_labels=frequencies, declare_counts=declare_counts)
        if epsilon is None:
            return fields
        said = f"DP-SGD: noise multiplier {self.noise_multiplier:g}, norm {self.max_grad_norm:g}, delta {self.delta:g}"
        outside = [name for name in ("label_frequencies", "declared") if fields[name] is not None]
        privacy = {
            "mechanism": "DP-SGD of the weights: Poisson sampling, gradients of single records cut, Gaussian noise",
            "adjacency": "one record added or removed",
            "noise_multiplier": self.noise_multiplier,
            "max_grad_norm": self.max_grad_norm,
            "sampling_rate": self.sampling_rate,
            "steps": self.private_steps,
            "delta": self.delta,
            "accountant": ACCOUNTANTS[self.accountant],
            "outside": [*outside, *OUTSIDE],
        }
        return fields | {
            "epsilon": epsilon,
            "privacy": privacy,
            "protections": [*fields["protections"], said],
        }

    def save_parts(self, folder: Path) -> None:
        """Write the parts, without Opacus's hooks."""
        self.on_train_end()
        super().save_parts(folder)


def refuse_layers(network: nn.Module) -> None:
    """Refuse a layer that Opacus does not support, by its name and with the remedy.

    Raises:
        UserError: such a layer, or no Opacus.
    """
    _check_installed()
    from opacus.validators import ModuleValidator

    for name, layer in network.named_modules():
        if _keeps_statistics(layer) or (
            not list(layer.children()) and ModuleValidator.validate(layer, strict=False)
        ):
            kind = type(layer).__name__
            remedy = (
                "use GroupNorm"
                if "Norm" in kind
                else "use a layer that keeps the records of a batch apart"
            )
            raise UserError(
                f"model.denoiser: Opacus does not support the layer {name} ({kind}): {remedy}"
            )


def _keeps_statistics(layer: nn.Module) -> bool:
    """Whether a norm is one over records, or keeps a mean of them: Opacus looks at none without weights to train."""
    return isinstance(layer, _BatchNorm) or (
        isinstance(layer, _NormBase) and layer.track_running_stats
    )


def _check_installed() -> None:
    if importlib.util.find_spec("opacus") is None:
        raise UserError(
            "DP-SGD needs the package opacus, which is not installed: pip install 'diffshare[dp]'"
        )


def told_rate(rate: float) -> float:
    """A sampling rate rounded up to two digits, at most 1: epsilon rises with it, so that the bound holds."""
    unit = 10.0 ** (np.floor(np.log10(rate)) - 1)
    return min(1.0, float(f"{np.ceil(rate / unit - 1e-9) * unit:.2g}"))


def spent(
    noise_multiplier: float, rate: float, steps: int, delta: float, accountant: Accountant = "rdp"
) -> float:
    """Epsilon of so many steps of the subsampled Gaussian mechanism, at ``delta``, an upper bound.

    Args:
        noise_multiplier: sigma > 0.
        rate: q, the probability with which a record is in a step.
        steps: how many.
        delta: in (0, 1).
        accountant: ``rdp`` (Mironov, Talwar & Zhang 2019), or ``prv`` (Gopi, Lee & Wutschitz 2021),
            up to 0.01.

    Raises:
        UserError: no Opacus, or numbers that the accountant cannot handle.
    """
    _check_installed()
    from opacus.accountants import PRVAccountant, RDPAccountant

    sums = RDPAccountant() if accountant == "rdp" else PRVAccountant()
    sums.history = [(noise_multiplier, rate, steps)]
    # that the best order is the largest or least it has: the bound holds all the same
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return float(sums.get_epsilon(delta))
        except (ValueError, RuntimeError, ArithmeticError, MemoryError) as error:
            raise UserError(
                f"the accountant {accountant} cannot sum up {steps} steps at noise multiplier {noise_multiplier:g}, "
                f"rate {rate:g} and delta {delta:g}: set model.accountant to the other one ({', '.join(ACCOUNTANTS)})"
            ) from error


def privatise(
    parameters: list[Any],
    norm: float,
    noise_multiplier: float,
    batch: int,
    generator: torch.Generator,
    counted: bool,
) -> None:
    """Replace each parameter's gradient by the noisy mean of the records' cut gradients.

    Args:
        parameters: with ``grad_sample``, records x shape, which is taken away.
        norm: C.
        noise_multiplier: sigma.
        batch: expected records of a step, by which the sum is divided.
        generator: of the noise.
        counted: False takes the sum as 0.
    """
    if missing := sum(getattr(p, "grad_sample", None) is None for p in parameters):
        raise RuntimeError(
            f"{missing} parameters have no gradients of single records: DP-SGD would not be private"
        )
    squares = [p.grad_sample.flatten(1).square().sum(1) for p in parameters]
    norms = torch.stack(squares).sum(0).sqrt()
    factor = (norm / (norms + TINY)).clamp(max=1) * float(counted)
    for p in parameters:
        total = torch.tensordot(factor, p.grad_sample, 1)
        noise = torch.randn(total.shape, generator=generator, device=total.device)
        p.grad = (total + noise_multiplier * norm * noise) / batch
        p.grad_sample = None
