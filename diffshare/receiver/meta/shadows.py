"""Shadow generators: trained by the receiver on auxiliary records at known proportions, sampled, and forgotten."""

import os
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from lightning.pytorch.utilities.seed import isolate_rng
from safetensors.torch import load_file, save_file

from diffshare.data.mixes import Choice, Clean, Pool, Proportion
from diffshare.data.module import MixDataModule
from diffshare.data.source import Source
from diffshare.data.synthetic import read_rows
from diffshare.errors import UserError
from diffshare.generators.base import GenerativeModule, describe
from diffshare.generators.fitted import FittedModule
from diffshare.generators.tables import TableModule, bounded
from diffshare.packaged import located
from diffshare.progress import progress
from diffshare.receiver.sampling import draw_samples
from diffshare.release.asked import write_asked
from diffshare.release.disclosure import fit_schema
from diffshare.release.folder import write_release
from diffshare.release.generator import Labels, plan_labels
from diffshare.release.info import Drawn, asked_info, read_info
from diffshare.release.samples import read_samples
from diffshare.release.tables import CSV
from diffshare.storage import atomic_file, write_json
from diffshare.training.averaging import WarmupEMA
from diffshare.training.precision import default_precision
from diffshare.training.quiet import passing_trainer, quiet
from diffshare.training.seeding import BatchSeeding, seed_of
from diffshare.training.watch import NonFiniteStop

BASE, SCHEMA = "base.safetensors", "schema.json"
GOLDEN = (5**0.5 - 1) / 2  # multiples of it, modulo 1, fill [0, 1) evenly however many are taken
# parts of a config that are not read
_OF_FIT = (
    "seed_everything",
    "trainer",
    "checkpoint",
    "release",
    "ckpt_path",
)


@dataclass(frozen=True)
class ShadowPlan:
    """How shadows are made: a base is trained once, each shadow goes on from its weights with a mix of its own.

    Attributes:
        root: folder that holds the base and the shadows.
        generator: configs of ``fit``, base first: the family that the sharer is thought to use.
        overrides: settings over them, as words of the command line.
        source: the receiver's records; stands in place of the one that the configs name.
        property: attribute whose share differs.
        n: records of a shadow's mix, from the auxiliary part.
        base_steps: training steps of the base, at a share of one half; 0 starts each shadow afresh.
        steps: training steps of a shadow.
        samples: drawn of each.
        labels: ``natural`` or ``none``.
        sampling_steps: network calls a sample; the model's default where None.
        guidance: ``guidance_scale``.
        decay: of the averaged weights.
        clip: largest norm of a step's gradient.
        accelerator: Lightning's name of where to train.
        seed: of parts, mixes, training and samples.
    """

    root: Path
    generator: tuple[Path, ...]
    overrides: tuple[str, ...]
    source: Source
    property: str
    n: int
    base_steps: int
    steps: int
    samples: int
    labels: Literal["natural", "none"] = "natural"
    sampling_steps: int | None = None
    guidance: float = 1.0
    decay: float = 0.98
    clip: float = 1.0
    accelerator: str = "cpu"
    seed: int = 0

    def shadow(self, number: int) -> Path:
        """The samples folder of a shadow."""
        return self.root / "samples" / f"{number:04d}"


class ShadowMix(Proportion):
    """A share of a property, its records drawn by a seed of its own: all shadows cut the source into the same parts.

    Args:
        p: the share.
        n: number of records.
        property: name of the attribute.
        draw: seed of the draw.
    """

    def __init__(self, p: float, n: int, property: str, draw: int) -> None:
        super().__init__(p, n, property)
        self.draw = draw

    def choose(self, pool: Pool, seed: int) -> Choice:
        """Draw by this mix's own seed."""
        return super().choose(pool, self.draw)


def spread_proportions(count: int, low: float, high: float) -> list[float]:
    """Shares between ``low`` and ``high``, rounded to 0.001, evenly spread in every prefix."""
    return [round(low + (high - low) * ((i + 0.5) * GOLDEN % 1), 3) for i in range(count)]


