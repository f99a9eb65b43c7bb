"""Meta-classifier against estimators: who reads the share of a property off the same samples with the smaller error?

Shadow generators go on from one base with a mix of their own, on auxiliary records at known shares. The meta-classifier
is cross-fitted on them, its interval is CV+ over all of them. The estimators see the samples by the same classifier
that embeds them for the meta-classifier; the line (inverse regression) uses the shadows as surrogates. All are judged
on two kinds of generators that none of them has seen:

  shadow  further shadows, made as those that were trained on;
  target  the sharer's, trained from scratch on his own records, at 0.1, 0.3, 0.5, 0.7 and 0.9.

The second is the attack; the first says how much of an error there comes from shadows that are unlike the target. The
distinguishing game is played with further shadows at 0.45 and 0.55. All is kept in --root: a second call goes on.
"""

import argparse
import contextlib
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diffshare.classifiers.kept import Kept  # noqa: E402
from diffshare.cli import main as diffshare  # noqa: E402
from diffshare.errors import UserError  # noqa: E402
from diffshare.provenance import versions  # noqa: E402
from diffshare.receiver.meta.classifier import MetaClassifier  # noqa: E402
from diffshare.receiver.meta.crossfit import CrossMeta, cross_fit_meta  # noqa: E402
from diffshare.receiver.meta.data import TrainedShadowDataModule  # noqa: E402
from diffshare.receiver.meta.game import play  # noqa: E402
from diffshare.receiver.meta.shadows import make_shadows, read_drawn, read_shadow  # noqa: E402
from diffshare.stats.bootstrap import bootstrap  # noqa: E402
from diffshare.stats.intervals import Interval, clopper_pearson, hoeffding_half_width  # noqa: E402
from diffshare.stats.inverse import feature_mean, inverse_prediction  # noqa: E402
from diffshare.stats.prevalence import NAMES, estimate  # noqa: E402
from diffshare.stats.summary import t_interval  # noqa: E402
from diffshare.storage import read_json, write_json  # noqa: E402

PROPORTIONS = (0.1, 0.3, 0.5, 0.7, 0.9)
GAME = (0.45, 0.55)
LEVEL = 0.95


def built(
    config_file: Path, root: Path, arguments: Sequence[str]
) -> tuple[Callable[[], MetaClassifier], TrainedShadowDataModule, str]:
    """How to make a meta-classifier, the data module, and the source's block as a word, of a config."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action=ActionConfigFile)
    parser.add_subclass_arguments(MetaClassifier, "model")
    parser.add_subclass_arguments(TrainedShadowDataModule, "data")
    for name in ("seed_everything", "trainer"):
        parser.add_argument(f"--{name}", default=None)
    config = parser.parse_args(["--config", str(config_file), "--data.root", str(root), *arguments])
    data = parser.instantiate(Namespace(data=config.data)).data
    source = json.dumps(config.data.init_args.source.as_dict())
    return lambda: parser.instantiate(Namespace(model=config.model)).model, data, source


def target_samples(
    data: TrainedShadowDataModule, source: str, p: float, steps: int, study: Path | None
) -> np.ndarray:
    """Samples of a generator that the sharer trained from scratch on his own part, drawn as the shadows' are."""
    plan, folder = (
        data.plan,
        data.root / ("targets" if study is None else "targets-of-study") / f"p{p:g}",
    )
    made = folder / "run" if study is None else study_run(study, data, p)
    if not (made / "release").is_dir():
        words = [word for path in plan.generator for word in ("--config", str(path))]
        words += [*plan.overrides, "--data.source", source, "--data.seed", str(plan.seed)]
        words += [
            "--data.mix",
            "diffshare.data.mixes.Proportion",
            "--data.mix.p",
            str(p),
            "--data.mix.n",
            str(plan.n),
        ]
        words += ["--data.mix.property", plan.property, "--trainer.max_steps", str(steps)]
        words += [
            "--trainer.val_check_interval",
            str(steps),
            "--trainer.enable_progress_bar",
            "false",
        ]
        run(["fit", *words, "--run-dir", str(made)])
    if not (folder / "samples").is_dir():
        words = [
            "--model",
            str(made / "release"),
            "--count",
            str(plan.samples),
            "--labels",
            plan.labels,
        ]
        words += ["--steps", str(plan.sampling_steps)] if plan.sampling_steps else []
        words += ["--guidance", str(plan.guidance), "--seed", str(plan.seed), "--batch-size", "250"]
        run(["sample", *words, "--out", str(folder / "samples")])
    return read_drawn(plan, folder / "samples")


