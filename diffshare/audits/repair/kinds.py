"""The kinds of repair that can be asked for."""

from typing import Literal

To = Literal["reference", "equal", "independent"]
Weights = Literal["density", "mass", "checked", "inside"]
