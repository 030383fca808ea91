"""Where parts are kept: a folder of this machine, or an address of a storage. A file there is whole, or not there.

Names that begin with "_" are passed over by what reads a folder of Parquet files.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ..atomic_file import write_file, write_file_by
from ..data.sources.remote import describe_failure, is_remote, open_storage
from ..errors import RunError
from ..language import say

PLAN, NAMES, WRITER = "_plan.json", "_pictures.jsonl", "_writer.json"
# Storages in which a file appears with its last byte; in others it is written under another name and then renamed.
WHOLE_FILES = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "oss", "hf", "memory"})


def name_part(number: int, format: str) -> str:
    return f"part-{number:05}.{format}"


def name_unreadable(number: int) -> str:
    return f"_unreadable-{number:05}.csv"


class PartsFolder(NamedTuple):
    """A folder for parts.

    address  as the user names it
    root     the path of the folder, on this machine or in `storage`
    storage  fsspec's file system; None: this machine's own
    """

    address: str
    root: str
    storage: Any = None

    @property
    def folder(self) -> Path:
        """Of this machine."""
        return Path(self.root)

    def show_file(self, name: str) -> str:
        """The file as a user may name it."""
        return str(self.folder / name) if self.storage is None else f"{self.address.rstrip('/')}/{name}"

    def locate_file(self, name: str) -> str:
        return f"{self.root.rstrip('/')}/{name}"

    def is_file(self) -> bool:
        """Whether a file stands where the folder should. Raises RunError."""
        try:
            return self.folder.is_file() if self.storage is None else self.storage.isfile(self.root)
        except Exception as e:  # storages' exceptions share no base class
            raise explain_failure(self.address, e) from None

    def list_files(self) -> set[str]:
        """The names in it; none where it is not there. Raises RunError."""
        try:
            if self.storage is None:
                return {item.name for item in self.folder.iterdir()}
            self.storage.invalidate_cache(self.root)
            return {name.rstrip("/").rpartition("/")[2] for name in self.storage.ls(self.root, detail=False)}
        except FileNotFoundError:
            return set()
        except Exception as e:
            raise explain_failure(self.address, e) from None

    def read_file(self, name: str, start: int = 0, size: int | None = None) -> bytes:
        """So many bytes of a file, from `start` on. Raises FileNotFoundError, RunError."""
        try:
            if self.storage is not None:
                end = None if size is None else start + size
                return self.storage.cat_file(self.locate_file(name), start=start or None, end=end)
            with open(self.folder / name, "rb") as file:
                file.seek(start)
                return file.read(-1 if size is None else size)
        except FileNotFoundError:
            raise
        except Exception as e:
            raise explain_failure(self.show_file(name), e) from None

    def keep_file(self, name: str, content: bytes) -> None:
        """Put a file there, whole or not at all. Raises RunError."""
        if self.storage is None:
            write_file(self.folder / name, content)
        else:
            self.send_file(name, lambda place: self.storage.pipe_file(place, content))

    def keep_file_by(self, name: str, fill: Callable[[Path], object]) -> None:
        """As `keep_file`, the content put into a temporary file of this machine by `fill`."""
        if self.storage is None:
            write_file_by(self.folder / name, fill)
            return
        with tempfile.TemporaryDirectory() as folder:
            made = Path(folder) / name
            fill(made)
            self.send_file(name, lambda place: self.storage.put_file(str(made), place))

    def send_file(self, name: str, send: Callable[[str], object]) -> None:
        """Have a file of the storage written by `send`, which is told where to. Raises RunError."""
        protocols = self.storage.protocol
        try:
            if WHOLE_FILES.intersection([protocols] if isinstance(protocols, str) else protocols):
                send(self.locate_file(name))
                return
            self.storage.makedirs(self.root, exist_ok=True)
            part = self.locate_file(f".{name}.{uuid.uuid4().hex}.part")
            send(part)
            self.storage.mv(part, self.locate_file(name))
        except Exception as e:
            raise explain_failure(self.show_file(name), e) from None

    def remove_file(self, name: str) -> None:
        """Take a file away, if it is there. Raises RunError."""
        try:
            if self.storage is None:
                (self.folder / name).unlink()
            else:
                self.storage.rm_file(self.locate_file(name))
        except FileNotFoundError:
            pass
        except Exception as e:
            raise explain_failure(self.show_file(name), e) from None


def open_folder(out: str | Path) -> PartsFolder:
    """A folder by its name or its address. Raises DataError for a storage that cannot be."""
    if not is_remote(str(out)):
        return PartsFolder(str(Path(out)), str(Path(out)))
    storage, root = open_storage(str(out))
    protocols = storage.protocol
    if str(out).startswith("file://") and "file" in protocols:
        return PartsFolder(root, root)
    return PartsFolder(str(out), root, storage)


def explain_failure(place: str, error: Exception) -> RunError:
    if isinstance(error, RunError):
        return error
    what = say("this cannot be read or written: {why}", why=describe_failure(error))
    return RunError(place, what, hint=say("once it can be, --resume goes on"))
