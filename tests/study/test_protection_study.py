"""The protection study: what its grid runs and shares, what its rows say together, what it refuses."""

from pathlib import Path

import pytest
from opacus.accountants.utils import get_noise_multiplier

from diffshare.errors import UserError
from diffshare.sharer.protection.dp import spent
from diffshare.sharer.protection.noise import noise_multiplier
from diffshare.stats.prevalence import NAMES
from diffshare.storage import write_json
from diffshare.study.engine.step import Place, Step, identities
from diffshare.study.protection import Protection
from diffshare.study.reports.protection import summarise
from diffshare.study.reports.protection_shown import draw_models, draw_shown, tables
from diffshare.study.steps.grid import Downstream, Model, Protected, Reader

ROOT = Path(__file__).parent.parent.parent
CONFIGS = ROOT / "configs"


@pytest.fixture
def arguments(tmp_path):
    """Arguments of ``Protection``: a plain and a private model, each with protected samples."""
    classifier = tmp_path / "classifier.yaml"
    classifier.write_text(
        "data: {class_path: diffshare.data.synthetic.SyntheticDataModule, init_args: {seed: 0}}"
    )
    return {
        "generator": [CONFIGS / "ddpm_faces.yaml"],
        "classifier": Downstream([classifier]),
        "property": "Eyeglasses",
        "proportions": [0.1, 0.9],
        "models": {
            "ddpm": Model(200),
            "private": Model(400, epsilon=8.0, overrides={"trainer.max_steps": 5}),
        },
        "protections": {"accepted": Protected(0.5, {"reference.seed": 1, "folds": 2})},
        "seeds": [0, 1],
        "samples": 40,
        "receivers": {
            "equal": Reader(records=100),
            "strong": Reader(records=300, source={"seed": 2}),
        },
        "features": ["Hat", "Eyeglasses"],
        "audit": {"queries": 50},
        "trainings": 2,
        "overrides": {
            "data": {"source": {"image_size": 8}, "batch_size": 16},
            "trainer.max_steps": 2,
        },
        "sampling_steps": 3,
    }


def named(study: Protection) -> dict[str, Step]:
    return {step.name: step for step in study.steps()}


def test_the_steps_of_a_seed(arguments):
    steps = named(Protection(**arguments))
    wanted = {"readers-s0", "receivers-s0", "reference-s0"}
    for p in ("0.1", "0.9"):
        wanted |= {f"{kind}-real-p{p}-s0-plain" for kind in ("measure", "classifier")}
        for model in ("ddpm", "private"):
            wanted |= {f"{kind}-{model}-p{p}-s0" for kind in ("mix", "fit", "audit")}
            for view in ("plain", "accepted"):
                wanted |= {
                    f"{kind}-{model}-p{p}-s0-{view}" for kind in ("sample", "measure", "classifier")
                }
    assert {name for name in steps if "-s0" in name} == wanted
    assert len(steps) == 2 * len(wanted)
    assert identities(list(steps.values()))  # names are unique, needs are there


def test_plain_and_protected_samples_differ_in_the_protection_alone(arguments):
    steps = named(Protection(**arguments))
    plain, protected = (steps[f"sample-ddpm-p0.1-s1-{view}"] for view in ("plain", "accepted"))
    assert [step.function.rpartition(":")[2] for step in (plain, protected)] == [
        "sample",
        "protect",
    ]
    for name in ("model", "count", "labels", "seed", "steps"):
        assert plain.arguments[name] == protected.arguments[name]
    own = {
        "share": 0.5,
        "property": "Eyeglasses",
        "split_seed": 1,
        "part": "auxiliary",
        "folds": 2,
        "reference.seed": 1,
    }
    assert {name: protected.arguments[name] for name in own} == own
    assert protected.arguments["reference"]["init_args"]["image_size"] == 8
    assert protected.arguments["report"] == Place(protected.name, "drawn.json")
    measured = steps["measure-ddpm-p0.1-s1-accepted"].arguments
    assert measured["plain"] == Place("sample-ddpm-p0.1-s1-plain", "samples")
    assert measured["shares"] == [0.1, 0.5]


