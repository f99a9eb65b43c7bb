"""The sharer's audit as JSON, as a table on the terminal, and as a section of the release's card."""

from dataclasses import dataclass, replace
from typing import Any, ClassVar

from diffshare.audits.fields import LEAK
from diffshare.audits.leak.attributes import WIDTH, Leak
from diffshare.audits.leak.contents import Content
from diffshare.audits.leak.members import MemberLeak


@dataclass(frozen=True)
class Disclosed:
    """Shares that the card says itself.

    Attributes:
        name: what they are of.
        field: of the card.
        classes: names of the shares.
        shares: as declared.
        truth: among the training records, where known.
    """

    name: str
    field: str
    classes: tuple[str, ...]
    shares: tuple[float, ...]
    truth: tuple[float | None, ...] | None

    def json(self) -> dict[str, Any]:
        """JSON values."""
        truth = None if self.truth is None else dict(zip(self.classes, self.truth, strict=True))
        shares = dict(zip(self.classes, self.shares, strict=True))
        return {"property": self.name, "by": self.field, "shares": shares, "truth": truth}


@dataclass(frozen=True, repr=False)
class Report:
    """The whole audit.

    Attributes:
        leaks: of each attribute that was attacked.
        disclosed: what the card says itself.
        queries: samples that were looked at.
        labels: how they were drawn.
        level: confidence of the intervals.
        identity: SHA-256 of the release's ``diffshare.json``; None for a folder of samples.
        membership: the membership test; None where no release or no manifest was given.
        described: its identity after the section was written into its README.md.
        notes: what is not known of the reference.
        contents: what the folder says by itself, file by file.
        quantiles: columns of which its schema has quantiles: a release of format 1.
    """

    leaks: tuple[Leak, ...]
    disclosed: tuple[Disclosed, ...]
    queries: int
    labels: str
    level: float
    identity: str | None
    membership: MemberLeak | None = None
    described: str | None = None
    notes: tuple[str, ...] = ()
    contents: tuple[Content, ...] = ()
    quantiles: tuple[str, ...] = ()

    def of(self, identity: str) -> "Report":
        """The report after the release was described, which changes its identity."""
        return replace(self, described=identity)

    @property
    def advice(self) -> str:
        """One line of what to do."""
        membership = None if self.membership is None else self.membership.found
        remembered = membership is not None and membership.advantage.low > 0
        return (
            self._of_schema()
            + self._of_shares()
            + (
                " Its loss tells records that it was trained on from others: train it on more of them, for fewer "
                "steps, or with DP-SGD."
                if remembered
                else ""
            )
        )

    def _of_schema(self) -> str:
        if not self.quantiles:
            return ""
        return (
            "Its schema tells the number of records and, without a query, every share above a threshold of "
            f"{_listed(list(self.quantiles))}: train the model again, releases of today have no quantiles. "
        )

    def _of_shares(self) -> str:
        """What a receiver reads, what he may read, and never that there is nothing to read."""
        read = [one.name for one in self.disclosed] + [
            one.name for one in self.leaks if one.readable
        ]
        doubtful = [one.name for one in self.leaks if one.verdict == "doubtful"]
        other = [
            one.name for one in self.leaks if one.verdict == "missed" and one.nearer is not None
        ]
        if not read and not doubtful and not other:
            return (
                f"No attribute was read to +-{WIDTH:g} with this reference, which does not say that none can be: a "
                "receiver with more records or a better classifier may read more."
            )
        said = []
        if read:
            said.append(f"A receiver reads {_listed(read)} to +-{WIDTH:g}.")
        if doubtful:
            said.append(
                f"The intervals of {_listed(doubtful)} are within +-{WIDTH:g}, but the classifier errs on the samples "
                "otherwise than on records: they may be read so, or be off (the records of "
                "the training tell the truth to judge by)."
            )
        if other:
            said.append(
                f"Another method than the usual one comes within {WIDTH:g} of the truth of {_listed(other)}."
            )
        return " ".join(said) + (
            " What may not be known must be changed before the training (a quantised mix) or in the samples that go "
            "out; see the documentation on protection."
        )

    # by which its file is told from others
    FIELDS: ClassVar[tuple[str, ...]] = LEAK

    def __repr__(self) -> str:
        verdicts = ", ".join(f"{one.name}: {one.verdict}" for one in self.leaks[:8])
        return f"Report({verdicts}, queries={self.queries})"

    def to_json(self, seconds: float = 0.0) -> dict[str, Any]:
        """The fields of the file that the verb ``leak`` writes."""
        return {
            "role": "sharer",
            "model_sha256": self.identity,
            "described_sha256": self.described,
            "queries": self.queries,
            "labels": self.labels,
            "level": self.level,
            "half_width": WIDTH,
            "disclosed": [one.json() for one in self.disclosed],
            "contents": [one._asdict() for one in self.contents],
            "properties": [one.json() for one in self.leaks],
            "membership": None if self.membership is None else self.membership.json(),
            "advice": self.advice,
            "notes": list(self.notes),
            "seconds": round(seconds, 3),
        }


def _listed(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _needed(leak: Leak) -> str:
    best = leak.best
    if best is None:
        return ""
    if leak.fails:
        return "unknown"
    needed = best.needed()
    return "never with this reference" if needed is None else f"{needed:,}"


def section_of(report: Report) -> list[str]:
    """Markdown lines for the card: what can be read and how well, *not* what was read.

    The card goes out with the release; an estimate in it would give away without a single query what it warns of.
    """
    lines = [
        f"The sharer turned the property inference attacks of diffshare on this model, with {report.queries} queries "
        f"(labels: {report.labels}) and records that it was not trained on. Half widths are of "
        f"{100 * report.level:g} % intervals, which hold where the classifier errs on samples as on records: where "
        "that check fails, the share may be farther from the reading.",
        "",
        f"| share of | read by | half width | check | queries for +-{WIDTH:g} |",
        "| --- | --- | --- | --- | --- |",
    ]
    for one in report.disclosed:
        lines.append(f"| {_plain(one.name)} | declared above ({one.field}) | 0 | | 0 |")
    for leak in report.leaks:
        name = f"{_plain(leak.name)}: {_plain(leak.value)}"
        if leak.best is None:
            lines.append(f"| {name} | not read | | | |")
        else:
            check = "fails" if leak.fails else "passes"
            lines.append(
                f"| {name} | {leak.usual} | {leak.best.half_width:.3f} | {check} | {_needed(leak)} |"
            )
    lines += ["", "A receiver with more records or a better classifier may read more."]
    if report.membership is not None and report.membership.found is not None:
        lines += ["", f"And {report.membership.line}. Attacks with shadow models find more."]
    return lines


def _plain(text: str) -> str:
    """A name without what would break a cell of a table or a line."""
    return "".join(c if c.isprintable() and c not in "|`<>" else " " for c in text)[:60]
