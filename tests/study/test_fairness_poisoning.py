"""The fairness study: what its grid runs, what it shares, what its rows say together, what it refuses."""

from pathlib import Path

import pytest

from diffshare.errors import UserError
from diffshare.study.engine.configs import flat, merged
from diffshare.study.engine.step import Place, identities
from diffshare.study.fairness_poisoning import FairnessPoisoning
from diffshare.study.reports.poisoning import (
    at_largest_alpha,
    draw_amplifier,
    draw_curves,
    mix_shares,
    outcome_table,
    summarise,
)
from diffshare.study.steps.grid import Downstream


@pytest.fixture
def study(arguments):
    return FairnessPoisoning(**arguments)


def by_kind(study) -> dict[str, list]:
    """Steps by the first part of their name."""
    steps: dict[str, list] = {}
    for step in study.steps():
        steps.setdefault(step.name.split("-")[0], []).append(step)
    return steps


def test_every_cell_once_and_the_clean_set_for_all(study):
    steps = by_kind(study)
    cells = 2 * (1 + 1 * 2)  # seeds x (clean + policy x alphas above 0)
    assert {kind: len(own) for kind, own in steps.items()} == {
        "reader": 2,
        "mix": cells,
        "direct": cells,
        "fit": cells,
        "sample": 2 * cells,
        "classifier": 2 * cells,
        "groups": 2 * cells,
    }
    assert identities(study.steps())  # names are unique, needs are there


def test_guidance_does_not_train_again(study):
    fit = next(step for step in by_kind(study)["fit"] if step.name == "fit-flip-a0.5-s1")
    assert "guidance" not in fit.arguments
    users = [step for step in by_kind(study)["sample"] if fit.name in step.needs]
    assert [step.arguments["guidance"] for step in users] == [1, 3]


def test_a_seed_is_the_seed_of_everything(study):
    for kind, names in (("fit", ("data.seed", "seed_everything")), ("sample", ("seed",))):
        for step in by_kind(study)[kind]:
            seed = int(step.name.split("-g")[0][-1])
            assert [step.arguments[name] for name in names] == [seed] * len(names)


def test_a_larger_grid_keeps_what_it_had(arguments, study):
    before = identities(study.steps())
    grown = arguments | {
        "seeds": [0, 1, 2],
        "alphas": [0.5, 0.25, 0.1],
        "guidances": [3.0, 1.0, 5.0],
    }
    after = identities(FairnessPoisoning(**grown).steps())
    assert before.items() <= after.items()


def test_the_classifier_sees_the_source_as_the_generator_does(study):
    step = next(
        step for step in by_kind(study)["classifier"] if step.name == "classifier-clean-s1-g3"
    )
    source = step.arguments["data.test_source"]
    assert source["class_path"] == "diffshare.data.rendered.RenderedFaces"
    assert source["init_args"]["image_size"] == 8
    assert step.arguments["data.seed"] == 1
    assert step.arguments["data.target"] == "Smiling"
    assert step.function == "diffshare.study.steps.verbs:fit_and_test"
    assert step.arguments["runs"] == [(Place(step.name, "run"), 1)]


def test_another_source_is_that_of_generator_receiver_and_reader(arguments):
    source = {"class_path": "diffshare.data.rendered.RenderedFaces", "init_args": {"count": 77}}
    more = {"data.source": source, "data.source.seed": 5}
    steps = {
        step.name: step.arguments for step in FairnessPoisoning(**arguments, more=more).steps()
    }
    laid = source | {"init_args": {"count": 77, "seed": 5}}
    fit = steps["fit-clean-s0"]
    # image_size was of the other one
    assert {k: v for k, v in fit.items() if k.startswith("data.source")} == more
    assert steps["classifier-clean-s0-g1"]["data.test_source"] == laid
    assert steps["reader-s0"]["data"]["init_args"]["source"] == laid


def test_settings_of_the_classifier_win_over_those_of_the_data(arguments):
    over = {"data": {"batch_size": 7}, "trainer.max_steps": 3}
    kinds = by_kind(
        FairnessPoisoning(
            **arguments | {"classifier": Downstream(arguments["classifier"].configs, over)}
        )
    )
    for step in (*kinds["direct"], *kinds["classifier"]):
        assert step.arguments["data.batch_size"] == 7
        names = list(step.arguments)
        assert names.index("data.batch_size") > max(
            i for i, n in enumerate(names) if n in ("data", "data.samples")
        )


