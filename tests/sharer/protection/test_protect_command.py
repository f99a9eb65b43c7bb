"""The verb ``protect``: a samples folder that the receiver's own verb reads, of images and rows, and its refusals."""

import csv
import json
import re
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from property_runs import yaml_source
from random_release import random_ddpm

from diffshare.audits import protect as work
from diffshare.commands import protect as command
from diffshare.data.rendered import RenderedFaces
from diffshare.data.source import Attribute, split
from diffshare.data.table import CSVTable
from diffshare.errors import UserError
from diffshare.receiver.box import Box
from diffshare.release.card import Card
from diffshare.release.disclosure import fit_schema
from diffshare.release.generator import Ledger
from diffshare.release.samples import read_samples

SIZE, HATS = 16, 0.15
QUICK = ["--classifier", "KernelRecipe", "--classifier.components", "40", "--folds", "2"]
CELLS = {"height": "numeric", "sex": ["f", "m"], "ill": ["no", "yes"]}


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("source") / "faces.yaml"
    return yaml_source(
        file, "rendered.RenderedFaces", count=900, image_size=SIZE, seed=1, shares=[0.0, 1.0, 0.0]
    )


class Drawn:
    """Records in the place of a model's samples."""

    def __init__(self, card: Card, x: np.ndarray) -> None:
        self.card, self.ledger, self.x = card, Ledger(), x

    def sample(
        self, labels: Any, indices: Any, *, seed: int, steps: Any = None, guidance: float = 1.0
    ) -> Any:
        self.ledger.record(labels, len(labels), 0.0)
        return self.x[
            [np.random.default_rng([seed, int(i)]).integers(len(self.x)) for i in indices]
        ]


class Rows(Drawn):
    """Rows of a table likewise."""

    def __init__(self, table: CSVTable) -> None:
        x = table.read(np.arange(len(table.index())))
        super().__init__(Card("tabular", "table", (), 1, columns=tuple(CELLS)), x)
        self.schema = fit_schema(x, table.columns, "ill", "?")


@cache
def rendered(hats: float) -> np.ndarray:
    return RenderedFaces(2500, SIZE, 9, prevalence={"Hat": hats}).read(np.arange(2500))


def faces_with(hats: float) -> Drawn:
    card = Card("ddpm", "image", ("not Smiling", "Smiling"), 4, image_size=SIZE)
    return Drawn(card, rendered(hats))


