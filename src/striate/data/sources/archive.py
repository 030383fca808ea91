"""The files in a .zip or a .tar, read in place; a compressed .tar is unpacked once, as a .tar in the cache folder."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import json
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import DataError
from ...language import say, to_say
from ..listing import Member, Readable
from ..store import cache
from .tree import Parts, SourceTree, TreeFile, is_litter

PACKED_TAR_SUFFIXES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys((".tar.gz", ".tgz"), gzip.open),
    **dict.fromkeys((".tar.bz2", ".tbz2"), bz2.open),
    **dict.fromkeys((".tar.xz", ".txz"), lzma.open),
}
ARCHIVE_SUFFIXES = (".zip", ".tar", *PACKED_TAR_SUFFIXES)
# An image that unpacks to more than so many times its size, and to so many bytes, is a trap.
MOST_RATIO, LEAST_TRAP = 200, 50_000_000
LOCAL_HEADER = struct.Struct("<4s5H3I2H")
COPY_BYTES = 1 << 20


class ZipMember(NamedTuple):
    """A file in a .zip: `size` bytes, packed into `packed` of them, stored as they are or deflated."""

    path: Path
    start: int
    packed: int
    size: int
    deflated: bool
    check: int

    def read_bytes(self) -> bytes:
        """Raises DataError where they are not what the archive says of them."""
        with open(self.path, "rb") as opened:
            opened.seek(self.start)
            head = opened.read(LOCAL_HEADER.size)
            if len(head) < LOCAL_HEADER.size or head[:4] != b"PK\3\4":
                raise DataError(str(self.path), say("this .zip is broken"), hint=say("fetch or make it again"))
            *_, name, extra = LOCAL_HEADER.unpack(head)
            opened.seek(self.start + LOCAL_HEADER.size + name + extra)
            data = opened.read(self.packed)
        try:
            found = zlib.decompressobj(-15).decompress(data, self.size) if self.deflated else data
        except zlib.error as e:
            raise DataError(str(self.path), say("a file in this .zip is broken: {complaint}", complaint=e)) from None
        if len(found) != self.size or zlib.crc32(found) != self.check:
            raise DataError(str(self.path), say("a file in this .zip is broken: its checksum differs"))
        return found


def is_archive(path: Path) -> bool:
    return path.name.lower().endswith(ARCHIVE_SUFFIXES)


def name_archive(path: Path) -> str:
    """An archive's name without its suffix: cat for cat.zip, and for Teachable Machine's cat-samples.zip."""
    name = path.name
    suffix = next(suffix for suffix in sorted(ARCHIVE_SUFFIXES, key=len)[::-1] if name.lower().endswith(suffix))
    stem = name[: -len(suffix)]
    return stem.removesuffix("-samples") or stem


def read_archive_tree(path: Path) -> SourceTree:
    """The files in an archive. Raises DataError for one that is broken or encrypted, or a name that leads out of it."""
    try:
        tree = read_zip_tree(path) if path.name.lower().endswith(".zip") else read_tar_tree(path)
        tree.set_arrays_aside()
        return tree
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError, struct.error, zlib.error, lzma.LZMAError) as e:
        kind = say("tar file") if path.suffix.lower() == ".tar" else say("archive")
        raise DataError(
            str(path),
            say("this {kind} is broken: {complaint}", kind=kind, complaint=e),
            hint=say("fetch or make it again"),
        ) from None


def read_zip_tree(path: Path) -> SourceTree:
    tree = SourceTree(str(path), folder=False)
    with zipfile.ZipFile(path) as opened:
        for info in opened.infolist():
            parts = check_member_name(path, info.filename)
            if info.is_dir():
                tree.folders.add(parts)
            elif stat.S_ISLNK(info.external_attr >> 16):
                tree.ignored[to_say("links in the archive")] += 1
            elif enter_member(tree, parts):
                tree.add(TreeFile(parts, make_zip_member(path, info)))
    return tree


def make_zip_member(path: Path, info: zipfile.ZipInfo) -> ZipMember:
    """Raises DataError for what is encrypted, packed otherwise, or a trap."""
    where = f"{path}: {info.filename}"
    if info.flag_bits & 1:
        raise DataError(where, say("this file is encrypted"), hint=say("unpack the archive with its password"))
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        got = zipfile.compressor_names.get(info.compress_type, info.compress_type)  # type: ignore[attr-defined]
        raise DataError(
            where, say("this file is packed in a way that is not read"), got=got, hint=say("unpack the archive")
        )
    refuse_trap(where, info.compress_size, info.file_size)
    deflated = info.compress_type == zipfile.ZIP_DEFLATED
    return ZipMember(path, info.header_offset, info.compress_size, info.file_size, deflated, info.CRC)


def refuse_trap(where: str, packed: int, size: int) -> None:
    if size > LEAST_TRAP and size > MOST_RATIO * max(1, packed):
        got = say("{packed:,} bytes that become {size:,}", packed=packed, size=size)
        raise DataError(
            where,
            say("this file is packed suspiciously well"),
            got=got,
            rule=say("at most {most} times", most=MOST_RATIO),
        )


def read_tar_tree(path: Path) -> SourceTree:
    tree = SourceTree(str(path), folder=False)
    plain = path if path.name.lower().endswith(".tar") else unpack_tar(path)
    with tarfile.open(plain, "r:") as opened:
        for member in opened:
            parts = check_member_name(path, member.name)
            if member.isdir():
                tree.folders |= {parts} - {()}
            elif member.islnk() or member.issym():
                tree.ignored[to_say("links in the archive")] += 1
            elif not member.isreg() or member.issparse():
                tree.ignored[to_say("pipes and devices")] += 1
            elif enter_member(tree, parts):
                tree.add(TreeFile(parts, Member(plain, member.offset_data, member.size)))
    return tree


def check_member_name(path: Path, name: str) -> Parts:
    """The name in parts, written as on Windows or not. Raises DataError for one that leads out of the archive."""
    text = name.replace("\\", "/")
    parts = tuple(part for part in text.split("/") if part not in ("", "."))
    if text.startswith("/") or ".." in parts or (parts and parts[0][1:2] == ":" and parts[0][0].isalpha()):
        what = say("a name in this archive leads out of it")
        raise DataError(
            str(path), what, got=name, rule=say("names below the archive's own top"), hint=say("make it again")
        )
    return parts


def enter_member(tree: SourceTree, parts: Parts) -> bool:
    """Enter a file's folders into the tree; whether the file counts. Hidden ones and litter are counted by reason."""
    reason = next((found for part in parts if (found := is_litter(part))), "")
    if reason:
        tree.ignored[reason] += 1
        return False
    tree.folders |= {parts[:k] for k in range(1, len(parts))}
    return True


