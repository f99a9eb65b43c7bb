"""Small valid folders of every kind that comes from somebody else: what check_hostile.py and the fuzz test spoil."""

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from diffusers import (
    DDPMScheduler,
    EDMEulerScheduler,
    FlowMatchEulerDiscreteScheduler,
    ScoreSdeVeScheduler,
    UNet2DModel,
)

from diffshare.generators.ncsn import NoiseLevelsScheduler
from diffshare.generators.sde import BetaSdeScheduler
from diffshare.nets.autoencoders import kl_autoencoder
from diffshare.nets.classwise import ClasswiseUNet
from diffshare.nets.gan import ResnetGenerator
from diffshare.nets.tabular import TableDenoiser
from diffshare.nets.tvae import RowDecoder
from diffshare.nets.vae import VAEDecoder
from diffshare.release.folder import write_release
from diffshare.release.samples import write_samples
from diffshare.release.table import SCHEMA, TableColumn, TableSchema
from diffshare.storage import write_json

BLOCKS: dict[str, Any] = {
    "block_out_channels": (4, 8),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "norm_num_groups": 2,
    "layers_per_block": 1,
    "attention_head_dim": 4,
}
CARD = {"modality": "image", "image_size": 8, "labels": ["a", "b"], "steps": 3}
TABLE = TableSchema(
    (
        TableColumn("age", "numeric", (), True, True, bounds=(0.0, 90.0), cells=3),
        TableColumn("sex", "categorical", ("f", "m")),
        TableColumn("ill", "categorical", ("no", "yes")),
    ),
    "ill",
)
COLUMNS = {"age": "numeric", "sex": ["f", "m"], "ill": ["no", "yes"]}


def make_originals(folder: Path) -> None:
    """A folder of each kind, and a file beside them that nothing should open."""
    (folder / "secret.json").write_text("{}")
    torch.manual_seed(0)
    make_release(folder / "release")
    rng = np.random.default_rng(0)
    info = {
        "labels": "balanced",
        "seed": 0,
        "model": {"name": "m", "sha256": "0" * 64},
        "queries": 6,
    }
    x, y = rng.integers(0, 256, (6, 8, 8, 3), dtype=np.uint8), np.arange(6) % 2
    write_samples(folder / "samples", x, y, info, weight=np.ones(6, np.float32))
    make_families(folder / "families")
    make_files(folder, rng)
    make_run(folder / "run")


def make_release(folder: Path) -> None:
    """A conditional DDPM with everything that a card can declare."""
    network = UNet2DModel(sample_size=8, num_class_embeds=3, **BLOCKS)

    def save(to: Path) -> None:
        network.save_pretrained(to / "unet")
        DDPMScheduler().save_pretrained(to / "scheduler")

    declared = {"s0y0": 10, "s0y1": 20, "s1y0": 30, "s1y1": 40}
    card = CARD | {"family": "ddpm", "steps": 25}
    card |= {
        "declared": declared,
        "label_frequencies": [0.4, 0.6],
        "epsilon": 8.0,
        "protections": ["clipping"],
    }
    names = {"sensitive": "Male", "groups": ["c", "d"], "target": "Smiling", "classes": ["a", "b"]}
    card |= {"target": "Smiling", "declared_names": names}
    write_release(folder, card, save)


def make_families(folder: Path) -> None:
    """A release of each family, by its name."""

    def unet(size: int = 8, channels: int = 3) -> UNet2DModel:
        return UNet2DModel(size, channels, channels, num_class_embeds=3, **BLOCKS)

    one_step = {"steps": 1}
    table = {
        "modality": "table",
        "image_size": None,
        "columns": list(TABLE.names),
        "labels": ["no", "yes"],
    }
    decoder = kl_autoencoder(3, 2, (4, 8), 1, 2)
    parts: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "classwise": (
            {"unet": ClasswiseUNet(3, 8, **BLOCKS), "scheduler": DDPMScheduler()},
            {"family": "ddpm"},
        ),
        "ddpm": ({"unet": unet(), "scheduler": DDPMScheduler()}, {}),
        "latent": (
            {"unet": unet(4, 2), "scheduler": DDPMScheduler(clip_sample=False), "vae": decoder},
            {},
        ),
        "autoencoder": ({"vae": decoder}, one_step | {"labels": []}),
        "edm": ({"unet": unet(), "scheduler": EDMEulerScheduler()}, {}),
        "flow": ({"unet": unet(), "scheduler": FlowMatchEulerDiscreteScheduler()}, {}),
        "sde": ({"unet": unet(), "scheduler": BetaSdeScheduler()}, {}),
        "sde_ve": (
            {"unet": unet(), "scheduler": ScoreSdeVeScheduler(sigma_max=50)},
            {"family": "sde"},
        ),
        "ncsn": ({"unet": unet(), "scheduler": NoiseLevelsScheduler(num_levels=10)}, {}),
        "gan": ({"generator": ResnetGenerator(8, 3, 4, (4, 4), 3)}, one_step),
        "vae": ({"decoder": VAEDecoder(3, 8, 4, 3, (8, 8), 1, 4)}, one_step),
        "tabular": ({"denoiser": TableDenoiser(9, 3, 8, 2), "scheduler": DDPMScheduler()}, table),
        "tvae": ({"decoder": RowDecoder(9, 1, 3, 4, 8, 1)}, table | one_step),
    }
    for name, (networks, fields) in parts.items():

        def save(
            to: Path, networks: dict[str, Any] = networks, rows: bool = "columns" in fields
        ) -> None:
            for part, network in networks.items():
                network.save_pretrained(to / part)
            if rows:
                write_json(to / SCHEMA, TABLE.to_json())

        card = {"family": name} | CARD | fields
        write_release(
            folder / name, {key: value for key, value in card.items() if value is not None}, save
        )


