"""What pyproject.toml has no word for: the folder ``configs/`` is installed as ``diffshare/configs/``."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["diffshare*"]), "diffshare.configs"],
    package_dir={"diffshare.configs": "configs"},
    package_data={"diffshare.configs": ["*.yaml", "*/*.yaml"]},
)
