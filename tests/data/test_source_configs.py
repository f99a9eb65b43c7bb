"""Every source file of configs/source parses against the real signatures, and its options can be overridden."""

from pathlib import Path

import pytest
from jsonargparse import ArgumentParser

from diffshare.data.idx import Colouring
from diffshare.data.source import Source

FOLDER = Path(__file__).parents[2] / "configs" / "source"


def parse(*args: str) -> Source:
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--source", type=Source, sub_configs=True)
    return parser.instantiate(parser.parse_args([f"--source={args[0]}", *args[1:]])).source


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("imagefolder", "ImageFolder"),
        ("idx", "IDX"),
        ("cifar10", "CIFAR10"),
        ("adult", "Adult"),
        ("csv", "CSVTable"),
        ("kaggle_celeba", "ImageFolder"),
        ("npz", "NPZ"),
        ("medmnist", "NPZ"),
        ("parquet_images", "ParquetImages"),
        ("table", "TableFile"),
    ],
)
def test_a_source_file_makes_its_source(name, kind):
    source = parse(str(FOLDER / f"{name}.yaml"))
    assert isinstance(source, Source)
    assert type(source).__name__ == kind


def test_options_override_the_file():
    assert str(parse(str(FOLDER / "adult.yaml"), "--source.root=elsewhere").root) == "elsewhere"
    source = parse(
        str(FOLDER / "idx.yaml"), "--source.coloured.green=0.25", "--source.coloured.seed=3"
    )
    assert source.coloured == Colouring(0.25, None, 3)
