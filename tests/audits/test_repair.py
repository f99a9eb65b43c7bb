"""The verb ``repair``: rows and faces whose groups are known to the test, if not to the receiver."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from audited import against, table_source, write_rows
from poisoned_rows import POISONED, WANTED, WITH, rows, shares

from diffshare.audits.repair.audit_file import read_audited
from diffshare.audits.repair.choosing import write_weights
from diffshare.audits.repair.weights import Repair
from diffshare.classifiers.recipes import NetworkRecipe
from diffshare.data.rendered import RenderedFaces
from diffshare.data.source import Attribute
from diffshare.nets.classifiers import SmallResNet
from diffshare.receiver.records import Records
from diffshare.receiver.samples import Samples
from diffshare.release.samples import read_samples, write_samples
from diffshare.stats.information import contingency


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, run_cli: Callable[..., Any]) -> Path:
    """A reference, poisoned samples with and without the group's column, and their audits."""
    made = tmp_path_factory.mktemp("repair")
    table_source(made)
    write_rows(made / "known" / "samples.csv", 3000, 2, POISONED)
    # the same rows
    write_rows(made / "hidden" / "samples.csv", 3000, 2, POISONED, without=("sex",))
    for name in ("known", "hidden"):
        arguments = ("--samples", made / name, "--reference", made / "reference.yaml", *WITH)
        outcome = run_cli("audit", *arguments, "--json", made / f"{name}.json")
        assert outcome.code == 0, outcome.err
        assert json.loads((made / f"{name}.json").read_text())["verdict"] == "poisoned"
    return made


def test_a_choice_of_rows_has_the_shares_of_the_reference(
    folder: Path, run_cli: Any, tmp_path: Path
):
    outcome = run_cli(
        "repair",
        "--samples",
        folder / "known",
        "--audit",
        folder / "known.json",
        "--out",
        tmp_path / "r",
    )
    assert outcome.code == 0, outcome.err
    before, kept = rows(folder / "known" / "samples.csv"), rows(tmp_path / "r" / "samples.csv")
    assert abs(shares(before) - WANTED).min() > 0.08
    assert shares(kept) == pytest.approx(WANTED, abs=0.05)
    remaining = list(before)
    for row in kept:
        remaining.remove(row)  # each is one of the samples, and none stands there twice
    report = json.loads((tmp_path / "r" / "repair.json").read_text())
    assert report["count"] == len(kept) == len(before) - len(remaining)
    assert report["queries"] == 0
    assert report["cells"]["s1y0"]["wanted"] == pytest.approx(WANTED[0], abs=0.01)
    assert "P(m | high)" in outcome.out


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize(
    "table", [[[0.5, 0.25], [0.0, 0.25]], [[0.5, 0.5], [0.0, 0.0]]], ids=["a cell", "a group"]
)
def test_samples_that_lack_what_is_wanted_are_refused(
    run_cli: Any, tmp_path: Path, table: list, hidden: bool
):
    """No weight makes men of women: the answer was 0.000 and status 0."""
    source = table_source(tmp_path)
    write_rows(
        tmp_path / "s" / "samples.csv", 1200, 3, np.array(table), without=("sex",) if hidden else ()
    )
    given = ("--samples", tmp_path / "s")
    trees = ("--classifier", "TreesRecipe", "--classifier.trees", "30") if hidden else ()
    audited = run_cli(
        "audit",
        *given,
        "--reference",
        source,
        *WITH,
        "--gap-repeats",
        0,
        *trees,
        "--json",
        tmp_path / "a.json",
    )
    assert audited.code == 0, audited.err
    outcome = run_cli("repair", *given, "--audit", tmp_path / "a.json", "--out", tmp_path / "r")
    assert outcome.code == 2
    said = "can be told to have" if hidden else "has"
    assert f"no sample of class 'low' {said} the sex 'm', which is wanted in 4" in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "r").exists()


