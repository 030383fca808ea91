"""Where runs lie: the folder of a new one, the one to go on with, and what it began with."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ..errors import RunError
from ..regular_file import need_regular
from ..train.last_step import checkpoint_file


def run_folder(data: str, out: str | Path | None, resume: bool) -> Path:
    """Where the run goes, or, to resume, where it stands. Raises RunError."""
    stem = Path(data).resolve().name if Path(data).exists() else data
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in stem.rsplit(".", 1)[0]) or "run"
    if out is not None:
        folder = Path(out)
        if not resume and (folder / "checkpoint").exists():
            raise RunError(
                str(folder),
                "this folder holds a run already",
                hint="--resume goes on with it; or choose another folder with --out",
            )
    elif resume:
        began = [path for path in Path("runs").glob(f"{stem}-*") if checkpoint_file(path).exists()]
        if not began:
            raise RunError(
                "runs", f"no run of {data} has begun here", hint="start without --resume, or name it by --out"
            )
        folder = max(began, key=lambda path: checkpoint_file(path).stat().st_mtime)
    else:
        taken = {path.name for path in Path("runs").glob(f"{stem}-*")}
        number = next(k for k in range(1, len(taken) + 2) if f"{stem}-{k}" not in taken)
        folder = Path("runs") / f"{stem}-{number}"
    ground = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    if not ground.is_dir() or not os.access(ground, os.W_OK):
        raise RunError(str(folder), f"cannot write into {ground}", hint="choose another folder with --out")
    return folder


def began_with(folder: Path) -> dict[str, Any]:
    """The settings that a run began with."""
    file = folder / "recipe.json"
    need_regular(file, RunError)
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or not isinstance(found.get("recipe"), dict):
            raise ValueError('it is no object with a "recipe"')
        return found
    except (OSError, ValueError, RecursionError) as e:
        raise RunError(str(file), f"cannot read what this run began with: {e}") from None


def name_of(data: Any) -> str:
    """What a data set is called: its folder or name, or "arrays"."""
    return str(data) if isinstance(data, str | Path) else getattr(data, "name", "arrays")
