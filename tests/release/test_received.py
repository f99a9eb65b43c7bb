"""JSON and YAML that somebody else wrote: bounded before anything is built of it."""

import json
import os
import tracemalloc
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from diffshare.errors import UserError
from diffshare.release import received
from diffshare.release.received import DEEPEST, parse_json, read_regular
from diffshare.release.yamlfile import NODES, parse_yaml, read_yaml
from diffshare.storage import read_json

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)  # 31 thousand million values

BAD_YAML = {
    "laughs": (LAUGHS, "an alias"),
    "itself": ("a: &a [*a]", "an alias"),
    "digits": ("a: " + "9" * 5000, "a number that is too long"),
    "float": ("a: 0." + "9" * 5000, "a number that is too long"),
    "sexagesimal": ("a: " + "1:" * 500 + "1", "a number that is too long"),
    "deep": ("[" * 100_000, "too deep"),
    "deep mappings": ("{a: " * 5000, "too deep"),
    "many": ("[" + "1," * (NODES + 2) + "]", "more than 100000 values"),
    "tag": ("a: !!python/object/apply:os.system [true]", "the tag"),
    "a date that is none": ("a: !!timestamp 2001-99-99", "the tag"),
    "binary": ("a: !!binary x", "the tag"),
    "no integer": ("a: !!int x", "is not valid YAML"),
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


@pytest.mark.parametrize("text", ["a: 2001-12-14t21:59:43.10-99:99", "a: 9999-99-99", "a: 2001-12-14"])
def test_a_date_is_text(text):
    assert parse_yaml(text, "d.yaml") == {"a": text[3:]}


TEXTS = st.text(st.characters(categories=("L", "N", "P")), max_size=9)  # PyYAML's own dumper errs on U+0085
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@settings(deadline=None)
@given(VALUES)
def test_other_yaml_and_json_are_read_as_they_are(value):
    written = yaml.dump(value, Dumper=_NoAliases, allow_unicode=True)
    assert parse_yaml(written, "d.yaml") == value == yaml.safe_load(written)
    assert parse_json(json.dumps(value).encode(), "d.json") == value


class _NoAliases(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def test_ones_own_configs_may_have_aliases_but_not_endlessly():
    assert parse_yaml("a: &x [1, 2]\nb: *x", "c.yaml", aliases=True) == {"a": [1, 2], "b": [1, 2]}
    with pytest.raises(UserError, match="more than 100000 values"):
        parse_yaml(LAUGHS, "c.yaml", aliases=True)
    with pytest.raises(UserError, match="an alias"):
        parse_yaml("a: &a [*a]", "c.yaml", aliases=True)


BAD_JSON = {
    "deep": b"[" * (DEEPEST + 2) + b"]" * (DEEPEST + 2),
    "very deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 500 + b"1" + b"}" * 500,
    "objects": b"[" + b"{}," * 500_000 + b"{}]",
    "values": b"[" + b"1," * 2_100_000 + b"1]",
    "keys": b"{" + b",".join(b'"%d":1' % i for i in range(510_000)) + b"}",
    "digits": b"9" * 5000,
    "long integer": b"1" * 41,
    "infinity": b"1e999",
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_json_that_strains_a_reader_is_refused(name):
    tracemalloc.start()
    with pytest.raises(UserError, match="is not valid JSON"):
        parse_json(BAD_JSON[name], "x.json")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(BAD_JSON[name]) + (1 << 20)  # counted before it is built


def test_as_deep_as_may_be_is_read():
    value = json.loads("[" * DEEPEST + "]" * DEEPEST)
    assert parse_json(json.dumps(value).encode(), "x.json") == value


@pytest.mark.parametrize("read", [lambda p: read_regular(p, 99), lambda p: read_yaml(p), lambda p: read_json(p)])
@pytest.mark.parametrize("kind", ["pipe", "device", "folder", "link to a pipe"])
def test_what_is_no_file_is_refused_and_never_waited_for(tmp_path: Path, kind, read):
    path = tmp_path / "x"
    if kind == "device":
        path = Path("/dev/zero")
    elif kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(tmp_path / "pipe")
        path = tmp_path / "pipe" if kind == "pipe" else path
        if kind != "pipe":
            path.symlink_to(tmp_path / "pipe")
    with pytest.raises(UserError, match=r"regular file|is a link|Is a directory"):
        read(path)


def test_a_link_is_followed_where_the_name_is_ones_own(tmp_path: Path):
    (tmp_path / "there").write_text("1")
    (tmp_path / "here").symlink_to(tmp_path / "there")
    assert read_regular(tmp_path / "here", 9, links=True) == b"1"
    with pytest.raises(UserError, match="is a link"):
        read_regular(tmp_path / "here", 9)


def test_a_name_with_a_null_is_refused():
    with pytest.raises(UserError, match="cannot read"):
        received.open_regular(Path("a\0b"), 9)