def test_records_take_the_place_of_samples(arguments):
    steps = named(Protection(**arguments))
    real = Place("reference-s0", "reference/real-0.9")
    assert steps["measure-real-p0.9-s0-plain"].arguments["samples"] == real
    assert steps["classifier-real-p0.9-s0-plain"].arguments["data.samples"] == real
    assert steps["reference-s0"].arguments["shares"] == [0.1, 0.9, 0.5]


def test_receivers_and_sharer_have_records_of_their_own(arguments):
    steps = named(Protection(**arguments))
    receivers = steps["receivers-s1"].arguments["classifiers"]
    blocks = [one["data"]["init_args"] for one in receivers]
    assert {block["part"] for block in blocks} == {"auxiliary"}
    assert [block["mix"]["init_args"]["n"] for block in blocks] == [100, 300]
    assert [block["source"]["init_args"].get("seed") for block in blocks] == [None, 2]
    assert steps["fit-ddpm-p0.1-s1"].arguments["data.seed"] == 1
    starts = {one["seed"] for one in receivers} | {
        steps["sample-ddpm-p0.1-s1-accepted"].arguments["seed"]
    }
    assert len(starts) == 3  # nor initial weights


def test_each_training_of_the_classifier_has_a_seed_of_its_own(arguments):
    step = named(Protection(**arguments))["classifier-ddpm-p0.1-s1-plain"]
    assert step.function == "diffshare.study.steps.verbs:fit_and_test"
    assert step.arguments["runs"] == [
        (Place(step.name, "run0"), 1),
        (Place(step.name, "run1"), 1001),
    ]
    assert step.arguments["data.test_source"]["init_args"]["image_size"] == 8
    assert step.arguments["data.target"] == "Smiling"


def test_a_private_model_has_the_noise_of_its_epsilon(arguments):
    steps = named(Protection(**arguments))
    fit = steps["fit-private-p0.1-s0"].arguments
    assert fit["model"] == "diffshare.sharer.protection.dp.PrivateDDPM"
    names = list(fit)
    assert names.index("model") < names.index("model.noise_multiplier")
    sigma = fit["model.noise_multiplier"]
    assert 7.9 < spent(sigma, 16 / 400, 5, 1e-5) <= 8
    assert (fit["trainer.precision"], fit["trainer.gradient_clip_val"]) == ("32-true", None)
    assert "model" not in steps["fit-ddpm-p0.1-s0"].arguments
    more = named(Protection(**arguments | {"more": {"trainer.max_steps": 9}}))[
        "fit-private-p0.1-s0"
    ]
    assert more.arguments["model.noise_multiplier"] > sigma


def test_without_protections_and_audit_there_are_none(arguments):
    steps = named(Protection(**arguments | {"protections": None, "audit": None}))
    assert not [name for name in steps if "accepted" in name or name.startswith("audit")]


def test_more_seeds_keep_what_is_done(arguments):
    before = identities(Protection(**arguments).steps())
    after = identities(Protection(**arguments | {"seeds": [0, 1, 2]}).steps())
    assert before.items() <= after.items()


@pytest.mark.filterwarnings("ignore:Optimal order")  # of Opacus: the bound holds all the same
@pytest.mark.parametrize(("epsilon", "rate", "steps"), [(5.0, 0.1, 20), (1.0, 0.1, 10)])
def test_the_noise_is_the_least_that_suffices(epsilon, rate, steps):
    sigma = noise_multiplier(epsilon, rate, steps, 1e-5)
    assert spent(sigma, rate, steps, 1e-5) <= epsilon < spent(sigma - 2e-4, rate, steps, 1e-5)
    aim = {"target_epsilon": epsilon, "target_delta": 1e-5, "sample_rate": rate, "steps": steps}
    theirs = get_noise_multiplier(**aim, accountant="rdp", epsilon_tolerance=epsilon / 1000)
    assert sigma == pytest.approx(theirs, rel=2e-3)


