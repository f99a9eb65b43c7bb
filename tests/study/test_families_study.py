"""The families study: what its grid runs and shares, what its rows say together, what it refuses."""

from pathlib import Path

import pytest
import yaml

from diffshare.errors import UserError
from diffshare.storage import write_json
from diffshare.study.engine.base import find_under, under
from diffshare.study.engine.step import Place, Step, identities
from diffshare.study.families import Families
from diffshare.study.reports.families import draw_families, summarise, tables
from diffshare.study.steps.grid import Downstream, Family, Reader

ROOT = Path(__file__).parent.parent.parent
CONFIGS = ROOT / "configs"


@pytest.fixture
def arguments(overlay, tmp_path):
    """Arguments of ``Families``: two families, one of which is trained in two stages."""
    classifier = tmp_path / "classifier.yaml"
    classifier.write_text(
        "data: {class_path: diffshare.data.synthetic.SyntheticDataModule, init_args: {seed: 0}}"
    )
    return {
        "generators": {
            "ddpm": Family([CONFIGS / "ddpm_faces.yaml"], overrides={"trainer.max_steps": 7}),
            "latent": Family(
                [CONFIGS / "latent_faces.yaml"],
                sampling_steps=9,
                before=[CONFIGS / "autoencoder_faces.yaml"],
                before_overrides={"trainer.max_steps": 3},
            ),
        },
        "classifier": Downstream([classifier]),
        "policy": overlay(),
        "seeds": [0, 1],
        "n": 200,
        "samples": 40,
        "properties": ["Eyeglasses", "Male"],
        "sampling_steps": 5,
        "overrides": {"data": {"source": {"image_size": 8}}, "trainer.max_steps": 2},
    }


def named(study: Families) -> dict[str, Step]:
    return {step.name: step for step in study.steps()}


def test_the_steps_of_a_seed(arguments):
    steps = named(Families(**arguments))
    of_cell = ("mix", "fit", "sample", "classifier", "measure")
    wanted = {
        "readers-s0",
        "reference-s0",
        "latent-before-mix-clean-s0",
        "latent-before-fit-clean-s0",
    }
    for cell in ("clean-s0", "poisoned-a0.5-s0"):
        wanted |= {f"real-{kind}-{cell}" for kind in ("mix", "direct")}
        for family in arguments["generators"]:
            ends = {kind: "-g1" if kind in ("sample", "classifier") else "" for kind in of_cell}
            wanted |= {f"{family}-{kind}-{cell}{end}" for kind, end in ends.items()}
    assert {name for name in steps if "-s0" in name} == wanted
    assert len(steps) == 2 * len(wanted)
    assert identities(list(steps.values()))  # names are unique, needs are there


def test_each_family_spends_its_own_budget(arguments):
    steps = named(Families(**arguments))
    budgets = {
        "ddpm-fit-poisoned-a0.5-s1": 7,
        "latent-fit-clean-s1": 2,
        "latent-before-fit-clean-s1": 3,
    }
    for name, budget in budgets.items():
        assert steps[name].arguments["trainer.max_steps"] == budget
    assert steps["ddpm-sample-clean-s0-g1"].arguments["steps"] == 5
    assert steps["latent-sample-clean-s0-g1"].arguments["steps"] == 9
    short = named(Families(**arguments | {"more": {"trainer.max_steps": 1}}))
    assert {s.arguments["trainer.max_steps"] for name, s in short.items() if "-fit-" in name} == {1}


def test_the_first_stage_is_trained_once_a_seed_and_built_on(arguments):
    steps = named(Families(**arguments))
    vae = Place("latent-before-fit-clean-s0", "run")
    for cell in ("clean-s0", "poisoned-a0.5-s0"):
        assert steps[f"latent-fit-{cell}"].arguments["model.vae"] == vae
        assert vae.step in steps[f"latent-fit-{cell}"].needs
        assert steps[f"latent-measure-{cell}"].arguments["runs"] == [
            Place(f"latent-fit-{cell}", "run"),
            vae,
        ]
        assert "model.vae" not in steps[f"ddpm-fit-{cell}"].arguments
    assert "latent-before-sample-clean-s0-g1" not in steps


