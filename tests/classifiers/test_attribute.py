"""The receiver's classifier: what weights mean, what a network of tables sees, what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor, nn

from diffshare.batch import Batch
from diffshare.classifiers.attribute import AttributeClassifier
from diffshare.data.module import RecordsDataModule
from diffshare.data.recordsets import RecordSet
from diffshare.data.table import Column
from diffshare.errors import UserError
from diffshare.nets.classifiers import LeNet, SmallResNet, TableMLP
from diffshare.training.quiet import quiet

COLUMNS = (
    Column("age", "numeric"),
    Column("ward", "categorical", ("a", "b", "?")),
    Column("sex", "categorical", ("f", "m")),
    Column("ill", "categorical", ("no", "yes")),
    Column("dose", "numeric"),
)
SIZES = [len(column.categories) for column in COLUMNS]


class Named(RecordsDataModule):
    """Images of one colour each, and classes with names."""

    def __init__(self, names: tuple[str, ...], y: np.ndarray, shown: np.ndarray) -> None:
        super().__init__(batch_size=8)
        x = np.repeat((shown * 200).astype(np.uint8), 16 * 16 * 3).reshape(-1, 16, 16, 3)
        made = RecordSet(x, np.arange(len(y)), y, np.full(len(y), -1))
        self.names, self.sets = names, {"train": made, "val": made, "test": made}

    @property
    def classes(self) -> tuple[str, ...]:
        return self.names


class Data(RecordsDataModule):
    """Records as they are given."""

    def __init__(
        self, x: np.ndarray, y: np.ndarray, columns: tuple[Column, ...] = (), **options: Any
    ) -> None:
        super().__init__(**{"batch_size": len(y), **options})
        self._columns, self.target = columns, "ill"
        made = RecordSet(x, np.arange(len(y)), y, np.full(len(y), -1))
        self.sets = {"train": made, "val": made, "test": made}

    @property
    def columns(self) -> tuple[Column, ...]:
        return self._columns


def draw_rows(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows with missing doses and unknown wards, and whether each is ill."""
    rng = np.random.default_rng(seed)
    x = np.stack(
        [rng.normal(40, 15, n), *(rng.integers(0, k, n) for k in SIZES[1:4]), rng.normal(0, 1, n)],
        1,
    )
    x[rng.random(n) < 0.2, 4] = np.nan
    return x.astype(np.float32), x[:, 3].astype(np.int64)


def draw_images(n: int, size: int = 16, classes: int = 2) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (n, size, size, 3), dtype=np.uint8), np.arange(n) % classes


@pytest.fixture
def fit() -> Callable[..., AttributeClassifier]:
    """``fit(network, data, steps)`` with a seed of its own; the classifier afterwards."""

    def train(
        network: nn.Module, data: RecordsDataModule, steps: int = 1, **options: Any
    ) -> AttributeClassifier:
        module = AttributeClassifier(network, **options)
        with quiet():
            trainer = Trainer(
                accelerator="cpu", devices=1, max_steps=steps, logger=False, enable_checkpointing=False,
                enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
            )  # fmt: skip
            trainer.fit(module, datamodule=data)
        return module

    return train


# --- weights ---------------------------------------------------------------------------------------------------------


def loss(module: AttributeClassifier, batch: Batch) -> tuple[Tensor, list[Tensor]]:
    """Training loss and its gradients."""
    module.log = lambda *_, **__: None  # type: ignore[method-assign]
    value = module.training_step(batch, 0)
    return value.detach(), list(torch.autograd.grad(value, list(module.parameters())))


@pytest.fixture
def linear() -> AttributeClassifier:
    torch.manual_seed(0)
    return AttributeClassifier(nn.Linear(4, 3).double())


def batch(n: int, weight: Tensor | None = None) -> Batch:
    rng = torch.Generator().manual_seed(1)
    x = torch.randn(n, 4, generator=rng, dtype=torch.float64)
    return Batch(x, torch.randint(0, 3, (n,), generator=rng), torch.full((n,), -1), weight)


def assert_same(found: tuple[Tensor, list[Tensor]], expected: tuple[Tensor, list[Tensor]]) -> None:
    torch.testing.assert_close(found[0], expected[0])
    # logits are made float32
    torch.testing.assert_close(found[1], expected[1], rtol=1e-5, atol=1e-7)


