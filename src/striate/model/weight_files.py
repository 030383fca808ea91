"""Where a name of published weights leads: to a local file, a folder, or the Hugging Face Hub."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ModelError
from ..language import say
from ..run_files import RunFiles

WEIGHT_SUFFIXES = (".safetensors", ".pth", ".pt")


def locate_weights(source: str | Path) -> tuple[Path, dict[str, Any]]:
    """The file of weights that `source` names, and what a config.json beside it says."""
    path = Path(source).expanduser()
    if path.is_dir():
        path = RunFiles(path).model
    elif not path.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)) and path.suffix not in WEIGHT_SUFFIXES:
        return download_from_hub(str(source))
    if not path.is_file():
        raise ModelError(
            str(source), say("there is no such file"), hint=say("a .safetensors or .pth file, or a name on the Hub")
        )
    return path, read_config_beside(path)


def read_config_beside(path: Path) -> dict[str, Any]:
    """timm's config.json in the folder of `path`, or nothing."""
    try:
        config = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) and "architecture" in config else {}


def download_from_hub(name: str) -> tuple[Path, dict[str, Any]]:
    """The weights and the configuration of the Hub's `name`, from the cache where they are there already."""
    config = download_config(name)
    return download_file(name, "model.safetensors"), config if "architecture" in config else {}


def download_config(name: str) -> dict[str, Any]:
    """What the Hub's `name` says of itself in `config.json`. Raises ModelError."""
    path = download_file(name, "config.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise ModelError(f"{name}: config.json", say("this is no JSON: {complaint}", complaint=e)) from None
    return config if isinstance(config, dict) else {}


def download_file(name: str, file: str) -> Path:
    """A file of the Hub's repository `name`, from the cache where it is there already. Raises ModelError."""
    if find_spec("huggingface_hub") is None:
        raise ModelError(name, say("the Hugging Face Hub needs an extra"), hint='pip install "striate[hub]"')
    import huggingface_hub
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError

    try:
        return Path(huggingface_hub.hf_hub_download(name, file))
    except EntryNotFoundError as e:
        if isinstance(e, LocalEntryNotFoundError):
            raise explain_hub_failure(name, e) from None
        pickles = list_pickles(name) if file.endswith(".safetensors") else []
        what = say("this repository has no {file}", file=file)
        if pickles:
            what = say("this repository has no {file}, but {other}", file=file, other=pickles[0])
        rule = say("weights are read from safetensors alone: a pickle can run code") if pickles else None
        hint = say("a repository that has it, or a local .safetensors file") if pickles else say("check the name")
        raise ModelError(name, what, rule=rule, hint=hint) from None
    except Exception as e:  # the Hub's client raises its own, its transport's and the system's errors
        raise explain_hub_failure(name, e) from None


def explain_hub_failure(name: str, error: Exception) -> ModelError:
    reason = str(error).strip().split("\n")[0]
    what = say("the Hub did not give these weights: {name}: {reason}", name=type(error).__name__, reason=reason)
    return ModelError(name, what, hint=say("check the name and the network, or give a local file: --weights FILE"))


def list_pickles(name: str) -> list[str]:
    """The repository's files that torch or TensorFlow pickled; none where it cannot be asked."""
    import huggingface_hub

    try:
        files = huggingface_hub.list_repo_files(name)
    except Exception:  # it only makes a message better
        return []
    return [file for file in files if file.endswith((".bin", ".pth", ".pt", ".pkl"))]


def read_weight_file(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a `.safetensors`, `.pth` or `.pt` file by their names. Raises ModelError."""
    if path.suffix == ".safetensors":
        import safetensors.numpy

        try:
            return safetensors.numpy.load_file(path)
        except Exception as e:  # SafetensorError, OSError, and TypeError for number formats that NumPy has not
            raise ModelError(
                str(path), say("this is not a readable .safetensors file: {complaint}", complaint=e)
            ) from None
    if path.suffix not in WEIGHT_SUFFIXES:
        raise ModelError(
            str(path),
            say("weights come in files of other names"),
            rule=say("one of {names}", names=", ".join(WEIGHT_SUFFIXES)),
        )
    if find_spec("torch") is None:
        raise ModelError(str(path), say("a file that torch saved needs torch"), hint='pip install "striate[train]"')
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # UnpicklingError, RuntimeError, EOFError, OSError: one for each way to be no such file
        reason = str(e).strip().split("\n")[0]
        raise ModelError(
            str(path), say("torch does not read this file as plain tensors: {reason}", reason=reason)
        ) from None
    for wrapper in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ModelError(str(path), say("this file holds no dictionary of tensors"), got=type(found).__name__)
    return {key.removeprefix("module."): value.float().numpy() for key, value in found.items()}
