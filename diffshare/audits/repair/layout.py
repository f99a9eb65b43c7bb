"""The files of a repaired samples folder."""

from pathlib import Path

from diffshare.layout import Layout, json_object
from diffshare.release.info import SAMPLES

REPORT = "repair.json"


def _files(folder: Path) -> tuple[str, ...] | None:
    report, own = json_object(folder / REPORT), SAMPLES.files(folder)
    return (
        (*own, REPORT)
        if own and report is not None and {"method", "cells"} <= set(report)
        else None
    )


REPAIRED = Layout("repaired samples folder", _files)
