"""Every config of a study builds, and its steps have an order; the small changes that the docs speak of work."""

from pathlib import Path

import pytest
import yaml
from jsonargparse import ActionConfigFile, ArgumentParser

from diffshare.errors import UserError
from diffshare.study.engine.base import Study
from diffshare.study.engine.configs import as_word
from diffshare.study.engine.step import identities

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
def test_it_builds_and_its_steps_have_an_order(config, monkeypatch):
    monkeypatch.chdir(ROOT)
    steps = build(config).steps()
    assert list(identities(steps)) != []
    given = yaml.safe_load(config.read_text())
    assert given["out"] == f"lightning_logs/study/{config.stem}"


def test_overrides_reach_the_steps(monkeypatch):
    monkeypatch.chdir(ROOT)
    config = ROOT / "configs" / "study" / "fairness_poisoning_celeba.yaml"
    more = '{"data.source.root": "elsewhere", "data": {"target": "Young"}}'
    study = build(config, "--study.more", more, "--study.seeds", "[7]")
    commands = {step.name: [str(w) for w in step.commands[0]] for step in study.steps()}
    fit = commands["fit-poisoned-a0.5-s7"]
    assert fit[fit.index("--data.source.root") + 1] == "elsewhere"
    assert fit[fit.index("--data.source.image_size") + 1] == "16"  # what is not overridden stays
    test = commands["classifier-clean-s7-g3"]
    assert test[test.index("--data.test_source.root") + 1] == "elsewhere"
    assert test[test.index("--data.target") + 1] == "Young"


def test_an_object_among_the_overrides_is_refused():
    assert as_word({"a": [1, "b"]}) == '{"a": [1, "b"]}'
    with pytest.raises(UserError, match="the object .*Path.*: name a class as text"):
        as_word(Path())
