"""What do protections cost and what do they hide, through a generator? Small DDPMs of rendered faces at 16x16.

target-share: models of training sets with a true share p of Eyeglasses, their samples drawn plainly and so that they
show 0.5. What is read of both by a receiver with as many records as the sharer's classifier had, and by a stronger one;
KID to real records of the true and of the chosen share; accuracy on real records of a classifier of Smiling that was
trained on the samples. Samples i of both belong together by their class, and the real records are the same for both,
so that differences have narrower intervals than their parts.

dp: the same network, steps and batch with and without DP-SGD, on few and on many records: KID and accuracy as above,
membership by the loss as ``audit --as sharer`` tests it, what is read of the share, seconds. Needs the extra ``dp``.

Everything is kept below --root, and --json is written after each model: a second call goes on.
"""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _protection import (
    COUNT,
    DOWNSTREAM,
    PROPERTY,
    READER,
    SAMPLES,
    SAMPLING_STEPS,
    SIZE,
    STRONG,
    TARGET,
    TRAININGS,
    Bench,
    Training,
    drawn,
    trained,
)
from bench_sampling import compressed
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from diffshare.audit.member_leak import member_leak  # noqa: E402
from diffshare.audit.training import read_training  # noqa: E402
from diffshare.errors import UserError  # noqa: E402
from diffshare.generators.families import open_generator  # noqa: E402
from diffshare.provenance import LIBRARIES, code_revision, versions  # noqa: E402
from diffshare.sharer.protection.sampling import PILOT, ClassifierReader, TargetShare  # noqa: E402
from diffshare.stats.kid import kernel_distance, kernel_distance_difference  # noqa: E402
from diffshare.stats.prevalence import NAMES, UNCORRECTED  # noqa: E402
from diffshare.stats.summary import t_interval  # noqa: E402
from diffshare.storage import read_json, write_json  # noqa: E402

SHARES, CHOSEN = (0.1, 0.3, 0.7, 0.9), 0.5
TRAINING = {"target-share": Training(4000, 800, 64, (16, 32, 64, 64)), "dp": Training(8000, 120, 128, (16, 32, 48))}
FEW = 500  # records of the other training sets of dp
DP_SHARE, LONG, DELTA = 0.3, 4, 1e-5  # LONG: how many times the steps of the plain models that are to remember
EPSILONS = (None, 10.0, 1.0)


def share_run(bench: Bench, root: Path, p: float) -> dict[str, Any]:
    """Plain and protected samples of a model of the share p."""
    run = trained(root, f"share-s{bench.seed}-p{p:g}", bench.seed, p, TRAINING["target-share"])
    generator, _ = open_generator(run / "release")
    plain = drawn(generator, bench)
    asked = generator.ledger.queries
    row: dict[str, Any] = {"seed": bench.seed, "p": p, "read_before": bench.read(plain)}
    try:
        made = drawn(TargetShare(generator, ClassifierReader(bench.sharers), CHOSEN), bench)
    except UserError as error:
        return row | {"refused": str(error)}
    taken = generator.ledger.queries - asked - 2 * PILOT  # the pilot's are asked for once in each class
    row |= {"read_after": bench.read(made), "candidates_a_sample": taken / SAMPLES}
    before, after = bench.features(plain), bench.features(made)
    for name, share in (("true", p), ("chosen", CHOSEN)):
        reference = bench.features(bench.records.x[bench.real(share, 0)])
        found = kernel_distance_difference(after, before, reference)
        row[f"kid_to_{name}_share"] = {
            "plain": kernel_distance(before, reference),
            "difference": {"estimate": found.estimate, "interval": [found.low, found.high]},
        }
    right = [bench.rightly(x, bench.labels).mean(1) for x in (plain, made)]  # of each training
    change = t_interval((right[1] - right[0]).tolist())
    row["accuracy"] = {
        "plain": float(right[0].mean()),
        "protected": float(right[1].mean()),
        "difference": change.json(),
    }
    readers = {"sharer": bench.sharers, "receiver": bench.receivers, "strong": bench.strong}
    return row | {"reader_accuracy": {name: made.accuracy for name, made in readers.items()}}


