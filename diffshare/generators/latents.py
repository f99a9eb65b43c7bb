"""Images as latents of an autoencoder and back: opening a VAE, encoding once into the cache, decoding in batches."""

import hashlib
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from diffshare.data.cache import Decoded, open_records
from diffshare.data.recordsets import scaled
from diffshare.data.source import Index, Source
from diffshare.errors import UserError
from diffshare.generators.diffusion import to_bytes

AT_ONCE = 64  # images in one pass of the encoder or the decoder
MEASURED = 20_000  # records that the scale is measured on, at most
WEIGHTS = "diffusion_pytorch_model.safetensors"


def open_vae(path: str | Path) -> tuple[AutoencoderKL, str]:
    """Load an ``AutoencoderKL`` that diffusers has saved, from safetensors alone.

    Args:
        path: its folder, or a folder that holds it as ``vae/`` (a pipeline) or ``release/vae/`` (a run of ``fit``).

    Returns:
        the network in float32, in evaluation mode, without gradients; a hash of its weights and configuration.

    Raises:
        UserError: there is none, or it is of another class or damaged.
    """
    path = Path(path)
    folder = next(
        (f for f in (path, path / "vae", path / "release" / "vae") if (f / WEIGHTS).is_file()), None
    )
    if folder is None or not (folder / "config.json").is_file():
        raise UserError(
            f"{path} holds no VAE: give a folder with config.json and {WEIGHTS}, as diffusers saves an AutoencoderKL, "
            "or one that holds it as vae/; 'fit' with the config autoencoder_celeba trains one"
        )
    try:
        kind = json.loads((folder / "config.json").read_text(encoding="utf-8"))["_class_name"]
        if kind != AutoencoderKL.__name__:
            raise UserError(f"{folder} holds a {kind}: an AutoencoderKL is expected")
        options = {"local_files_only": True, "use_safetensors": True, "low_cpu_mem_usage": False}
        vae = AutoencoderKL.from_pretrained(folder, **options)
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise UserError(
            f"{folder} is no VAE that diffusers can load: {str(error).splitlines()[0]:.200}"
        ) from error
    digest = hashlib.sha256()
    for name in ("config.json", WEIGHTS):
        digest.update((folder / name).read_bytes())
    return vae.float().eval().requires_grad_(False), digest.hexdigest()


def downscaling(vae: AutoencoderKL) -> int:
    """Pixels of an image on one of its latent, along a side."""
    config: Any = vae.config
    return int(2 ** (len(config.block_out_channels) - 1))


def latent_shape(vae: AutoencoderKL, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Shape of an image's latent: C, H, W.

    Raises:
        UserError: the VAE does not take images of this shape.
    """
    config: Any = vae.config
    channels, height, width = shape
    for name in ("in_channels", "out_channels"):
        if config[name] != channels:
            raise UserError(
                f"the VAE has {name} {config[name]}, the images have {channels} channels: use another VAE"
            )
    factor = downscaling(vae)
    if height % factor or width % factor:
        raise UserError(
            f"images of {width}x{height} pixels do not divide by the VAE's factor {factor}: set data.source.image_size "
            f"to a multiple of {factor} or use another VAE"
        )
    return config.latent_channels, height // factor, width // factor


class LatentSource:
    """A decoded source whose records are latents: the mean of the VAE's posterior, float32 n x C x H x W.

    Args:
        source: of the images.
        records: its decoded records.
        vae: the encoder.
        identity: hash of the VAE.
        device: where to encode.
    """

    on_bad_image: Literal["error", "skip"] = "error"

    def __init__(
        self,
        source: Source,
        records: Decoded,
        vae: AutoencoderKL,
        identity: str,
        device: torch.device,
    ) -> None:
        self.modality, self.shares = source.modality, source.shares
        self._records, self._vae, self._device = records, vae, device
        self._decoding = f"latents of VAE {identity} of {source.decoding()}"

    def index(self) -> Index:
        """The records that could be decoded."""
        return self._records.index

    def decoding(self) -> str:
        """The images' own decoding, and which VAE."""
        return self._decoding

    @torch.inference_mode()
    def read(self, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Encode the records at these positions."""
        vae = self._vae.to(self._device)
        parts = []
        for rows in np.split(positions, range(AT_ONCE, len(positions), AT_ONCE)):
            x = scaled(torch.from_numpy(self._records.x[rows]).to(self._device))
            parts.append(vae.encode(x).latent_dist.mode().cpu().numpy())
        return np.concatenate(parts, out=out)


def open_latents(
    source: Source,
    records: Decoded,
    vae: AutoencoderKL,
    identity: str,
    *,
    device: torch.device,
    cache_dir: Path | None = None,
) -> np.ndarray:
    """The latents of all records, memory-mapped, row for row as ``records.x``; encoded where no cache of them exists.

    Arguments as of :class:`LatentSource`; ``cache_dir`` as of :func:`diffshare.data.cache.open_records`.
    """
    return open_records(LatentSource(source, records, vae, identity, device), cache_dir).x


def measure(latents: np.ndarray, rows: np.ndarray) -> tuple[float, float]:
    """Mean and 1 / deviation of latents over records and elements (Rombach et al. 2022, appendix G), roughly.

    Both go out with the release, and what moves the mean of all training records is a share of
    something. They are needed to bring latents near mean 0 and deviation 1, no more: the deviation
    is rounded to a power of 2^(1/4) and the mean to a quarter of it.

    Args:
        latents: N x C x H x W.
        rows: the training records; at most ``MEASURED`` of them, evenly spread, are looked at.

    Raises:
        UserError: the latents are all equal.
    """
    chosen = np.unique(rows)[:: max(1, -(-len(rows) // MEASURED))]
    part = latents[chosen].astype(np.float64)
    deviation = float(part.std())
    if not deviation > 1e-6:
        raise UserError(
            "the VAE gives all training records the same latent: train it longer or use another one"
        )
    rounded = 2 ** (round(4 * np.log2(deviation)) / 4)
    shift = round(4 * float(part.mean()) / rounded) / 4 * rounded
    return float(f"{shift:.4g}"), float(f"{1 / rounded:.4g}")


def decode_once(vae: Any) -> None:
    """One pass through the decoder of a VAE; latents of two places a side are enough to try its layers."""
    vae.decode(torch.zeros(1, vae.config.latent_channels, 2, 2))


@torch.inference_mode()
def decode_images(vae: AutoencoderKL, latents: Tensor) -> np.ndarray:
    """Images of latents as the VAE gives them: N x C x H x W => uint8 N x H x W x C, ``AT_ONCE`` in a pass."""
    return np.concatenate(
        [to_bytes(vae.decode(part).sample.float()) for part in latents.split(AT_ONCE)]
    )
