"""Ways to spoil what else comes from somebody else: tables, audits' files, declarations, manifests, run folders."""

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from hostile_mutations import ODD, displace, sign, spoil_bytes, spoil_json

from diffshare.settings import load_yaml

EVIL = ("leaves_a_mark.X", "leaves.a_mark.X", "os.system", "subprocess.Popen", "code.interact", "torch.os.system",
        "diffshare.data.leaves_a_mark.X", "pip._internal.main", "builtins.exec")  # fmt: skip
LARGE = (3 * 10**8, 10**12, 2**63, 10**30, 1e18, 200_000, 4096, -(10**9), 0)
TEXTS = (
    "\x1b[2J\x1b]0;x\x07",
    "\u202egnp",
    "a\nb",
    "x" * 900_000,
    "\udc80",
    "=cmd|' /C calc'!A0",
    "1:" * 60,
    "\0",
)
NUMBERS = ("9" * 5000, "1" * 100_000 + "x", "1_000", "nan", "inf", "1e999", "", "f", '"', "?")
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)
BOMBS = (LAUGHS, "a: &a [*a]", "a: " + "9" * 5000, "a: 2001-12-14t21:59:43.10-99:99", "[" * 100_000, "{a: " * 5000,
         "a: !!python/object/apply:os.system [true]", "s0y0: 9999-99-99", "? [a]\n: 1", "a: 0." + "1" * 900,
         "[" + "1," * 200_000 + "]", "a: !!timestamp 2001-99-99", "", "a", "\ufeffs0y0: 1", '"\\e[2J": 1',
         "s0y0: .nan", "s0y0: .inf", "s0y0: 0x" + "f" * 300)  # fmt: skip


def walk(value: Any, rng: random.Random) -> tuple[Any, Any]:
    """A list or mapping somewhere in ``value`` that holds something, and one of its keys; (None, None) without any."""
    holder, key = None, None
    while isinstance(value, dict | list) and value:
        holder, key = (
            value,
            rng.choice(list(value) if isinstance(value, dict) else list(range(len(value)))),
        )
        value = holder[key]
        if rng.random() < 0.25:
            break
    return holder, key


def place(file: Path, rng: random.Random) -> None:
    """Put a pipe, a device or a link to one in a file's place."""
    file.unlink()
    how = rng.randrange(4)
    if how == 0:
        os.mkfifo(file)
    elif how == 1:
        os.mkfifo(file.with_name("pipe"))
        file.symlink_to(file.with_name("pipe"))
    else:
        file.symlink_to(("/dev/zero", "/dev/stdin")[how - 2])


def mutate_family(folder: Path, rng: random.Random, marker: Path) -> str:
    """Change settings of one part of a release, or what its table says of itself; returns what was done."""
    files = sorted(
        f
        for f in folder.glob("*/*.json")
        if f.name != "diffusion_pytorch_model.safetensors.index.json"
    )
    if not files or rng.random() < 0.05:
        return "nothing"
    file = rng.choice(files)
    name = (
        "table"
        if file.parent.name == "table"
        else "network"
        if file.name == "config.json"
        else "scheduler"
    )
    if rng.random() < 0.1:
        bombs = [
            b"[" + b"{}," * 3_000_000 + b"{}]",
            b'{"columns":' + b"[" * 500,
            b'{"a":' + b"1," * 3_000_000 + b"1}",
        ]
        file.write_bytes(rng.choice(bombs))
        name += " bomb"
    elif rng.random() < 0.15 and name == "network":
        value = json.loads(file.read_text())
        value |= {
            "num_class_embeds": 1001,
            "layers_per_block": 32,
            "block_out_channels": [8] * 16,
            "layers": 8000,
        }
        value |= {"down_block_types": ["DownBlock2D"] * 16, "up_block_types": ["UpBlock2D"] * 16}
        file.write_text(json.dumps(value))
        name = "network that builds large"
    else:
        spoil_json(file, rng)
    sign(folder)
    return name


def mutate_rows(folder: Path, rng: random.Random, marker: Path) -> str:
    """Spoil samples of a table; returns what was done."""
    file = folder / "samples.csv"
    lines = file.read_text().split("\n")
    at = rng.randrange(len(lines) - 1)
    cells = lines[at].split(",")

    def cell() -> None:
        cells[rng.randrange(len(cells))] = rng.choice((*TEXTS[:3], *TEXTS[4:], *NUMBERS))
        lines[at] = ",".join(cells)

    def header() -> None:
        names = [*cells, *(f"c{i}" for i in range(rng.choice((1, 20_000))))]
        lines[0] = ",".join(
            rng.choice((names, names[::-1], [*names, names[0]], names[1:], ["x" * 200_000]))
        )

    def quoted() -> None:
        names = [f'"c{i}\n"' if i % 500 == 0 else f"c{i}" for i in range(60_000)]
        lines[0] = ",".join([*lines[0].split(","), *names])

    actions: dict[str, Callable[[], None]] = {
        "nothing": lambda: None,
        "cell": cell,
        "header": header,
        "many columns in quotes": quoted,
        "long record": lambda: lines.insert(1, '"x\n",' * 1_000_000),
        "many lines": lambda: lines.extend(["1,f,no"] * 100_000),
    }
    names = (*actions, "bytes", "information", "file displaced", "pipe or device")
    name = rng.choices(names, weights=(1, 6, 2, 1, 0.3, 0.3, 3, 2, 1, 1))[0]
    if name in actions:
        actions[name]()
        file.write_text("\n".join(lines), encoding="utf-8", errors="surrogateescape")
    elif name == "bytes":
        spoil_bytes(file, rng)
    elif name == "information":
        spoil_json(folder / "samples.json", rng)
    elif name == "file displaced":
        displace(folder, rng, folder.parent / "secret.json")
    else:
        place(file, rng)
    return name