def study_run(study: Path, data: TrainedShadowDataModule, p: float) -> Path:
    """The run of a property inference study at p; its records must be none of the shadows'."""
    made = study / "steps" / f"fit-{data.plan.property}-ddpm-p{p:g}-s{data.plan.seed}" / "run"
    mix = read_json(made / "mix" / "mix.json")
    same = (mix["source_sha256"], mix["seed"], mix["part"], tuple(mix["shares"]))
    if same != (data.source.index().sha256(), data.plan.seed, "sharer", tuple(data.source.shares)):
        raise SystemExit(
            f"{made} was not trained on the sharer's part of the shadows' source: use the same source and seed"
        )
    return made


def run(words: list[str]) -> None:
    """A verb of the command line; ends the script where it fails."""
    if status := diffshare(words):
        raise SystemExit(status)


@dataclass(frozen=True)
class Judged:
    """A generator of known share: its samples as the meta-classifier and as the estimators see them."""

    where: str
    p: float
    embedded: np.ndarray  # M x D
    scores: np.ndarray  # F x M x 2


def judged(
    data: TrainedShadowDataModule, kept: Kept, where: str, p: float, x: np.ndarray
) -> Judged:
    """The generator of samples ``x``."""
    return Judged(where, p, data.embed(kept, x), kept.classifier.scores(x))


def estimates(
    one: Judged, meta: CrossMeta, kept: Kept, surrogates: Sequence[Judged], seed: int
) -> list[dict[str, Any]]:
    """Every method's estimate and interval from the same samples."""
    rng = np.random.default_rng([seed, round(1000 * one.p)])
    calibration = kept.classifier.calibration
    found = {"meta-classifier": meta.intervals(one.embedded[None], LEVEL)[0]}
    for method in NAMES:
        if method == "cc":
            share = float(estimate("cc", calibration, one.scores)[1])
            half = hoeffding_half_width(one.scores.shape[1], LEVEL)
            found[method] = Interval(share, share - half, share + half)
        else:
            made = bootstrap(method, calibration, one.scores, rng, LEVEL, 1000)  # type: ignore[arg-type]
            found[method] = Interval(
                *(float(end[1]) for end in (made.estimate, made.low, made.high))
            )
    means, variances = zip(*(feature_mean("pacc", s.scores) for s in surrogates), strict=True)
    mean = feature_mean("pacc", one.scores)
    with contextlib.suppress(UserError):  # shadows that follow no line: the table lacks the method
        line = inverse_prediction([s.p for s in surrogates], means, variances, *mean, LEVEL)
        found["line through the shadows"] = Interval(*line[:3])
    return [
        {
            "where": one.where,
            "p": one.p,
            "method": name,
            "estimate": i.estimate,
            "low": i.low,
            "high": i.high,
        }
        for name, i in found.items()
    ]


