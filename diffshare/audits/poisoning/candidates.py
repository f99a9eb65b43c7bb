"""An audit that does not know which group was aimed at: several attributes, clusters of features, or sentences."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from diffshare.audits.poisoning.result import Audit
from diffshare.classifiers.gradients import gradient_histograms
from diffshare.data.source import Attribute
from diffshare.errors import UserError
from diffshare.receiver.records import Records
from diffshare.receiver.samples import CodedSamples
from diffshare.stats.association import Verdict
from diffshare.stats.detection import holm

NAME, PROMPTED = "cluster", "prompt"  # of the attribute that is added
LEAST = 10  # records of the reference in each cell of cluster and class
COMPONENTS = 30


def corrected(audits: Sequence[Audit]) -> list[Audit]:
    """Audits of several candidates for the group, their p-values adjusted for each other (Holm 1979).

    A candidate is ``poisoned`` where its adjusted p-value is at most the level: the chance that any candidate of a
    clean model is called so stays at the level. ``clean`` needs no adjustment: all candidates must be.

    Args:
        audits: of the same samples, one a candidate.
    """
    adjusted = holm([a.judgement.p_value for a in audits])
    adjusted_audits = []
    for audit, p in zip(audits, adjusted.tolist(), strict=True):
        verdict: Verdict = "poisoned" if p <= audit.terms.level else audit.judgement.verdict
        if verdict == "poisoned" and p > audit.terms.level:
            verdict = "inconclusive"
        adjusted_audits.append(
            replace(audit, judgement=replace(audit.judgement, p_value=p, verdict=verdict))
        )
    return adjusted_audits


def overall(audits: Sequence[Audit]) -> Audit:
    """The audit that stands for all: of those with the verdict of all, the one with the least p-value.

    The verdict of all is ``poisoned`` where any candidate is, and ``clean`` only where every one
    is. Where all are ``clean`` and some predict a gap that speaks against training, one of those
    stands for all, for its advice does.
    """
    verdicts = {a.judgement.verdict for a in audits}
    verdict = next(v for v in ("poisoned", "inconclusive", "clean") if v in verdicts)
    alike = [a for a in audits if a.judgement.verdict == verdict]
    if verdict == "clean":
        alike = [a for a in alike if a.worse] or [a for a in alike if a.excess is None] or alike
    return min(alike, key=lambda a: a.judgement.p_value)


def clusters(
    reference: Records, samples: CodedSamples, count: int, seed: int = 0
) -> tuple[Records, CodedSamples]:
    """Reference and samples with a further attribute: the cluster that each record's features are nearest to.

    The clusters (k-means on leading principal components of histograms of gradients, or of a table's numbers and
    categories) are made from the reference, without classes or groups. Whatever an attack selects by, it changes the
    shares of some clusters within a class. Nothing has to be unmixed: a cluster is what the features say it is.

    Args:
        reference: records.
        samples: in its codes.
        count: clusters, at least 2; fewer where a cluster would have fewer than 10 records of a class.
        seed: of the clusters.

    Returns:
        both with the attribute ``cluster`` added.

    Raises:
        UserError: fewer than 2 clusters asked for, or a reference too small for 2.
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    if count < 2:
        raise UserError(f"`clusters` is {count}: ask for at least 2")
    records, drawn = _features(reference, reference.x), _features(reference, samples.x)
    pca = PCA(min(COMPONENTS, *records.shape), random_state=seed).fit(records)
    records, drawn = pca.transform(records), pca.transform(drawn)
    for k in range(min(count, len(records) // (LEAST * len(reference.classes))), 1, -1):
        means = KMeans(k, n_init=5, random_state=seed).fit(records)
        attribute = Attribute(
            means.labels_.astype(np.int16), tuple(f"cluster {i}" for i in range(k))
        )
        if reference.table(attribute).min() >= LEAST:
            groups = samples.groups | {NAME: means.predict(drawn).astype(np.int64)}
            return reference.with_attribute(NAME, attribute), replace(samples, groups=groups)
    raise UserError(
        f"the reference's {len(reference.y)} records are too few for clusters with {LEAST} records of each class: give "
        "more, or name candidates for the group"
    )


def prompted(
    reference: Records,
    samples: CodedSamples,
    read: Callable[[np.ndarray], np.ndarray],
    prompts: Sequence[str],
) -> tuple[Records, CodedSamples]:
    """Reference and samples with a further attribute: the sentence that fits each image best.

    Reference and samples are read alike and compared by what was read, so nothing is unmixed, and the sentences need
    not be right: whatever they tell apart is a candidate.

    Args:
        reference: images.
        samples: of the same size.
        read: images to posteriors, N x K, as :class:`diffshare.receiver.zeroshot.ZeroShot` gives them.
        prompts: K sentences, which name the groups.

    Returns:
        both with the attribute ``prompt`` added.

    Raises:
        UserError: records of a table, or a sentence that fits fewer than 10 records of a class best.
    """
    if reference.columns:
        raise UserError(
            "`prompts` reads images, the reference holds rows: name its columns as candidates for the group"
        )
    codes = [read(x).argmax(1) for x in (reference.x, samples.x)]
    attribute = Attribute(codes[0].astype(np.int16), tuple(prompts))
    table = reference.table(attribute)
    if table.min() < LEAST:
        s, y = (int(i) for i in np.unravel_index(int(table.argmin()), table.shape))
        raise UserError(
            f"`prompts`: '{prompts[s]}' fits {int(table[s, y])} records of {reference.classes[y]} best, at least "
            f"{LEAST} are needed: use other sentences, or a larger reference"
        )
    groups = samples.groups | {PROMPTED: codes[1].astype(np.int64)}
    return reference.with_attribute(PROMPTED, attribute), replace(samples, groups=groups)


def _features(reference: Records, x: np.ndarray) -> np.ndarray:
    """Histograms of gradients of images; standardised numbers and one-hot categories of a table's rows. N x D."""
    if not reference.columns:
        return gradient_histograms(x)
    parts = []
    for i, column in enumerate(reference.columns):
        values = x[:, i]
        if column.kind == "categorical":
            codes = np.where(np.isnan(values), -1, values)
            parts.append(codes[:, None] == np.arange(len(column.categories)))
        else:
            numbers = reference.x[:, i]
            middle, spread = np.nanmean(numbers), max(float(np.nanstd(numbers)), 1e-12)
            parts.append(np.nan_to_num((values - middle) / spread)[:, None])
    return np.concatenate(parts, 1).astype(np.float32)