def mutate_audit(folder: Path, rng: random.Random, marker: Path) -> str:
    """Spoil an audit's file; returns what was done."""
    file = folder / "audit.json"
    value = json.loads(file.read_text())
    settings = value["settings"]
    settings["reference"]["init_args"]["path"] = str(folder / "reference.csv")
    if rng.random() < 0.4:
        settings["reference"] = settings["faces"]
    del settings["faces"]
    holder, key = walk(settings[rng.choice(("reference", "classifier"))], rng)
    name = rng.choices(("nothing", "setting", "large number", "class", "field", "text", "bytes", "reference displaced"),
                       weights=(1, 5, 4, 3, 3, 2, 2, 1))[0]  # fmt: skip
    if name == "field":
        holder, key = walk(value, rng)
    if name in ("setting", "field"):
        holder[key] = rng.choice(ODD)
    elif name == "large number":
        numbers = (
            [k for k in holder if isinstance(holder[k], int | float)]
            if isinstance(holder, dict)
            else []
        )
        holder[rng.choice(numbers) if numbers else key] = rng.choice(LARGE)
    elif name == "class":
        block = settings[rng.choice(("reference", "classifier"))]
        block[rng.choice(("class_path", "init_args"))] = rng.choice(EVIL)
    elif name == "text":
        holder[key] = rng.choice(TEXTS)
    elif name == "reference displaced" and settings["reference"]["class_path"].endswith("CSVTable"):
        place(folder / "reference.csv", rng)
    file.write_text(json.dumps(value), encoding="utf-8")
    if name == "bytes":
        spoil_bytes(file, rng)
    return name


def mutate_declaration(folder: Path, rng: random.Random, marker: Path) -> str:
    """Spoil a declared table in YAML or JSON; returns what was done."""
    file = folder / rng.choice(("declared.yaml", "declared.json"))
    name = rng.choices(
        ("nothing", "bomb", "value", "text", "bytes", "pipe or device"), weights=(1, 5, 4, 2, 3, 1)
    )[0]
    value = load_yaml(file.read_text())
    holder, key = walk(value, rng)
    if name == "bomb":
        file.write_text(rng.choice(BOMBS), encoding="utf-8")
    elif name in ("value", "text"):
        new = rng.choice(ODD if name == "value" else TEXTS)
        if isinstance(new, str) and rng.random() < 0.5 and isinstance(holder, dict):
            holder[new] = holder.pop(key)
        else:
            holder[key] = new
        # which is YAML too, but for odd numbers
        file.write_text(json.dumps(value), encoding="utf-8")
    elif name == "bytes":
        spoil_bytes(file, rng)
    elif name == "pipe or device":
        place(file, rng)
    (folder / "which").write_text(file.name)
    return name


def mutate_manifest(folder: Path, rng: random.Random, marker: Path) -> str:
    """Spoil a manifest; returns what was done."""
    name = rng.choices(("nothing", "bytes", "summary", "cell", "pipe or device", "file displaced"),
                       weights=(1, 4, 4, 4, 3, 2))[0]  # fmt: skip
    file = folder / "records.csv"
    if name == "bytes":
        spoil_bytes(file, rng)
    elif name == "summary":
        spoil_json(folder / "mix.json", rng)
    elif name == "cell":
        lines = file.read_text().split("\n")
        cells = lines[at := rng.randrange(len(lines) - 1)].split(",")
        cells[rng.randrange(len(cells))] = rng.choice(
            (*TEXTS[:3], *TEXTS[4:], "9" * 5000, "9" * 30, "", "-1", '"')
        )
        lines[at] = ",".join(cells)
        file.write_text("\n".join(lines), encoding="utf-8", errors="surrogateescape")
    elif name == "pipe or device":
        place(folder / rng.choice(("records.csv", "mix.json")), rng)
    elif name == "file displaced":
        displace(folder, rng, folder.parent / "secret.json")
    return name


def mutate_run(folder: Path, rng: random.Random, marker: Path) -> str:
    """Spoil what a run's checkpoint names and holds; returns what was done."""
    # in the working directory, where an import would find them
    for module in (
        "leaves_a_mark.py",
        "leaves/a_mark.py",
    ):
        (folder.parent / module).parent.mkdir(exist_ok=True)
        (folder.parent / module).write_text(f"open({str(marker)!r}, 'w').close()\nclass X: pass\n")
    file = folder / "last.ckpt"
    name = rng.choices(
        ("nothing", "class", "setting", "text", "weights", "bytes"), weights=(1, 5, 5, 2, 2, 3)
    )[0]
    content = torch.load(file, weights_only=True)
    model = content["diffshare"]["model"]
    holder, key = walk(model, rng)
    if name == "class":
        block = rng.choice((model, model["init_args"]["denoiser"]))
        if rng.random() < 0.5:
            block["class_path"] = rng.choice(EVIL)
        else:
            named = rng.choice(EVIL)
            model["init_args"][rng.choice(("optimizer", "denoiser", "scheduler"))] = rng.choice(
                (
                    named,
                    {"class_path": named},
                    {"class_path": named, "init_args": {"args": f"touch {marker}"}},
                )
            )
    elif name == "setting":
        holder[key] = rng.choice(ODD)
    elif name == "text":
        holder[key] = rng.choice(TEXTS)
    elif name == "weights":
        content["state_dict"] = dict(list(content["state_dict"].items())[rng.randrange(9) :])
        content["diffshare"]["facts"] = rng.choice(
            (content["diffshare"]["facts"], None, {}, [], {"labels": 3})
        )
    if name in ("class", "setting", "text", "weights"):
        torch.save(content, file)
    elif name == "bytes":
        spoil_bytes(file, rng)
    return name
