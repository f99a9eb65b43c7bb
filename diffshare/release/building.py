"""Building a network from received settings, stopped where it grows beyond what its file of weights can fill.

On the ``meta`` device parameters take no memory, but every module is an object of Python: a thousand networks of 16
blocks of 32 layers take gigabytes before anything of them can be counted.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch.nn.modules import module as hooks

from diffshare.errors import UserError
from diffshare.received import open_regular, parse_json

MAX_TENSORS = 100_000  # of a network; 333 classes of 300 tensors each
_HEADER = 300 * MAX_TENSORS  # bytes of its safetensors header
_SLACK = 1000  # tensors beyond, so that a file that lacks a few is told which
_MODULES = 4  # modules for each tensor; layers of diffusers have one or two


def tensors_in(path: Path, most: int) -> int:
    """How many tensors the header of a safetensors file names.

    Args:
        path: the file.
        most: bytes of it.

    Raises:
        UserError: no such file, no such header, or more tensors than a network may have.
    """
    stream, size = open_regular(path, most)
    with stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length <= min(_HEADER, size - 8):
            raise UserError(f"{path} is no safetensors file: its header is {length} bytes long")
        header = parse_json(stream.read(length), f"the header of {path}")
    if not isinstance(header, dict):
        raise UserError(f"{path} is no safetensors file: its header is no object")
    if len(header) > MAX_TENSORS:
        raise UserError(
            f"{path} holds {len(header)} tensors, more than the {MAX_TENSORS} that are loaded"
        )
    return len(header)


@contextmanager
def bounded_building(tensors: int) -> Iterator[None]:
    """Within the block, building modules in this thread is stopped where they hold many more tensors than these.

    Raises:
        UserError: they do, from within the constructor.
    """
    own, held, modules = threading.get_ident(), 0, 0

    def count(module: Any, name: str, value: Any) -> None:
        nonlocal held, modules
        if threading.get_ident() != own:
            return
        if isinstance(value, hooks.Module):
            modules += 1
        elif value is not None:
            held += 1
        if held > 2 * tensors + _SLACK or modules > _MODULES * (2 * tensors + _SLACK):
            raise UserError(
                f"the settings ask for a network of many more tensors than the {tensors} of its weights"
            )

    handles = [
        hooks.register_module_parameter_registration_hook(count),
        hooks.register_module_buffer_registration_hook(count),
        hooks.register_module_module_registration_hook(count),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