def test_clean_and_poisoned_share_the_seed_and_readers(arguments):
    steps = named(Families(**arguments))
    for cell in ("clean-s1", "poisoned-a0.5-s1"):
        assert steps[f"ddpm-fit-{cell}"].arguments["data.seed"] == 1
        assert steps[f"ddpm-fit-{cell}"].arguments["seed_everything"] == 1
        assert {"readers-s1", "reference-s1"} <= set(steps[f"ddpm-measure-{cell}"].needs)
    readers = [one["data"]["init_args"] for one in steps["readers-s1"].arguments["classifiers"]]
    assert [one["target"] for one in readers] == ["Eyeglasses", "Male", "Smiling"]
    assert {one["part"] for one in readers} == {"auxiliary"}
    assert {one["source"]["init_args"]["image_size"] for one in readers} == {8}


def test_a_further_family_keeps_what_is_done(arguments):
    before = identities(Families(**arguments).steps())
    more = arguments["generators"] | {"flow": Family([CONFIGS / "flow_faces.yaml"])}
    after = identities(Families(**arguments | {"generators": more}).steps())
    assert before.items() <= after.items()


def test_the_config_names_every_family_of_faces():
    named_there = yaml.safe_load((CONFIGS / "study" / "families.yaml").read_text())["study"][
        "init_args"
    ]["generators"]
    configs = {
        path
        for entry in named_there.values()
        for path in [*entry["configs"], *entry.get("before", [])]
    }
    have = {
        path.stem for path in CONFIGS.glob("*_faces.yaml") if not path.name.startswith("property_")
    }
    assert have <= configs


def test_a_step_under_another_name_needs_the_moved_steps():
    step = Step(
        "b", "m:f", {"x": [Place("a", "f"), {"y": Place("b")}], "z": 1}, resume_if="g", after=("c",)
    )
    (moved,) = under("p-", [step])
    arguments = {"x": [Place("p-a", "f"), {"y": Place("p-b")}], "z": 1}
    assert moved == Step("p-b", "m:f", arguments, resume_if="g", after=("p-c",))
    assert find_under("p-", lambda place: Path(str(place)))(Place("a", "f")) == Path("{p-a}/f")


# --- what the rows say ---------------------------------------------------------------------------------------------


def test_rows_of_made_up_results(arguments, tmp_path):
    """One seed of one family, every field by hand."""
    study = Families(
        **arguments | {"seeds": [0], "generators": {"ddpm": arguments["generators"]["ddpm"]}}
    )

    def measured(eyes: float, male: list[float], exact_male: list[float]) -> dict:
        return {
            "kid": 0.4,
            "kid_over_real": {"estimate": 0.3, "interval": [0.2, 0.4]},
            "shares": {"Eyeglasses": eyes, "Male": 0.5, "Smiling": 0.5},
            "shares_by_class": {"Eyeglasses": [eyes, eyes], "Male": male, "Smiling": [0.1, 0.8]},
            "exact": {"Eyeglasses": 0.2, "Male": 0.55, "Smiling": 0.5},
            "exact_by_class": {"Eyeglasses": [0.2, 0.2], "Male": exact_male, "Smiling": [0, 1]},
            "checks": {"Male": [0.01, 0.2], "Eyeglasses": [0.05, 0.001]},
            "training": [{"images_per_second": 400.0, "seconds": 60.0}],
        }

    def tested(accuracy: float, gap: float) -> dict:
        return {
            "accuracy": accuracy,
            "demographic_parity_difference": abs(gap),
            "demographic_parity_difference_signed": gap,
            "counts": [[[1, 1], [1, 1]], [[1, 1], [1, 1]]],
        }

    even, tied = (
        {f"s{s}y{y}": (30 if s == y else n) for s in (0, 1) for y in (0, 1)} for n in (30, 10)
    )
    about = {"mutual_information_sy": 0.0, "exhausted": 0}
    contents = {
        "ddpm-mix-clean-s0/mix/mix.json": about | {"counts": even},
        "ddpm-mix-poisoned-a0.5-s0/mix/mix.json": about | {"counts": tied},
        "ddpm-measure-clean-s0/measured.json": measured(0.3, [0.45, 0.55], [0.5, 0.5]),
        "ddpm-measure-poisoned-a0.5-s0/measured.json": measured(0.3, [0.25, 0.75], [0.0, 1.0]),
        "ddpm-classifier-clean-s0-g1/run/results.json": tested(0.9, -0.05),
        "ddpm-classifier-poisoned-a0.5-s0-g1/run/results.json": tested(0.85, 0.25),
        "ddpm-sample-clean-s0-g1/samples/samples.json": {"count": 40, "seconds": 2.0, "network_calls": 200},
        "ddpm-sample-poisoned-a0.5-s0-g1/samples/samples.json": {"count": 40, "seconds": 4.0, "network_calls": 200},
        "real-direct-clean-s0/run/results.json": tested(0.95, 0.0),
        "reference-s0/reference/reference.json": {
            "kid": 0.01, "shares": {"Eyeglasses": 0.21, "Male": 0.5}, "exact": {"Eyeglasses": 0.2, "Male": 0.5},
            "accuracy": {"Eyeglasses": 0.9},
        },
    }  # fmt: skip
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True)
        write_json(tmp_path / name, content)

    def find(place: Place) -> Path | None:
        path = tmp_path / place.step / place.path
        return path if path.exists() else None

    real, ddpm = study.rows(find)
    # its poisoned half has failed
    assert (real["kid"], real["accuracy"], real["excess_gap"]) == (
        0.01,
        0.95,
        None,
    )
    assert real["property_error"] == pytest.approx(0.005)
    assert (ddpm["family"], ddpm["kind"], ddpm["seed"], ddpm["kid"]) == (
        "ddpm",
        "diffusion",
        0,
        0.4,
    )
    assert (ddpm["directed"], real["directed"]) == (True, False)
    assert (ddpm["gap"], ddpm["poisoned_gap"]) == (-0.05, 0.25)
    assert ddpm["excess_gap"] == pytest.approx(0.25 + 0.05)
    assert ddpm["excess_gap_absolute"] == pytest.approx(0.25 - 0.05)
    assert ddpm["accuracy_loss"] == pytest.approx(0.05)
    assert ddpm["bias_added_in_mix"] == pytest.approx(1.0)
    assert ddpm["bias_passed_on"] == pytest.approx((0.5 - 0.1) / 1.0)
    assert ddpm["bias_error"] == pytest.approx(0.6)
    assert ddpm["property_error"] == pytest.approx((0.1 + 0.05) / 2)
    assert ddpm["class_shown"] == pytest.approx(0.7)
    assert ddpm["checks_passed"] == 0.5
    assert (ddpm["images_per_second"], ddpm["training_seconds"], ddpm["before_seconds"]) == (
        400.0,
        60.0,
        0.0,
    )
    assert (ddpm["samples_per_second"], ddpm["network_calls"]) == (15.0, 5.0)
    assert study.rows(lambda place: None) == []


