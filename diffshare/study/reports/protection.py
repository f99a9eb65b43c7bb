"""What the protection study found: a row a samples folder, and what the rows say together."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from diffshare.study.engine.base import Row
from diffshare.study.reports.common import grouped, interval, mean_of, means
from diffshare.study.steps.grid import REAL

JUDGED = "pacc"  # method of the first receiver that errors are told by
# what is aimed at: how far off the chosen share, change of the accuracy
READING, ACCURACY = 0.05, -0.02
KIND = ("model", "protection")
# what the summary averages: the field, its heading, its digits
MEASURES: dict[str, tuple[str, int]] = {
    "epsilon": ("epsilon", 2),
    "noise_multiplier": ("noise", 2),
    "kid": ("MMD", 4),
    "accuracy": ("accuracy", 3),
    "property_error": ("property error", 3),
    "advantage": ("advantage", 3),
    "auroc": ("AUROC", 3),
    "audited_error": ("audited error", 3),
    "training_seconds": ("training s", 0),
    "queries_a_sample": ("queries a sample", 1),
    "jpeg": ("JPEG adds", 4),
}


def sample_row(shared: Row, left: Mapping[str, Any], tested: Sequence[Row]) -> Row | None:
    """One samples folder.

    Args:
        shared: ``model``, ``p``, ``seed``, ``protection``, ``shown`` and more that says what it is.
        left: JSON that the steps left, None where one is not done: ``measured``; ``drawn``, with the ``queries`` that
            the model was asked for; ``card`` of the release; ``audit`` of the sharer; ``reference`` of the seed.
        tested: results of each training of the receiver's classifier.

    Returns:
        None where nothing was measured. ``kid`` is the distance to real records of the true share, ``kid_to`` that to
        real records of each share; ``read`` what each receiver reads by each method; ``property_error`` how far off
        the share that the samples were to show (the true one of plain samples) the first receiver's PACC is;
        ``accuracy`` the mean of ``accuracies``, one a training, on ``test_records`` real records.
    """
    measured, drawn, p = left["measured"], left["drawn"] or {}, f"{shared['p']:g}"
    if measured is None:
        return None
    row = shared | {"kid": measured["kid"][p], "kid_to": measured["kid"]}
    row |= {"read": measured["read"], "reader_accuracy": measured["reader_accuracy"]}
    first = next(iter(measured["read"].values()))
    row["property_error"] = abs(
        first[JUDGED] - float(shared["p"] if shared["shown"] is None else shared["shown"])
    )
    row["accuracies"] = [one["accuracy"] for one in tested]
    row["accuracy"] = mean_of(row["accuracies"])
    row["test_records"] = sum(np.ravel(tested[0]["counts"]).tolist()) if tested else None
    row["kid_difference"] = measured.get("kid_difference")
    row["training_seconds"] = (measured["training"] or {}).get("seconds")
    row["epsilon"] = left["card"] and left["card"]["epsilon"]
    row["queries_a_sample"] = (
        float(drawn["queries"] / drawn["count"]) if "queries" in drawn else None
    )
    of_records = shared["model"] == REAL and left["reference"]
    return (
        row
        | {"jpeg": left["reference"]["jpeg"][p] if of_records else None}
        | _audited(left["audit"])
    )


def _audited(audit: Mapping[str, Any] | None) -> Row:
    """What the sharer's audit says of members, and how far off it reads the property, by method."""
    row: Row = dict.fromkeys(
        ("advantage", "advantage_interval", "auroc", "auroc_interval", "audited_error")
    )
    row |= {"audited_errors": None, "not_tested": None}
    if audit is None:
        return row
    members = audit["membership"] or {}
    for name in ("advantage", "auroc"):
        if one := members.get(name):
            row |= {name: one["estimate"], f"{name}_interval": one["interval"]}
    row["not_tested"] = members.get("reason")
    (leak,) = audit["properties"]
    row["audited_errors"] = {one["method"]: one["error"] for one in leak["methods"]} or None
    error = (row["audited_errors"] or {}).get(leak["method"])
    return row | {"audited_error": None if error is None else abs(error)}


def paired(row: Row, plain: Row | None) -> Row:
    """The row of protected samples with its differences to the plain samples of the same model.

    Returns:
        with ``plain_read``, and ``accuracy_differences``, one a training of the same seed, and their mean
        ``accuracy_difference``; None where a side is not there.
    """
    pairs = [] if plain is None else list(zip(row["accuracies"], plain["accuracies"], strict=False))
    differences = [after - before for after, before in pairs]
    return row | {
        "plain_read": None if plain is None else plain["read"],
        "accuracy_differences": differences,
        "accuracy_difference": mean_of(differences),
    }


