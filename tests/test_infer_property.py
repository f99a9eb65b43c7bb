"""The verb ``infer-property``: shares recovered from samples of known ones, and all that it refuses."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, UNet2DModel
from property_runs import inferred, refusal, yaml_source

from diffshare.commands.flags import in_flags
from diffshare.commands.infer_table import show
from diffshare.data.rendered import RenderedFaces
from diffshare.receiver.property.inference import ALIKE, NEVER, Asked, Assumption, Inferred, counted
from diffshare.receiver.property.inference import infer as infer_share
from diffshare.receiver.records import Records
from diffshare.release.folder import write_release
from diffshare.release.samples import write_samples
from diffshare.stats.calibration import Calibration

SIZE, HATS = 16, 0.3
QUICK = ["--classifier", "diffshare.classifiers.recipes.KernelRecipe", "--folds", "3"]
FIELDS = {
    "assumes",
    "property",
    "method",
    "estimate",
    "interval",
    "level",
    "naive",
    "queries",
    "error",
    "hoeffding",
    "assumption",
}
Infer = Callable[..., Any]


def failing() -> Inferred:
    """A result whose check says no."""
    check = Assumption(False, 1.0, 0.01)
    return Inferred("Hat", "Hat", "pacc", 0.3, 0.2, 0.4, 0.95, 0.3, 9, 0.1, 0.1, check, {}, ALIKE)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Auxiliary faces: 700 rendered ones, half of them with a hat."""
    file = tmp_path_factory.mktemp("source") / "faces.yaml"
    return yaml_source(
        file, "rendered.RenderedFaces", count=700, image_size=SIZE, seed=1, shares=[0.0, 1.0, 0.0]
    )


def drawn(
    folder: Path, count: int = 600, labels: str = "none", size: int = SIZE, **prevalence: float
) -> Path:
    """Other rendered faces as the samples of a generator that makes no mistakes; y is Smiling unless none."""
    source = RenderedFaces(
        count=count, image_size=size, seed=2, prevalence={"Hat": HATS} | prevalence
    )
    smiling = source.index().attributes["Smiling"].codes.astype(np.int64)
    y = np.full(count, -1) if labels == "none" else smiling
    write_samples(folder, source.read(np.arange(count)), y, {"labels": labels})
    return folder


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return drawn(tmp_path_factory.mktemp("drawn") / "samples")


@pytest.fixture
def infer(run_cli: Infer, tmp_path: Path) -> Infer:
    """Run the verb, which must succeed; its JSON, with the printed text under ``out``."""
    return partial(inferred, run_cli, tmp_path)


@pytest.fixture
def refused(run_cli: Infer, tmp_path: Path) -> Infer:
    """Run the verb, which must refuse in one line and leave nothing; the line."""
    return partial(refusal, run_cli, tmp_path)


def test_a_hidden_share_is_recovered_and_all_fields_are_there(
    infer: Infer, samples: Path, faces: Path
) -> None:
    made = infer("--samples", samples, "--auxiliary", faces, "--property", "Hat", *QUICK)
    assert set(made) >= FIELDS | {"seconds"}
    assert made["property"] == "Hat"
    assert made["queries"] == 600
    low, high = made["interval"]
    assert 0 <= low <= HATS <= high <= 1
    assert low <= made["estimate"] <= high
    assert high - low < 0.2
    assert set(made["error"]) == {"sampling", "classifier", "drift"}
    assert set(made["assumption"]) == {"ok", "statistic", "p_value"}
    assert made["assumption"]["ok"] is True
    assert sum(made["shares"].values()) == pytest.approx(1)
    assert f"{100 * made['estimate']:.1f} %" in made["out"]


