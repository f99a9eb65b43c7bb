"""A tiny folder in CelebA's layout, made of noise, for tests of the command line."""

from pathlib import Path

import numpy as np
from PIL import Image


def make_celeba(root: Path, count: int = 48) -> Path:
    """``count`` noise pictures with ``Male`` and ``Smiling`` in all four cells of each of the three parts."""
    (root / "img_align_celeba").mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"{i + 1:06d}.jpg" for i in range(count)]
    for name in names:
        pixels = rng.integers(0, 256, (218, 178, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "img_align_celeba" / name, quality=30)
    rows = [f"{name} {2 * (i % 2) - 1} {2 * (i // 2 % 2) - 1}" for i, name in enumerate(names)]
    (root / "list_attr_celeba.txt").write_text(
        "\n".join([str(count), "Male Smiling", *rows]) + "\n"
    )
    parts = [f"{name} {0 if i < count // 2 else 1 + i % 8 // 4}" for i, name in enumerate(names)]
    (root / "list_eval_partition.txt").write_text("\n".join(parts) + "\n")
    return root
