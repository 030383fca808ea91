"""A published file fetched once, checked, and kept."""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

from ...errors import DataError
from ...language import say

DownloadProgress = Callable[[int, int], None]
DOWNLOAD_BLOCK = 1 << 16
UNWRITABLE = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM, errno.EDQUOT, errno.ENOTDIR, errno.EEXIST)


class UnreachableError(DataError):
    """A published file that no server gave."""


def download_file(
    urls: Iterable[str], target: Path, sha256: str, progress: DownloadProgress | None = None, seconds: float = 30
):
    """Fetch `target` from the first of `urls` that serves the file with this checksum.

    The file appears whole or not at all: it is written beside its place, checked, synced and renamed. `progress` is
    called with (bytes so far, bytes in all; 0 if unknown). `seconds` is how long a server may stay silent.
    Raises Unreachable with each server's failure, and DataError where the file cannot be written.
    """
    failures = []
    for url in urls:
        try:
            fetch_once(url, target, sha256, progress, seconds)
            return
        except (OSError, http.client.HTTPException, ValueError) as e:
            if isinstance(e, OSError) and e.errno in UNWRITABLE:
                what = say("the downloaded file cannot be written: {why}", why=e.strerror)
                raise DataError(str(target), what) from None
            failures.append(f"{url}: {explain_server_error(e)}")
    raise UnreachableError(target.name, say("the file could not be downloaded"), got="\n        ".join(failures))


def fetch_once(url: str, target: Path, sha256: str, progress: DownloadProgress | None, seconds: float) -> None:
    """One try at one server. Raises OSError, HTTPException or, for a wrong content, ValueError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    request = urllib.request.Request(url, headers={"User-Agent": "striate"})
    with urllib.request.urlopen(request, timeout=seconds) as answer:
        total = int(answer.headers.get("Content-Length") or 0)
        part = tempfile.NamedTemporaryFile(dir=target.parent, prefix=f"{target.name}.", suffix=".part", delete=False)
        try:
            with part:
                digest, done = hashlib.sha256(), 0
                while block := answer.read(DOWNLOAD_BLOCK):
                    part.write(block)
                    digest.update(block)
                    done += len(block)
                    if progress:
                        progress(done, total)
                part.flush()
                os.fsync(part.fileno())
            if total and done < total:
                raise ValueError(say("the connection ended after {done:,} of {total:,} bytes", done=done, total=total))
            if digest.hexdigest() != sha256:
                raise ValueError(
                    say(
                        "wrong content, sha256 {found}… instead of {wanted}…",
                        found=digest.hexdigest()[:12],
                        wanted=sha256[:12],
                    )
                )
            os.replace(part.name, target)
        except BaseException:
            Path(part.name).unlink(missing_ok=True)
            raise


def explain_server_error(error: Exception) -> str:
    """A server's failure in a few words."""
    if isinstance(error, urllib.error.HTTPError):
        return say("the server answers {code} {reason}", code=error.code, reason=error.reason)
    if isinstance(error, urllib.error.URLError):
        return say("no connection ({reason})", reason=error.reason)
    if isinstance(error, TimeoutError):
        return say("the server stays silent")
    return str(error) or type(error).__name__