def make_shadows(plan: ShadowPlan, proportions: Sequence[float], workers: int = 1) -> None:
    """Train and sample what is not there yet; shadow i is trained at ``proportions[i]``.

    Each shadow is written as a whole when it is done, so that a stopped call goes on where it was.

    Args:
        plan: how.
        proportions: share of each shadow.
        workers: processes at once; 1 works in this one.

    Raises:
        UserError: the configs make no generator of a mix, the auxiliary part has too few records, or a process was
            ended from outside.
    """
    if workers < 1:
        raise UserError(f"data.workers is {workers}: it must be at least 1")
    left = [(i, p) for i, p in enumerate(proportions) if not plan.shadow(i).is_dir()]
    if not left:
        return
    if plan.source.modality == "table" and not (plan.root / SCHEMA).is_file():
        make_schema(plan)
    if plan.base_steps and not (plan.root / BASE).is_file():
        make_base(plan)
    title = f"{len(left)} shadows"
    if workers == 1:
        for number, p in progress(left, title, len(left)):
            make_shadow(plan, number, p)
        return
    threads = max(1, (os.cpu_count() or 1) // workers)
    context = get_context("spawn")  # a process that has computed cannot be forked
    with ProcessPoolExecutor(workers, context, torch.set_num_threads, (threads,)) as pool:
        tasks = [pool.submit(make_shadow, plan, number, p) for number, p in left]
        try:
            done: Iterable[Any] = progress(as_completed(tasks), title, len(left))
            for task in done:
                task.result()
        except BrokenProcessPool as error:
            raise UserError(
                "a process that trained shadows was ended from outside, for want of memory perhaps: lower data.workers "
                f"from {workers} and run it again (the shadows that are done stay)"
            ) from error
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def make_schema(plan: ShadowPlan) -> None:
    """Write how rows are coded: by the whole auxiliary part, so that the base and all shadows code alike."""
    source: Any = plan.source
    module, of_fit = _built(plan, 0.5, plan.seed, coded=False)
    data = MixDataModule(
        source, of_fit.target, mix=Clean(), part="auxiliary", validation_share=0.0, seed=plan.seed
    )
    data.setup()
    records = data.sets["train"]
    mark = getattr(source, "missing", "?")
    schema = fit_schema(records.x[records.rows], source.columns, data.target, mark)
    if isinstance(module, TableModule):
        schema = bounded(schema, module.bounds)
    write_json(plan.root / SCHEMA, schema.to_json())


def make_base(plan: ShadowPlan) -> None:
    """Train the base and keep its weights."""
    module, _ = _trained(plan, 0.5, plan.base_steps, plan.seed, None)
    weights = {
        name: value.detach().clone().contiguous() for name, value in module.state_dict().items()
    }
    with atomic_file(plan.root / BASE) as temporary:
        save_file(weights, temporary)


def make_shadow(plan: ShadowPlan, number: int, p: float) -> None:
    """Train one shadow, release it for a moment, sample it as the black box that the sharer's model is."""
    seed = seed_of(plan.seed, number + 1) % 2**31
    module, achieved = _trained(
        plan, p, plan.steps, seed, plan.root / BASE if plan.base_steps else None
    )
    with tempfile.TemporaryDirectory() as folder:
        fields = module.card_fields(declare_labels=True, declare_counts=False)
        box: Any = type(module).receive(
            write_release(Path(folder) / "release", fields, module.save_parts)
        )
    y = plan_labels(Labels(plan.labels), plan.samples, box.card)
    x = draw_samples(
        box, y, seed=seed, batch_size=250, steps=plan.sampling_steps, guidance=plan.guidance
    )
    drawn = Drawn(plan.labels, seed, plan.sampling_steps, plan.guidance)
    info = asked_info(box, drawn) | {"p": achieved, "property": plan.property}
    write_asked(plan.shadow(number), box, x, y, info)


def read_shadow(plan: ShadowPlan, number: int) -> tuple[np.ndarray, float]:
    """Samples of a shadow, as :func:`read_drawn`, and the exact share that it was trained at."""
    folder = plan.shadow(number)
    return read_drawn(plan, folder), read_info(folder)["p"]


def read_drawn(plan: ShadowPlan, folder: Path) -> np.ndarray:
    """Samples of a folder, uint8, M x H x W x C; rows of a table in the codes of the source, float32, M x columns."""
    if plan.source.modality == "image":
        return read_samples(folder).x
    source: Any = plan.source
    return read_rows(folder / CSV, source.columns, getattr(source, "missing", "?"))[0]


def _trained(
    plan: ShadowPlan, p: float, steps: int, seed: int, weights: Path | None
) -> tuple[GenerativeModule, float]:
    """A generator of auxiliary records with a share p of the property; also the exact share."""
    with isolate_rng(), quiet():
        torch.manual_seed(seed)
        module, data = _built(plan, p, seed)
        if isinstance(module, FittedModule):  # there is no network to load before the data is known
            data.setup()
            module.build(describe(data))
        if weights is not None:
            module.load_state_dict(load_file(weights))
        trainer = passing_trainer(
            accelerator=plan.accelerator,
            max_steps=steps,
            precision=default_precision(plan.accelerator),
            gradient_clip_val=plan.clip,
            callbacks=[WarmupEMA(plan.decay), BatchSeeding(seed), NonFiniteStop()],
            limit_val_batches=0,
        )
        trainer.fit(module, datamodule=data)
    return module.cpu().eval(), float(data.chosen_mix().choice.report["share"])


def _built(
    plan: ShadowPlan, p: float, seed: int, *, coded: bool = True
) -> tuple[GenerativeModule, MixDataModule]:
    """Model and data of the configs, the data being a mix of the auxiliary part; see ``fit``.

    Rows of a table are ``coded`` by the shadows' schema, which has the model's own bounds.
    """
    parser = ArgumentParser(exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action=ActionConfigFile)
    parser.add_subclass_arguments(GenerativeModule, "model", required=True)
    parser.add_subclass_arguments(MixDataModule, "data", required=True)
    for name in _OF_FIT:
        parser.add_argument(f"--{name}", default=None)
    files = [word for path in plan.generator for word in ("--config", str(located(path)))]
    mine = ["--data.part", "auxiliary", "--data.seed", str(plan.seed)]
    if plan.source.modality == "table" and coded:
        mine += ["--model.schema", str(plan.root / SCHEMA), "--model.bounds", "null"]
    config = parser.parse_args([*files, *plan.overrides, *mine])
    built = parser.instantiate(Namespace(model=config.model, data=config.data))
    data: MixDataModule = built.data
    data.source, data.mix = plan.source, ShadowMix(p, plan.n, plan.property, seed)
    return built.model, data
