"""A source on its way to a data set: how it is wished to be read, and its images before they are split further."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ...errors import DataError, suggest_name
from ...language import say
from ..images import STORAGE_LEVELS, Images, Skipped
from ..read.depth import Depth
from ..read.files import Progress
from ..reading import USUAL_READING, Reading
from ..store import cache
from ..store.allowance import format_bytes

# A name, a pair of arrays or lists, or files with their labels in a dictionary, a list or a data frame.
Source = Any


class LoadOptions(NamedTuple):
    """How the user wants a source read: what `load_dataset` is given, passed on.

    depth  the scale of values deeper than 8 bits; "choose" chooses it by the source, None has each file take its own
    """

    size: tuple[int, int] | None = None
    channels: int | None = None
    fit: str = "pad"
    reading: Reading = USUAL_READING
    workers: int | None = None
    progress: Progress | None = None
    memory: int | str | None = None
    level: str | None = None
    depth: Depth | Literal["choose"] | None = "choose"


DEFAULT_OPTIONS = LoadOptions()


@dataclass(frozen=True, eq=False)
class LoadedSource:
    """A source's images before they are split further: by "train", "valid" and "test", or all under None.

    `read_as` is how it was understood, `depth` the scale of its values. `owned` tells that the pixels are striate's own
    array, which may be rearranged in place. `told` is what the source says of each image's group, and `group` what the
    user does (`Reading.group`); `folds` is the fold of each image where the source has some.
    """

    name: str
    where: str
    parts: Mapping[str | None, Images]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    owned: bool = False
    level: str = "resident"
    read_as: str = ""
    depth: Depth | None = None
    told: Mapping[str | None, Sequence[str]] = field(default_factory=dict)
    group: str | tuple[str, ...] | None = None
    folds: Mapping[str | None, Sequence[str]] = field(default_factory=dict)


def fits_in_memory(pixels: int, allowed: int, level: str | None) -> bool:
    """Whether so many bytes of pixels are to be held in memory. Raises DataError for a level that there is not."""
    if level is not None and level not in STORAGE_LEVELS:
        raise DataError(
            "level", say("there is no level '{level}'", level=level), hint=suggest_name(level, STORAGE_LEVELS)
        )
    return level == "resident" if level else pixels <= allowed


def explain_storage(
    pixels: int, allowed: int, on_disk: int, images: int, level: str | None, as_it_is: str | None = None
) -> str:
    """Where the pixels are that memory does not hold, and why, in a sentence; `as_it_is` is a file that has them."""
    size, place = format_bytes(pixels), cache.find_cache_folder()
    taken = say("{size} of pixels, and {allowed} of memory allowed", size=size, allowed=format_bytes(allowed))
    if level:
        taken = say("{size} of pixels", size=size)
    if as_it_is:
        return say("{taken}: read from {as_it_is} row by row", taken=taken, as_it_is=as_it_is)
    if on_disk == images:
        return say("{taken}: decoded on disk, in {place}", taken=taken, place=place)
    if on_disk:
        return say(
            "{taken}: {on_disk:,} of {images:,} images decoded on disk, which has no more room in {place}",
            taken=taken,
            on_disk=on_disk,
            images=images,
            place=place,
        )
    return say("{taken} and too little room in {place}: decoded again in every epoch", taken=taken, place=place)


def explain_missing_split(where: str, only: str | None, splits: list[str]) -> DataError:
    what = say("the source has splits, but no {only} split", only=only)
    return DataError(where, what, got=", ".join(splits), hint=say("name one split's own folder"))
