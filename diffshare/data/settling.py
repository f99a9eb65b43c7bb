"""Two tables settled together: how one side's columns and categories are read as the other side's.

What is certainly the same is matched: columns in another order or beside others, ``1.0`` and ``1``, ``true`` and
``True``, numbers that are texts on one side. What is not certain is refused with both writings, and a person says what
is meant: ``rename`` maps what the samples have to what the reference has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from diffshare.classes import differing, is_number, listed, quoted
from diffshare.data.cells import Kind
from diffshare.data.coding import MAX_CLASSES
from diffshare.data.numbercolumn import whole_attribute
from diffshare.data.source import Attribute, Index
from diffshare.data.table import Column, TableSource
from diffshare.errors import UserError

REMEDY = "`rename` or mend the file"
_TRUTH = ("false", "true")


class Facts(NamedTuple):
    """What must be known of a column to read it as another side's.

    Attributes:
        kind: as it was read; None where it was not.
        texts: its different known cells as texts, those of whole numbers without a point; None where they are more
            than 1000, or fractions.
        reason: why it was not read, in words that follow its name.
    """

    kind: Kind | None
    texts: tuple[str, ...] | None = None
    reason: str = ""

    @property
    def numbers(self) -> bool:
        """Whether all known cells are numbers."""
        return self.kind == "numeric" or (
            self.texts is not None and all(is_number(text) for text in self.texts)
        )


class Match(NamedTuple):
    """One column of the reference in the samples.

    Attributes:
        name: its name in the reference.
        theirs: its name in the samples.
        kind: as which it is read.
        classes: categories of the reference, in the order of their codes; empty of numbers.
        codes: text of the samples to its code; what is not there is unknown to the reference.
    """

    name: str
    theirs: str
    kind: Kind
    classes: tuple[str, ...] = ()
    codes: Mapping[str, int] = {}


@dataclass(frozen=True)
class Settled:
    """How samples are read in the columns of a reference.

    Attributes:
        matches: one for each column of the reference that the samples have.
        absent: columns of the reference that they lack, as was allowed.
        notes: what was matched or is unknown, a sentence each.
    """

    matches: tuple[Match, ...]
    absent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Renames:
    """What the samples call otherwise.

    Attributes:
        columns: name in the samples to name in the reference.
        categories: column of the reference to text in the samples to category of the reference.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    categories: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, words: Sequence[str]) -> "Renames":
        """Read ``OLD=NEW`` (a column) and ``COLUMN:OLD=NEW`` (a category).

        Raises:
            UserError: something else.
        """
        columns: dict[str, str] = {}
        categories: dict[str, dict[str, str]] = {}
        for word in words:
            old, equals, new = word.partition("=")
            column, colon, text = old.partition(":")
            if not equals or not old or not new or (colon and not column):
                raise UserError(
                    f"cannot read the renaming {word!r:.60}: write OLD=NEW for a column, COLUMN:OLD=NEW for a category"
                )
            if colon:
                categories.setdefault(column, {})[text] = new
            else:
                columns[old] = new
        return cls(columns, categories)


def facts_of(source: TableSource) -> dict[str, Facts]:
    """What settling must know of each column of a table."""
    index = source.index()
    facts = {
        name: Facts(None, reason=reason) for name, reason in getattr(source, "unused", {}).items()
    }
    for column in source.columns:
        facts[column.name] = Facts(column.kind, _classes(column, index))
    for name, attribute in index.attributes.items():
        if name not in facts or facts[name].kind is None:
            facts[name] = Facts("categorical", attribute.classes)
    return facts


def reference_facts(
    columns: Sequence[Column], attributes: Mapping[str, Attribute], also: Sequence[str] = ()
) -> dict[str, Facts]:
    """The same of labelled records, whose class is no column of theirs.

    Args:
        columns: of the records.
        attributes: of the records.
        also: attributes that are wanted beside the columns: the class, and groups.
    """
    facts = {
        column.name: Facts(
            column.kind,
            attributes[column.name].classes if column.name in attributes else column.categories,
        )
        for column in columns
    }
    return facts | {
        name: Facts("categorical", attributes[name].classes) for name in also if name not in facts
    }


def _classes(column: Column, index: Index) -> tuple[str, ...] | None:
    if column.name in index.attributes:
        return index.attributes[column.name].classes
    if column.kind == "categorical":
        return column.categories
    coded = whole_attribute(index.numbers[column.name]) if column.name in index.numbers else None
    return None if coded is None else coded.classes


def settle(
    reference: Mapping[str, Facts],
    samples: Mapping[str, Facts],
    *,
    strict: Sequence[str] = (),
    may_lack: Sequence[str] = (),
    renames: Renames | None = None,
) -> Settled:
    """Say how the samples are read in the columns of a reference; nothing is read.

    Args:
        reference: its columns; those that were not read are no part of it.
        samples: theirs, in any order, others among them.
        strict: columns of which no category of the samples may be unknown: the class.
        may_lack: columns that the samples may lack: groups.
        renames: what the samples call otherwise.

    Raises:
        UserError: a column is not there or holds something else, or categories differ in their writing alone.
    """
    renames = renames or Renames()
    wanted = {name: facts for name, facts in reference.items() if facts.kind is not None}
    places = _columns(wanted, samples, may_lack, renames)
    matches, notes = [], []
    for name, theirs in places.items():
        match, note = _match(name, wanted[name], theirs, samples[theirs], renames, name in strict)
        matches.append(match)
        notes += note
    extra = [name for name in samples if name not in places.values()]
    if extra:
        notes.append(f"the samples have columns beside the reference's, not used: {listed(extra)}")
    absent = tuple(name for name in wanted if name not in places)
    return Settled(tuple(matches), absent, tuple(notes))


