"""How derived attributes are written: text to a small tree and back.

=============================== ==================================================================
``age>=40``                     a threshold: also ``>``, ``<``, ``<=``, ``==``, ``!=``
``age:bins(18,30,50)``          ranges that begin at these numbers
``age:quantiles(4)``            as many ranges, of about equally many records each
``code{A91|A93=male,A92=fe}``   values merged; those that are not named are unknown, or ``*=other``
``relationship=Husband``        has this value or not
``sex x race``                  all combinations of two or more attributes, derived ones among them
=============================== ==================================================================

A name or a value that holds a mark of the grammar stands between backticks, a backtick in it is
written twice: ```a x b` x sex``. A name that is known is read as it is, without them.
"""

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

from diffshare.classes import is_number, quoted
from diffshare.errors import UserError

LONGEST = 2000  # characters of an expression
MOST_PARTS = 6  # attributes that are crossed
GRAMMAR = (
    "derived attributes are written age>=40, age:quantiles(4), age:bins(18,30,50), sex x race, "
    "code{A91|A93=male,A92=female} or NAME=VALUE"
)
CROSS = " x "
SIGNS = (">=", "<=", "==", "!=", ">", "<")
_PLAIN = re.compile(r"[^\W\d][\w.\-]*")
_QUOTED = re.compile(r"`((?:[^`]|``)+)`")
_NAME = r"(?P<name>`(?:[^`]|``)+`|[^`<>=!{}]+?)"
_THRESHOLD = re.compile(rf"{_NAME}\s*(?P<sign>>=|<=|==|!=|>|<)\s*(?P<number>[^<>=!`]*)")
_RANGES = re.compile(rf"{_NAME}\s*:\s*(?P<kind>quantiles|bins)\s*\((?P<numbers>[^()`]*)\)")
_MERGED = re.compile(rf"{_NAME}\s*\{{(?P<groups>.*)\}}", re.DOTALL)


@dataclass(frozen=True)
class Plain:
    """An attribute as it is."""

    name: str

    def __str__(self) -> str:
        return written(self.name)


@dataclass(frozen=True)
class Threshold:
    """Whether a number lies on one side of another."""

    name: str
    sign: str
    number: float

    def __str__(self) -> str:
        return f"{written(self.name)}{self.sign}{shown(self.number)}"


@dataclass(frozen=True)
class Quantiles:
    """Ranges of about equally many records each; they become ``Bins`` where the records are known."""

    name: str
    count: int

    def __str__(self) -> str:
        return f"{written(self.name)}:quantiles({self.count})"


@dataclass(frozen=True)
class Bins:
    """Ranges of a number: below the first edge, from each edge to below the next, from the last."""

    name: str
    edges: tuple[float, ...]

    def __str__(self) -> str:
        return f"{written(self.name)}:bins({','.join(map(shown, self.edges))})"


@dataclass(frozen=True)
class Merged:
    """Values that become one class each.

    Attributes:
        name: of the attribute.
        groups: name of each class and the values that it takes.
        rest: class of all other known values; None where they are unknown.
    """

    name: str
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    rest: str | None = None

    def __str__(self) -> str:
        parts = [
            f"{'|'.join(map(written, values))}={written(name)}" for name, values in self.groups
        ]
        parts += [] if self.rest is None else [f"*={written(self.rest)}"]
        return f"{written(self.name)}{{{','.join(parts)}}}"


@dataclass(frozen=True)
class Is:
    """Whether an attribute has a value."""

    name: str
    value: str

    def __str__(self) -> str:
        return f"{written(self.name)}={written(self.value)}"


@dataclass(frozen=True)
class Crossed:
    """All combinations of attributes."""

    parts: tuple["Single", ...]

    def __str__(self) -> str:
        return CROSS.join(map(str, self.parts))


Single = Plain | Threshold | Quantiles | Bins | Merged | Is
Expression = Single | Crossed


def parse(text: str, known: Collection[str] = ()) -> Expression:
    """Read a name: as a known one, else by the grammar, else as NAME=VALUE.

    Args:
        text: what the user wrote.
        known: names that are read as they are, whatever they hold.

    Raises:
        UserError: it is none of these; the line says what is wrong and what can be written.
    """
    if text in known:
        return Plain(text)
    if len(text) > LONGEST:
        raise _refusal(text, f"it has {len(text)} characters, at most {LONGEST} are read")
    parts = _joined(list(_pieces(text, CROSS)), known)
    if len(parts) > MOST_PARTS:
        raise _refusal(text, f"{len(parts)} attributes are crossed, at most {MOST_PARTS} can be")
    singles = tuple(_single(part.strip(), known, text) for part in parts)
    return singles[0] if len(singles) == 1 else Crossed(singles)


def shown(number: float) -> str:
    """A number as it is written: ``40``, not ``40.0``."""
    return repr(float(number)).removesuffix(".0")


