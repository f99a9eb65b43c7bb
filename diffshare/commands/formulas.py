"""Cells of samples that a spreadsheet would run: said, or escaped where that is asked for."""

from diffshare.errors import UserError
from diffshare.release.generator import Generator
from diffshare.release.table import TableGenerator
from diffshare.release.tables import formula_note, texts


def refuse_escape(asked: bool, rows: Generator | bool) -> None:
    """Refuse the option for images.

    Args:
        asked: it was given.
        rows: whether rows of a table are written, or the model that makes them.
    """
    if asked and not (rows if isinstance(rows, bool) else isinstance(rows, TableGenerator)):
        raise UserError(
            "--escape-formulas is for cells of a table, these samples are images: leave it out"
        )


def formula_notes(escape: bool, generator: TableGenerator) -> tuple[str, ...]:
    """What to say of the rows of a model, whose categories and names of columns somebody else may have chosen."""
    note = None if escape else formula_note(texts(generator.schema))
    return () if note is None else (note,)
