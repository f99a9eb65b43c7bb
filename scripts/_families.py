"""Tables and sentences of the families study, for README and docs/families.md."""

from collections.abc import Mapping, Sequence
from typing import Any

from _kept import estimate, kept, table, wrapped

MEASURES = {"excess_gap": "excess gap", "bias_passed_on": "bias passed on", "bias_error": "distance of that to 1",
            "property_error": "property error"}  # fmt: skip


def summary() -> list[dict[str, Any]]:
    """The entries of the kept summary."""
    entries: list[dict[str, Any]] = kept("families")["summary"]
    return entries


def families() -> list[dict[str, Any]]:
    """Those of families."""
    return [entry for entry in summary() if "family" in entry]


def contrasts() -> list[dict[str, Any]]:
    """Those of kinds."""
    return [entry for entry in summary() if "contrast" in entry]


def shown(entry: Mapping[str, Any], field: str, form: str = ".2f") -> str:
    """A field of an entry; empty where it is not defined."""
    value = estimate(entry.get(field, {"mean": None, "interval": None}))
    return "" if value.mean is None else format(value, form)


def mean(entry: Mapping[str, Any], field: str, form: str = ".2f") -> str:
    """Its mean alone."""
    value = entry.get(field, {"mean": None})["mean"]
    return "" if value is None else format(value, form)


def receiver() -> str:
    """The receiver's classifier of the kept run."""
    vae = "The VAE is a class-conditional one of this project, where the paper has RHVAE."
    return wrapped(
        f"The receiver's classifier is `SmallResNet`, as the paper's LeNet is for 32x32. {vae}"
    )


def short() -> str:
    """README's table: means alone."""
    header = (
        "family",
        "MMD",
        "excess gap by poisoning",
        "bias passed on",
        "property error",
        "samples/s, busy cores",
        "network calls",
    )
    fields = (("kid", ".3f"), ("excess_gap", ".2f"), ("bias_passed_on", ".2f"), ("property_error", ".2f"),
              ("samples_per_second", ",.0f"), ("network_calls", ".0f"))  # fmt: skip
    return table(
        header,
        ([e["family"], *(mean(e, field, form) for field, form in fields)] for e in families()),
    )


def outcomes() -> str:
    """What each family passes on, with intervals."""
    header = ("family", "MMD", "excess gap", "of absolute gaps", "bias passed on", "property error", "class shown",
              "accuracy, clean", "readers' checks passed")  # fmt: skip
    rows = [
        (f"`{e['family']}`", shown(e, "kid", ".3f"), shown(e, "excess_gap"), mean(e, "excess_gap_absolute"),
         shown(e, "bias_passed_on"), shown(e, "property_error"), shown(e, "class_shown"), mean(e, "accuracy"),
         mean(e, "checks_passed"))
        for e in families()
    ]  # fmt: skip
    return table(header, rows)


def ordering() -> str:
    """The paper's ordering: differences of kinds, adjusted p-values, verdicts."""
    rows = []
    for entry in contrasts():
        cells = [
            f"{shown(entry, field)}, p {_p(entry['p_values'][field])}, {entry['ordering'][field]}"
            for field in MEASURES
        ]
        rows.append([entry["contrast"], *cells])
    return table(("contrast", *MEASURES.values()), rows)


def _p(value: float | None) -> str:
    if value is None:
        return "undefined"
    return f"{value:.2f}" if value >= 0.095 else f"{value:.1g}"


def costs() -> str:
    """Budget and speed."""
    rows = []
    for entry in families():
        if entry["family"] == "real":
            continue
        before = entry["before_seconds"]["mean"]
        seconds = mean(entry, "training_seconds", ".0f") + (f" + {before:.0f}" if before else "")
        rest = [mean(entry, f, form) for f, form in (("images_per_second", ",.0f"), ("samples_per_second", ",.0f"),
                                                     ("network_calls", ".0f"))]  # fmt: skip
        rows.append((f"`{entry['family']}`", seconds, *rest))
    return table(("family", "training, s", "images/s", "samples/s", "network calls"), rows)


def verdicts() -> str:
    """The verdicts in words: what a contrast confirms, contradicts and leaves open, the families' extremes."""
    lines = []
    for entry in contrasts():
        told = []
        for verdict in ("confirmed", "contradicted", "undecided"):
            mine = [MEASURES[field] for field in MEASURES if entry["ordering"][field] == verdict]
            told += [f"{verdict} for {_listed(mine)}"] if mine else []
        lines.append(f"- {entry['contrast']}: {'; '.join(told)}.")
    count = sum(len(entry["ordering"]) for entry in contrasts())
    diffusion = [entry for entry in families() if entry["kind"] == "diffusion"]
    low, high = (pick(diffusion, key=lambda e: e["bias_passed_on"]["mean"]) for pick in (min, max))
    others = [
        f"`{e['family']}` {mean(e, 'bias_passed_on')}"
        for e in families()
        if e["kind"] in ("gan", "vae")
    ]
    lines.append(
        f"- Of the bias, diffusion models pass on between {mean(low, 'bias_passed_on')} "
        f"(`{low['family']}`) and {mean(high, 'bias_passed_on')} (`{high['family']}`); "
        f"{_listed(others)}."
    )
    first = (
        f"Verdicts are by Student's test over {len(contrasts()[0]['seeds'])} seeds, its p-values "
        f"adjusted for all {count} of them (Holm); intervals are not adjusted:"
    )
    return "\n".join([wrapped(first), "", *map(wrapped, lines)])


def checks() -> str:
    """How often the readers pass their check."""
    passed = {e["family"]: e["checks_passed"]["mean"] for e in families() if e.get("checks_passed")}
    passed = {family: share for family, share in passed.items() if share is not None}
    first = "The columns of shares rest on readers that are trained on real records. "
    if not passed:
        return wrapped(
            first + "Whether they err on the samples as on records was not looked at in this run."
        )
    low, high = (pick(passed, key=passed.__getitem__) for pick in (min, max))
    return wrapped(
        f"{first}Of the checks whether they err on the samples as on records, {passed[low]:.0%} "
        f"(`{low}`) to {passed[high]:.0%} (`{high}`) pass: where few do, bias passed on, property "
        "error and class shown are of a reader that may be wrong."
    )


def sentence() -> str:
    """README's sentence on the paper's claim."""
    words: dict[str, list[str]] = {"confirmed": [], "contradicted": [], "undecided": []}
    for entry in contrasts()[1:]:
        others = {"diffusion - gan": "the GANs", "diffusion - vae": "the VAE"}[entry["contrast"]]
        for field in ("excess_gap", "bias_passed_on", "property_error"):
            words[entry["ordering"][field]].append(f"{MEASURES[field]} against {others}")
    told = "; ".join(f"{verdict} for {_listed(mine)}" for verdict, mine in words.items() if mine)
    return wrapped(
        f"Of the paper's claim, with {len(contrasts()[0]['seeds'])} seeds and all verdicts adjusted "
        f"for each other: {told}. "
        "The VAE is not the paper's (RHVAE); MMD is in features of the project's own small "
        "classifiers, which also read the shares. [docs/families.md](docs/families.md) has the "
        "intervals, the contrasts and what a minute of training can and cannot say."
    )


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))
