"""The precision rule: bf16 where the hardware computes it, fp32 elsewhere."""

from typing import Literal

import torch


def default_precision(accelerator: str) -> Literal["bf16-mixed", "32-true"]:
    """Precision that pays on the device that ``accelerator`` will use.

    bf16-mixed on CUDA devices with bf16 and on CPUs with AVX512-BF16 or AMX instructions. On a CPU without them
    bf16 is emulated and runs at a half to a tenth of fp32, so that one gets fp32.

    Args:
        accelerator: Lightning's name: ``auto``, ``gpu``, ``cuda``, ``cpu``, ...
    """
    if accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available():
        return (
            "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
        )
    if accelerator == "cpu" or (accelerator == "auto" and not torch.backends.mps.is_available()):
        native = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
        return "bf16-mixed" if native else "32-true"
    return "32-true"
