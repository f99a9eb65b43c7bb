"""JSON that somebody else wrote: bounded before anything is built of it."""

import json
import os
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from diffshare import received
from diffshare.errors import UserError
from diffshare.received import DEEPEST, parse_json, read_regular
from diffshare.settings import read_yaml
from diffshare.storage import read_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(VALUES)
def test_other_json_is_read_as_it_is(value):
    assert parse_json(json.dumps(value).encode(), "d.json") == value


BAD_JSON = {
    "deep": b"[" * (DEEPEST + 2) + b"]" * (DEEPEST + 2),
    "very deep": b"[" * 100_000,
    "deep objects": b'{"a":' * 500 + b"1" + b"}" * 500,
    "objects": b"[" + b"{}," * 500_000 + b"{}]",
    "values": b"[" + b"1," * 2_100_000 + b"1]",
    "keys": b"{" + b",".join(b'"%d":1' % i for i in range(510_000)) + b"}",
    "a key twice": b'{"a": {"b": 1, "b": 1}}',
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


@pytest.mark.parametrize(
    "read", [lambda p: read_regular(p, 99), lambda p: read_yaml(p), lambda p: read_json(p)]
)
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