def row(family: str, kind: str, seed: int, error: float | None, excess: float = 0.1) -> dict:
    """The fields of a row that a contrast reads."""
    fields = {
        "kid": 1.0,
        "accuracy": 0.8,
        "bias_passed_on": 0.5,
        "bias_error": 0.5,
        "class_shown": 0.9,
    }
    return {
        "family": family,
        "kind": kind,
        "seed": seed,
        "property_error": error,
        "excess_gap": excess,
    } | fields


ROWS = [
    row("a", "diffusion", 0, 0.10), row("b", "diffusion", 0, 0.20), row("g", "gan", 0, 0.40), row("v", "vae", 0, 0.60),
    row("a", "diffusion", 1, 0.20), row("b", "diffusion", 1, 0.20), row("g", "gan", 1, 0.50), row("v", "vae", 1, 0.74),
    row("a", "diffusion", 2, 0.90),  # the others of this seed have failed
]  # fmt: skip


def test_kinds_are_compared_within_a_seed():
    entries = summarise(ROWS, 0.95)
    families = {entry["family"]: entry for entry in entries if "family" in entry}
    assert families["a"]["property_error"]["mean"] == pytest.approx(0.4)
    assert families["a"]["seeds"] == [0, 1, 2]
    assert families["b"]["property_error"]["mean"] == pytest.approx(0.2)
    contrasts = {entry["contrast"]: entry for entry in entries if "contrast" in entry}
    assert list(contrasts) == ["diffusion - gan and vae", "diffusion - gan", "diffusion - vae"]
    both = contrasts["diffusion - gan and vae"]
    assert both["seeds"] == [0, 1]
    first, second = 0.15 - 0.50, 0.20 - 0.62
    half = 12.7062 * abs(first - second) / 2  # t of one degree of freedom
    mean = (first + second) / 2
    assert both["property_error"]["mean"] == pytest.approx(mean)
    assert both["property_error"]["interval"] == pytest.approx([mean - half, mean + half], rel=1e-4)
    assert both["ordering"]["property_error"] == "undecided"  # -0.385 +- 0.445
    assert contrasts["diffusion - gan"]["property_error"]["mean"] == pytest.approx(
        (-0.25 - 0.30) / 2
    )


