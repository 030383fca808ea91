"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from .errors import RunError
from .language import say


def write_file(path: Path, content: bytes | str) -> None:
    """Put `content` at `path`: a crash or a full disk leaves the old file or the new one, never half.

    Raises RunError where it cannot be written; the old file, if any, is then as it was.
    """
    data = content.encode() if isinstance(content, str) else content
    write_file_by(path, lambda part: part.write_bytes(data))


def write_file_by(path: Path, fill: Callable[[Path], object]) -> None:
    """As `write_file`, the content put into a temporary file beside `path` by `fill`."""
    path = Path(path)
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        part = Path(name)
        fill(part)
        with open(part, "rb") as written:
            os.fsync(written.fileno())
        part.chmod(0o666 & ~read_umask())
        os.replace(part, path)
    except OSError as e:
        if part is not None:
            part.unlink(missing_ok=True)
        raise RunError(
            str(path),
            say("cannot write this file: {why}", why=(e.strerror or str(e)).lower()),
            hint=say("free some space, or choose another folder with --out"),
        ) from None
    except BaseException:
        if part is not None:
            part.unlink(missing_ok=True)
        raise


def write_whole(path: Path, made: Path) -> None:
    """Put what stands at `made`, a file or a folder of files, at `path`, of which the old one is then gone.

    A folder there that holds other names than the new one's is somebody's, and is refused. Raises RunError.
    """
    if not made.is_dir():
        write_file(path, made.read_bytes())
        return
    if path.is_dir() and {p.name for p in path.iterdir()} - {p.name for p in made.iterdir()}:
        raise RunError(str(path), say("this folder holds other files"), hint=say("another name with --out"))
    part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
    try:
        shutil.copytree(made, part / "new")
        if path.exists():
            os.replace(path, part / "old")
        os.replace(part / "new", path)
    except OSError as e:
        raise RunError(str(path), say("cannot write this folder: {why}", why=(e.strerror or str(e)).lower())) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def read_umask() -> int:
    """The process's file mode mask, which can only be read by setting it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