def test_the_groups_are_read_by_a_classifier_of_the_sensitive_attribute(study):
    (reader,) = [step for step in by_kind(study)["reader"] if step.name == "reader-s1"]
    init = reader.arguments["data"]["init_args"]
    assert (init["target"], init["sensitive"], init["part"], init["seed"]) == (
        "Male",
        "Smiling",
        "auxiliary",
        1,
    )
    counted = [step for step in by_kind(study)["groups"] if step.name == "groups-clean-s1-g3"][0]
    assert set(counted.needs) == {"reader-s1", "sample-clean-s1-g3"}


def test_only_the_mixes(arguments):
    kinds = by_kind(FairnessPoisoning(**arguments | {"through_generator": False, "guidances": []}))
    assert set(kinds) == {"mix", "direct"}


# --- what the rows say ---------------------------------------------------------------------------------------------


def row(
    policy: str,
    alpha: float,
    seed: int,
    gap: float | None,
    accuracy: float,
    guidance: float | None = 1.0,
) -> dict:
    where = "mix" if guidance is None else "generator"
    base = {"policy": policy, "alpha": alpha, "where": where, "guidance": guidance, "seed": seed}
    tables = {
        f"shares_in_{name}": [[0.5, 0.5], [1 - s, s]]
        for name, s in (("mix", 0.6), ("samples", 0.7))
    }
    decisions = {"shares_in_decisions": [[0.5, 0.5], [0.2, 0.8]]}
    result = {
        "accuracy": accuracy,
        "demographic_parity_difference": gap,
        "equalized_odds_difference": None,
    }
    return base | tables | decisions | result


ROWS = [
    row("clean", 0.0, 0, 0.05, 0.80),
    row("clean", 0.0, 1, 0.15, 0.70),
    row("flip", 0.5, 0, 0.25, 0.79),
    row("flip", 0.5, 1, 0.39, 0.69),
    row("flip", 0.5, 2, 0.90, 0.10),  # no clean set of this seed
    row("clean", 0.0, 0, 0.02, 0.90, 3.0),
    row("flip", 0.5, 0, 0.42, 0.80, 3.0),
    row("other", 0.5, 0, None, 0.80, 3.0),
]


def test_differences_are_paired_within_seed_and_guidance():
    summary = {(e["policy"], e["guidance"]): e for e in summarise(ROWS, 0.95)}
    flip = summary["flip", 1.0]
    assert flip["excess_gap"]["mean"] == pytest.approx((0.20 + 0.24) / 2)
    half = 12.7062 * 0.02  # t(1 degree, 0.975) * standard error of 0.20 and 0.24
    assert flip["excess_gap"]["interval"] == pytest.approx([0.22 - half, 0.22 + half], abs=1e-4)
    assert flip["accuracy_loss"]["mean"] == pytest.approx(0.01)
    assert (flip["pairs"], flip["seeds"]) == (2, [0, 1, 2])
    assert summary["flip", 3.0]["excess_gap"] == {
        "mean": pytest.approx(0.40),
        "interval": None,
        "n": 1,
    }
    assert summary["other", 3.0]["excess_gap"] == {"mean": None, "interval": None, "n": 1}
    assert flip["excess_equalized_odds"]["mean"] is None
    assert "excess_gap" not in summary["clean", 1.0]
    assert flip["shares_in_samples"] == [[0.5, 0.5], [pytest.approx(0.3), pytest.approx(0.7)]]


def test_shares_of_a_mix():
    assert mix_shares({"s0y0": 30, "s1y0": 10, "s0y1": 0, "s1y1": 0}) == [
        [0.75, 0.25],
        [None, None],
    ]
    assert mix_shares(None) is None


def test_figures_and_table_of_an_incomplete_grid(tmp_path):
    rows = [*ROWS, row("clean", 0.0, 0, 0.0, 0.9, None)]
    summary = summarise(rows, 0.95)
    for path in (
        draw_curves(rows, summary, tmp_path / "a.png"),
        draw_amplifier(summary, tmp_path / "b.png"),
    ):
        assert path.read_bytes().startswith(b"\x89PNG")
    assert outcome_table(summary, 0.95).row_count == len(summary)


UNKNOWN = {
    "shares_in_mix": None,
    "shares_in_samples": None,
    "shares_in_decisions": [[None, None], [0.5, 0.5]],
}


