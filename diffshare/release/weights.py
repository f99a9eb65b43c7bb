"""The networks of a release: built without memory, compared with the file's header, and only then loaded."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Any, TypeVar

import safetensors.torch
import torch
from torch import nn

from diffshare.errors import UserError, one_of
from diffshare.received import parse_json, shown
from diffshare.release.building import bounded_building, tensors_in
from diffshare.release.config import check_arguments, read_config
from diffshare.release.folder import MAX_TOTAL, Release

MAX_PARAMETERS = (
    2_500_000_000  # 10 GB in float32: the largest network that diffusers writes as one file
)
_WEIGHTS = "diffusion_pytorch_model.safetensors"
# a weight may be stored in any of these; other tensors in their own type only
_FLOATS = (
    "F32",
    "F16",
    "BF16",
)
_OTHERS = {torch.int64: "I64", torch.int32: "I32", torch.uint8: "U8", torch.bool: "BOOL"}

Network = TypeVar("Network", bound=nn.Module)


def load_part(
    release: Release,
    name: str,
    allowed: Mapping[str, type[Network]],
    *,
    trial: Callable[[Any], object] | None = None,
    max_parameters: int = MAX_PARAMETERS,
) -> Network:
    """Load the network ``name`` of a release (``<name>/config.json``, ``<name>/diffusion_pytorch_model.safetensors``).

    In this order: the configuration is bounded, the tensors in the header of the weights are counted, the network is
    built on the meta device (no memory for parameters; stopped where it holds many more tensors than the file), its
    parameters are counted, it is tried there, the size and the header of the weights are compared with it, and only
    then are weights loaded, from the bytes whose hash was checked. Peak memory is about twice the file plus the
    network in float32.

    Args:
        release: an opened release.
        name: the part's folder, for instance ``"unet"``.
        allowed: class name to class of the networks that may stand there; nothing else is looked up.
        trial: one pass through the network, which it is given on the meta device (shapes without values): settings
            that can be built may still not run. What it raises is a refusal.
        max_parameters: most parameters and buffer elements.

    Returns:
        The network in float32, on the CPU, in evaluation mode, without gradients.

    Raises:
        UserError: a missing file, another class, an unknown or unbounded setting, too many parameters, or weights whose
            names, shapes, types or values are not those of the network.
    """
    where = str(release.folder / name / "config.json")
    class_name, arguments = read_config(release, f"{name}/config.json")
    if class_name not in allowed:
        raise one_of(f"network in {where}", class_name, allowed)
    kind = allowed[class_name]
    check_arguments(kind, arguments, where)
    if (file := f"{name}/{_WEIGHTS}") not in release.card.files:
        raise UserError(
            f"{release.folder} has no {file}: it is no complete release; ask for it again"
        )
    held = tensors_in(release.folder / file, MAX_TOTAL)
    with torch.device("meta"), bounded_building(held):
        network = _build(kind, arguments, where)
    total = sum(tensor.numel() for tensor in chain(network.parameters(), network.buffers()))
    if total > max_parameters:
        raise UserError(
            f"{where}: the network has {total} parameters, more than the {max_parameters} that are loaded"
        )
    if trial is not None:
        _try(trial, network, where)
    network.load_state_dict(_weights(release, name, network.state_dict()), strict=True, assign=True)
    _fill_buffers(network, kind, arguments, where)
    return network.eval().requires_grad_(False)


def _build(kind: type[Network], arguments: dict[str, Any], where: str) -> Network:
    try:
        return kind(**arguments)
    # a constructor may raise anything when its settings do not fit together
    except Exception as error:
        raise UserError(
            f"{where}: {kind.__name__} cannot be built with these settings: {shown(str(error))}"
        ) from error


def _try(trial: Callable[[Any], object], network: nn.Module, where: str) -> None:
    try:
        with torch.inference_mode(), torch.device("meta"):
            trial(network.eval())
    except Exception as error:  # a network may raise anything when its settings do not fit together
        name = type(network).__name__
        raise UserError(
            f"{where}: {name} does not run with these settings: {shown(str(error))}"
        ) from error


def _weights(
    release: Release, name: str, expected: Mapping[str, torch.Tensor]
) -> dict[str, torch.Tensor]:
    """The tensors of a part, floats in float32.

    Args:
        release: where they are.
        name: the part's folder.
        expected: the state of the network that they are for, on the meta device.
    """
    file = f"{name}/{_WEIGHTS}"
    where = str(release.folder / file)
    largest = sum(tensor.numel() * max(4, tensor.element_size()) for tensor in expected.values())
    # bytes of the header; an entry has about 100
    longest = (64 << 10) + sum(len(key) + 200 for key in expected)
    data = release.read(file, min(8 + longest + largest, MAX_TOTAL))
    length = int.from_bytes(data[:8], "little")
    if not 0 < length <= min(longest, len(data) - 8):
        raise UserError(f"{where} is no safetensors file: its header is {length} bytes long")
    header = parse_json(data[8 : 8 + length], f"the header of {where}")
    _check_header(header, expected, where)
    try:
        tensors = safetensors.torch.load(data)
    # the library has one exception for its format, and Python's own for the rest
    except Exception as error:
        raise UserError(
            f"{where} is no safetensors file ({shown(str(error))}): get the release again"
        ) from error
    del data
    for key, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(
                f"{where}: the weights {key} are not all finite: the model is broken; ask for another"
            )
    return {
        key: tensor.float() if tensor.is_floating_point() else tensor
        for key, tensor in tensors.items()
    }


def _check_header(header: Any, expected: Mapping[str, torch.Tensor], where: str) -> None:
    """Compare names, shapes and types in a safetensors header with those of the network."""
    if not isinstance(header, dict):
        raise UserError(f"{where} is no safetensors file: its header is no object")
    header.pop("__metadata__", None)
    for key in sorted(set(header) ^ set(expected)):
        problem = (
            "has weights that the network lacks"
            if key in header
            else "lacks weights of the network"
        )
        raise UserError(f"{where} {problem}: {shown(key)}")
    for key, tensor in expected.items():
        entry = header[key] if isinstance(header[key], dict) else {}
        if entry.get("shape") != list(tensor.shape):
            raise UserError(
                f"{where}: {key} must have the shape {list(tensor.shape)}, not {shown(entry.get('shape'))}"
            )
        types = _FLOATS if tensor.is_floating_point() else (_OTHERS[tensor.dtype],)
        if entry.get("dtype") not in types:
            raise UserError(
                f"{where}: {key} must be of type {' or '.join(types)}, not {shown(entry.get('dtype'))}"
            )


def _fill_buffers(
    network: nn.Module, kind: type[nn.Module], arguments: dict[str, Any], where: str
) -> None:
    """Give buffers that are no part of the file (tables that the constructor computes) their values.

    They are taken from a second network that is built in memory: by now its size is known to be that of the file.
    """
    if any(buffer.is_meta for buffer in network.buffers()):
        # the second network's initial weights must not move the user's noise
        with torch.random.fork_rng(devices=[]):
            computed = dict(_build(kind, arguments, where).named_buffers())
        for key, buffer in list(network.named_buffers()):
            if buffer.is_meta:
                owner, _, leaf = key.rpartition(".")
                network.get_submodule(owner).register_buffer(leaf, computed[key], persistent=False)
    if any(tensor.is_meta for tensor in _all_tensors(network)):
        raise UserError(
            f"{where}: {kind.__name__} keeps tensors outside its state, which a release cannot carry"
        )


def _all_tensors(network: nn.Module) -> Iterator[torch.Tensor]:
    yield from network.parameters()
    yield from network.buffers()
    for module in network.modules():
        yield from (value for value in vars(module).values() if isinstance(value, torch.Tensor))
