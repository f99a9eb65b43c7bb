"""What README's one-liners are about: tables and pictures of a vendor, and one's own."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from diffshare.data.rendered import RenderedFaces

SIDE = 8  # pixels


def write_tables(folder: Path) -> None:
    """``synthetic.csv``, of which group and class depend on each other, and ``holdout.csv``."""
    for name, count, tied in (("synthetic", 400, 0.4), ("holdout", 800, 0.0)):
        rng = np.random.default_rng(count)
        sex = rng.integers(0, 2, count)
        rich = np.where(rng.random(count) < tied, sex, rng.random(count) < 0.4).astype(bool)
        frame = {
            "age": rng.integers(18, 80, count),
            "relationship": rng.choice(["Husband", "Wife", "Unmarried"], count),
            "sex": np.where(sex == 1, "Male", "Female"),
            "income": np.where(rich, ">50K", "<=50K"),
        }
        pd.DataFrame(frame).to_csv(folder / f"{name}.csv", index=False)


def write_pictures(folder: Path) -> None:
    """``photos/`` with ``photos.csv``, and ``generated/`` with a folder a class."""
    source = RenderedFaces(count=700, image_size=SIDE)
    x, attributes = source.read(np.arange(700)), source.index().attributes
    male, smiling = (
        np.array(attributes[name].classes)[attributes[name].codes] for name in ("Male", "Smiling")
    )
    lines = ["image,Male,Smiling"]
    for i in range(700):
        place = folder / ("photos" if i < 500 else f"generated/{smiling[i]}")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(x[i]).save(place / f"{i}.png")
        lines += [f"{i}.png,{male[i]},{smiling[i]}"] if i < 500 else []
    (folder / "photos.csv").write_text("\n".join([*lines, ""]))
