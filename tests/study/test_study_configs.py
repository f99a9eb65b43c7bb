"""Every config of a study builds, and its steps have an order; the small changes that the docs speak of work."""

import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonargparse import ActionConfigFile, ArgumentParser

from diffshare.data.source import Source
from diffshare.study.engine.base import Study
from diffshare.study.engine.configs import below, built, with_settings
from diffshare.study.engine.step import function_of, identities

ROOT = Path(__file__).parent.parent.parent
CONFIGS = sorted((ROOT / "configs" / "study").glob("*.yaml"))


def build(config: Path, *more: str) -> Study:
    """The study of a config file, with overrides."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action=ActionConfigFile)
    parser.add_subclass_arguments(Study, "study", required=True)
    for name in ("out", "workers", "threads"):
        parser.add_argument(f"--{name}")
    return parser.instantiate(parser.parse_args(["--config", str(config), *more])).study


@pytest.mark.parametrize("config", CONFIGS, ids=lambda path: path.stem)
def test_its_steps_have_an_order_and_name_functions_that_take_their_arguments(config, monkeypatch):
    monkeypatch.chdir(ROOT)
    steps = build(config).steps()
    assert list(identities(steps)) != []
    for step in steps:
        inspect.signature(function_of(step.function)).bind(**step.arguments)
    given = yaml.safe_load(config.read_text())
    assert given["out"] == f"lightning_logs/study/{config.stem}"


def test_overrides_reach_the_steps(monkeypatch):
    monkeypatch.chdir(ROOT)
    config = ROOT / "configs" / "study" / "fairness_poisoning_celeba.yaml"
    more = '{"data.source.root": "elsewhere", "data": {"target": "Young"}}'
    study = build(config, "--study.more", more, "--study.seeds", "[7]")
    arguments = {step.name: step.arguments for step in study.steps()}
    fit = arguments["fit-poisoned-a0.5-s7"]
    assert fit["data.source.root"] == "elsewhere"
    assert fit["data.source.image_size"] == 16  # what is not overridden stays
    tested = arguments["classifier-clean-s7-g3"]
    assert tested["data.test_source"]["init_args"] == {"root": "elsewhere", "image_size": 16}
    assert tested["data.target"] == "Young"


def test_a_grid_that_is_refused_waits_for_no_network_and_no_figure():
    grids = ("fairness_poisoning", "families", "property_inference", "protection")
    lines = [*(f"import diffshare.study.{grid}" for grid in grids), "import sys"]
    lines.append(
        "assert not sys.modules.keys() & {'torch', 'lightning', 'diffusers', 'matplotlib'}"
    )
    subprocess.run([sys.executable, "-c", "; ".join(lines)], check=True)


# --- blocks and settings ---------------------------------------------------------------------------------------------


def test_settings_are_laid_over_a_block_as_the_command_line_does():
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--source", type=Source, sub_configs=True)
    block = {
        "class_path": "diffshare.data.rendered.RenderedFaces",
        "init_args": {"count": 9, "image_size": 32},
    }
    settings = {
        "image_size": 8,
        "init_args.seed": 3,
        "prevalence.Hat": 0.25,
        "prevalence.Male": 0.5,
        "shares": [0.5, 0.5, 0],
    }
    words = [
        word for key, value in settings.items() for word in (f"--source.{key}", json.dumps(value))
    ]
    expected = parser.parse_args(["--source", json.dumps(block), *words]).source.as_dict()
    laid = with_settings(block, settings)
    assert block["init_args"] == {"count": 9, "image_size": 32}  # not changed
    built_of = parser.parse_object({"source": laid}).source.as_dict()
    assert built_of == expected
    assert laid["init_args"]["prevalence"] == {"Hat": 0.25, "Male": 0.5}


def test_settings_reach_classes_within_a_block():
    block = {"class_path": "A", "init_args": {"inner": {"class_path": "B"}, "named": "C"}}
    laid = with_settings(block, {"inner.x": 1, "named.y": 2, "class_path": "D"})
    inner = {"class_path": "B", "init_args": {"x": 1}}
    assert laid == {
        "class_path": "D",
        "init_args": {"inner": inner, "named": {"class_path": "C", "init_args": {"y": 2}}},
    }
    assert below("source.", {"source.x": 1, "sources": 2, "source.y.z": 3}) == {"x": 1, "y.z": 3}


def test_a_block_is_built():
    faces = built(
        Source, {"class_path": "diffshare.data.rendered.RenderedFaces", "init_args": {"count": 12}}
    )
    assert len(faces.index().names) == 12
