"""Pictures and tar files that tests make."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from PIL import Image


def png(level: int, size: tuple[int, int] = (5, 4)) -> bytes:
    """A gray picture of one level, width × height."""
    out = io.BytesIO()
    Image.new("L", size, level % 256).save(out, "PNG")
    return out.getvalue()


def pack(path: Path, members: Mapping[str, bytes], mode: str = "w") -> Path:
    """A tar file of the members."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path
