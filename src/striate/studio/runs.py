"""The runs that the studio shows: what their folders hold, read as it grows."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors

from ..engines.model_file import ModelHeader, read_model_header
from ..errors import ModelError
from ..fitting.early_end import count_epochs, decide_end
from ..language import say
from ..model.model import Model, load_model
from ..regular_file import need_regular
from ..run_files import RunFiles

# A run that is not done and wrote nothing for so many seconds counts as stopped.
RUNNING_SECONDS = 120.0


@dataclass(frozen=True)
class RunFolder:
    """A run folder: a training's, whether it is done or under way."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def files(self) -> RunFiles:
        return RunFiles(self.path)

    @property
    def recipe(self) -> dict[str, Any]:
        """What it began with, {} before that is written."""
        return read_json_file(self.files.settings) or {}

    @property
    def report(self) -> dict[str, Any] | None:
        return read_json_file(self.files.report)

    @property
    def epochs(self) -> list[dict[str, Any]]:
        """The lines of metrics.jsonl."""
        file = self.files.metrics
        if not file.is_file():
            return []
        text = file.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.strip()]

    @property
    def strengths(self) -> list[dict[str, Any]]:
        """Of a transfer the strengths of its head that were cross-validated; [] in runs of before they were kept."""
        file = self.files.strengths
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []

    @property
    def changed(self) -> float:
        """When it last grew, in seconds since 1970."""
        found = [self.files.metrics, self.files.settings, self.files.checkpoint]
        return max((path.stat().st_mtime for path in found if path.exists()), default=0.0)

    @property
    def begun(self) -> bool:
        """Whether it was saved, so that it can go on."""
        return self.files.checkpoint.exists()

    @property
    def planned(self) -> int:
        """How many epochs it will have, as it stands."""
        recipe, rows = self.recipe.get("recipe", {}), self.epochs
        end = decide_end(rows, recipe.get("patience", 0), recipe.get("memorised", 0.0))
        return count_epochs(end, recipe.get("epochs", len(rows)), recipe.get("cooldown", 0))

    @property
    def done(self) -> bool:
        whole = bool(self.epochs) and len(self.epochs) >= self.planned
        return whole or self.files.report.exists() or not self.recipe and self.has_model

    @property
    def has_model(self) -> bool:
        return self.files.model.exists()

    def state(self, now: float) -> str:
        """As its files tell it: "done", "live" or "stopped"."""
        return "done" if self.done else "live" if now - self.changed < RUNNING_SECONDS else "stopped"

    def model(self) -> Model:
        return load_model(self.path)

    def header(self) -> ModelHeader:
        """What its model file says beside the tensors. Raises ModelError."""
        file = self.files.model
        need_regular(file, ModelError)
        try:
            with safetensors.safe_open(str(file), framework="np") as opened:
                return read_model_header((opened.metadata() or {}).get("striate", ""), str(file))
        except (OSError, safetensors.SafetensorError) as e:
            raise ModelError(str(file), say("this is not a readable model file: {complaint}", complaint=e)) from None

    def as_dict(self, now: float) -> dict[str, Any]:
        """Its line among the runs: times in seconds, accuracies 0 to 1."""
        epochs, recipe, report = self.epochs, self.recipe, self.report or {}
        mean = sum(row["seconds"] for row in epochs) / len(epochs) if epochs else None
        state = self.state(now)
        return {
            "name": self.name,
            "data": recipe.get("data"),
            "net": shorten_net_name(recipe.get("net")),
            "planned": self.planned,
            "epochs": epochs,
            "strengths": self.strengths,
            "state": state,
            "begun": self.begun,
            "seconds": sum(row["seconds"] for row in epochs),
            "left": None if mean is None or state != "live" else mean * (self.planned - len(epochs)),
            "best": max((row["valid_acc"] for row in epochs if row.get("valid_acc") is not None), default=None),
            "accuracy": report.get("accuracy"),
            "interval": report.get("accuracy_interval"),
            "split": report.get("split"),
            "settings": recipe.get("recipe", {}) | {key: recipe[key] for key in ("size", "fit") if key in recipe},
            "model": self.has_model,
            "report": self.files.report_page.exists(),
        }


def read_json_file(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
    except (OSError, ValueError):
        return None


def shorten_net_name(net: str | None) -> str:
    """A zoo name as it is; of a net's text its own name."""
    if net is None or "(" not in net:
        return net or ""
    from ..architecture.text import parse

    return parse(net).name


def list_fold_folders(folder: Path) -> list[Path]:
    """The runs of a cross-validation, its refit first, as many as have begun; [] where the folder is not of one."""
    found: list[Path] = []
    while (files := RunFiles(folder).fold(len(found) + 1)).settings.exists():
        found.append(files.folder)
    return [folder, *found] if found and RunFiles(folder).settings.exists() else found


def list_run_folders(given: list[Path]) -> list[RunFolder]:
    """The run folders given, or where none is those under runs/, oldest first. Raises ModelError for no run folder.

    Of a cross-validation that is given, its folds' runs.
    """
    if given:
        runs = [run for path in given for run in (list_fold_folders(path) or [path])]
        for path in runs:
            if not path.is_dir() or not (RunFiles(path).settings.exists() or RunFiles(path).model.exists()):
                raise ModelError(
                    str(path), say("this is not a run folder"), hint=say("striate train DATA makes one under runs/")
                )
        return [RunFolder(path) for path in runs]
    found = [path.parent for path in Path("runs").glob("*/recipe.json")]
    return [RunFolder(path) for path in sorted(found, key=lambda path: RunFiles(path).settings.stat().st_mtime)]
