"""The critic of I(X;Y): MINE (Belghazi et al. 2018, arXiv 1801.04062) for a discrete Y, on frozen features.

The network has one output per class, T(x, 0) .. T(x, K-1), instead of Y as one more input: the same family of functions
up to the first layer, and the product of marginals is a sum over K outputs of one pass.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.sampler import BatchSampler, RandomSampler

from diffshare.errors import UserError
from diffshare.stats.information import donsker_varadhan
from diffshare.training.quiet import passing_trainer, quiet


@contextlib.contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seeds torch for the block and gives its state back; one thread, as sums of several depend on their number."""
    threads = torch.get_num_threads()
    with isolate_rng(), torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


class Critic(LightningModule):
    """Maximises the Donsker-Varadhan bound of I(X;Y).

    Args:
        network: features (N x d) to T (N x K).
        shares: p(y) of the records, K.
        learning_rate: of Adam.
        weight_decay: of Adam, decoupled.
        marginals: ``exact`` sums over Y; ``shuffled`` permutes Y within the batch, as the paper does.
        moving_average: rate in (0, 1] of the average of E[exp T] by which its gradient is divided (MINE, section 3.2:
            a batch's own mean biases the gradient); None divides by the batch's.
    """

    def __init__(
        self,
        network: nn.Module,
        shares: Sequence[float],
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        marginals: Literal["exact", "shuffled"] = "exact",
        moving_average: float | None = None,
    ) -> None:
        super().__init__()
        self.network, self.learning_rate, self.weight_decay = network, learning_rate, weight_decay
        self.marginals, self.moving_average = marginals, moving_average
        self.average: Tensor | None = None
        self.register_buffer("log_shares", torch.log(torch.tensor(shares, dtype=torch.float32)))

    def forward(self, x: Tensor) -> Tensor:
        """Features, N x d => T(x, k), N x K."""
        return self.network(x)

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Minus the bound of the batch."""
        x, y = batch
        values = self(x)
        joint = values.gather(1, y[:, None]).mean()
        if self.marginals == "shuffled":
            terms = values.gather(1, y[torch.randperm(len(y), device=y.device), None])
        else:
            terms = values + self.log_shares
        log_mean = terms.flatten().logsumexp(0) - float(np.log(len(x)))
        if self.moving_average is None:
            return log_mean - joint
        mean = log_mean.exp()
        rate = 1.0 if self.average is None else self.moving_average
        self.average = rate * mean.detach() + (1 - rate) * (
            mean.detach() if self.average is None else self.average
        )
        return mean / self.average - joint  # its gradient is that of log E with the average below

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Adam with decoupled weight decay."""
        return torch.optim.AdamW(
            self.parameters(), self.learning_rate, weight_decay=self.weight_decay
        )


class _EarlyStopping(Callback):
    """Keeps the weights of the best held-out bound and stops after ``patience`` epochs without a better one."""

    def __init__(self, x: Tensor, y: np.ndarray, patience: int) -> None:
        self.x, self.y, self.patience = x, y, patience
        # a constant critic has the bound 0: worse than that is not kept
        self.best, self.waited = (
            0.0,
            0,
        )
        self.weights: dict[str, Tensor] | None = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        with torch.no_grad():
            bound = donsker_varadhan(pl_module(self.x).numpy(), self.y)
        self.waited += 1
        if bound > self.best:
            self.best, self.waited = bound, 0
            self.weights = {name: value.clone() for name, value in pl_module.state_dict().items()}
        if self.waited >= self.patience:
            trainer.should_stop = True


@dataclass(frozen=True)
class FittedCritic:
    """A frozen critic.

    Attributes:
        module: the critic, in evaluation mode.
        mean: taken off the features, d; 0 where they are not standardised.
        scale: that they are divided by, d; 1 where they are not standardised.
        held_out: bound on records that it was not trained on, nats; None where none were held out.
    """

    module: Critic
    mean: np.ndarray
    scale: np.ndarray
    held_out: float | None

    @torch.inference_mode()
    def values(self, features: np.ndarray) -> np.ndarray:
        """T(x_i, k), float64, N x K."""
        return (
            self.module(torch.from_numpy((features - self.mean) / self.scale))
            .numpy()
            .astype(np.float64)
        )