def test_a_single_classifier_counts_as_the_paper_s_does(
    infer: Infer, samples: Path, faces: Path
) -> None:
    paper = ("--folds", 1, "--method", "cc")
    made = infer("--samples", samples, "--auxiliary", faces, "--property", "Hat", *QUICK, *paper)
    assert made["method"] == "cc"
    assert made["estimate"] == made["naive"] == pytest.approx(HATS, abs=0.1)
    assert any("one classifier that only counts" in note for note in made["notes"])


def test_the_other_class_mirrors_and_a_seed_repeats(
    infer: Infer, samples: Path, faces: Path
) -> None:
    common = (
        "--samples",
        samples,
        "--auxiliary",
        faces,
        "--property",
        "Hat",
        *QUICK,
        "--queries",
        200,
    )
    one, again, other = infer(*common), infer(*common), infer(*common, "--value", "not Hat")
    assert {k: v for k, v in one.items() if k not in ("seconds", "out")} == {
        k: v for k, v in again.items() if k not in ("seconds", "out")
    }
    assert other["estimate"] == pytest.approx(1 - one["estimate"])
    assert other["interval"] == pytest.approx([1 - v for v in one["interval"][::-1]])
    assert one["queries"] == 200


def test_a_part_of_a_folder_that_is_sorted_by_the_property(
    infer: Infer, tmp_path: Path, faces: Path
) -> None:
    source = RenderedFaces(count=600, image_size=SIZE, seed=2, prevalence={"Hat": HATS})
    order = np.argsort(source.index().attributes["Hat"].codes, kind="stable")
    write_samples(
        tmp_path / "sorted",
        source.read(np.arange(600))[order],
        np.full(600, -1),
        {"labels": "none"},
    )
    made = infer(
        "--samples",
        tmp_path / "sorted",
        "--auxiliary",
        faces,
        "--property",
        "Hat",
        *QUICK,
        "--queries",
        200,
    )
    assert made["estimate"] == pytest.approx(HATS, abs=0.12)


@pytest.mark.parametrize("method", ["cc", "pcc", "acc", "emq", "dmy", "ml"])
def test_every_method_gives_its_name_and_an_interval(
    infer: Infer, samples: Path, faces: Path, method: str
) -> None:
    made = infer(
        "--samples", samples, "--auxiliary", faces, "--property", "Hat", *QUICK, "--method", method
    )
    assert made["method"] == method
    assert made["interval"][0] <= made["estimate"] <= made["interval"][1]
    assert abs(made["estimate"] - HATS) < 0.15
    if method == "cc":
        assert made["estimate"] == made["naive"]


def test_queries_stop_at_the_wanted_width(infer: Infer, tmp_path: Path, faces: Path) -> None:
    many = drawn(tmp_path / "many", count=6000)
    made = infer(
        "--samples",
        many,
        "--auxiliary",
        faces,
        "--property",
        "Hat",
        *QUICK,
        "--queries",
        "auto",
        "--width",
        0.15,
    )
    low, high = made["interval"]
    assert (high - low) / 2 <= 0.15
    assert low <= HATS <= high
    assert made["queries"] < 6000
    assert made["out"].startswith("plan:    about ")


