"""How much memory the pixels may take."""

from __future__ import annotations

import os
import re
from pathlib import Path

from ...errors import DataError
from ...language import say

BYTE_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
# Of the memory that is free, what the pixels may take where nothing is said.
FREE_SHARE = 0.5


def parse_allowance(memory: int | str | None = None) -> int:
    """The bytes that `memory` allows: a number, text such as "500M" or "2GiB", or half of what is free now.

    K, M, G and T are powers of 1000, Ki, Mi, Gi and Ti of 1024; a B after them changes nothing. Raises DataError.

    >>> parse_allowance("500M"), parse_allowance("1.5 GiB"), parse_allowance(10**6)
    (500000000, 1610612736, 1000000)
    """
    if memory is None:
        return int(measure_free_memory() * FREE_SHARE)
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)(I?)B?\s*", str(memory).upper())
    if not found or isinstance(memory, float):
        raise DataError("memory", say("this is not an amount of memory"), got=memory, hint=say('"500M" or "2G"'))
    number, unit, binary = found.groups()
    if binary and not unit:
        raise DataError("memory", say("this is not an amount of memory"), got=memory, hint=say('"500M" or "2G"'))
    scale = 1024 ** ("KMGT".index(unit) + 1) if binary else BYTE_UNITS[unit]
    return int(float(number) * scale)


def measure_free_memory() -> int:
    """Bytes of memory that this process could still take, also under a container's limit."""
    return min([read_machine_memory(), *read_container_limits()])


def read_machine_memory() -> int:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):
        return 4 * 10**9  # Windows does not say without a further library


def read_container_limits(root: Path = Path("/sys/fs/cgroup")) -> list[int]:
    """What a container's limit leaves, cgroup version 2; nothing where there is none."""
    try:
        most, used = (int((root / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):
        return []
    return [max(0, most - used)]


def format_bytes(count: float) -> str:
    """Bytes for people to read.

    >>> format_bytes(912), format_bytes(37_748_736), format_bytes(2.5e9)
    ('912 bytes', '37.7 MB', '2.5 GB')
    """
    for unit, scale in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= scale:
            return f"{count / scale:.1f} {unit}"
    return say("{count:.0f} bytes", count=count)
