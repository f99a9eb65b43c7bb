"""The result of an audit on the terminal."""

from rich.table import Table

from diffshare.audits.poisoning.result import Audit
from diffshare.commands.flags import say_each
from diffshare.stats.misfit import Fit
from diffshare.terminal import cell_text, console, say


def show(one: Audit) -> None:
    """The result as a table."""
    judgement, level = one.judgement, one.terms.level
    strongest, confidence = judgement.strongest, 1 - one.terms.each
    colour = {"poisoned": "red", "clean": "green", "inconclusive": "yellow"}[judgement.verdict]
    title = cell_text(f"audit of {one.names[0]} and {one.names[1]} in {one.queries} samples")
    table = Table(title=title, show_header=False)
    if one.fit is not None:
        if not one.fit.ok:
            _warn(one, one.fit)
        check = "passes" if one.fit.ok else "[bold red]FAILS[/]"
        table.add_row("check of the classifier", f"{check} (p = {one.fit.p_value:.3f})")
        table.add_row("intervals assume that", "it errs as on records")
    table.add_row(
        "verdict",
        f"[bold {colour}]{judgement.verdict}[/] (p = {judgement.p_value:.3g}, level {level:g})",
    )
    low, high = strongest.samples.interval(confidence)
    table.add_row(
        "log odds ratio, samples", f"{strongest.samples.estimate:+.2f} ({low:+.2f} to {high:+.2f})"
    )
    table.add_row(
        "log odds ratio, reference",
        f"{strongest.reference[0]:+.2f} +- {strongest.reference[1]:.2f}",
    )
    low, high = strongest.difference.interval(confidence)
    table.add_row("difference", f"{strongest.difference.estimate:+.2f} ({low:+.2f} to {high:+.2f})")
    table.add_row(f"margin, at guidance {one.terms.guidance:g}", f"{judgement.margin:.2f}")
    for name, cell in one.cells().items():
        s, y = (int(v) for v in name[1:].split("y"))
        low, high = cell["interval"]
        text = (
            f"{cell['estimate']:.3f} ({low:.3f} to {high:.3f}), reference {cell['reference']:.3f}"
        )
        table.add_row(cell_text(f"P({one.groups[s]} | {one.classes[y]})"), text)
    if one.gap is not None:
        low, high = one.gap.interval
        table.add_row("predicted parity gap", f"{one.gap.estimate:.3f} ({low:.3f} to {high:.3f})")
        table.add_row("of the classifier", cell_text(one.gap.classifier))
    if one.own is not None:
        low, high = one.own.interval
        text = f"{one.own.estimate:.3f} ({low:.3f} to {high:.3f}), {one.own.trainings} of {one.own.records} records"
        table.add_row("the same, trained on the reference", text)
    least = "none" if judgement.power.alpha is None else f"{judgement.power.alpha:.2f}"
    table.add_row(f"smallest detectable share (power {one.terms.power:g})", least)
    if one.declaration is not None:
        outside = ", ".join(one.declaration.cells) or "none"
        said = {True: "holds", False: "[bold red]does not hold[/]", None: "[yellow]not decided[/]"}
        holds = said[one.declaration.holds]
        table.add_row(
            "declared table",
            f"{holds} (p = {one.declaration.p_value:.3g}); cells outside: {outside}",
        )
    console().print(table)
    if one.declaration is not None and one.declaration.reason is not None:
        say_each(
            "note",
            f"the declared table is neither confirmed nor rejected: {one.declaration.reason}",
        )
    say_each("note", *one.notes)


def _warn(one: Audit, fit: Fit) -> None:
    """That the check of the group's classifier fails, on which every interval of shares and log odds rests."""
    misfit = one.judgement.misfit
    size = "" if misfit is None else f", which may hide {misfit.size}"
    say(
        f"FAILS:   the classifier of {one.names[0]} errs on the samples otherwise than on records (p = "
        f"{fit.p_value:.3f}){size}: the intervals below assume that it does not"
    )
