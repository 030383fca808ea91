"""Arrays to labelled images: a pair in memory or in files, an .npz archive, a built-in set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ...errors import DataError
from ...language import join_texts, say
from ...terminal import format_count
from ..images import Images
from ..listing import need_two_classes, order_classes
from ..read.bands import name_bands
from ..read.depth import Depth, format_depth
from ..read.npy import FileArray, find_mapped_file, open_npy
from ..store.allowance import parse_allowance
from ..store.array_pixels import PixelTarget, load_pixels, store_pixels
from ..store.rows import RowsShape
from .array_corrections import correct_numbers, name_rows
from .array_formats import check_image_shape, format_labels, number_labels, read_npz, settle_depth
from .builtin import BUILTINS, load_builtin
from .groups import check_group_names
from .nodes import join_names
from .options import (
    DEFAULT_OPTIONS,
    LoadedSource,
    LoadOptions,
    Source,
    explain_missing_split,
    explain_storage,
    fits_in_memory,
)
from .pairs import CollectedImages


class LabelledArrays(NamedTuple):
    """A source's images and labels by split, or all under None; its class names in their order where it has them."""

    name: str
    where: str
    arrays: Mapping[str | None, tuple[np.ndarray | FileArray, Any]]
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def title(self, part: str | None) -> str:
        return f"{self.where}, {part}" if part else self.where


def load_arrays(
    source: Source, classes: tuple[str, ...] | None = None, only: str | None = None, wish: LoadOptions = DEFAULT_OPTIONS
) -> LoadedSource:
    """A built-in data set, an .npz file or a pair of arrays; of a source with splits the split `only`, if given.

    Arrays in memory stay there. Those in files (an .npz, a .npy, a memory map) come into memory where all of them are
    allowed to, else they are read row by row, from where they lie or from the cache folder. Raises DataError.
    """
    pairs, strict = open_arrays(source, wish), classes is None
    shapes = {part: check_image_shape(x.shape, x.dtype, pairs.title(part)) for part, (x, _) in pairs.arrays.items()}
    names = {part: format_labels(y, shapes[part][0], pairs.title(part)) for part, (_, y) in pairs.arrays.items()}
    own = pairs.classes or order_classes(names["train"] if "train" in names else names[None])
    classes = classes or need_two_classes(pairs.where, own)
    chosen = {part: shape for part, shape in shapes.items() if only is None or part in (only, None)}
    if not chosen:
        raise explain_missing_split(pairs.where, only, [str(part) for part in shapes])
    numbers = {part: number_labels(names[part], own, pairs.title(part))[0] for part in chosen}
    numbers, stays, corrected = correct_numbers(pairs, numbers, own, wish.reading.corrections, strict)
    target = PixelTarget(*choose_array_shape(chosen, wish, pairs), wish.fit)
    filed = {part: x for part, (x, _) in pairs.arrays.items() if isinstance(x, FileArray) and part in chosen}
    count = sum(chosen[part][0] for part in filed)
    pixels, allowed = count * target.row, parse_allowance(wish.memory)
    held = fits_in_memory(pixels, allowed, wish.level)
    parts: dict[str | None, Images] = {}
    depth = choose_array_depth(pairs, wish)
    scaled = [explain_array_depth(depth)] if wish.depth == "choose" and depth else []
    notes = (*pairs.notes, *([corrected] if corrected else []), *scaled)
    for part in chosen:
        x, title = pairs.arrays[part][0], pairs.title(part)
        y = numbers[part]
        if classes != own:
            y, _ = number_labels([own[k] for k in y], classes, pairs.where)
        files = name_rows(part, len(y))
        own_depth = settle_depth(x, title, depth)
        put = (
            load_pixels(x, title, target, own_depth)
            if held or part not in filed
            else store_pixels(filed[part], title, target, wish, own_depth)
        )
        parts[part] = Images(put, y, classes, files)
        if not stays[part].all():
            parts[part] = parts[part].take(np.flatnonzero(stays[part]))
    if filed and not held:
        as_it_is = all(target.lies_in(x) for x in filed.values())
        notes = (*notes, explain_storage(pixels, allowed, count, count, wish.level, pairs.where if as_it_is else None))
    level = "mapped" if filed and not held else "resident"
    owned, read_as = len(filed) == len(chosen), describe_arrays(pairs, chosen, depth)
    group, told = wish.reading.group, {}
    part = None if None in pairs.arrays else "train"
    if isinstance(group, tuple) and part in chosen:
        check_group_names(group, shapes[part][0], pairs.where)
        told = {part: tuple(np.array(group, object)[stays[part]])}
    return LoadedSource(pairs.name, pairs.where, parts, (), notes, owned, level, read_as, depth, told=told, group=group)


