"""Pictures in somebody's storage: s3://, gs://, hf:// and whatever else fsspec knows, which has the credentials."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ...errors import DataError
from ...extras import explain_missing_extra
from ...language import say
from ..read.decode import IMAGE_SUFFIXES
from .tree import is_litter

ADDRESS = re.compile(r"(?!https?:)[a-z][a-z0-9+.-]+://", re.IGNORECASE)


class StorageError(DataError):
    """A storage that does not answer as it should: nothing is known of the picture."""


def is_remote(name: str) -> bool:
    """Whether this is an address for fsspec, such as s3://bucket/photos.

    >>> is_remote("s3://bucket/photos"), is_remote("https://example.org/a.jpg"), is_remote("photos/a.jpg")
    (True, False, False)
    """
    return bool(ADDRESS.match(name))


def open_storage(address: str) -> tuple[Any, str]:
    """fsspec's file system for an address, and the place in it. Raises DataError; StriateError without fsspec."""
    try:
        from fsspec.core import url_to_fs
    except ImportError:
        raise explain_missing_extra("fsspec", address) or DataError(address, "") from None
    try:
        return url_to_fs(address)
    except (ImportError, ValueError) as e:
        raise explain_storage(address, e) from None


def list_remote_images(address: str) -> Iterator[str]:
    """The addresses of the images at `address` and below, by name; of a file its own. Raises DataError.

    One folder's names are in memory at a time.
    """
    storage, place = open_storage(address)
    try:
        if storage.isfile(place):
            yield address
            return
        storage.invalidate_cache()
        yield from walk_storage(storage, place)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError(address, say("there is nothing at this address")) from None
    except Exception as e:  # botocore's, gcsfs' and the Hub's own exceptions share no base class
        raise explain_storage(address, e) from None


def walk_storage(storage: Any, place: str) -> Iterator[str]:
    for item in sorted(storage.ls(place, detail=True), key=lambda item: item["name"]):
        name = item["name"].rstrip("/")
        base = name.rpartition("/")[2]
        if is_litter(base) or name == place.rstrip("/"):
            continue
        if item["type"] == "directory":
            yield from walk_storage(storage, name)
            storage.invalidate_cache(name)
        elif "." in base and "." + base.rpartition(".")[2].lower() in IMAGE_SUFFIXES:
            yield storage.unstrip_protocol(name)


def read_remote(address: str) -> bytes:
    """The bytes at an address. Raises DataError."""
    storage, place = open_storage(address)
    try:
        return storage.cat_file(place)
    except FileNotFoundError:
        raise DataError(address, say("there is no such file")) from None
    except Exception as e:
        raise explain_storage(address, e) from None


def explain_storage(address: str, error: Exception) -> StorageError:
    return StorageError(address, say("the storage cannot be read: {why}", why=describe_failure(error)))


def describe_failure(error: Exception) -> str:
    """What a storage's package says of a failure, on one line.

    >>> describe_failure(PermissionError("Access\\n Denied"))
    'Access Denied'
    """
    return " ".join((str(error) or type(error).__name__).split())[:200]
