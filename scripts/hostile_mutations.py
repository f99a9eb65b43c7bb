"""Ways to spoil releases and samples folders: for check_hostile.py; hostile_files.py has those of other files."""

import ast
import contextlib
import hashlib
import io
import json
import os
import random
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from diffusers import DPMSolverMultistepScheduler

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
CONFIGS = ("unet/config.json", "scheduler/scheduler_config.json")
ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2, 3, 7, 16, 31, 8193, 2**31, 2**63, 10**30, -1.5, 0.0, 0.5, 1e-320, 1e308,
    "", "x", "linear", "x" * 5000, "\x1b[2J", "a\nb", "\u202e", "../../secret.json", "/etc/passwd", "os.system",
    "UNet2DModel", "AttnDownBlock2D", "DDPMScheduler", "DPMSolverSDEScheduler", "EDMEulerScheduler", "scheduling_utils",
    "AutoencoderKL", "learned", "fourier", "scale_shift", [], [1], [0], [4, 8], [8, 8], [8192] * 16, [1] * 17,
    [0.5] * 1000, [0.5] * 20000, [[1] * 20], [[[1]]], {}, {"a": 1}, {"s0y0": 1}, {"../x": "0" * 64}, ["a", "a"],
    float("nan"), float("inf"), float("-inf"),
)  # fmt: skip


# --- mutations of files --------------------------------------------------------------------------------------------


