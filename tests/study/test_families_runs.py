"""A small families study from its config to its figure: two families, a few steps of everything."""

import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
CONFIG = ROOT / "configs" / "study" / "families.yaml"
FAMILIES = {
    "flow": {"configs": ["configs/flow_faces.yaml"], "sampling_steps": 3},
    "vae": {"configs": ["configs/vae_faces.yaml"], "kind": "vae", "sampling_steps": 1},
}
MORE = {
    "trainer": {"max_steps": 3, "log_every_n_steps": 1},
    "data.source.count": 1200,
    "data.batch_size": 8,
}


@pytest.mark.slow
def test_from_config_to_figure_and_once_only(run_cli, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    classifier = {"trainer": {"max_steps": 2, "val_check_interval": 2}, "data.batch_size": 8}
    arguments = (
        [
            "study",
            "--config",
            CONFIG,
            "--study.generators",
            json.dumps(FAMILIES),
            "--study.seeds",
            "[0]",
        ]
        + ["--study.more", json.dumps(MORE), "--study.classifier.overrides", json.dumps(classifier)]
        + ["--study.n", 60, "--study.samples", 16, "--study.readers.steps", 20]
        + ["--study.properties", "[Hat]", "--study.readers.records", 150, "--study.method", "cc"]
        + ["--workers", 1, "--threads", 1]
        + ["--out", tmp_path / "out"]
    )
    outcome = run_cli(*arguments)
    assert outcome.code == 0, outcome.err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert (results["missing"], results["failed"]) == ([], {})
    real, flow, vae = results["rows"]
    assert [row["family"] for row in (real, flow, vae)] == ["real", "flow", "vae"]
    for row in (flow, vae):
        assert row["property_error"] == pytest.approx(
            abs(row["shares"]["Hat"] - row["exact"]["Hat"])
        )
        assert row["excess_gap"] == pytest.approx(row["poisoned_gap"] - row["gap"])
        assert row["images_per_second"] > 0
        assert row["bias_added_in_mix"] > 0.3
        low, high = row["kid_over_real"]["interval"]
        assert low < row["kid_over_real"]["estimate"] < high
    assert (flow["network_calls"], vae["network_calls"]) == (3, 1)
    # the same records
    assert (flow["exact"], flow["bias_added_in_mix"]) == (
        vae["exact"],
        vae["bias_added_in_mix"],
    )
    assert [e.get("family", e.get("contrast")) for e in results["summary"]] == [
        "real",
        "flow",
        "vae",
        "diffusion - vae",
    ]
    assert (tmp_path / "out" / "figures" / "families.png").read_bytes().startswith(b"\x89PNG")
    again = run_cli(*arguments, "--resume")
    assert again.code == 0, again.err
    assert "26 of 26 steps are done already" in again.out