def dp_run(bench: Bench, root: Path, n: int, epsilon: float | None, times: int) -> dict[str, Any]:
    """A model with a bound of epsilon, or a plain one, of ``times`` the steps."""
    plain = TRAINING["dp"]
    how, more, sigma = replace(plain, records=n, steps=times * plain.steps), [], None
    if epsilon is not None:
        from opacus.accountants.utils import get_noise_multiplier

        aim: dict[str, Any] = {"target_epsilon": epsilon, "target_delta": DELTA, "steps": how.steps}
        aim["sample_rate"] = how.batch / n
        sigma = get_noise_multiplier(**aim, accountant="rdp", epsilon_tolerance=epsilon / 1000)
        more = ["--model", "diffshare.sharer.protection.dp.PrivateDDPM", "--model.noise_multiplier", str(sigma)]
        more += ["--model.delta", str(DELTA), "--trainer.precision", "32-true", "--trainer.gradient_clip_val", "null"]
    name = f"dp-s{bench.seed}-n{n}-e{'inf' if epsilon is None else f'{epsilon:g}'}-x{times}"
    run = trained(root, name, bench.seed, DP_SHARE, how, more)
    generator, _ = open_generator(run / "release")
    x = drawn(generator, bench)
    tested = member_leak(
        run / "release",
        bench.source,
        read_training(run / "mix", bench.records.index),
        "test",
        split_seed=bench.seed,
        seed=bench.seed,
    )
    if tested.found is None:
        raise SystemExit(tested.reason)
    return {
        "seed": bench.seed,
        "records": n,
        "steps": how.steps,
        "epsilon": generator.card.epsilon,
        "noise_multiplier": sigma,
        "kid": bench.kid(x, DP_SHARE),
        "accuracy": t_interval(bench.rightly(x, bench.labels).mean(1).tolist()).json(),
        "membership": tested.json(),
        "read": (read := bench.read(x)),
        "property_error": abs(read["pacc"] - DP_SHARE),
        "seconds": read_json(run / "seconds.json"),
    }


def yardstick(bench: Bench, share: float) -> dict[str, float]:
    """Real records of a share in the place of samples; ``jpeg`` is what JPEG of quality 75 adds to their KID."""
    x = bench.records.x[bench.real(share, 1)]
    reference = bench.features(bench.records.x[bench.real(share, 0)])
    jpeg = kernel_distance_difference(bench.features(compressed(x)), bench.features(x), reference).estimate
    others = bench.auxiliary[:SAMPLES]  # those of x are in the test set
    right = bench.rightly(bench.records.x[others], bench.y[others])
    found = {"kid": bench.kid(x, share), "jpeg": jpeg, "accuracy": t_interval(right.mean(1).tolist()).json()}
    return found | {"share": share, "read": bench.read(x)["pacc"]}


def plan(what: str, seeds: Sequence[int]) -> dict[str, Callable[[Bench, Path], dict[str, Any]]]:
    """Runs by name; seeds one after the other."""
    made: dict[str, Callable[[Bench, Path], dict[str, Any]]] = {}
    for seed in seeds:
        share = CHOSEN if what == "target-share" else DP_SHARE
        made[f"s{seed} real"] = lambda b, r, share=share: yardstick(b, share)
        if what == "target-share":
            for p in SHARES:
                made[f"s{seed} p{p:g}"] = lambda b, r, p=p: share_run(b, r, p)
            continue
        for n in (FEW, TRAINING["dp"].records):
            made[f"s{seed} n{n} inf x{LONG}"] = lambda b, r, n=n: dp_run(b, r, n, None, LONG)
            for epsilon in EPSILONS:
                made[f"s{seed} n{n} {epsilon or 'inf'}"] = lambda b, r, n=n, e=epsilon: dp_run(b, r, n, e, 1)
    return made


