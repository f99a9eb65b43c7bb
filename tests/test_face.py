"""The face of the library: light, documented, and the same as the command line on the same samples."""

import csv
import doctest
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from random_release import random_ddpm

import diffshare as ds
from diffshare.classifiers.recipes import KernelRecipe
from diffshare.data.rendered import RenderedFaces

HEAVY = ("torch", "lightning", "diffusers", "sklearn", "pandas", "numpy")


def test_the_import_is_light():
    code = f"import sys, diffshare; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_verdict_on_counts_needs_no_torch():
    code = (
        "import sys\nimport numpy as np\nfrom diffshare.audits.poisoning.verdict import Terms, judge\n"
        "from diffshare.stats.association import Reference\nfrom diffshare.stats.shares import counted_shares\n"
        "shares = counted_shares(np.array([[400, 100], [100, 400]]))\n"
        "print(judge(shares, Reference(np.full((2, 2), 500)), Terms()).verdict)\n"
        f"print([name for name in {HEAVY[:-1]!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["poisoned", "[]"]


def test_every_name_is_there_and_has_a_docstring():
    assert set(dir(ds)) == set(ds.__all__)
    for name in ds.__all__:
        assert getattr(ds, name).__doc__
    with pytest.raises(AttributeError, match="module 'diffshare' has no attribute 'adit'"):
        ds.adit  # noqa: B018


EXAMPLES = ("receiver.records", "receiver.samples", "audits.poisoning.audit", "audits.repair.repair",
            "receiver.property.infer")  # fmt: skip


@pytest.mark.parametrize("module", EXAMPLES)
def test_the_examples_hold(module):
    found = doctest.testmod(importlib.import_module(f"diffshare.{module}"))
    assert found.attempted > 0
    assert found.failed == 0


COLUMNS = {"age": "numeric", "sex": ["f", "m"], "ill": ["no", "yes"]}


def rows(n: int, tie: float, seed: int) -> dict[str, Any]:
    """A table in which sex and illness depend on each other by ``tie``; one age in ten is missing."""
    rng = np.random.default_rng(seed)
    ill = rng.integers(0, 2, n)
    sex = np.where(rng.random(n) < tie, ill, rng.integers(0, 2, n))
    age = np.where(rng.random(n) < 0.1, np.nan, rng.integers(20, 90, n) + 5 * sex)
    return {"age": age, "sex": np.array(["f", "m"])[sex], "ill": np.array(["no", "yes"])[ill]}


def write(path: Path, table: dict[str, Any]) -> Path:
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(table)
        for row in zip(*table.values(), strict=True):
            writer.writerow(["?" if cell != cell else cell for cell in row])
    return path


@pytest.fixture(scope="module")
def told(
    tmp_path_factory: pytest.TempPathFactory, run_cli: Any
) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """What the verbs say of samples in a folder."""
    root = tmp_path_factory.mktemp("face")
    write(root / "own.csv", rows(1500, 0.0, 0))
    write(root / "new" / "samples.csv", rows(800, 0.5, 1))
    source = {
        "class_path": "diffshare.data.table.CSVTable",
        "init_args": {"path": str(root / "own.csv")},
    }
    source["init_args"]["columns"] = COLUMNS  # type: ignore[index]
    (root / "own.yaml").write_text(yaml.safe_dump(source))
    common = ["--samples", root / "new", "--json", root / "told.json", "--part", "all"]
    audit = [
        "audit",
        *common,
        "--reference",
        root / "own.yaml",
        "--sensitive",
        "sex",
        "--target",
        "ill",
    ]
    assert run_cli(*audit, "--gap-repeats", 2).code == 0
    said = json.loads((root / "told.json").read_text())
    share = [
        "infer-property",
        *common,
        "--auxiliary",
        root / "own.yaml",
        "--property",
        "sex",
        "--withhold",
        "sex",
    ]
    (root / "told.json").unlink()
    assert run_cli(*share).code == 0
    return root, said, json.loads((root / "told.json").read_text())


VARY = ("seconds", "settings", "samples_sha256", "notes")


def test_an_audit_of_arrays_says_what_the_verb_says(told):
    _, said, _ = told
    own = ds.Records.from_frame(rows(1500, 0.0, 0), target="ill", sensitive="sex")
    audit = ds.audit(ds.Samples(rows(800, 0.5, 1)), own, gap_repeats=2)
    mine = json.loads(json.dumps(audit.to_json()))
    assert {k: v for k, v in mine.items() if k not in VARY} == {
        k: v for k, v in said.items() if k not in VARY
    }
    assert (audit.verdict, audit.p_value) == (said["verdict"], said["p_value"])
    assert audit.predicted_gap.estimate == said["predicted_gap"]["estimate"]
    assert audit.advice == said["advice"]


def test_a_folder_is_the_same_as_what_is_in_it(told):
    root, said, _ = told
    own = ds.Records.from_frame(rows(1500, 0.0, 0), target="ill", sensitive="sex")
    samples = ds.Samples.from_path(root / "new")
    assert ds.audit(samples, own, gap_repeats=0).to_json()["association"] == said["association"]
    assert samples.sha256 == said["samples_sha256"]


def test_a_share_of_arrays_is_that_of_the_verb(told):
    _, _, said = told
    share = ds.infer_property(
        ds.Samples(rows(800, 0.5, 1)), ds.Records(rows(1500, 0.0, 0)), "sex", withhold=["sex"]
    )
    assert list(share.interval) == pytest.approx(said["interval"], abs=1e-12)
    assert share.estimate == pytest.approx(said["estimate"], abs=1e-12)


def test_results_are_short_to_look_at(told):
    own = ds.Records.from_frame(rows(1500, 0.0, 0), target="ill", sensitive="sex")
    audit = ds.audit(ds.Samples(rows(800, 0.5, 1)), own, gap_repeats=0)
    share = ds.infer_property(ds.Samples(rows(800, 0.5, 1)), own, "sex")
    for one in (audit, share, own, ds.Samples(rows(8, 0.5, 1))):
        assert repr(one).count("\n") < 4
        assert len(repr(one)) < 300


def test_a_library_is_silent(told, capsys):
    own = ds.Records(
        np.random.default_rng(0).normal(size=(900, 2)), [0, 1] * 450, s=[0, 0, 1] * 300
    )
    with pytest.raises(ds.UserError, match="too weak"):
        ds.audit(
            ds.Samples(np.random.default_rng(1).normal(size=(90, 2)), [0, 1] * 45), own, folds=2
        )
    assert capsys.readouterr() == ("", "")


BAD = [
    (lambda: ds.Records(np.zeros((3, 2)), [0, 1]), "y has 2 labels, there are 3 records"),
    (
        lambda: ds.Records(np.zeros(3), [0, 1, 1]),
        r"x has the shape \(3,\): rows of a table are N x columns",
    ),
    (
        lambda: ds.Records(np.zeros((3, 8, 8, 2), np.uint8)),
        "images have 1 or 3 channels",
    ),
    (lambda: ds.Records(np.full((3, 8, 8, 3), 300.0)), "x "),
    (
        lambda: ds.Records(np.zeros((3, 2)), [[0, 1, 1]]),
        r"y has the shape \(1, 3\): give one label a record",
    ),
    (
        lambda: ds.Records(np.zeros((2, 2)), [0.5, 1]),
        "y holds 0.5: labels are whole numbers or texts",
    ),
    (lambda: ds.Records({"a": [1, 2], "b": [1]}), "the columns have different lengths"),
    (lambda: ds.Records({"y": [1.0, 2.0]}, [0, 1]), "'y' is a column of x and is given beside it"),
    (lambda: ds.Pool.of({"s": [1.0, 2.0]}, [0, 1], [0, 1]), "'s' is a column of x"),
    (lambda: ds.Records(np.zeros((1001, 1)), range(1001)), "y has 1001 different labels"),
    (lambda: ds.Records({}), "the table has no record or no column"),
    (lambda: ds.Records.from_frame({"a": [1], "y": [0]}, target="z", sensitive="a"), "column 'z'"),
    (lambda: ds.Records(np.full((2, 1), np.inf)), "row 0, column '0': 'inf' is no finite number"),
    (
        lambda: ds.audit(ds.Samples([[1.0]], [0]), ds.Records([[1.0]])),
        "the records have no class: give y",
    ),
    (
        lambda: ds.audit(ds.Samples([[1.0]]), ds.Records([[1.0], [2.0]], [0, 1])),
        "name the group with `sensitive`",
    ),
    (lambda: ds.audit(ds.Samples([[1.0]]), ds.Records([[1.0]]), levl=0.1), "levl"),
    (lambda: ds.audit(ds.Samples([[1.0]]), ds.Records([[1.0]]), level=2), "`level` is 2"),
    (lambda: ds.open_model("nowhere"), "nowhere"),
]


@pytest.mark.parametrize(("build", "words"), BAD)
def test_what_does_not_fit_is_refused_with_a_sentence(build, words):
    with pytest.raises(ds.UserError, match=words) as refused:
        build()
    assert "\n" not in str(refused.value)


def test_a_repair_of_arrays_is_that_of_the_verb(told, run_cli, tmp_path):
    root, said, _ = told
    (tmp_path / "audit.json").write_text(json.dumps(said))
    options = [
        "--samples",
        root / "new",
        "--audit",
        tmp_path / "audit.json",
        "--out",
        tmp_path / "repaired",
    ]
    assert run_cli("repair", *options).code == 0
    report = json.loads((tmp_path / "repaired" / "repair.json").read_text())
    own = ds.Records.from_frame(rows(1500, 0.0, 0), target="ill", sensitive="sex")
    samples = ds.Samples(rows(800, 0.5, 1))
    repaired = ds.repair(samples, own, ds.audit(samples, own, gap_repeats=0))
    mine = json.loads(json.dumps(repaired.to_json()))
    for name in ("cells", "effective_sizes", "groups", "classes", "weights"):
        assert mine[name] == report[name]
    assert report["count"] == len(repaired.rows)
    with pytest.raises(ds.UserError, match="the audit is of other samples"):
        ds.repair(ds.Samples(rows(800, 0.5, 2)), own, ds.audit(samples, own, gap_repeats=0))


def test_a_leak_of_arrays(told):
    own = ds.Records.from_frame(rows(1500, 0.0, 0), target="ill", sensitive="sex")
    report = ds.leak(ds.Samples(rows(800, 0.5, 1)), own, properties=["sex"])
    (leak,) = report.leaks
    assert leak.name == "sex"
    assert report.to_json()["properties"][0]["methods"][0]["method"] == "column"


def test_a_box_is_asked_for_samples(tmp_path):
    box = ds.open_model(random_ddpm(tmp_path / "model", 16, steps=2))
    some = box.draw(["Smiling", "not Smiling", 1], seed=3)
    assert some.y.codes.tolist() == [1, 0, 1]
    again = box.draw("balanced", count=2, seed=3)
    assert again.images.shape == (2, 16, 16, 3)
    np.testing.assert_array_equal(box.draw([0, 1], seed=3).images, again.images)
    for labels, options in (
        ("balanced", {}),
        (["Grinning"], {}),
        ([0], {"count": 2}),
        ([0], {"guidance": -1.0}),
    ):
        with pytest.raises(ds.UserError):
            box.draw(labels, **options)


def test_a_pool_of_arrays_is_chosen_from():
    rng = np.random.default_rng(0)
    s, y = rng.integers(0, 2, (2, 400))
    pool = ds.Pool.of(rng.normal(size=(400, 3)) + y[:, None], y, s)
    choice = ds.mixes.Exact(alpha=0.5, n=100, favour=1, refit=False).choose(pool, seed=0)
    assert len(set(choice.positions.tolist())) == 100
    assert s[choice.positions[choice.target == 1]].mean() > 0.6


def test_a_repair_takes_what_the_audit_took():
    """Samples may lack the column of another group, which a classifier reads."""
    table = rows(1500, 0.0, 0) | {"race": np.random.default_rng(3).integers(0, 2, 1500)}
    own = ds.Records.from_frame(table, target="ill", sensitive=["sex", "race"])
    samples = ds.Samples(rows(800, 0.5, 1))
    audit = ds.audit(samples, own, sensitive="sex", gap_repeats=0)
    assert ds.repair(samples, own, audit).cells
    other = ds.Records.from_frame(table, target="race", sensitive="sex")
    with pytest.raises(
        ds.UserError, match="the audit is of 'no', 'yes' of the class|has no column 'race'"
    ):
        ds.repair(samples, other, audit)


def test_a_model_is_taken_where_samples_are(tmp_path):
    box = ds.open_model(random_ddpm(tmp_path / "model", 16, steps=2, label_frequencies=[0.5, 0.5]))
    faces = RenderedFaces(count=600, image_size=16)
    own = ds.Records.from_source(faces, target="Smiling", sensitive=["Male"], part="all")
    more = {"classifier": KernelRecipe(), "folds": 2, "queries": 60}
    assert ds.audit(box, own, gap_repeats=0, **more).queries == 60
    assert ds.infer_property(box, own, "Hat", **more).queries == 60


@pytest.mark.parametrize(
    ("values", "classes"), [([1.0, np.nan, 0.0], ("0", "1")), (["b", None, "a"], ("a", "b"))]
)
def test_a_label_is_called_the_same_in_a_column_and_in_an_array(values, classes):
    frame = {
        "x": [1.0, 2.0, 3.0],
        "y": np.array(values, object if classes == ("a", "b") else float),
        "s": [0, 1, 1],
    }
    own = ds.Records.from_frame(frame, target="y", sensitive="s")
    assert own.classes == ds.Records(np.zeros((3, 1)), values, s=[0, 1, 1]).classes == classes


def test_numbers_among_which_one_is_missing_are_numbers():
    own = ds.Records({"age": [40.5, None, 38.2] * 4}, [0, 1, 1] * 4)
    assert own.columns[0].kind == "numeric"
    assert np.isnan(own.x[1, 0])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda a, b, c: ds.repair(a, b, c, to="eqaul"), "unknown to 'eqaul'"),
        (lambda a, b, c: ds.repair(a, b, c, weights="chekced"), "unknown weights 'chekced'"),
        (lambda a, b, c: ds.repair(a, b, c.to_json()), "a dict was given as the audit"),
        (lambda a, b, c: ds.audit(b, a), "a Records was given first: give Samples"),
        (lambda a, b, c: ds.audit(a, a), "a Samples was given as the records"),
        (lambda a, b, c: ds.audit(a, b, pool="even"), "unknown pool 'even'"),
        (lambda a, b, c: ds.audit(a, b, folds="5"), "`folds` is '5': give a whole number"),
        (lambda a, b, c: ds.audit(a, b, withhold="agee"), "unknown column to withhold 'agee'"),
        (lambda a, b, c: ds.infer_property(a, b, 0), "unknown attribute '0'"),
        (lambda a, b, c: ds.leak(a, b, queries=0), "`queries` is 0"),
        (lambda a, b, c: ds.leak(a, b, properties="sexe"), "unknown attribute 'sexe'"),
    ],
)
def test_a_slip_is_told(call, words):
    own = ds.Records.from_frame(rows(600, 0.0, 0), target="ill", sensitive="sex")
    samples = ds.Samples(rows(400, 0.5, 1))
    with pytest.raises(ds.UserError, match=words):
        call(samples, own, ds.audit(samples, own, gap_repeats=0))


def test_one_group_is_no_group():
    own = ds.Records(np.zeros((6, 1)), [0, 1] * 3, s=[0] * 6)
    with pytest.raises(ds.UserError, match="'s' is the same of all 6 records"):
        ds.audit(ds.Samples(np.zeros((4, 1)), [0, 1] * 2), own)
