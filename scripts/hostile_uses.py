"""How each kind of folder is opened by check_hostile.py, and what a correct load is."""

import csv
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.torch
import torch
from diffusers import UNet2DModel
from hostile_files import (
    mutate_audit,
    mutate_declaration,
    mutate_family,
    mutate_manifest,
    mutate_rows,
    mutate_run,
)
from hostile_mutations import WEIGHTS, mutate_release, mutate_samples
from hostile_originals import COLUMNS

from diffshare.audits.leak.training import read_training
from diffshare.audits.poisoning.declared import read_declared
from diffshare.audits.poisoning.table import counted_table
from diffshare.audits.repair.allowed_classes import MOST
from diffshare.audits.repair.audit_file import read_audited
from diffshare.data.listed import listed_names
from diffshare.data.rendered import RenderedFaces
from diffshare.data.source import Attribute, Index
from diffshare.generators.families import open_generator
from diffshare.receiver.disjoint import refuse_overlap
from diffshare.receiver.samples import Samples, header
from diffshare.receiver.sampling import draw_samples
from diffshare.release.folder import open_release
from diffshare.release.info import read_info
from diffshare.release.samples import read_samples
from diffshare.release.schedulers import load_scheduler
from diffshare.release.weights import load_part
from diffshare.settings import load_yaml
from diffshare.sharer.export import module_of_checkpoint

MIB = 1 << 20
NETWORKS = {"UNet2DModel": UNet2DModel}
GROUPS, CLASSES = ("f", "m"), ("no", "yes")
INDEX = Index(
    np.array(["other"]), np.zeros(1, np.int64), {"ill": Attribute(np.zeros(1, np.int16), CLASSES)}
)
SCHEDULERS = {  # that a receiver may name
    "ddpm": (
        "DDIMScheduler",
        "DEISMultistepScheduler",
        "UniPCMultistepScheduler",
        "EulerDiscreteScheduler",
    ),
    "edm": ("stochastic_heun", "EDMDPMSolverMultistepScheduler"),
    "flow": ("euler",),
    "sde": ("probability_flow", "euler_maruyama"),
    "ncsn": ("probability_flow",),
}
SCHEDULERS["latent"] = SCHEDULERS["ddpm"]


def use_release(folder: Path, rng: random.Random) -> None:
    """Open all of a release and compare what was loaded with what the library itself reads."""
    release = open_release(folder)
    network = load_part(release, "unet", NETWORKS)
    load_scheduler(release)
    expected = safetensors.torch.load((folder / WEIGHTS).read_bytes())
    state = network.state_dict()
    if set(state) != set(expected) or not all(
        torch.equal(state[k], expected[k].float()) for k in state
    ):
        raise AssertionError("the weights that were loaded are not those of the file")


def use_family(folder: Path, rng: random.Random) -> None:
    """Draw two samples of a release: what is opened can be sampled."""
    family = open_release(folder).card.family
    named = rng.choice((None, *SCHEDULERS.get(family, ())))
    generator, _ = open_generator(folder, scheduler=named)
    labels = np.array([0, -1] if generator.card.labels else [-1, -1])
    steps = rng.choice((None, 1, 2, 5)) if generator.card.steps > 1 else None
    made = draw_samples(generator, labels, seed=0, steps=steps)
    if len(made) != 2:
        raise AssertionError("other samples were made than were asked for")


def use_samples(folder: Path, rng: random.Random) -> None:
    """Read samples and compare them with what numpy itself reads."""
    samples = read_samples(folder)
    with np.load(folder / "samples.npz", allow_pickle=False) as arrays:
        loaded = {"x": samples.x, "y": samples.y} | (
            {} if samples.weight is None else {"weight": samples.weight}
        )
        if set(arrays) != set(loaded) or not all(
            np.array_equal(arrays[key], loaded[key]) for key in loaded
        ):
            raise AssertionError("the samples that were loaded are not those of the file")


