"""Templates of paths: what they take from a name, and that no name keeps them busy."""

import pytest

from diffshare.data.pathpattern import PathPattern
from diffshare.errors import UserError


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        ("[age]_[sex]_*", "25_0_2_2017.jpg", ["25", "0"]),
        ("[age]_[sex]_*", "deep/er/25_0_x", ["25", "0"]),
        ("[age]_[sex]_*", "25_0.jpg", None),
        ("[age]_[sex]_*", "25__2.jpg", None),
        ("[age]_[sex].jpg", "25_0_2.jpg", ["25", "0_2"]),
        ("[age]_[sex].jpg", "25_0.png", None),
        ("[age]/[sex]/*.jpg", "AFAD/18/111/7-0.jpg", ["18", "111"]),
        ("[age]/[sex]/*.jpg", "111/7-0.jpg", None),
        ("photo [who] (*).png", "photo Żółć (1).png", ["Żółć"]),
        ("*-[x]", "a-b-c", ["b-c"]),
    ],
)
def test_fields_of_a_path(pattern, path, fields):
    assert PathPattern(pattern).match(path) == fields


def test_what_a_template_says_comes_back():
    """Any fields without the marks between them are read as they were written."""
    pattern = PathPattern("[a]_[b]-[c].png")
    for a, b, c in (("1", "2", "3"), ("x.y", "(z)", "é_-"), ("aa", ".*", "[]")):
        assert pattern.match(f"some/{a}_{b}-{c}.png") == [a, b, c]


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("*.jpg", "names no field: write one as"),
        ("[a]_[a]", "names a field twice"),
        ("[a][b]", "two fields side by side"),
        ("[a]*", "two fields side by side"),
        ("[a", "is no template"),
        ("[a]//x", "is no template"),
        ("[]", "is no template"),
        ("[a]" + "x" * 1000, "is no template"),
    ],
)
def test_a_template_that_could_mean_anything_is_refused(pattern, message):
    with pytest.raises(UserError, match=message):
        PathPattern(pattern)


def test_a_name_made_to_be_read_in_many_ways_is_read_once():
    pattern = PathPattern("".join(f"[f{i}]a" for i in range(60)) + "b")
    assert pattern.match("a" * 100_000) is None  # one that goes back would not end
