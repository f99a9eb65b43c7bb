"""Generative adversarial networks: SNGAN, and SSGAN with a second task for the discriminator."""

from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor
from torchmetrics import MeanMetric

from diffshare.batch import Batch
from diffshare.errors import UserError
from diffshare.generators.base import Facts, GenerativeModule
from diffshare.generators.losses import hinge_loss
from diffshare.generators.one_step import generate
from diffshare.generators.received_gan import GANBox, deviations, warn_of_collapse
from diffshare.nets.gan import TURNS, ResnetDiscriminator, ResnetGenerator
from diffshare.release.folder import Release
from diffshare.release.generator import UNCONDITIONAL
from diffshare.training.rates import Rate, optimizer_and_rate


def turn(x: Tensor) -> tuple[Tensor, Tensor]:
    """Images in all four directions, and by how many quarter turns (counter-clockwise): N x C x S x S => 4N, 4N."""
    turned = [torch.rot90(x, quarter, (2, 3)) for quarter in range(TURNS)]
    return torch.cat(turned), torch.arange(TURNS, device=x.device).repeat_interleave(len(x))


class GAN(GenerativeModule):
    """SNGAN: hinge loss, spectrally normalised projection discriminator (Miyato et al. 2018; Miyato & Koyama 2018).

    With ``rotation_weights`` it is SSGAN (Chen et al. 2019): the discriminator also learns how real images were turned,
    and the generator makes images of which it can tell that.

    A step is one of the generator, after ``discriminator_steps`` of the discriminator. A batch is shared out among
    the latter: each sees ``data.batch_size / discriminator_steps`` records. Both take their classes from the records,
    some hidden, so that the last embedding comes to stand for "no class" (the mix of classes of the training).

    Several GPUs need ``trainer.strategy ddp_find_unused_parameters_true``. Gradients are not clipped
    (``trainer.gradient_clip_val null``) or scaled (no ``16-mixed``).

    Args:
        generator: noise to images; the part that is released.
        discriminator: images to scores.
        optimizer: of the generator's weights.
        discriminator_optimizer: of the discriminator's; of the same kind where left out.
        discriminator_steps: of the discriminator for each of the generator (n_dis).
        rotation_weights: of the cross-entropy of the four directions, in the loss of the discriminator (beta) and of
            the generator (alpha); no second task where both are 0.
        condition_dropout: probability with which a record's class is hidden.
        lr_schedule: of both: ``constant`` or ``cosine`` (to zero at the last step), after the warm-up.
        warmup_steps: steps in which the rates rise linearly from 0.
    """

    family: ClassVar[str] = "gan"

    def __init__(
        self,
        generator: ResnetGenerator,
        discriminator: ResnetDiscriminator,
        optimizer: OptimizerCallable = torch.optim.Adam,
        discriminator_optimizer: OptimizerCallable | None = None,
        discriminator_steps: int = 1,
        rotation_weights: tuple[float, float] = (0.0, 0.0),
        condition_dropout: float = 0.1,
        lr_schedule: Rate = "constant",
        warmup_steps: int = 0,
    ) -> None:
        super().__init__(optimizer, lr_schedule, warmup_steps, sampling_steps=1, guidance=1.0)
        if discriminator_steps < 1:
            raise UserError(
                f"model.discriminator_steps is {discriminator_steps}: it must be at least 1"
            )
        if not all(0 <= weight < float("inf") for weight in rotation_weights):
            raise UserError(
                f"model.rotation_weights is {list(rotation_weights)}: two numbers of at least 0 are expected"
            )
        if not 0 <= condition_dropout < 1:
            raise UserError(
                f"model.condition_dropout is {condition_dropout}: a probability below 1"
            )
        self.generator: Any = generator
        self.discriminator: Any = discriminator
        if any(rotation_weights) != self.discriminator.config.rotations:
            raise UserError(
                f"model.rotation_weights is {list(rotation_weights)}, model.discriminator.rotations "
                f"{self.discriminator.config.rotations}: set that to true for a second task, both weights to 0 for none"
            )
        self.discriminator_optimizer = discriminator_optimizer or optimizer
        self.discriminator_steps, self.rotation_weights = (
            discriminator_steps,
            tuple(rotation_weights),
        )
        self.condition_dropout = condition_dropout
        self.automatic_optimization = False
        self.deviation = MeanMetric()
        self._evaluated = 0  # records of the present validation or test that this process has seen

    @property
    def conditional(self) -> bool:
        """Whether the model can be asked for a class."""
        return self.generator.config.num_class_embeds is not None

    def setup(self, stage: str) -> None:
        """Refuse a precision that two optimisers cannot share; learn what is trained on."""
        if str(self.trainer.precision).startswith("16"):
            raise UserError(
                f"trainer.precision is {self.trainer.precision}: a GAN trains in bf16-mixed or 32-true"
            )
        super().setup(stage)

    def check(self, facts: Facts) -> None:
        """Refuse images or classes that the networks do not fit."""
        config, judged = self.generator.config, self.discriminator.config
        channels, height, width = facts.shape
        for name, value in (
            ("generator.out_channels", config.out_channels),
            ("discriminator.in_channels", judged.in_channels),
        ):
            if value != channels:
                raise UserError(
                    f"model.{name} is {value}, the images have {channels} channels: set it to that"
                )
        stride = self.discriminator.stride
        if height % stride or width % stride:
            raise UserError(
                f"images of {width}x{height} pixels do not divide by the discriminator's stride {stride}: set "
                f"data.source.image_size to a multiple of {stride} or model.discriminator.halvings to less"
            )
        if (height, width) != (config.sample_size, config.sample_size):
            raise UserError(
                f"the images have {width}x{height} pixels: set model.generator.sample_size, which is "
                f"{config.sample_size}, or data.source.image_size to the other's value"
            )
        due = len(facts.labels) + 1
        if config.num_class_embeds != judged.num_class_embeds or config.num_class_embeds not in (
            None,
            due,
        ):
            raise UserError(
                f"num_class_embeds is {config.num_class_embeds} in model.generator and {judged.num_class_embeds} in "
                f"model.discriminator, the target has {due - 1} classes: set both to {due} (one more, for 'no class') "
                "or null (unconditional)"
            )

    # --- training ------------------------------------------------------------------------------------------------

    def loss(self, batch: Batch) -> Tensor:
        """The generator's: mean -D(G(z)), and the second task on its images; classes are those of the records."""
        labels = self._hide(batch.target)
        images = self._make(labels)
        scores, loss, _ = self._judge(images, labels, images, self.rotation_weights[1])
        return loss - scores.mean()

    def discriminator_loss(self, x: Tensor, target: Tensor) -> tuple[Tensor, Tensor | None]:
        """The discriminator's: hinge loss against as many images of the generator, and the second task on real ones.

        Args:
            x: real images in [-1, 1], n x C x H x W.
            target: their classes, int64, n.

        Returns:
            a float32 scalar; the share of turned images whose direction it knew, None without a second task.
        """
        labels = self._hide(target)
        with torch.no_grad():
            fakes = self._make(labels)
        images, both = torch.cat([x, fakes]), torch.cat([labels, labels])
        scores, loss, accuracy = self._judge(images, both, x, self.rotation_weights[0])
        real, false = scores.chunk(2)
        return loss + hinge_loss(real, false), accuracy

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Some steps of the discriminator, each on its share of the batch, then one of the generator."""
        optimizer, other = cast(Any, self.optimizers())
        if len(batch.x) < self.discriminator_steps:
            raise UserError(
                f"data.batch_size is {len(batch.x)}: it must be at least model.discriminator_steps, which is "
                f"{self.discriminator_steps}"
            )
        told = []
        shares = (part.tensor_split(self.discriminator_steps) for part in (batch.x, batch.target))
        for x, target in zip(*shares, strict=True):
            loss, accuracy = self.discriminator_loss(x, target)
            other.zero_grad()
            self.manual_backward(loss)
            other.optimizer.step()  # by itself: a step of the run is a step of the generator
            told.append(loss.detach())
        self.log("train/discriminator_loss", torch.stack(told).mean(), prog_bar=True)
        if accuracy is not None:
            self.log("train/rotation_accuracy", accuracy)
        loss = self._generator_step(optimizer, batch._replace(target=target))
        for rate in cast(Any, self.lr_schedulers()):
            rate.step()
        return loss

    def _generator_step(self, optimizer: Any, batch: Batch) -> Tensor:
        """The discriminator stays as it is to the bit: in evaluation mode its singular vectors are not refined."""
        self.discriminator.eval().requires_grad_(False)
        loss = self.loss(batch)
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        self.discriminator.train().requires_grad_(True)
        self.log("train/loss", loss.detach(), prog_bar=True)
        return loss.detach()

    def _make(self, labels: Tensor) -> Tensor:
        """Images of one share of a batch, from fresh noise."""
        noise = torch.randn(len(labels), self.generator.config.latent_dim, device=labels.device)
        return self.generator(noise, labels if self.conditional else None)

    def _judge(
        self, x: Tensor, labels: Tensor, whole: Tensor, weight: float
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Scores of images; the weighted loss of the second task on a quarter of ``whole``; its accuracy."""
        classes = labels if self.conditional else None
        if not weight:
            return self.discriminator(x, classes)[0], x.new_zeros(()), None
        # in each direction: as many images as there are
        turned, quarters = turn(whole[: -(-len(whole) // TURNS)])
        scores, logits = self.discriminator(x, classes, turned)
        return (
            scores,
            weight * F.cross_entropy(logits, quarters),
            (logits.argmax(1) == quarters).float().mean(),
        )

    def _hide(self, target: Tensor) -> Tensor:
        """Classes as the networks number them, some of them replaced by "no class"."""
        if not self.conditional:
            return target
        hidden = torch.rand(len(target), device=target.device) < self.condition_dropout
        return target.masked_fill(hidden, self.generator.config.num_class_embeds - 1)

    def configure_optimizers(self) -> Any:
        """An optimiser and its rate for each network."""
        first = optimizer_and_rate(
            self, self.optimizer, self.lr_schedule, self.warmup_steps, self.generator
        )
        second = optimizer_and_rate(
            self,
            self.discriminator_optimizer,
            self.lr_schedule,
            self.warmup_steps,
            self.discriminator,
        )
        return [first["optimizer"], second["optimizer"]], [
            first["lr_scheduler"],
            second["lr_scheduler"],
        ]

    # --- validation: how much samples differ, from noise that is the same every time ---------------------------------

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Deviation of samples of the records' classes."""
        self._evaluate(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Deviation of samples of the records' classes."""
        self._evaluate(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the mean."""
        self._log_deviation("val")

    def on_test_epoch_end(self) -> None:
        """Log the mean."""
        self._log_deviation("test")

    def _evaluate(self, batch: Batch) -> None:
        assert self.facts is not None
        number = (
            self._evaluated + np.arange(len(batch.x))
        ) * self.trainer.world_size + self.global_rank
        self._evaluated += len(batch.x)
        labels = (
            batch.target.cpu().numpy() if self.conditional else np.full(len(number), UNCONDITIONAL)
        )
        spread = deviations(self.draw(labels, number, 0), labels)
        for deviation in spread.values():
            self.deviation.update(deviation)
        self.deviation.update(0.0, 0.0)  # a batch may hold one record of each class
        if not self.trainer.sanity_checking:
            warn_of_collapse(spread, self.facts.labels)

    def _log_deviation(self, stage: str) -> None:
        if torch.isfinite(deviation := self.deviation.compute()):
            self.log(f"{stage}/deviation", deviation, prog_bar=True)
        self.deviation.reset()
        self._evaluated = 0

    # --- samples and release -----------------------------------------------------------------------------------------

    def draw(self, labels: np.ndarray, indices: np.ndarray, seed: int) -> np.ndarray:
        """Samples from the weights as they are now; see the base class."""
        return generate(self.generator, labels, indices, seed)

    def save_parts(self, folder: Path) -> None:
        """Write ``generator`` in the layout of diffusers; the discriminator has seen the records and stays here."""
        self.generator.save_pretrained(folder / "generator")

    @classmethod
    def receive(cls, release: Release, **options: Any) -> GANBox:
        """Open a release as a black box."""
        return GANBox.open(release, "generator", {"ResnetGenerator": ResnetGenerator}, **options)