def written(name: str) -> str:
    """A name or value as it stands in an expression, between backticks where it needs them."""
    plain = _PLAIN.fullmatch(name) or is_number(name) and name.isalnum()
    return name if plain and name != "x" else "`" + name.replace("`", "``") + "`"


def _joined(parts: list[str], known: Collection[str]) -> list[str]:
    """Put together again what is the name of one attribute: the longest first."""
    joined = []
    while parts:
        for count in range(len(parts), 0, -1):
            if count == 1 or CROSS.join(parts[:count]).strip() in known:
                joined.append(CROSS.join(parts[:count]))
                del parts[:count]
                break
    return joined


def _single(text: str, known: Collection[str], whole: str) -> Single:
    if text in known:
        return Plain(text)
    if match := _RANGES.fullmatch(text):
        return _ranges(_bare(match["name"]), match["kind"], match["numbers"], whole)
    if (match := _THRESHOLD.fullmatch(text)) and _is_finite(match["number"].strip()):
        return Threshold(_bare(match["name"]), match["sign"], float(match["number"]))
    if match := _MERGED.fullmatch(text):
        return _merged(_bare(match["name"]), match["groups"], whole)
    if (split := _equals(text, known)) is not None:
        return Is(*split)
    if _QUOTED.fullmatch(text):
        return Plain(_bare(text))
    if match is None and any(sign in text for sign in SIGNS):
        raise _refusal(whole, f"{quoted(text)} has no number behind its sign")
    if not text or not {"`", "{", "}"}.isdisjoint(text):
        raise _refusal(whole, f"{quoted(text)} is no name")
    return Plain(text)


def _ranges(name: str, kind: str, numbers: str, whole: str) -> Quantiles | Bins:
    cells = [cell.strip() for cell in numbers.split(",")]
    if kind == "quantiles":
        if len(cells) != 1 or not re.fullmatch("[0-9]{1,3}", cells[0]) or int(cells[0]) < 2:
            raise _refusal(whole, f"quantiles({numbers}) is no whole number from 2 to 999")
        return Quantiles(name, int(cells[0]))
    if not all(map(_is_finite, cells)) or any(float(a) >= float(b) for a, b in pairwise(cells)):
        raise _refusal(whole, f"bins({numbers}) are no numbers, each greater than the one before")
    return Bins(name, tuple(map(float, cells)))


def _merged(name: str, groups: str, whole: str) -> Merged:
    found: dict[str, tuple[str, ...]] = {}
    rest = None
    for piece in _pieces(groups, ","):
        sides = [side.strip() for side in _pieces(piece, "=")]
        if len(sides) != 2 or not all(sides):
            raise _refusal(whole, f"{quoted(piece)} between the braces is not VALUE|VALUE=NAME")
        label = _bare(sides[1])
        if sides[0] == "*":
            if rest is not None:
                raise _refusal(whole, "'*' stands there twice")
            rest = label
            continue
        values = tuple(_bare(value.strip()) for value in _pieces(sides[0], "|"))
        found[label] = (*found.get(label, ()), *values)
    values = tuple(value for each in found.values() for value in each)
    if not values or not all(values):
        raise _refusal(whole, "no value is named between the braces, or an empty one")
    if len(set(values)) < len(values):
        twice = next(value for value in values if values.count(value) > 1)
        raise _refusal(whole, f"the value {quoted(twice)} stands there twice")
    return Merged(name, tuple(found.items()), rest)


def _equals(text: str, known: Collection[str]) -> tuple[str, str] | None:
    """Name and value of NAME=VALUE: the longest name that is known, else up to the first sign."""
    if match := re.fullmatch(r"(`(?:[^`]|``)+`)\s*=(?!=)(.+)", text, re.DOTALL):
        return _bare(match[1]), _bare(match[2].strip())
    places = [place for place, mark in enumerate(text) if mark == "="]
    sides = [(text[:place].strip(), text[place + 1 :].strip()) for place in places]
    for name, value in reversed(sides):
        if name in known and value:
            return name, _bare(value)
    if not places or not all(sides[0]) or not {"`", "{", "<", ">", "!"}.isdisjoint(sides[0][0]):
        return None
    return None if text[places[0] + 1] == "=" else (sides[0][0], _bare(sides[0][1]))


def _pieces(text: str, mark: str) -> Iterator[str]:
    """Cut a text at a mark, but not between backticks or braces."""
    start, place, depth, inside = 0, 0, 0, False
    while place < len(text):
        char = text[place]
        inside ^= char == "`"
        depth += 0 if inside else (char == "{") - (char == "}")
        if not inside and depth <= 0 and text.startswith(mark, place):
            yield text[start:place]
            place += len(mark)
            start = place
        else:
            place += 1
    yield text[start:]


def _bare(text: str) -> str:
    match = _QUOTED.fullmatch(text)
    return match[1].replace("``", "`") if match else text


def _is_finite(text: str) -> bool:
    return is_number(text) and abs(float(text)) < float("inf")


def _refusal(text: str, reason: str) -> UserError:
    return UserError(f"cannot read {quoted(text)}: {reason}; {GRAMMAR}")
