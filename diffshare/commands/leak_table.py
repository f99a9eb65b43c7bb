"""What a release leaks, on the terminal."""

from rich.table import Table

from diffshare.audits.leak.attributes import WIDTH
from diffshare.audits.leak.result import Report
from diffshare.commands.flags import say_each
from diffshare.terminal import cell_text, console, say


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
    table = Table(
        "share of",
        "method",
        "estimate",
        "interval",
        "+-",
        f"queries for +-{WIDTH:g}",
        "truth",
        title=title,
    )
    for said in report.disclosed:
        shares = ", ".join(
            f"{name} {100 * share:.1f} %" for name, share in said.json()["shares"].items()
        )
        table.add_row(
            cell_text(said.name), f"card: {said.field}", cell_text(shares), "", "", "0", ""
        )
    for leak in report.leaks:
        truth = "" if leak.truth is None else f"{100 * leak.truth:.1f} %"
        name = cell_text(f"{leak.name}: {leak.value}")
        for one in leak.readings:
            ends = f"{100 * one.low:.1f} - {100 * one.high:.1f} %"
            needed = one.needed()
            cells = (
                f"{100 * one.estimate:.1f} %",
                ends,
                f"{one.half_width:.3f}",
                f"{needed:,}" if needed else "never",
            )
            usual = one.method == leak.usual
            table.add_row(
                name if usual else "", one.method, *cells, truth, style="bold" if usual else None
            )
        if not leak.readings:
            table.add_row(name, "not read", "", "", "", "", truth)
    console().print(table)
    for content in report.contents:
        say(
            f"says:    {content.file}: {content.says}"
            + ("" if content.records else " (not of the records)")
        )
    for leak in report.leaks:
        say(f"verdict: {leak.name}: {leak.value}: {leak.said}")
    say_each("note", *report.notes)
    for leak in report.leaks:
        if leak.reason is not None:
            say_each("note", f"{leak.name}: {leak.reason}")
        elif leak.fails and leak.assumption is not None:
            p = leak.assumption.p_value
            say(
                f"note:    {leak.name}: the classifier errs on the samples otherwise than on records (p = {p:.3f})"
            )
    if report.membership is not None:
        say(f"records: {report.membership.line}")
    say_each("advice", report.advice)
