"""Classifiers on data whose answer is known."""

from pathlib import Path

import numpy as np
import pytest
import torch

from diffshare.classifiers.attribute import AttributeClassifier
from diffshare.classifiers.quick import fit_quickly, probabilities
from diffshare.data.module import MixDataModule
from diffshare.data.rendered import RenderedFaces
from diffshare.data.synthetic import SyntheticDataModule
from diffshare.errors import UserError
from diffshare.nets.classifiers import SmallResNet
from diffshare.release.samples import write_samples


def test_a_hat_is_learnt_in_a_moment_and_the_result_repeats() -> None:
    data = MixDataModule(RenderedFaces(count=1500, image_size=16), "Hat", part="auxiliary", validation_share=0)

    def fit() -> AttributeClassifier:
        torch.manual_seed(1)
        return fit_quickly(SmallResNet(width=8), data, steps=60, seed=1)

    first = fit()
    test = data.sets["test"]
    x = test.x[test.rows]
    found = probabilities(first, x)
    assert found.shape == (len(x), 2)
    assert np.allclose(found.sum(1), 1, atol=1e-5)
    assert (found.argmax(1) == test.target).mean() > 0.9
    assert np.allclose(found, probabilities(first, x, batch_size=7), atol=1e-4)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), fit().parameters(), strict=True))


@pytest.mark.parametrize("size", [16, 28, 64])
def test_the_network_takes_any_image_size(size: int) -> None:
    network = SmallResNet(classes=3, in_channels=1, width=8).eval()
    x = torch.zeros(2, 1, size, size)
    assert network(x).shape == (2, 3)
    assert network.features(x).shape == (2, 32)


class TestSynthetic:
    faces = RenderedFaces(count=300, image_size=8)

    def samples(self, folder: Path, y: list[int], size: int = 8) -> Path:
        x = np.random.default_rng(0).integers(0, 256, (len(y), size, size, 3), dtype=np.uint8)
        write_samples(folder, x, np.asarray(y), {})
        return folder

    def test_training_reads_the_samples_and_test_the_test_part(self, tmp_path: Path) -> None:
        folder = self.samples(tmp_path / "s", [0, 1, 1, 0])
        data = SyntheticDataModule(folder, self.faces, "Smiling", "Male")
        data.setup()
        assert data.sets["train"].target.tolist() == [0, 1, 1, 0]
        assert (data.sets["train"].sensitive == -1).all()
        sharer = MixDataModule(self.faces, "Smiling", "Male")
        sharer.setup()
        assert np.array_equal(data.sets["test"].rows, sharer.sets["test"].rows)
        assert not set(data.sets["test"].rows) & set(sharer.sets["train"].rows)

    def test_samples_without_a_class_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="without a class.*--labels balanced"):
            SyntheticDataModule(self.samples(tmp_path / "s", [0, -1]), self.faces, "Smiling").setup()

    def test_samples_of_another_size_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="image_size"):
            SyntheticDataModule(self.samples(tmp_path / "s", [0, 1], size=16), self.faces, "Smiling").setup()
