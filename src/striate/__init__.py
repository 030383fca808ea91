"""striate: design, train, look inside and ship convolutional image classifiers.

    net = striate.nets.lenet5()                 an architecture, pure data
    print(striate.summary(net))                 its exact account
    run = striate.train("photos/", epochs=10)   a run folder with a model and a report
    model = striate.load("runs/photos-1")       a model that predicts, without torch

Names load when they are first used, so that importing striate costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import nets
    from .api import check, compare, export, label_errors, summary, trace_update
    from .arch.layers import *  # noqa: F403
    from .arch.net import Net
    from .arch.text import parse
    from .data.images import Dataset, Images
    from .errors import StriateError
    from .estimator import ImageClassifier
    from .ship.model import Model
    from .ship.opening import load
    from .train.loop import fit
    from .train.recipe import Recipe
    from .train.run import Run
    from .training.whole import train

# The package `train` is loaded here, at no cost, so that loading a part of it later cannot put the package
# where the function of that name belongs.
from . import train as _package  # noqa: E402

del train, _package

HOME = {
    **dict.fromkeys(("check", "compare", "export", "label_errors", "summary", "trace_update"), "api"),
    "Dataset": "data.images",
    "Images": "data.images",
    "ImageClassifier": "estimator",
    "Model": "ship.model",
    "Net": "arch.net",
    "Recipe": "train.recipe",
    "Run": "train.run",
    "StriateError": "errors",
    "fit": "train.loop",
    "load": "ship.opening",
    "nets": "nets",
    "parse": "arch.text",
    "train": "training.whole",
}
"""The names that load from where they stand; the layer records, from `arch.layers`, come to them."""


def __getattr__(name: str) -> Any:
    if name == "__all__":
        return __dir__()
    if name in HOME:
        module = import_module(f"{__name__}.{HOME[name]}")
        found = module if name == "nets" else getattr(module, name)
    elif name[:1].isupper() and name in records():
        found = records()[name]
    else:
        raise AttributeError(f"module 'striate' has no attribute '{name}'")
    globals()[name] = found
    return found


def records() -> dict[str, Any]:
    """Every layer record by its name."""
    return import_module(f"{__name__}.arch.layers").LAYERS


def __dir__() -> list[str]:
    return sorted([*HOME, *records()])
