"""The files of a run folder: the one place that says what each is called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class RunFiles:
    """Where each file of the run in `folder` is.

    >>> RunFiles(Path("runs/digits-1")).checkpoint.as_posix()
    'runs/digits-1/checkpoint/last.safetensors'
    """

    folder: Path

    @property
    def settings(self) -> Path:
        """What the run began with: data, net, size, recipe, and the arguments as they were given."""
        return self.folder / "recipe.json"

    @property
    def metrics(self) -> Path:
        """A line of JSON for each epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def strengths(self) -> Path:
        """Of a transfer: what cross-validation found for each strength of its head, a line of JSON each."""
        return self.folder / "strengths.jsonl"

    @property
    def model(self) -> Path:
        """The model of the best epoch."""
        return self.folder / "model.safetensors"

    @property
    def report(self) -> Path:
        """The evaluation as JSON; the last file that a run writes."""
        return self.folder / "report.json"

    @property
    def out_of_fold(self) -> Path:
        """What cross-validation said of images that the model then learnt from, where it has."""
        return self.folder / "out_of_fold.safetensors"

    @property
    def teacher(self) -> Path:
        """What a teacher says of each image to train on, where there is one."""
        return self.folder / "checkpoint" / "teacher.safetensors"

    @property
    def fold_answers(self) -> Path:
        """Of a fold's run: what its model said of the fold that it was tested on."""
        return self.folder / "fold_answers.safetensors"

    @property
    def label_errors(self) -> Path:
        """The likely label errors as JSON, where they were asked for after the training."""
        return self.folder / "label_errors.json"

    @property
    def corrections(self) -> Path:
        """The labels of the data set that were corrected by hand: those that the run began with, and those since."""
        return self.folder / "corrections.csv"

    @property
    def report_page(self) -> Path:
        return self.folder / "report.html"

    @property
    def checkpoint(self) -> Path:
        """The last state, which `resume` goes on from."""
        return self.folder / "checkpoint" / "last.safetensors"

    @property
    def images(self) -> Path:
        """What the images were that it began with."""
        return self.folder / "checkpoint" / "images.safetensors"

    @property
    def tensorboard(self) -> Path:
        """The folder of the event files, where the run is logged for TensorBoard."""
        return self.folder / "tensorboard"

    @property
    def mlflow(self) -> Path:
        """Which run of MLflow's it is logged to."""
        return self.folder / "mlflow.json"

    @property
    def wandb(self) -> Path:
        """Which run of Weights & Biases it is logged to, and what was sent."""
        return self.folder / "wandb.json"

    @property
    def folds(self) -> Path:
        """The summary of a cross-validation as JSON; the last file that it writes."""
        return self.folder / "folds.json"

    def fold(self, number: int) -> RunFiles:
        """The run of a fold, from 1, within the folder of a cross-validation."""
        return RunFiles(self.folder / f"fold-{number}")
