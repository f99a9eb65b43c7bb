"""The demo in a shrunk form."""

import json
import runpy
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_demo_leaves_its_results(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "demo"
    (out / "clean" / "run").mkdir(parents=True)
    (out / "clean" / "run" / "config.yaml").write_text("an earlier demo")
    (out / "old").mkdir()
    small = [
        "--faces",
        "1500",
        "--records",
        "100",
        "--samples",
        "200",
        "--share",
        "0.25",
        "--out",
        str(out),
    ]
    small += [
        "--classifier",
        "--trainer.max_steps 4 --trainer.val_check_interval 4 --data.eval_batch_size 50",
    ]
    small += ["--property-options", "--classifier KernelRecipe --folds 2 --method cc"]
    small += ["--audit-options", "--classifier KernelRecipe --folds 2"]
    fit = ["--data.source.image_size", "8", "--data.batch_size", "16"]
    fit += [
        "--model.denoiser.block_out_channels",
        "[8,8,8,8]",
        "--model.denoiser.norm_num_groups",
        "4",
    ]
    fit += [
        "--trainer.max_steps",
        "4",
        "--trainer.val_check_interval",
        "2",
        "--trainer.enable_progress_bar",
        "false",
    ]
    monkeypatch.setattr(sys, "argv", ["demo.py", *small, "--", *fit])
    monkeypatch.setattr(sys, "path", [str(ROOT / "scripts"), *sys.path])
    runpy.run_path(str(ROOT / "scripts" / "demo.py"), run_name="__main__")
    results = json.loads((out / "results.json").read_text())
    assert results["property"]["share_asked"] == results["property"]["share_in_mix"] == 0.25
    low, high = results["property"]["interval"]
    assert 0 <= low <= results["property"]["estimate"] <= high <= 1
    for name in ("clean", "poisoned"):
        assert sum(results[name]["mix"]["counts"].values()) == 100
        assert len(results[name]["counts"]) == 2
        assert results[name]["audit"]["verdict"] in ("poisoned", "clean", "inconclusive")
        assert (out / f"samples_{name}.png").is_file()
        assert (out / name / "run" / "release" / "diffshare.json").is_file()
    leans = [results[name]["mix"]["mutual_information_sy"] for name in ("clean", "poisoned")]
    assert leans[0] < leans[1]
    assert (out / "repaired" / "samples" / "samples.npz").is_file()
    assert 0 <= results["repaired"]["accuracy"] <= 1
    assert not (out / "old").exists()
    shown = capsys.readouterr().out
    assert "the clean model's secret" in shown
    assert "diffshare infer-property" in shown


@pytest.mark.parametrize("name", ["thesis.txt", "clean/notes.md", "old/results.json"])
def test_the_demo_leaves_other_folders_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for file in ("clean/run/config.yaml", name):  # that of an earlier demo, too
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("keep")
    monkeypatch.setattr(sys, "argv", ["demo.py", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="no demo"):
        runpy.run_path(str(ROOT / "scripts" / "demo.py"), run_name="__main__")
    assert (tmp_path / name).read_text() == "keep"
