"""A limit on the size of files, and a full disk: one line of each verb, and nothing half-written."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CONFIGS = Path(__file__).parents[1] / "configs"
FACES = [
    "--config",
    str(CONFIGS / "ddpm_faces.yaml"),
    "--data.source.count",
    "600",
    "--data.source.image_size",
    "8",
]
SMALL = ["--model.denoiser.block_out_channels", "[8,8,8,8]", "--model.denoiser.norm_num_groups", "4",
         "--model.sampling_steps", "2", "--data.batch_size", "8", "--trainer.max_steps", "1",
         "--trainer.enable_progress_bar", "false", "--trainer.limit_val_batches", "0"]  # fmt: skip
LIMITED = """
import contextlib, io, json, resource, sys
from diffshare.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
ends = []
for arguments in json.loads(sys.argv[2]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        ends.append([main(arguments), err.getvalue()])
sys.stdout.write(json.dumps(ends))
"""


@pytest.mark.slow
def test_a_limit_on_the_size_of_files_is_one_line_of_each_verb(
    run_cli: Callable[..., Any], tmp_path: Path
) -> None:
    run, out, cache = tmp_path / "run", tmp_path / "out", tmp_path / "cache"
    fitted = run_cli("fit", *FACES, *SMALL, "--run-dir", run)
    assert fitted.code == 0, fitted.err
    commands = {
        "sample": [
            "sample",
            "--model",
            run / "release",
            "--count",
            100,
            "--steps",
            1,
            "--out",
            out,
        ],
        "mix": ["mix", *FACES, "--out", out],
        "release": ["release", "--ckpt", run / "checkpoints" / "last.ckpt", "--out", out],
        "fit": ["fit", *FACES, *SMALL, "--run-dir", out],
        "cache": ["mix", *FACES, "--data.cache_dir", cache, "--out", out],
    }
    words = [[str(word) for word in command] for command in commands.values()]
    script = [sys.executable, "-c", LIMITED, "4096", json.dumps(words)]
    done = subprocess.run(
        script,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    ends = dict(zip(commands, json.loads(done.stdout.splitlines()[-1]), strict=True))
    for verb, (code, said) in ends.items():
        assert code == 2, (verb, said)
        assert said.count("\n") == 1, said
        place = cache if verb == "cache" else out
        assert str(place) in said
        assert "File too large" in said
        assert "room" in said or "space" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]
