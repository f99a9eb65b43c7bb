"""README's table of measurements: a row a claim, every number of it out of a kept result.

A template of a figure holds no digit of its own: ``tests/test_tables.py`` refuses one, so that no number is there that
its file does not say.
"""

from collections.abc import Callable
from dataclasses import dataclass

from _figures import (
    Values,
    adaptive,
    audited_generators,
    audited_records,
    bench,
    decoding,
    on_records,
    poisoning,
    rendering,
    repaired_generators,
    repaired_records,
    simulated,
    tabular,
    through_generators,
)
from _kept import kept, table

SAME = "same"


@dataclass(frozen=True)
class Claim:
    """A row of the table.

    Attributes:
        what: template of what was measured, and on what.
        figure: template of the figures, with the worst that is to be said of them.
        command: where the command is, as Markdown.
        values: what fills in both.
    """

    what: str
    figure: str
    command: str
    values: Callable[[], Values]

    def cells(self) -> tuple[str, str, str]:
        """The three cells of the row."""
        values = self.values()
        return self.what.format(**values), self.figure.format(**values), self.command


GAPS = (
    "gap in the mix's direction {clean:.2f} -> {poisoned:.2f}, excess {excess:.2f}, accuracy "
    "{accuracy:.3f} -> {after:.3f}"
)
AUDITS = "[docs/audit.md](docs/audit.md)"
PROPERTY = "[docs/property-inference.md](docs/property-inference.md)"
POISONING = "[docs/poisoning.md](docs/poisoning.md)"
REPAIR = "[docs/repair.md](docs/repair.md)"
CLAIMS = (
    Claim(
        "fairness poisoning through a generator, rendered faces {size}x{size}, alpha {alpha:g}, "
        "guidance {guidance:g}, {seeds} seeds",
        GAPS,
        POISONING,
        lambda: poisoning("poisoning_generator_faces", "generator", 1.0),
    ),
    Claim(
        "the same, real faces {size}x{size} in CelebA's layout, S = Male, Y = Young",
        GAPS,
        SAME,
        lambda: poisoning("poisoning_generator_celeba", "generator", 1.0),
    ),
    Claim(
        "the same through the tabular model, Adult, S = sex, Y = income, {seeds} seeds",
        GAPS,
        SAME,
        lambda: poisoning("poisoning_generator_adult", "generator", 1.0),
    ),
    Claim(
        "classifier on the mix itself, Adult, {seeds} seeds",
        GAPS,
        SAME,
        lambda: poisoning("poisoning_mix_adult", "mix", None),
    ),
    Claim(
        "greedy selection against the published algorithm, pool 6,000, n 400",
        "{greedy:.1f} ms against {paper:.1f} s",
        "`scripts/bench_selection.py`",
        lambda: bench(
            "selection", paper="paper, 200 of 200 additions", greedy="greedy, 200 additions"
        ),
    ),
    Claim(
        "share of a property through {generators} generators, {queries:,} samples: mean absolute "
        "error, and how often the 95 % interval holds",
        "counting {cc:.3f}; the default `pacc` {pacc:.3f}, **its interval holds {pacc_held:.2f}** "
        "of the time; `emq` {emq:.3f}, {emq_held:.2f}; `pacc` on surrogates {surrogates:.3f}, "
        "{surrogates_held:.2f}, with a half width of {surrogates_half:.2f}",
        PROPERTY,
        through_generators,
    ),
    Claim(
        "the same where real faces (32x32, Male) stand in for a generator without mistakes, "
        "{queries:,} queries, {repetitions} repetitions at {shares} shares",
        "counting {cc:.3f}; `pacc` {pacc:.3f}, its interval holds {pacc_held:.3f}; that of `emq` {emq_held:.3f}",
        SAME,
        on_records,
    ),
    Claim(
        "a classifier trained on synthetic Adult rows, tested on `adult.test`: macro-F1",
        "{synthetic:.3f} against {real:.3f} of real rows, {lost:.3f} lost, over {trainings} "
        "trainings of {training:.0f} s of a processor; {rows:,} rows in {sampling:.0f} s beside other work",
        "`scripts/measure_tabular.py`",
        tabular,
    ),
    Claim(
        "coverage of the 95 % interval, simulated scores, the assumption holding, {records:,} "
        "queries; a weak and a good classifier",
        "counting {cc_weak:.2f} and {cc_good:.2f}; `acc` {acc_weak:.2f} and {acc_good:.2f}, `pacc` "
        "{pacc_weak:.2f} and {pacc_good:.2f}, `dmy` {dmy_weak:.2f} and {dmy_good:.2f}; `emq` "
        "{emq_weak:.2f} and {emq_good:.2f}",
        "[docs/estimators.md](docs/estimators.md)",
        simulated,
    ),
    Claim(
        "bootstrap interval, 2,000 resamples of 10,000 scores",
        "{pacc:.2f} s, {pacc_ratio:.0f} times as fast as QuaPy",
        "`scripts/bench_estimators.py`",
        lambda: bench("estimators", pacc="interval of pacc, 2,000 resamples of 10,000 scores"),
    ),
    Claim(
        "audit of {queries:,} real records, {folders} folders of each kind, two of each split; "
        "power at alpha {alpha:g}",
        "false alarms {alarms:.1f %}; power: Adult {adult:g}, faces {low:.2f} to {high:.2f}",
        AUDITS,
        audited_records,
    ),
    Claim(
        "audit of {models} tabular models of Adult, {queries:,} samples each, guidance 1; found at alpha {alphas}",
        "{alarms} of {clean} clean ones flagged: {alarm:.0f %}; {flagged} of {number} found: "
        "{found:.0f %}; predicted gap off by {error:.3f} on average, {largest:.3f} at most",
        SAME,
        lambda: audited_generators("audit_generators_adult", 0.3, 0.5),
    ),
    Claim(
        "audit of {models} small DDPMs of rendered faces, {queries:,} samples each; found at alpha "
        "{alphas}. Of other generators of images nearly every clean one was `inconclusive`, in a "
        "run that was not kept",
        "{alarms} of {clean} clean ones flagged: {alarm:.0f %}; {flagged} of {number} found: "
        "{found:.0f %}; predicted gap off by {error:.3f} on average, {largest:.3f} at most",
        SAME,
        lambda: audited_generators("repair_generators_faces", 0.5),
    ),
    Claim(
        "a sharer who stays inside the audit's margin, alpha {alpha:g}, {queries:,} queries, "
        "{cuts} cuts: excess gap that remains, at the least: who chooses records within the cells "
        "of S and Y is not held by the margin",
        "Adult {adult:.3f} of {adult_whole:.3f}, faces {faces:.3f} of {faces_whole:.3f}",
        "[docs/adaptive.md](docs/adaptive.md)",
        adaptive,
    ),
    Claim(
        "repair of real records by weights, group read, alpha {alpha:g}, {seeds} seeds: excess gap "
        "gone (with the group known)",
        "faces {faces:.0f %} ({faces_known:.0f} %), Adult with the group's columns hidden "
        "{adult:.0f %} ({adult_known:.0f} %); accuracy {faces_gain:+.1f} and {adult_gain:+.1f} "
        "points",
        REPAIR,
        repaired_records,
    ),
    Claim(
        "repair of generators' samples at alpha {alpha:g}: excess gap gone; accuracy, points",
        "Adult, asking the model for more, {adult_seeds} seeds: {adult:.0f %}; {adult_gain:+.1f}; "
        "faces {size}x{size} and a network, {faces_seeds} seeds, of which all but one were seen "
        "when the check was designed: weights {weights:.0f %}, asking the model for more "
        "{faces:.0f %}; {faces_gain:+.1f}",
        SAME,
        repaired_generators,
    ),
    Claim(
        "`fit` against a bare PyTorch loop, same network, data and precision",
        "{fit_ratio:.2f} of its images/s (medians; least {least:.2f})",
        "`scripts/bench_fit.py`",
        lambda: bench(
            "fit", fit="fit, bf16-mixed", least="fit against bare loop, least of the rounds"
        ),
    ),
    Claim(
        "bf16 against fp32 in `fit`, network of `ddpm_celeba` at 64x64; of `ddpm_faces` at 32x32",
        "{celeba_ratio:.2f} times the images/s; {faces_ratio:.2f} times",
        "`scripts/bench_fit.py`",
        lambda: bench(
            "fit",
            celeba="bf16-mixed, network of ddpm_celeba",
            faces="bf16-mixed, network of ddpm_faces",
        ),
    ),
    Claim(
        "two gloo processes against one process with two threads",
        "{two_ratio:.2f} of its images/s",
        "`scripts/bench_ddp.py`",
        lambda: bench("ddp", two="two processes, one thread each"),
    ),
    Claim(
        "training on cached latents against pixels, 32x32, a million parameters each, one core",
        "{latents_ratio:.1f} times the images/s",
        "`scripts/bench_latents.py`",
        lambda: bench("latents", latents="latents, 1.10 M parameters"),
    ),
    Claim(
        "25 steps of DPM-Solver++ against 1000 ancestral steps; MMD in features of the project's own small classifiers",
        "{calls_ratio:.0f} times fewer network calls, {speed_ratio:.0f} times the samples/s; MMD "
        "difference {difference:.3f} ({low:.3f} to {high:.3f}), margin {margin:.3f} (what a JPEG "
        "does)",
        "`scripts/bench_sampling.py`",
        lambda: bench(
            "sampling",
            calls="network calls a sample, DPM-Solver++",
            speed="samples, DPM-Solver++",
            difference="MMD difference",
            low="MMD difference, low end of 95 %",
            high="MMD difference, high end of 95 %",
            margin="margin: JPEG of quality 75 on real records",
        ),
    ),
    Claim(
        "rendered faces at 32x32",
        "{faces} a second",
        "`scripts/bench_render.py`",
        rendering,
    ),
    Claim(
        "decoding 6,661 JPEGs of 178x218 to the cache",
        "{speed} a second, {ratio:.2f} of bare pillow in processes",
        "`scripts/bench_cache.py`",
        decoding,
    ),
    Claim(
        "a data module's set-up on a warm cache, 6,661 records",
        "{setup:.2f} s",
        "`scripts/bench_cache.py`",
        lambda: bench("cache", setup="MixDataModule.setup, warm, 6661 records"),
    ),
    Claim(
        "memory growth while decoding; of four times the data",
        "{once:.0f} MiB; {more:.0f} MiB",
        "`scripts/bench_cache.py`",
        lambda: bench(
            "cache",
            once="memory growth while decoding, 1x the data",
            more="memory growth while decoding, 4x the data",
        ),
    ),
    Claim(
        "reading Adult (48,842 rows), MNIST (10,000 digits)",
        "{adult:.2f} s, {mnist:.2f} s",
        "`scripts/bench_sources.py`",
        lambda: bench(
            "sources", adult="Adult, 48842 rows: read and coded", mnist="MNIST, 10000 digits: read"
        ),
    ),
    Claim(
        "mutated releases and samples folders",
        "{examples:,}: {refused:,} refused, {loaded:,} loaded correctly, {failed:,} anything else",
        "`scripts/check_hostile.py`",
        lambda: kept("hostile"),
    ),
)


def measured() -> str:
    """The whole table."""
    return table(("what", "figure", "command"), (claim.cells() for claim in CLAIMS))
