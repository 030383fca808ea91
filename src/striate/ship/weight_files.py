"""Where a name of published weights leads: to a local file, a folder, or the Hugging Face Hub."""

from __future__ import annotations

import json
import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import ModelError

SUFFIXES = (".safetensors", ".pth", ".pt")


def located(source: str | Path) -> tuple[Path, dict[str, Any]]:
    """The file of weights that `source` names, and what a config.json beside it says."""
    path = Path(source).expanduser()
    if path.is_dir():
        path = path / "model.safetensors"
    elif not path.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)) and path.suffix not in SUFFIXES:
        return from_hub(str(source))
    if not path.is_file():
        raise ModelError(str(source), "there is no such file", hint="a .safetensors or .pth file, or a name on the Hub")
    return path, config_beside(path)


def config_beside(path: Path) -> dict[str, Any]:
    """timm's config.json in the folder of `path`, or nothing."""
    try:
        config = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) and "architecture" in config else {}


def from_hub(name: str) -> tuple[Path, dict[str, Any]]:
    """The weights and the configuration of the Hub's `name`, from the cache where they are there already."""
    if find_spec("huggingface_hub") is None:
        raise ModelError(name, "the Hugging Face Hub needs an extra", hint='pip install "striate[hub]"')
    import huggingface_hub

    try:
        config = Path(huggingface_hub.hf_hub_download(name, "config.json"))
        file = Path(huggingface_hub.hf_hub_download(name, "model.safetensors"))
    except Exception as e:  # the Hub's client raises its own, its transport's and the system's errors
        reason = str(e).strip().split("\n")[0]
        what = f"the Hub did not give these weights: {type(e).__name__}: {reason}"
        raise ModelError(name, what, hint="check the name and the network, or give a local file") from None
    return file, config_beside(config)
