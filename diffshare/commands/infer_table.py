"""A share that was read off samples, on the terminal."""

from rich.table import Table

from diffshare.commands.flags import say_each
from diffshare.receiver.property.inference import ALIKE, Inferred
from diffshare.terminal import cell_text, console, say


def show(result: Inferred, seconds: float) -> None:
    """The check stands above the number: a share whose check fails is no share yet."""
    check = result.assumption
    if result.fails:
        say(
            f"FAILS:   the classifier errs on these samples otherwise than on real records (p = {check.p_value:.3f}): "
            "the interval below assumes that it does not, and may miss the truth"
        )
    table = Table(title=cell_text(f"share of {result.name}: {result.value}"), show_header=False)
    table.add_row("check of the classifier", _checked(result))
    estimate, interval = (
        f"{100 * result.estimate:.1f} %",
        f"{100 * result.low:.1f} - {100 * result.high:.1f} %",
    )
    table.add_row(
        "estimate", f"{estimate}, doubtful" if result.fails else f"[bold]{estimate}[/bold]"
    )
    table.add_row(f"{100 * result.level:g} % interval", interval)
    table.add_row("which assumes that", result.assumes or "the samples are drawn alike")
    table.add_row("method", result.method)
    table.add_row("counted without correction", f"{100 * result.naive:.1f} %")
    table.add_row("queries", str(result.queries))
    table.add_row("error: sampling", f"+- {100 * result.sampling:.1f} points")
    parts = (("classifier", result.classifier), ("generator", result.drift))
    for name, value in parts:
        table.add_row(
            f"error: {name}", "not known" if value is None else f"+- {100 * value:.1f} points"
        )
    table.add_row("seconds", f"{seconds:.1f}")
    console().print(table)
    say_each("note", *result.notes)
    if result.fails:
        say(
            "remedy:  --surrogate (samples of generators of known shares), --degrade, or --widen the interval"
        )


def _checked(result: Inferred) -> str:
    """What the check says, and whether the interval rests on it."""
    check = result.assumption
    if check.p_value is None:
        return "none is needed" if check.ok else "[bold red]nothing can be tested[/]"
    said = "passes" if check.ok else "[bold red]FAILS[/]"
    return f"{said} (p = {check.p_value:.3f})" + (
        "" if result.assumes == ALIKE else ", not relied on"
    )