def files_of(folder: Path) -> list[Path]:
    """The regular files of a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def spoil_bytes(file: Path, rng: random.Random) -> None:
    """Change a few bytes, cut the file off, or add to it."""
    data = bytearray(file.read_bytes())
    how = rng.randrange(4)
    for _ in range(rng.randint(1, 8) if data else 0):
        # headers are in front
        at = rng.randrange(min(len(data), 400) if rng.random() < 0.5 else len(data))
        data[at] = rng.randrange(256) if how else data[at] ^ (1 << rng.randrange(8))
    if how == 2:
        del data[rng.randrange(len(data) + 1) :]
    elif how == 3:
        data += rng.randbytes(rng.choice((1, 100, 100_000)))
    file.write_bytes(data)


def spoil_json(file: Path, rng: random.Random) -> None:
    """Replace, add, remove a value anywhere in a JSON file, or replace the file by text that strains a parser."""
    if rng.random() < 0.15:
        texts = [
            b"",
            b"[]",
            b"null",
            b"\xff",
            b"[" * 100_000,
            b'{"a":' * 5000,
            b"9" * 5000,
            b'{"format":1,"format":1}',
        ]
        file.write_bytes(rng.choice(texts))
        return
    value = json.loads(file.read_bytes())
    holder = value
    while True:
        keys = list(holder) if isinstance(holder, dict) else list(range(len(holder)))
        if not keys:
            return
        key = rng.choice(keys)
        if not isinstance(holder[key], dict | list) or not holder[key] or rng.random() < 0.3:
            break
        holder = holder[key]
    how = rng.randrange(8)
    if how == 0 and isinstance(holder, dict):
        del holder[key]
    elif how == 1 and isinstance(holder, dict):
        extra = [
            "auto_map",
            "_name_or_path",
            "quantization_config",
            "_x",
            "dtype",
            "kwargs",
            "self",
            "\x1b[2J",
            "../x",
        ]
        holder[rng.choice(extra)] = rng.choice(ODD)
    else:
        holder[key] = rng.choice(ODD)
    file.write_text(json.dumps(value), encoding="utf-8")


def pickle_bytes(marker: Path) -> bytes:
    """A pickle that runs a command when it is loaded (protocol 0, written by hand)."""
    return f"cos\nsystem\n(S'touch {marker}'\ntR.".encode()


def add_file(folder: Path, rng: random.Random, marker: Path) -> None:
    """Add a file of a name that is odd or harmless; its content is a pickle."""
    names = [
        "unet/diffusion_pytorch_model.bin", "pytorch_model.pkl", "model.pt", "unet/modeling.py", "unet/__init__.py",
        "a/b/c.json", "x.json", "scheduler/extra.safetensors", ".hidden.json", "a b.json", "\x1b[2J.json", "a\nb.txt",
        "unet/config.JSON", "empty/", "n" * 150 + ".txt", "unet/__pycache__/config.pyc", "sitecustomize.py",
    ]  # fmt: skip
    name = rng.choice(names)
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith("/"):
        path.mkdir(exist_ok=True)
    else:
        path.write_bytes(pickle_bytes(marker))


def displace(folder: Path, rng: random.Random, secret: Path) -> None:
    """Delete a file, rename it, or put a link, a folder or a pipe in its place."""
    file = rng.choice(files_of(folder))
    how = rng.randrange(6)
    if how == 0:
        file.unlink()
    elif how == 1:
        file.rename(
            file.with_name(rng.choice(("other.json", "model.bin", "config.json", "diffshare.json")))
        )
    elif how == 2:
        file.unlink()
        file.symlink_to(rng.choice((secret, Path("/dev/zero"), Path("nowhere"), file)))
    elif how == 3:
        file.unlink()
        file.mkdir()
    elif how == 4:
        file.unlink()
        os.mkfifo(file)
    elif file.parent != folder:
        moved = folder.with_name("moved")
        file.parent.rename(moved)
        file.parent.symlink_to(moved)


# --- mutations of releases -----------------------------------------------------------------------------------------


def spoil_weights(file: Path, rng: random.Random) -> None:
    """Edit the header of a safetensors file, or its values."""
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    if rng.random() < 0.3:
        tensors = safetensors.torch.load(data)
        key = rng.choice(sorted(tensors))
        how = rng.randrange(4)
        if how == 0:
            tensors[key].view(-1)[0] = rng.choice((float("nan"), float("inf")))
        elif how == 1:  # a legal file
            tensors = {
                k: t.to(rng.choice((torch.float16, torch.bfloat16))) for k, t in tensors.items()
            }
        elif how == 2:
            tensors[key] = tensors[key].to(rng.choice((torch.float64, torch.int32)))
        else:
            tensors[key] = tensors[key].flatten()
        safetensors.torch.save_file(tensors, file)
        return
    header = json.loads(data[8 : 8 + length])
    key = rng.choice(sorted(header))
    how = rng.randrange(6)
    if how == 0:
        del header[key]
    elif how == 1:
        header[rng.choice(("extra", "\x1b[2J", "__metadata__"))] = rng.choice([*ODD, header[key]])
    elif how == 2 or key == "__metadata__":
        header[key] = rng.choice(ODD)
    elif how == 3:
        header[key]["shape"] = rng.choice(
            [*ODD, [2**62, 4], [2**32, 2**32], header[key]["shape"][::-1]]
        )
    elif how == 4:
        header[key]["dtype"] = rng.choice([*ODD, "F64", "F16", "I32", "F8_E4M3", "BOOL"])
    else:
        header[key]["data_offsets"] = rng.choice([*ODD, [0, 2**63], [4, 0], [0, 4]])
    text = json.dumps(header).encode()
    size = rng.choice((len(text),) * 4 + (0, 2**63, len(data), 2**64 - 1))
    file.write_bytes(size.to_bytes(8, "little") + text + data[8 + length :])


def sign(folder: Path) -> None:
    """Write the right hashes of all files into the card, so that what lies behind the hashes is reached."""
    card = folder / "diffshare.json"
    if card not in files_of(folder):  # gone, or a link to what has no end
        return
    with contextlib.suppress(ValueError, RecursionError, TypeError):
        value = json.loads(card.read_bytes())
        names = [path.relative_to(folder).as_posix() for path in files_of(folder)]
        value["files"] = {
            name: hashlib.sha256((folder / name).read_bytes()).hexdigest()
            for name in names
            if name != card.name
        }
        card.write_text(json.dumps(value), encoding="utf-8")


def swap_scheduler(folder: Path, rng: random.Random) -> None:
    """Put in a scheduler whose configuration holds an infinity, which is legal, and spoil it mostly."""
    DPMSolverMultistepScheduler().save_pretrained(folder / "scheduler")
    if rng.random() < 0.7:
        spoil_json(folder / CONFIGS[1], rng)


def mutate_release(folder: Path, rng: random.Random, marker: Path) -> str:
    """Mutate a release in place; returns what was done."""
    actions: dict[str, Callable[[], None]] = {
        "nothing": lambda: None,
        "bytes": lambda: spoil_bytes(rng.choice(files_of(folder)), rng),
        "card": lambda: spoil_json(folder / "diffshare.json", rng),
        "network configuration": lambda: spoil_json(folder / CONFIGS[0], rng),
        "scheduler configuration": lambda: spoil_json(folder / CONFIGS[1], rng),
        "scheduler swapped": lambda: swap_scheduler(folder, rng),
        "weights": lambda: spoil_weights(folder / WEIGHTS, rng),
        "file added": lambda: add_file(folder, rng, marker),
        "file displaced": lambda: displace(folder, rng, folder.parent / "secret.json"),
    }
    name = rng.choices(list(actions), weights=(1, 3, 3, 6, 4, 2, 6, 2, 2))[0]
    actions[name]()
    if name != "card" and rng.random() < 0.9:
        sign(folder)
    return name


# --- mutations of samples ------------------------------------------------------------------------------------------


def npy(array: np.ndarray) -> bytes:
    """An array as numpy saves it."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def spoil_npy(data: bytes, rng: random.Random, marker: Path) -> bytes:
    """An .npy file with another header, or another array."""
    length = int.from_bytes(data[8:10], "little")
    body = data[10 + length :]
    shapes = [
        "(6, 8, 8, 3)",
        "(10**12,)",
        "(1000000000000, 8, 8, 3)",
        "(-6, 8, 8, -3)",
        "()",
        "(0, 8, 8, 3)",
        "6",
    ]
    shapes += ["(6, 8, 8, True)", "(3, 8, 8, 6)", "(6,)", "(1,) * 9", "(2.0, 3)"]
    kinds = [
        "'|u1'",
        "'|O'",
        "'<i8'",
        "'>i8'",
        "'<f4'",
        "[('a', '|O')]",
        "'<U1000000000'",
        "'|V1000000000'",
        "None",
    ]
    true = ast.literal_eval(data[10 : 10 + length].decode("latin-1"))
    shape = rng.choice(shapes) if rng.random() < 0.5 else str(true["shape"])
    kind = rng.choice(kinds) if rng.random() < 0.5 else repr(true["descr"])
    order = rng.choice(("False",) * 5 + ("True", "0"))
    text = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}}}"
    odd = [
        "",
        "(" * 900,
        "-" * 900 + "1",
        "{}",
        "__import__('os').system('true')",
        "{" * 90,
        "\x00",
        text[:-1],
    ]
    if rng.random() < 0.2:
        text = rng.choice(odd)
    header = text.encode("latin-1").ljust(rng.choice((118, 118, 2000, 0))) + b"\n"
    body = rng.choice((body, body, pickle_bytes(marker), b"", body + b"\0"))
    size = rng.choice((len(header),) * 5 + (0, 65535)).to_bytes(2, "little")
    start = rng.choice((b"\x93NUMPY\x01\x00",) * 5 + (b"\x93NUMPY\x02\x00", b"\x80\x04NUMPY\x00"))
    return start + size + header + body


