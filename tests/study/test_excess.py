"""The excess of a gap: in the direction of the mix, beside the paper's, and through the study's rows and figure."""

import pytest
from matplotlib.axes import Axes

from diffshare.study.reports.excess import direction, excess, is_directed, paired, sides
from diffshare.study.reports.poisoning import draw_curves, outcome_table, summarise

GAP, ODDS = "demographic_parity_difference", "equalized_odds_difference"
EVEN = [[0.5, 0.5], [0.5, 0.5]]
TOWARDS = {1: [[0.8, 0.2], [0.2, 0.8]], -1: [[0.2, 0.8], [0.8, 0.2]], None: EVEN}


def row(
    policy: str, gap: float, seed: int = 0, favoured: int | None = None, **more: object
) -> dict:
    """A row of the study; ``favoured`` is the direction of the mix, which its shares show."""
    entry = {
        "policy": policy,
        "alpha": 0.5 if policy != "clean" else 0.0,
        "where": "mix",
        "guidance": None,
    }
    entry |= {"seed": seed, "accuracy": 0.8, "shares_in_samples": None, "shares_in_decisions": EVEN}
    entry |= {"shares_in_mix": TOWARDS[favoured]}
    for field, value in ((GAP, gap), (ODDS, 2 * gap)):
        entry |= {field: abs(value), f"{field}_signed": value}
    return entry | more


@pytest.mark.parametrize("sign", [1, -1])
def test_a_clean_lean_to_the_other_side_adds_to_the_excess(sign):
    rows = [row("clean", -0.1 * sign), row("poisoned", 0.2 * sign, favoured=sign)]
    entry = summarise(rows, 0.95)[1]
    assert entry["directed"]
    assert entry["excess_gap"]["mean"] == pytest.approx(0.3)
    assert entry["excess_gap_absolute"]["mean"] == pytest.approx(0.1)
    assert entry["excess_equalized_odds"]["mean"] == pytest.approx(0.6)
    assert entry["excess_equalized_odds_absolute"]["mean"] == pytest.approx(0.2)
    assert entry["gap"]["clean"]["mean"] == pytest.approx(-0.1)
    assert entry["gap"]["poisoned"]["mean"] == pytest.approx(0.2)
    assert "excess_gap_signed" not in entry


def test_an_attack_that_went_the_wrong_way_has_a_negative_excess():
    rows = [row("clean", 0.1), row("poisoned", -0.2, favoured=1)]
    entry = summarise(rows, 0.95)[1]
    assert entry["excess_gap"]["mean"] == pytest.approx(-0.3)
    assert entry["excess_gap_absolute"]["mean"] == pytest.approx(0.1)


def test_seeds_that_are_poisoned_in_opposite_directions_do_not_cancel():
    rows = [row("clean", 0.05, seed=s) for s in (0, 1)]
    rows += [row("poisoned", 0.3, favoured=1), row("poisoned", -0.2, seed=1, favoured=-1)]
    entry = summarise(rows, 0.95)[1]
    assert entry["excess_gap"]["mean"] == pytest.approx((0.25 + 0.25) / 2)
    assert entry["gap"]["clean"]["mean"] == pytest.approx(0)


def test_without_a_direction_gaps_are_absolute_and_marked():
    rows = [row("clean", -0.1), row("poisoned", 0.2)]
    entry = summarise(rows, 0.95)[1]
    assert not entry["directed"]
    assert entry["excess_gap"] == entry["excess_gap_absolute"]
    assert entry["excess_gap"]["mean"] == pytest.approx(0.1)
    assert entry["excess_equalized_odds"]["mean"] == pytest.approx(0.2)
    half = [row("clean", -0.1, seed=1), row("poisoned", 0.3, seed=1, favoured=1)]
    # one seed of two: no mean of both kinds
    assert not summarise([*rows, *half], 0.95)[1]["directed"]


def test_what_the_mix_says_of_itself_comes_first():
    clean = row("clean", 0.0)
    assert paired(row("p", 0.2, favoured=1), clean).direction == 1
    assert paired(row("p", 0.2, favoured=1, direction=None), clean).direction is None
    assert paired(row("p", 0.2, direction=-1), clean).direction == -1


def test_the_direction_is_read_off_the_mixes():
    clean = [[0.6, 0.4], [0.4, 0.6]]
    assert direction([[0.8, 0.2], [0.2, 0.8]], clean) == 1
    assert direction(EVEN, clean) == -1  # it still leans to group 1, less than by nature
    assert direction(clean, clean) is None
    assert direction(None, clean) is None
    assert direction([[0.5, 0.5], [None, None]], clean) is None
    assert direction([[0.2, 0.3, 0.5]] * 2, [[0.2, 0.3, 0.5]] * 2) is None


def test_what_is_unknown_stays_so():
    unsigned = {f"{field}_signed": None for field in (GAP, ODDS)}
    pairs = [paired(row("p", 0.2, favoured=1, **unsigned), row("clean", 0.1))]
    assert not is_directed(pairs)  # a file without signs
    undefined = row("p", 0.2, favoured=1, **unsigned, **{GAP: None})
    pairs = [paired(undefined, row("clean", 0.1))]
    assert is_directed(pairs)
    assert excess(pairs, GAP, 0.95, True)["mean"] is None
    assert sides(pairs, GAP, False) == ([None], [0.1])
    assert not is_directed([])
    assert summarise([row("poisoned", 0.2, favoured=1)], 0.95)[0]["excess_gap"]["mean"] is None


def test_the_table_and_the_figure_are_in_the_direction_of_the_mix(tmp_path, monkeypatch):
    drawn: list[list[float]] = []
    whole = Axes.errorbar

    def errorbar(self, x, y, *more, **options):
        drawn.append([round(v, 6) for v in y])
        return whole(self, x, y, *more, **options)

    monkeypatch.setattr(Axes, "errorbar", errorbar)
    rows = [
        row("clean", 0.1),
        row("poisoned", -0.2, favoured=-1),
        row("random", 0.15, direction=None),
    ]
    summary = summarise(rows, 0.95)
    draw_curves(rows, summary, tmp_path / "f.png")
    gaps, accuracies = drawn[:2], drawn[2:]
    assert gaps == [[-0.1, 0.2], [0.1, 0.15]]  # poisoned by its direction, random without one
    assert accuracies == [[0.8, 0.8], [0.8, 0.8]]
    columns = {column.header: list(column.cells) for column in outcome_table(summary, 0.95).columns}
    assert columns["excess gap"] == ["", "0.300", "0.050 (absolute)"]
    assert columns["of absolute gaps"] == ["", "0.100", "0.050"]