@pytest.mark.parametrize(
    "rows",
    [
        [row("clean", 0.0, 0, 0.05, 0.8)],  # the poisoned generators failed
        [row("clean", 0.0, 0, 0.05, 0.8, None)],  # all generators failed
        [row("flip", 0.5, 0, 0.3, 0.8)],  # the clean one failed
        # a group without records: no gap
        [
            row("clean", 0.0, 0, None, 0.8),
            row("flip", 0.5, 0, None, 0.8),
        ],
        [row("flip", 0.5, 0, 0.3, 0.8) | UNKNOWN],
    ],
)
def test_what_is_left_of_a_grid_is_drawn(tmp_path, rows):
    summary = summarise(rows, 0.95)
    for path in (
        draw_curves(rows, summary, tmp_path / "a.png"),
        draw_amplifier(summary, tmp_path / "b.png"),
    ):
        assert path.read_bytes().startswith(b"\x89PNG")
    assert outcome_table(summary, 0.95).row_count == len(summary)


def test_the_amplifier_shows_each_policy_at_its_own_largest_alpha():
    rows = [
        row(policy, alpha, 0, 0.1, 0.8)
        for policy, alpha in (("clean", 0.0), ("a", 0.3), ("a", 0.5), ("b", 0.3))
    ]
    assert [(e["policy"], e["alpha"]) for e in at_largest_alpha(rows)] == [
        ("clean", 0.0),
        ("a", 0.5),
        ("b", 0.3),
    ]


# --- configs -------------------------------------------------------------------------------------------------------


def test_configs_merge_as_the_command_line_merges(tmp_path):
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text("data: {init_args: {mix: {class_path: A, init_args: {n: 5, k: 1}}, seed: 3}}")
    two.write_text("data: {init_args: {mix: {class_path: B, init_args: {p: 0.5}}}}")
    assert merged([one, two])["data"]["init_args"] == {
        "mix": {"class_path": "B", "init_args": {"p": 0.5}},
        "seed": 3,
    }
    assert merged([two, one])["data"]["init_args"]["mix"] == {
        "class_path": "A",
        "init_args": {"n": 5, "k": 1},
    }


def test_overrides_may_be_nested_or_dotted():
    nested = {"a": {"b": {"c": 1}, "d": [1, 2]}, "a.e": "x", "f": {"class_path": "K"}}
    assert dict(flat(nested)) == {"a.b.c": 1, "a.d": [1, 2], "a.e": "x", "f": {"class_path": "K"}}


# --- refusals ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"policies": {}}, "study.policies is empty"),
        ({"alphas": []}, "study.alphas is empty"),
        ({"guidances": []}, "study.guidances is empty"),
        ({"seeds": []}, "study.seeds is empty"),
        ({"seeds": [0, 1, 0]}, "study.seeds has 0 twice"),
        ({"alphas": [0.5, 1.5]}, r"study.alphas has 1.5: a share lies in \[0, 1\]"),
        ({"alphas": [-0.1]}, "study.alphas has -0.1"),
        ({"guidances": [-1.0]}, "study.guidances has -1.0"),
        ({"seeds": [-1]}, "study.seeds has -1"),
        ({"n": 0}, "study.n is 0"),
        ({"level": 1.0}, "study.level is 1.0"),
        ({"samples": 0}, "study.samples is 0"),
        ({"direct": False, "through_generator": False}, "nothing is left to measure"),
        ({"generator": [Path("missing.yaml")]}, "there is no config file missing.yaml"),
        ({"generator": []}, "study.generator is empty"),
        ({"classifier": Downstream([])}, "study.classifier is empty"),
        ({"policies": {"clean": Path("x.yaml")}}, "study.policies has 'clean'"),
        ({"policies": {"../up": Path("x.yaml")}}, "a name has letters"),
        ({"policies": {"a": Path("missing.yaml")}}, "there is no config file missing.yaml"),
    ],
)
def test_grids_that_cannot_be_run(arguments, change, words):
    with pytest.raises(UserError, match=words):
        FairnessPoisoning(**arguments | change)


@pytest.mark.parametrize(
    ("class_path", "words"),
    [
        (
            "fake_mixes.Missing",
            r"study.policies.flip \(.*flip.yaml\): there is no class fake_mixes.Missing",
        ),
        ("nowhere.Missing", "there is no class nowhere.Missing"),
        ("fake_mixes.check_size", "is no class"),
        ("diffshare.data.mixes.Clean", "has no argument alpha"),
    ],
)
def test_policies_that_are_none(arguments, overlay, class_path, words):
    with pytest.raises(UserError, match=words):
        FairnessPoisoning(**arguments | {"policies": {"flip": overlay(class_path)}})


def test_an_overlay_without_a_mix(arguments, tmp_path):
    (tmp_path / "empty.yaml").write_text("trainer: {max_steps: 3}")
    with pytest.raises(UserError, match="names no data.init_args.mix.class_path"):
        FairnessPoisoning(**arguments | {"policies": {"flip": tmp_path / "empty.yaml"}})