def test_a_bound_that_no_noise_reaches_and_one_that_little_does():
    with pytest.raises(
        UserError, match="no noise reaches epsilon 0.001 at delta 1e-05: raise epsilon"
    ):
        noise_multiplier(0.001, 0.1, 1, 1e-5)
    assert spent(noise_multiplier(1e4, 0.1, 1, 1e-5), 0.1, 1, 1e-5) < 1e4


# --- what the rows say ---------------------------------------------------------------------------------------------


def readings(value: float, strong: float) -> dict:
    """ML reads ``value``, and every other method something farther off."""
    return {
        name: {m: v if m == "ml" else v + 0.2 for m in NAMES}
        for name, v in (("equal", value), ("strong", strong))
    }


def contents(seed: int = 0) -> dict[str, dict]:
    """What the steps of one cell, p = 0.1, leave: every number by hand."""
    accuracy = {"equal": 0.9, "strong": 0.95}
    measured = {
        "kid": {"0.1": 0.03, "0.5": 0.05},
        "read": readings(0.12, 0.11),
        "reader_accuracy": accuracy,
    }
    protected = {
        "kid": {"0.1": 0.07, "0.5": 0.04},
        "read": readings(0.46, 0.41),
        "reader_accuracy": accuracy,
    }
    differences = {"0.1": (0.04, [0.03, 0.05]), "0.5": (-0.01, [-0.02, 0.01])}
    protected["kid_difference"] = {
        k: {"estimate": e, "interval": ends} for k, (e, ends) in differences.items()
    }
    end, counts = f"p0.1-s{seed}", [[[1, 2], [3, 4]], [[5, 6], [7, 8]]]
    speed = {"images_per_second": 100.0, "seconds": 60.0}
    leak = {
        "method": "acc",
        "methods": [{"method": "cc", "error": 0.3}, {"method": "acc", "error": -0.04}],
    }
    member = {
        "advantage": {"estimate": 0.2, "interval": [0.1, 0.3]},
        "auroc": {"estimate": 0.6, "interval": [0.5, 0.7]},
    }
    left = {
        f"measure-ddpm-{end}-plain/measured.json": measured | {"training": speed},
        f"measure-ddpm-{end}-accepted/measured.json": protected | {"training": speed},
        f"measure-real-{end}-plain/measured.json": measured | {"training": None},
        f"sample-ddpm-{end}-plain/samples/samples.json": {"count": 40, "queries": 40},
        f"sample-ddpm-{end}-accepted/samples/samples.json": {"count": 40},
        f"sample-ddpm-{end}-accepted/drawn.json": {"count": 40, "queries": 200},
        f"fit-ddpm-{end}/run/release/diffshare.json": {"epsilon": None},
        f"audit-ddpm-{end}/audit.json": {
            "membership": member | {"reason": None},
            "properties": [leak],
        },
        f"reference-s{seed}/reference/reference.json": {"jpeg": {"0.1": 0.01}},
    }
    for view, tested in (("plain", (0.80, 0.90)), ("accepted", (0.79, 0.86))):
        for k, right in enumerate(tested):
            left[f"classifier-ddpm-{end}-{view}/run{k}/results.json"] = {
                "accuracy": right,
                "counts": counts,
            }
    return left


def rows_of(study: Protection, files: dict[str, dict], folder: Path) -> list[dict]:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_json(folder / name, content)

    def find(place: Place) -> Path | None:
        path = folder / place.step / place.path
        return path if path.exists() else None

    return study.rows(find)


@pytest.fixture
def study(arguments) -> Protection:
    one = {"proportions": [0.1], "models": {"ddpm": Model(200)}}
    return Protection(**arguments | one)