def test_equal_weights_are_no_weights(linear):
    assert_same(loss(linear, batch(8, torch.ones(8))), loss(linear, batch(8)))


def test_a_weight_of_0_is_a_record_that_is_not_there(linear):
    weight = torch.full((8,), 8 / 6)  # mean 1, as the data module makes it
    weight[[2, 5]] = 0
    whole = batch(8)
    rows = [0, 1, 3, 4, 6, 7]
    without = Batch(whole.x[rows], whole.target[rows], whole.sensitive[rows])
    assert_same(loss(linear, whole._replace(weight=weight)), loss(linear, without))


def test_a_weight_of_2_is_a_record_that_is_there_twice(linear):
    weight = torch.tensor([2.0, 1, 1, 2, 1, 1, 1, 1]) * 0.8
    whole = batch(8)
    rows = [0, 0, 1, 2, 3, 3, 4, 5, 6, 7]
    twice = Batch(whole.x[rows], whole.target[rows], whole.sensitive[rows])
    assert_same(loss(linear, whole._replace(weight=weight)), loss(linear, twice))


# --- tables ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def fitted() -> TableMLP:
    """A network of tables that does not see ``ill``."""
    torch.manual_seed(0)
    network = TableMLP(width=8, dropout=0.0)
    network.fit_rows(draw_rows(500)[0], SIZES, [3])
    return network.eval()


def test_numbers_are_standardised_and_categories_one_hot(fitted):
    x = draw_rows(500)[0]
    found = fitted.encode(torch.from_numpy(x)).numpy()
    assert found.shape == (500, 2 + 3 + 2 + 2)
    known = ~np.isnan(x[:, 4])
    for values, cells in ((x[:, 0], found[:, 0]), (x[known, 4], found[known, 7])):
        np.testing.assert_allclose(
            cells, (values - values.mean()) / values.std(), rtol=1e-3, atol=1e-4
        )
    np.testing.assert_array_equal(found[:, 2:5], np.eye(3)[x[:, 1].astype(int)])
    np.testing.assert_array_equal(found[:, 5:7], np.eye(2)[x[:, 2].astype(int)])


def test_a_missing_number_is_the_mean_and_says_so(fitted):
    x = draw_rows(500)[0]
    found = fitted.encode(torch.from_numpy(x)).numpy()
    assert not np.isnan(found).any()
    np.testing.assert_array_equal(found[:, 8], np.isnan(x[:, 4]))
    assert (found[np.isnan(x[:, 4]), 7] == 0).all()
    assert (found[:, 1] == 0).all()


def test_an_unknown_category_is_none_of_those_known(fitted):
    x = draw_rows(3)[0]
    x[1, 1] = np.nan
    assert fitted.encode(torch.from_numpy(x))[:, 2:5].sum(1).tolist() == [1, 0, 1]


def test_an_outlier_does_not_take_over(fitted):
    row = torch.from_numpy(draw_rows(1)[0])
    row[0, 0] = 1e30
    assert fitted.encode(row)[0, 0] == 5


@pytest.mark.parametrize(("value", "mean"), [(np.nan, 0.0), (7.0, 7.0)])
def test_a_column_without_spread_keeps_its_unit(value, mean):
    x = draw_rows(20)[0]
    x[:, 4] = value
    network = TableMLP(width=8)
    network.fit_rows(x, SIZES, [3])
    assert network(torch.from_numpy(x)).isfinite().all()
    x[0, 4] = mean + 1
    assert network.encode(torch.from_numpy(x))[0, 7] == 1


@pytest.mark.parametrize("hidden", [[3], [3, 0], [3, 1, 2]])
def test_what_is_hidden_has_no_influence(hidden):
    x = draw_rows(50)[0]
    network = TableMLP(width=8, dropout=0.0)
    network.fit_rows(x, SIZES, hidden)
    expected, other = network(torch.from_numpy(x)), x.copy()
    for column in hidden:
        other[:, column] = (
            1 - other[:, column]
            if SIZES[column] == 2
            else np.random.default_rng(1).integers(0, 3, 50)
        )
    torch.testing.assert_close(network(torch.from_numpy(other)), expected, rtol=0, atol=0)
    seen = x.copy()
    seen[:, 4] += 1
    assert not torch.equal(network(torch.from_numpy(seen)), expected)


