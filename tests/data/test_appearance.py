"""Pictures are decoded as a viewer shows them; the expected values come from the specifications, not from pillow."""

import io
import logging
import struct
from pathlib import Path

import numpy as np
import picture_files as files
import pytest
from PIL import Image

from diffshare.data.appearance import as_shown
from diffshare.data.images import FORMATS, Framing, decode, read_images
from diffshare.data.source import BadRecord

# EXIF 2.32, tag 274: on which side of the scene the stored row 0 and column 0 lie
TURNED = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored, 1),
}


@pytest.fixture
def stored() -> np.ndarray:
    """A picture without any symmetry, larger than its square, by an odd number of pixels."""
    return np.random.default_rng(0).integers(0, 256, (5, 8, 3)).astype(np.uint8)


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[274] = orientation
    return tags.tobytes()


def shown(data: bytes) -> tuple[list, tuple[str, ...]]:
    result = as_shown(files.open_bytes(data))
    assert result.image.mode == "RGB"
    return np.asarray(result.image).tolist(), result.notes


def saved(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


# --- orientation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("orientation", TURNED)
def test_a_picture_is_upright_and_cut_after_it_is_turned(tmp_path: Path, stored, orientation):
    (tmp_path / "turned.png").write_bytes(
        saved(Image.fromarray(stored), "PNG", exif=exif(orientation))
    )
    upright = np.ascontiguousarray(TURNED[orientation](stored))
    (tmp_path / "plain.png").write_bytes(saved(Image.fromarray(upright), "PNG"))
    for framing in (Framing(5), Framing(4, 4), Framing(7)):
        left, right = (
            decode(str(tmp_path / name), framing) for name in ("turned.png", "plain.png")
        )
        assert np.array_equal(left, right)


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["JPEG", "XMP", "late", "text"])
def test_an_orientation_is_read_wherever_it_stands(stored, orientation, kind):
    # blocks, which JPEG keeps nearly as they are
    large = np.kron(stored[:2], np.ones((8, 8, 1), np.uint8))
    image, width = Image.fromarray(large), large.shape[1]
    rows, raw = [row.tobytes() for row in large], exif(orientation)
    if kind == "JPEG":
        data = saved(image, "JPEG", exif=raw, quality=100, subsampling=0)
    elif kind == "XMP":
        text = f'<x:xmpmeta><rdf tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
        data = saved(image, "JPEG", xmp=text, quality=100, subsampling=0)
    elif kind == "late":  # PNG: the chunk may stand behind the pixels
        data = files.png(
            8, 2, rows, width, behind=files.chunk(b"eXIf", raw.removeprefix(b"Exif\0\0"))
        )
    else:  # as ImageMagick writes it
        text = f"\nexif\n{len(raw):8}\n{raw.hex()}\n".encode()
        data = files.png(8, 2, rows, width, files.chunk(b"tEXt", b"Raw profile type exif\0" + text))
    pixels, notes = shown(data)
    assert np.abs(np.array(pixels) - TURNED[orientation](large).astype(int)).max() <= 4
    assert notes == ()


@pytest.mark.parametrize(
    "raw", [b"Exif\0\0II*\0", b"Exif\0\0" + b"\xff" * 40, b"", exif(9), exif(0)]
)
def test_a_picture_with_odd_metadata_is_shown_as_it_lies(stored, raw):
    pixels, _ = shown(saved(Image.fromarray(stored), "PNG", exif=raw))
    assert pixels == stored.tolist()


# --- depth and transparency ------------------------------------------------------------------------------------------


