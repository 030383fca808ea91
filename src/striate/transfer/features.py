"""What a frozen net says of each image: computed once through ONNX Runtime, kept by content in the cache folder."""

from __future__ import annotations

import hashlib
import json
import os
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import platformdirs

from .. import atomic_file
from ..architecture.net import Net
from ..architecture.text import to_json
from ..data.images import Images, standardise_pixels
from ..engines import onnx
from ..engines.model_file import Preprocess
from ..errors import RunError
from ..threads import map_in_threads
from .backbone import take_part
from .head import LinearHead, compute_probabilities

# Of how features are computed; a change of it makes what is kept useless.
FEATURE_POLICY = "1"
# Images whose features are kept together: what a run that is killed has to compute again at most.
FEATURE_CHUNK = 512
# Seconds after which features that no run has used are deleted when others are kept.
UNUSED_FEATURE_SECONDS = 30 * 24 * 3600

FeatureProgress = Callable[[int, int], None]


class FrozenNet:
    """A net with its weights and its preparation of pixels, to be run over many images by all cores.

    Each image is a batch of its own in one thread, a thread a core: on two cores EfficientNet-Lite0 took 3.6 ms an
    image so, 6 to 15 ms in batches of 4 to 16 or with two threads to an operator, and so no image's features depend
    on another's.

    tap      the path of a layer whose map comes too
    threads  images at a time; None: as many as there are cores
    """

    def __init__(
        self,
        net: Net,
        tensors: Mapping[str, np.ndarray],
        mean: Sequence[float],
        std: Sequence[float],
        tap: str | None = None,
        threads: int | None = None,
    ) -> None:
        self.net, self.tap, self.threads = net, tap, threads or os.cpu_count() or 1
        self.session = onnx.open_net(net, tensors, outputs=[tap] if tap else [], threads=1)
        self.mean, self.std = np.array(mean, np.float32), np.array(std, np.float32)
        whole = hashlib.sha256(json.dumps([FEATURE_POLICY, onnxruntime.__version__, to_json(net)]).encode())
        for array in (self.mean, self.std, *(tensors[name] for name in net.tensors)):
            whole.update(np.ascontiguousarray(array, np.float32).data)
        self.mark = whole.hexdigest()

    def one(self, image: np.ndarray, mirrored: bool = False) -> list[np.ndarray]:
        """The net's output for uint8 h×w×C, and the map at `tap`; `mirrored` exchanges left and right first."""
        pixels = image[:, ::-1] if mirrored else image
        x = standardise_pixels(pixels[None], self.mean, self.std)
        return [found[0] for found in self.session.run(None, {onnx.NET_INPUT: np.ascontiguousarray(x)})]

    def each(self, x: Any, rows: np.ndarray, mirrored: bool = False) -> Iterator[list[np.ndarray]]:
        """`one` for the images of `x`, an array or Rows, at `rows`, in order."""
        # Not all of a large data set's pixels are read at once.
        images = (image for low in range(0, len(rows), 64) for image in x[rows[low : low + 64]])
        return map_in_threads(lambda image: self.one(image, mirrored), images, self.threads)


def extract_features(
    frozen: FrozenNet,
    x: Any,
    marks: list[bytes],
    *,
    mirrored: bool = False,
    progress: FeatureProgress = lambda done, of: None,
) -> np.ndarray:
    """The net's output vectors, float32 N×d, of uint8 images N×h×w×C, an array or Rows.

    Taken from the cache folder where the very pixels were there before under the very net; the others are put there.
    marks     the images' digests (`data.images.list_digests`)
    progress  called with the images done and all of them
    """
    place = choose_feature_folder(frozen, mirrored)
    out = np.empty((len(x), *frozen.net.output), np.float32)
    missing = fill_kept(out, marks, place)
    progress(len(x) - len(missing), len(x))
    for low in range(0, len(missing), FEATURE_CHUNK):
        chunk, count = missing[low : low + FEATURE_CHUNK], 0
        try:
            for k, found in zip(chunk, frozen.each(x, chunk, mirrored), strict=True):
                out[k] = found[0]
                count += 1
                if count % 32 == 0 or count == len(chunk):
                    progress(len(x) - len(missing) + low + count, len(x))
        finally:  # also where `progress` breaks off
            if count:
                keep_features(place, [marks[k] for k in chunk[:count]], out[chunk[:count]])
    return out


