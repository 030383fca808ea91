"""What a run's files say it is, read back: a field that is missing or of the wrong kind is an error that names it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from ..architecture.text import from_json
from ..engines.model_file import Preprocess
from ..errors import ModelError, StriateError
from ..language import say, to_say
from .recipe import Recipe

NEW = to_say("start a new run, in another folder with --out")


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a checkpoint says beside its tensors, as `fitting.run` writes it."""

    step: int
    loss_sum: float
    right: float
    seen: int
    seconds: float
    history: list[dict[str, Any]]
    net: dict[str, Any]
    recipe: Recipe
    classes: tuple[str, ...]
    preprocess: Preprocess
    data: str


def parse_checkpoint_head(metadata: dict[str, str] | None) -> dict[str, Any]:
    """What a checkpoint's metadata say beside its tensors. Raises KeyError, ValueError."""
    head = json.loads((metadata or {})["striate"])
    if not isinstance(head, dict):
        raise ValueError(say("its header is not an object"))
    return head


def need_head(head: Any, path: Path) -> None:
    """Raise ModelError where a checkpoint's `head` is not what `fitting.run` writes."""
    with name_file_errors(path):
        net = from_json(msgspec.convert(head, Head).net)
        if net.input[1:] != tuple(head["preprocess"]["size"]) or net.classes != len(head["classes"]):
            raise ModelError(
                f"{path}: header", say("the header contradicts itself: net, classes and size of the images")
            )


@contextmanager
def name_file_errors(path: Path) -> Iterator[None]:
    """Whatever is wrong with the content of the file at `path` as ModelError."""
    try:
        yield
    except StriateError as e:
        raise ModelError(f"{path}: {e.where}", e.what, got=e.got, rule=e.rule, hint=e.hint or say(NEW)) from None
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError, OverflowError, RecursionError) as e:
        raise ModelError(
            f"{path}: header",
            say("this file cannot be read: {name}: {complaint}", name=type(e).__name__, complaint=e),
            hint=say(NEW),
        ) from None
