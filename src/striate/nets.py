"""striate.nets: every published network as a function that returns its Net, or with `weights` its Model."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from .architecture import zoo
from .architecture.zoo import FAMILIES, NAMES, build
from .errors import ModelError
from .language import say

__all__ = ["FAMILIES", "NAMES", "build", *NAMES]  # pyright: ignore


def __getattr__(name: str) -> Callable[..., Any]:
    if name.startswith("__"):
        raise AttributeError(name)
    made = getattr(zoo, name)

    @wraps(made)
    def net(*args: Any, weights: str | None = None, **options: Any) -> Any:
        record = made(*args, **options)
        if weights is None:
            return record
        from .model.opening import load_weights

        model, replaced = load_weights(record, weights)
        if replaced:
            raise ModelError(
                name,
                say(
                    "the weights are for other classes than these {classes}, so the classifier has none",
                    classes=record.classes,
                ),
                hint=say(
                    "leave out classes, or train it: striate train DATA --net {name} --weights {weights}",
                    name=name,
                    weights=weights,
                ),
            )
        return model

    return net


def __dir__() -> list[str]:
    return __all__
