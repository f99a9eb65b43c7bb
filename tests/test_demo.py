"""The demo in a shrunk form."""

import json
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_demo_leaves_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    (out / "run").mkdir(parents=True)
    (out / "run" / "config.yaml").write_text("an earlier demo")
    (out / "old").mkdir()
    small = ["--faces", "600", "--samples", "80", "--classifier-steps", "4", "--share", "0.25", "--out", str(out), "--"]
    fit = ["--data.mix.n", "100", "--data.source.image_size", "8", "--data.batch_size", "16"]
    fit += ["--model.denoiser.block_out_channels", "[8,8,8,8]", "--model.denoiser.norm_num_groups", "4"]
    fit += ["--trainer.max_steps", "4", "--trainer.val_check_interval", "2", "--trainer.enable_progress_bar", "false"]
    monkeypatch.setattr(sys, "argv", ["demo.py", *small, *fit])
    monkeypatch.setattr(sys, "path", [str(ROOT / "scripts"), *sys.path])
    runpy.run_path(str(ROOT / "scripts" / "demo.py"), run_name="__main__")
    results = json.loads((out / "results.json").read_text())
    assert results["share_asked"] == 0.25
    assert results["share_in_mix"] == 0.25
    assert results["samples"] == 80
    assert 0 <= results["share_in_samples"] <= 1
    assert 0 <= results["downstream_accuracy"] <= 1
    assert (out / "samples.png").is_file()
    assert (out / "run" / "release" / "diffshare.json").is_file()
    assert not (out / "old").exists()
    shown = capsys.readouterr().out
    assert "share of Eyeglasses in the mix" in shown
    assert "python -m diffshare.cli sample" in shown


def test_the_demo_leaves_other_folders_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "thesis.txt").write_text("keep")
    monkeypatch.setattr(sys, "argv", ["demo.py", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="no demo"):
        runpy.run_path(str(ROOT / "scripts" / "demo.py"), run_name="__main__")
    assert (tmp_path / "thesis.txt").read_text() == "keep"