def use_rows(folder: Path, rng: random.Random) -> None:
    """Read rows in the codes of a source, and compare the numbers with what the csv module reads."""
    path = folder / "samples.csv"
    header(path)
    read_info(folder)
    samples = Samples.from_path(folder)
    counted_table(samples, "sex", "ill")
    table = samples.rows(COLUMNS)
    values = table.read(np.arange(len(table.index())))
    with path.open(newline="", encoding="utf-8-sig") as stream:
        lines = [cells for cells in csv.reader(stream, skipinitialspace=True) if cells]
    ages = [cells[lines[0].index("age")] for cells in lines[1:]]
    expected = np.array([np.nan if age == "?" else float(age) for age in ages], np.float32)
    if not np.array_equal(values[:, 0], expected, equal_nan=True):
        raise AssertionError("the rows that were loaded are not those of the file")


def use_audit(folder: Path, rng: random.Random) -> None:
    """Read an audit's file and open what it names, as ``repair`` does."""
    audit = read_audited(folder / "audit.json")
    source, recipe = audit.built("reference"), audit.built("classifier")
    if source is not None:
        if isinstance(source, RenderedFaces) and source._count > MOST["count"]:
            raise AssertionError("more faces than may be")
        index = source.index()
        source.read(np.arange(min(len(index), 2)))
    if recipe is not None and not 1 <= recipe.steps <= MOST["steps"]:
        raise AssertionError("more steps than may be")


def use_declaration(folder: Path, rng: random.Random) -> None:
    """Read a declared table and compare it with what PyYAML reads."""
    path = folder / (folder / "which").read_text()
    table = read_declared(path, GROUPS, CLASSES).table
    value = load_yaml(path.read_text(encoding="utf-8-sig"))
    value = value.get("declared", value.get("counts", value))
    for s, group in enumerate(GROUPS):
        for y, label in enumerate(CLASSES):
            expected = value[group][label] if group in value else value[f"s{s}y{y}"]
            if table[s, y] != expected:
                raise AssertionError("the table that was read is not that of the file")


def use_manifest(folder: Path, rng: random.Random) -> None:
    """Read a manifest in each of the ways that a verb does."""
    refuse_overlap(INDEX.names, folder, "x")
    names = listed_names(folder, "x")
    training = read_training(folder, INDEX)
    with (folder / "records.csv").open(newline="", encoding="utf-8-sig") as stream:
        lines = [cells for cells in csv.reader(stream) if cells]
    if names != {cells[0] for cells in lines[1:]} or list(training.names) != [
        cells[0] for cells in lines[1:]
    ]:
        raise AssertionError("the names that were read are not those of the file")


def use_run(folder: Path, rng: random.Random) -> None:
    """Build the model of a checkpoint, as ``release`` does."""
    module = module_of_checkpoint(folder / "last.ckpt")
    if not type(module).__module__.startswith("diffshare."):
        raise AssertionError(f"a model of {type(module).__module__}")


class Kind(NamedTuple):
    """A kind of folder.

    Attributes:
        folder: of its original.
        mutate: spoils a copy.
        use: opens it.
        bound: of Python's and numpy's memory in bytes, by the size of the folder.
        weight: how often it is drawn.
        several: the original is one of the folders in ``folder``.
        reads: other files may be read: the reader's own records that an audit names.
    """

    folder: str
    mutate: Callable[[Path, random.Random, Path], str]
    use: Callable[[Path, random.Random], Any]
    bound: Callable[[int], int]
    weight: float
    several: bool = False
    reads: bool = False


KINDS = {
    "release": Kind("release", mutate_release, use_release, lambda size: 128 * MIB + 4 * size, 4),
    "families": Kind(
        "families", mutate_family, use_family, lambda size: 128 * MIB + 4 * size, 4, several=True
    ),
    "samples": Kind(
        "samples", mutate_samples, use_samples, lambda size: max(80 * MIB, 101 * size + 16 * MIB), 4
    ),
    "rows": Kind("rows", mutate_rows, use_rows, lambda size: 256 * MIB + 16 * size, 3),
    "audit": Kind("audit", mutate_audit, use_audit, lambda size: 256 * MIB, 4, reads=True),
    "declaration": Kind(
        "declaration", mutate_declaration, use_declaration, lambda size: 64 * MIB, 3
    ),
    "manifest": Kind("mix", mutate_manifest, use_manifest, lambda size: 64 * MIB + 16 * size, 2),
    "run": Kind("run", mutate_run, use_run, lambda size: 128 * MIB + 8 * size, 3),
}