def packed(values: list[int], depth: int) -> bytes:
    bits = "".join(f"{value:0{depth}b}" for value in values)
    return int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_grey_of_every_depth(depth):
    most = 2**depth - 1
    values = sorted({0, 1, most // 3, most - 1, most})
    expected = [value >> 8 if depth == 16 else round(value * 255 / most) for value in values]
    pixels, notes = shown(files.png(depth, 0, [packed(values, depth)], len(values)))
    assert (pixels, notes) == ([[[value] * 3 for value in expected]], ())
    # the same with a transparent colour: white in its place, and nowhere else
    for key, _ in enumerate(values):
        clear = files.chunk(b"tRNS", struct.pack(">H", values[key]))
        pixels, notes = shown(files.png(depth, 0, [packed(values, depth)], len(values), clear))
        assert pixels == [[[255 if i == key else value] * 3 for i, value in enumerate(expected)]]
        assert notes == ()


def test_sixteen_bits_give_the_same_in_every_kind():
    values = [0x12FF, 0x0001, 0xFFFF, 0x80AB]
    expected = [[[0x12] * 3, [0] * 3, [0xFF] * 3, [0x80] * 3]]
    pairs = [(value, 0xFFFF) for value in values]
    kinds = {
        0: values,
        2: [v for value in values for v in (value,) * 3],
        4: [v for pair in pairs for v in pair],
        6: [v for value, alpha in pairs for v in (value, value, value, alpha)],
    }
    for colour, samples in kinds.items():
        assert shown(files.png(16, colour, [packed(samples, 16)], 4)) == (expected, ()), files.BITS[
            colour
        ]


def test_a_transparent_colour_of_sixteen_bits_makes_nothing_else_transparent():
    row = packed([0x1200, 0, 0, 0x12FF, 0, 0], 16)
    pixels, notes = shown(
        files.png(16, 2, [row], 2, files.chunk(b"tRNS", struct.pack(">3H", 0x12, 0, 0)))
    )
    assert pixels == [[[0x12, 0, 0], [0x12, 0, 0]]]
    assert notes == ("has a transparent colour of 16 bits: it is taken as opaque",)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "P", "PA", "RGB"])
def test_what_is_transparent_lies_over_white(kind):
    grey = [10, 10, 10]
    palette = files.chunk(b"PLTE", bytes([*grey, 200, 200, 200, *grey]))
    data, alphas = {
        "RGBA": (files.png(8, 6, [bytes([*grey, 0, *grey, 51, *grey, 255])], 3), (0, 51, 255)),
        "LA": (files.png(8, 4, [bytes([10, 0, 10, 51, 10, 255])], 3), (0, 51, 255)),
        "P": (
            files.png(8, 3, [b"\0\2\0"], 3, palette + files.chunk(b"tRNS", bytes([0, 255, 51]))),
            (0, 51, 0),
        ),
        "PA": (
            files.png(4, 3, [b"\x02\x00"], 3, palette + files.chunk(b"tRNS", bytes([0]))),
            (0, 255, 0),
        ),
        "RGB": (
            files.png(
                8,
                2,
                [bytes([*grey, 11, 10, 10, *grey])],
                3,
                files.chunk(b"tRNS", struct.pack(">3H", *grey)),
            ),
            (0, 255, 0),
        ),
    }[kind]
    pixels, _ = shown(data)
    expected = [round(10 * alpha / 255 + 255 * (1 - alpha / 255)) for alpha in alphas]
    assert [pixel[1] for pixel in pixels[0]] == expected


def test_a_transparent_edge_does_not_bleed_the_colour_below_it(tmp_path):
    """The background is laid before the picture is resized: black under full transparency never shows."""
    pixels = np.zeros((8, 8, 4), np.uint8)
    Image.fromarray(pixels, "RGBA").save(tmp_path / "clear.png")
    assert (decode(str(tmp_path / "clear.png"), Framing(3)) == 255).all()


def test_palettes_of_every_depth():
    colours = [(9, 8, 7), (1, 200, 3), (50, 60, 70), (255, 0, 1)]
    table = files.chunk(b"PLTE", bytes(value for colour in colours for value in colour))
    for depth in (2, 4, 8):
        pixels, notes = shown(files.png(depth, 3, [packed([3, 0, 2, 1], depth)], 4, table))
        assert pixels == [[list(colours[i]) for i in (3, 0, 2, 1)]]
        assert notes == ()


# --- colours ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_profile_of_other_primaries_is_converted(kind):
    """Under a profile whose red is sRGB's green, and the other way round, both channels change places."""
    profile = files.rgb_profile((files.GREEN, files.RED, files.BLUE))
    image = Image.new("RGB", (8, 8), (180, 60, 90))
    options = {"quality": 100, "subsampling": 0} if kind == "JPEG" else {}
    pixels, notes = shown(saved(image, kind, icc_profile=profile, **options))
    assert np.abs(np.array(pixels) - [60, 180, 90]).max() <= 2
    assert notes == ()