class TestRemedies:
    def test_surrogates_undo_what_a_generator_does(
        self, infer: Infer, tmp_path: Path, faces: Path
    ) -> None:
        """This generator turns every third hat into none: only surrogates that do the same can tell."""
        folders = [
            drawn(tmp_path / f"s{i}", Hat=p * 2 / 3) for i, p in enumerate((0.1, 0.4, 0.6, 0.9))
        ]
        mine = drawn(tmp_path / "mine", Hat=0.6 * 2 / 3)
        common = ("--samples", mine, "--auxiliary", faces, "--property", "Hat", *QUICK)
        plain = infer(*common)
        assert plain["interval"][1] < 0.6
        made = infer(*common, "--surrogate", *folders, "--surrogate-p", 0.1, 0.4, 0.6, 0.9)
        assert made["interval"][0] <= 0.6 <= made["interval"][1]
        assert made["estimate"] == pytest.approx(0.6, abs=0.05)
        assert made["error"]["drift"] > 0.1

    def test_a_remedy_is_named_unless_surrogates_are_given(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        plain = failing()
        for result, named in (
            (plain, True),
            (replace(plain, drift=0.1, assumes="they are alike"), False),
        ):
            show(result, 1.0)
            assert ("remedy:" in capsys.readouterr().out) == named

    def test_a_failed_check_stands_above_the_number(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        show(failing(), 1.0)
        text = capsys.readouterr().out
        places = [
            text.index(part)
            for part in ("FAILS (p = 0.010)", "30.0 %, doubtful", "20.0 - 40.0 %", ALIKE)
        ]
        assert places == sorted(places)
        assert text.startswith(
            "FAILS:   the classifier errs on these samples otherwise than on real records (p = 0.010)"
        )
        show(replace(failing(), assumption=Assumption(True, 1.0, 0.4)), 1.0)
        text = capsys.readouterr().out
        assert text.index("passes (p = 0.400)") < text.index("30.0 %")
        assert "doubtful" not in text
        assert "FAILS" not in text

    def test_what_an_interval_assumes(self) -> None:
        """Counting trusts the classifier, corrections the calibration, a column nothing."""
        what = Asked("Hat", ("no", "Hat"), 1, 0.95, resamples=50)
        labels = np.arange(200) % 2
        calibration = Calibration(
            np.clip(labels * 0.6 + np.random.default_rng(0).random(200) * 0.4, 0, 1), labels
        )
        s = np.random.default_rng(1).random(40)
        scores = np.stack([1 - s, s], -1)[None]
        methods: tuple[Any, ...] = ("cc", "pcc", "acc", "pacc", "emq")
        assumed = {
            method: infer_share(what, method, calibration, scores).assumes for method in methods
        }
        assert assumed == dict.fromkeys(("cc", "pcc"), NEVER) | dict.fromkeys(
            ("acc", "pacc", "emq"), ALIKE
        )
        assert counted(what, np.arange(9) % 2, "column").assumes == ""
        assert counted(what, np.arange(9) % 2, "zero-shot").assumes == NEVER

    def test_widening_holds_the_plain_interval(
        self, infer: Infer, tmp_path: Path, faces: Path
    ) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (600, SIZE, SIZE, 3), np.uint8)
        write_samples(tmp_path / "noise", noise, np.full(600, -1), {"labels": "none"})
        common = (
            "--samples",
            tmp_path / "noise",
            "--auxiliary",
            faces,
            "--property",
            "Hat",
            *QUICK,
        )
        plain, wide = infer(*common), infer(*common, "--widen")
        assert plain["assumption"]["ok"] is False
        assert "remedy:" in plain["out"]
        assert wide["interval"][0] <= plain["interval"][0]
        assert wide["interval"][1] >= plain["interval"][1]
        assert wide["interval"] != plain["interval"]

    def test_one_image_many_times_over_says_nothing(
        self, refused: Infer, tmp_path: Path, faces: Path
    ) -> None:
        image = RenderedFaces(count=1, image_size=SIZE, seed=3).read(np.arange(1))
        write_samples(
            tmp_path / "same", np.repeat(image, 60, 0), np.full(60, -1), {"labels": "none"}
        )
        common = ("--auxiliary", faces, "--property", "Hat", *QUICK)
        assert "the samples are 60 times the same" in refused(
            "--samples", tmp_path / "same", *common
        )

    def test_a_degraded_training_still_reads_hats(
        self, infer: Infer, samples: Path, faces: Path
    ) -> None:
        made = infer(
            "--samples", samples, "--auxiliary", faces, "--property", "Hat", *QUICK, "--degrade"
        )
        assert made["estimate"] == pytest.approx(HATS, abs=0.1)

    def test_labels_by_hand_correct_a_classifier_that_reads_something_else(
        self, infer: Infer, tmp_path: Path, faces: Path
    ) -> None:
        mine = drawn(tmp_path / "mine", Eyeglasses=0.8)
        common = ("--samples", mine, "--auxiliary", faces, "--property", "Hat", *QUICK)
        glasses = RenderedFaces(
            count=600, image_size=SIZE, seed=2, prevalence={"Hat": HATS, "Eyeglasses": 0.8}
        )
        truth = glasses.index().attributes["Eyeglasses"].codes
        chosen = np.random.default_rng(0).choice(600, 80, replace=False)
        lines = ["sample,label", *(f"{i},{truth[i]}" for i in chosen)]
        (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
        made = infer(*common, "--labelled", tmp_path / "labels.csv")
        assert made["interval"][0] <= 0.8 <= made["interval"][1]


class TestConditioning:
    def test_the_label_itself_is_refused(self, refused: Infer, tmp_path: Path, faces: Path) -> None:
        balanced = drawn(tmp_path / "balanced", labels="balanced")
        line = refused(
            "--samples",
            balanced,
            "--auxiliary",
            faces,
            "--property",
            "Smiling",
            "--conditioned-on",
            "Smiling",
            *QUICK,
        )
        assert "the property 'Smiling' is what the samples were drawn by (labels: balanced)" in line
        assert "--labels natural or none" in line

    def test_a_folder_that_sample_wrote_names_its_classes(
        self, run_cli: Infer, refused: Infer, tmp_path: Path, model: Path, faces: Path
    ) -> None:
        made = run_cli("sample", "--model", model, "--count", 40, "--out", tmp_path / "made")
        assert made.code == 0, made.err
        line = refused(
            "--samples", tmp_path / "made", "--auxiliary", faces, "--property", "Smiling", *QUICK
        )
        assert "the property 'Smiling' is what the samples were drawn by (labels: balanced)" in line

    def test_another_property_is_inferred_with_a_note(
        self, infer: Infer, tmp_path: Path, faces: Path
    ) -> None:
        balanced = drawn(tmp_path / "balanced", labels="balanced")
        made = infer(
            "--samples",
            balanced,
            "--auxiliary",
            faces,
            "--property",
            "Hat",
            "--conditioned-on",
            "Smiling",
            *QUICK,
        )
        assert any("drawn with labels 'balanced'" in note for note in made["notes"])

    def test_natural_samples_may_be_asked_for_the_label(
        self, infer: Infer, tmp_path: Path, faces: Path
    ) -> None:
        natural = drawn(tmp_path / "natural", labels="natural", Smiling=0.8)
        made = infer(
            "--samples",
            natural,
            "--auxiliary",
            faces,
            "--property",
            "Smiling",
            "--conditioned-on",
            "Smiling",
            *QUICK,
        )
        assert made["interval"][0] <= 0.8 <= made["interval"][1]

    def test_an_attribute_that_is_none(self, refused: Infer, samples: Path, faces: Path) -> None:
        line = refused(
            "--samples",
            samples,
            "--auxiliary",
            faces,
            "--property",
            "Hat",
            "--conditioned-on",
            "Cap",
        )
        assert "--conditioned-on 'Cap' is no attribute" in line


class TestBadInput:
    @pytest.fixture
    def base(self, samples: Path, faces: Path) -> list[Any]:
        return ["--samples", samples, "--auxiliary", faces, "--property", "Hat", *QUICK]

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            (["--property", "Cap"], "unknown attribute 'Cap': choose one of"),
            (
                ["--property", "Hat", "--value", "Cap"],
                "unknown value of 'Hat' 'Cap': choose one of 'not Hat', 'Hat'",
            ),
            (
                ["--queries", 601],
                "601 queries asked of a folder of 600 samples: draw more, or lower --queries",
            ),
            (["--queries", 0], "--queries is 0: it must be at least 1"),
            (["--queries", "many"], "queries: expected int or 'auto', got many"),
            (["--queries", "auto"], "--queries auto and --width go together"),
            (["--width", 0.1], "--queries auto and --width go together"),
            (["--queries", "auto", "--width", 0.7], "--width is 0.7"),
            (
                ["--queries", "auto", "--width", 0.01],
                "--width 0.01 cannot be reached: the 700 auxiliary records",
            ),
            (
                ["--queries", "auto", "--width", 0.2, "--method", "cc"],
                "--queries auto plans a corrected share, the --method cc corrects none",
            ),
            (
                ["--queries", "auto", "--width", 0.1, "--widen"],
                "--widen makes an interval of its own",
            ),
            (["--level", 1], "level 1.0 is no confidence level"),
            (["--seed", -1], "--seed is -1: give a number from 0 to 4294967295"),
            (
                ["--folds", 1],
                "--folds is 1: a single classifier only counts, as the paper's does; take --method cc",
            ),
            (["--folds", 1, "--method", "cc", "--widen"], "take --method cc"),
            (["--method", "guess"], "unknown method 'guess': choose one of"),
            (["--labels", "none"], "--labels is for --model"),
            (["--guidance", 3], "--guidance is for --model"),
            (["--guidance", -1], "--guidance is -1.0: it must be a number >= 0"),
            (["--model", "x"], "either --model (a release folder) or --samples"),
            (["--clip", "x"], "--clip and --prompts are for --method zero-shot"),
            (["--method", "zero-shot"], "--method zero-shot needs --clip FOLDER and --prompts"),
            (
                ["--surrogate", "x"],
                "1 folders in --surrogate, 0 shares in --surrogate-p",
            ),
            (
                ["--surrogate", "x", "--surrogate-p", 1.5],
                "--surrogate-p is 1.5: it must be at most 1",
            ),
            (
                ["--surrogate", "x", "--surrogate-p", 0.5, "--widen"],
                "--surrogate and --widen each make an interval",
            ),
            (
                ["--labelled", "x", "--label-sheet", "y"],
                "--label-sheet writes a table to fill in, --labelled reads it",
            ),
            (["--withhold", "age"], "unknown column 'age'"),
            (["--manifest", "nowhere"], "cannot read nowhere/records.csv"),
            (["--labelled", "nowhere.csv"], "cannot read nowhere.csv"),
            (["--part", "test"], "the test part of the auxiliary source holds no records"),
            (
                ["--auxiliary.count", 100],
                "too few to calibrate a classifier: at least 30 of each class are needed",
            ),
            (["--auxiliary.prevalence", '{"Hat": 1.0}'], "all 700 auxiliary records are 'Hat'"),
        ],
    )
    def test_one_line_names_it(
        self, refused: Infer, base: list[Any], more: list[Any], words: str
    ) -> None:
        if more[0] == "--auxiliary.count":
            more = [*more, "--auxiliary.prevalence", '{"Hat": 0.2}']
        assert words in refused(*base, *more)

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            (["--surrogate", "x", "x", "--surrogate-p", 0.1, 0.9], "3 generators or more"),
            (
                ["--surrogate", "x", "x", "x", "--surrogate-p", 0.5, 0.5, 0.5],
                "of different proportions",
            ),
            (
                ["--surrogate", "x", "x", "x", "--surrogate-p", 0.1, 0.5, 0.9, "--method", "emq"],
                "surrogates recalibrate the methods acc and pacc, not 'emq': add --method pacc",
            ),
        ],
    )
    def test_surrogates_are_refused_before_anything_is_read(
        self, refused: Infer, faces: Path, tmp_path: Path, more: list[Any], words: str
    ) -> None:
        assert words in refused(
            "--samples", tmp_path / "nowhere", "--auxiliary", faces, "--property", "Hat", *more
        )

    def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(
        self, run_cli: Infer, faces: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "file").write_text("")
        common = (
            "infer-property",
            "--samples",
            tmp_path / "nowhere",
            "--auxiliary",
            faces,
            "--property",
            "Hat",
        )
        for place, words in (
            (tmp_path / "file" / "r.json", "is not a folder"),
            (tmp_path, "it is a folder"),
        ):
            made = run_cli(*common, "--json", place)
            assert made.code == 2
            assert made.err.count("\n") == 1
            assert f"cannot write {place}" in made.err
            assert words in made.err

    def test_no_source_no_samples(
        self, refused: Infer, samples: Path, faces: Path, tmp_path: Path
    ) -> None:
        assert "give --auxiliary FILE" in refused("--samples", samples, "--property", "Hat")
        assert "either --model" in refused("--auxiliary", faces, "--property", "Hat")
        common = ("--property", "Hat", "--auxiliary")
        assert "no config file nowhere.yaml" in refused(
            "--samples", samples, *common, "nowhere.yaml"
        )
        assert "there is nothing at" in refused("--samples", tmp_path / "nowhere", *common, faces)

    def test_a_classifier_at_chance(self, refused: Infer, tmp_path: Path, faces: Path) -> None:
        blank = np.random.default_rng(0).integers(0, 256, (300, 6), np.uint8)
        lines = [
            "a,b,c,d,e,f,ill",
            *(",".join([*map(str, row), "no" if i % 2 else "yes"]) for i, row in enumerate(blank)),
        ]
        (tmp_path / "aux.csv").write_text("\n".join(lines) + "\n")
        columns = dict.fromkeys("abcdef", "numeric") | {"ill": ["no", "yes"]}
        source = yaml_source(
            tmp_path / "s.yaml", "table.CSVTable", path=str(tmp_path / "aux.csv"), columns=columns
        )
        folder = tmp_path / "rows"
        folder.mkdir()
        (folder / "samples.csv").write_text(
            "\n".join(line.rsplit(",", 1)[0] for line in lines) + "\n"
        )
        line = refused(
            "--samples", folder, "--auxiliary", source, "--part", "all", "--property", "ill"
        )
        assert "too near chance to correct" in line

    @pytest.mark.parametrize(("value", "shown"), [("Hat", "'Hat'"), ("not Hat", "'Hat: not Hat'")])
    def test_a_label_sheet_asks_for_the_class_whose_share_is_asked_for(
        self, run_cli: Infer, base: list[Any], tmp_path: Path, value: str, shown: str
    ) -> None:
        made = run_cli(
            "infer-property", *base, "--value", value, "--label-sheet", tmp_path / "sheet"
        )
        assert made.code == 0, made.err
        assert f"fill in 1 where a sample has {shown}, else 0" in made.out

    def test_overlap_with_the_manifest(
        self, refused: Infer, base: list[Any], tmp_path: Path
    ) -> None:
        (tmp_path / "mix").mkdir()
        (tmp_path / "mix" / "records.csv").write_text(
            "record,target,sensitive,origin\nface-1-000007,0,-1,base\n"
        )
        line = refused(*base, "--manifest", tmp_path / "mix")
        assert "1 of the 700 auxiliary records are among the sharer's" in line
        assert "'face-1-000007'" in line

    def test_a_manifest_without_overlap_passes(
        self, infer: Infer, base: list[Any], tmp_path: Path
    ) -> None:
        (tmp_path / "mix").mkdir()
        (tmp_path / "mix" / "records.csv").write_text(
            "record,target,sensitive,origin\nface-0-000007,0,-1,base\n"
        )
        made, free = infer(*base, "--manifest", tmp_path / "mix"), infer(*base)
        assert made["estimate"] == free["estimate"]
        assert "compared by name alone, since the manifest names no source" in made["notes"][1]
        assert "only where `split_seed` 0 is the sharer's data.seed" in free["notes"][1]
        assert made["notes"][0] == free["notes"][0] == "auxiliary part: 700 of 700 records"
        for note in free["notes"]:
            assert in_flags(note) in free["out"]

    def test_the_comparison_with_a_manifest_is_told(self, tmp_path: Path) -> None:
        source = RenderedFaces(count=300, image_size=8, seed=1, shares=(0.5, 0.5, 0.0))
        (tmp_path / "records.csv").write_text(
            "record,target,sensitive,origin\nface-9-000000,0,-1,base\n"
        )
        for sha, words in (
            (source.index().sha256(), "within one source"),
            ("0" * 64, "is of another source"),
            (7, "names no source"),
        ):
            (tmp_path / "mix.json").write_text(json.dumps({"source_sha256": sha}))
            assert words in Records.from_source(source, manifest=tmp_path).disjoint
        assert "`split_seed` 3" in Records.from_source(source, split_seed=3).disjoint
        assert Records.from_source(source, part="all").disjoint == ""

    def test_too_few_surrogates(self, refused: Infer, base: list[Any], samples: Path) -> None:
        line = refused(*base, "--surrogate", samples, "--surrogate-p", 0.3)
        assert "3 generators or more" in line


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "release"
    torch.manual_seed(0)
    network = UNet2DModel(
        sample_size=SIZE,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        layers_per_block=1,
        num_class_embeds=3,
    )

    def save(to: Path) -> None:
        network.save_pretrained(to / "unet")
        DDPMScheduler().save_pretrained(to / "scheduler")

    card = {"family": "ddpm", "modality": "image", "image_size": SIZE, "steps": 3}
    write_release(
        folder, card | {"labels": ["not Smiling", "Smiling"], "label_frequencies": [0.4, 0.6]}, save
    )
    return folder


