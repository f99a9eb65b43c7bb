"""The figure of a fairness report shows what is there and nothing that is not."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from diffshare.audits.fairness import RATES, fairness_report
from diffshare.audits.figures import SHOWN, draw_groups

ORDER = [*SHOWN, "accuracy"]


def heights(figure: Figure) -> np.ndarray:
    """Of the bars, groups x rates."""
    return np.array(
        [[bar.get_height() for bar in bars] for bars in figure.axes[0].containers if len(bars) == 4]
    )


def error_bars(figure: Figure) -> list[list[float]]:
    """Lower and upper ends of all that have some length or none, in the order of the bars."""
    lines = [
        np.asarray(s)
        for bars in figure.axes[0].containers
        if len(bars) == 3
        for s in bars[2][0].get_segments()
    ]
    return [line[:, 1].tolist() for line in lines if line.size and not np.isnan(line).any()]


@pytest.mark.parametrize("groups", [1, 2, 3, 8])
def test_bars_are_the_rates_and_their_intervals(groups):
    report = fairness_report(
        np.random.default_rng(0).integers(20, 40, (groups, 2, 2)), resamples=50
    )
    figure = draw_groups(report, [f"name {s}" for s in range(groups)])
    expected = [[report["by_group"][str(s)][rate] for rate in ORDER] for s in range(groups)]
    np.testing.assert_allclose(heights(figure), expected)
    bounds = [
        report["intervals"]["by_group"][str(s)][rate] for s in range(groups) for rate in ORDER
    ]
    np.testing.assert_allclose(error_bars(figure), bounds)
    assert set(ORDER) == set(RATES)
    figure.canvas.draw()
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [f"name {s} (n = {report['by_group'][str(s)]['n']})" for s in range(groups)]
    assert not figure.legends[0].get_window_extent().overlaps(figure.axes[0].get_window_extent())


def test_what_is_undefined_has_no_bar_and_what_is_uncertain_no_interval():
    report = fairness_report(np.array([[[40, 10], [5, 45]], [[3, 1], [0, 0]]]), resamples=50)
    figure = draw_groups(report)
    assert np.isnan(heights(figure)).tolist() == [[False] * 4, [False, True, False, False]]
    assert len(error_bars(figure)) == 4  # all of the first group
    assert [text.get_text() for text in figure.axes[0].texts] == ["n/a"]
    assert figure.axes[0].get_title() == "demographic parity difference 0.300"


def test_a_difference_to_an_empty_group_is_called_undefined():
    report = fairness_report(np.array([[[40, 10], [5, 45]], [[0, 0], [0, 0]]]), resamples=50)
    figure = draw_groups(report, ["a", "b"])
    assert figure.axes[0].get_title() == "demographic parity difference undefined"
    figure.canvas.draw()
