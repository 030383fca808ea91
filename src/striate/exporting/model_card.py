"""The card of a model on the Hugging Face Hub: what it tells apart, how well it was measured to, and how to use it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

from .. import __version__
from ..metrics.numbers import format_percent
from ..model.model import Model
from ..summaries.summary import summarise_net

# A confusion matrix of more classes than these is no table to read; then the most frequent confusions stand alone.
MOST_CLASSES = 20
MOST_CONFUSIONS = 10

SPLITS = {
    "test": "images set aside for the test",
    "valid": "validation images, which also chose the epoch",
    "cross-validation": "images by cross-validation, each by a model that had not seen it",
}


def render_model_card(
    model: Model, repository: str, report: Mapping[str, Any], began: Mapping[str, Any], licence: str | None
) -> str:
    """The card as Markdown with the Hub's header.

    report  of the run, as report.json has it; began  what recipe.json has
    """
    data = PurePath(str(began.get("data", "unknown"))).name or "unknown"
    parts = [
        render_card_header(repository, report, data, licence),
        f"# {repository.split('/')[-1]}\n\n{describe_model(model, data)}",
        "## How well\n\n" + describe_accuracy(report),
        "## Confusion\n\n" + render_confusion_text(report["confusion"], model.classes),
        "## How to use it\n\n" + describe_use(model, repository),
        "## How it was trained\n\n" + describe_training(began),
        "## Licence\n\n" + (licence or "None is stated: ask who published it before you use it."),
    ]
    return "\n\n".join(parts) + "\n"


def render_card_header(repository: str, report: Mapping[str, Any], data: str, licence: str | None) -> str:
    """YAML, whose values are written as JSON, which YAML contains."""
    result = {
        "task": {"type": "image-classification"},
        "dataset": {"name": data, "type": data},
        "metrics": [
            {"type": "accuracy", "value": report["accuracy"]},
            {"type": "f1", "value": report["macro_f1"], "name": "macro F1"},
        ],
    }
    lines = {
        "library_name": "striate",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "striate"],
        **({"license": licence.lower()} if licence else {}),
        "model-index": [{"name": repository.split("/")[-1], "results": [result]}],
    }
    return "\n".join(
        ["---", *(f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in lines.items()), "---"]
    )


def describe_model(model: Model, data: str) -> str:
    """What it is, in a paragraph."""
    s = summarise_net(model.net)
    names = ", ".join(model.classes[:MOST_CLASSES]) + (", …" if len(model.classes) > MOST_CLASSES else "")
    return (
        f"A convolutional image classifier of {len(model.classes):,} classes ({names}), trained on {data}: "
        f"{model.net.name}, {s.params:,} parameters, {s.macs:,} multiply-accumulates an image, with "
        f"[striate](https://pypi.org/project/striate/) {__version__}."
    )


def describe_accuracy(report: Mapping[str, Any]) -> str:
    """Accuracy with its interval, and what else was measured."""
    low, high = report["accuracy_interval"]
    split = SPLITS.get(str(report.get("split")), "images")
    rows = [
        (
            "Accuracy",
            f"{format_percent(report['accuracy'])}, 95 % interval {format_percent(low)} to {format_percent(high)}",
        ),
        ("Macro F1", f"{report['macro_f1']:.4f}"),
        ("Cross-entropy", f"{report['loss']:.4f} nats per image"),
        ("Calibration error", format_percent(report["ece"])),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"Measured on {report['images']:,} {split}; the interval is Wilson's.\n\n| | |\n|---|---|\n{table}"


def render_confusion_text(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """The matrix, rows the truth, where it can be read; else the most frequent confusions."""
    names = [name.replace("|", "\\|") for name in classes]
    if len(names) <= MOST_CLASSES:
        head = f"| truth ╲ prediction | {' | '.join(names)} |\n|---|{'---:|' * len(names)}\n"
        return head + "\n".join(
            f"| {name} | {' | '.join(map(str, row))} |" for name, row in zip(names, confusion, strict=True)
        )
    pairs = [(n, t, p) for t, row in enumerate(confusion) for p, n in enumerate(row) if n and t != p]
    worst = sorted(pairs, key=lambda pair: -pair[0])[:MOST_CONFUSIONS]
    return "\n".join(f"- {names[t]} taken for {names[p]}: {n}" for n, t, p in worst) or "No image was confused."


def describe_use(model: Model, repository: str) -> str:
    return (
        '```bash\npip install "striate[hub]"\n```\n\n'
        f'```python\nimport striate\n\nmodel = striate.load("hf:{repository}")\n'
        'print(model.predict("photo.jpg"))\n```\n\n'
        f"Images are brought to {model.preprocess.size[0]}×{model.preprocess.size[1]} pixels by the model itself. The "
        "weights are safetensors: no code runs when they are read."
    )


def describe_training(began: Mapping[str, Any]) -> str:
    """The run's settings that are not the usual ones, in a sentence."""
    asked = {key: value for key, value in (began.get("asked") or {}).items() if key != "out"}
    said = ", ".join(f"{key} {value}" for key, value in asked.items()) or "nothing but the data"
    return f"`striate train` was given: {said}. All settings are in `recipe.json`."