def summarise(rows: Sequence[Row], generators: int, level: float) -> list[Row]:
    """Means over true shares and seeds, and what protection by a chosen share hides and costs.

    Args:
        rows: of :class:`diffshare.study.protection.Protection`.
        generators: rows that each kind of model and way of drawing has where no step failed.
        level: of the t intervals, which are over generators.

    Returns:
        entries with ``model``, ``protection``, ``shown``, ``records``, ``bound``, ``generators``, ``missing``, and
        ``mean``, ``interval``, ``n`` of each of ``MEASURES``; those with a share to show also have ``attacks``,
        ``best``, ``by_p`` and ``criteria`` (see :func:`hidden`).
    """
    entries = []
    for mine in grouped(rows, KIND).values():
        entry: Row = {
            name: mine[0][name] for name in ("model", "protection", "shown", "records", "bound")
        }
        entry |= {"generators": len(mine), "missing": generators - len(mine), "level": level}
        entry |= means(mine, MEASURES, level)
        entries.append(
            entry if entry["shown"] is None else entry | hidden(mine, generators - len(mine), level)
        )
    return entries


def kind_of(entry: Row) -> tuple[str, str]:
    """The kind of model and the way of drawing, of a row or an entry of the summary."""
    return entry["model"], entry["protection"]


def hidden(rows: Sequence[Row], missing: int, level: float) -> Row:
    """What a chosen share hides and costs, over generators.

    Args:
        rows: of protected samples that show one share.
        missing: generators without a row.
        level: of the intervals.

    Returns:
        ``attacks``: by receiver and method the mean distance of its reading to the true share on plain samples
        (``plain_error``), and to the chosen share on protected ones (``error``, ``largest``). ``best``: of each
        receiver the method that reads plain samples best. ``by_p``: what that method reads of protected samples at
        each true share. ``criteria``: of each aim its ``value``, ``interval``, ``worst`` generator, ``limit``, and
        whether it is ``reached`` (null where there is no aim, a generator is missing, or the mean of the accuracy
        reaches it and its interval does not).
    """
    chosen = float(rows[0]["shown"])
    both = [row for row in rows if row["plain_read"] is not None]
    attacks, best, by_p, criteria = [], {}, {}, []
    for receiver, methods in rows[0]["read"].items():
        mine = [_attack(both, rows, receiver, method, level) for method in methods]
        attacks += mine
        if not both:
            continue
        one = min(mine, key=lambda attack: attack["plain_error"]["mean"])
        best[receiver] = method = one["method"]
        by_p[receiver] = {
            f"{p:g}": interval(
                [row["read"][receiver][method] for row in rows if row["p"] == p], level
            )
            for p in dict.fromkeys(row["p"] for row in rows)
        }
        reached = one["largest"] <= READING
        what = f"|share read - {chosen:g}|, {receiver} receiver's best method ({method})"
        criteria.append(_criterion(what, one["error"], one["largest"], READING, reached, missing))
    change = [row["accuracy_difference"] for row in rows]
    mean = interval(change, level)
    if mean["mean"] is not None:
        reached = _accuracy_is_kept(mean)
        criteria.append(
            _criterion(
                "downstream accuracy, difference", mean, min(change), ACCURACY, reached, missing
            )
        )
    for name in ("true", "chosen"):
        kids = [
            row["kid_difference"][f"{row['p'] if name == 'true' else chosen:g}"]["estimate"]
            for row in rows
        ]
        what = f"MMD to real records of the {name} share, difference"
        criteria.append(_criterion(what, interval(kids, level), max(kids), None, None, missing))
    return {"attacks": attacks, "best": best, "by_p": by_p, "criteria": criteria}


def _accuracy_is_kept(mean: Mapping[str, Any]) -> bool | None:
    """Whether accuracy falls by no more than the aim: None where the mean says so and the interval does not."""
    if mean["mean"] < ACCURACY:
        return False
    return True if mean["interval"] and mean["interval"][0] >= ACCURACY else None


def _attack(
    both: Sequence[Row], rows: Sequence[Row], receiver: str, method: str, level: float
) -> Row:
    plain = [abs(row["plain_read"][receiver][method] - row["p"]) for row in both]
    errors = [abs(row["read"][receiver][method] - row["shown"]) for row in rows]
    attack: Row = {"receiver": receiver, "method": method, "plain_error": interval(plain, level)}
    return attack | {"error": interval(errors, level), "largest": max(errors)}


def _criterion(
    what: str,
    mean: Mapping[str, Any],
    worst: float,
    limit: float | None,
    reached: bool | None,
    missing: int,
) -> Row:
    """One aim; what some generators reach is not yet reached by all."""
    value = {"value": mean["mean"], "interval": mean["interval"], "worst": worst, "limit": limit}
    return {"what": what, **value, "reached": None if reached and missing else reached}
