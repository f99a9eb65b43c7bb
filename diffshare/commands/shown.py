"""The results of audits on the terminal."""

from rich.table import Table

from diffshare.audits.leak.attributes import WIDTH
from diffshare.audits.leak.result import Report
from diffshare.audits.poisoning.result import Audit
from diffshare.stats.misfit import Fit
from diffshare.terminal import cell_text, console, say


def show(one: Audit) -> None:
    """The result as a table."""
    made, level = one.judgement, one.terms.level
    strongest, confidence = made.strongest, 1 - one.terms.each
    colour = {"poisoned": "red", "clean": "green", "inconclusive": "yellow"}[made.verdict]
    title = cell_text(f"audit of {one.names[0]} and {one.names[1]} in {one.queries} samples")
    table = Table(title=title, show_header=False)
    if one.fit is not None:
        if not one.fit.ok:
            _warn(one, one.fit)
        check = "passes" if one.fit.ok else "[bold red]FAILS[/]"
        table.add_row("check of the classifier", f"{check} (p = {one.fit.p_value:.3f})")
        table.add_row("intervals assume that", "it errs as on records")
    table.add_row("verdict", f"[bold {colour}]{made.verdict}[/] (p = {made.p_value:.3g}, level {level:g})")
    low, high = strongest.samples.interval(confidence)
    table.add_row("log odds ratio, samples", f"{strongest.samples.estimate:+.2f} ({low:+.2f} to {high:+.2f})")
    table.add_row("log odds ratio, reference", f"{strongest.reference[0]:+.2f} +- {strongest.reference[1]:.2f}")
    low, high = strongest.difference.interval(confidence)
    table.add_row("difference", f"{strongest.difference.estimate:+.2f} ({low:+.2f} to {high:+.2f})")
    table.add_row(f"margin, at guidance {one.terms.guidance:g}", f"{made.margin:.2f}")
    for name, cell in one.cells().items():
        s, y = (int(v) for v in name[1:].split("y"))
        low, high = cell["interval"]
        text = f"{cell['estimate']:.3f} ({low:.3f} to {high:.3f}), reference {cell['reference']:.3f}"
        table.add_row(cell_text(f"P({one.groups[s]} | {one.classes[y]})"), text)
    if one.gap is not None:
        low, high = one.gap.interval
        table.add_row("predicted parity gap", f"{one.gap.estimate:.3f} ({low:.3f} to {high:.3f})")
        table.add_row("of the classifier", cell_text(one.gap.classifier))
    if one.own is not None:
        low, high = one.own.interval
        text = f"{one.own.estimate:.3f} ({low:.3f} to {high:.3f}), {one.own.trainings} of {one.own.records} records"
        table.add_row("the same, trained on the reference", text)
    least = "none" if made.power.alpha is None else f"{made.power.alpha:.2f}"
    table.add_row(f"smallest detectable share (power {one.terms.power:g})", least)
    if one.declaration is not None:
        outside = ", ".join(one.declaration.cells) or "none"
        said = {True: "holds", False: "[bold red]does not hold[/]", None: "[yellow]not decided[/]"}
        holds = said[one.declaration.holds]
        table.add_row("declared table", f"{holds} (p = {one.declaration.p_value:.3g}); cells outside: {outside}")
    console().print(table)
    if one.declaration is not None and one.declaration.reason is not None:
        say(f"note:    the declared table is neither confirmed nor rejected: {one.declaration.reason}")
    for note in one.notes:
        say(f"note:    {note}")


def _warn(one: Audit, fit: Fit) -> None:
    """That the check of the group's classifier fails, on which every interval of shares and log odds rests."""
    misfit = one.judgement.misfit
    size = "" if misfit is None else f", which may hide {misfit.size}"
    say(
        f"FAILS:   the classifier of {one.names[0]} errs on the samples otherwise than on records (p = "
        f"{fit.p_value:.3f}){size}: the intervals below assume that it does not"
    )


def show_leak(report: Report) -> None:
    """The table on the terminal."""
    for leak in report.leaks:
        check = leak.assumption
        if check is not None and check.p_value is not None and not check.ok:
            say(
                f"FAILS:   the classifier of {leak.name} does not err on the samples as on records (p = "
                f"{check.p_value:.3f}): its intervals below assume that it does, and may miss the truth"
            )
    title = (
        f"what {report.queries} samples (labels: {report.labels}) give away; intervals assume that classifiers err on "
        "samples as on records"
    )
    table = Table("share of", "method", "estimate", "interval", "+-", f"queries for +-{WIDTH:g}", "truth", title=title)
    for said in report.disclosed:
        shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in said.json()["shares"].items())
        table.add_row(cell_text(said.name), f"card: {said.field}", cell_text(shares), "", "", "0", "")
    for leak in report.leaks:
        truth = "" if leak.truth is None else f"{100 * leak.truth:.1f} %"
        name = cell_text(f"{leak.name}: {leak.value}")
        for one in leak.readings:
            ends = f"{100 * one.low:.1f} - {100 * one.high:.1f} %"
            needed = one.needed()
            cells = f"{100 * one.estimate:.1f} %", ends, f"{one.half_width:.3f}", f"{needed:,}" if needed else "never"
            usual = one.method == leak.usual
            table.add_row(name if usual else "", one.method, *cells, truth, style="bold" if usual else None)
        if not leak.readings:
            table.add_row(name, "not read", "", "", "", "", truth)
    console().print(table)
    for content in report.contents:
        say(f"says:    {content.file}: {content.says}" + ("" if content.records else " (not of the records)"))
    for leak in report.leaks:
        say(f"verdict: {leak.name}: {leak.value}: {leak.said}")
    for note in report.notes:
        say(f"note:    {note}")
    for leak in report.leaks:
        if leak.reason is not None:
            say(f"note:    {leak.name}: {leak.reason}")
        elif leak.fails and leak.assumption is not None:
            p = leak.assumption.p_value
            say(f"note:    {leak.name}: the classifier errs on the samples otherwise than on records (p = {p:.3f})")
    if report.membership is not None:
        say(f"records: {report.membership.line}")
    say(f"advice:  {report.advice}")
