"""Zero-shot reading of a property: a model of images and texts, and a sentence for each class. Needs extra ``clip``."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate, normalize

from diffshare.errors import UserError, reason_of
from diffshare.received import is_number, shown
from diffshare.storage import read_json

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's own
BATCH = 64
SEPARATOR = "|"  # between the sentences of an ensemble


class ZeroShot:
    """CLIP or SigLIP with prompts: P(class k | image) = softmax_k(scale * cos(image, prompt_k)) (Radford et al. 2021).

    A prompt may be an ensemble of sentences; their normalised embeddings are averaged and normalised again.

    Args:
        place: folder of the model (safetensors), or its name on the hub.
        prompts: a prompt for each class, K >= 2; ``|`` stands between the sentences of an ensemble.

    Raises:
        UserError: transformers is missing, the folder holds no such model, or the prompts are no prompts.
    """

    def __init__(self, place: str, prompts: Sequence[str]) -> None:
        ensembles = [[text.strip() for text in prompt.split(SEPARATOR)] for prompt in prompts]
        if len(ensembles) < 2 or not all(all(texts) for texts in ensembles):
            raise UserError(
                "`prompts` needs two sentences or more, one a class, that of the asked-for class first"
            )
        if len({tuple(texts) for texts in ensembles}) < len(ensembles):
            raise UserError("`prompts` has the same sentence for two classes: they must differ")
        self.model, tokenizer = _load(place)
        self._mean, self._std = _normalisation(place)
        with torch.inference_mode():
            rows = [normalize(self._texts(texts, tokenizer).mean(0), dim=0) for texts in ensembles]
        self._classes = torch.stack(rows)

    def _texts(self, texts: list[str], tokenizer: Any) -> torch.Tensor:
        most = self.model.config.text_config.max_position_embeddings
        given = tokenizer(
            texts, padding="max_length", max_length=most, truncation=True, return_tensors="pt"
        )
        wanted = {name: given[name] for name in ("input_ids", "attention_mask") if name in given}
        return normalize(_tensor(self.model.get_text_features(**wanted)), dim=1)

    @torch.inference_mode()
    def __call__(
        self, x: np.ndarray, progress: Callable[..., Any] = lambda items, *_: items
    ) -> np.ndarray:
        """Posteriors of images.

        Args:
            x: uint8, N x H x W x C, C 1 or 3.
            progress: wraps the loop over batches; takes the items, a title and their number.

        Returns:
            float64, N x K.
        """
        scale = self.model.logit_scale.exp()
        starts = range(0, len(x), BATCH)
        parts = []
        for start in progress(starts, "reading samples", len(starts)):
            image = self._pixels(torch.from_numpy(x[start : start + BATCH]))
            features = normalize(_tensor(self.model.get_image_features(pixel_values=image)), dim=1)
            parts.append((scale * features @ self._classes.T).double().softmax(1).numpy())
        return np.concatenate(parts)

    def _pixels(self, x: torch.Tensor) -> torch.Tensor:
        """uint8 N x H x W x C => float32 N x 3 x S x S as the model was trained."""
        side = self.model.config.vision_config.image_size
        image = x.permute(0, 3, 1, 2).float().expand(-1, 3, -1, -1) / 255
        image = interpolate(image, (side, side), mode="bicubic", antialias=True).clamp(0, 1)
        return (image - self._mean) / self._std


def _tensor(output: Any) -> torch.Tensor:
    """The features; newer versions of transformers wrap them."""
    return output if isinstance(output, torch.Tensor) else output.pooler_output


def _load(place: str) -> tuple[Any, Any]:
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise UserError(
            "`method` zero-shot needs transformers: pip install 'diffshare[clip]'"
        ) from error
    local = Path(place).exists()
    if local and not (Path(place) / "config.json").is_file():
        raise UserError(
            f"{place} is no CLIP folder: it has no config.json; give a folder that save_pretrained wrote"
        )
    options = {"local_files_only": local, "trust_remote_code": False}
    try:
        model = AutoModel.from_pretrained(place, use_safetensors=True, **options).eval()
        tokenizer = AutoTokenizer.from_pretrained(place, **options)
    # OSError, ValueError, KeyError and more: whatever a folder that is none leads to
    except Exception as error:
        reason = reason_of(error)[:160]
        raise UserError(
            f"{place} is no CLIP or SigLIP model in safetensors with its tokenizer ({reason}): give its folder"
        ) from error
    if not all(
        hasattr(model, name) for name in ("get_text_features", "get_image_features", "logit_scale")
    ):
        raise UserError(
            f"{place} holds a {type(model).__name__}, no CLIP or SigLIP model: give one of images and texts"
        )
    return model, tokenizer


def _normalisation(place: str) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and deviation of the channels, 3 x 1 x 1, from ``preprocessor_config.json`` where the folder has it.

    Raises:
        UserError: the file is no JSON object, or one of the two is not 3 finite numbers, a deviation above 0.
    """
    path = Path(place) / "preprocessor_config.json"
    said = read_json(path, limit=1 << 20) if path.is_file() else {}
    if not isinstance(said, dict):
        raise UserError(
            f"{path} is no JSON object: give the file that save_pretrained wrote, or delete it"
        )
    tensors = []
    for name, usual, least in (("image_mean", MEAN, -np.inf), ("image_std", STD, 0.0)):
        values = said.get(name, usual)
        fits = (
            isinstance(values, list | tuple)
            and len(values) == 3
            and all(is_number(v) and v > least for v in values)
        )
        if not fits:
            raise UserError(
                f"{path}: {name} must be 3 numbers, one a channel{' and above 0' if least == 0 else ''}, not "
                f"{shown(values)}: mend the file or delete it"
            )
        tensors.append(torch.tensor(values, dtype=torch.float32).reshape(3, 1, 1))
    return tensors[0], tensors[1]