def test_rows_of_made_up_results(study, tmp_path):
    real, plain, protected = rows_of(study, contents(), tmp_path)
    assert (real["model"], real["accuracy"], real["jpeg"], real["queries_a_sample"]) == (
        "real",
        None,
        0.01,
        None,
    )
    assert (plain["protection"], plain["shown"], plain["records"], plain["bound"]) == (
        "plain",
        None,
        200,
        None,
    )
    assert (plain["kid"], plain["training_seconds"], plain["test_records"]) == (0.03, 60.0, 36)
    assert plain["property_error"] == pytest.approx(0.12 + 0.2 - 0.1)  # PACC of the first receiver
    assert (plain["advantage"], plain["auroc"], plain["auroc_interval"]) == (0.2, 0.6, [0.5, 0.7])
    assert (plain["audited_error"], plain["audited_errors"]) == (0.04, {"cc": 0.3, "acc": -0.04})
    assert plain["accuracy"] == pytest.approx(0.85)
    assert (protected["protection"], protected["shown"], protected["kid"]) == (
        "accepted",
        0.5,
        0.07,
    )
    assert protected["property_error"] == pytest.approx(0.46 + 0.2 - 0.5)
    assert protected["accuracy_differences"] == pytest.approx([-0.01, -0.04])
    assert protected["accuracy_difference"] == pytest.approx(-0.025)
    assert protected["queries_a_sample"] == 5
    assert protected["plain_read"] == plain["read"]
    assert protected["advantage"] is None  # of the model, not of these samples
    assert study.rows(lambda place: None) == []


def test_the_summary_of_two_generators(study, tmp_path):
    second = contents(1)
    second["measure-ddpm-p0.1-s1-accepted/measured.json"]["read"] = readings(0.48, 0.47)
    second["measure-ddpm-p0.1-s1-accepted/measured.json"]["kid_difference"]["0.5"]["estimate"] = (
        0.03
    )
    for k, right in enumerate((0.81, 0.91)):
        second[f"classifier-ddpm-p0.1-s1-accepted/run{k}/results.json"]["accuracy"] = right
    summary = study.summary(rows_of(study, contents() | second, tmp_path))
    assert [(entry["model"], entry["protection"]) for entry in summary] == [
        ("real", "plain"), ("ddpm", "plain"), ("ddpm", "accepted"),
    ]  # fmt: skip
    plain, entry = summary[1:]
    assert "criteria" not in plain
    assert (entry["generators"], entry["missing"]) == (2, 0)
    # by plain samples, which it reads to 0.02 and 0.01
    assert entry["best"] == {
        "equal": "ml",
        "strong": "ml",
    }
    equal, strong, accuracy, true, chosen = entry["criteria"]
    half = 12.7062 * 0.02 / 2  # t of one degree of freedom, of errors 0.04 and 0.02
    assert equal["value"] == pytest.approx(0.03)
    assert equal["interval"] == pytest.approx([0.03 - half, 0.03 + half], rel=1e-4)
    assert (equal["worst"], equal["reached"]) == (pytest.approx(0.04), True)
    # one generator is enough
    assert (strong["worst"], strong["reached"]) == (
        pytest.approx(0.09),
        False,
    )
    assert accuracy["value"] == pytest.approx((-0.025 + 0.01) / 2)
    # the mean does, the interval not
    assert (accuracy["worst"], accuracy["reached"]) == (
        pytest.approx(-0.025),
        None,
    )
    assert (true["value"], chosen["value"]) == (pytest.approx(0.04), pytest.approx(0.01))
    assert true["reached"] is chosen["reached"] is None
    assert entry["by_p"]["equal"]["0.1"]["mean"] == pytest.approx(0.47)
    attack = next(a for a in entry["attacks"] if (a["receiver"], a["method"]) == ("strong", "cc"))
    assert attack["plain_error"]["mean"] == pytest.approx(0.21)
    assert attack["error"]["mean"] == pytest.approx((0.11 + 0.17) / 2)


