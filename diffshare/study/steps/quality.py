"""Steps that measure samples: how near they are to records, and which shares they show."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from diffshare.classes import join
from diffshare.classifiers.kept import read_kept
from diffshare.data.module import MixDataModule
from diffshare.data.source import PARTS, split
from diffshare.errors import UserError
from diffshare.release.info import class_names
from diffshare.release.samples import read_samples, write_samples
from diffshare.stats.kid import kernel_distance, kernel_distance_difference
from diffshare.stats.prevalence import Method
from diffshare.storage import atomic_folder, write_json
from diffshare.study.engine.configs import built
from diffshare.study.steps.measures import (
    accuracies,
    check,
    compressed,
    exact_shares,
    features,
    interval_of,
    of_share,
    read,
    read_readers,
    training_speed,
    whitening,
)

ARRAYS, REFERENCE = "features.npz", "reference.json"


# --- families -----------------------------------------------------------------------------------------------------


def keep_halves(
    *,
    data: Mapping[str, Any],
    readers: Path,
    names: Sequence[str],
    method: Method,
    count: int,
    out: Path,
    seed: int = 0,
) -> None:
    """Keep what samples are compared with: features of held-out test records, in two halves.

    ``reference.json`` says how far real records are off by the same measures: the kernel distance of one half to the
    other (``kid``), and shares of the properties in ``count`` records of a half, as read and as they are.

    Args:
        data: block of a :class:`MixDataModule`; features are whitened on its training set.
        readers: folder of the classifiers of the properties.
        names: of the properties.
        method: estimator of the shares.
        count: records whose shares are read.
        out: folder to make.
        seed: of the halves.
    """
    module = built(MixDataModule, data)
    module.setup()
    index = module.records().index
    classifiers = read_readers(readers, names, index)
    train, test = module.sets["train"], module.sets["test"]
    if len(test) < 4 * len(classifiers):
        raise UserError(
            f"the source has {len(test)} test records, too few to compare with: raise its count"
        )
    mean, axes = whitening(features(classifiers, train.x[train.rows]))
    halves = np.array_split(np.random.default_rng(seed).permutation(test.rows), 2)
    others, held = ((features(classifiers, test.x[half]) - mean) @ axes for half in halves)
    chosen = halves[0][:count]
    report: dict[str, Any] = {"kid": kernel_distance(others, held), "records": len(chosen)}
    report["shares"] = {
        name: read(one, test.x[chosen], [method])[method] for name, one in classifiers.items()
    }
    report["exact"] = {
        name: float(np.mean(index.attribute(name).codes[chosen] == 1)) for name in names
    }
    report["accuracy"] = accuracies(readers, names)
    with atomic_folder(out) as temporary:
        np.savez(temporary / ARRAYS, mean=mean, axes=axes, held=held, others=others)
        write_json(temporary / REFERENCE, report)


def measure_family(
    *,
    data: Mapping[str, Any],
    readers: Path,
    names: Sequence[str],
    method: Method,
    samples: Path,
    reference: Path,
    mix: Path,
    runs: Sequence[Path],
    out: Path,
    seed: int = 0,
) -> None:
    """Measure the samples of one generator, and how fast it trained; leaves a JSON file.

    ``kid`` is the distance to held-out test records in the readers' features, ``kid_over_real`` how much more that is
    than of other real records, with a jackknife interval. ``shares`` are the shares of class 1 of each property in the
    samples, altogether and by the class asked for; ``exact`` those in the training set. ``checks`` are p-values of the
    assumption that a reader errs on the samples as on real records, by property and class asked for: a small one says
    that its shares are not to be trusted. ``training`` are seconds and images a second of each training run in turn.

    Args:
        data: block of a :class:`MixDataModule` of the source.
        readers: folder of the classifiers of the properties.
        names: of the properties.
        method: estimator of the shares.
        samples: folder.
        reference: folder of :func:`keep_halves`.
        mix: folder of the training set's manifest.
        runs: folders of the trainings.
        out: file to make.
        seed: of the checks.
    """
    module = built(MixDataModule, data)
    index, drawn = module.source.index(), read_samples(samples)
    classifiers = read_readers(readers, names, index)
    own = index.attribute(module.target).classes
    y = join(
        class_names(drawn.info, samples), own, f"the samples in {samples}", "the source"
    ).recode(drawn.y)
    with np.load(reference / ARRAYS) as arrays:
        mean, axes, held, others = (arrays[name] for name in ("mean", "axes", "held", "others"))
    place = (features(classifiers, drawn.x) - mean) @ axes
    count = min(len(place), len(others))
    by_class = [drawn.x[y == k] for k in range(1 + max(0, int(y.max())))]
    report: dict[str, Any] = {"kid": kernel_distance(place, held)}
    report["kid_over_real"] = interval_of(
        kernel_distance_difference(place[:count], others[:count], held)
    )
    report |= {"shares": {}, "shares_by_class": {}, "checks": {}}
    for name, one in classifiers.items():
        report["shares"][name] = read(one, drawn.x, [method])[method]
        report["shares_by_class"][name] = [read(one, x, [method])[method] for x in by_class]
        report["checks"][name] = [check(one, x, seed) for x in by_class]
    report |= exact_shares(mix / "records.csv", index, names)
    write_json(out, report | {"training": [training_speed(run) for run in runs]})


# --- protection ---------------------------------------------------------------------------------------------------


def keep_by_share(
    *,
    data: Mapping[str, Any],
    readers: Path,
    names: Sequence[str],
    attribute: str,
    shares: Sequence[float],
    count: int,
    out: Path,
) -> None:
    """Keep what samples are compared with, for each share of a property.

    ``features.npz`` has the features of ``count`` test records of that share, whitened on auxiliary records;
    ``real-SHARE`` is a samples folder of as many records of the sharer's part. ``reference.json`` has, as a yardstick
    of kernel distances, what JPEG of quality 75 adds to the distance of ``real-SHARE`` (``jpeg``).

    Args:
        data: block of a :class:`MixDataModule` of the source.
        readers: folder of the classifiers whose features are compared.
        names: theirs.
        attribute: the property.
        shares: of it.
        count: records of each share.
        out: folder to make.
    """
    module = built(MixDataModule, data)
    records, classifiers = module.records(), {name: read_kept(readers / name) for name in names}
    parts = split(records.index, module.source.shares, module.seed)
    target, codes = (
        records.index.attribute(name).codes.astype(np.int64) for name in (module.target, attribute)
    )
    labelled, classes = (target >= 0) & (codes >= 0), records.index.attribute(module.target).classes
    rows = {part: np.flatnonzero(labelled & (parts == PARTS.index(part))) for part in PARTS}
    mean, axes = whitening(features(classifiers, records.x[rows["auxiliary"]]))
    arrays, jpeg = {"mean": mean, "axes": axes}, {}
    with atomic_folder(out) as temporary:
        for share in shares:
            rng = np.random.default_rng([module.seed, round(1000 * share)])
            held, real = (
                rows[part][of_share(codes[rows[part]] == 1, count, share, rng, part)]
                for part in ("test", "sharer")
            )
            x = records.x[real]
            place = arrays[_held(share)] = (features(classifiers, records.x[held]) - mean) @ axes
            before, after = (
                (features(classifiers, images) - mean) @ axes for images in (x, compressed(x))
            )
            jpeg[f"{share:g}"] = kernel_distance_difference(after, before, place).estimate
            info = {
                "labels": "records of the sharer's part",
                "classes": list(classes),
                "target": module.target,
            }
            write_samples(temporary / f"real-{share:g}", x, target[real], info)
        np.savez(temporary / ARRAYS, **arrays)  # type: ignore[arg-type]
        write_json(temporary / REFERENCE, {"jpeg": jpeg, "records": count})


def measure_protected(
    *,
    samples: Path,
    readers: Path,
    names: Sequence[str],
    reference: Path,
    shares: Sequence[float],
    receivers: Path,
    receiver_names: Sequence[str],
    out: Path,
    plain: Path | None = None,
    run: Path | None = None,
) -> None:
    """Measure a samples folder; leaves a JSON file.

    ``kid`` is the distance to real records of each share; ``kid_difference``, of protected samples, how much farther
    they are than the plain ones, with a jackknife interval. ``read`` is the share of the property that each receiver
    reads by every method, ``reader_accuracy`` how good its classifier is on records that it has not seen.
    ``training`` are seconds and images a second, where a run is named.

    Args:
        samples: folder.
        readers: folder of the classifiers whose features are compared.
        names: theirs.
        reference: folder of :func:`keep_by_share`.
        shares: of the property, of those that ``reference`` has.
        receivers: folder of the receivers' classifiers of the property.
        receiver_names: theirs.
        out: file to make.
        plain: samples folder of the same model without protection.
        run: folder of the model's training.
    """
    classifiers, x = {name: read_kept(readers / name) for name in names}, read_samples(samples).x
    with np.load(reference / ARRAYS) as arrays:
        mean, axes = arrays["mean"], arrays["axes"]
        held = {f"{share:g}": arrays[_held(share)] for share in shares}
    place = (features(classifiers, x) - mean) @ axes
    report: dict[str, Any] = {
        "kid": {share: kernel_distance(place, real) for share, real in held.items()}
    }
    if plain is not None:
        before = (features(classifiers, read_samples(plain).x) - mean) @ axes
        differences = {
            share: kernel_distance_difference(place, before, real) for share, real in held.items()
        }
        report["kid_difference"] = {share: interval_of(one) for share, one in differences.items()}
    report["read"] = {name: read(read_kept(receivers / name), x) for name in receiver_names}
    report["reader_accuracy"] = accuracies(receivers, receiver_names)
    report["training"] = None if run is None else training_speed(run)
    write_json(out, report)


def _held(share: float) -> str:
    return f"held-{share:g}"
