"""Images that are arrays already: idx, NumPy's npz, CIFAR's binary form, or handed over in Python."""

from __future__ import annotations

import gzip
import math
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...language import say
from ..listing import order_classes
from ..read.bands import FEW_BANDS
from ..read.depth import Depth, apply_depth, choose_depth, draw_from_blocks
from ..read.npy import FileArray, open_npz
from ..store.rows import RowsShape

Arrays = tuple[np.ndarray, np.ndarray]
IDX_TYPES = {8: ">u1", 9: ">i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
# Images of an array that are scaled at once: what that takes beside the array is a few floats a value of theirs.
ROWS_AT_ONCE = 64
CIFAR_RECORD = 1 + 3 * 32 * 32  # a CIFAR-10 image: its label, then its red, green and blue planes


def read_idx(path: Path) -> np.ndarray:
    """The array in an idx file, gzipped or not (LeCun's format for MNIST: two zeros, type, dimensions, sizes, data).

    Raises DataError naming the file where it is broken or cut short.
    """
    data = read_unzipped(path)
    if len(data) < 4 or data[:2] != b"\0\0" or data[2] not in IDX_TYPES or len(data) < 4 + 4 * data[3]:
        raise DataError(
            str(path),
            say("this is not an idx file"),
            got=say("{count} bytes, the first {first}", count=len(data), first=data[:4].hex(" ")),
        )
    sizes = np.frombuffer(data, ">i4", data[3], 4).astype(np.int64)
    dtype = np.dtype(IDX_TYPES[data[2]])
    wanted, got = int(sizes.prod()) * dtype.itemsize, len(data) - 4 - 4 * data[3]
    if wanted != got:
        rule = say(
            "{sizes} values of {itemsize} bytes = {wanted}",
            sizes="·".join(map(str, sizes)),
            itemsize=dtype.itemsize,
            wanted=wanted,
        )
        raise DataError(
            str(path),
            say("the idx file does not hold what its header says"),
            got=say("{got} bytes", got=got),
            rule=rule,
        )
    return np.frombuffer(data, dtype, offset=4 + 4 * data[3]).reshape(sizes)


def read_unzipped(path: Path) -> bytes:
    """The file's bytes, unzipped if its name ends in .gz. Raises DataError."""
    try:
        return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as e:
        raise DataError(str(path), say("the gzip file is broken: {complaint}", complaint=e)) from None
    except OSError as e:
        raise DataError(str(path), say("the file cannot be read: {why}", why=e.strerror or e)) from None


def read_cifar10(place: Path) -> dict[str, Arrays]:
    """CIFAR-10's train and test split from its binary version: the folder `cifar-10-batches-bin` or the .tar.gz.

    Raises DataError naming the file that is missing or has a wrong size.
    """
    files = {"train": [f"data_batch_{k}.bin" for k in range(1, 6)], "test": ["test_batch.bin"]}
    if place.is_dir():
        parts = {name: read_unzipped(place / name) for names in files.values() for name in names}
    else:
        parts = read_tar_members(place, [name for names in files.values() for name in names])
    found = {}
    for split, names in files.items():
        for name in names:
            if not parts[name] or len(parts[name]) % CIFAR_RECORD:
                rule = say("a whole number of records of 1 + 3·32·32 = {size} bytes", size=CIFAR_RECORD)
                raise DataError(f"{place}/{name}", say("this is not a CIFAR-10 batch"), got=len(parts[name]), rule=rule)
        records = np.frombuffer(b"".join(parts[name] for name in names), np.uint8).reshape(-1, CIFAR_RECORD)
        pixels = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        found[split] = np.ascontiguousarray(pixels), records[:, 0].astype(np.int64)
    return found


def read_tar_members(archive: Path, names: list[str]) -> dict[str, bytes]:
    """The bytes of the named files in a tar archive; nothing is unpacked to disk. Raises DataError."""
    try:
        with tarfile.open(archive) as tar:
            members = {Path(member.name).name: member for member in tar if member.isfile()}
            parts = {name: tar.extractfile(members[name]) for name in names if name in members}
            found = {name: part.read() for name, part in parts.items() if part}
    except (tarfile.TarError, EOFError, zlib.error, OSError) as e:
        raise DataError(str(archive), say("the archive cannot be read: {complaint}", complaint=e)) from None
    for name in names:
        if name not in found:
            raise DataError(
                str(archive), say("the archive has no {name}", name=name), got=", ".join(sorted(members)[:8])
            )
    return found


def read_npz(path: Path) -> tuple[dict[str | None, tuple[FileArray, np.ndarray]], tuple[str, ...] | None]:
    """The images, not read yet, and the labels of an .npz file by split, and the class names if it has "classes".

    Keys: x and y; or x_train, y_train, x_test, y_test and, if wanted, x_valid (or x_val), y_valid; X and Y, images
    and labels, train_images and so on do as well. Under None where there is one pair only. Objects (pickles) are
    refused. Raises DataError.
    """
    held = {name.lower(): array for name, array in open_npz(path).items()}
    classes = held.pop("classes", None)
    pairs: dict[str | None, tuple[FileArray, np.ndarray]] = {}
    for split, words in {None: ("",), "train": ("train",), "valid": ("valid", "val"), "test": ("test",)}.items():
        x = pick_first(held, [names for word in words for names in list_spellings(("x", "images"), word)])
        y = pick_first(held, [names for word in words for names in list_spellings(("y", "labels"), word)])
        if x is not None and y is not None:
            pairs[split] = x, y.read()
    if not pairs or (None not in pairs and "train" not in pairs):
        hint = "numpy.savez(file, x=images, y=labels)"
        raise DataError(str(path), say("there are no images with labels in it"), got=", ".join(sorted(held)), hint=hint)
    if None in pairs:
        pairs = {None: pairs[None]}
    return pairs, None if classes is None else tuple(str(name) for name in classes.read())


def list_spellings(stems: tuple[str, ...], word: str) -> list[str]:
    return [key for stem in stems for key in ((f"{stem}_{word}", f"{word}_{stem}") if word else (stem,))]


def pick_first(held: dict[str, FileArray], keys: list[str]) -> FileArray | None:
    return next((held[key] for key in keys if key in held), None)


def check_image_shape(shape: tuple[int, ...], dtype: np.dtype, where: str) -> RowsShape:
    """N×H×W×C for an array of images of this shape and type. Raises DataError where it holds none."""
    if len(shape) == 3:
        shape = (*shape, 1)
    if len(shape) != 4 or are_bands_first(shape):
        got = "×".join(map(str, shape[:3] if len(shape) == 4 and shape[3] == 1 else shape))
        hint = "x.transpose(0, 2, 3, 1)" if len(shape) == 4 else None
        raise DataError(
            where, say("these are not images"), got=got, rule=say("N×H×W or N×H×W×C, channels last"), hint=hint
        )
    if 0 in shape:
        raise DataError(where, say("there is no image in it"), got="×".join(map(str, shape)))
    if dtype.kind not in "biuf":
        raise DataError(where, say("pixels are numbers"), got=dtype)
    n, h, w, c = shape
    return n, h, w, c


def are_bands_first(shape: tuple[int, ...]) -> bool:
    """Whether N×A×B×C is rather N×C×H×W: A is 1 or 3 where C is neither, or few and fewer than B and C.

    >>> are_bands_first((9, 4, 64, 64)), are_bands_first((9, 8, 8, 12)), are_bands_first((9, 3, 32, 3))
    (True, False, False)
    """
    _, a, b, c = shape
    return c not in (1, 3) and (a in (1, 3) or (a <= FEW_BANDS and a < min(b, c)))


def settle_depth(x: np.ndarray | FileArray, where: str, given: Depth | None = None) -> Depth | None:
    """The scale of an array's numbers; None for uint8 and for True and False, which need none.

    `given`, where it is for numbers of this kind, whole or not; else the one that `choose_depth` chooses by the array
    itself. Raises DataError for numbers that are not finite.
    """
    if x.dtype == np.uint8 or x.dtype.kind == "b":
        return None
    blocks = [x] if isinstance(x, np.ndarray) else x.blocks()
    values = draw_from_blocks((check_finite_pixels(block, where) for block in blocks), math.prod(x.shape))
    if given is not None and given.whole == (x.dtype.kind in "iu"):
        return given
    return choose_depth(values)


def check_finite_pixels(block: np.ndarray, where: str) -> np.ndarray:
    """The numbers themselves. Raises DataError where one is NaN or infinite."""
    if block.dtype.kind == "f" and not np.isfinite(block).all():
        got = f"{block.dtype.type(block[~np.isfinite(block)][0])}"
        raise DataError(where, say("pixels are finite numbers"), got=got, hint="numpy.nan_to_num(x)")
    return block


def scale_to_levels(x: np.ndarray, depth: Depth | None) -> np.ndarray:
    """Images N×H×W×C of any numbers as uint8: at the scale `depth`, without one as they are."""
    if depth is None:
        return x if x.dtype == np.uint8 else x.astype(np.uint8) * np.uint8(255)
    out = np.empty(x.shape, np.uint8)
    for low in range(0, len(x), ROWS_AT_ONCE):
        out[low : low + ROWS_AT_ONCE] = apply_depth(x[low : low + ROWS_AT_ONCE], depth)
    return out


def format_labels(y: Any, n: int, where: str) -> list[str]:
    """Labels as class names: text as it is, whole numbers as their digits. Raises DataError."""
    y = np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1 or len(y) != n:
        got = say("{shape} labels for {n} images", shape="×".join(map(str, y.shape)), n=n)
        raise DataError(where, say("there must be one label for each image"), got=got)
    if y.dtype.kind == "f" and not (np.isfinite(y).all() and (y == np.floor(y)).all()):
        raise DataError(
            where, say("labels are names or whole numbers"), got=str(y[y != np.floor(y)][:1])[1:-1] or y.dtype
        )
    if y.dtype.kind not in "biufUSO":
        raise DataError(where, say("labels are names or whole numbers"), got=y.dtype)
    if y.dtype.kind == "f":
        y = y.astype(np.int64)
    return [label.decode() if isinstance(label, bytes) else str(label) for label in y.tolist()]


def number_labels(labels: list[str], classes: tuple[str, ...] | None, where: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Each label's place in the classes, and the classes: those given, or the labels' own in their usual order.

    With classes given, a label that is the number of a class, and no class name itself, means that class.
    Raises DataError for a label that is neither.
    """
    order = classes or order_classes(labels)
    place = {str(k): k for k in range(len(order))} | {name: k for k, name in enumerate(order)}
    for label in labels:
        if label not in place:
            raise DataError(
                where, say("there is a class '{label}' that the others lack", label=label), rule=", ".join(order[:20])
            )
    return np.array([place[label] for label in labels], np.int64), order