def make_files(folder: Path, rng: np.random.Generator) -> None:
    """Samples of a table, an audit's file, a declaration and a manifest, each in a folder of its own."""
    for name in ("rows", "audit", "declaration", "mix"):
        (folder / name).mkdir()
    rows = [[str(rng.integers(90)), "fm"[i % 2], ("no", "yes")[i // 2 % 2]] for i in range(40)]
    for path in (folder / "rows" / "samples.csv", folder / "audit" / "reference.csv"):
        with path.open("w", newline="") as stream:
            csv.writer(stream, lineterminator="\n").writerows([list(COLUMNS), *rows])
    write_json(folder / "rows" / "samples.json", {"count": 40, "labels": "balanced", "seed": 0})
    write_json(folder / "audit" / "audit.json", audit_of("reference.csv"))
    declared = {"f": {"no": 10, "yes": 20}, "m": {"no": 30, "yes": 40}}
    (folder / "declaration" / "declared.yaml").write_text(yaml.safe_dump(declared))
    write_json(
        folder / "declaration" / "declared.json",
        {"counts": {"s0y0": 1, "s0y1": 2, "s1y0": 3, "s1y1": 4}},
    )
    with (folder / "mix" / "records.csv").open("w", newline="") as stream:
        lines = [(f"record {i}", i % 2, i % 3 - 1, "base") for i in range(30)]
        csv.writer(stream, lineterminator="\n").writerows(
            [("record", "target", "sensitive", "origin"), *lines]
        )
    summary = {
        "policy": "clean",
        "alpha": 0.0,
        "n": 30,
        "target": "ill",
        "sensitive": "sex",
        "source_sha256": "x",
    }
    write_json(folder / "mix" / "mix.json", summary)


def audit_of(reference: str) -> dict[str, Any]:
    """What an audit's file says that ``repair`` reads."""
    faces = {
        "count": 50,
        "image_size": 8,
        "seed": 1,
        "prevalence": {"Male": 0.5},
        "shares": [0.0, 1.0, 0.0],
    }
    network = {
        "class_path": "diffshare.nets.classifiers.SmallResNet",
        "init_args": {"width": 8, "dropout": 0.1},
    }
    settings = {
        "reference": {
            "class_path": "diffshare.data.table.CSVTable",
            "init_args": {"path": reference, "columns": COLUMNS, "header": True, "delimiter": ",", "missing": "?"},
        },
        "classifier": {
            "class_path": "diffshare.classifiers.recipes.NetworkRecipe",
            "init_args": {"network": network, "steps": 7, "batch_size": 5},
        },
        "part": "auxiliary", "pool": "natural", "split_seed": 0, "folds": 5, "degrade": False, "seed": 0,
        "faces": {"class_path": "diffshare.data.rendered.RenderedFaces", "init_args": faces},
    }  # fmt: skip
    return {
        "verdict": "poisoned",
        "samples_sha256": "0" * 64,
        "sensitive": "sex",
        "target": "ill",
        "guidance": 1.0,
        "candidates": [{"sensitive": "sex"}],
        "settings": settings,
    }


def make_run(folder: Path) -> None:
    """A run's folder as far as a release is made of it: its config and a checkpoint, neither of them trained."""
    settings: dict[str, Any] = {
        key: list(value) if isinstance(value, tuple) else value for key, value in BLOCKS.items()
    }
    settings |= {"sample_size": 8, "num_class_embeds": 3}
    denoiser = {"class_path": "diffusers.UNet2DModel", "init_args": settings}
    model = {
        "class_path": "diffshare.generators.ddpm.DDPM",
        "init_args": {"denoiser": denoiser, "sampling_steps": 3},
    }
    folder.mkdir()
    (folder / "config.yaml").write_text(
        yaml.safe_dump({"model": model, "data": {"class_path": "none"}})
    )
    weights = UNet2DModel(sample_size=8, num_class_embeds=3, **BLOCKS).state_dict()
    facts = {"labels": ("a", "b"), "shape": (3, 8, 8), "label_counts": (5, 5), "cells": None}
    content = {
        "state_dict": {f"denoiser.{key}": value for key, value in weights.items()},
        "global_step": 1,
    }
    torch.save(
        content | {"diffshare": {"model": json.loads(json.dumps(model)), "facts": facts}},
        folder / "last.ckpt",
    )