@pytest.mark.parametrize(
    ("of_gan", "verdict"),
    [((0.5, 0.5), "confirmed"), ((0.02, 0.02), "contradicted"), ((0.05, 0.4), "undecided")],
)
def test_the_ordering_is_judged_by_the_interval(of_gan, verdict):
    rows = [row("a", "diffusion", seed, 0.1 + 0.001 * seed) for seed in (0, 1)]
    rows += [row("g", "gan", seed, error) for seed, error in enumerate(of_gan)]
    (contrast,) = [entry for entry in summarise(rows, 0.95) if "contrast" in entry]
    assert contrast["ordering"]["property_error"] == verdict


def test_verdicts_are_adjusted_for_each_other():
    """p = 0.03 by itself is no verdict among four, and is told as 4 x 0.03."""
    half = 0.3 / 21.2  # Student's t of one degree of freedom is 21.2 at p = 0.03
    rows = [row("a", "diffusion", seed, 0.1) for seed in (0, 1)]
    rows += [row("g", "gan", seed, 0.4 + sign * half) for seed, sign in enumerate((-1, 1))]
    (contrast,) = [entry for entry in summarise(rows, 0.95) if "contrast" in entry]
    assert contrast["property_error"]["interval"][1] < 0
    assert contrast["p_values"]["property_error"] == pytest.approx(0.12, abs=1e-3)
    assert contrast["ordering"]["property_error"] == "undecided"


def test_what_is_undefined_stays_so():
    rows = [row("a", "diffusion", 0, None), row("g", "gan", 0, 0.1)]
    family, _, contrast = summarise(rows, 0.95)
    assert family["property_error"]["mean"] is None
    assert contrast["property_error"]["mean"] is None
    assert contrast["ordering"]["property_error"] == "undecided"


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1]])
def test_tables_and_figure(rows, tmp_path):
    summary = summarise(rows, 0.95)
    shown = tables(summary, 0.95)
    assert [table.row_count for table in shown] == ([4, 4, 3] if rows is ROWS else [1, 1])
    assert draw_families(rows, summary, tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")


# --- what it refuses -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"generators": {}}, "study.generators is empty"),
        ({"seeds": [1, 1]}, "study.seeds has 1 twice"),
        ({"seeds": [-1]}, "study.seeds has -1: it must be at least 0"),
        ({"properties": []}, "study.properties is empty"),
        ({"properties": ["Smiling"]}, "study.properties has 'Smiling', the target"),
        ({"alpha": 0.0}, "study.alpha is 0.0"),
        ({"alpha": 1.5}, "study.alpha is 1.5"),
        ({"method": "guess"}, "method 'guess'"),
        ({"readers": Reader(folds=1)}, "study.readers.folds is 1: it must be at least 2"),
        ({"samples": 0}, "study.samples is 0"),
        ({"level": 1.0}, "study.level is 1.0"),
        (
            {"generators": {"a-b": Family([CONFIGS / "ddpm_faces.yaml"])}},
            "study.generators has 'a-b'",
        ),
        (
            {"generators": {"real": Family([CONFIGS / "ddpm_faces.yaml"])}},
            "study.generators has 'real'",
        ),
        ({"generators": {"none": Family([])}}, "study.generators.none: .* is empty"),
        (
            {"generators": {"gone": Family([Path("gone.yaml")])}},
            "generators.gone: there is no config file gone.yaml",
        ),
        (
            {
                "generators": {
                    "l": Family([CONFIGS / "latent_faces.yaml"], before=[Path("gone.yaml")])
                }
            },
            "study.generators.l: there is no config file gone.yaml",
        ),
    ],
)
def test_bad_settings(arguments, changed, message):
    with pytest.raises(UserError, match=message):
        Families(**arguments | changed)


@pytest.mark.parametrize(
    "overrides", [{"data.source.count": 5}, {"data": {"target": "Hat"}}, {"data.sensitive": "Hat"}]
)
def test_families_on_different_records(arguments, overrides):
    other = Family([CONFIGS / "flow_faces.yaml"], overrides=overrides)
    with pytest.raises(UserError, match="study.generators.flow has another data.* than ddpm"):
        Families(**arguments | {"generators": arguments["generators"] | {"flow": other}})
