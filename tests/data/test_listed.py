"""The mix that a manifest lists: the records and labels of the mix that wrote it, or one line that says why not."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from diffshare.data.listed import Listed
from diffshare.data.manifest import ChosenMix
from diffshare.data.mixes import Choice, Clean, Mix, Pool
from diffshare.data.module import MixDataModule
from diffshare.data.source import Attribute
from diffshare.errors import UserError


@pytest.fixture
def module(numbered, tmp_path) -> Callable[..., MixDataModule]:
    """A data module over numbered pictures with this mix and these options."""

    def make(mix: Mix, **options: Any) -> MixDataModule:
        return MixDataModule(
            numbered(), "Smiling", "Male", mix, cache_dir=tmp_path / "cache", **options
        )

    return make


class Attack:
    """A mix that flips the labels of its last ten records and calls them poison."""

    policy = "attack"
    n = 60

    def choose(self, pool: Pool, seed: int) -> Choice:
        positions = np.random.default_rng(seed).permutation(len(pool))[: self.n]
        target = pool.y.codes[positions].astype(np.int64)
        poisoned = np.arange(self.n) >= 50
        target[poisoned] = 1 - target[poisoned]
        information = {"pool": 0.5, "chosen": 0.25, "tolerance": 0.1}
        report = {
            "alpha": 0.2,
            "violations": 3,
            "exhausted": 2,
            "mutual_information_xy": information,
        }
        return Choice(positions, target, poisoned, report)


@pytest.fixture
def manifest(module, tmp_path) -> Path:
    """The manifest of the attack."""
    module(Attack()).chosen_mix().write(tmp_path / "mix")
    return tmp_path / "mix"


@pytest.mark.parametrize("mix", [Clean(50), Attack()], ids=lambda mix: mix.policy)
def test_it_trains_on_the_records_and_labels_of_the_mix_that_wrote_it(module, tmp_path, mix):
    written = module(mix)
    written.chosen_mix().write(tmp_path / "mix")
    listed = module(Listed(tmp_path / "mix"))
    listed.chosen_mix().write(tmp_path / "again")
    assert (tmp_path / "again" / "records.csv").read_bytes() == (
        tmp_path / "mix" / "records.csv"
    ).read_bytes()
    for name in ("rows", "target", "sensitive"):
        assert np.array_equal(
            getattr(listed.sets["train"], name), getattr(written.sets["train"], name)
        )
    assert np.array_equal(listed.chosen.choice.poisoned, written.chosen.choice.poisoned)


def test_what_the_manifest_says_of_itself_is_passed_on(module, manifest):
    was = json.loads((manifest / "mix.json").read_text())
    now = module(Listed(manifest)).chosen_mix().summary()
    own = {"policy", "manifest", "seconds"}
    assert {key: value for key, value in now.items() if key not in own} == {
        k: v for k, v in was.items() if k not in own
    }
    assert now["policy"] == "listed"
    assert now["manifest"]["policy"] == "attack"
    assert (now["alpha"], now["violations"], now["exhausted"], now["flipped"]) == (0.2, 3, 2, 10)


def test_nonsense_in_the_summary_is_left_out(module, manifest):
    path = manifest / "mix.json"
    nonsense = {
        "alpha": float("nan"),
        "violations": -1,
        "exhausted": "many",
        "mutual_information_xy": {"pool": "x"},
    }
    path.write_text(json.dumps(json.loads(path.read_text()) | nonsense | {"policy": "x" * 1000}))
    summary = module(Listed(manifest)).chosen_mix().summary()
    json.dumps(summary, allow_nan=False)
    assert summary["alpha"] == pytest.approx(10 / 60)  # its poison, counted
    assert (summary["violations"], summary["exhausted"]) == (0, 0)
    assert summary["mutual_information_xy"] == {"pool": None, "chosen": None, "tolerance": None}
    assert len(summary["manifest"]["policy"]) == 40


def test_the_manifest_says_what_makes_the_parts_disjoint(module, manifest, numbered, monkeypatch):
    summary = json.loads((manifest / "mix.json").read_text())
    assert (summary["part"], summary["shares"], summary["seed"]) == ("sharer", [0.6, 0.2, 0.2], 0)
    index = numbered.index
    parts = np.arange(300, dtype=np.int8) % 3
    monkeypatch.setattr(numbered, "index", lambda self: replace(index(self), parts=parts))
    # official parts: the same for everybody
    assert module(Clean()).chosen_mix().summary()["shares"] is None


def edit(manifest: Path, **fields: Any) -> None:
    path = manifest / "mix.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def lines(manifest: Path, change: Callable[[list[str]], list[str]]) -> None:
    path = manifest / "records.csv"
    path.write_text("\n".join(change(path.read_text().splitlines())) + "\n")


def second(manifest: Path, line: str) -> None:
    lines(manifest, lambda rows: [rows[0], line, *rows[2:]])


REFUSALS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no summary": (lambda m: (m / "mix.json").unlink(), r"cannot read .*mix.json: No such file"),
    "summary of another kind": (lambda m: (m / "mix.json").write_text("[1]"), "mix.json holds no table of fields"),
    "summary too large": (lambda m: (m / "mix.json").write_text(" " * (2 << 20)), "mix.json is larger than"),
    "other source": (lambda m: edit(m, source_sha256="0" * 64), r"source has changed since \(source_sha256 was '0"),
    "hash of another type": (lambda m: edit(m, source_sha256=7), r"source has changed since \(source_sha256 was 7,"),
    "other target": (lambda m: edit(m, target="Hat"), "its target attribute is 'Hat', data.target is 'Smiling'"),
    "no group": (lambda m: edit(m, sensitive=None), "its sensitive attribute is None, data.sensitive is 'Male'"),
    "no records": (lambda m: (m / "records.csv").unlink(), "it has no file records.csv"),
    "empty": (lambda m: lines(m, lambda rows: rows[:1]), "records.csv lists no records"),
    "too large": (lambda m: (m / "records.csv").write_text("x" * 100_000), "larger than a list of all .* of the pool"),
    "no head": (lambda m: lines(m, lambda rows: rows[1:]), "first line of records.csv is not record,target,sensitive,"),
    "short line": (lambda m: second(m, "record 1,0"), "line 2 of records.csv has 2 cells, expected 4"),
    "word for a code": (lambda m: second(m, "record 1,yes,0,base"), "line 2 of records.csv: target 'yes' is no code"),
    "no such class": (lambda m: second(m, "record 1,2,0,base"), "line 2 .*: target 2 is none of the 2 classes"),
    "unknown class": (lambda m: second(m, "record 1,-1,0,base"), "line 2 .*: target '-1' is no code"),
    "huge code": (lambda m: second(m, f"record 1,0,{'9' * 5000},base"), r"sensitive '9{50,60}\.\.\.' is no code"),
    "other origin": (lambda m: second(m, "record 1,0,0,evil"), "origin 'evil' is neither base nor poison"),
    "no such record": (lambda m: second(m, "record 999,0,0,base"), "1 of its 60 records are not in .*'record 999'"),
    "twice": (lambda m: lines(m, lambda rows: [*rows[:-1], rows[1]]), r"record 'record \d+' is listed twice"),
    "bytes": (lambda m: (m / "records.csv").write_bytes(b"\xff\xfe"), "records.csv:1 is not UTF-8 text"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "words"), REFUSALS.values(), ids=REFUSALS)
def test_a_manifest_that_does_not_fit_is_refused(module, manifest, damage, words):
    damage(manifest)
    with pytest.raises(UserError, match=words) as caught:
        module(Listed(manifest)).setup()
    assert "\n" not in str(caught.value)


def test_another_group_than_the_sources_is_refused(module, manifest):
    def swap(rows: list[str]) -> list[str]:
        name, target, sensitive, origin = rows[1].split(",")
        return [rows[0], ",".join([name, target, str(1 - int(sensitive)), origin]), *rows[2:]]

    lines(manifest, swap)
    with pytest.raises(
        UserError, match=r"record 'record \d+' has group [01], the source says [01]"
    ):
        module(Listed(manifest)).setup()


def test_another_split_is_refused_and_the_first_one_named(module, manifest):
    with pytest.raises(
        UserError,
        match=r"made with part 'sharer', shares \[0.6, 0.2, 0.2\], seed 0; data.seed is now 5",
    ):
        module(Listed(manifest), seed=5).setup()


def test_a_source_that_changed_is_refused(module, manifest, numbered, monkeypatch):
    index = numbered.index

    def changed(self):
        found = index(self)
        smiling = found.attributes["Smiling"]
        codes = smiling.codes.copy()
        codes[0] = 1 - codes[0]  # one label of one record
        return replace(
            found, attributes={**found.attributes, "Smiling": Attribute(codes, smiling.classes)}
        )

    monkeypatch.setattr(numbered, "index", changed)
    with pytest.raises(
        UserError, match=r"manifest .*mix does not fit: the source has changed since"
    ):
        module(Listed(manifest)).setup()


def test_a_count_must_be_the_manifests(module, manifest):
    assert len(module(Listed(manifest, n=60)).chosen_mix().choice.positions) == 60
    with pytest.raises(UserError, match=r"mix.n is 10, .* lists 60 records: leave data.mix.n out"):
        module(Listed(manifest, n=10)).setup()


def test_unknown_groups_survive_a_round_trip(numbered, tmp_path):
    index = numbered().index()
    pool = Pool(index, "Smiling", None, source_sha256="a" * 64)
    ChosenMix("clean", pool, Clean(20).choose(pool, 0), 0, 0.0, "a" * 64).write(tmp_path / "mix")
    assert len(Listed(tmp_path / "mix").choose(pool, 0).positions) == 20


def test_the_command_line_says_it_in_one_line(run_cli, tmp_path):
    config = Path(__file__).parents[2] / "configs"
    faces = [
        "--config",
        config / "ddpm_faces.yaml",
        "--data.source.image_size",
        "8",
        "--data.source.count",
        "100",
    ]
    listed = ["--config", config / "mix" / "listed.yaml", "--data.mix.manifest", tmp_path / "mix"]
    assert run_cli("mix", *faces, "--out", tmp_path / "mix").code == 0
    assert run_cli("mix", *faces, *listed, "--out", tmp_path / "again").code == 0
    more = run_cli("mix", *faces, *listed, "--data.source.count", "101", "--out", tmp_path / "more")
    assert more.code == 2
    assert "does not fit: the source has changed since" in more.err
    assert more.err.count("\n") == 1
    assert not (tmp_path / "more").exists()