class CriticFit:
    """How a critic is fitted. The defaults stop early on held-out records.

    Args:
        hidden: widths of the hidden layers.
        batch_size: records a step; smaller sets are one batch.
        learning_rate: of Adam.
        weight_decay: of Adam, decoupled.
        max_epochs: passes over the data.
        patience: epochs without a better held-out bound after which to stop; None holds nothing out and goes on.
        held_out: share of the records that is held out.
        marginals: ``exact`` sums over Y, ``shuffled`` permutes it within the batch.
        moving_average: rate of the moving average in the gradient, in (0, 1]; None for none.
        standardise: bring each feature to mean 0 and variance 1 first; the paper takes features as they are.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (100, 20),
        batch_size: int = 512,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-2,
        max_epochs: int = 200,
        patience: int | None = 15,
        held_out: float = 0.2,
        marginals: Literal["exact", "shuffled"] = "exact",
        moving_average: float | None = None,
        standardise: bool = True,
    ) -> None:
        if not 0 < held_out < 1:
            raise UserError(f"critic.held_out is {held_out}: a share lies between 0 and 1")
        if batch_size < 2 or max_epochs < 1 or (patience is not None and patience < 1):
            raise UserError("critic: batch_size is at least 2, max_epochs and patience at least 1")
        if not learning_rate > 0:
            raise UserError(f"critic.learning_rate is {learning_rate}: it is greater than 0")
        if not weight_decay >= 0:
            raise UserError(f"critic.weight_decay is {weight_decay}: it is at least 0")
        if any(width < 1 for width in hidden):
            raise UserError(f"critic.hidden is {list(hidden)}: a layer has at least 1 unit")
        if moving_average is not None and not 0 < moving_average <= 1:
            raise UserError(f"critic.moving_average is {moving_average}: it lies in (0, 1]")
        self.hidden, self.batch_size, self.learning_rate = tuple(hidden), batch_size, learning_rate
        self.weight_decay, self.max_epochs, self.patience = weight_decay, max_epochs, patience
        self.held_out, self.marginals, self.moving_average = held_out, marginals, moving_average
        self.standardise = standardise

    def fit(
        self, features: np.ndarray, target: np.ndarray, classes: int, seed: int
    ) -> FittedCritic:
        """Fit a critic; the same arguments give the same one.

        Args:
            features: finite, float32, N x d.
            target: classes, integers in 0..classes-1, N.
            classes: number of classes K.
            seed: of the start, the held-out records and the order.
        """
        mean, scale = (
            np.zeros(features.shape[1], np.float32),
            np.ones(features.shape[1], np.float32),
        )
        if self.standardise:
            mean, spread = features.mean(0), features.std(0)
            scale = np.where(spread < 1e-6, 1, spread).astype(features.dtype)
        order = np.random.default_rng(seed).permutation(len(target))
        kept = int(self.held_out * len(target)) if self.patience else 0
        held, used = order[:kept], order[kept:]
        x = torch.from_numpy(((features - mean) / scale).astype(np.float32))
        y = torch.from_numpy(target.astype(np.int64))
        shares = (np.bincount(target[used], minlength=classes) / len(used)).clip(1e-12)
        with reproducible(seed):
            module = Critic(
                self._network(features.shape[1], classes),
                shares.tolist(),
                self.learning_rate,
                self.weight_decay,
                self.marginals,
                self.moving_average,
            )
            stopping = _EarlyStopping(x[held], target[held], self.patience or 1)
            self._train(module, x[used], y[used], [stopping] if kept else [])
            if kept:
                self._restore(module, stopping)
        return FittedCritic(module.eval(), mean, scale, stopping.best if kept else None)

    def _network(self, inputs: int, classes: int) -> nn.Sequential:
        widths = [inputs, *self.hidden]
        layers: list[nn.Module] = []
        for a, b in zip(widths[:-1], widths[1:], strict=True):
            layers += [nn.Linear(a, b), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], classes))

    def _train(self, module: Critic, x: Tensor, y: Tensor, callbacks: list[Callback]) -> None:
        size = min(self.batch_size, len(x))
        data = TensorDataset(x, y)
        batches = BatchSampler(RandomSampler(data), size, drop_last=True)
        with quiet():
            trainer = passing_trainer(
                precision="32-true",
                max_epochs=self.max_epochs,
                callbacks=callbacks,
            )
            trainer.fit(module, DataLoader(data, batch_size=None, sampler=batches))

    def _restore(self, module: Critic, stopping: _EarlyStopping) -> None:
        if stopping.weights is not None:
            module.load_state_dict(stopping.weights)
            return
        for parameter in list(module.network.parameters())[-2:]:  # nothing beat a constant: T = 0
            nn.init.zeros_(parameter)
