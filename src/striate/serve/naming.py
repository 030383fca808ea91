"""What the service says of an image: a class, labels or a number, as the model answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from pydantic import BaseModel

from ..model.answering import describe_exported
from ..model.exported import ExportedModel
from ..model.label_model import LabelModel
from ..model.number_model import NumberModel
from ..model.prediction import name_predictions
from .schema import Answer, Answers, LabelAnswer, LabelAnswers, NumberAnswer, NumberAnswers

# The answer to (name of the image, what the network said of it, how many classes) as JSON data.
Naming = Callable[[str, np.ndarray, int], dict[str, Any]]
# What OpenAPI says of an answer and of several, by what the model answers.
SCHEMAS: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    "softmax": (Answer, Answers),
    "sigmoid": (LabelAnswer, LabelAnswers),
    "identity": (NumberAnswer, NumberAnswers),
}


def choose_naming(model: ExportedModel) -> Naming:
    """How the answers of this model are told."""
    outputs = model.card.outputs
    if outputs == "softmax":
        return lambda name, row, top: name_predictions(model, [name], row[None], top)[0].as_dict()
    kind = LabelModel if outputs == "sigmoid" else NumberModel
    made = kind(describe_exported(model, outputs))
    return lambda name, row, top: made.name_answer(name, row).as_dict()
