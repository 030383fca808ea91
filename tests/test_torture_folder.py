"""One folder with everything that a real one has been seen to hold, and what becomes of each file in it."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import struct
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from striate.data.audit import audit
from striate.data.decode import decode
from striate.data.images import Skipped
from striate.data.sources import load
from striate.errors import DataError

SIZE = (8, 12)  # height, width
RAMP = np.tile(np.linspace(0, 255, SIZE[1]).round().astype(np.uint8), (SIZE[0], 1))
"""Black at the left, white at the right: what is clipped, turned or inverted no longer looks like it."""
COLOUR = np.stack([RAMP, RAMP[:, ::-1], np.full_like(RAMP, 60)], axis=2)
CAFE = unicodedata.normalize("NFC", "café")


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def turned() -> bytes:
    """Stored lying on its side, with the EXIF tag that sets it upright."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(Image.fromarray(COLOUR).transpose(Image.Transpose.ROTATE_90), "PNG", exif=exif)


def alpha(mode: str) -> bytes:
    """Opaque ramp at the top, black but wholly transparent below."""
    image = Image.fromarray(RAMP if mode == "LA" else COLOUR).convert(mode)
    image.putalpha(Image.fromarray(np.repeat([[255]] * 4 + [[0]] * 4, SIZE[1], 1).astype(np.uint8)))
    return encoded(image)


def palette() -> bytes:
    image = Image.new("P", (SIZE[1], SIZE[0]), 1)
    image.putpalette([0, 0, 0, 200, 100, 50] + [0] * 762)
    return encoded(image)


def profiled() -> bytes:
    """Linear light: its level 55 is what sRGB calls 128."""
    linear = ImageCms.createProfile("sRGB")
    made = ImageCms.ImageCmsProfile(linear).tobytes()
    # each tone curve (tag "rTRC" and so on) becomes "curv" with no entries: the identity
    count = struct.unpack(">I", made[128:132])[0]
    data = bytearray(made)
    for k in range(count):
        sign, start, _ = struct.unpack(">4sII", made[132 + 12 * k : 144 + 12 * k])
        if sign in (b"rTRC", b"gTRC", b"bTRC"):
            data[start : start + 12] = b"curv" + bytes(8)
    data = data.replace("sRGB".encode("utf-16-be"), "line".encode("utf-16-be")).replace(b"sRGB", b"line")
    return encoded(Image.new("RGB", (SIZE[1], SIZE[0]), (55, 55, 55)), icc_profile=bytes(data))


