"""Arrays to labelled images: a pair in memory or in files, an .npz archive, a built-in set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError
from .allowance import allowance
from .array_files import Filed, mapped_file, npy_file
from .array_pixels import Target, in_memory, on_disk
from .arrays import as_labels, image_shape, numbered, read_npz
from .builtin import BUILTINS, load_builtin
from .images import Images
from .listing import class_order, two_or_more
from .loaded import AS_IT_IS, Loaded, Source, Wish, resident, told_where, without
from .rows import Shape


class Pairs(NamedTuple):
    """A source's images and labels by split, or all under None; its class names in their order where it has them."""

    name: str
    where: str
    arrays: Mapping[str | None, tuple[np.ndarray | Filed, Any]]
    classes: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def title(self, part: str | None) -> str:
        return f"{self.where}, {part}" if part else self.where


def from_arrays(
    source: Source, classes: tuple[str, ...] | None = None, only: str | None = None, wish: Wish = AS_IT_IS
) -> Loaded:
    """A built-in data set, an .npz file or a pair of arrays; of a source with splits the split `only`, if given.

    Arrays in memory stay there. Those in files (an .npz, a .npy, a memory map) come into memory where all of them are
    allowed to, else they are read row by row, from where they lie or from the cache folder. Raises DataError.
    """
    pairs = opened(source, wish)
    shapes = {part: image_shape(x.shape, x.dtype, pairs.title(part)) for part, (x, _) in pairs.arrays.items()}
    names = {part: as_labels(y, shapes[part][0], pairs.title(part)) for part, (_, y) in pairs.arrays.items()}
    own = pairs.classes or class_order(names["train"] if "train" in names else names[None])
    classes = classes or two_or_more(pairs.where, own)
    chosen = {part: shape for part, shape in shapes.items() if only is None or part in (only, None)}
    if not chosen:
        raise without(pairs.where, only, [str(part) for part in shapes])
    target = Target(*settled(chosen, wish, pairs), wish.fit)
    filed = {part: x for part, (x, _) in pairs.arrays.items() if isinstance(x, Filed) and part in chosen}
    count = sum(chosen[part][0] for part in filed)
    pixels, allowed = count * target.row, allowance(wish.memory)
    held = resident(pixels, allowed, wish.level)
    parts: dict[str | None, Images] = {}
    notes = pairs.notes
    for part in chosen:
        x, title = pairs.arrays[part][0], pairs.title(part)
        y, _ = numbered(names[part], own, title)
        if classes != own:
            y, _ = numbered([own[k] for k in y], classes, pairs.where)
        files = tuple(f"{part or 'image'}[{k}]" for k in range(len(y)))
        put = in_memory(x, title, target) if held or part not in filed else on_disk(filed[part], title, target, wish)
        parts[part] = Images(put, y, classes, files)
    if filed and not held:
        as_it_is = all(target.lies_in(x) for x in filed.values())
        notes = (*notes, told_where(pixels, allowed, count, count, wish.level, pairs.where if as_it_is else None))
    level = "mapped" if filed and not held else "resident"
    return Loaded(pairs.name, pairs.where, parts, (), notes, owned=len(filed) == len(chosen), level=level)


def opened(source: Source, wish: Wish) -> Pairs:
    """The source's arrays; of those in files no number has been read yet. Raises DataError."""
    if isinstance(source, tuple):
        if len(source) != 2:
            raise DataError("(X, y)", "two arrays are needed, images and labels", got=f"{len(source)} things")
        x, y = (npy_file(Path(given)) if isinstance(given, str | Path) else given for given in source)
        x = x if isinstance(x, Filed) else mapped_file(x) or np.asarray(x)
        return Pairs("arrays", "(X, y)", {None: (x, y.read() if isinstance(y, Filed) else y)})
    if source in BUILTINS:
        builtin, progress = BUILTINS[str(source)], wish.progress
        told = (lambda done, total: progress(f"bytes of {builtin.name}", done, total)) if progress else None
        found = load_builtin(builtin, told)
        return Pairs(builtin.name, builtin.name, found.arrays, builtin.classes, (f"read from {found.where}",))
    arrays, classes = read_npz(Path(source))
    return Pairs(Path(source).stem, str(source), arrays, classes)


def settled(shapes: Mapping[str | None, Shape], wish: Wish, pairs: Pairs) -> tuple[tuple[int, int], int]:
    """The size and channels of all splits: those wished, else what they have; gray where all are. Raises DataError."""
    sizes = {(h, w): part for part, (_, h, w, _) in shapes.items()}
    if wish.size is None and len(sizes) > 1:
        got = ", ".join(f"{part} {h}×{w}" for (h, w), part in sizes.items())
        raise DataError(pairs.where, "the splits differ in size, so a size is needed", got=got, hint="size=(64, 64)")
    return wish.size or next(iter(sizes)), wish.channels or max(shape[3] for shape in shapes.values())