def summarise_shares(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Over all models that were not refused: errors, costs, and whether the figures to reach are reached."""
    models = [row for row in rows if "p" in row]
    made = [row for row in models if "refused" not in row]
    if not made:
        return {"models": 0, "refused": len(models)}
    corrected = [m for m in NAMES if m not in UNCORRECTED]
    off = {m: [abs(row["read_after"][m] - CHOSEN) for row in made] for m in (*corrected, "strong")}
    drop = [row["accuracy"]["difference"]["mean"] for row in made]
    return {
        "models": len(made),
        "refused": len(models) - len(made),
        "error_to_chosen": {m: {"mean": float(np.mean(e)), "largest": max(e)} for m, e in off.items()},
        "accuracy_difference": t_interval(drop).json() | {"least": min(drop)},
        "candidates_a_sample": float(np.mean([row["candidates_a_sample"] for row in made])),
    }


def show_shares(rows: Sequence[dict[str, Any]]) -> None:
    """A row for each model."""
    table = Table("seed", "p", "before", "after, PACC", "farthest", "strong", "KID +, true p", f"KID +, {CHOSEN}",
                  "accuracy +", "candidates", title=f"{PROPERTY} shown as {CHOSEN}")  # fmt: skip
    for row in (row for row in rows if "p" in row):
        if "refused" in row:
            table.add_row(str(row["seed"]), f"{row['p']:g}", row["refused"])
            continue
        after = row["read_after"]
        off = max((after[m] for m in NAMES if m not in UNCORRECTED), key=lambda v: abs(v - CHOSEN))
        kids = [row[f"kid_to_{name}_share"]["difference"] for name in ("true", "chosen")]
        table.add_row(
            str(row["seed"]), f"{row['p']:g}", f"{row['read_before']['pacc']:.3f}", f"{after['pacc']:.3f}",
            f"{off:.3f}", f"{after['strong']:.3f}", *(_ends(k["estimate"], k["interval"], ".2g") for k in kids),
            _ends(row["accuracy"]["difference"]["mean"], row["accuracy"]["difference"]["interval"], ".3f"),
            f"{row['candidates_a_sample']:.1f}",
        )  # fmt: skip
    Console(width=160).print(table)


def show_dp(rows: Sequence[dict[str, Any]]) -> None:
    """A row for each model."""
    table = Table("records", "steps", "epsilon", "noise", "KID", "accuracy", "advantage", "AUROC", "property error",
                  "seconds", title=f"DP-SGD, delta {DELTA:g}")  # fmt: skip
    for row in rows:
        if "records" not in row:
            table.add_row("real", "", "", "", f"{row['kid']:.3g}", f"{row['accuracy']['mean']:.3f}")
            continue
        found = [row["membership"][name] for name in ("advantage", "auroc")]
        table.add_row(
            str(row["records"]), str(row["steps"]), "inf" if row["epsilon"] is None else f"{row['epsilon']:.3g}",
            "" if row["noise_multiplier"] is None else f"{row['noise_multiplier']:.2f}", f"{row['kid']:.3g}",
            f"{row['accuracy']['mean']:.3f}", *(_ends(one["estimate"], one["interval"], ".3f") for one in found),
            f"{row['property_error']:.3f}", f"{row['seconds']['processor']:.0f}",
        )  # fmt: skip
    Console(width=160).print(table)


def _ends(value: float, ends: Sequence[float], form: str) -> str:
    return f"{value:{form}} ({ends[0]:{form}} to {ends[1]:{form}})"


def main() -> None:
    """Parse, measure what the file does not hold yet, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(TRAINING))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--root", type=Path, default=Path("lightning_logs/protection"), help="where models are kept")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs: dict[str, Any] = read_json(options.json)["runs"] if options.json.is_file() else {}
    benches: dict[int, Bench] = {}
    for name, run in plan(options.what, options.seeds).items():
        if name in runs:
            continue
        seed = int(name.split()[0][1:])
        bench = benches.setdefault(seed, Bench(seed))
        busy = time.process_time()
        made = run(bench, options.root)
        runs[name] = made | {"processor_seconds": round(time.process_time() - busy, 1)}
        print(f"{name}: {runs[name]['processor_seconds']} s", file=sys.stderr, flush=True)
        command = f"python scripts/measure_protection.py {options.what} --seeds {' '.join(map(str, options.seeds))}"
        about = {"command": f"{command} --json {options.json}", "code": code_revision()}
        about |= {
            "versions": versions((*LIBRARIES, "opacus")),
            "seeds": options.seeds,
            "settings": settings(options.what),
        }
        if options.what == "target-share":
            about["summary"] = summarise_shares(list(runs.values()))
        write_json(options.json, about | {"runs": runs})
    (show_shares if options.what == "target-share" else show_dp)(list(runs.values()))


def settings(what: str) -> dict[str, Any]:
    """What the file must say to be read."""
    about: dict[str, Any] = {"data": f"RenderedFaces({COUNT}, {SIZE})", "training": asdict(TRAINING[what])}
    about |= {"samples": SAMPLES, "sampling_steps": SAMPLING_STEPS}
    about |= {"property": PROPERTY, "target": TARGET, "reader": READER, "strong": STRONG, "downstream": DOWNSTREAM}
    about |= {"trainings": TRAININGS}
    return about | ({"chosen": CHOSEN} if what == "target-share" else {"p": DP_SHARE, "delta": DELTA, "norm": 1.0})


if __name__ == "__main__":
    main()
