"""WebDataset shards: tar files whose members come in samples, an image and its label under one name."""

from __future__ import annotations

import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator
from glob import glob
from pathlib import Path, PurePosixPath

from ...errors import DataError
from ...language import say, to_say
from ..listing import SPLIT_NAMES, Entry, Listing, Member, escape_name, format_ignored, normalise_name
from ..read.decode import IMAGE_SUFFIXES
from .split_names import find_roles
from .tree import Parts, SourceTree, is_array_file, list_visible

LABEL_SUFFIXES = ("label", "class", "cls", "category")
PACKED_SUFFIXES = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
SHARD_HINT = to_say("000001.jpg and 000001.cls in the tar, or cat/000001.jpg")


def find_shards(source: Path) -> list[Path]:
    """The tar files that `source` names: one, a pattern with * ? [] or {000..031}, or a folder of nothing but them.

    Empty where the source is something else, or nothing that is there. Raises DataError for compressed ones.
    """
    text = str(source)
    if source.is_dir():
        inside = [Path(item.path) for item in list_visible(source, Counter())]
        found = inside if inside and all(is_shard(path) and path.is_file() for path in inside) else []
    elif any(sign in text for sign in "*?[{") and not source.exists():
        found = sorted({Path(name) for pattern in expand_braces(text) for name in glob(pattern, recursive=True)})
    else:
        found = [source] if is_shard(source) and source.is_file() else []
    for path in found:
        if path.name.lower().endswith(PACKED_SUFFIXES):
            what = say("a compressed shard cannot be read from the middle")
            raise DataError(
                str(path), what, got="".join(path.suffixes), hint=say("unpack it to .tar; JPEGs gain nothing")
            )
    return found if all(is_shard(path) for path in found) else []


def is_shard(path: Path) -> bool:
    return path.name.lower().endswith((".tar", *PACKED_SUFFIXES))


def holds_samples(tree: SourceTree) -> bool:
    """Whether an archive is a WebDataset shard: labels lie in it as files of their own, 000001.cls beside 000001.jpg.

    Else its folders say the classes, as those of the disk.
    """
    labelled = {split_sample(file.parts) for file in tree.others if file.parts[-1].lower().endswith((".cls", ".json"))}
    return any(split_sample(file.parts) in labelled for file in tree.images)


def split_sample(parts: Parts) -> Parts:
    """A member's sample: its name up to the first dot of the last part."""
    return (*parts[:-1], parts[-1].partition(".")[0])


def expand_braces(pattern: str) -> list[str]:
    """A pattern with each {first..last} written out, and each {a,b}.

    >>> expand_braces("d/{08..10}.tar"), expand_braces("{a,b}")
    (['d/08.tar', 'd/09.tar', 'd/10.tar'], ['a', 'b'])
    """
    found = re.search(r"\{(?:(\d+)\.\.(\d+)|([^{}]*,[^{}]*))\}", pattern)
    if not found:
        return [pattern]
    first, last, words = found.groups()
    parts = words.split(",") if words else [f"{k:0{len(first)}}" for k in range(int(first), int(last) + 1)]
    return [rest for part in parts for rest in expand_braces(pattern[: found.start()] + part + pattern[found.end() :])]


def list_shards(name: str, shards: list[Path]) -> Listing:
    """The images in the shards, their labels and splits; only the headers of the tar files are read.

    A sample is the members whose names are the same up to the first dot of the last part. Its image is the first
    with an image's suffix; its label is its .cls, the "label" (or "class") in its .json, or else the folder that it
    lies in. The split is in the shard's name or its folder's, as in train-000.tar. Raises DataError naming the shard.
    """
    ignored: Counter[str] = Counter()
    entries = [entry for number, shard in enumerate(shards) for entry in list_shard(shard, number, shards, ignored)]
    if not entries:
        raise DataError(
            name,
            say("there is no labelled image in these shards"),
            got=say("{count} shards", count=len(shards)),
            hint=say(SHARD_HINT),
        )
    splits = {entry.split for entry in entries}
    if None in splits and len(splits) > 1:
        bare = next(entry for entry in entries if entry.split is None)
        raise DataError(name, say("this shard's name has no split, and others have one"), got=bare.file.split("/")[0])
    told = say(
        "{count} shards, read in an order of their own: shards shuffled, then images within 10,000", count=len(shards)
    )
    read_as = say("WebDataset shards, {count:,} of them", count=len(shards))
    return Listing(name, tuple(entries), dict(ignored), (told, *format_ignored(ignored)), read_as)


def guess_split(shard: Path) -> str | None:
    """The split that a word of the shard's name says, or else its folder's whole name."""
    words = [*re.split(r"[^a-z]+", shard.stem.lower()), shard.parent.name.lower()]
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)


def list_shard(shard: Path, number: int, shards: list[Path], ignored: Counter[str]) -> Iterator[Entry]:
    split = guess_split(shard)
    same = sum(other.name == shard.name for other in shards) > 1
    title = f"{shard.parent.name}/{shard.name}" if same else shard.name
    for stem, parts in iterate_samples(shard):
        image = find_image_suffix(parts)
        if image is None:
            ignored[to_say("samples without an image")] += 1
            continue
        place = parts[image]
        label = read_label(shard, stem, parts)
        if label is None:
            ignored[to_say("images without a label")] += 1
            continue
        own = split or find_split_of_sample(stem)
        yield Entry(escape_name(f"{title}/{stem}.{image}"), place, normalise_name(label), own, number)


def find_image_suffix(suffixes: Iterable[str]) -> str | None:
    """That of a sample's image: of a picture before that of an array, which is its mask or a feature of it."""
    images = [suffix for suffix in suffixes if f".{suffix.rpartition('.')[2]}" in IMAGE_SUFFIXES]
    return min(images, key=lambda suffix: is_array_file(f".{suffix}"), default=None)


def find_split_of_sample(stem: str) -> str | None:
    """The split that the first folder of a sample's name is called as, where its class's folder is below that."""
    folders = PurePosixPath(stem).parts[:-1]
    role = find_roles(folders[:1]).get(folders[0]) if len(folders) > 1 else None
    return role.split if role else None


def iterate_samples(shard: Path) -> Iterator[tuple[str, dict[str, Member]]]:
    """Each sample's name and its members by suffix, in the order of the tar. Raises DataError."""
    stem = ""
    parts: dict[str, Member] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                if not member.isreg() or member.issparse() or path.name.startswith("."):
                    continue
                name, _, suffix = path.name.partition(".")
                here = str(path.with_name(name)).removeprefix("./")
                if here != stem and parts:
                    yield stem, parts
                    parts = {}
                stem = here
                parts[suffix.lower()] = Member(shard, member.offset_data, member.size)
    except (tarfile.TarError, OSError, EOFError) as e:
        raise DataError(
            str(shard), say("this tar file is broken: {complaint}", complaint=e), hint=say("fetch or make it again")
        ) from None
    if parts:
        yield stem, parts


def read_label(shard: Path, stem: str, parts: dict[str, Member]) -> str | None:
    """The sample's label, None where it has none. Raises DataError for one that cannot be read."""
    try:
        if "cls" in parts:
            return parts["cls"].read_bytes().decode().strip() or None
        if "json" in parts:
            told = json.loads(parts["json"].read_bytes())
            found = next((told[key] for key in LABEL_SUFFIXES if key in told), None) if isinstance(told, dict) else None
            if found is not None:
                return str(found)
    except ValueError as e:
        raise DataError(f"{shard}, {stem}", say("the label cannot be read: {complaint}", complaint=e)) from None
    return PurePosixPath(stem).parent.name or None
