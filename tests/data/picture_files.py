"""PNG files and colour profiles written from their specifications, for what pillow does not write."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

BITS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}


def png(
    depth: int, colour: int, rows: list[bytes], width: int, extra: bytes = b"", behind: bytes = b""
) -> bytes:
    """A PNG file: ``rows`` are the packed samples, ``extra`` are chunks before the pixels and ``behind`` after them."""
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colour, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    chunks = [chunk(b"IHDR", header), extra, chunk(b"IDAT", pixels), behind, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def open_bytes(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(value * 65536) for value in values))


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _curve(values: np.ndarray) -> bytes:
    table = np.round(values * 65535).astype(">u2")
    return b"curv\0\0\0\0" + struct.pack(">I", len(table)) + table.tobytes()


def _text(kind: bytes, text: bytes) -> bytes:
    if kind == b"desc":
        return (
            b"desc\0\0\0\0"
            + struct.pack(">I", len(text) + 1)
            + text
            + b"\0" * (1 + 4 + 4 + 2 + 1 + 67)
        )
    return b"text\0\0\0\0" + text + b"\0"


D50 = (0.9642, 1.0, 0.8249)
# the primaries of sRGB, adapted to D50 (IEC 61966-2-1 as in its ICC profile)
RED, GREEN, BLUE = (0.4360, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141)


def to_linear(encoded: np.ndarray) -> np.ndarray:
    """Light of sRGB's encoded values in [0, 1]."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def to_encoded(light: np.ndarray) -> np.ndarray:
    """sRGB's encoded values of light in [0, 1]."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def _profile(kind: bytes, space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    tags = {
        b"desc": _text(b"desc", b"test"),
        b"cprt": _text(b"text", b"none"),
        b"wtpt": _xyz(*D50),
    } | tags
    offset, table, body = 128 + 4 + 12 * len(tags), b"", b""
    for name, data in tags.items():
        data += b"\0" * (-len(data) % 4)
        table += name + struct.pack(">II", offset + len(body), len(data))
        body += data
    size = offset + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"\0" * 4, 0x02100000, kind, space, pcs)
    head += struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + b"acsp" + b"\0" * 28 + _fixed(*D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + body


def rgb_profile(primaries: tuple = (RED, GREEN, BLUE), linear: bool = False) -> bytes:
    """A monitor's profile with these primaries and the curve of sRGB, or none."""
    ramp = np.linspace(0, 1, 1024)
    curve = _curve(ramp if linear else to_linear(ramp))
    names = {b"rXYZ": primaries[0], b"gXYZ": primaries[1], b"bXYZ": primaries[2]}
    tags = {name: _xyz(*values) for name, values in names.items()}
    return _profile(
        b"mntr", b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    )


def grey_profile() -> bytes:
    """A monitor's profile for grey pictures whose values are light itself."""
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(np.linspace(0, 1, 1024))})


def cmyk_profile(lightness: dict[tuple[int, int, int, int], float]) -> bytes:
    """A printer's profile: CIE lightness (0 to 100) of each full or absent combination of inks, all of them grey."""
    corners = [(c, m, y, k) for c in (0, 1) for m in (0, 1) for y in (0, 1) for k in (0, 1)]
    table = b"".join(
        bytes([round(lightness.get(corner, 0.0) * 2.55), 128, 128]) for corner in corners
    )
    ramp = bytes(range(256))
    lut = (
        b"mft1\0\0\0\0"
        + bytes([4, 3, 2, 0])
        + _fixed(1, 0, 0, 0, 1, 0, 0, 0, 1)
        + ramp * 4
        + table
        + ramp * 3
    )
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": lut})