def test_what_only_some_generators_reach_is_not_said_to_be_reached(study, tmp_path):
    (entry,) = (e for e in study.summary(rows_of(study, contents(), tmp_path)) if e["shown"])
    assert entry["missing"] == 1
    equal, strong, accuracy, *_ = entry["criteria"]
    assert equal["reached"] is None
    assert strong["reached"] is accuracy["reached"] is False


def test_without_plain_samples_no_method_is_best(study, tmp_path):
    left = {
        name: value
        for name, value in contents().items()
        if "measure-ddpm-p0.1-s0-plain" not in name
    }
    rows = rows_of(study, left, tmp_path)
    (entry,) = (e for e in study.summary(rows) if e["shown"])
    assert entry["best"] == {}
    assert entry["accuracy"]["mean"] == pytest.approx(0.825)
    assert [one["what"] for one in entry["criteria"]] == [
        f"MMD to real records of the {name} share, difference" for name in ("true", "chosen")
    ]
    assert study.tables(rows, study.summary(rows))
    assert study.figures(rows, study.summary(rows), tmp_path / "figures")


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_tables_and_figures(study, tmp_path, seeds):
    rows = rows_of(
        study, {name: value for seed in seeds for name, value in contents(seed).items()}, tmp_path
    )
    summary = summarise(rows, 2, 0.95)
    models, generators, criteria = tables(rows, summary, 0.95)
    assert (models.row_count, generators.row_count, criteria.row_count) == (3, len(seeds), 5)
    headings = [column.header for column in models.columns]
    assert "advantage" in headings
    assert "epsilon" not in headings  # nothing is known of it
    assert draw_models(rows, summary, tmp_path / "m.png").read_bytes().startswith(b"\x89PNG")
    assert draw_shown(rows, summary[2], tmp_path / "s.png").read_bytes().startswith(b"\x89PNG")


# --- what it refuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"models": {}}, "study.models is empty"),
        ({"receivers": {}}, "study.receivers is empty"),
        ({"features": ["Hat", "Hat"]}, "study.features has Hat twice"),
        ({"seeds": [-1]}, "study.seeds has -1"),
        ({"proportions": [1.1]}, "study.proportions has 1.1"),
        ({"samples": 3}, "study.samples is 3: it must be at least 4"),
        ({"trainings": 0}, "study.trainings is 0"),
        ({"level": 0.0}, "study.level is 0.0"),
        ({"property": "Smiling"}, "study.property is 'Smiling', the target"),
        ({"models": {"a": Model(0)}}, "study.models.a.n is 0"),
        ({"models": {"a-b": Model(9)}}, "study has 'a-b'"),
        ({"models": {"real": Model(9)}}, "study has 'real'"),
        ({"protections": {"plain": Protected(0.5)}}, "study has 'plain'"),
        ({"protections": {"a": Protected(1.0)}}, "study.protections.a.share is 1.0"),
        (
            {"receivers": {"a": Reader(folds=1)}},
            "study.receivers.a.folds is 1: it must be at least 2",
        ),
        ({"models": {"a": Model(400, epsilon=0.0)}}, "study.models.a: epsilon lies above 0"),
        (
            {"models": {"a": Model(400, epsilon=1.0, delta=1.0)}},
            "study.models.a: epsilon .* delta between",
        ),
        (
            {"models": {"a": Model(10, epsilon=1.0)}},
            "study.models.a: .* data.batch_size of at most n = 10",
        ),
        (
            {"generator": [CONFIGS / "flow_faces.yaml"]},
            "study.models.private: DP-SGD trains a DDPM alone",
        ),
        ({"generator": [Path("gone.yaml")]}, "there is no config file gone.yaml"),
        ({"classifier": Downstream([Path("gone.yaml")])}, "there is no config file gone.yaml"),
        (
            {"generator": [CONFIGS / "mix" / "clean.yaml"]},
            "study.generator: data needs source and target",
        ),
    ],
)
def test_refusals(arguments, changed, message):
    with pytest.raises(UserError, match=message):
        Protection(**arguments | changed)