def test_a_group_that_has_to_be_read_is_repaired_as_well(
    folder: Path, run_cli: Any, tmp_path: Path
):
    arguments = (
        "--samples",
        folder / "hidden",
        "--audit",
        folder / "hidden.json",
        "--weights",
        "mass",
    )
    outcome = run_cli("repair", *arguments, "--out", tmp_path / "r")
    assert outcome.code == 0, outcome.err
    sex = {
        tuple(v for k, v in r.items() if k != "sex"): r["sex"]
        for r in rows(folder / "known" / "samples.csv")
    }
    kept = [{**r, "sex": sex[tuple(r.values())]} for r in rows(tmp_path / "r" / "samples.csv")]
    excess = abs(shares(rows(folder / "known" / "samples.csv")) - WANTED)
    assert (abs(shares(kept) - WANTED) < 0.4 * excess).all()


@pytest.mark.parametrize("weights", ["density", "checked"])
def test_weights_by_density_show_a_classifier_the_wanted_records(
    folder: Path, run_cli: Any, tmp_path: Path, weights
):
    arguments = (
        "--samples",
        folder / "hidden",
        "--audit",
        folder / "hidden.json",
        "--weights",
        weights,
    )
    outcome = run_cli("repair", *arguments, "--out", tmp_path / "r")
    assert outcome.code == 0, outcome.err
    before, kept = rows(folder / "hidden" / "samples.csv"), rows(tmp_path / "r" / "samples.csv")
    for label, share in zip(("low", "high"), WANTED, strict=True):
        means = []
        for table in (before, kept):
            means.append(
                np.mean(
                    [
                        float(r["height"])
                        for r in table
                        if r["income"] == label and r["height"] != "?"
                    ]
                )
            )
        wanted = 165 + 13 * share  # the groups' mean heights, in the wanted shares
        # from half of the records a share is read to 0.05, or 0.7 cm
        left = {"density": 0.35, "checked": 0.5}[weights]
        assert abs(means[1] - wanted) < left * abs(means[0] - wanted)


def test_two_readers_need_two_halves_of_enough_records(folder: Path, run_cli: Any, tmp_path: Path):
    reference = yaml.safe_load((folder / "reference.yaml").read_text())
    few = Path(reference["init_args"]["path"]).read_text().splitlines()[:500]
    (tmp_path / "few.csv").write_text("\n".join(few) + "\n")
    reference["init_args"]["path"] = str(tmp_path / "few.csv")
    (tmp_path / "few.yaml").write_text(yaml.safe_dump(reference))
    given = (
        "--samples",
        folder / "hidden",
        "--audit",
        folder / "hidden.json",
        "--reference",
        tmp_path / "few.yaml",
    )
    outcome = run_cli("repair", *given, "--weights", "checked", "--out", tmp_path / "r")
    assert outcome.code == 2
    assert re.search(
        "^diffshare: --weights checked: half of the reference is too little .* too few.*density$",
        outcome.err,
    )
    for reference, weights in (
        (tmp_path / "few.yaml", "density"),
        (folder / "reference.yaml", "checked"),
    ):
        outcome = run_cli(
            "repair", *given[:4], "--reference", reference, "--out", tmp_path / weights
        )
        assert outcome.code == 0, outcome.err
        assert json.loads((tmp_path / weights / "repair.json").read_text())["weights"] == weights
        assert ("no second reader checks" in outcome.out) == (weights == "density")


