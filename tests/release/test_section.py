"""A section of a release's README.md: its text must be text."""

from pathlib import Path

import pytest
from random_release import random_ddpm

from diffshare.errors import UserError
from diffshare.release.folder import open_release
from diffshare.release.section import write_section
from diffshare.storage import read_json, sha256_file, write_json


def test_a_readme_that_is_no_utf8_is_refused_in_one_line(tmp_path: Path) -> None:
    release = random_ddpm(tmp_path / "release", 8, steps=2)
    (release / "README.md").write_bytes(b"# caf\xe9\n")
    card = read_json(release / "diffshare.json")
    card["files"]["README.md"] = sha256_file(release / "README.md")
    write_json(release / "diffshare.json", card)
    before = open_release(release).sha256
    with pytest.raises(UserError, match=r"README\.md is no text in UTF-8: make the release anew"):
        write_section(release, "What it says", ["nothing"])
    assert open_release(release).sha256 == before
    assert [path.name for path in tmp_path.iterdir()] == ["release"]
