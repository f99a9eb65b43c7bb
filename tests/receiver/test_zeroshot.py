"""Zero-shot reading with a tiny CLIP that is built here: what it computes, ensembles, and what is no such model."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from diffshare.errors import UserError
from diffshare.receiver.zeroshot import MEAN, ZeroShot, _normalisation
from diffshare.release.samples import write_samples

PROMPTS = ("a man", "a woman")
SMALL = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of a few thousand random weights whose tokens are single letters."""
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("clip")
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{c}</w>" for c in letters)]
    (folder / "vocab.json").write_text(json.dumps({token: i for i, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = transformers.CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    text = SMALL | {
        "vocab_size": len(tokens),
        "max_position_embeddings": 24,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    vision = SMALL | {"image_size": 16, "patch_size": 8}
    torch.manual_seed(0)
    config = transformers.CLIPConfig(
        text_config=text | {"pad_token_id": 1}, vision_config=vision, projection_dim=8
    )
    transformers.CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (70, 16, 16, 3), np.uint8)


def test_scores_are_the_softmax_of_scaled_cosines(clip: Path, images: np.ndarray) -> None:
    import transformers

    found = ZeroShot(str(clip), PROMPTS)(images)
    assert found.shape == (70, 2)
    assert found.sum(1) == pytest.approx(1)
    model = transformers.CLIPModel.from_pretrained(clip).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(clip)
    mean, std = (
        torch.tensor([0.48145466, 0.4578275, 0.40821073]),
        torch.tensor([0.26862954, 0.26130258, 0.27577711]),
    )
    # of the model's own size: no resizing
    pixels = ((torch.from_numpy(images) / 255 - mean) / std).permute(0, 3, 1, 2)
    texts = tokenizer(list(PROMPTS), padding="max_length", max_length=24, return_tensors="pt")
    with torch.inference_mode():
        logits = model(pixel_values=pixels, **texts).logits_per_image
    np.testing.assert_allclose(found, logits.softmax(1).numpy(), atol=1e-5)


def test_an_ensemble_of_one_sentence_twice_is_that_sentence(clip: Path, images: np.ndarray) -> None:
    plain = ZeroShot(str(clip), PROMPTS)(images)
    np.testing.assert_allclose(
        ZeroShot(str(clip), ("a man | a man", "a woman"))(images), plain, atol=1e-6
    )
    assert not np.allclose(
        ZeroShot(str(clip), ("a man|his face", "a woman"))(images), plain, atol=1e-4
    )


def test_the_order_of_prompts_is_that_of_the_classes(clip: Path, images: np.ndarray) -> None:
    one, other = ZeroShot(str(clip), PROMPTS)(images), ZeroShot(str(clip), PROMPTS[::-1])(images)
    np.testing.assert_allclose(one, other[:, ::-1], atol=1e-6)


def test_grey_images_of_another_size_are_read(clip: Path) -> None:
    assert ZeroShot(str(clip), (*PROMPTS, "a dog"))(np.zeros((3, 40, 30, 1), np.uint8)).shape == (
        3,
        3,
    )


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        (("a man",), "needs two sentences or more"),
        (("a man", ""), "needs two sentences or more"),
        (("a man", "a woman|"), "needs two sentences or more"),
        (("a man", "a man"), "same sentence for two classes"),
    ],
)
def test_prompts_that_are_none_are_refused(prompts: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError, match=words):
        ZeroShot("anywhere", prompts)


def test_a_folder_that_is_no_clip_is_refused(clip: Path, tmp_path: Path) -> None:
    import transformers

    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"is no CLIP folder: it has no config\.json"):
        ZeroShot(str(tmp_path / "empty"), PROMPTS)
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "config.json").write_text("{}")
    with pytest.raises(UserError, match="is no CLIP or SigLIP model in safetensors"):
        ZeroShot(str(tmp_path / "odd"), PROMPTS)
    model = transformers.BertModel(transformers.BertConfig(vocab_size=64, **SMALL))
    model.save_pretrained(tmp_path / "bert")
    transformers.AutoTokenizer.from_pretrained(clip).save_pretrained(tmp_path / "bert")
    with pytest.raises(UserError, match="no CLIP or SigLIP model"):
        ZeroShot(str(tmp_path / "bert"), PROMPTS)


def test_a_pickled_model_is_refused(clip: Path, tmp_path: Path) -> None:
    for file in clip.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match="safetensors"):
        ZeroShot(str(tmp_path), PROMPTS)


