"""YAML: bounded before anything is built of it, keys are text, only ``true`` and ``false`` are truth values."""

import re
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from diffshare.errors import UserError
from diffshare.settings import NODES, dump_yaml, load_argument, load_yaml, parse_yaml

CONFIGS = sorted((Path(__file__).parent.parent / "configs").rglob("*.yaml"))


@pytest.mark.parametrize(
    "word", ["yes", "no", "on", "off", "y", "n", "Yes", "NO", "1:30", "2020-01-01", "01", "0o7"]
)
def test_words_that_yaml_1_1_takes_for_something_else_are_text(word):
    assert load_yaml(f"{{{word}: {word}, list: [{word}]}}") == {word: word, "list": [word]}


@pytest.mark.parametrize("key", ["1", "-1", "1.50", "true", "null", "~", "1e3", "0x1F"])
def test_a_key_is_the_text_that_stands_there(key):
    assert load_yaml(f"{key}: 5") == {key: 5}
    assert load_yaml(f"? {key}\n: {{{key}: 5}}") == {key: {key: 5}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True), ("False", False), ("null", None), ("~", None), ("0", 0), ("-1", -1), ("1_000", 1000),
        ("1.5", 1.5), ("1e-4", 1e-4), (".5", 0.5), ("-.inf", float("-inf")), ("'no'", "no"), ("'1'", "1"),
        ("e5", "e5"), ("1e", "1e"),
    ],
)  # fmt: skip
def test_other_values_are_what_they_were(text, value):
    found = load_yaml(text)
    assert found == value
    assert type(found) is type(value)


def test_merged_keys_still_merge():
    assert load_yaml("a: &x {no: 1, on: 2}\nb: {<<: *x, on: 3}", aliases=True) == {
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
    assert load_yaml(text, aliases=True) == yaml.safe_load(text) == load_argument(text)


def test_what_was_dumped_is_read_back():
    value = {
        "no": "yes",
        "1": ["01", "on", "1:30", "2020-01-01", "null", "", "1", "0x1F"],
        "true": False,
    }
    assert load_yaml(yaml.safe_dump(value)) == value


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)  # 31 thousand million values

BAD_YAML = {
    "laughs": (LAUGHS, "an alias"),
    "itself": ("a: &a [*a]", "an alias"),
    "digits": ("a: " + "9" * 5000, "a number that is too long"),
    "float": ("a: 0." + "9" * 5000, "a number that is too long"),
    "sexagesimal": ("a: !!int '" + "1:" * 500 + "1'", "a number that is too long"),
    "digits that are said to be": ("a: !!float '" + "1:" * 500 + "1'", "a number that is too long"),
    "digits of no tag": ("a: ! " + "9" * 5000, "a number that is too long"),
    "deep": ("[" * 100_000, "too deep"),
    "deep mappings": ("{a: " * 5000, "too deep"),
    "many": ("[" + "1," * (NODES + 2) + "]", "more than 100000 values"),
    "tag": ("a: !!python/object/apply:os.system [true]", "the tag"),
    "a date that is none": ("a: !!timestamp 2001-99-99", "the tag"),
    "binary": ("a: !!binary x", "the tag"),
    "no integer": ("a: !!int x", "is not valid YAML"),
    "empty": ("a: !!int ''", "is not valid YAML"),
    "no truth": ("a: !!bool x", "is not valid YAML"),
    "no mapping": ("a: !!map [b]", "is not valid YAML"),
    "half a pair": ("a: \udc80", "is not valid YAML"),
    "no key": ("? [a, b]\n: 1", "unhashable"),
    "null": ("a: \0", "is not a text file"),
    "surrogate": ('a: "\\ud800"', "is not"),
}


@pytest.mark.parametrize("name", BAD_YAML)
def test_yaml_that_strains_a_reader_is_refused(name):
    text, words = BAD_YAML[name]
    with pytest.raises(UserError, match=words) as caught:
        parse_yaml(text, "d.yaml")
    assert str(caught.value).isprintable()
    with pytest.raises(yaml.YAMLError):  # as a parser of arguments reads it
        load_yaml(text)


@pytest.mark.parametrize(
    "text", ["a: 2001-12-14t21:59:43.10-99:99", "a: 9999-99-99", "a: 2001-12-14"]
)
def test_a_date_is_text(text):
    assert parse_yaml(text, "d.yaml") == {"a": text[3:]}


def test_digits_that_are_no_number_may_be_long():
    assert parse_yaml("a: " + "1:" * 500 + "1", "d.yaml") == {"a": "1:" * 500 + "1"}
    assert parse_yaml("a: 9" + "0a" * 40, "d.yaml") == {"a": "9" + "0a" * 40}  # a checksum


def test_ones_own_configs_may_have_aliases_but_not_endlessly():
    assert parse_yaml("a: &x [1, 2]\nb: *x", "c.yaml", aliases=True) == {"a": [1, 2], "b": [1, 2]}
    with pytest.raises(UserError, match="more than 100000 values"):
        parse_yaml(LAUGHS, "c.yaml", aliases=True)
    with pytest.raises(UserError, match="an alias"):
        parse_yaml("a: &a [*a]", "c.yaml", aliases=True)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(10**9), 10**9)
        | st.floats(allow_nan=False)
        | st.text(max_size=9)
        | st.text("0123456789.eE+-_:xo", max_size=9),
        lambda inner: (
            st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_what_is_written_is_read_back(value):
    assert load_yaml(dump_yaml(value), aliases=True) == value
    assert load_argument(dump_yaml({"a": value})) == {"a": value}


def test_a_text_that_looks_like_a_number_is_quoted():
    value = {"1e3": ["1e3", "1_0", ".5", "0x1F", "0o7", "=", "<<"]}
    assert load_yaml(dump_yaml(value)) == value


def test_nothing_else_reads_yaml():
    """Whatever is YAML in the package and its scripts is read here, so that its bounds hold everywhere."""
    root = Path(__file__).parent.parent
    readers = re.compile(
        r"\b(safe|full|unsafe)_load(_all)?\(|\byaml\.load(_all)?\(|\bget_yaml_default_loader\b"
    )
    others = [
        path.name
        for folder in ("diffshare", "scripts")
        for path in (root / folder).rglob("*.py")
        if readers.search(path.read_text(encoding="utf-8"))
    ]
    assert sorted(others) == ["settings.py"]
