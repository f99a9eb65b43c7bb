"""Training losses of diffusion models and autoencoders, one number a record, so that their difference is the text."""

import math

import torch
from diffusers import SchedulerMixin
from diffusers.training_utils import compute_snr
from torch import Tensor, nn

from diffshare.generators.process import Process


def denoise(denoiser: nn.Module, noisy: Tensor, timesteps: Tensor, labels: Tensor | None) -> Tensor:
    """The denoiser's prediction in fp32, whatever precision it computed in. N x C x H x W."""
    return denoiser(noisy, timesteps, class_labels=labels).sample.float()


def diffusion_loss(
    denoiser: nn.Module,
    scheduler: SchedulerMixin,
    x: Tensor,
    labels: Tensor | None,
    noise: Tensor,
    timesteps: Tensor,
    min_snr_gamma: float | None = None,
) -> Tensor:
    """Mean squared error of the predicted noise or velocity.

    Noise: ||eps - eps_hat||^2 (Ho et al. 2020, eq. 14). Velocity: v = alpha eps - sigma x (Salimans & Ho 2022,
    appendix D). Min-SNR weighting multiplies by min(SNR, gamma) / SNR for noise and min(SNR, gamma) / (SNR + 1) for
    velocity (Hang et al. 2023, section 3.4).

    Args:
        denoiser: diffusers' U-Net interface ``(x, t, class_labels)``.
        scheduler: gives the noise levels and says what is predicted (``prediction_type``).
        x: clean images in [-1, 1], float32, N x C x H x W.
        labels: class to condition on, int64, N; None for an unconditional denoiser.
        noise: standard normal, shape of ``x``.
        timesteps: int64 in 0..T-1, N.
        min_snr_gamma: gamma; None weighs all timesteps alike.

    Returns:
        float32, N.
    """
    noisy = scheduler.add_noise(x, noise, timesteps)
    velocity = scheduler.config.prediction_type == "v_prediction"
    wanted = scheduler.get_velocity(x, noise, timesteps) if velocity else noise
    loss = (denoise(denoiser, noisy, timesteps, labels) - wanted).square().flatten(1).mean(1)
    if min_snr_gamma is None:
        return loss
    snr = compute_snr(scheduler, timesteps)
    return loss * torch.clamp(snr, max=min_snr_gamma) / (snr + 1 if velocity else snr)


def noise_loss(
    denoiser: nn.Module,
    process: Process,
    x: Tensor,
    labels: Tensor | None,
    noise: Tensor,
    times: Tensor,
) -> Tensor:
    """Denoising score matching weighted by sigma^2: ||sigma s + eps||^2, with the score s = -F / sigma.

    Song et al. 2021, eq. 7 (VE, VP, sub-VP); Song & Ermon 2019, eq. 6 (NCSN).

    Args:
        denoiser: diffusers' U-Net interface ``(x, t, class_labels)``; F is its output.
        process: gives the noise levels and scales the network's input.
        x: clean images in [-1, 1], float32, N x C x H x W.
        labels: class to condition on, int64, N; None for an unconditional denoiser.
        noise: standard normal, shape of ``x``.
        times: of ``process.times``, N.

    Returns:
        float32, N.
    """
    noisy = process.add_noise(x, noise, times)
    output = process.output(
        lambda inputs, time: denoise(denoiser, inputs, time, labels), noisy, times
    )
    return (output - noise).square().flatten(1).mean(1)


def flow_loss(
    denoiser: nn.Module,
    process: Process,
    x: Tensor,
    labels: Tensor | None,
    noise: Tensor,
    times: Tensor,
) -> Tensor:
    """Velocity of the straight path from record to noise: ||F - (eps - x)||^2 (Liu et al. 2023, eq. 1).

    Arguments and result as in :func:`noise_loss`.
    """
    noisy = process.add_noise(x, noise, times)
    output = process.output(
        lambda inputs, time: denoise(denoiser, inputs, time, labels), noisy, times
    )
    return (output - (noise - x)).square().flatten(1).mean(1)


def edm_loss(
    denoiser: nn.Module,
    process: Process,
    x: Tensor,
    labels: Tensor | None,
    noise: Tensor,
    times: Tensor,
) -> Tensor:
    """||D - x||^2 / c_out^2: as large at each level in an untrained network (Karras et al. 2022, eq. 8).

    Arguments and result as in :func:`noise_loss`; D is the record that the network's output stands for.
    """
    noisy = process.add_noise(x, noise, times)
    output = process.output(
        lambda inputs, time: denoise(denoiser, inputs, time, labels), noisy, times
    )
    return (output - process.target(x, noisy, times)).square().flatten(1).mean(1)


def autoencoder_loss(
    x: Tensor, output: Tensor, mean: Tensor, logvar: Tensor, kl_weight: float
) -> Tensor:
    """Absolute error a pixel, and the posterior's KL divergence to N(0, 1) divided by the record's pixels.

    |x - output| + w (mean^2 + var - 1 - log var) / 2 (Kingma & Welling 2014, appendix B; Rombach et al. 2022,
    appendix G).

    Args:
        x: images in [-1, 1], float32, N x C x H x W.
        output: their reconstructions.
        mean: of the posterior, N x c x h x w.
        logvar: logarithm of its variances.
        kl_weight: w.

    Returns:
        float32, N.
    """
    return (x - output).abs().flatten(1).mean(1) + kl_weight * kl_divergence(mean, logvar) / x[
        0
    ].numel()


def vae_loss(
    x: Tensor,
    output: Tensor,
    mean: Tensor,
    logvar: Tensor,
    scale: float | None = None,
    kl_weight: float = 1.0,
) -> Tensor:
    """Negative evidence lower bound a value, records being Gaussian around their reconstructions.

    (sum (x - output)^2 / (2 s^2) + D (log s + log(2 pi) / 2) + w KL) / D for the D values of a record (Kingma & Welling
    2014, eq. 10; Higgins et al. 2017 for w, their beta).

    Args:
        x: images in [-1, 1], float32, N x C x H x W.
        output: their reconstructions.
        mean: of the posterior, N x d.
        logvar: logarithm of its variances.
        scale: s; see :func:`gaussian_nats`.
        kl_weight: w.

    Returns:
        nats, float32, N.
    """
    error = (x - output).square().flatten(1).mean(1)
    return gaussian_nats(error, scale) + kl_weight * kl_divergence(mean, logvar) / x[0].numel()


def gaussian_nats(error: Tensor, scale: float | None = None) -> Tensor:
    """-log N(x; output, s^2) a value, of mean squared errors: N => N.

    Where no scale s is given it is the likeliest for these errors, the root of their mean (Rybkin et al. 2021, section
    3.2: the optimal sigma-VAE).
    """
    variance = (
        error.detach().mean().clamp(min=1e-6) if scale is None else error.new_tensor(scale**2)
    )
    return (error / variance + torch.log(2 * math.pi * variance)) / 2


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL divergence of N(mean, exp(logvar)) to N(0, 1), summed over a latent: N x ... => N, nats."""
    return (mean.square() + logvar.exp() - 1 - logvar).flatten(1).sum(1) / 2


def hinge_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Loss of a discriminator from its scores: mean max(0, 1 - D(x)) + max(0, 1 + D(x')) (Lim & Ye 2017), a scalar."""
    return torch.relu(1 - real).mean() + torch.relu(1 + fake).mean()
