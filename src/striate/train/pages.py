"""Freed memory stays with the process while it trains: a step's maps then lie where the last step's lay."""

from __future__ import annotations

import ctypes
import sys

TRIM, TOP_PAD, MMAP = -1, -2, -3
"""mallopt's names for its settings (glibc, malloc.h)."""

SETTINGS = {MMAP: 32 << 20, TRIM: 2**31 - 1, TOP_PAD: 256 << 20}
"""32 MiB is the largest threshold that glibc takes: maps above it are asked of the system each time all the same."""


def keep_pages() -> bool:
    """Have glibc's malloc keep what is freed, for the rest of the process; whether it could be told so.

    By default it gives the end of its heap back whenever some tens of megabytes of it are free, and the system zeroes
    each page anew when the next map touches it: on two cores that was a seventh of a step of striate_s (71 ms, 60
    without it). Nothing is done where the C library has no mallopt (macOS, Windows, musl), and no result changes.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all(bool(mallopt(name, value)) for name, value in SETTINGS.items())