class TestNormalisation:
    def test_it_is_the_folders_own_where_it_says_so(self, tmp_path: Path) -> None:
        assert _normalisation(str(tmp_path))[0].flatten().tolist() == pytest.approx(MEAN)
        (tmp_path / "preprocessor_config.json").write_text('{"image_std": [0.5, 1, 2]}')
        mean, std = _normalisation(str(tmp_path))
        assert mean.shape == std.shape == (3, 1, 1)
        assert mean.flatten().tolist() == pytest.approx(MEAN)
        assert std.flatten().tolist() == [0.5, 1, 2]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("{", "not valid JSON"),
            ("[]", "is no JSON object"),
            ('{"image_mean": [0.5, 0.5]}', "image_mean must be 3 numbers, one a channel, not "),
            ('{"image_mean": 0.5}', "image_mean must be 3 numbers"),
            ('{"image_mean": ["a", "b", "c"]}', "image_mean must be 3 numbers"),
            ('{"image_mean": [0.5, NaN, 0.5]}', "image_mean must be 3 numbers"),
            (
                '{"image_std": [0.5, 0.5, 0]}',
                "image_std must be 3 numbers, one a channel and above 0",
            ),
        ],
    )
    def test_a_file_that_says_nothing_is_refused(
        self, tmp_path: Path, text: str, words: str
    ) -> None:
        (tmp_path / "preprocessor_config.json").write_text(text)
        with pytest.raises(UserError, match=words) as caught:
            _normalisation(str(tmp_path))
        assert "\n" not in str(caught.value)


def test_without_transformers_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"needs transformers: pip install 'diffshare\[clip\]'"):
        ZeroShot("anywhere", PROMPTS)


class TestVerb:
    @pytest.fixture
    def samples(self, images: np.ndarray, tmp_path: Path) -> Path:
        write_samples(tmp_path / "samples", images, np.full(len(images), -1), {"labels": "none"})
        return tmp_path / "samples"

    def test_counting_then_labels_correct_it(
        self,
        run_cli: Callable[..., Any],
        clip: Path,
        samples: Path,
        images: np.ndarray,
        tmp_path: Path,
    ) -> None:
        common = (
            "infer-property",
            "--samples",
            samples,
            "--property",
            "man",
            "--method",
            "zero-shot",
            "--clip",
            clip,
        )
        common = (*common, "--prompts", *PROMPTS, "--json", tmp_path / "r.json")
        outcome = run_cli(*common)
        assert outcome.code == 0, outcome.err
        made = json.loads((tmp_path / "r.json").read_text())
        share = float((ZeroShot(str(clip), PROMPTS)(images)[:, 0] > 0.5).mean())
        assert made["method"] == "zero-shot"
        assert made["estimate"] == made["naive"] == pytest.approx(share)
        assert made["error"]["classifier"] is None
        assert made["assumption"] == {"ok": False, "statistic": None, "p_value": None}
        outcome = run_cli(*common, "--label-sheet", tmp_path / "sheet", "--label-count", 30)
        assert outcome.code == 0, outcome.err
        file = tmp_path / "sheet" / "labels.csv"
        head, *rows = file.read_text().splitlines()
        file.write_text(
            "\n".join([head, *(f"{row}{int(i < 6)}" for i, row in enumerate(rows))]) + "\n"
        )
        assert run_cli(*common, "--labelled", file).code == 0
        corrected = json.loads((tmp_path / "r.json").read_text())
        assert corrected["naive"] == made["naive"]
        assert corrected["interval"][0] <= 0.2 <= corrected["interval"][1]
        assert corrected["assumption"]["ok"] is True

    def test_what_zero_shot_cannot_do_is_refused(
        self, run_cli: Callable[..., Any], clip: Path, samples: Path, tmp_path: Path
    ) -> None:
        common = (
            "infer-property",
            "--samples",
            samples,
            "--property",
            "man",
            "--method",
            "zero-shot",
        )
        common = (*common, "--prompts", *PROMPTS, "--clip")
        for place, more, words in (
            (tmp_path, (), "is no CLIP folder"),
            (clip, ("--degrade",), "--degrade is for a trained classifier"),
            (clip, ("--queries", "auto", "--width", 0.1), "--queries auto needs a classifier"),
            (clip, ("--queries", 71), "71 queries asked of a folder of 70"),
        ):
            outcome = run_cli(*common, place, *more)
            assert outcome.code == 2
            assert words in outcome.err
