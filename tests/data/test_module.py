"""The data module: disjoint parts, the mix that is asked for, and batches that hold exactly its records."""

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from diffshare.batch import Batch, Request
from diffshare.data.cache import open_records
from diffshare.data.mixes import Clean, Proportion
from diffshare.data.module import MixDataModule
from diffshare.data.recordsets import scaled
from diffshare.data.rendered import RenderedFaces
from diffshare.data.source import PARTS, split
from diffshare.errors import UserError
from diffshare.training.quiet import quiet

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def without_advice() -> Iterator[None]:
    """Lightning's advice is left out, as the command line does."""
    with quiet():
        yield


class Listener(LightningModule):
    """Learns nothing and keeps every batch that it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.heard: dict[str, list[Any]] = {"train": [], "val": [], "test": [], "predict": []}

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.heard["train"].append(batch)
        return self.weight * 0

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.heard["val"].append(batch)

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        self.heard["test"].append(batch)

    def predict_step(self, batch: Request, batch_idx: int) -> Tensor:
        self.heard["predict"].append(batch)
        return batch.number

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def trainer(epochs: int = 1) -> Trainer:
    return Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


@pytest.fixture
def module(numbered: type, tmp_path: Path) -> Callable[..., MixDataModule]:
    def make(source: Any = None, **options: Any) -> MixDataModule:
        settings = {
            "target": "Smiling",
            "sensitive": "Male",
            "batch_size": 8,
            "cache_dir": tmp_path / "cache",
        }
        return MixDataModule(source or numbered(), **(settings | options))

    return make


def numbers(batches: list[Batch]) -> list[int]:
    """The records of these batches, by what their pixels say."""
    x = np.concatenate([(batch.x.numpy() + 1) * 127.5 for batch in batches]).round().astype(int)
    return (x[:, 0, 0, 0] + 256 * x[:, 1, 0, 0]).tolist()


def rows(module: MixDataModule) -> dict[str, set[int]]:
    module.setup()
    return {name: set(records.rows.tolist()) for name, records in module.sets.items()}


# --- which records ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"pool": "balanced"},
        {"validation_share": 0.5},
        {"test_balance": True},
        {"part": "auxiliary"},
    ],
)
def test_no_record_stands_in_two_parts(module, seed, options):
    data = module(seed=seed, **options)
    sets = rows(data)
    records = data.records()
    parts = split(records.index, data.source.shares, seed)
    mine, other, test = (
        set(np.flatnonzero(parts == PARTS.index(part)).tolist())
        for part in (data.part, "sharer" if data.part == "auxiliary" else "auxiliary", "test")
    )
    sets.setdefault("val", set())  # there may be none by chance
    pool = {int(name.split()[1]) for name in data.chosen_mix().pool.index.names.tolist()}
    assert sets["train"] <= pool
    assert not pool & sets["val"]
    assert pool | sets["val"] <= mine
    assert sets["test"] <= test
    assert not other & (pool | sets["val"] | sets["test"])
    # nothing is lost where nothing is balanced
    if "pool" not in options and "test_balance" not in options:
        assert pool | sets["val"] == mine
        assert sets["test"] == test


def test_validation_is_about_its_share_and_stays_when_records_come(module, numbered):
    few, many = (
        module(numbered(count), validation_share=0.25, cache_dir=None) for count in (1500, 3000)
    )
    kept = rows(few)["val"]
    share = len(kept) / len(kept | rows(few)["train"])
    assert abs(share - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 900)
    assert kept == {row for row in rows(many)["val"] if row < 1500}


def test_without_validation_every_record_is_trained_on(module):
    data = module(validation_share=0.0)
    assert "val" not in rows(data)
    listener = Listener()
    trainer().fit(listener, data)
    assert not listener.heard["val"]


def test_a_balanced_pool_has_as_many_of_each_cell_as_the_rarest(module):
    natural, balanced = module().chosen_mix(), module(pool="balanced").chosen_mix()
    assert (balanced.counts() == natural.counts().min()).all()
    assert len(balanced.pool) == 4 * natural.counts().min()


def test_a_balanced_test_set_has_equal_cells_and_every_group(module):
    plain, data = module(), module(test_balance=True)
    counts = []
    for each in (plain, data):
        each.setup()
        test = each.sets["test"]
        counts.append(np.bincount(2 * test.sensitive + test.target, minlength=4))
    assert counts[1].tolist() == [counts[0].min()] * 4
    only_target = module(test_balance=True, sensitive=None)
    only_target.setup()
    sizes = np.bincount(only_target.sets["test"].target)
    assert sizes[0] == sizes[1]
    assert (only_target.sets["test"].sensitive == -1).all()


@pytest.mark.parametrize("name", ["train", "val", "test"])
def test_every_record_has_its_own_labels(module, numbered, name):
    source = numbered()
    data = module(source, target="Ward", sensitive="Smiling")
    data.setup()
    records = data.sets[name]
    assert records.target.tolist() == source.codes["Ward"][records.rows].tolist()
    assert records.sensitive.tolist() == source.codes["Smiling"][records.rows].tolist()
    assert data.classes == ("a", "b", "c")


def test_the_mix_is_a_function_of_the_data_seed(module):
    draws = [rows(module(mix=Clean(40), seed=seed))["train"] for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


# --- what the loaders deliver ----------------------------------------------------------------------------------------


def test_training_reads_the_records_of_the_mix_once_an_epoch(module):
    data, listener = module(mix=Proportion(0.25, 40)), Listener()
    trainer(epochs=3).fit(listener, data)
    chosen = sorted(rows(data)["train"])
    heard = numbers(listener.heard["train"])
    epochs = [heard[start : start + 40] for start in (0, 40, 80)]
    assert [sorted(epoch) for epoch in epochs] == [chosen] * 3
    assert epochs[0] != epochs[1] != epochs[2]
    assert sorted(numbers(listener.heard["val"])) == sorted([*rows(data)["val"]] * 3)


def test_test_reads_each_test_record_once(module):
    data, listener = module(eval_batch_size=7), Listener()
    trainer().test(listener, data, verbose=False)
    assert numbers(listener.heard["test"]) == sorted(rows(data)["test"])
    assert {len(batch.x) for batch in listener.heard["test"][:-1]} == {7}


def test_predict_asks_for_each_class_in_turn(module):
    data, listener = module(target="Ward", predict_count=11), Listener()
    trainer().predict(listener, data)
    number, label = (
        torch.cat(column).tolist() for column in zip(*listener.heard["predict"], strict=True)
    )
    assert number == list(range(11))
    assert label == [i % 3 for i in range(11)]


def test_a_batch_has_the_types_and_labels_that_it_says(module, numbered):
    source = numbered()
    data, listener = module(source), Listener()
    trainer().fit(listener, data)
    batch = listener.heard["train"][0]
    found = numbers([batch])
    pixels = source.read(np.array(found)).transpose(0, 3, 1, 2)
    assert batch.x.dtype == torch.float32
    assert batch.x.shape == (8, 3, 4, 4)
    assert np.array_equal(((batch.x + 1) * 127.5).round().to(torch.uint8).numpy(), pixels)
    assert (batch.target.dtype, batch.sensitive.dtype) == (torch.int64, torch.int64)
    assert batch.target.tolist() == source.codes["Smiling"][found].tolist()
    assert batch.sensitive.tolist() == source.codes["Male"][found].tolist()


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_loader_processes_change_nothing(module):
    alone, helped = Listener(), Listener()
    for listener, workers in ((alone, 0), (helped, 2)):
        trainer(epochs=2).fit(listener, module(num_workers=workers, mix=Clean(44)))
    for name in ("train", "val"):
        assert len(alone.heard[name]) == len(helped.heard[name]) > 0
        for one, other in zip(alone.heard[name], helped.heard[name], strict=True):
            assert all(torch.equal(a, b) for a, b in list(zip(one, other, strict=True))[:3])


def test_bytes_become_numbers_from_minus_one_to_one():
    grey = torch.arange(256, dtype=torch.uint8).reshape(4, 8, 8, 1).expand(-1, -1, -1, 3)
    x = scaled(grey)
    assert x.shape == (4, 3, 8, 8)
    assert x.is_contiguous()
    assert (x.min().item(), x.max().item()) == (-1.0, 1.0)
    expected = grey.permute(0, 3, 1, 2).double() / 127.5 - 1
    assert (x.double() - expected).abs().max() < 1e-7
    assert torch.equal(((x + 1) * 127.5).round().to(torch.uint8), grey.permute(0, 3, 1, 2))


def test_a_table_is_handed_on_as_it_is(module):
    batch = Batch(
        torch.randn(3, 5), torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)
    )
    assert module().on_after_batch_transfer(batch, 0) is batch


# --- one mix, three places -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["natural", "balanced"])
def test_the_mix_verb_names_the_records_that_fit_trains_on(run_cli, tmp_path, monkeypatch, pool):
    mix = [
        "--config",
        ROOT / "configs" / "ddpm_faces.yaml",
        "--config",
        ROOT / "configs" / "mix" / "proportion.yaml",
    ]
    mix += ["--data.source.count", 300, "--data.source.image_size", 8, "--data.pool", pool]
    mix += ["--data.mix.n", 48, "--data.batch_size", 16, "--data.seed", 3]
    shrunk = [
        "--model.denoiser.block_out_channels",
        "[8,8,8,8]",
        "--model.denoiser.norm_num_groups",
        4,
    ]
    shrunk += [
        "--model.sampling_steps",
        1,
        "--trainer.max_steps",
        3,
        "--trainer.enable_progress_bar",
        "false",
    ]
    delivered: list[Batch] = []
    transfer = MixDataModule.on_after_batch_transfer

    def listen(self: MixDataModule, batch: Any, dataloader_idx: int) -> Any:
        batch = transfer(self, batch, dataloader_idx)
        if self.trainer is not None and self.trainer.training:
            delivered.append(batch)
        return batch

    monkeypatch.setattr(MixDataModule, "on_after_batch_transfer", listen)
    outcome = run_cli("mix", *mix, "--out", tmp_path / "mix")
    assert outcome.code == 0, outcome.err
    outcome = run_cli("fit", *mix, *shrunk, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err

    manifest = (tmp_path / "mix" / "records.csv").read_text()
    assert manifest == (tmp_path / "run" / "mix" / "records.csv").read_text()
    records = open_records(RenderedFaces(300, 8))
    name_of = {
        x.tobytes(): name for x, name in zip(records.x, records.index.names.tolist(), strict=True)
    }
    assert len(name_of) == 300
    x, target, sensitive = (torch.cat(column) for column in list(zip(*delivered, strict=True))[:3])
    images = ((x + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()
    got = [
        (name_of[image.tobytes()], str(y), str(s))
        for image, y, s in zip(images, target.tolist(), sensitive.tolist(), strict=True)
    ]
    listed = [
        (row["record"], row["target"], row["sensitive"])
        for row in csv.DictReader(manifest.splitlines())
    ]
    assert sorted(got) == sorted(listed)
    assert len(set(got)) == 48


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"data\.batch_size is 0: it must be at least 1"),
        ({"eval_batch_size": 0}, r"data\.eval_batch_size is 0: it must be at least 1"),
        ({"num_workers": -1}, r"data\.num_workers is -1: it must be at least 0"),
        ({"seed": -1}, r"data\.seed is -1: give a number from 0 to"),
        ({"validation_share": 1.0}, r"data\.validation_share is 1\.0: it lies in \[0, 1\)"),
        ({"validation_share": float("nan")}, r"data\.validation_share is nan"),
        ({"predict_count": 0}, r"data\.predict_count is 0: ask for at least 1"),
        ({"pool": "balanced", "sensitive": None}, r"data\.pool balanced needs data\.sensitive"),
    ],
)
def test_settings_that_make_no_sense_are_refused(module, options, message):
    with pytest.raises(UserError, match=message):
        module(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "Beard"}, "unknown attribute 'Beard': choose one of Male, Smiling, Ward"),
        ({"sensitive": "Beard"}, "unknown attribute 'Beard': choose one of Male, Smiling, Ward"),
        ({"mix": Clean(10_000)}, r"n = 10000 records, the pool has 1\d\d"),
        (
            {"mix": Proportion(0.9, 100)},
            r"needs 90 with it and 10 without; the pool has \d\d and 1\d\d",
        ),
        (
            {"validation_share": 0.9999999},
            r"leaves none of the 1\d\d sharer records to train on: lower it",
        ),
    ],
)
def test_what_the_source_cannot_give_is_refused(module, options, message):
    with pytest.raises(UserError, match=message):
        module(**options).setup()


def test_an_empty_sharer_part_is_refused(module, numbered):
    with pytest.raises(
        UserError,
        match="the sharer part of the source holds no records: change the source's shares",
    ):
        module(numbered(shares=(0.0, 0.5, 0.5))).setup()


def test_an_empty_test_part_is_refused_when_it_is_needed(module, numbered):
    data = module(numbered(shares=(0.8, 0.2, 0.0)))
    trainer().fit(Listener(), data)
    with pytest.raises(
        UserError, match="the test part of the source holds no records: change the source's shares"
    ):
        trainer().test(Listener(), data, verbose=False)


def test_an_empty_cell_cannot_be_balanced(module, numbered):
    source = numbered()
    source.codes["Male"][source.codes["Smiling"] == 1] = 0
    with pytest.raises(
        UserError,
        match=r"empty cell of Male x Smiling .*Male, Smiling: 0\): use data\.pool natural",
    ):
        module(source, pool="balanced").setup()


def test_an_attribute_of_one_class_is_refused(module, numbered, monkeypatch):
    source = numbered()
    index = source.index()
    index.attributes["Ward"].codes[:] = 0
    monkeypatch.setattr(source, "index", lambda: index)
    object.__setattr__(index.attributes["Ward"], "classes", ("a",))
    with pytest.raises(
        UserError, match=r"data\.target 'Ward' has one class only .*choose another attribute"
    ):
        module(source, target="Ward").setup()


@pytest.mark.parametrize("role", ["target", "sensitive"])
@pytest.mark.parametrize("part", ["train", "val"])
def test_an_unknown_label_of_the_sharer_is_refused_with_how_many(module, numbered, role, part):
    source = numbered()
    bad = sorted(rows(module(source))[part])[:3]
    name = {"target": "Smiling", "sensitive": "Male"}[role]
    source.codes[name][bad] = -1
    with pytest.raises(
        UserError,
        match=rf"data\.{role} '{name}' is unknown for 3 sharer records: fill it in or drop",
    ):
        module(source).setup()


def test_an_unknown_class_of_a_test_record_is_refused_by_test_alone(module, numbered):
    source = numbered()
    bad = sorted(rows(module(source))["test"])[:2]
    source.codes["Smiling"][bad] = -1
    data = module(source)
    trainer().fit(Listener(), data)
    with pytest.raises(
        UserError, match=r"the class of 2 of \d+ test records is unknown: fill it in or drop them"
    ):
        trainer().test(Listener(), data, verbose=False)


def test_fewer_records_than_a_batch_are_refused(module):
    with pytest.raises(
        UserError, match=r"5 training records do not fill one batch of data\.batch_size 8"
    ):
        trainer().fit(Listener(), module(mix=Clean(5)))