def test_weights_of_faces_move_the_true_groups(run_cli: Callable[..., Any], tmp_path: Path):
    faces = RenderedFaces(count=3000, image_size=16, shares=[0.0, 1.0, 0.0])
    options = {"count": 3000, "image_size": 16, "shares": [0.0, 1.0, 0.0]}
    block = {"class_path": "diffshare.data.rendered.RenderedFaces", "init_args": options}
    (tmp_path / "faces.yaml").write_text(yaml.safe_dump(block))
    others = RenderedFaces(count=3000, image_size=16, seed=5)
    index, rng = others.index(), np.random.default_rng(0)
    s, y = (index.attribute(name).codes.astype(np.int64) for name in ("Male", "Smiling"))
    chosen = np.flatnonzero(rng.random(3000) < np.where(s == y, 1.0, 1 / 3))  # P(s = y) = 0.75
    write_samples(tmp_path / "s", others.read(chosen), y[chosen], {})
    common = (
        "--samples",
        tmp_path / "s",
        "--reference",
        tmp_path / "faces.yaml",
        "--pool",
        "balanced",
    )
    names = (
        "--sensitive",
        "Male",
        "--target",
        "Smiling",
        "--classifier",
        "KernelRecipe",
        "--folds",
        "3",
    )
    outcome = run_cli("audit", *common, *names, "--gap-repeats", "0", "--json", tmp_path / "a.json")
    assert outcome.code == 0, outcome.err
    given = ("--samples", tmp_path / "s", "--audit", tmp_path / "a.json", "--weights", "mass")
    outcome = run_cli("repair", *given, "--out", tmp_path / "r")
    assert outcome.code == 0, outcome.err
    made = read_samples(tmp_path / "r")
    assert made.weight is not None
    assert np.array_equal(made.x, read_samples(tmp_path / "s").x)
    for label in range(2):
        mine = made.y == label
        assert made.weight[mine].mean() == pytest.approx(1, abs=1e-5)
        male = float((made.weight * s[chosen])[mine].sum() / made.weight[mine].sum())
        assert male == pytest.approx(0.5, abs=0.06)
        before = contingency(s[chosen], y[chosen], 2, 2)[1, label] / mine.sum()
        assert abs(before - 0.5) > 0.2
    assert len(faces.index()) == 3000


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--audit", "{folder}/hidden.json"), "is of other samples.*audit these samples first"),
        (("--audit", "{folder}/reference.yaml"), "(is no audit|not valid JSON)"),
        (("--samples", "{folder}/nowhere"), "nowhere"),
        (("--method", "reweigh"), "rows carry no weights; use --method resample"),
        (("--most", "1"), "--most is 1.0"),
        (("--seed", "-1"), "--seed is -1"),
        (("--count", "5"), "--count is for resample with a --model"),
        (("--out", "{folder}/known"), "lies in the samples folder"),
        (("--out", "{folder}"), "is where the samples folder"),
        (("--to", "mars"), "to"),
    ],
)
def test_mistakes_end_with_one_line(folder, run_cli, tmp_path, change, words):
    given = {
        "--samples": folder / "known",
        "--audit": folder / "known.json",
        "--out": tmp_path / "r",
    }
    given |= {change[0]: change[1].format(folder=folder)}
    outcome = run_cli("repair", *(word for pair in given.items() for word in pair))
    assert outcome.code == 2
    assert len(outcome.err.strip().splitlines()) == 1
    assert re.search(words, outcome.err), outcome.err
    assert not (tmp_path / "r").exists()


def changed(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda audit: audit["settings"].update(fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (changed(part="sharer"), "'part' must be one of auxiliary, test, all, not 'sharer'"),
        (changed(pool=["balanced"]), "'pool' must be one of natural, balanced"),
        (changed(split_seed=[1]), "'split_seed' must be an integer"),
        (changed(folds="five"), "'folds' must be an integer from 2"),
        (changed(seed=-1), "'seed' must be an integer from 0"),
        (changed(degrade="no"), "'degrade' must be one of True, False"),
        (lambda audit: audit["settings"].pop("pool"), "'pool' must be"),
        (
            lambda audit: audit.update(sensitive=[1]),
            "'sensitive' must be 1 to 100 printable characters",
        ),
        (
            lambda audit: audit.update(target="\x1b[31m"),
            "'target' must be 1 to 100 printable characters",
        ),
        (lambda audit: audit.update(settings=[]), "is no audit"),
    ],
)
def test_an_audit_with_odd_fields_is_refused(folder, run_cli, tmp_path, change, words):
    audit = json.loads((folder / "known.json").read_text())
    change(audit)
    (tmp_path / "a.json").write_text(json.dumps(audit))
    outcome = run_cli(
        "repair",
        "--samples",
        folder / "known",
        "--audit",
        tmp_path / "a.json",
        "--out",
        tmp_path / "r",
    )
    assert outcome.code == 2
    assert len(outcome.err.strip().splitlines()) == 1
    assert words in outcome.err
    assert not (tmp_path / "r").exists()