def test_what_was_learnt_travels_in_the_state_dict(fitted):
    x, _ = draw_rows(40, seed=9)
    other = TableMLP(width=8, dropout=0.0)
    other.fit_rows(x, SIZES, [3])  # other rows, other means
    other.load_state_dict(fitted.state_dict())
    assert torch.equal(other.eval()(torch.from_numpy(x)), fitted(torch.from_numpy(x)))


def test_a_second_fit_keeps_the_layers(fitted):
    before = {name: value.clone() for name, value in fitted.state_dict().items()}
    fitted.fit_rows(draw_rows(100, seed=5)[0], SIZES, [3])
    assert fitted.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in fitted.state_dict().items())


def test_the_classifier_hides_the_target_and_what_is_withheld(fit):
    x, y = draw_rows(64)
    module = fit(TableMLP(width=8), Data(x, y, COLUMNS), withhold=["ward", "dose"])
    assert module.network.columns == [0, 2]
    assert fit(TableMLP(width=8), Data(x, y, COLUMNS)).network.columns == [0, 1, 2, 4]
    with pytest.raises(UserError, match="unknown column 'Ward': write 'ward', names must agree"):
        fit(TableMLP(width=8), Data(x, y, COLUMNS), withhold=["Ward"])


def test_a_table_is_learnt(fit):
    x, _ = draw_rows(400)
    y = ((x[:, 0] > 40) ^ (x[:, 2] == 1)).astype(np.int64)
    torch.manual_seed(0)
    module = fit(
        TableMLP(width=32),
        Data(x, y, COLUMNS),
        steps=150,
        optimizer=lambda p: torch.optim.AdamW(p, lr=1e-2),
    ).eval()
    assert (module(torch.from_numpy(x)).argmax(1).numpy() == y).mean() > 0.9


# --- networks --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_the_paper_s_network(channels):
    """6 and 16 channels of 5x5, 400-100-20-classes, a dropout of 0.5 after both hidden layers."""
    network = LeNet(classes=5, in_channels=channels)
    kernels = [
        (m.in_channels, m.out_channels, m.kernel_size)
        for m in network.modules()
        if isinstance(m, nn.Conv2d)
    ]
    assert kernels == [(channels, 6, (5, 5)), (6, 16, (5, 5))]
    layers = [m for m in network.modules() if isinstance(m, nn.Linear | nn.Dropout | nn.ReLU)][2:]
    kinds = [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]
    assert [type(layer) for layer in layers] == kinds
    units = [(m.in_features, m.out_features) for m in layers if isinstance(m, nn.Linear)]
    assert units == [(400, 100), (100, 20), (20, 5)]
    assert [m.p for m in layers if isinstance(m, nn.Dropout)] == [0.5, 0.5]
    x = torch.zeros(2, channels, 32, 32)
    assert network.eval()(x).shape == (2, 5)
    assert network.features(x).shape == (2, 20)


def test_the_paper_s_network_for_a_property_has_other_hidden_layers():
    layers = [m for m in LeNet(hidden=(120, 50)).modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in layers] == [(400, 120), (120, 50), (50, 2)]


@pytest.mark.parametrize("size", [(16, 16), (28, 28), (32, 28), (64, 64)])
def test_the_paper_s_network_is_for_images_of_32_pixels_alone(size):
    said = rf"32 x 32 pixels, these have {size[0]} x {size[1]}: set .*image_size to 32, or take .*SmallResNet"
    with pytest.raises(UserError, match=said):
        LeNet()(torch.zeros(2, 3, *size))


