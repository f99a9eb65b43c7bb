"""Selecting a poisoned set: greedy with exact updates against the published algorithm, and how greedy grows.

python scripts/bench_selection.py [--paper-additions K] [--json FILE]

One matrix of features (6,000 x 512, two classes, two groups), one frozen critic (512-100-20-2), n 400, alpha 0.5. What
is timed is the choice of the additions alone. ``paper`` passes the features of the whole set through the critic for
each of 100 candidates, as published. ``greedy`` starts from the critic's values of the pool; the one pass that gives
them is timed beside it. Both run on one thread; the bound is the same exact one. Times are those of the processor,
which others at work on the machine hardly change; of greedy the best of several runs. With ``--paper-additions K`` the
paper's time is that of K additions, which understates the whole.
"""

import argparse
import resource
import time

import numpy as np
import torch
from _bench import Row, report
from torch import nn
from torch.nn.functional import cross_entropy

from diffshare.sharer.poisoning.critic import Critic, FittedCritic
from diffshare.sharer.poisoning.exact import exact
from diffshare.sharer.poisoning.greedy import greedy, paper
from diffshare.sharer.poisoning.problem import Problem, Selection
from diffshare.stats.information import donsker_varadhan

WIDTH, DELTA, ALPHA = 512, 0.1, 0.5


def features_of(pool: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Features that carry group and class (8 of 512 dimensions each), and the two, in four equal cells."""
    s, y = np.arange(pool) % 2, np.arange(pool) // 2 % 2
    x = rng.standard_normal((pool, WIDTH), np.float32)
    x[:, :8] += 0.4 * (2 * y - 1)[:, None]
    x[:, 8:16] += 0.4 * (2 * s - 1)[:, None]
    return x, s.astype(np.int64), y.astype(np.int64)


def frozen_critic(x: np.ndarray, y: np.ndarray) -> FittedCritic:
    """A critic of the published size, fitted for a moment as a classifier: log p(y|x) is the best critic."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(WIDTH, 100),
        nn.ReLU(),
        nn.Linear(100, 20),
        nn.ReLU(),
        nn.Linear(20, 2),
        nn.LogSoftmax(1),
    )
    optimizer = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.1)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(30):
        optimizer.zero_grad()
        cross_entropy(network(inputs), labels).backward()
        optimizer.step()
    module = Critic(network, [0.5, 0.5]).eval()
    return FittedCritic(module, np.zeros(WIDTH, np.float32), np.ones(WIDTH, np.float32), None)


def problem_of(critic: np.ndarray, s: np.ndarray, y: np.ndarray, n: int) -> Problem:
    base = np.random.default_rng(1).permutation(len(y))[: n - int(ALPHA * n)]
    aim = donsker_varadhan(critic, y)
    return Problem(critic, s, y, base, int(ALPHA * n), aim, DELTA * aim)


def timed(problem: Problem, runs: int) -> tuple[float, Selection]:
    """Best time of several runs; candidates and cells are found anew in each."""
    best = np.inf
    for _ in range(runs):
        fresh = Problem(**vars_of(problem))
        start = time.process_time()
        found = greedy(fresh)
        best = min(best, time.process_time() - start)
    return best, found


def vars_of(problem: Problem) -> dict[str, object]:
    return {name: getattr(problem, name) for name in Problem.__dataclass_fields__}


def against_paper(limit: int | None) -> list[Row]:
    x, s, y = features_of(6000, np.random.default_rng(0))
    critic = frozen_critic(x, y)
    start = time.process_time()
    values = critic.values(x)
    one_pass = time.process_time() - start
    problem = problem_of(values, s, y, 400)
    ours, found = timed(problem, 10)
    shorter = Problem(**{**vars_of(problem), "additions": limit or problem.additions})
    start = time.process_time()
    theirs = paper(
        shorter,
        lambda chosen: donsker_varadhan(critic.values(x[chosen]), y[chosen]),
        np.random.default_rng(2),
    )
    published = time.process_time() - start
    start = time.process_time()
    best = exact(problem, np.random.default_rng(2))
    improved = time.process_time() - start
    additions = f"{shorter.additions} of 200 additions"
    rows = [
        Row(f"paper, {additions}", published, "s"),
        Row("greedy, 200 additions", 1e3 * ours, "ms", "paper", published / ours),
        Row(
            "greedy and the critic's pass",
            1e3 * (ours + one_pass),
            "ms",
            "paper",
            published / (ours + one_pass),
        ),
        Row("exact, 200 additions", 1e3 * improved, "ms", "paper", published / improved),
        Row(f"paper: I(S;Y), {additions}", theirs.information_sy, "nats"),
        Row(
            "greedy: I(S;Y)",
            found.information_sy,
            "nats",
            "paper",
            found.information_sy / theirs.information_sy,
        ),
        Row(
            "exact: I(S;Y)",
            best.information_sy,
            "nats",
            "greedy",
            best.information_sy / found.information_sy,
        ),
        Row("delta", problem.tolerance, "nats"),
    ]
    for name, selection in (("paper", theirs), ("greedy", found)):
        largest = float(np.abs(selection.trace - problem.aim).max())
        name_of = f"{name}: largest |I(X;Y) - aim| of any step"
        rows.append(Row(name_of, largest, "nats", "delta", largest / problem.tolerance))
        rows.append(Row(f"{name}: steps outside delta", selection.violations, "steps"))
    return rows


def growth() -> list[Row]:
    rows = []
    x, s, y = features_of(30_000, np.random.default_rng(0))
    values = frozen_critic(x, y).values(x)
    del x
    for pool, n in ((6000, 400), (12_000, 400), (30_000, 400), (30_000, 1500), (30_000, 6000)):
        seconds, found = timed(problem_of(values[:pool], s[:pool], y[:pool], n), 3)
        rows.append(Row(f"greedy, pool {pool:,}, n {n:,}", 1e3 * seconds, "ms"))
    rows.append(Row("  steps outside delta", found.violations, "steps"))
    return rows


def large_memory() -> Row:
    """Peak memory of a process that holds the critic's values of 30,000 records and selects n 6,000."""
    rng = np.random.default_rng(0)
    y = np.arange(30_000) // 2 % 2
    values = rng.standard_normal((30_000, 2)) * 0.5 + np.eye(2)[y]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    greedy(problem_of(values, np.arange(30_000) % 2, y, 6000))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"memory before {before / 2**20:.2f} GiB, at the peak {peak / 2**20:.2f} GiB")
    return Row("greedy, pool 30,000, n 6,000: peak of the process", peak / 2**10, "MiB")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--paper-additions", type=int, default=None, help="stop the paper's algorithm after these"
    )
    parser.add_argument("--json", default=None, help="write the figures to this file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    memory = large_memory()  # first: the peak of a process never falls
    report([*against_paper(arguments.paper_additions), *growth(), memory], arguments.json)


if __name__ == "__main__":
    main()
