"""Every config parses, and every config of a model trains one shrunk step and is released."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from celeba_folder import make_celeba
from jsonargparse import ArgumentParser

from diffshare.commands.training import DiffshareCLI
from diffshare.data.source import Source

CONFIGS = Path(__file__).parent.parent / "configs"
BASES = sorted(CONFIGS.glob("*.yaml"))
OVERLAYS = sorted(p for kind in ("mix", "size", "condition") for p in (CONFIGS / kind).glob("*.yaml"))
SOURCES = sorted((CONFIGS / "source").glob("*.yaml"))
SHRINK = (
    ["--model.denoiser.layers_per_block", "1", "--model.denoiser.block_out_channels", "[8,8,8,8]"]
    + ["--model.denoiser.norm_num_groups", "4", "--model.denoiser.attention_head_dim", "4"]
    + ["--model.sampling_steps", "2", "--data.source.image_size", "16", "--data.batch_size", "4"]
    + ["--trainer.max_steps", "1", "--trainer.val_check_interval", "1", "--trainer.enable_progress_bar", "false"]
)


def name(path: Path) -> str:
    return str(path.relative_to(CONFIGS))


def test_no_config_is_forgotten() -> None:
    assert set(CONFIGS.rglob("*.yaml")) == {*BASES, *OVERLAYS, *SOURCES}


@pytest.mark.parametrize("base", BASES, ids=name)
@pytest.mark.parametrize("overlay", [None, *OVERLAYS], ids=lambda p: "alone" if p is None else name(p))
def test_it_parses_as_it_is(base: Path, overlay: Path | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    monkeypatch.setattr(DiffshareCLI, "instantiate_classes", lambda self: None)
    monkeypatch.setattr("sys.argv", ["diffshare"])
    more = [] if overlay is None else ["--config", str(overlay)]
    cli = DiffshareCLI("fit", ["--config", str(base), *more])
    assert cli.resolved["model"]["class_path"].startswith("diffshare.")


@pytest.mark.parametrize("base", BASES, ids=name)
def test_it_trains_one_shrunk_step(base: Path, run_cli: Callable[..., Any], tmp_path: Path) -> None:
    source = yaml.safe_load(base.read_text())["data"]["init_args"]["source"]
    if "root" in source["init_args"]:
        make = ["--data.source.root", make_celeba(tmp_path / "celeba")]
    else:
        make = ["--data.source.count", "100"]
    outcome = run_cli("fit", "--config", base, *SHRINK, *make, "--run-dir", tmp_path / "run")
    assert outcome.code == 0, outcome.err
    assert (tmp_path / "run" / "release" / "diffshare.json").is_file()


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_it_parses_as_a_source(path: Path) -> None:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--auxiliary", type=Source, sub_configs=True)
    chosen = parser.parse_args(["--auxiliary", str(path)]).auxiliary
    assert chosen.class_path.startswith("diffshare.data.")