@pytest.mark.parametrize(
    ("network", "data", "said"),
    [
        (
            SmallResNet(width=8),
            lambda: Data(*draw_rows(8), COLUMNS),
            "SmallResNet reads images, the data is a table",
        ),
        (
            TableMLP(),
            lambda: Data(*draw_images(8)),
            "TableMLP reads a table, the data is images: choose another",
        ),
        (
            SmallResNet(3, width=8),
            lambda: Data(*draw_images(8)),
            "has 3 outputs, the target has the 2 classes 0, 1: set",
        ),
        (
            SmallResNet(width=8),
            lambda: Data(*draw_images(9, classes=3)),
            "2 outputs, the target has the 3 .*classes` 3",
        ),
        (
            TableMLP(classes=4),
            lambda: Data(*draw_rows(8), COLUMNS),
            "has 4 outputs, the target has the 2 classes",
        ),
        (
            LeNet(in_channels=1),
            lambda: Data(*draw_images(8, 32)),
            r"LeNet does not take records of \(32, 32, 3\): mend",
        ),
        (
            LeNet(),
            lambda: Data(*draw_images(8)),
            "LeNet is the paper's network for images of 32 x 32 .*SmallResNet",
        ),
    ],
)
def test_a_network_that_does_not_fit_the_data_is_refused(fit, network, data, said):
    with pytest.raises(UserError, match=said) as refused:
        fit(network, data())
    assert "\n" not in str(refused.value)


def test_settings_are_refused(fit):
    with pytest.raises(UserError, match="model.warmup_steps is -1"):
        AttributeClassifier(SmallResNet(), warmup_steps=-1)
    with pytest.raises(
        UserError, match="model.withhold names columns of a table, the data is images: leave it out"
    ):
        fit(SmallResNet(), Data(*draw_images(8)), withhold=["sex"])


def test_dropout_is_on_again_after_the_check(fit):
    assert fit(SmallResNet(), Data(*draw_images(8))).network.training


# --- names of classes ------------------------------------------------------------------------------------------------

SHOWN = np.arange(16) % 2


def trainer(folder: Path, steps: int = 15) -> Trainer:
    return Trainer(
        accelerator="cpu", devices=1, max_steps=steps, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        default_root_dir=folder,
    )  # fmt: skip


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier that tells black pictures, ``no``, from light ones, ``yes``."""
    folder = tmp_path_factory.mktemp("named")
    torch.manual_seed(0)
    module = AttributeClassifier(SmallResNet(width=8), lambda p: torch.optim.Adam(p, 0.01))
    with quiet():
        run = trainer(folder)
        run.fit(module, datamodule=Named(("no", "yes"), SHOWN, SHOWN))
        run.save_checkpoint(folder / "last.ckpt")
    return folder / "last.ckpt"


def measured(
    checkpoint: Path, names: tuple[str, ...], y: np.ndarray
) -> tuple[float, AttributeClassifier]:
    """Accuracy in a test on classes with these names, and the classifier."""
    module = AttributeClassifier(SmallResNet(width=8))
    with quiet():
        (found,) = trainer(checkpoint.parent).test(
            module, Named(names, y, SHOWN), str(checkpoint), verbose=False
        )
    return found["test/accuracy"], module


def test_outputs_are_joined_to_the_classes_of_the_data_by_their_names(checkpoint):
    accuracy, module = measured(checkpoint, ("no", "yes"), SHOWN)
    assert (accuracy, module.notes) == (1, ())
    # another source has another order
    accuracy, module = measured(checkpoint, ("yes", "no"), 1 - SHOWN)
    assert (accuracy, module.notes) == (1, ())
    accuracy, module = measured(checkpoint, ("0", "1"), SHOWN)
    assert accuracy == 1
    assert (
        "are 'no', 'yes', those of the data '0', '1': no name fits, they are taken for the same"
        in module.notes[0]
    )


def test_outputs_that_contradict_the_data_are_refused(checkpoint):
    with pytest.raises(UserError, match="'yes' is not 'Yes', names must agree exactly"):
        measured(checkpoint, ("no", "Yes"), SHOWN)
    with pytest.raises(UserError, match="classes of the classifier have 'yes' among them"):
        measured(checkpoint, ("no", "unsure"), SHOWN)
    with (
        pytest.raises(
            UserError, match="was trained on the classes 'no', 'yes', the data has 'yes', 'no'"
        ),
        quiet(),
    ):
        trainer(checkpoint.parent, 20).fit(
            AttributeClassifier(SmallResNet(width=8)),
            Named(("yes", "no"), 1 - SHOWN, SHOWN),
            ckpt_path=str(checkpoint),
        )