class TestModel:
    """A release with random weights: what comes out means nothing, how it was asked does."""

    def test_it_is_asked_naturally(self, infer: Infer, model: Path, faces: Path) -> None:
        common = (
            "--model",
            model,
            "--auxiliary",
            faces,
            "--property",
            "Hat",
            *QUICK,
            "--queries",
            40,
        )
        made = infer(*common)
        assert made["queries"] == 40
        assert ["`split_seed`" in note for note in made["notes"]] == [False, True]
        assert infer(*common, "--labels", "natural", "--batch-size", 7)["naive"] == pytest.approx(
            made["naive"], abs=0.05
        )

    def test_its_label_is_refused_where_the_receiver_chose_it(
        self, refused: Infer, model: Path, faces: Path
    ) -> None:
        common = (
            "--model",
            model,
            "--auxiliary",
            faces,
            "--property",
            "Smiling",
            *QUICK,
            "--labels",
        )
        for labels in ("balanced", "1", "Smiling"):
            assert "'Smiling' is what the samples were drawn by" in refused(*common, labels)
        assert "unknown labels 'Cap'" in refused(*common, "Cap")

    @pytest.mark.parametrize("labels", ["natural", "none"])
    def test_its_label_is_inferred_where_the_model_chose_it(
        self, infer: Infer, model: Path, faces: Path, labels: str
    ) -> None:
        common = (
            "--model",
            model,
            "--auxiliary",
            faces,
            "--property",
            "Smiling",
            *QUICK,
            "--labels",
            labels,
        )
        assert infer(*common, "--queries", 20, "--method", "cc")["queries"] == 20

    def test_the_plan_says_what_it_costs(self, infer: Infer, model: Path, faces: Path) -> None:
        common = (
            "--model",
            model,
            "--auxiliary",
            faces,
            "--property",
            "Hat",
            *QUICK,
            "--queries",
            "auto",
        )
        made = infer(*common, "--width", 0.3, "--steps", 2)
        assert "network calls at most for +-0.3 at level 0.95" in made["out"].splitlines()[0]

    def test_what_is_no_model_is_refused(self, refused: Infer, tmp_path: Path, faces: Path) -> None:
        (tmp_path / "empty").mkdir()
        line = refused("--model", tmp_path / "empty", "--auxiliary", faces, "--property", "Hat")
        assert "empty" in line
        assert "diffshare.json" in line or "release" in line
