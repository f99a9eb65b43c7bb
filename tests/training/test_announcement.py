"""What a run says of itself: the parameters of networks that are there before the data is known, and of those after."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from lightning.pytorch.demos.boring_classes import BoringModel, RandomDataset
from torch import nn

from diffshare.classifiers.recipes import NetworkRecipe
from diffshare.commands.progress import Shown
from diffshare.progress import progress
from diffshare.release.folder import open_release
from diffshare.training.quiet import passing_trainer, quiet
from diffshare.training.watch import Announcement


class Late(BoringModel):
    """A network that is made in ``setup``."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        del self.layer

    def setup(self, stage: str) -> None:
        self.layer = nn.Sequential(nn.Linear(32, self.hidden), nn.Linear(self.hidden, 2))


@pytest.mark.parametrize(
    ("model", "said"),
    [
        # 32 x 2 weights and 2 shifts, counted to the last where they are few
        (
            BoringModel(),
            "66",
        ),
        (Late(3), "107"),
        (Late(1000), "0.04 M"),
    ],
    ids=["from the start", "in setup", "in setup, many"],
)
@pytest.mark.parametrize("verb", ["fit", "validate", "test", "predict"])
def test_the_parameters_are_counted_when_the_network_is_there(model, said, verb, capsys) -> None:
    with quiet():
        trainer = passing_trainer(callbacks=[Announcement()], max_steps=2, limit_val_batches=1)
        getattr(trainer, verb)(model, torch.utils.data.DataLoader(RandomDataset(32, 4)))
    line = f"{verb}: {type(model).__name__}, {said} parameters, 32-true, 1 x cpu"
    assert capsys.readouterr().out.splitlines().count(line) == 1


def config(folder: Path) -> Path:
    """A training of a model of tables whose sizes follow from the table."""
    rng = np.random.default_rng(0)
    cells = [
        f"{rng.normal():.3f},{'ab'[rng.integers(2)]},{'yn'[rng.integers(2)]}" for _ in range(200)
    ]
    (folder / "rows.csv").write_text("\n".join(["dose,ward,ill", *cells]) + "\n")
    columns = {"dose": "numeric", "ward": "categorical", "ill": ["n", "y"]}
    table = {"path": str(folder / "rows.csv"), "columns": columns}
    source = {"class_path": "diffshare.data.table.CSVTable", "init_args": table}
    data: dict[str, Any] = {
        "source": source,
        "target": "ill",
        "batch_size": 16,
        "validation_share": 0.2,
    }
    network = {
        "class_path": "diffshare.nets.tvae.RowVAE",
        "init_args": {"latent_dim": 4, "width": 16, "layers": 1},
    }
    content = {
        "model": {
            "class_path": "diffshare.generators.tvae.TVAE",
            "init_args": {"network": network},
        },
        "data": {"class_path": "diffshare.data.module.MixDataModule", "init_args": data},
        "trainer": {"max_steps": 2, "enable_progress_bar": False, "accelerator": "cpu"},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_a_model_of_tables_says_its_size_in_every_verb(
    run_cli: Callable[..., Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    fitted = run_cli("fit", "--config", config(tmp_path), "--run-dir", run)
    assert fitted.code == 0, fitted.err
    state = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    count = sum(value.numel() for name, value in state.items() if name.startswith("network."))
    for verb, outcome in [("fit", fitted), ("test", run_cli("test", "--run-dir", run))]:
        assert outcome.code == 0, outcome.err
        said = [line for line in outcome.out.splitlines() if " parameters, " in line]
        assert len(said) == 1
        assert said[0].startswith(f"{verb}: TVAE, {count} parameters, ")
    assert open_release(run / "release").card.family == "tvae"


def test_where_there_is_no_terminal_each_verb_says_how_far_it_is(
    run_cli: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("diffshare.commands.progress.EVERY", 0.0)
    run, path = tmp_path / "run", config(tmp_path)
    path.write_text(path.read_text().replace("enable_progress_bar: false", "val_check_interval: 2"))
    fitted = run_cli("fit", "--config", path, "--run-dir", run, "--trainer.max_steps", 4)
    assert fitted.code == 0, fitted.err
    for number in (1, 2, 3, 4):
        assert f"\ntraining batches: {number} of 4, " in f"\n{fitted.out}"
    assert re.search(
        r"^training batches: 2 of 4 \(validation batches 1 of \d\), ", fitted.out, re.MULTILINE
    )
    assert "\r" not in fitted.out + fitted.err
    tested = run_cli("test", "--run-dir", run)
    assert re.search(r"^test batches: 1 of \d+, ", tested.out, re.MULTILINE)
    drawn = run_cli("predict", "--run-dir", run, "--data.predict_count", 40)
    assert drawn.code == 0, drawn.err
    assert re.search(r"^batches of samples: 1 of \d+, ", drawn.out, re.MULTILINE)


def test_the_training_of_a_classifier_in_between_is_counted_as_well(monkeypatch, capsys) -> None:
    monkeypatch.setattr("diffshare.commands.progress.EVERY", 0.0)
    monkeypatch.setattr("diffshare.progress._display", Shown())
    x = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    for _ in progress([1], "folds"):
        NetworkRecipe(steps=3, batch_size=8).train(x, np.arange(40) % 2, 2, 0, ())
    assert "folds: 0 of 1 (step 3 of 3)" in capsys.readouterr().out