def test_the_profile_of_srgb_changes_nothing():
    values = np.random.default_rng(0).integers(0, 256, (16, 16, 3)).astype(np.uint8)
    pixels, _ = shown(saved(Image.fromarray(values), "PNG", icc_profile=files.rgb_profile()))
    assert np.abs(np.array(pixels) - values.astype(int)).max() <= 2


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "LA", "1"])
def test_a_profile_of_plain_light_is_converted_in_every_mode(mode):
    """Values that are light itself: 128 is shown as sRGB's code of half the light, 188."""
    value = 255 if mode == "1" else 128
    image = Image.new("RGB", (2, 2), (value,) * 3)
    image = image.quantize(2) if mode == "P" else image.convert(mode)
    profile = files.grey_profile() if mode in ("L", "LA", "1") else files.rgb_profile(linear=True)
    pixels, notes = shown(saved(image, "PNG", icc_profile=profile))
    expected = round(float(files.to_encoded(np.array(value / 255))) * 255)
    assert np.abs(np.array(pixels) - expected).max() <= 1
    assert notes == ()


def lightness_to_srgb(lightness: float) -> int:
    """sRGB's code of a grey of this CIE lightness."""
    f = (lightness + 16) / 116
    light = f**3 if f > 6 / 29 else 3 * (6 / 29) ** 2 * (f - 4 / 29)
    return round(float(files.to_encoded(np.array(light))) * 255)


def test_inks_are_converted_by_their_profile():
    profile = files.cmyk_profile({(0, 0, 0, 0): 100.0, (1, 0, 0, 0): 60.0, (0, 1, 0, 0): 40.0})
    for inks, lightness in (((0, 0, 0, 0), 100.0), ((255, 0, 0, 0), 60.0), ((0, 255, 0, 0), 40.0)):
        data = saved(Image.new("CMYK", (8, 8), inks), "JPEG", quality=100, icc_profile=profile)
        pixels, notes = shown(data)
        assert np.abs(np.array(pixels) - lightness_to_srgb(lightness)).max() <= 3
        assert notes == ()


def test_inks_without_a_profile_follow_the_plain_formula():
    for inks, colour in (
        ((255, 0, 0, 0), (0, 255, 255)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((0, 0, 0, 0), (255,) * 3),
    ):
        pixels, notes = shown(saved(Image.new("CMYK", (8, 8), inks), "JPEG", quality=100))
        assert np.abs(np.array(pixels) - colour).max() <= 2
        assert notes == ()


@pytest.mark.parametrize(
    ("options", "note"),
    [
        (
            {"icc_profile": b"no profile at all"},
            "has a colour profile that cannot be read: its values are taken as sRGB",
        ),
        ({"icc_profile": files.rgb_profile()[:200]}, "has a colour profile that cannot be read"),
        ({"icc_profile": files.grey_profile()}, "has a colour profile of another kind of picture"),
        (
            {"icc_profile": files.cmyk_profile({})},
            "has a colour profile of another kind of picture",
        ),
    ],
)
def test_a_profile_that_cannot_be_followed_is_left_out_and_named(options, note):
    pixels, notes = shown(saved(Image.new("RGB", (1, 1), (10, 20, 30)), "PNG", **options))
    assert pixels == [[[10, 20, 30]]]
    assert len(notes) == 1
    assert notes[0].startswith(note)


def test_a_gamma_of_its_own_is_left_out_and_named():
    def gamma(value: int) -> bytes:
        return files.chunk(b"gAMA", struct.pack(">I", value))

    assert shown(files.png(8, 0, [b"\x80"], 1, gamma(45455))) == ([[[128] * 3]], ())
    assert (
        shown(files.png(8, 0, [b"\x80"], 1, gamma(100000) + files.chunk(b"sRGB", b"\0")))[1] == ()
    )
    pixels, notes = shown(files.png(8, 0, [b"\x80"], 1, gamma(100000)))
    assert (pixels, notes) == ([[[128] * 3]], ("has a gamma of its own: it is not applied",))


# --- several pictures in one file, and what is said -------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "MPO"])
def test_the_first_of_several_pictures_is_used_and_that_is_logged_once(tmp_path, caplog, kind):
    first, second = (Image.new("RGB", (8, 8), (value,) * 3) for value in (40, 200))
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(saved(first, kind, save_all=True, append_images=[second]))
    framing = Framing(8)
    with caplog.at_level(logging.WARNING):
        for name in ("a", "b"):
            assert np.abs(decode(str(tmp_path / name), framing).astype(int) - 40).max() <= 1
    assert [record.getMessage() for record in caplog.records] == [
        f"the picture {tmp_path / 'a'} holds several: only the first is used (said of the first such picture alone)"
    ]


def test_a_plain_picture_is_what_its_file_holds(stored):
    assert shown(saved(Image.fromarray(stored), "PNG")) == (stored.tolist(), ())


def test_caches_of_pictures_that_were_read_otherwise_are_not_used():
    """The text is part of a cache's key: it must not be that of the decoding which dropped all this."""
    assert not str(Framing(4)).startswith("RGB, centred square")


# --- other kinds of files --------------------------------------------------------------------------------------------


def opened(data: bytes) -> tuple[list, tuple[str, ...]]:
    result = as_shown(Image.open(io.BytesIO(data), formats=FORMATS))
    return np.asarray(result.image).tolist(), result.notes


def tiff(samples: bytes, width: int, bits: int, photometric: int = 1, kind: int = 1) -> bytes:
    """A TIFF of one row, written from its specification (TIFF 6.0): ``kind`` 1 unsigned, 2 signed, 3 fractions."""
    tags = [(256, width), (257, 1), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1)]
    tags += [(278, 1), (279, len(samples)), (339, kind)]
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    padded = samples + b"\0" * (len(samples) % 2)
    head = b"II*\0" + struct.pack("<I", 8 + len(padded))
    return head + padded + struct.pack("<H", len(tags)) + entries + b"\0" * 4


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "BMP", "GIF"])
def test_a_plain_picture_of_every_kind_is_what_its_file_holds(stored, kind):
    image = Image.fromarray(stored)
    options = {"lossless": True} if kind == "WEBP" else {}
    assert opened(saved(image, kind, **options)) == (stored.tolist(), ())


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "TIFF packed"])
def test_other_kinds_are_turned_too(stored, orientation, kind):
    tags = Image.Exif()
    tags[274] = orientation
    options = {"WEBP": {"lossless": True}, "TIFF": {}, "TIFF packed": {"compression": "tiff_lzw"}}[
        kind
    ]
    data = saved(Image.fromarray(stored), kind.split()[0], exif=tags, **options)
    assert opened(data) == (TURNED[orientation](stored).tolist(), ())


