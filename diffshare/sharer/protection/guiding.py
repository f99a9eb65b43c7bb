"""Samples that are guided to a chosen share of a property by a classifier's gradient, while they are made.

Each sample is told, by its own number, whether it is to have the property: with the probability p in every class. The
denoiser's prediction is then moved, at every step, by the gradient of scale * log P(what was told | prediction)
(:class:`diffshare.generators.process.Tilted`): classifier guidance (Dhariwal & Nichol 2021, arXiv 2105.05233, section
4) with a classifier of clean images (Bansal et al. 2023, arXiv 2302.07121, eq. 6), as PriSampler guides (Hu & Pang
2023, arXiv 2306.05208).

What a sample is told depends on the model's weights too, which stay with the sharer: whoever knew it would see in how
many samples the guidance failed, and that depends on the model's own share.

Beside the acceptance of :mod:`diffshare.sharer.protection.sampling` it asks the model for no more samples than it
gives, each for about three times the work, and reaches what the model makes too rarely to wait for. It promises less:
guidance may fail for a sample, which then looks as the model would have made it, and it may please the classifier
instead of making the property. What came out has to be read, by another classifier.
"""

import hashlib
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from diffshare.classifiers.property import Platt
from diffshare.data.recordsets import scaled
from diffshare.errors import UserError
from diffshare.generators.latent import LatentBox
from diffshare.generators.process import Tilt
from diffshare.generators.received import DiffusionBox
from diffshare.release.card import Card
from diffshare.release.generator import Generator, Ledger
from diffshare.sharer.protection.asked import SCALE, check_scale, check_share

CLEAR = 0.05  # what the guide's own readings of both kinds must differ by
LEAST = 50  # samples that are judged


@dataclass(frozen=True)
class Guide:
    """A classifier that can be differentiated.

    Attributes:
        networks: images in [-1, 1], N x C x H x W, to logits, N x K; one a fold, on the CPU, in evaluation mode.
        scalings: of each network's logits.
        place: the class that counts as the property.
        shape: H, W, C of the images that they were trained on.
    """

    networks: Sequence[nn.Module]
    scalings: Sequence[Platt]
    place: int
    shape: tuple[int, ...]

    def log_likelihoods(self, x: Tensor) -> Tensor:
        """Log P(property | x) and log P(not property | x) of the folds' mean, N x 2."""
        likelihoods = []
        for network, scaling in zip(self.networks, self.scalings, strict=True):
            logits = network(x) * scaling.scale
            logs = (logits + torch.as_tensor(scaling.shift).to(logits)).log_softmax(1)
            others = [k for k in range(logs.shape[1]) if k != self.place]
            likelihoods.append(torch.stack([logs[:, self.place], logs[:, others].logsumexp(1)], 1))
        return torch.stack(likelihoods).logsumexp(0) - float(np.log(len(likelihoods)))


@dataclass
class GuidedShare:
    """A black box whose samples are guided to a chosen share of a property in every class; see the module.

    It is a :class:`diffshare.release.generator.Generator`: sample i of a seed depends on those two, the label, steps
    and guidance, not on the batch.

    Args:
        generator: the sharer's model, a diffusion model of images.
        guide: the classifier.
        share: p, in (0, 1).
        scale: s; 0 leaves the samples as they are, 1 is Bayes' rule for a perfect classifier.

    Raises:
        UserError: a share or scale that is none, a model that cannot be guided, or a classifier of other images.
    """

    generator: Generator
    guide: Guide
    share: float
    scale: float = SCALE
    card: Card = field(init=False)
    ledger: Ledger = field(init=False)
    _key: int = field(init=False)

    def __post_init__(self) -> None:
        """Check, and pass on card and ledger."""
        check_share(self.share)
        check_scale(self.scale)
        box = guidable(self.generator)
        size, channels = box.card.image_size, box.denoiser.config.in_channels
        if self.guide.shape != (size, size, channels):
            raise UserError(
                f"the classifier that guides was trained on images of {' x '.join(map(str, self.guide.shape))}, the "
                f"model makes {size} x {size} x {channels}: train it on images of that size and as many channels"
            )
        moved = tuple(deepcopy(network).to(box.denoiser.device) for network in self.guide.networks)
        self.guide = replace(self.guide, networks=moved)  # the caller's stay where they are
        self.card, self.ledger, self._key = box.card, box.ledger, _digest(box.denoiser)

    def told(self, indices: np.ndarray, seed: int) -> np.ndarray:
        """Whether each sample of a seed is to have the property, bool, n."""
        chance = [np.random.default_rng([seed, int(i), self._key]).random() for i in indices]
        return np.array(chance) < self.share

    def sample(
        self,
        labels: np.ndarray,
        indices: np.ndarray,
        *,
        seed: int,
        steps: int | None = None,
        guidance: float = 1.0,
    ) -> np.ndarray:
        """One guided sample for each label; see :class:`diffshare.release.generator.Generator`."""
        tilt, box = self._tilt(self.told(indices, seed)), guidable(self.generator)
        return box.sample(labels, indices, seed=seed, steps=steps, guidance=guidance, tilt=tilt)

    def refuse_unguided(self, x: np.ndarray, seed: int) -> None:
        """Refuse samples in which not even the guide sees what they were told.

        It is the easiest reader to please: where it sees a difference, another may see none all the same.

        Args:
            x: samples 0 to n - 1 of the seed, uint8, n x H x W x C; fewer than 50 are not judged.
            seed: of them.

        Raises:
            UserError: those told to have the property are no more likely to, by ``CLEAR``, than the others.
        """
        told = self.told(np.arange(len(x)), seed)
        if len(x) < LEAST or told.all() or not told.any():
            return
        device = guidable(self.generator).denoiser.device  # the networks were moved there
        parts = [
            scaled(torch.from_numpy(x[start : start + 500])).to(device)
            for start in range(0, len(x), 500)
        ]
        with torch.inference_mode():
            likely = (
                torch.cat([self.guide.log_likelihoods(part)[:, 0].exp() for part in parts])
                .cpu()
                .numpy()
            )
        high, low = float(likely[told].mean()), float(likely[~told].mean())
        if high - low < CLEAR:
            raise UserError(
                f"guidance did nothing: the classifier reads the property in {high:.0%} of the samples that were to "
                f"have it and in {low:.0%} of the others; raise `guide_scale`, or give the classifier more steps or "
                "records"
            )

    def _tilt(self, wanted: np.ndarray) -> Tilt:
        """Scale * log P(what each sample is told | x)."""
        place = torch.from_numpy(np.where(wanted, 0, 1))[:, None]

        def tilt(x: Tensor) -> Tensor:
            return self.scale * self.guide.log_likelihoods(x).gather(1, place.to(x.device))[:, 0]

        return tilt


def _digest(network: nn.Module) -> int:
    """A number of the weights of a network, 64 bits."""
    digest = hashlib.sha256()
    for weights in network.parameters():
        digest.update(weights.detach().cpu().numpy().tobytes())
    return int.from_bytes(digest.digest()[:8], "big")


def guidable(generator: Generator) -> DiffusionBox:
    """The model, as one that can be guided.

    Raises:
        UserError: it denoises no images.
    """
    if not isinstance(generator, DiffusionBox) or isinstance(generator, LatentBox):
        raise UserError(
            f"a model of the family '{generator.card.family}' cannot be guided, it denoises no images: use `method` "
            "accept"
        )
    return generator