def bomb() -> bytes:
    """A PNG of a few bytes that says it is 60,000 pixels a side."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def animated() -> bytes:
    frames = [Image.new("RGB", (SIZE[1], SIZE[0]), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    return encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)


def float_tiff() -> bytes:
    return encoded(Image.fromarray((RAMP / 255).astype(np.float32)), "TIFF")


def close(x: np.ndarray, to: object, by: int = 1) -> None:
    assert np.abs(x.astype(int) - np.asarray(to).astype(int)).max() <= by


GRAY = np.repeat(RAMP[:, :, None], 3, axis=2)
WHITE_BELOW = np.where(np.arange(SIZE[0])[:, None, None] < 4, 0, 255)
READ = {
    "plain.png": (encoded(Image.fromarray(COLOUR)), lambda x: close(x, COLOUR, 0)),
    "turned by EXIF.png": (turned(), lambda x: close(x, COLOUR, 0)),
    "alpha.png": (alpha("RGBA"), lambda x: close(x, np.maximum(COLOUR * (WHITE_BELOW == 0), WHITE_BELOW), 0)),
    "gray alpha.png": (alpha("LA"), lambda x: close(x, np.maximum(GRAY * (WHITE_BELOW == 0), WHITE_BELOW), 0)),
    "palette.png": (palette(), lambda x: close(x, (200, 100, 50), 0)),
    "cmyk.jpg": (
        encoded(Image.new("CMYK", (SIZE[1], SIZE[0]), (0, 255, 255, 0)), "JPEG", quality=95),
        lambda x: close(x, (255, 0, 0), 4),
    ),
    "one bit.png": (
        encoded(Image.fromarray(RAMP > 127)),
        lambda x: close(x, np.where(GRAY > 127, 255, 0), 0),
    ),
    "sixteen bit.png": (encoded(Image.fromarray(RAMP.astype(np.uint16) * 257)), lambda x: close(x, GRAY, 0)),
    "twelve of sixteen bit.png": (encoded(Image.fromarray(RAMP.astype(np.uint16) * 16)), lambda x: close(x, GRAY)),
    "float.tiff": (float_tiff(), lambda x: close(x, GRAY, 0)),
    "linear ICC.png": (profiled(), lambda x: close(x, (128, 128, 128), 2)),
    "animated.webp": (animated(), lambda x: close(x, (250, 0, 0), 0)),
    "UPPERCASE.JPEG": (encoded(Image.fromarray(GRAY), "JPEG", quality=95), lambda x: close(x, GRAY, 6)),
    "a PNG named jpg.jpg": (encoded(Image.fromarray(COLOUR)), lambda x: close(x, COLOUR, 0)),
    "bild ü 猫 🐱.png": (encoded(Image.fromarray(COLOUR[::-1])), lambda x: close(x, COLOUR[::-1], 0)),
    "deep/er/inside.png": (encoded(Image.fromarray(255 - COLOUR)), lambda x: close(x, 255 - COLOUR, 0)),
}
"""What is read, under train/cat: the file, and what its pixels must be."""

BAD = {
    "truncated.png": (encoded(Image.fromarray(COLOUR))[:-30], "the file is truncated"),
    "truncated.jpg": (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:-400], "the file is truncated"),
    "bomb.png": (
        bomb(),
        "the image has too many pixels to decode (3600000000 pixels)",
    ),
    "text.jpg": (b"no picture at all", "this is no image of a known kind (17 bytes of text)"),
    "empty.png": (b"", "the file is empty (0 bytes)"),
    "page.png": (b"%PDF-1.7\n\x00", "this is no image of a known kind (a PDF)"),
}
"""What cannot be read, under train/dog, and the reason that is given."""

LITTER = {
    ".ipynb_checkpoints/1.png": "hidden files and folders",
    ".hidden/cat/1.png": "hidden files and folders",
    "train/.ipynb_checkpoints/1.png": "hidden files and folders",
    "train/cat/.ipynb_checkpoints/plain-checkpoint.png": "hidden files and folders",
    "train/cat/._plain.png": "hidden files and folders",
    "__MACOSX/train/cat/._plain.png": "system files and folders (Thumbs.db, __MACOSX, …)",
    "train/dog/Thumbs.db": "system files and folders (Thumbs.db, __MACOSX, …)",
    "train/dog/notes.txt": "files that are no images",
    "train/loose.png": "images outside the class folders",
}
"""What is no part of the data set, and how it is counted."""


def put(folder: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


def good(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    return encoded(Image.fromarray(pixels))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("torture")
    put(root / "train" / "cat", {name: data for name, (data, _) in READ.items()})
    put(root / "train" / "dog", {name: data for name, (data, _) in BAD.items()})
    put(root / "train" / "dog", {f"{k}.png": good(k) for k in range(60)})
    # one class, its name in the two forms of Unicode that macOS and Linux write
    put(root / "train" / unicodedata.normalize("NFD", CAFE), {"1.png": good(100), "2.png": good(101)})
    put(root / "Validation" / CAFE, {"1.png": good(102)})
    put(root / "Validation" / "dog", {"1.png": good(103), "again.png": good(7)})  # dog/7.png is in train too
    put(root / "TEST" / "cat", {"1.png": good(104)})
    put(root / "TEST" / "dog", {"1.png": good(105)})
    put(root / "TEST" / CAFE, {"1.png": good(106)})
    put(root, {name: good(200) for name in LITTER})
    (root / "train" / "nothing").mkdir()
    return root


def content(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        str(path): (path.stat().st_mtime_ns, "" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest())
        for path in [folder, *folder.rglob("*")]
    }


@pytest.mark.parametrize("name", READ)
def test_a_readable_file_keeps_its_content(folder, name):
    READ[name][1](decode(folder / "train" / "cat" / name, 3))


def test_the_whole_folder_loads_with_every_file_accounted_for(folder):
    before = content(folder)
    data = load(folder, size=SIZE, channels=3)
    assert data.classes == (CAFE, "cat", "dog")
    assert (len(data.train), len(data.valid), len(data.test)) == (len(READ) + 60 + 2, 3, 3)
    shown = dict(zip(data.train.files, data.train.x, strict=True))
    for name, (_, expected) in READ.items():
        expected(shown[os.path.join("train", "cat", name)])
    assert data.skipped == tuple(
        Skipped(os.path.join("train", "dog", name), reason) for name, (_, reason) in sorted(BAD.items())
    )
    counts: dict[str, int] = {"class folders without an image": 1}
    for reason in LITTER.values():
        counts[reason] = counts.get(reason, 0) + 1
    assert data.notes == (
        *(f"ignored: {count} {reason}" for reason, count in sorted(counts.items())),
        "skipped: 6 files that cannot be read",
    )
    assert content(folder) == before


def test_a_class_that_validation_lacks_does_not_move_the_others(folder):
    data = load(folder, size=SIZE, channels=3)
    named = dict(zip(data.valid.files, (data.classes[k] for k in data.valid.y), strict=True))
    assert named == {
        os.path.join("Validation", CAFE, "1.png"): CAFE,
        os.path.join("Validation", "dog", "1.png"): "dog",
        os.path.join("Validation", "dog", "again.png"): "dog",
    }


def test_a_class_that_only_validation_has_is_an_error_that_names_a_file(folder, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    put(copy / "Validation" / "dgo", {"1.png": good(300)})
    with pytest.raises(DataError) as refused:
        load(copy)
    assert str(refused.value) == (
        f"{copy}, valid: there is a class 'dgo' that train lacks\n"
        f"  got   {os.path.join('Validation', 'dgo', '1.png')}\n"
        f"  rule  one class order for all splits, that of train: {CAFE}, cat, dog\n"
        "  hint  did you mean 'dog'?"
    )


def test_the_audit_finds_the_leak_the_unreadable_files_and_the_lacking_class(folder):
    found = audit(folder)
    assert found.images == len(READ) + 60 + 2 + 6
    assert {bad.file for bad in found.unreadable} == {os.path.join("train", "dog", name) for name in BAD}
    leaks = [finding.files for finding in found.findings if finding.kind == "leak"]
    assert leaks == [(os.path.join("train", "dog", "7.png"), os.path.join("Validation", "dog", "again.png"))]
    assert "valid has no image of cat" in [finding.text for finding in found.findings]
    assert found.ignored["hidden files and folders"] == 5


@pytest.mark.parametrize("level", ["mapped", "streamed"])
def test_each_level_reads_the_same_from_it(folder, tmp_path, monkeypatch, level):
    from striate.data import cache

    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda *a, **k: str(tmp_path / "cache"))
    before = content(folder)
    whole, other = (load(folder, size=SIZE, channels=3, level=kind) for kind in ("resident", level))
    assert whole.fingerprint == other.fingerprint and whole.skipped == other.skipped
    np.testing.assert_array_equal(whole.train.x, other.train.x[:])
    assert content(folder) == before
