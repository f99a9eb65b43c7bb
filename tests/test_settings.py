"""YAML as people mean it: keys are text, and only ``true`` and ``false`` are truth values."""

from pathlib import Path

import pytest
import yaml

from diffshare.settings import load_argument, load_settings

CONFIGS = sorted((Path(__file__).parent.parent / "configs").rglob("*.yaml"))


@pytest.mark.parametrize("word", ["yes", "no", "on", "off", "y", "n", "Yes", "NO", "1:30", "2020-01-01", "01", "0o7"])
def test_words_that_yaml_1_1_takes_for_something_else_are_text(word):
    assert load_settings(f"{{{word}: {word}, list: [{word}]}}") == {word: word, "list": [word]}


@pytest.mark.parametrize("key", ["1", "-1", "1.50", "true", "null", "~", "1e3", "0x1F"])
def test_a_key_is_the_text_that_stands_there(key):
    assert load_settings(f"{key}: 5") == {key: 5}
    assert load_settings(f"? {key}\n: {{{key}: 5}}") == {key: {key: 5}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("False", False), ("null", None), ("~", None), ("0", 0), ("-1", -1), ("1_000", 1000),
        ("1.5", 1.5), ("1e-4", 1e-4), (".5", 0.5), ("-.inf", float("-inf")), ("'no'", "no"), ("'1'", "1"),
        ("e5", "e5"), ("1e", "1e"),
    ],
)  # fmt: skip
def test_other_values_are_what_they_were(text, value):
    found = load_settings(text)
    assert found == value
    assert type(found) is type(value)


def test_merged_keys_still_merge():
    assert load_settings("a: &x {no: 1, on: 2}\nb: {<<: *x, on: 3}") == {
        "a": {"no": 1, "on": 2},
        "b": {"no": 1, "on": 3},
    }


@pytest.mark.parametrize("text", ["Prompt:", "{a, b}", "a photo: ", "{a}"])
def test_a_line_of_keys_alone_is_text(text):
    assert load_argument(text) == text


@pytest.mark.parametrize("text", ["a:\nb:\n", "a: null\nb: ~\n", "{a: null, b: null}"])
def test_keys_whose_values_are_null_are_a_mapping(text):
    assert load_argument(text) == {"a": None, "b": None}
    assert load_argument("n: null\n") == load_argument("{n: null}") == {"n": None}
    assert load_argument("{}") == {}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_no_config_means_anything_else(path):
    text = path.read_text(encoding="utf-8")
    assert load_settings(text) == yaml.safe_load(text) == load_argument(text)


def test_what_was_dumped_is_read_back():
    value = {"no": "yes", "1": ["01", "on", "1:30", "2020-01-01", "null", "", "1", "0x1F"], "true": False}
    assert load_settings(yaml.safe_dump(value)) == value
