"""Options of a verb as the words of its command, and what a step makes of how a verb ends."""

from pathlib import Path

import pytest

from diffshare.study.steps import verbs


def test_names_become_flags():
    options = {
        "config": ["a.yaml", "b.yaml"],
        "split_seed": 3,
        "seed_everything": 4,
        "data.test_balance": True,
    }
    options |= {
        "trainer.gradient_clip_val": None,
        "labels": "none",
        "run_dir": Path("x"),
        "data.mix": {"b": 1, "a": [2]},
    }
    assert list(verbs.flags(options)) == [
        "--config", "a.yaml", "--config", "b.yaml", "--split-seed", "3", "--seed_everything", "4",
        "--data.test_balance", "true", "--trainer.gradient_clip_val", "null", "--labels", "none", "--run-dir", "x",
        "--data.mix", '{"a": [2], "b": 1}',
    ]  # fmt: skip


def test_a_training_that_was_stopped_goes_on(tmp_path):
    options = {"config": ["a.yaml"], "seed_everything": 1}
    begun = verbs.training(tmp_path, options)
    assert begun[:5] == ["fit", "--config", "a.yaml", "--seed_everything", "1"]
    assert begun[-2:] == ["--run-dir", str(tmp_path)]
    assert "--resume" not in begun
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.ckpt").touch()
    assert verbs.training(tmp_path, options) == [
        "fit",
        "--run-dir",
        str(tmp_path),
        "--resume",
        "--trust-code",
    ]


def test_a_refusal_of_a_verb_ends_the_step(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        verbs.sample(model=tmp_path / "missing", count=0, out=tmp_path / "out")
    assert stop.value.code == 2
    assert "--count is 0" in capsys.readouterr().err
