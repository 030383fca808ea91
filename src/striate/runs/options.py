"""What a training is told beside its recipe: where the data go, the net, the time, the processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec

from ..fitting.recipe import PRESETS
from ..setting import Setting

LOGS = ("tensorboard", "mlflow", "wandb")
# What of a training has no meaning where its rate is to be found: where it goes, how long it is, and the rate itself.
LEFT_OUT = (
    *("out", "resume", "minutes", "devices", "nodes", "save_every", "log", "folds", "keep"),
    *("lr", "epochs", "schedule", "warmup", "patience", "memorised", "cooldown"),
    *("teacher", "distillation", "temperature"),
)
# And where a sweep makes the runs: it says where they go and how long they are.
LEFT_OUT_OF_SWEEPS = (
    *("out", "resume", "minutes", "devices", "nodes", "folds", "keep", "preset", "weights", "recipe"),
    *("teacher", "distillation", "temperature"),
)
FIT_WORDS = ("pad", "crop", "squash")
# What a cross-validation keeps as its model, the first as usual.
KEEPS = ("refit", "ensemble", "none")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    net: Annotated[
        Any,  # a Net, whose room need not load for --help
        Setting("Network: a zoo name, a file, or 'Net(…)'", "or a Net; auto: by the data", usual="auto", typed=str),
    ] = None
    preset: Annotated[
        str | None,
        Setting(
            "Recipe chosen by the data",
            "fast, balanced and best choose the recipe, and the net where that is auto; transfer trains a head on a "
            "published net. What is given goes over the preset. Without one the recipe's own defaults hold, or where "
            "the net is auto, transfer for files larger than 64 pixels if EfficientNet-Lite0 is installed, else "
            "balanced",
            usual="by the data",
            choices=PRESETS,
        ),
    ] = None
    folds: Annotated[
        int | None,
        Setting(
            "Cross-validate: so many trainings, each tested on its own fold",
            "class by class, with groups (`group`); a source's own folds are taken. Returns a CrossValidation",
            usual="one training",
        ),
    ] = None
    keep: Annotated[
        str | None,
        Setting(
            "Model of a cross-validation",
            "refit trains once more, on all images, as long or as strongly as the folds chose, and is measured by what "
            "the folds said; ensemble is one model that averages the probabilities of the folds' nets; none keeps the "
            "folds alone",
            usual=KEEPS[0],
            choices=KEEPS,
        ),
    ] = None
    minutes: Annotated[
        float | None,
        Setting(
            "Time budget in minutes",
            "the epochs, and where the net is auto the net, are chosen to fit, up to the preset's net",
            usual="the preset's epochs",
        ),
    ] = None
    out: Annotated[
        str | Path | None, Setting("Run folder", usual="a new one under runs/", flags="--out,-o", typed=Path)
    ] = None
    size: Annotated[
        int | tuple[int, int] | None,
        Setting("Image side in pixels", "or (height, width)", usual="the net's own"),
    ] = None
    fit: Annotated[
        str | None,
        Setting(
            "How an image gets that size",
            "a transfer asks its photographs whether crop is better",
            usual="pad",
            choices=FIT_WORDS,
        ),
    ] = None
    recipe: Annotated[
        Any,
        Setting(
            "TOML file of the recipe settings",
            "or a Recipe; settings given by name go over it",
            usual="none",
            typed=Path,
        ),
    ] = None
    weights: Annotated[
        str | Path | None,
        Setting(
            "Pretrained weights to begin with: a file, a run, or a Hugging Face Hub name",
            "a classifier of other classes is replaced",
            usual="none",
        ),
    ] = None
    teacher: Annotated[
        str | Path | None,
        Setting(
            "Teacher: a run or a model file whose answers the net learns too (distillation)",
            "of the same classes, at its own image size; it is asked once for each training image",
            usual="none",
        ),
    ] = None
    resume: Annotated[
        bool,
        Setting("Resume the run in --out, or the newest unfinished one of this data", flags="--resume"),
    ] = False
    memory: Annotated[
        int | str | None,
        Setting(
            "Memory for the images, such as 500M",
            "or bytes; what does not fit is kept on disk",
            usual="most of what is free",
            typed=str,
        ),
    ] = None
    devices: Annotated[
        int | None,
        Setting("Data-parallel processes on this machine (GPUs)", usual="1, or as torchrun says"),
    ] = None
    nodes: Annotated[
        int | None, Setting("Machines, each started with the same command", usual="1, or as torchrun says")
    ] = None
    log: Annotated[
        str | None,
        Setting(
            "Log for a tracker, in the run folder",
            "curves and the first filters after each epoch, the confusion matrix and the report in the end; a resumed "
            "run goes on logging",
            usual="none",
            choices=LOGS,
        ),
    ] = None
    save_every: Annotated[
        float,
        Setting("Seconds between checkpoints within an epoch", "each epoch's end has one too"),
    ] = 30.0