@pytest.fixture
def release(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a generator in the place of what ``--model`` names."""

    def opened(generator: Any) -> Any:
        monkeypatch.setattr(command, "open_model", lambda path: Box(generator, path, "0" * 64))
        return generator

    return opened


def test_the_receiver_reads_the_chosen_share(release, run_cli, faces, tmp_path):
    release(faces_with(HATS))
    outcome = run_cli("protect", "--model", "release", "--reference", faces, "--property", "Hat", "--share", 0.5,
                   "--count", 500, *QUICK, "--out", tmp_path / "s")  # fmt: skip
    assert outcome.code == 0, outcome.err
    samples = read_samples(tmp_path / "s")
    assert samples.info["protections"] == ["share of 'Hat' shown as 0.5 in every class"]
    assert samples.info["classes"] == ["not Smiling", "Smiling"]
    # they give the model's own share away
    assert not {"queries", "network_calls", "seconds"} & samples.info.keys()
    assert int(re.search(r"500 of (\d+) that were drawn", outcome.out)[1]) > 1500
    np.testing.assert_array_equal(samples.y, np.arange(500) % 2)
    assert "records: auxiliary part: 900 of 900 records" in outcome.out.splitlines()
    read = run_cli("infer-property", "--samples", tmp_path / "s", "--auxiliary", faces, "--auxiliary.seed", 5,
                   "--property", "Hat", *QUICK, "--json", tmp_path / "read.json")  # fmt: skip
    assert read.code == 0, read.err
    assert json.loads((tmp_path / "read.json").read_text())["estimate"] == pytest.approx(
        0.5, abs=0.12
    )


def table(folder: Path) -> CSVTable:
    """400 rows; sex is m in a quarter of them and shows in the height."""
    rng, path = np.random.default_rng(0), folder / "rows.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(CELLS)
        for i in range(400):
            writer.writerow(
                [
                    f"{rng.normal(165 + 15 * (i % 4 == 0), 4):.1f}",
                    "fm"[i % 4 == 0],
                    ("no", "yes")[i % 2],
                ]
            )
    return CSVTable(str(path), CELLS, shares=(0.0, 1.0, 0.0))


def test_of_a_table_the_column_is_read(release, run_cli, tmp_path):
    source = table(tmp_path)
    release(Rows(source))
    options = {"path": str(source.path), "columns": CELLS, "shares": [0.0, 1.0, 0.0]}
    reference = yaml_source(tmp_path / "rows.yaml", "table.CSVTable", **options)
    outcome = run_cli("protect", "--model", "release", "--reference", reference, "--property", "sex", "--share", 0.6,
                   "--count", 400, "--out", tmp_path / "s")  # fmt: skip
    assert outcome.code == 0, outcome.err
    with (tmp_path / "s" / "samples.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert np.mean([row["sex"] == "m" for row in rows]) == pytest.approx(0.6, abs=0.08)
    assert json.loads((tmp_path / "s" / "samples.json").read_text())["count"] == 400


@pytest.fixture(scope="module")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of a diffusion model with random weights."""
    return random_ddpm(tmp_path_factory.mktemp("model") / "release", SIZE, steps=3)


def test_a_model_is_guided_and_only_the_scale_moves_its_samples(run_cli, denoiser, faces, tmp_path):
    def made(verb: str, *more: Any) -> Any:
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        outcome = run_cli(
            verb, "--model", denoiser, "--count", 12, "--seed", 4, *more, "--out", out
        )
        assert outcome.code == 0, outcome.err
        return read_samples(out)

    guide = ["--reference", faces, "--property", "Hat", "--share", 0.5, "--method", "guide", "--classifier",
             "NetworkRecipe", "--classifier.steps", 4, "--folds", 2, "--reference.count", 200]  # fmt: skip
    plain = made("sample")
    np.testing.assert_array_equal(made("protect", *guide, "--guide-scale", 1e-12).x, plain.x)
    guided = made("protect", *guide)
    assert not np.array_equal(guided.x, plain.x)
    assert guided.info["protections"] == ["share of 'Hat' guided to 0.5 in every class"]
    other = made("protect", *guide, "--batch-size", 5)
    assert np.abs(guided.x.astype(int) - other.x).max() <= 1


def test_the_records_are_those_of_the_part_and_the_split_half_to_choose_by_and_half_to_check(
    release, run_cli, tmp_path, monkeypatch
):
    release(faces_with(HATS))
    shares, seen = [0.5, 0.3, 0.2], []
    options = {"count": 900, "image_size": SIZE, "seed": 1, "shares": shares}
    file = yaml_source(tmp_path / "f.yaml", "rendered.RenderedFaces", **options)

    def watched(x, *rest, **options):
        seen.append(x)
        if len(seen) == 2:
            raise UserError("seen enough")

    monkeypatch.setattr(work, "cross_fit", watched)
    outcome = run_cli("protect", "--model", "release", "--reference", file, "--property", "Hat", "--share", 0.5,
                      "--count", 5, "--part", "test", "--split-seed", 3, "--folds", 2,
                      "--out", tmp_path / "s")  # fmt: skip
    assert "seen enough" in outcome.err
    source = RenderedFaces(900, SIZE, 1)
    wanted = np.flatnonzero(split(source.index(), tuple(shares), 3) == 2)
    chooser, checker = ({x.tobytes() for x in part} for part in seen)
    assert not chooser & checker  # faces differ, and none is used twice
    assert chooser | checker == {x.tobytes() for x in source.read(wanted)}
    assert len(chooser) == pytest.approx(len(checker), abs=2)


GREY = Drawn(Card("ddpm", "image", (), 4, image_size=SIZE), np.zeros((1, SIZE, SIZE, 1), np.uint8))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"--share": "1.0"}, "the share to show is 1.0"),
        ({"--share": "0"}, "the share to show is 0.0"),
        ({"--share": "much"}, "share: "),
        ({"--property": "Cap"}, "unknown attribute 'Cap'"),
        ({"--value": "Cap"}, "unknown value of 'Hat' 'Cap'"),
        (
            {"--reference.image_size": "8"},
            "the samples are 16 x 16 x 3, the reference images 8 x 8 x 3",
        ),
        ({"--reference.count": "30"}, "too few to calibrate a classifier"),
        ({"--reference": "absent.yaml"}, "there is no config file absent.yaml"),
        ({"--count": "0"}, "--count is 0"),
        ({"--seed": "-1"}, "--seed is -1"),
        ({"--folds": "1"}, "--folds is 1"),
        ({"--guidance": "-1"}, "--guidance is -1.0"),
        ({"--labels": "Cap"}, "unknown labels 'Cap'"),
        ({"--out": "release/s"}, "lies in the release"),
        ({"--out": "."}, "is where the release release lies"),
        ({"--property": "Smiling"}, "'Smiling' is what the model's classes stand for"),
        ({"--method": "hope"}, "method: "),
        (
            {"--method": "guide"},
            "a model of the family 'ddpm' cannot be guided, it denoises no images: use --method",
        ),
        ({"--method": "guide", "--guide-scale": "-1"}, "the scale of the guide is -1.0"),
        ({"--method": "guide", "--guide-scale": "1e30"}, "a number from 0 to 1000 is expected"),
        ({"--method": "guide", "--guide-scale": "0"}, "--guide-scale is 0, which guides nothing"),
        ({"--guide-scale": "2"}, "--guide-scale is for --method guide"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(release, refused, changed, words):
    release(faces_with(HATS))
    assert words in refused(changed)


@pytest.fixture
def refused(run_cli, faces, tmp_path, monkeypatch):
    """The one line of a run that must be refused and leave nothing."""
    monkeypatch.chdir(tmp_path)

    def run(changed: dict[str, str]) -> str:
        given = {
            "--model": "release",
            "--reference": faces,
            "--property": "Hat",
            "--share": 0.5,
            "--count": 20,
        }
        before = sorted(tmp_path.rglob("*"))
        words = [text for pair in (given | {"--out": "s"} | changed).items() for text in pair]
        quick = [] if "--classifier" in changed else QUICK
        outcome = run_cli("protect", *words[:4], *quick, *words[4:])
        assert outcome.code == 2, outcome.err
        assert outcome.err.count("\n") == 1, outcome.err
        assert sorted(tmp_path.rglob("*")) == before
        return outcome.err

    return run


def test_samples_of_other_channels_are_refused(release, refused):
    release(GREY)
    assert "the samples are 16 x 16 x 1, the reference images 16 x 16 x 3" in refused({})


def test_a_property_that_the_model_never_makes_is_refused(release, refused):
    """What the classifier reads of it is 0 or nearly so."""
    release(faces_with(0.0))
    assert "candidates a sample; choose a share nearer" in refused({})


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, "needs a classifier with a gradient, KernelRecipe has none"),
        ({"--classifier": "NetworkRecipe", "--reference.image_size": "8"},
         "the samples are 16 x 16 x 3, the reference images 8 x 8 x 3"),
    ],
)  # fmt: skip
def test_a_classifier_that_cannot_guide_is_refused(refused, denoiser, changed, words):
    assert words in refused({"--model": denoiser, "--method": "guide"} | changed)


