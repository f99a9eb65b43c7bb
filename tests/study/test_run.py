"""A study as a function: what it returns is what it writes, and it prints nothing."""

import json

import pytest
from fake_steps import Letters

from diffshare.errors import UserError
from diffshare.study.engine.run import run_study


def test_the_result_is_what_is_written_and_nothing_is_printed(tmp_path, capfd):
    result = run_study(Letters(["a", "fail"]), tmp_path / "out", record={"command": "mine"})
    assert capfd.readouterr() == ("", "")
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert json.loads(json.dumps(result.to_json())) == written
    assert written["command"] == "mine"
    assert [row["letter"] for row in result.rows] == ["a"]
    assert (result.summary, list(result.seconds)) == ([{"count": 1}], ["a"])
    assert [(failure.step, failure.reason) for failure in result.failures] == [
        ("fail", "told you so")
    ]
    assert result.missing == written["missing"] == ["fail"]
    assert [table.row_count for table in result.tables] == [1]
    assert repr(result).endswith(f"1 rows in {tmp_path / 'out'}, 1 steps missing)")


def test_a_mistake_is_told_in_words_of_arguments(tmp_path):
    with pytest.raises(UserError, match="leave `resume` out, or mend `out`"):
        run_study(Letters(["a"]), tmp_path / "out", resume=True)
    run_study(Letters(["a"]), tmp_path / "out")
    with pytest.raises(UserError, match="add `resume` to go on with it"):
        run_study(Letters(["a"]), tmp_path / "out")
