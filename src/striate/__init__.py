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
    from .api import (
        check,
        compare,
        compare_models,
        export,
        label_errors,
        profile,
        summary,
        trace_optimizers,
        trace_update,
    )
    from .architecture.layers import *  # noqa: F403
    from .architecture.layers import Layer
    from .architecture.net import Net
    from .architecture.own_layers import layer
    from .architecture.text import parse
    from .conversion.convert import from_torch
    from .data.images import Dataset, Images
    from .data.sources.load import load_dataset
    from .engines.model_file import Preprocess
    from .errors import StriateError
    from .estimator import ImageClassifier
    from .exporting.hub import push
    from .exporting.proving import prove
    from .fitting.callables import Callback
    from .fitting.loop import fit
    from .fitting.recipe import Recipe
    from .fitting.run import Run
    from .fitting.torch_images import make_torch_dataset
    from .inside.steps_by_hand import step
    from .language import set_language, use_language
    from .model.calibrating import calibrate
    from .model.label_model import load_labels
    from .model.model import Model
    from .model.number_model import load_number
    from .model.opening import load
    from .parts.predicting import predict_to_parts
    from .runs.correcting import correct_label
    from .runs.preparing import prepare_run
    from .runs.rate_finding import find_lr
    from .runs.training import train

# The names that load from where they stand; the layer records, from `architecture.layers`, come to them.
HOME = {
    **dict.fromkeys(
        (
            "check",
            "compare",
            "compare_models",
            "export",
            "label_errors",
            "profile",
            "summary",
            "trace_optimizers",
            "trace_update",
        ),
        "api",
    ),
    "Callback": "fitting.callables",
    "Dataset": "data.images",
    "Images": "data.images",
    "ImageClassifier": "estimator",
    "Model": "model.model",
    "Net": "architecture.net",
    "Preprocess": "engines.model_file",
    "Recipe": "fitting.recipe",
    "Run": "fitting.run",
    "StriateError": "errors",
    "calibrate": "model.calibrating",
    "correct_label": "runs.correcting",
    "find_lr": "runs.rate_finding",
    "step": "inside.steps_by_hand",
    "Layer": "architecture.layers",
    "layer": "architecture.own_layers",
    "fit": "fitting.loop",
    "from_torch": "conversion.convert",
    "load": "model.opening",
    "load_labels": "model.label_model",
    "load_number": "model.number_model",
    "load_dataset": "data.sources.load",
    "make_torch_dataset": "fitting.torch_images",
    "nets": "nets",
    "parse": "architecture.text",
    "set_language": "language",
    "sweep": "runs.search",
    "predict_to_parts": "parts.predicting",
    "prepare_run": "runs.preparing",
    "prove": "exporting.proving",
    "push": "exporting.hub",
    "train": "runs.training",
    "use_language": "language",
}


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
    return import_module(f"{__name__}.architecture.layers").LAYERS


def __dir__() -> list[str]:
    return sorted([*HOME, *records()])
