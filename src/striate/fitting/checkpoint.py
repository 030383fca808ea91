"""What a run trains, and its checkpoint on disk: what must be the same for it to go on."""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import safetensors
from safetensors.torch import load as read_tensors
from torch import Tensor

from ..architecture.net import Net
from ..architecture.text import from_json, to_json
from ..engines.model_file import Known, ModelHeader, Preprocess
from ..errors import ModelError, RunError
from ..language import say
from ..run_files import RunFiles
from .began import need_head, parse_checkpoint_head
from .callables import NO_CALLABLES, REPLACED_SETTINGS, Callables, check_same_callables
from .last_step import read_checkpoint_head
from .recipe import Recipe


@dataclass(frozen=True)
class Task:
    """What a run trains on what: all that a resumed run must share with its beginning.

    callables  the functions that it is given beside the recipe
    """

    net: Net
    recipe: Recipe
    classes: tuple[str, ...]
    preprocess: Preprocess
    fingerprint: str
    version: str
    known: Known | None = None
    reading: dict[str, Any] = field(default_factory=dict)
    callables: Callables = NO_CALLABLES
    fold: tuple[int, int] | None = None

    def header(self, metrics: dict[str, Any]) -> ModelHeader:
        return ModelHeader(
            net=self.net,
            classes=self.classes,
            preprocess=self.preprocess,
            recipe=describe_recipe(self.recipe, self.callables),
            metrics=metrics,
            fingerprint=self.fingerprint,
            reading=self.reading,
            known=self.known,
            fold=self.fold,
            version=self.version,
        )


def describe_recipe(recipe: Recipe, callables: Callables) -> dict[str, Any]:
    """The recipe as a model file keeps it: a function's name stands in it instead of what it took the place of."""
    whole = msgspec.to_builtins(recipe)
    gone = {name for kind in callables.names for name in REPLACED_SETTINGS.get(kind, ())}
    return {name: value for name, value in whole.items() if name not in gone} | callables.told


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A checkpoint's JSON and tensors. Raises RunError or ModelError."""
    if not path.is_file():
        raise explain_missing_checkpoint(path)
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            head = parse_checkpoint_head(file.metadata())
            return head, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (safetensors.SafetensorError, KeyError, ValueError, RecursionError) as e:
        hint = say("start a new run, in another folder with --out")
        raise ModelError(
            str(path), say("this checkpoint cannot be read: {complaint}", complaint=e), hint=hint
        ) from None


def explain_missing_checkpoint(path: Path) -> RunError:
    return RunError(str(path), say("there is no checkpoint here to resume from"), hint=say("start without --resume"))


def select_part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors under `name`/, without it."""
    return {key.split("/", 1)[1]: value for key, value in tensors.items() if key.startswith(f"{name}/")}


def identify_task(task: Task) -> dict[str, Any]:
    """What must be the same for a checkpoint to go on, as JSON data."""
    return {
        "net": to_json(task.net),
        "recipe": msgspec.to_builtins(task.recipe),
        "classes": list(task.classes),
        "preprocess": json.loads(msgspec.json.encode(task.preprocess)),
        "data": task.fingerprint,
        "own": task.callables.names,
    }


def describe_difference(now: Any, then: Any) -> str:
    """Where two settings differ, in one line."""
    if isinstance(now, dict) and isinstance(then, dict):
        parts = [
            say("{name}={value} (it began with {then})", name=k, value=now[k], then=then.get(k))
            for k in now
            if now[k] != then.get(k)
        ]
        return ", ".join(str(part)[:80] for part in parts)
    return say("{now} (it began with {then})", now=str(now)[:60], then=str(then)[:60])


def read_task(folder: Path) -> Task:
    """The task of a run that was interrupted, from its checkpoint."""
    path, head = RunFiles(folder).checkpoint, read_checkpoint_head(folder)
    if head is None:
        raise explain_missing_checkpoint(path)
    need_head(head, path)
    return parse_task(head)


def check_same_task(path: Path, now: dict[str, Any], then: dict[str, Any]) -> None:
    """Raise RunError where what a run is `now` asked to be is not what it was `then`, by its checkpoint at `path`."""
    check_same_callables(str(path), now.get("own", {}), then.get("own", {}))
    for key, value in now.items():
        if key == "own":
            continue
        before = renew_identity(key, then.get(key))
        if before != value:
            raise RunError(
                f"{path}: {key}",
                say("this run began with another {key}", key=key),
                got=describe_difference(value, before),
                hint=say("resume with the settings and data that it began with, or start a new run"),
            )


def renew_identity(key: str, then: Any) -> Any:
    """What an older version wrote, with the settings that have come since at their defaults, under today's names."""
    records: dict[str, Any] = {"recipe": Recipe, "preprocess": Preprocess}
    if key not in records or then is None:
        return then
    return json.loads(msgspec.json.encode(msgspec.convert(then, records[key])))


def remove_parts(folder: Path) -> None:
    """Remove what a kill left half written."""
    for left in Path(folder).rglob(".*.part"):
        left.unlink(missing_ok=True)


def unpack_checkpoint(content: bytes) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """A checkpoint's JSON and tensors, of what `Run.packed` gave."""
    [length] = struct.unpack("<Q", content[:8])
    return json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["striate"]), read_tensors(content)


def parse_task(head: dict[str, Any], callables: Callables = NO_CALLABLES) -> Task:
    """The task whose `identify_task` is in a checkpoint's head, which has but the names of its functions."""
    return Task(
        from_json(head["net"]),
        msgspec.convert(head["recipe"], Recipe),
        tuple(head["classes"]),
        msgspec.convert(head["preprocess"], Preprocess),
        head["data"],
        head.get("version", ""),
        callables=callables,
    )