STEERS = "\x1b[2J\x1b]0;x\x07\u202e" + "x" * 900_000


@pytest.mark.parametrize(
    "place",
    [
        ("samples_sha256",),
        ("sensitive",),
        ("target",),
        ("candidates",),
        ("settings", "pool"),
        ("settings", "part"),
        ("settings", "seed"),
        ("settings", "reference"),
        ("settings", "reference", "class_path"),
        ("settings", "reference", "init_args", "path"),
        ("settings", "reference", "init_args", "missing"),
        ("settings", "classifier"),
    ],
)
def test_no_text_of_an_audit_reaches_the_terminal_as_it_is(folder, run_cli, tmp_path, place):
    audit = json.loads((folder / "known.json").read_text())
    holder = audit
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = STEERS
    (tmp_path / "a.json").write_text(json.dumps(audit))
    outcome = run_cli(
        "repair",
        "--samples",
        folder / "known",
        "--audit",
        tmp_path / "a.json",
        "--out",
        tmp_path / "r",
    )
    assert outcome.code == 2
    assert "".join(outcome.out.splitlines()).isprintable()
    assert outcome.err.rstrip("\n").isprintable()
    assert len(outcome.out) + len(outcome.err) < 2500


TABLE_SOURCE, NETWORK_RECIPE = (
    "diffshare.data.table.CSVTable",
    "diffshare.classifiers.recipes.NetworkRecipe",
)


