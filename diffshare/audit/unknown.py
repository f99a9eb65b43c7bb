"""An audit that does not know which group was aimed at: several attributes, or clusters of the records' features."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from diffshare.audit.material import ReferenceRecords, SampledRecords
from diffshare.audit.poisoning import Audit
from diffshare.classifiers.gradients import gradient_histograms
from diffshare.data.source import Attribute
from diffshare.errors import UserError
from diffshare.stats.association import Verdict
from diffshare.stats.detection import holm

NAME = "cluster"  # of the attribute that is added
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
    found = []
    for audit, p in zip(audits, adjusted.tolist(), strict=True):
        verdict: Verdict = "poisoned" if p <= audit.terms.level else audit.judgement.verdict
        if verdict == "poisoned" and p > audit.terms.level:
            verdict = "inconclusive"
        found.append(replace(audit, judgement=replace(audit.judgement, p_value=p, verdict=verdict)))
    return found


def overall(audits: Sequence[Audit]) -> Audit:
    """The audit that stands for all: the one with the least p-value; ``clean`` only where every candidate is."""
    strongest = min(audits, key=lambda a: a.judgement.p_value)
    verdicts = {a.judgement.verdict for a in audits}
    verdict: Verdict = strongest.judgement.verdict
    if verdict == "clean" and verdicts != {"clean"}:
        verdict = "inconclusive"
    return replace(strongest, judgement=replace(strongest.judgement, verdict=verdict))


def clusters(
    reference: ReferenceRecords, samples: SampledRecords, count: int, seed: int = 0
) -> tuple[ReferenceRecords, SampledRecords]:
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
    if count < 2:
        raise UserError(f"--clusters is {count}: ask for at least 2")
    known, made = _features(reference, reference.x), _features(reference, samples.x)
    pca = PCA(min(COMPONENTS, *known.shape), random_state=seed).fit(known)
    known, made = pca.transform(known), pca.transform(made)
    for k in range(count, 1, -1):
        means = KMeans(k, n_init=5, random_state=seed).fit(known)
        attribute = Attribute(means.labels_.astype(np.int16), tuple(f"cluster {i}" for i in range(k)))
        if reference.table(attribute).min() >= LEAST:
            attributes = reference.attributes | {NAME: attribute}
            groups = samples.groups | {NAME: means.predict(made).astype(np.int64)}
            return replace(reference, attributes=attributes), replace(samples, groups=groups)
    raise UserError(
        f"the reference's {len(reference.y)} records are too few for clusters with {LEAST} records of each class: give "
        "more, or name candidates with --candidates"
    )


def _features(reference: ReferenceRecords, x: np.ndarray) -> np.ndarray:
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
            known = reference.x[:, i]
            middle, spread = np.nanmean(known), max(float(np.nanstd(known)), 1e-12)
            parts.append(np.nan_to_num((values - middle) / spread)[:, None])
    return np.concatenate(parts, 1).astype(np.float32)
