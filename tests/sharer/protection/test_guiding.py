"""Guided samples: of a model that knows its renderings by heart, with a classifier that knows them too."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn

from diffshare.classifiers.property import Platt
from diffshare.data.recordsets import scaled
from diffshare.data.rendered import RenderedFaces
from diffshare.errors import UserError
from diffshare.generators.diffusion import sampling_scheduler
from diffshare.generators.latent import LatentBox
from diffshare.generators.one_step import OneStepBox
from diffshare.generators.received import DiffusionBox
from diffshare.release.card import Card
from diffshare.release.generator import Generator, Ledger
from diffshare.sharer.protection.guiding import Guide, GuidedShare
from diffshare.sharer.protection.sampling import TargetShare

SIZE, COUNT, HATS = 16, 150, 0.2
CLASSES = ("not Smiling", "Smiling")
SOURCE = RenderedFaces(COUNT, SIZE, 3, prevalence={"Hat": HATS})
FACES = SOURCE.read(np.arange(COUNT))
HAT = SOURCE.index().attribute("Hat").codes.astype(bool)
SMILES = SOURCE.index().attribute("Smiling").codes.astype(bool)


def distances(x: Tensor, known: Tensor) -> Tensor:
    """Squared, N x M."""
    a, b = x.flatten(1).double(), known.flatten(1).double()
    return (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T


class Memory(nn.Module):
    """The exact denoiser of a handful of faces, as many of each class: E[eps | x_t, class]."""

    def __init__(self, bars: Tensor) -> None:
        super().__init__()
        self.config = SimpleNamespace(in_channels=3, sample_size=SIZE)
        self.faces = nn.Parameter(scaled(torch.from_numpy(FACES)), requires_grad=False)
        self.bars, self.device = bars, torch.device("cpu")
        smiles = torch.from_numpy(SMILES)
        # of class 0, 1, none
        self.hidden = torch.stack([smiles, ~smiles, torch.zeros_like(smiles)])

    def forward(self, x: Tensor, t: Tensor, class_labels: Tensor) -> UNet2DOutput:
        bar = self.bars[t.long()].double()
        logs = -distances(x, bar.sqrt() * self.faces) / (2 * (1 - bar))
        shares = logs.masked_fill(self.hidden[class_labels], -torch.inf).softmax(1)
        clean = (shares @ self.faces.flatten(1).double()).reshape(x.shape)
        return UNet2DOutput(sample=((x - bar.sqrt() * clean) / (1 - bar).sqrt()).float())


class Nearest(nn.Module):
    """Logits of no hat and hat: how near the faces of both kinds are."""

    def __init__(self, width: float = 2.0) -> None:
        super().__init__()
        self.faces, self.width = scaled(torch.from_numpy(FACES)), width

    def forward(self, x: Tensor) -> Tensor:
        logs = -distances(x, self.faces) / (2 * self.width**2)
        return torch.stack([logs[:, ~HAT].logsumexp(1), logs[:, HAT].logsumexp(1)], 1).float()


def model() -> DiffusionBox:
    trained = DDPMScheduler(clip_sample=False)
    card = Card("ddpm", "image", CLASSES, 20, image_size=SIZE)
    return DiffusionBox(card, Memory(trained.alphas_cumprod), sampling_scheduler(trained))


def guide(place: int = 1, shape: tuple[int, ...] = (SIZE, SIZE, 3)) -> Guide:
    return Guide((Nearest(), Nearest(1.5)), (Platt(1.0, np.zeros(2)),) * 2, place, shape)


def drawn(box: Any, count: int, start: int = 0, seed: int = 0) -> np.ndarray:
    numbers = np.arange(start, start + count)
    return box.sample(numbers % 2, numbers, seed=seed)


def hats(x: np.ndarray) -> np.ndarray:
    """Whether each sample is a face with a hat: the nearest one."""
    return HAT[
        distances(scaled(torch.from_numpy(x)), scaled(torch.from_numpy(FACES))).argmin(1).numpy()
    ]


@pytest.mark.parametrize("share", [0.5, 0.8])
def test_the_samples_of_every_class_go_where_they_are_told(share: float) -> None:
    box = GuidedShare(model(), guide(), share, scale=3.0)
    plain, made, told = drawn(model(), 200), drawn(box, 200), box.told(np.arange(200), 0)
    for label in (0, 1):
        assert hats(plain)[label::2].mean() < 0.35
        assert hats(made)[label::2].mean() == pytest.approx(share, abs=0.2)
    assert (hats(made) == told).mean() > 0.85
    nearest = (
        distances(scaled(torch.from_numpy(made)), scaled(torch.from_numpy(FACES))).min(1).values
    )
    assert nearest.max() < 1e-6  # faces that the model knows, and nothing to please the classifier


def test_what_is_told_has_the_share_and_depends_on_seed_number_and_model() -> None:
    numbers, box = np.arange(2000), GuidedShare(model(), guide(), 0.3)
    told = box.told(numbers, 1)
    assert told.mean() == pytest.approx(0.3, abs=0.04)
    np.testing.assert_array_equal(
        told[500:700], GuidedShare(model(), guide(), 0.3).told(numbers[500:700], 1)
    )
    other = model()
    other.denoiser.faces.data[0] += 1e-3
    for differs in (box.told(numbers, 2), GuidedShare(other, guide(), 0.3).told(numbers, 1)):
        assert np.mean(differs == told) == pytest.approx(0.3**2 + 0.7**2, abs=0.06)


def test_the_other_class_of_the_property_is_guided_the_other_way() -> None:
    made = drawn(GuidedShare(model(), guide(place=0), 0.1, scale=3.0), 60)
    assert hats(made).mean() > 0.6


def test_a_scale_of_0_is_plain_sampling() -> None:
    box = GuidedShare(model(), guide(), 0.5, scale=0.0)
    np.testing.assert_array_equal(drawn(box, 20), drawn(model(), 20))
    assert not np.array_equal(drawn(GuidedShare(model(), guide(), 0.5), 20), drawn(model(), 20))


def test_samples_that_the_guide_itself_sees_nothing_in_are_refused() -> None:
    box = GuidedShare(model(), guide(), 0.5, scale=3.0)
    box.refuse_unguided(drawn(box, 60), 0)
    plain = drawn(model(), 60)
    with pytest.raises(
        UserError,
        match=r"guidance did nothing: the classifier reads the property in \d+% of the sam",
    ):
        box.refuse_unguided(plain, 0)
    box.refuse_unguided(plain[:49], 0)  # too few to judge


def test_a_sample_does_not_depend_on_its_batch() -> None:
    box = GuidedShare(model(), guide(), 0.5)
    assert isinstance(box, Generator)
    whole = drawn(box, 30).astype(int)
    parts = np.concatenate([drawn(box, 7), drawn(box, 23, start=7)])
    assert np.abs(whole - parts).max() <= 1
    assert box.ledger.queries == 60


class Known:
    """A reader that knows every face."""

    def share(self, x: np.ndarray) -> float:
        return float(hats(x).mean())

    def posterior(self, x: np.ndarray, share: float) -> np.ndarray:
        return hats(x).astype(float)


def test_candidates_that_were_guided_can_be_accepted() -> None:
    guided = GuidedShare(model(), guide(), 0.5, scale=3.0)
    box = TargetShare(guided, Known(), 0.5, pilot=60)
    assert hats(drawn(box, 80)).mean() == pytest.approx(0.5, abs=0.17)
    # accepted alone, a hat in five faces takes 2.5 candidates a sample
    assert box.ledger.queries < 2 * (80 + 2 * 120)


def test_log_likelihoods_are_those_of_the_folds_mean() -> None:
    x = scaled(torch.from_numpy(FACES[:9]))
    made = guide(place=0).log_likelihoods(x).exp()
    each = [network(x).softmax(1) for network in guide().networks]
    torch.testing.assert_close(made, (each[0] + each[1]) / 2, rtol=1e-4, atol=1e-6)


def test_of_three_classes_the_two_others_are_one() -> None:
    networks = (lambda x: torch.tensor([[0.1, 0.7, 0.2]]).log().repeat(len(x), 1),)
    made = Guide(networks, (Platt(1.0, np.zeros(3)),), 2, (SIZE, SIZE, 3)).log_likelihoods(
        torch.zeros(2, 3, 4, 4)
    )
    torch.testing.assert_close(made.exp(), torch.tensor([[0.2, 0.8]]).repeat(2, 1))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"share": 1.0}, "the share to show is 1.0"),
        ({"scale": -1.0}, "the scale of the guide is -1.0"),
        ({"scale": float("nan")}, "the scale of the guide is nan"),
        ({"guide": guide(shape=(8, 8, 3))}, "images of 8 x 8 x 3, the model makes 16 x 16 x 3"),
        ({"guide": guide(shape=(16, 16, 1))}, "images of 16 x 16 x 1, the model makes 16 x 16 x 3"),
    ],
)
def test_what_cannot_guide_is_refused(changed: dict[str, Any], words: str) -> None:
    given: dict[str, Any] = {"generator": model(), "guide": guide(), "share": 0.5}
    with pytest.raises(UserError, match=words):
        GuidedShare(**(given | changed))


@pytest.mark.parametrize("kind", [LatentBox, OneStepBox])
def test_a_model_that_denoises_no_images_is_refused(kind: Any) -> None:
    other = kind.__new__(kind)
    other.card, other.ledger = Card("other", "image", (), 1, image_size=SIZE), Ledger()
    with pytest.raises(
        UserError, match="a model of the family 'other' cannot be guided.*use `method` accept"
    ):
        GuidedShare(other, guide(), 0.5)