@pytest.mark.parametrize(
    ("name", "block"),
    [
        ("reference", {"class_path": "leaves_a_mark.Source", "init_args": {}}),
        (
            "reference",
            {"class_path": TABLE_SOURCE, "init_args": {"x": [{"class_path": "leaves_a_mark.X"}]}},
        ),
        ("reference", {"class_path": ["leaves_a_mark.Source"]}),
        ("reference", {"class_path": "diffshare.data.leaves_a_mark.evil.Source"}),
        ("reference", "leaves_a_mark.Source"),
        ("reference", [{"class_path": "leaves_a_mark.Source"}]),
        ("classifier", {"class_path": "leaves_a_mark.Recipe"}),
        (
            "classifier",
            {"class_path": NETWORK_RECIPE, "init_args": {"network": "leaves_a_mark.network"}},
        ),
        (
            "classifier",
            {
                "class_path": NETWORK_RECIPE,
                "init_args": {"network": {"class_path": "leaves_a_mark.N"}},
            },
        ),
    ],
)
def test_an_audits_file_cannot_name_code_to_import(
    folder, run_cli, tmp_path, monkeypatch, name, block
):
    """Whoever wrote the file, no module but diffshare's own is imported for it."""
    (tmp_path / "leaves_a_mark.py").write_text(f"open({str(tmp_path / 'mark')!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    audit = json.loads((folder / "hidden.json").read_text())
    audit["settings"][name] = block
    (tmp_path / "a.json").write_text(json.dumps(audit))
    given = (
        "--samples",
        folder / "hidden",
        "--audit",
        tmp_path / "a.json",
        "--out",
        tmp_path / "r",
    )
    outcome = run_cli("repair", *given)
    assert not (tmp_path / "mark").exists()
    assert outcome.code == 2
    assert f"is not imported from an audit's file: name it yourself with --{name}" in outcome.err
    assert len(outcome.err.strip().splitlines()) == 1


def test_a_recipe_of_diffshare_is_taken_from_the_audit(tmp_path):
    network = {
        "class_path": "diffshare.nets.classifiers.SmallResNet",
        "init_args": {"width": 8, "dropout": 0.0},
    }
    block = {
        "class_path": NETWORK_RECIPE,
        "init_args": {"network": network, "steps": 7, "batch_size": 5},
    }
    settings = {
        "reference": None,
        "classifier": block,
        "part": "auxiliary",
        "pool": "natural",
        "split_seed": 0,
    }
    settings |= {"folds": 2, "degrade": False, "seed": 3}
    value = {
        "samples_sha256": "0" * 64,
        "sensitive": "sex",
        "target": "income",
        "settings": settings,
    }
    (tmp_path / "a.json").write_text(json.dumps(value))
    audit = read_audited(tmp_path / "a.json")
    assert audit.built("reference") is None
    recipe = audit.built("classifier")
    assert (type(recipe), recipe.steps, recipe.batch_size) == (NetworkRecipe, 7, 5)
    assert isinstance(recipe.network(2, 3), SmallResNet)


@pytest.mark.parametrize("key", ["groups", "classes"])
def test_records_of_other_names_than_the_audit_s_are_refused(folder, run_cli, tmp_path, key):
    found = json.loads((folder / "known.json").read_text())
    (tmp_path / "a.json").write_text(json.dumps(found | {key: ["x", "y"]}))
    outcome = run_cli(
        "repair",
        "--samples",
        folder / "known",
        "--audit",
        tmp_path / "a.json",
        "--out",
        tmp_path / "r",
    )
    assert outcome.code == 2
    assert "audited 'x', 'y' of '" in outcome.err
    # another order is none
    (tmp_path / "a.json").write_text(json.dumps(found | {key: found[key][::-1]}))
    outcome = run_cli(
        "repair",
        "--samples",
        folder / "known",
        "--audit",
        tmp_path / "a.json",
        "--out",
        tmp_path / "r",
    )
    assert outcome.code == 0, outcome.err
    made = json.loads((tmp_path / "r" / "repair.json").read_text())
    assert (made["groups"], made["classes"]) == (["f", "m"], ["low", "high"])
    assert "records: auxiliary part: 1,500 of 1,500 records" in outcome.out.splitlines()


def test_repaired_images_are_of_the_classes_that_they_were_called(tmp_path: Path):
    """Samples under numbers of their own come out under the reference's, with its names."""
    y = np.array([0, 1, 1, 0])
    found = Repair(np.ones(4), 0.0, *(np.ones((2, 2)) / 2 for _ in range(3)))
    for name, numbers, classes in (("straight", y, ["a", "b"]), ("turned", 1 - y, ["b", "a"])):
        x = np.arange(4 * 8 * 8 * 3, dtype=np.uint8).reshape(4, 8, 8, 3)
        write_samples(tmp_path / name, x, numbers, {"classes": classes})
        reference = Records.from_codes(
            x, {"letter": Attribute(y.astype(np.int16), ("a", "b"))}, target="letter"
        )
        samples = Samples.from_path(tmp_path / name).coded(reference)
        (tmp_path / f"{name}-r").mkdir()
        write_weights(
            tmp_path / f"{name}-r", samples, found, {"classes": ["a", "b"], "target": "letter"}
        )
        made = read_samples(tmp_path / f"{name}-r")
        assert made.y.tolist() == y.tolist()
        assert (made.info["classes"], made.info["target"]) == (["a", "b"], "letter")


def test_samples_that_lack_a_group_of_a_class_are_not_called_repaired(folder, run_cli, tmp_path):
    (tmp_path / "s").mkdir()
    write_rows(tmp_path / "s" / "samples.csv", 400, 5, np.array([[0.5, 0.0], [0.25, 0.25]]))
    common = ["--samples", tmp_path / "s"]
    audit = [
        "audit",
        *common,
        *against(folder, "known")[2:],
        "--gap-repeats",
        0,
        "--json",
        tmp_path / "a.json",
    ]
    assert run_cli(*audit).code == 0
    outcome = run_cli("repair", *common, "--audit", tmp_path / "a.json", "--out", tmp_path / "r")
    assert outcome.code == 2, outcome.err
    assert (
        "no sample of class 'high' has the sex 'f', which is wanted in 38% of them" in outcome.err
    )
    assert not (tmp_path / "r").exists()
