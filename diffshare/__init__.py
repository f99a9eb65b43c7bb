"""diffshare: the risks of sharing diffusion models, measured and defended."""

__version__ = "0.1.0"
