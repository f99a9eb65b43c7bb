"""The meta-classifier: learns a proportion from sets, mixes sets so that their proportion stays right."""

import json

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer

from diffshare.batch import Batch
from diffshare.data.shadow import ShadowDataModule
from diffshare.errors import UserError
from diffshare.nets.sets import MomentSets
from diffshare.receiver.meta.classifier import MetaClassifier
from diffshare.training.quiet import quiet
from diffshare.training.seeding import BatchSeeding


def shadows(folder, count: int, noise: float = 0.7) -> ShadowDataModule:
    """Shadows whose samples are numbers about 1 where they have the property, about 0 where not, and one of noise."""
    entries = []
    for i in range(count):
        rng = np.random.default_rng([5, i])
        p = float(rng.uniform(0.05, 0.95))
        have = rng.random(400) < p
        x = np.stack([have + noise * rng.normal(size=400), rng.normal(size=400)], 1).astype(
            np.float32
        )
        np.save(folder / f"{i}.npy", x)
        part = "train" if i < count * 3 // 4 else "test"
        entries.append({"file": f"{i}.npy", "p": p, "part": part})
    (folder / "shadows.json").write_text(json.dumps({"shadows": entries}))
    return ShadowDataModule(folder, batch_size=8)


def fitted(data: ShadowDataModule, steps: int) -> tuple[MetaClassifier, Trainer]:
    torch.manual_seed(0)
    module = MetaClassifier(
        MomentSets(2, hidden=16, dropout=0.0), lambda p: torch.optim.AdamW(p, lr=5e-3), set_size=200
    )
    trainer = Trainer(
        accelerator="cpu", max_steps=steps, callbacks=[BatchSeeding(0)], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(module, datamodule=data)
    return module, trainer


def test_it_learns_to_read_a_proportion_of_shadows_that_it_has_not_seen(tmp_path):
    with quiet():
        module, trainer = fitted(shadows(tmp_path, 32), 400)
        [measured] = trainer.test(module, datamodule=shadows(tmp_path, 32), verbose=False)
    assert measured["test/mean_absolute_error"] < 0.08  # a guess of one half is 0.22 off
    assert measured["test/coverage"] >= 0.5


@pytest.mark.parametrize("mixing", [True, False])
def test_a_mixed_set_has_the_proportion_of_its_members(mixing):
    module = MetaClassifier(MomentSets(1), torch.optim.AdamW, set_size=100, mixing=mixing)
    target = torch.tensor([0.0, 0.25, 0.5, 1.0])
    x = target[:, None, None].expand(4, 300, 1)  # a member says what its shadow's proportion is
    drawn, mixed = module._draw(Batch(x, target, torch.full((4,), -1)))
    assert drawn.shape == (4, 100, 1)
    torch.testing.assert_close(drawn.mean((1, 2)), mixed)
    assert torch.equal(mixed, target) != mixing


def test_no_sample_is_drawn_twice_into_a_set():
    module = MetaClassifier(MomentSets(1), torch.optim.AdamW, set_size=50, mixing=False)
    x = torch.arange(60.0).repeat(3, 1)[..., None]
    drawn, _ = module._draw(Batch(x, torch.zeros(3), torch.zeros(3)))
    assert all(len(one.unique()) == 50 for one in drawn)


def test_settings_that_cannot_be():
    for bad, words in (
        ({"set_size": 1}, "model.set_size is 1"),
        ({"level": 0.0}, "model.level is 0.0"),
    ):
        with pytest.raises(UserError, match=words):
            MetaClassifier(MomentSets(2), **bad)


def test_embeddings_of_another_width_are_refused(tmp_path):
    module = MetaClassifier(MomentSets(3))
    trainer = Trainer(
        accelerator="cpu",
        max_steps=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
    )
    with (
        quiet(),
        pytest.raises(
            UserError, match="model.network reads 3 features, the shadows have 2: set features"
        ),
    ):
        trainer.fit(module, datamodule=shadows(tmp_path, 16))