def fill_kept(out: np.ndarray, marks: list[bytes], place: Path) -> np.ndarray:
    """Put the vectors that are kept at `place` into their rows of `out`; the rows that are left."""
    done = np.zeros(len(out), bool)
    for known, vectors in iterate_kept(place):
        rows = {bytes(mark): row for row, mark in enumerate(known)}
        for k in np.flatnonzero(~done):
            row = rows.get(marks[k])
            if row is not None and vectors.shape[1:] == out.shape[1:]:
                out[k], done[k] = vectors[row], True
    return np.flatnonzero(~done)


def extract_features_and_maps(
    frozen: FrozenNet,
    x: Any,
    marks: list[bytes],
    *,
    mirrored: bool = False,
    progress: FeatureProgress = lambda done, of: None,
) -> tuple[np.ndarray, np.ndarray]:
    """`extract_features`, all computed now, and with them the maps at `frozen.tap`: float16 N×h'×w'×C'."""
    c, h, w = frozen.net.at(str(frozen.tap)).y
    vectors, maps = np.empty((len(x), *frozen.net.output), np.float32), np.empty((len(x), h, w, c), np.float16)
    for k, (vector, found) in enumerate(frozen.each(x, np.arange(len(x)), mirrored)):
        vectors[k], maps[k] = vector, found.transpose(1, 2, 0)
        if k % 32 == 31 or k == len(x) - 1:
            progress(k + 1, len(x))
    place = choose_feature_folder(frozen, mirrored)
    missing = fill_kept(np.empty_like(vectors), marks, place)
    if len(missing):
        keep_features(place, [marks[k] for k in missing], vectors[missing])
    return vectors, maps


def answer_by_features(
    net: Net,
    tensors: Mapping[str, np.ndarray],
    preprocess: Preprocess,
    images: Images,
    *,
    threads: int | None = None,
    progress: FeatureProgress = lambda done, of: None,
) -> np.ndarray:
    """Class probabilities, float64 N×K, of `images` by a finished `net` that ends in Dense, from one view of each.

    All but that Dense is the frozen net, whose vectors are taken from the cache folder where they are there.
    """
    head = net.body.named[-1][0]
    body, own = take_part(net, tensors, 0, -1)
    frozen = FrozenNet(body, own, preprocess.mean, preprocess.std, threads=threads)
    vectors = extract_features(frozen, images.x, images.digests, progress=progress)
    return compute_probabilities(LinearHead(tensors[f"{head}.weight"], tensors[f"{head}.bias"])(vectors))


def choose_feature_folder(frozen: FrozenNet, mirrored: bool) -> Path:
    return find_feature_cache() / frozen.mark[:32] / ("mirrored" if mirrored else "plain")


def find_feature_cache() -> Path:
    """Where features are kept: on Linux ~/.cache/striate/features."""
    return Path(platformdirs.user_cache_dir("striate", appauthor=False)) / "features"


def iterate_kept(place: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The digests and vectors of each readable file at `place`, which is marked as used."""
    for path in sorted(place.glob("*.npz")):
        try:
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as held:
                found = held["digests"], held["vectors"]
            os.utime(path)
            if len(found[0]) == len(found[1]):
                yield found
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
            continue


def keep_features(place: Path, marks: list[bytes], vectors: np.ndarray) -> None:
    """Put vectors into a file of their own at `place`; where there is no room they are computed again next time."""
    name = hashlib.sha256(b"".join(marks)).hexdigest()[:32]
    rows = np.frombuffer(b"".join(marks), np.uint8).reshape(len(marks), -1)

    def fill(part: Path) -> None:
        with part.open("wb") as out:
            np.savez(out, digests=rows, vectors=vectors)

    try:
        atomic_file.write_file_by(place / f"{name}.npz", fill)
        delete_unused_features()
    except RunError:
        pass


def delete_unused_features() -> None:
    """Delete what no run has used for 30 days."""
    for path in find_feature_cache().glob("*/*/*.npz"):
        try:
            if time.time() - path.stat().st_mtime > UNUSED_FEATURE_SECONDS:
                path.unlink()
        except OSError:  # another process was first, or holds it open
            continue
