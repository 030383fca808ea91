"""The log of a run for MLflow: a run of its own in the tracking store that MLFLOW_TRACKING_URI names.

Which it is stands in the folder's mlflow.json, and what it has is asked of the store itself, so that a run that goes on
after a stop or a kill writes what is missing and nothing twice.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
from numpy.typing import NDArray

from .. import atomic_file
from ..errors import RunError
from ..language import say
from ..run_files import RunFiles

EXPERIMENT = "striate"


class MlflowTracker:
    """A run in MLflow's store, of the experiment MLFLOW_EXPERIMENT_NAME or "striate"."""

    def __init__(self, folder: Path, recipe: Any) -> None:
        import mlflow
        from mlflow.exceptions import MlflowException

        self.place, self.kept = mlflow.get_tracking_uri(), RunFiles(folder).mlflow
        try:
            self.client = mlflow.MlflowClient()
            self.run = self.find_run() or self.make_run(folder, recipe)
            self.logged = set(self.list_logged())
        except MlflowException as e:
            what, hint = (
                say("MLflow refuses: {complaint}", complaint=str(e).splitlines()[0]),
                "MLFLOW_TRACKING_URI=sqlite:///mlflow.db",
            )
            raise RunError(self.place, what, hint=hint) from None

    def find_run(self) -> str | None:
        """The run that this folder was logged to; None for the first time."""
        try:
            found = json.loads(self.kept.read_text(encoding="utf-8"))
        except OSError:
            return None
        self.client.set_terminated(found["run_id"], "RUNNING")
        return found["run_id"]

    def make_run(self, folder: Path, recipe: Any) -> str:
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        known = self.client.get_experiment_by_name(name)
        experiment = known.experiment_id if known else self.client.create_experiment(name)
        run = self.client.create_run(experiment, run_name=folder.name).info.run_id
        said = {"run_id": run, "experiment": name, "tracking_uri": self.place}
        atomic_file.write_file(self.kept, json.dumps(said))
        for key, value in msgspec.to_builtins(recipe).items():
            self.client.log_param(run, key, value)
        return run

    def list_logged(self) -> Iterator[tuple[str, int]]:
        """The tags and steps of metrics, and of artifacts, whose files are called by their steps."""
        for key in self.client.get_run(self.run).data.metrics:
            yield from ((key, point.step) for point in self.client.get_metric_history(self.run, key))
        for room in self.client.list_artifacts(self.run):
            for place in self.client.list_artifacts(self.run, room.path) if room.is_dir else ():
                for file in self.client.list_artifacts(self.run, place.path) if place.is_dir else ():
                    if found := re.fullmatch(r"(.+)/(\d+)\.\w+", file.path):
                        yield found[1], int(found[2])

    def add_scalars(self, values: Mapping[str, float], step: int) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(self.run, [Metric(tag, value, now, step) for tag, value in values.items()])

    def add_picture(self, tag: str, picture: NDArray, step: int) -> None:
        from PIL import Image

        self.client.log_image(self.run, Image.fromarray(picture), artifact_file=f"{tag}/{step:04}.png")

    def add_text(self, tag: str, text: str, step: int) -> None:
        self.client.log_text(self.run, text, f"{tag}/{step:04}.txt")

    def add_page(self, page: Path) -> None:
        if page.is_file():
            self.client.log_artifact(self.run, str(page), "report")

    def close(self) -> None:
        if hasattr(self, "run"):
            self.client.set_terminated(self.run)
