"""A run on the Hugging Face Hub: its model, what it was measured to do, and a card that says both."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path
from shutil import copyfile
from typing import Any

from .. import __version__
from ..errors import ModelError, RunError
from ..extras import explain_missing_extra
from ..language import say
from ..model.model import load_model
from ..run_files import RunFiles
from .model_card import render_model_card


def push(run: str | Path, name: str, *, licence: str | None = None, private: bool = False) -> str:
    """Put a finished run on the Hugging Face Hub as the repository `name`, and give back its address.

    run      its folder: the model, recipe.json, the report and a model card go there; no image does, but for those that
             report.html shows
    name     "OWNER/NAME"; it is made where it is not there
    licence  of the weights, as the Hub writes it: "apache-2.0"
    private  for you alone; of a new repository
    You are who `hf auth login` or HF_TOKEN says. `striate.load("hf:OWNER/NAME")` reads it.
    Raises RunError or ModelError.

    >>> try:
    ...     push("runs/digits", "digits")
    ... except ModelError as e:
    ...     print(e.what)
    this is no name of a repository
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ModelError(
            str(name), say("this is no name of a repository"), rule="OWNER/NAME", hint="your-name/my-model"
        )
    files = RunFiles(Path(run))
    report, began = (read_run_json(file, str(run)) for file in (files.report, files.settings))
    model = load_model(files.folder)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for file in (files.model, files.settings, files.report, files.report_page):
            copyfile(file, place / file.name)
        config = {"striate": __version__, "net": model.net.name, "classes": list(model.classes)}
        (place / "config.json").write_text(json.dumps(config, ensure_ascii=False, indent=1), encoding="utf-8")
        card = render_model_card(model, name, report, began, licence)
        (place / "README.md").write_text(card, encoding="utf-8")
        return upload_folder(place, name, private)


def read_run_json(file: Path, run: str) -> dict[str, Any]:
    """A file of a finished run. Raises RunError."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except OSError:
        what = say("this is no finished run: it has no {name}", name=file.name)
        raise RunError(run, what, hint=say("striate train … --resume --out {run} finishes one", run=run)) from None
    except ValueError as e:
        raise RunError(str(file), say("this is no JSON: {complaint}", complaint=e)) from None


def upload_folder(folder: Path, name: str, private: bool) -> str:
    """Put the files of `folder` into the repository; its address. Raises ModelError with what the Hub says."""
    try:
        import huggingface_hub
    except ModuleNotFoundError as e:
        raise explain_missing_extra(e.name, name) or e from None
    from huggingface_hub.errors import LocalTokenNotFoundError

    hub = huggingface_hub.HfApi()
    try:
        hub.create_repo(name, private=private, exist_ok=True)
        hub.upload_folder(repo_id=name, folder_path=folder, commit_message=f"striate {__version__}")
    except Exception as e:  # the Hub's client raises its own, its transport's and the system's errors
        status = getattr(getattr(e, "response", None), "status_code", 0)
        refused = isinstance(e, LocalTokenNotFoundError) or status in (401, 403)
        what = say(
            "the Hub did not take it: {name}: {complaint}",
            name=type(e).__name__,
            complaint=str(e).strip().splitlines()[0],
        )
        hint = say("hf auth login, with a token that may write") if refused else say("check the name and the network")
        raise ModelError(name, what, hint=hint) from None
    return f"{hub.endpoint}/{name}"