def mutate_samples(folder: Path, rng: random.Random, marker: Path) -> str:
    """Mutate a samples folder in place; returns what was done."""
    kinds = (
        "nothing",
        "bytes",
        "information",
        "array header",
        "arrays",
        "entries",
        "sizes",
        "file displaced",
    )
    name = rng.choices(kinds, weights=(1, 5, 3, 6, 4, 4, 3, 1))[0]
    file = folder / "samples.npz"
    if name == "bytes":
        spoil_bytes(file, rng)
    elif name == "information":
        spoil_json(folder / "samples.json", rng)
    elif name == "file displaced":
        displace(folder, rng, folder.parent / "secret.json")
    elif name != "nothing":
        _spoil_npz(file, name, rng, marker)
    return name


def _spoil_npz(file: Path, name: str, rng: random.Random, marker: Path) -> None:
    with zipfile.ZipFile(file) as archive:
        entries = [(entry.filename, archive.read(entry)) for entry in archive.infolist()]
    at = rng.randrange(len(entries))
    key, data = entries[at]
    compression = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    if name == "array header":
        entries[at] = (key, spoil_npy(data, rng, marker))
    elif name == "arrays":
        array = np.lib.format.read_array(io.BytesIO(data))
        changes: list[Callable[[], np.ndarray]] = [
            lambda: array.astype(rng.choice(("float64", ">i8", "uint8", "int64", "bool"))),
            lambda: array[: rng.randrange(len(array))],
            lambda: np.asfortranarray(array),
            lambda: array * -1.0 if array.dtype == np.float32 else array - array.dtype.type(5),
            lambda: np.full_like(array, np.nan) if array.dtype == np.float32 else array.reshape(-1),
            lambda: np.zeros((rng.choice((1, 300, 30_000)), *array.shape[1:]), array.dtype),
        ]
        entries[at] = (key, npy(rng.choice(changes)()))
    elif name == "entries":
        compression = rng.choice(
            (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        )
        extra = (
            "x.npy",
            "../x.npy",
            "/y.npy",
            "payload.pkl",
            "x",
            "\x1b[2J.npy",
            "weight.npy",
            "z.npy",
        )
        changed = [
            entries[:at] + entries[at + 1 :],
            [*entries, (rng.choice(extra), pickle_bytes(marker))],
            entries,
            [],
        ]
        entries = rng.choice([*changed, [(f"{i}.npy", b"") for i in range(5000)]])
    else:  # sizes: a bomb
        entries[at] = (key, data + bytes(rng.choice((1 << 20, 1 << 20, 70 << 20))))
        compression = zipfile.ZIP_DEFLATED
    with zipfile.ZipFile(file, "w", compression) as archive:
        for key, data in entries:
            with warnings.catch_warnings(action="ignore"):  # of a name that stands twice
                archive.writestr(key, data)
    # lie in the directory about an entry's unpacked size
    if name == "sizes" and rng.random() < 0.7:
        raw = bytearray(file.read_bytes())
        place = raw.rfind(b"PK\x01\x02") + 24
        raw[place : place + 4] = rng.choice((0, 1, 2**20, 2**31, 2**32 - 2, 2**32 - 1)).to_bytes(
            4, "little"
        )
        file.write_bytes(raw)
