"""Shadows of a table: coded alike, read back as they were made, embedded by what the receiver has."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from diffshare.data.table import CSVTable
from diffshare.errors import UserError
from diffshare.receiver.meta.data import TrainedShadowDataModule
from diffshare.receiver.meta.shadows import read_shadow
from diffshare.release.info import read_info
from diffshare.release.table import parse_schema
from diffshare.storage import read_json

COLUMNS: dict[str, Any] = {
    "age": "numeric",
    "dose": "numeric",
    "ward": "categorical",
    "sex": ["f", "m"],
}
COLUMNS |= {"ill": ["no", "yes"]}


def table(path: Path) -> CSVTable:
    """400 rows; the ward 'rare' stands in two of them, so that hardly any mix of 40 has it."""
    rng = np.random.default_rng(0)
    lines = [",".join(COLUMNS)]
    for i in range(400):
        sex, ill = int(rng.integers(2)), int(rng.integers(2))
        ward = "rare" if i in (50, 51) else "abc"[int(rng.integers(3))]
        lines.append(
            f"{20 + int(rng.integers(60))},{rng.normal(sex):.3f},{ward},{'fm'[sex]},{('no', 'yes')[ill]}"
        )
    path.write_text("\n".join(lines) + "\n")
    return CSVTable(str(path), COLUMNS, shares=(0.0, 1.0, 0.0))


def module(folder: Path, root: str = "shadows", **changes: Any) -> TrainedShadowDataModule:
    network = {
        "class_path": "diffshare.nets.tvae.RowVAE",
        "init_args": {"latent_dim": 2, "width": 8, "layers": 1},
    }
    source = table(folder / "t.csv")
    block = {
        "class_path": "diffshare.data.table.CSVTable",
        "init_args": {"path": str(source.path), "columns": COLUMNS},
    }
    content = {
        "model": {
            "class_path": "diffshare.generators.tvae.TVAE",
            "init_args": {"network": network},
        },
        "data": {
            "class_path": "diffshare.data.module.MixDataModule",
            "init_args": {"source": block, "target": "ill", "batch_size": 8},
        },
    }
    config = folder / "generator.yaml"
    config.write_text(yaml.safe_dump(content))
    settings = {
        "generator": [config], "source": source, "property": "sex", "withhold": ["sex"], "count": (2, 0, 1), "n": 40,
        "base_steps": 2, "steps": 1, "samples": 12, "labels": "none", "auxiliary": 200, "classifier_steps": 1,
        "folds": 2, "batch_size": 2,
    }  # fmt: skip
    return TrainedShadowDataModule(folder / root, **settings | changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> TrainedShadowDataModule:
    data = module(tmp_path_factory.mktemp("table"))
    data.prepare_data()
    return data


def test_every_shadow_is_there_with_its_exact_share(made) -> None:
    made.setup()
    assert {name: len(records) for name, records in made.sets.items()} == {"train": 2, "test": 1}
    assert made.sets["train"].x.shape == (3, 12, 2 + 128)
    for number, p in enumerate(made.proportions):
        assert read_shadow(made.plan, number)[1] == pytest.approx(p, abs=0.5 / 40 + 1e-9)
        told = read_info(made.plan.shadow(number))
        assert told["classes"] == ["no", "yes"]
        assert told["queries"] == made.plan.samples


def test_all_shadows_are_coded_by_all_auxiliary_records(made) -> None:
    schema = parse_schema(read_json(made.root / "schema.json"))
    assert schema.columns[2].categories == ("a", "b", "c")  # two records are too few to name a ward
    assert schema.columns[0].bounds[0] == 0
    assert schema.columns[0].bounds[1] >= 79


def test_rows_come_back_in_the_codes_of_the_source(made) -> None:
    x, _ = read_shadow(made.plan, 0)
    assert x.shape == (12, 5)
    for i, column in enumerate(made.source.columns):
        if column.categories:
            assert set(x[:, i].tolist()) <= set(range(len(column.categories)))


def test_the_propertys_column_is_embedded_where_it_is_not_withheld(made, tmp_path) -> None:
    kept, (x, _) = made.embedding(), read_shadow(made.plan, 0)
    hidden = made.embed(kept, x)
    other = x.copy()
    other[:, 3] = 1 - x[:, 3]
    np.testing.assert_array_equal(made.embed(kept, other), hidden)
    shown = module(tmp_path, withhold=[]).embed(kept, x)
    np.testing.assert_array_equal(shown, np.concatenate([hidden, x[:, 3:4]], 1))


def test_what_is_withheld_is_part_of_the_plan_and_must_be_a_column(made, tmp_path) -> None:
    with pytest.raises(UserError, match="holds shadows of another plan: withhold"):
        module(made.root.parent, withhold=[]).prepare_data()
    with pytest.raises(UserError, match="height"):
        module(tmp_path, withhold=["height"])
    with pytest.raises(UserError, match="no column is left to read 'sex' from"):
        module(tmp_path, withhold=["age", "dose", "ward", "ill"])._seen()