def test_a_missing_model_is_refused(refused):
    assert "release" in refused({"--model": "no/release"})


def test_a_folder_that_cannot_be_made_is_refused_before_the_model_is_opened(refused, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    assert "already holds something" in refused({"--out": "full"})
    assert refused({"--out": "full/file/s"})


@pytest.mark.parametrize(
    ("labels", "target", "note"),
    [
        (
            ("-1", "1"),
            None,
            "may be those of any of 'Smiling', 'Hat': if they are of 'Hat', choose its share by the `labels`",
        ),
        (("-1", "1"), "Smiling", None),
        (("1", "-1"), "Hat", UserError),
        (("a", "b"), None, None),
    ],
)
def test_a_property_is_told_from_the_classes_by_name_or_said_to_be_untold(labels, target, note):
    codes = np.arange(8, dtype=np.int16) % 2
    attributes = {name: Attribute(codes, ("-1", "1")) for name in ("Smiling", "Hat")}
    known: Any = SimpleNamespace(attributes=attributes)
    card = Card("ddpm", "image", labels, 4, image_size=SIZE, target=target)
    if note is UserError:
        with pytest.raises(UserError, match="'Hat' is what the model's classes stand for"):
            work._check_other("Hat", known, card)
    else:
        told = work._check_other("Hat", known, card)
        assert told is None if note is None else note in told
