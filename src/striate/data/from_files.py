"""Image files to labelled images, wherever their pixels have room."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError
from . import outside
from .allowance import allowance
from .images import Images, Skipped
from .listing import Listing, alike, known_classes, unknown
from .loaded import Loaded, Wish, resident, told_where, without
from .reading import decode_all, settled
from .rows import Rows


def from_files(listing: Listing, classes: tuple[str, ...] | None, only: str | None, wish: Wish) -> Loaded:
    """The listing's images, decoded. Raises DataError, also where too many of the files are bad."""
    if only is not None and listing.splits and only not in listing.splits:
        raise without(listing.name, only, list(listing.splits))
    order: list[str | None] = [None, "train", "valid", "test"]
    entries = sorted(listing.entries, key=lambda entry: order.index(entry.split))
    if only is not None:
        entries = [entry for entry in entries if entry.split in (only, None)]
    if classes is None:
        classes = known_classes(listing)
    place = {name: k for k, name in enumerate(classes)}
    for entry in entries:
        if entry.label not in place:
            raise unknown(listing.name, entry, classes, "the network")
    size, channels = settled(entries, wish.size, wish.channels, listing.name, wish.workers)
    pixels = len(entries) * size[0] * size[1] * channels
    allowed = allowance(wish.memory)
    x: np.ndarray | Rows
    level, notes = "resident", (*listing.notes, *alike(classes))
    if resident(pixels, allowed, wish.level):
        x, kept, skipped = decode_all(entries, size, channels, wish.fit, workers=wish.workers, progress=wish.progress)
    else:
        store, kept, skipped, on_disk = outside.kept(
            entries, size, channels, wish.fit, wish.level, workers=wish.workers, progress=wish.progress
        )
        x = Rows(store, np.array(kept, np.int64))
        level = wish.level or ("mapped" if on_disk == len(entries) else "streamed")
        notes = (*notes, told_where(pixels, allowed, on_disk, len(entries), wish.level))
    if not kept or len(skipped) > wish.bad_share * len(entries):
        raise too_many_bad(listing.name, len(entries), skipped, wish.bad_share)
    y = np.array([place[entries[k].label] for k in kept], np.int64)
    shards = np.array([entries[k].shard or 0 for k in kept]) if entries[0].shard is not None else None
    parts = {}
    for part in dict.fromkeys(entries[k].split for k in kept):
        rows = [row for row, k in enumerate(kept) if entries[k].split == part]
        low, high = rows[0], rows[-1] + 1
        files = tuple(entries[k].file for k in kept[low:high])
        own = x.take(slice(low, high)) if isinstance(x, Rows) else x[low:high]
        parts[part] = Images(own, y[low:high], classes, files, None if shards is None else shards[low:high])
    path = Path(listing.name).resolve()
    name = path.name if path.is_dir() else path.stem
    return Loaded(name, listing.name, parts, tuple(skipped), notes, owned=True, level=level)


def too_many_bad(where: str, files: int, skipped: list[Skipped], share: float) -> DataError:
    """The error for a source with more unreadable files than may be skipped."""
    shown = [f"{bad.file}: {bad.why}" for bad in skipped[:5]]
    more = [f"… and {len(skipped) - 5} more"] if len(skipped) > 5 else []
    what = f"{len(skipped)} of {files} files cannot be read, more than may be skipped"
    rule = f"at most {share:.0%}"
    return DataError(
        where, what, got="\n        ".join(shown + more), rule=rule, hint="remove them, or raise bad_share"
    )