def summarise(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Error and coverage of each method on each kind of generator, the least error first."""
    summary = []
    for where, method in dict.fromkeys((r["where"], r["method"]) for r in rows):
        mine = [r for r in rows if (r["where"], r["method"]) == (where, method)]
        errors = [r["estimate"] - r["p"] for r in mine]
        held = clopper_pearson(sum(r["low"] <= r["p"] <= r["high"] for r in mine), len(mine), LEVEL)
        summary.append({
            "where": where, "method": method, "generators": len(mine),
            "mean_absolute_error": t_interval([abs(e) for e in errors], LEVEL).json(),
            "bias": float(np.mean(errors)),
            "half_width": float(np.mean([(r["high"] - r["low"]) / 2 for r in mine])),
            "coverage": held.estimate, "coverage_interval": [held.low, held.high],
        })  # fmt: skip
    return sorted(summary, key=lambda s: (s["where"], s["mean_absolute_error"]["mean"]))


def played(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The distinguishing game by every method's estimates of the generators of the game."""
    found = []
    for method in dict.fromkeys(r["method"] for r in rows):
        first, second = (
            np.array([r["estimate"] for r in rows if (r["method"], r["p"]) == (method, p)])
            for p in GAME
        )
        game = play(first, second, *GAME, LEVEL)
        found.append({
            "method": method, "p0": GAME[0], "p1": GAME[1], "generators": len(first) + len(second),
            "auroc": list(game.auroc), "accuracy": list(game.accuracy), "n_leaked_low": game.n_leaked_low,
            "n_leaked": None if np.isinf(game.n_leaked) else game.n_leaked,  # no error was made
        })  # fmt: skip
    return found


def show(title: str, summary: Sequence[dict[str, Any]], games: Sequence[dict[str, Any]]) -> None:
    """Print both tables."""
    table = Table(
        "on",
        "method",
        "generators",
        "mean abs. error",
        "bias",
        "half width",
        "coverage",
        title=title,
    )
    for s in summary:
        error, interval = (
            s["mean_absolute_error"]["mean"],
            s["mean_absolute_error"]["interval"] or [np.nan] * 2,
        )
        table.add_row(s["where"], s["method"], str(s["generators"]), "{:.4f} [{:.4f}, {:.4f}]".format(error, *interval),
                      f"{s['bias']:+.4f}", f"{s['half_width']:.3f}",
                      "{:.2f} [{:.2f}, {:.2f}]".format(s["coverage"], *s["coverage_interval"]))  # fmt: skip
    Console(width=120).print(table)
    table = Table(
        "method", "AUROC", "accuracy", "n_leaked at least", title=f"p = {GAME[0]} or {GAME[1]}?"
    )
    for g in games:
        table.add_row(g["method"], "{:.3f} [{:.3f}, {:.3f}]".format(*g["auroc"]),
                      "{:.3f} [{:.3f}, {:.3f}]".format(*g["accuracy"]), f"{g['n_leaked_low']:.1f}")  # fmt: skip
    if games:
        Console(width=120).print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, default=Path("configs/property_meta_faces.yaml"))
    parser.add_argument(
        "--root", type=Path, default=Path("lightning_logs/shadows/faces"), help="where all is kept"
    )
    parser.add_argument("--property", default="Eyeglasses")
    parser.add_argument(
        "--target-steps",
        type=int,
        default=1500,
        help="training steps of a target; 0 for no targets",
    )
    parser.add_argument(
        "--study", type=Path, help="take the targets from this folder of a property inference study"
    )
    parser.add_argument(
        "--game", type=int, default=6, help="shadows of the game at each share; 0 for no game"
    )
    parser.add_argument("--folds", type=int, default=4, help="of the meta-classifier")
    parser.add_argument(
        "--steps", type=int, default=800, help="training steps of each meta-classifier"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument(
        "--data", nargs=argparse.REMAINDER, default=[], help="last: overrides of the config's data"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    seconds: dict[str, float] = {}
    arguments = [
        "--data.property",
        options.property,
        "--data.seed",
        str(options.seed),
        *options.data,
    ]
    make, data, source = built(options.config, options.root, arguments)
    shares = [*data.proportions, *(p for _ in range(options.game) for p in GAME)]
    with timed(seconds, "shadows"):
        make_shadows(data.plan, shares, data.workers)
        data.prepare_data()
    kept = data.embedding()
    shadows = (read_shadow(data.plan, i) for i in range(len(shares)))
    known = [judged(data, kept, "shadow", p, x) for x, p in shadows]
    train, of_game = sum(data.count[:2]), sum(data.count)
    with timed(seconds, "targets"):
        targets = [judged(data, kept, "target", p, target_samples(data, source, p, options.target_steps, options.study))
                   for p in PROPORTIONS if options.target_steps]  # fmt: skip
    with timed(seconds, "meta-classifier"):
        x, p = (
            np.stack([one.embedded for one in known[:train]]),
            np.array([one.p for one in known[:train]]),
        )
        meta = cross_fit_meta(
            make, x, p, steps=options.steps, folds=options.folds, seed=options.seed
        )
    more = (meta, kept, known[:train], options.seed)
    rows = [row for one in (*known[train:of_game], *targets) for row in estimates(one, *more)]
    games = (
        played([row for one in known[of_game:] for row in estimates(one, *more)])
        if options.game
        else []
    )
    summary = summarise(rows)
    accuracy = kept.classifier.accuracy
    show(
        f"{options.property}, {data.plan.samples} queries, {train} shadows, classifier {accuracy:.3f}",
        summary,
        games,
    )
    print({name: round(value, 1) for name, value in seconds.items()})
    if options.json:
        command = f"python scripts/measure_meta.py --config {options.config} --property {options.property}"
        command += f" --seed {options.seed}"
        targets_of = (
            f"--target-steps {options.target_steps}" if options.study is None else "--study STUDY"
        )
        command += f" {targets_of} --game {options.game} --folds {options.folds}"
        command += f" --steps {options.steps} --json docs/results/{options.json.name}"
        command += f" --data {shlex.join(options.data)}" if options.data else ""
        about = {
            "command": command,
            "seeds": [options.seed],
            "versions": versions(),
            "property": options.property,
        }
        about |= {
            "shadows": train,
            "queries": data.plan.samples,
            "accuracy": accuracy,
            "seconds_of_this_call": seconds,
        }
        about |= {"shadow_steps": [data.plan.base_steps, data.plan.steps], "targets": targets_of}
        write_json(options.json, about | {"rows": summary, "game": games, "estimates": rows})


@contextlib.contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    """Note how long the block takes."""
    started = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - started


if __name__ == "__main__":
    main()
