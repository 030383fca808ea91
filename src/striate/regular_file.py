"""What is opened for reading is a file: a pipe may never end or never begin, and a device has no end."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from .errors import StriateError
from .language import say

KINDS = {stat.S_IFIFO: "a pipe", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device", stat.S_IFSOCK: "a socket"}


def need_regular(path: str | Path, error: type[StriateError]) -> None:
    """Raise `error` where a pipe, a device or a socket lies at `path`; whether anything does is for who opens it."""
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except (OSError, ValueError):
        return
    if kind in KINDS:
        raise error(
            str(path),
            say("this is not a regular file"),
            got=KINDS[kind],
            hint=say("put what comes from it into a file first"),
        )
