"""A classifier in a moment: no log and no checkpoint, for checks and benchmarks."""

from functools import partial

import numpy as np
import torch
from torch import nn

from diffshare.classifiers.attribute import AttributeClassifier
from diffshare.data.module import RecordsDataModule
from diffshare.data.recordsets import scaled
from diffshare.training.precision import default_precision
from diffshare.training.quiet import passing_trainer, quiet
from diffshare.training.seeding import BatchSeeding
from diffshare.training.watch import Counted


def fit_quickly(
    network: nn.Module, data: RecordsDataModule, *, steps: int, seed: int = 0
) -> AttributeClassifier:
    """Train ``network`` on the training set of ``data`` with AdamW, its rate warmed up and then a half cosine.

    Args:
        network: images to logits; its start is the caller's.
        data: an image data module.
        steps: optimizer steps.
        seed: of the randomness of the batches.

    Returns:
        the classifier in evaluation mode, on the CPU.
    """
    module = AttributeClassifier(
        network,
        partial(torch.optim.AdamW, lr=3e-3, foreach=True),
        lr_schedule="cosine",
        warmup_steps=steps // 4,
    )
    with quiet():
        trainer = passing_trainer(
            max_steps=steps,
            precision=default_precision("cpu"),
            callbacks=[BatchSeeding(seed), Counted("step")],
            limit_val_batches=0,
        )
        trainer.fit(module, datamodule=data)
    return module.cpu().eval()


@torch.inference_mode()
def probabilities(module: AttributeClassifier, x: np.ndarray, batch_size: int = 500) -> np.ndarray:
    """Class probabilities of images.

    Args:
        module: the classifier.
        x: uint8, N x H x W x C.
        batch_size: images a pass.

    Returns:
        float32, N x classes.
    """
    passes = range(0, len(x), batch_size)
    return np.concatenate(
        [module(scaled(torch.from_numpy(x[i : i + batch_size]))).numpy() for i in passes]
    )