def choose_array_depth(pairs: LabelledArrays, wish: LoadOptions) -> Depth | None:
    """The scale of the source's numbers: as wished, else by the array to train on. Raises DataError."""
    if wish.depth is not None and wish.depth != "choose":
        return wish.depth
    part = "train" if "train" in pairs.arrays else next(iter(pairs.arrays))
    return settle_depth(pairs.arrays[part][0], pairs.title(part))


def explain_array_depth(depth: Depth) -> str:
    """How the numbers were scaled, in a sentence."""
    return say(
        "numbers from {low:g} to {high:g} become 0 to 255; what lies beyond is clipped", low=depth.low, high=depth.high
    )


def describe_arrays(pairs: LabelledArrays, shapes: Mapping[str | None, RowsShape], depth: Depth | None = None) -> str:
    """How the source was understood, in a line: "arrays in train and test, 70,000 images, 28×28, 8-bit gray"."""
    n, (_, h, w, c) = sum(shape[0] for shape in shapes.values()), next(iter(shapes.values()))
    arrays = say("arrays")
    if None not in shapes:
        arrays = say("{form} in {splits}", form=arrays, splits=join_names(part for part in shapes if part))
    types = {str(pairs.arrays[part][0].dtype) for part in shapes}
    kind = say("{bits}-bit", bits=8) if types == {"uint8"} else join_texts(say(" and "), sorted(types))
    if depth is not None:
        kind = say("{kind} ({depth})", kind=kind, depth=format_depth(depth))
    pixels = say("{depth} {bands}", depth=kind, bands=name_bands(c))
    return join_texts(", ", [arrays, format_count(n, "image"), f"{h}×{w}", pixels])


def open_arrays(source: Source, wish: LoadOptions) -> LabelledArrays:
    """The source's arrays; of those in files no number has been read yet. Raises DataError."""
    if isinstance(source, tuple):
        if len(source) != 2:
            raise DataError(
                "(X, y)", say("two arrays are needed, images and labels"), got=say("{count} things", count=len(source))
            )
        x, y = (open_npy(Path(given)) if isinstance(given, str | Path) else given for given in source)
        x = x if isinstance(x, FileArray) else find_mapped_file(x) or np.asarray(x)
        return LabelledArrays("arrays", "(X, y)", {None: (x, y.read() if isinstance(y, FileArray) else y)})
    if isinstance(source, CollectedImages):
        stacked = source.stack_images(wish.size, wish.fit)
        pairs = {part: (x, list(source.labels[part])) for part, x in stacked.items()}
        return LabelledArrays(source.name, source.name, pairs, source.classes, source.notes)
    if source in BUILTINS:
        builtin, progress = BUILTINS[str(source)], wish.progress
        told = (
            (lambda done, total: progress(say("bytes of {name}", name=builtin.name), done, total)) if progress else None
        )
        found = load_builtin(builtin, told)
        return LabelledArrays(
            builtin.name, builtin.name, found.arrays, builtin.classes, (say("read from {place}", place=found.where),)
        )
    arrays, classes = read_npz(Path(source))
    return LabelledArrays(Path(source).stem, str(source), arrays, classes)


def choose_array_shape(
    shapes: Mapping[str | None, RowsShape], wish: LoadOptions, pairs: LabelledArrays
) -> tuple[tuple[int, int], int]:
    """The size and channels of all splits: those wished, else what they have; gray where all are. Raises DataError."""
    bands = {shape[3]: part for part, shape in shapes.items()}
    if len(bands) > 1 and set(bands) != {1, 3}:
        got = ", ".join(f"{part} {count}" for count, part in bands.items())
        raise DataError(
            pairs.where, say("the splits differ in the number of their bands"), got=got, rule=say("one for all")
        )
    sizes = {(h, w): part for part, (_, h, w, _) in shapes.items()}
    if wish.size is None and len(sizes) > 1:
        got = ", ".join(f"{part} {h}×{w}" for (h, w), part in sizes.items())
        raise DataError(
            pairs.where, say("the splits differ in size, so a size is needed"), got=got, hint="size=(64, 64)"
        )
    channels = wish.channels or max(bands)
    if wish.reading.alpha == "channel" and channels not in (2, 4):
        what, hint = say("these images have no transparency to be a channel"), say("leave out --alpha channel")
        raise DataError(pairs.where, what, got=format_count(channels, "channel"), rule=say("2 or 4"), hint=hint)
    return wish.size or next(iter(sizes)), channels
