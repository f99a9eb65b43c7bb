"""One cut of real records for the study of the adaptive sharer: a set for each margin, its gap and its alarms.

Real records stand in for a generator that makes no mistakes, so that what is measured is the audit alone. The sharer's
counts are the best within the margin; the records of a cell are drawn at random, without the constraint on I(X;Y), so
that the attack is no weaker than the policy ``Adaptive``. Everything that is drawn has a seed of its own: a margin, a
number of queries or an audit more changes nothing of the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from diffshare.audits.poisoning.reading import group_reader
from diffshare.audits.poisoning.verdict import Terms
from diffshare.classifiers.gradients import gradient_histograms
from diffshare.classifiers.recipes import KernelRecipe, Recipe
from diffshare.data.source import Source
from diffshare.errors import UserError
from diffshare.receiver.records import Records
from diffshare.sharer.poisoning.adaptive import bounded_allocations
from diffshare.stats.association import Reference, compare, log_odds_ratio
from diffshare.stats.detection import power
from diffshare.stats.fairness import disparity
from diffshare.stats.information import contingency
from diffshare.stats.shares import GroupShares, counted_shares, unmixed_shares
from diffshare.storage import write_json
from diffshare.study.engine.base import Row
from diffshare.study.engine.configs import built


def measure(
    *,
    source: Mapping[str, Any],
    classifier: Mapping[str, Any],
    target: str,
    sensitive: str,
    sizes: Mapping[str, int],
    sets: Mapping[str, Any],
    audit: Mapping[str, Any],
    seed: int,
    out: Path,
) -> None:
    """Measure one cut; leaves a JSON file.

    ``rows`` has the sets, by the margin that the sharer keeps (0: a random set): ``difference`` of
    its log odds ratio from the pool's, ``gap``, ``gap_signed`` (group 1 minus group 0) and
    ``accuracy`` of a classifier trained on it, and the share of its audits that are ``flagged`` for
    each number of queries. ``least_alpha`` is the least poisoned share of an attack without a
    margin that each number of queries detects, null where none is.

    Args:
        source: block of a source.
        classifier: block of a recipe.
        target: the class Y.
        sensitive: the group S.
        sizes: ``reference``, ``test`` and ``n``, see :func:`cut_records`.
        sets: ``margins`` beside 0, ``alpha``, and how many ``trainings`` each set has.
        audit: ``queries``, numbers of samples; ``repeats``, audits of each; ``margin`` and ``level``.
        seed: of the cut.
        out: file to make.
    """
    records = Records.from_source(
        built(Source, source), target=target, sensitive=(sensitive,), part="all"
    )
    recipe = built(Recipe, classifier)
    # all that it sees of an image, once for all
    if isinstance(recipe, KernelRecipe) and not records.columns:
        records = records.with_features(gradient_histograms(records.x))
    cut = cut_records(records, sensitive, **sizes, seed=seed)
    terms = Terms(margin=audit["margin"], level=audit["level"])
    auditor = Auditor(cut, sensitive, recipe, seed)
    pool = log_odds_ratio(cut.counts(cut.pool).astype(np.float64))
    n, alpha, queries = sizes["n"], sets["alpha"], audit["queries"]

    def table_of(margin: float) -> tuple[np.ndarray, np.ndarray]:
        chosen = cut.chosen(margin, n, alpha, np.random.default_rng([seed, 2]))
        return chosen, cut.counts(chosen)

    rows: list[Row] = []
    for margin in (0.0, *sets["margins"]):
        chosen, counts = table_of(margin)
        table = counts.astype(np.float64)
        row = {"margin": margin, "difference": log_odds_ratio(table + 0.5) - pool}
        row |= cut.trained(chosen, recipe, sets["trainings"], seed)._asdict()
        flagged = {
            str(q): auditor.flagged(table, q, audit["repeats"], terms, seed) for q in queries
        }
        rows.append(row | {"flagged": flagged})
    clean = table_of(0.0)[1]
    least = {str(q): auditor.least_alpha(clean, q, terms, seed) for q in queries}
    write_json(out, {"rows": rows, "least_alpha": least, "reader_accuracy": auditor.accuracy})


class Trained(NamedTuple):
    """Demographic parity gap (absolute), accuracy, and the gap as group 1 minus group 0."""

    gap: float
    accuracy: float
    gap_signed: float


@dataclass(frozen=True)
class Cut:
    """Labelled records in three disjoint parts, positions each.

    Attributes:
        records: all N.
        s: group of each record, 0 or 1, int64, N.
        reference: the receiver's records.
        test: records that the gap is measured on.
        pool: of which the sharer chooses, in random order.
    """

    records: Records
    s: np.ndarray
    reference: np.ndarray
    test: np.ndarray
    pool: np.ndarray

    def counts(self, rows: np.ndarray) -> np.ndarray:
        """S x Y counts of these records, 2 x 2."""
        return contingency(self.s[rows], self.records.y[rows], 2, 2)

    def cell(self, rows: np.ndarray, group: int, label: int) -> np.ndarray:
        """Those of these records that are of a group and a class."""
        return rows[(self.s[rows] == group) & (self.records.y[rows] == label)]

    def chosen(self, margin: float, n: int, alpha: float, rng: np.random.Generator) -> np.ndarray:
        """A training set of ``n`` records: a share ``alpha`` of them is the best within the margin, the rest random.

        Args:
            margin: greatest difference of the log odds ratio from the pool's; 0 is a random set.
            n: records.
            alpha: in (0, 1].
            rng: draws the records of each cell.

        Raises:
            UserError: no counts keep the margin.
        """
        additions = round(alpha * n)
        base, rest = self.pool[: n - additions], self.pool[n - additions :]
        if not margin:
            return self.pool[:n]
        odds = log_odds_ratio(self.counts(self.pool).astype(np.float64))
        tables, _ = bounded_allocations(
            self.counts(base), self.counts(rest), additions, odds - margin, odds + margin
        )
        if not len(tables):
            raise UserError(
                f"no choice of {additions} records keeps the log odds ratio within {margin:g} of the pool's "
                f"({odds:.3f}): raise study.sets.alpha, or take the margin {margin:g} out of study.sets.margins"
            )
        cells = [self.cell(rest, group, label) for group in (0, 1) for label in (0, 1)]
        added = [
            rng.permutation(c)[:k] for c, k in zip(cells, tables[0].ravel().tolist(), strict=True)
        ]
        return np.concatenate([base, *added])

    def trained(self, chosen: np.ndarray, recipe: Recipe, trainings: int, seed: int) -> Trained:
        """A classifier of the set, on the test records: means over trainings.

        The receiver chooses how many samples of each class he draws: a classifier is trained on as many of each as of
        the other, drawn from the set with replacement.
        """
        records, test = self.records, self.test
        members = [chosen[records.y[chosen] == label] for label in (0, 1)]
        measured = []
        for number in range(trainings):
            rng = np.random.default_rng([seed, 3, number])
            rows = np.concatenate([rng.choice(own, len(chosen) // 2) for own in members])
            scorer = recipe.train(
                records.x[rows], records.y[rows], 2, seed * 1000 + number, records.categorical()
            )
            cells = (self.s[test] * 2 + records.y[test]) * 2 + scorer(records.x[test]).argmax(1)
            fairness = disparity(np.bincount(cells, minlength=8).reshape(2, 2, 2))
            signed = fairness.demographic_parity_difference_signed
            measured.append((fairness.demographic_parity_difference, fairness.accuracy, signed))
        return Trained(*np.mean(measured, 0).tolist())


def cut_records(
    records: Records, sensitive: str, reference: int, test: int, n: int, seed: int
) -> Cut:
    """Cut all records anew.

    Args:
        records: all there are.
        sensitive: the group attribute.
        reference: records of the receiver.
        test: test records.
        n: records of a training set; the pool holds what is left, more than that.
        seed: of the cut.

    Raises:
        UserError: too few records, or other than two groups and two classes.
    """
    group = records.group(sensitive)
    if len(group.classes) != 2 or len(records.classes) != 2:
        raise UserError(
            f"'{sensitive}' has {len(group.classes)} groups and '{records.target}' {len(records.classes)} classes: the "
            "adaptive sharer knows two groups and two classes, name other attributes"
        )
    if len(records.y) <= reference + test + n:
        raise UserError(
            f"the source has {len(records.y)} records, study.sizes has {reference} + {test} + {n} = "
            f"{reference + test + n}: lower them, the sharer needs more records than it chooses"
        )
    order = np.random.default_rng([seed, 1]).permutation(len(records.y))
    return Cut(
        records, group.codes.astype(np.int64), *np.split(order, [reference, reference + test])
    )


class Auditor:
    """The receiver's audit of samples of a generator with a given S x Y table.

    Where the group is a column of the samples it is counted; where it is not, a classifier that is cross-fitted on the
    reference reads it. It scores the pool once: a sample of a cell is a record of the pool's cell, drawn with
    replacement.

    Args:
        cut: the records.
        sensitive: the group attribute.
        recipe: of the classifier.
        seed: of its folds and training.
    """

    def __init__(self, cut: Cut, sensitive: str, recipe: Recipe, seed: int) -> None:
        records, hidden = cut.records, cut.records.places((sensitive,))
        self.reader = group_reader(
            records.part(cut.reference),
            sensitive,
            column=bool(hidden),
            recipe=recipe,
            seed=seed,
        )
        self.reference = Reference(self.reader.table)
        self.accuracy: float | None = None
        self.scores: dict[tuple[int, int], np.ndarray] = {}
        if (classifier := self.reader.classifier) is not None:
            self.accuracy, self.calibrations = classifier.accuracy, self.reader.calibrations()
            for group, label in np.ndindex(2, 2):
                self.scores[group, label] = classifier.scores(
                    records.x[cut.cell(cut.pool, group, label)]
                )

    def shares(self, table: np.ndarray, queries: int, rng: np.random.Generator) -> GroupShares:
        """P(s|y) as the audit sees it in ``queries`` samples, as many of each class."""
        counts = np.stack(
            [rng.multinomial(queries // 2, table[:, k] / table[:, k].sum()) for k in (0, 1)], 1
        )
        if not self.scores:
            return counted_shares(counts)
        drawn = []
        for label in (0, 1):
            cells = [self.scores[group, label] for group in (0, 1)]
            parts = [
                c[:, rng.integers(c.shape[1], size=k)]
                for c, k in zip(cells, counts[:, label], strict=True)
            ]
            drawn.append(np.concatenate(parts, 1))
        return unmixed_shares(self.calibrations, drawn)

    def flagged(
        self, table: np.ndarray, queries: int, audits: int, terms: Terms, seed: int
    ) -> float:
        """Share of audits that call the generator poisoned: |d| <= margin is rejected at the level."""
        rng = np.random.default_rng([seed, 4, queries])
        p_values = [self.p_value(self.shares(table, queries, rng), terms) for _ in range(audits)]
        return float(np.mean(np.array(p_values) <= terms.level))

    def p_value(self, shares: GroupShares, terms: Terms) -> float:
        """The p-value of :func:`diffshare.audits.poisoning.verdict.judge`, without its power."""
        (association,) = compare(shares, self.reference)
        return association.difference.p_value(terms.tolerance.at(association.reference[0]))

    def least_alpha(self, table: np.ndarray, queries: int, terms: Terms, seed: int) -> float | None:
        """The least poisoned share that the audit of such samples sees, of an attack without a margin."""
        shares = self.shares(table, queries, np.random.default_rng([seed, 5, queries]))
        asked = {"wanted": terms.wanted, "power": terms.power}
        return power(shares, self.reference, terms.tolerance, terms.each, **asked).alpha