def _columns(
    wanted: Mapping[str, Facts],
    samples: Mapping[str, Facts],
    may_lack: Sequence[str],
    renames: Renames,
) -> dict[str, str]:
    """Name in the reference to name in the samples."""
    for old, new in renames.columns.items():
        if old not in samples:
            raise UserError(
                f"the samples have no column {quoted(old)} to rename: they have {listed(list(samples))}"
            )
        if new not in wanted:
            raise UserError(
                f"the reference has no column {quoted(new)} to rename {quoted(old)} to: it has {listed(list(wanted))}"
            )
    mine = {new: old for old, new in renames.columns.items()}
    free = {name: name for name in samples if name not in renames.columns}
    places = {name: mine.get(name, free.get(name, "")) for name in wanted}
    places = {name: theirs for name, theirs in places.items() if theirs}
    lacking = [name for name in wanted if name not in places]
    if twins := differing([n for n in samples if n not in places.values()], lacking):
        theirs, name = twins[0]
        raise UserError(
            f"the samples have the column {quoted(theirs)}, the reference {quoted(name)}: {REMEDY}"
        )
    told = f"the samples have {listed(list(samples))}, the reference {listed(list(wanted))}"
    if not places:
        raise UserError(f"the two tables have no column in common: {told}")
    if absent := [name for name in lacking if name not in may_lack]:
        several = "columns" if len(absent) > 1 else "column"
        raise UserError(
            f"the samples lack the {several} {listed(absent)} of the reference: {REMEDY}, or leave out of the "
            "reference what they do not have"
        )
    return places


def _match(
    name: str, ours: Facts, place: str, theirs: Facts, renames: Renames, strict: bool
) -> tuple[Match, list[str]]:
    if theirs.kind is None and theirs.texts is None:
        raise UserError(
            f"column {quoted(place)} of the samples {theirs.reason}; in the reference it holds "
            f"{'numbers' if ours.kind == 'numeric' else 'categories'}"
        )
    if ours.kind == "numeric":
        if not theirs.numbers:
            bad = next(text for text in theirs.texts or () if not is_number(text))
            raise UserError(
                f"column {quoted(place)} holds numbers in the reference, the samples have {quoted(bad)} in it: "
                "mend the file, or have the column read as categories on both sides"
            )
        return Match(name, place, "numeric"), []
    if theirs.texts is None:
        raise UserError(
            f"column {quoted(place)} holds categories in the reference, in the samples more than {MAX_CLASSES} "
            "different numbers or fractions: mend the file, or have the column read as numbers on both sides"
        )
    codes, beyond = match_categories(
        name, ours.texts or (), theirs.texts, renames.categories.get(name, {})
    )
    notes = []
    told = f"{listed(beyond)} in column {quoted(place)}, the reference knows {listed(ours.texts or ())} alone"
    if beyond and (strict or not codes):
        raise UserError(f"the samples have {told}: {REMEDY}")
    if beyond:
        notes.append(f"the samples have {told}: taken as unknown")
    return Match(name, place, "categorical", ours.texts or (), codes), notes


def match_categories(
    name: str, ours: Sequence[str], theirs: Sequence[str], renamed: Mapping[str, str]
) -> tuple[dict[str, int], list[str]]:
    """Code of each text of the samples, and those that have none.

    Raises:
        UserError: texts that differ in their writing alone, or a renaming to what is no category.
    """
    place = {text: code for code, text in enumerate(ours)}
    for old, new in renamed.items():
        if new not in place:
            raise UserError(
                f"cannot rename {quoted(old)} of column {quoted(name)} to {quoted(new)}: the reference has "
                f"{listed(ours)}"
            )
    same = _same(ours)
    codes: dict[str, int] = {}
    beyond: list[str] = []
    for text in theirs:
        text_of_ours = renamed.get(text, text)
        fitting = same.get(_safe(text), [])
        if text_of_ours not in place and len(fitting) == 1:
            text_of_ours = fitting[0]
        if text_of_ours in place:
            codes[text] = place[text_of_ours]
        else:
            beyond.append(text)
    if twins := differing(beyond, [text for text in ours if text]):
        there, here = twins[0]
        blanks = " (they differ in blanks)" if there.split() == here.split() else ""
        raise UserError(
            f"in column {quoted(name)} the samples have {quoted(there)}, the reference {quoted(here)}{blanks}: {REMEDY}"
        )
    return codes, beyond


def _same(texts: Sequence[str]) -> dict[object, list[str]]:
    """Texts by what they certainly stand for."""
    same: dict[object, list[str]] = {}
    truth = {text.casefold() for text in texts} <= {*_TRUTH}
    for text in texts:
        if is_number(text) or truth:
            same.setdefault(_safe(text), []).append(text)
    return same


def _safe(text: str) -> object:
    """What a text certainly stands for: a number or a truth value; else itself."""
    if is_number(text):
        return Decimal(text)
    return text.casefold() if text.casefold() in _TRUTH else text
