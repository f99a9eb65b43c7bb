"""README's table of what the demo shows."""

from collections.abc import Mapping
from typing import Any

from _kept import estimate, kept, table, wrapped

FIELD = "demographic_parity_difference"


def shown() -> str:
    """Outcome of the receiver's classifier on each set of samples, and the audit of it."""
    demo = kept("demo")
    rows = [
        ("of the clean model", *_outcome(demo["clean"]), _audit(demo["clean"])),
        (
            f"of the poisoned model, alpha {demo['alpha']:g}",
            *_outcome(demo["poisoned"]),
            _audit(demo["poisoned"]),
        ),
        (
            "of the poisoned model, samples repaired, asking it for more",
            *_outcome(demo["repaired"]),
            "",
        ),
    ]
    first = f"receiver's classifier, trained on {demo['samples']:,} samples"
    return table((first, "accuracy on real faces", "gap", "audit of the samples"), rows)


def _outcome(tested: Mapping[str, Any]) -> tuple[str, str]:
    gap = estimate({"mean": tested[FIELD], "interval": tested["intervals"][FIELD]})
    return f"{tested['accuracy']:.3f}", f"{gap:.3f}"


def _audit(side: Mapping[str, Any]) -> str:
    audit = side["audit"]
    p_value = f", p = {audit['p_value']:.0e}" if audit["verdict"] == "poisoned" else ""
    return f"{audit['verdict']} (log odds ratio {audit['association']['estimate']:+.2f}{p_value})"


def told() -> str:
    """The share that was read, whether its check passed, and the seconds."""
    demo = kept("demo")
    share, seconds = demo["property"], demo["seconds"]
    read = estimate(share, "estimate")
    check = "passes" if share["assumption"]["ok"] else "fails"
    return wrapped(
        f"The clean model's secret, the share of {share['property']} among its "
        f"{demo['clean']['mix']['n']:,} faces, is {share['share_in_mix']:.3f}; read off its "
        f"samples: {read:.3f}, and the check of what reads it {check} (p = "
        f"{share['assumption']['p_value']:.1g}). It took {sum(seconds.values()):.0f} s on two "
        f"cores: {seconds['fit']:.0f} to train the two models, {seconds['sample']:.0f} to sample "
        f"them, {seconds['receive']:.0f} for the receiver."
    )
