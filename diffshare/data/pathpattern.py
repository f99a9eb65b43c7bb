"""Names of files that carry labels: ``[age]_[gender]_[race]_*`` takes three of them from ``25_0_2_2017.jpg``."""

import re
from collections.abc import Sequence

from diffshare.errors import UserError

_PIECE = re.compile(r"\[([^\[\]/*]{1,100})\]|(\*)|([^\[\]*]+)")
_LONGEST = 1000  # characters of a pattern


class PathPattern:
    """A template of the end of a path.

    ``[NAME]`` is a field and ``*`` is anything, each one character or more up to what follows in the template, never
    over a ``/``; all else is literal. The template is compared with as many parts of a path, from its end, as it has
    itself. A field is always as short as it can be, and what is last takes the rest: no path is read in two ways, and
    the time is proportional to its length.

    Args:
        text: the template.

    Raises:
        UserError: a template that names no field, names one twice, or has two of them side by side.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self.parts = [self._pieces(part) for part in text.split("/")]
        self.fields = [piece[1] for part in self.parts for piece in part if piece[0] == "field"]
        if not self.fields:
            raise UserError(f"pattern {text!r:.200} names no field: write one as [age]")
        if len(set(self.fields)) < len(self.fields):
            raise UserError(f"pattern {text!r:.200} names a field twice: give each its own name")

    def _pieces(self, part: str) -> list[tuple[str, str]]:
        pieces, end = [], 0
        for match in _PIECE.finditer(part):
            if match.start() != end:
                break
            end = match.end()
            kind = ("field", "any", "literal")[(match.lastindex or 1) - 1]
            pieces.append((kind, match.group(match.lastindex or 1)))
        if end != len(part) or not part or len(self.text) > _LONGEST:
            raise UserError(
                f"pattern {self.text!r:.200} is no template: write fields as [age], anything as *, and folders with /"
            )
        if any(a[0] != "literal" != b[0] for a, b in zip(pieces, pieces[1:], strict=False)):
            raise UserError(
                f"pattern {self.text!r:.200} has two fields side by side: write what stands between them"
            )
        return pieces

    def match(self, path: str) -> Sequence[str] | None:
        """The fields' texts in the order of ``fields``; None where the path is not of this pattern."""
        parts = path.split("/")[-len(self.parts) :]
        if len(parts) < len(self.parts):
            return None
        values: list[str] = []
        for pieces, part in zip(self.parts, parts, strict=True):
            fields = _taken(pieces, part)
            if fields is None:
                return None
            values += fields
        return values


def _taken(pieces: Sequence[tuple[str, str]], part: str) -> list[str] | None:
    values, at = [], 0
    for position, (kind, text) in enumerate(pieces):
        if kind == "literal":
            if not part.startswith(text, at):
                return None
            at += len(text)
            continue
        if position == len(pieces) - 1:
            end = len(part)
        elif position == len(pieces) - 2:
            end = len(part) - len(pieces[-1][1])
        else:
            end = part.find(pieces[position + 1][1], at + 1)
        if end <= at:
            return None
        if kind == "field":
            values.append(part[at:end])
        at = end
    return values if at == len(part) else None