def unpack_tar(path: Path) -> Path:
    """A compressed .tar as a .tar in the cache folder, there already or written now: it has to be read in places.

    Raises DataError where the disk has no room for it, or where it is packed too well to be an archive of images.
    """
    suffix = next(suffix for suffix in PACKED_TAR_SUFFIXES if path.name.lower().endswith(suffix))
    known = json.dumps([cache.CACHE_POLICY, path.name, *cache.read_file_state(path)])
    place = cache.find_cache_folder() / f"{hashlib.sha256(known.encode()).hexdigest()}.tar"
    if place.is_file():
        os.utime(place)
        return place
    cache.delete_unused()
    room = cache.count_fitting_rows(1 << 62, 1)
    opener = PACKED_TAR_SUFFIXES[suffix]
    stored, size = path.stat().st_size, 0
    with opener(path, "rb") as packed, cache.write_whole(place) as part:
        while block := packed.read(COPY_BYTES):
            size += len(block)
            refuse_trap(str(path), stored, size)
            if size > room:
                what, hint = say("the disk has no room to unpack this"), say("unpack it yourself, and name the folder")
                raise DataError(str(path), what, got=say("over {room:,} bytes", room=room), hint=hint)
            part.write(block)
    return place


def unpack_member(source: Readable, suffix: str) -> Path:
    """A file of an archive that is to be read in places, as one of the cache folder, there already or written now.

    Raises DataError where the disk has no room for it.
    """
    assert isinstance(source, Member | ZipMember)
    archive, *place = source
    known = json.dumps([cache.CACHE_POLICY, archive.name, *cache.describe_file(archive), *place])  # type: ignore[attr-defined]
    target = cache.find_cache_folder() / f"{hashlib.sha256(known.encode()).hexdigest()}{suffix}"
    if target.is_file():
        os.utime(target)
        return target
    cache.delete_unused()
    if source.size > cache.count_fitting_rows(1 << 62, 1):
        got, hint = say("{size:,} bytes", size=source.size), say("unpack the archive, and name the folder")
        raise DataError(str(archive), say("the disk has no room for a table in this archive"), got=got, hint=hint)
    with cache.write_whole(target) as part:
        part.write(source.read_bytes())
    return target