@pytest.mark.parametrize("kind", ["WEBP", "TIFF", "GIF"])
def test_the_first_picture_of_other_kinds_that_hold_several(kind):
    first, second = (Image.new("RGB", (2, 2), (value,) * 3) for value in (40, 200))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = saved(first, kind, save_all=True, append_images=[second], **options)
    assert opened(data) == ([[[40] * 3] * 2] * 2, ("holds several: only the first is used",))


def test_tiffs_of_other_depths_are_scaled():
    values = [0x0000, 0x12FF, 0x8000, 0xFFFF]
    assert opened(tiff(struct.pack("<4H", *values), 4, 16)) == (
        [[[v >> 8] * 3 for v in values]],
        (),
    )
    twelve = [0x000, 0x123, 0x800, 0xFFF]
    assert opened(tiff(packed(twelve, 12), 4, 12)) == ([[[v >> 4] * 3 for v in twelve]], ())
    assert opened(tiff(b"\xa0", 4, 1)) == ([[[255] * 3, [0] * 3] * 2], ())
    assert opened(tiff(b"\xa0", 4, 1, photometric=0)) == ([[[0] * 3, [255] * 3] * 2], ())
    assert opened(tiff(bytes([0, 9, 255]), 3, 8, photometric=0)) == (
        [[[255] * 3, [246] * 3, [0] * 3]],
        (),
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(struct.pack("<2H", 1, 2), 2, 16, photometric=0), "count from white to black"),
        (tiff(struct.pack("<2h", 1, 2), 2, 16, kind=2), "of 32 bits or signed"),
        (tiff(struct.pack("<2I", 1, 2), 2, 32), "of 32 bits or signed"),
        (tiff(struct.pack("<2f", 0.1, 0.2), 2, 32, kind=3), "fractions"),
        (saved(Image.new("LAB", (2, 2), (10, 20, 30)), "TIFF"), "Lab colours"),
    ],
)
def test_samples_that_would_be_decoded_wrong_are_refused_by_name(tmp_path, data, reason):
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(BadRecord, match=rf"cannot decode .*a\.tif: its .*{reason}.*save it as PNG"):
        read_images([str(tmp_path / "a.tif")], np.arange(1), Framing(2))


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP", "GIF", "BMP"])
def test_the_limit_of_pixels_holds_for_every_kind(tmp_path, monkeypatch, kind):
    (tmp_path / "a").write_bytes(saved(Image.new("L", (50, 50)), kind))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2499)
    with pytest.raises(
        BadRecord, match="50x50 pixels are more than the limit of 2499|exceeds limit"
    ):
        read_images([str(tmp_path / "a")], np.arange(1), Framing(2))
