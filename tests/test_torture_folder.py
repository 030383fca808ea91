"""One folder with everything that a real one has been seen to hold, and what becomes of each file in it."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import unicodedata
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from striate.data.check.audit import audit_data
from striate.data.images import Skipped
from striate.data.read.decode import decode_image
from striate.data.reading import Reading
from striate.data.sources.folder import list_image_files
from striate.data.sources.load import load_dataset
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
    "text.jpg": (b"no picture at all", "this is not an image of a known format (17 bytes of text)"),
    "empty.png": (b"", "the file is empty (0 bytes)"),
    "page.png": (b"%PDF-1.7\n\x00", "this is not an image of a known format (a PDF)"),
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
    "train/dog/notes.txt": "files that are not images",
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


LOOSE = Reading(drop_unplaced=True)
"""One picture of some 90 lies in no class folder: more than a hundredth."""


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
    READ[name][1](decode_image(folder / "train" / "cat" / name, 3))


def test_the_whole_folder_loads_with_every_file_accounted_for(folder):
    before = content(folder)
    data = load_dataset(folder, size=SIZE, channels=3, reading=LOOSE)
    assert data.classes == (CAFE, "cat", "dog")
    assert (len(data.train), len(data.valid), len(data.test)) == (len(READ) + 60 + 2, 3, 3)
    shown = dict(zip(data.train.files, data.train.x, strict=True))
    for name, (_, expected) in READ.items():
        if name == "twelve of sixteen bit.png":  # beside 16 bits: one data set has one scale
            close(shown[os.path.join("train", "cat", name)], GRAY // 16, 0)
        else:
            expected(shown[os.path.join("train", "cat", name)])
    assert data.skipped == tuple(
        Skipped(os.path.join("train", "dog", name), reason) for name, (_, reason) in sorted(BAD.items())
    )
    counts: dict[str, int] = {"class folders without an image": 1}
    for reason in LITTER.values():
        counts[reason] = counts.get(reason, 0) + 1
    assert data.notes == (
        *(f"ignored: {reason}: {count}" for reason, count in sorted(counts.items())),
        "values from 0 to 65535 become 0 to 255 (16-bit), as chosen by 2 training files; beside them 73 files of "
        "8 bits, taken as they are; and 1 file of floats, scaled by its own largest value",
        "no image to validate on in cat: it is not measured there",
        "skipped: 6 files that cannot be read",
    )
    assert content(folder) == before


def test_a_class_that_validation_lacks_does_not_move_the_others(folder):
    data = load_dataset(folder, size=SIZE, channels=3, reading=LOOSE)
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
        load_dataset(copy, reading=LOOSE)
    assert str(refused.value) == (
        f"{copy}, valid: there is a class 'dgo' that train lacks\n"
        f"  got   {os.path.join('Validation', 'dgo', '1.png')}\n"
        f"  rule  one class order for all splits, that of train: {CAFE}, cat, dog\n"
        "  hint  did you mean 'dog'?"
    )


def test_the_audit_finds_the_leak_the_unreadable_files_and_the_lacking_class(folder):
    found = audit_data(folder, reading=LOOSE)
    assert found.images == len(READ) + 60 + 2 + 6
    assert {bad.file for bad in found.unreadable} == {os.path.join("train", "dog", name) for name in BAD}
    leaks = [finding.files for finding in found.findings if finding.kind == "leak"]
    assert leaks == [(os.path.join("train", "dog", "7.png"), os.path.join("Validation", "dog", "again.png"))]
    assert "valid has no image of cat" in [finding.text for finding in found.findings]
    assert found.ignored["hidden files and folders"] == 5


@pytest.mark.parametrize("level", ["mapped", "streamed"])
def test_each_level_reads_the_same_from_it(folder, tmp_path, monkeypatch, level):
    from striate.data.store import cache

    monkeypatch.setattr(cache.platformdirs, "user_cache_dir", lambda *a, **k: str(tmp_path / "cache"))
    before = content(folder)
    whole, other = (
        load_dataset(folder, size=SIZE, channels=3, reading=LOOSE, level=kind) for kind in ("resident", level)
    )
    assert whole.fingerprint == other.fingerprint and whole.skipped == other.skipped
    np.testing.assert_array_equal(whole.train.x, other.train.x[:])
    assert content(folder) == before


def pets(folder: Path, *classes: str) -> Path:
    for k, name in enumerate(classes or ("cat", "dog")):
        put(folder / name, {f"{i}.png": good(100 * k + i) for i in range(10)})
    return folder


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_links_that_lead_back_and_links_inside_classes_are_left_out_and_links_to_classes_are_read(tmp_path):
    root = pets(tmp_path / "pets")
    put(tmp_path / "birds", {f"{i}.png": good(500 + i) for i in range(10)})
    (root / "bird").symlink_to(tmp_path / "birds")
    (root / "all").symlink_to(root)
    (root / "cat" / "loop").symlink_to(root)
    (root / "cat" / "more").symlink_to(tmp_path / "birds")
    (root / "cat" / "itself.png").symlink_to(root / "cat" / "itself.png")
    data = load_dataset(root, size=SIZE)
    assert data.classes == ("bird", "cat", "dog")
    assert [(bad.file, bad.why) for bad in data.skipped] == [
        (os.path.join("cat", "itself.png"), "the file cannot be read: Too many levels of symbolic links")
    ]
    assert data.notes[:2] == (
        "ignored: links that lead back: 2",
        "ignored: links to folders inside class folders: 1",
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in the file system")
def test_a_pipe_with_an_images_name_is_not_waited_for(tmp_path):
    os.mkfifo(pets(tmp_path) / "cat" / "pipe.png")
    assert load_dataset(tmp_path, size=SIZE).notes[0] == "ignored: pipes and devices: 1"
    assert len(list(list_image_files([str(tmp_path)]))) == 20


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse a name that is no Unicode")
def test_names_that_are_no_unicode_are_written_out(tmp_path):
    pets(tmp_path)
    os.rename(tmp_path / "cat", os.fsencode(tmp_path) + b"/caf\xe9")
    os.rename(tmp_path / "dog" / "0.png", os.fsencode(tmp_path) + b"/dog/\xff.png")
    data = load_dataset(tmp_path, size=SIZE)
    assert data.classes == (r"caf\udce9", "dog") and data.skipped == ()
    files = {*data.train.files, *data.valid.files, *data.test.files}
    assert r"dog/\udcff.png" in files and all(file.encode() for file in files)


def test_class_names_that_differ_in_capitals_alone_are_told_of(tmp_path):
    root = pets(tmp_path, "Hot Dog", "cat", "hot_dog")
    told = "Hot Dog and hot_dog are taken as classes of their own"
    assert told in load_dataset(root, size=SIZE).notes
    assert ("warning", told) in [(finding.severity, finding.text) for finding in audit_data(root).findings]


def test_thousands_of_classes_load_in_seconds(tmp_path):
    image = encoded(Image.new("L", (2, 2)))
    for k in range(3000):
        put(tmp_path / f"c{k}", {"0.png": image, "1.png": image})
    began = time.perf_counter()
    data = load_dataset(tmp_path, size=(2, 2))
    assert len(data.classes) == 3000 and time.perf_counter() - began < 20


@pytest.mark.skipif(not hasattr(os, "setuid"), reason="rights are other on Windows")
def test_what_may_not_be_read_is_skipped_or_said():
    """In a process of a user who is not root, for root may read all."""
    with tempfile.TemporaryDirectory() as place:
        root = pets(Path(place) / "pets", "cat", "dog", "fox")
        Path(place).chmod(0o755)
        (root / "cat" / "3.png").chmod(0)
        (root / "fox").chmod(0o444)  # its names may be read, its files not
        child = subprocess.run(
            [sys.executable, "-c", UNPRIVILEGED, str(root)], capture_output=True, text=True, env=os.environ
        )
        (root / "fox").chmod(0o755)
    assert child.returncode == 0, child.stderr
    denied = [*(f"fox/{k}.png" for k in range(10)), "cat/3.png"]
    assert sorted(child.stdout.split()) == sorted(denied)


UNPRIVILEGED = """
import os, sys
from striate.data.reading import Reading
from striate.data.sources.load import load_dataset
load_dataset("digits")  # so that all libraries are there before their folders may not be read either
if os.getuid() == 0:
    os.setuid(65534)
for bad in load_dataset(sys.argv[1], size=(8, 12), reading=Reading(bad_share=0.5, drop_unplaced=True)).skipped:
    assert bad.why == "the file cannot be read: Permission denied", bad
    print(bad.file)
"""
