"""The log of a run for Weights & Biases: online, or with WANDB_MODE=offline in files that `wandb sync` sends later.

A run's files there cannot be read back, so the folder's wandb.json keeps the run's name there and what was sent. Where
a kill falls between the two, the same values are sent once more for the same step, which is one step there.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from .. import atomic_file
from ..run_files import RunFiles

PROJECT = "striate"


class WandbTracker:
    """A run of the project WANDB_PROJECT or "striate"."""

    def __init__(self, folder: Path, recipe: Any) -> None:
        import wandb

        self.kept, self.place = RunFiles(folder).wandb, str(folder)
        found = json.loads(self.kept.read_text(encoding="utf-8")) if self.kept.is_file() else {}
        self.name = found.get("id") or secrets.token_hex(8)
        self.logged = {(tag, step) for tag, step in found.get("logged", ())}
        folder.mkdir(parents=True, exist_ok=True)
        offline = os.environ.get("WANDB_MODE") == "offline"  # each part is a file of its own then, none to resume
        quiet = wandb.Settings(console="off", silent=True)
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT), id=self.name, name=folder.name, dir=str(folder),
            resume=None if offline else "allow", config=msgspec.to_builtins(recipe), settings=quiet,
        )  # fmt: skip

    def send(self, values: Mapping[str, Any], step: int) -> None:
        self.run.log(dict(values), step=step)
        self.logged |= {(tag, step) for tag in values}
        atomic_file.write_file(self.kept, json.dumps({"id": self.name, "logged": sorted(self.logged)}))

    def add_scalars(self, values: Mapping[str, float], step: int) -> None:
        self.send(values, step)

    def add_picture(self, tag: str, picture: NDArray, step: int) -> None:
        import wandb

        self.send({tag: wandb.Image(picture)}, step)

    def add_text(self, tag: str, text: str, step: int) -> None:
        import wandb

        self.send({tag: wandb.Html(f"<pre>{escape(text)}</pre>")}, step)

    def add_page(self, page: Path) -> None:
        import wandb

        if page.is_file():
            artifact = wandb.Artifact(f"report-{self.name}", type="report")
            artifact.add_file(str(page))
            self.run.log_artifact(artifact)

    def close(self) -> None:
        self.run.finish()
