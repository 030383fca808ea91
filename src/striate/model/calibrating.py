"""A model that says when it does not know: probabilities calibrated, and a threshold a class for a stated error."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..architecture import layers as L
from ..architecture.net import Net
from ..data.images import Images
from ..data.reading import choose_reading
from ..data.sources.load import load_dataset
from ..engines.model_file import Abstention, Likeness
from ..errors import DataError
from ..language import say
from ..metrics.abstention import (
    NEVER,
    SURE,
    Abstained,
    Temperature,
    apply_temperature,
    choose_thresholds,
    fit_temperature,
    measure_abstention,
)
from ..metrics.classification import compute_wilson
from .knowing import learn_likeness
from .model import Model, load_model
from .out_of_fold import read_out_of_fold
from .prediction import find_depth

# What passes on a factor above 0: after the last weights these may stand before the logits.
SCALED_ALONG = (
    L.Identity, L.Dropout, L.StochasticDepth, L.Flatten, L.GlobalAvgPool, L.GlobalMaxPool, L.AvgPool, L.MaxPool,
    L.BlurPool, L.ReLU, L.LeakyReLU, L.PReLU, L.SideHead, L.Softmax,
)  # fmt: skip


@dataclass(frozen=True)
class Calibration:
    """What a calibration found. `print` it, or take `as_dict()` for JSON.

    model        the calibrated one
    temperature  its logits were divided by it
    calibrated   what the thresholds do on the images that chose them
    tested       what they do on the test split, which chose nothing; None where there is none
    """

    model: Model
    temperature: Temperature
    calibrated: Abstained
    tested: Abstained | None

    @property
    def abstention(self) -> Abstention:
        assert self.model.header.abstention is not None
        return self.model.header.abstention

    @property
    def likeness(self) -> Likeness | None:
        return self.model.header.likeness

    @property
    def silent(self) -> tuple[str, ...]:
        """The classes that the model never answers with."""
        pairs = zip(self.model.classes, self.abstention.thresholds, strict=True)
        return tuple(name for name, threshold in pairs if threshold >= NEVER)

    def as_dict(self) -> dict[str, Any]:
        return {
            "error": self.abstention.error,
            "sure": SURE,
            "thresholds": dict(zip(self.model.classes, self.abstention.thresholds, strict=True)),
            "temperature": msgspec.to_builtins(self.temperature),
            "calibrated": self.calibrated.as_dict(),
            "tested": None if self.tested is None else self.tested.as_dict(),
            "unlike": None if self.likeness is None else {"lost": self.likeness.lost, "tested": self.likeness.tested},
        }

    def __str__(self) -> str:
        heat, error = self.temperature, self.abstention.error
        lines = [
            say(
                "temperature {value:.3g}: cross-entropy {loss_before:.4f} before, {loss_after:.4f} after",
                value=heat.value,
                loss_before=heat.loss_before,
                loss_after=heat.loss_after,
            ),
            say(
                "thresholds for at most {error:.4g} wrong among the answers of a class, {sure:.0%} sure",
                error=error,
                sure=SURE,
            ),
            say("of the images that chose them it {answers}", answers=describe_abstained(self.calibrated)),
        ]
        lines += (
            []
            if self.tested is None
            else [say("of the test images it {answers}", answers=describe_abstained(self.tested))]
        )
        lines += [] if self.likeness is None else describe_likeness(self.likeness)
        lines += [say("never answered: {names}", names=", ".join(self.silent))] if self.silent else []
        return "\n".join(lines)


def describe_likeness(likeness: Likeness) -> list[str]:
    lines = [
        say(
            "pictures unlike the training pictures are turned away, and {lost:.4g} of right answers", lost=likeness.lost
        )
    ]
    if likeness.tested is not None and likeness.tested[0]:
        right, away = likeness.tested
        low, high = compute_wilson(away, right)
        lines += [
            say(
                "of {right:,} right answers to test images {away:,} are ({share:.1%}; {low:.1%} to {high:.1%})",
                right=right, away=away, share=away / right, low=low, high=high,
            )
        ]  # fmt: skip
    return lines


def describe_abstained(found: Abstained) -> str:
    low, high = found.share_interval
    answered = say(
        "answers {answered:,} of {images:,} ({share:.1%}; {low:.1%} to {high:.1%})",
        answered=found.answered,
        images=found.images,
        share=found.share,
        low=low,
        high=high,
    )
    if found.error is None or found.error_interval is None:
        return answered
    low, high = found.error_interval
    return say(
        "{answered}, {wrong:,} of those wrongly ({error:.1%}; {low:.1%} to {high:.1%})",
        answered=answered,
        wrong=found.wrong,
        error=found.error,
        low=low,
        high=high,
    )


def calibrate(
    run: str | Path, data: Any, error: float = 0.02, *, unlike: float | None = None, **reading: Any
) -> Calibration:
    """Give a run's model thresholds below which it is unsure, and write its model file again.

    data     what the run was trained on: its validation images choose, its test images try; where the run has learnt
             from the validation images too, what cross-validation said of all its images chooses. Or labelled images
             that it has not seen: all of them choose
    error    at most this share of a class's answers is to be wrong (metrics.abstention)
    unlike   pictures unlike the training pictures are to be turned away too, and of the right answers this share with
             them (metrics.likeness); None: they are not told apart
    reading  how the files are to be understood, by name; by default as they were in training
    The probabilities are calibrated too, by a temperature, where that helps. The model as it was is the new one with
    its last weights times `abstention.temperature`. Raises DataError where no threshold keeps the error.

    >>> import tempfile, striate
    >>> run = striate.train("digits", "lenet5", epochs=5, out=tempfile.mkdtemp() + "/run")
    >>> found = calibrate(run.folder, "digits", 0.05)
    >>> found.tested.images, striate.load(run.folder).abstention.error
    (180, 0.05)
    """
    model = load_model(run)
    before = 1.0 if model.header.abstention is None else model.header.abstention.temperature
    answers, images = find_calibration_answers(model, data, reading, before)
    test = images.test
    y, heat = answers.labels, fit_temperature(answers.probabilities, answers.labels)
    tensors = divide_logits(model.net, model.tensors, heat.value * answers.temperature / before)
    if tensors is None:
        tensors, heat = model.tensors, Temperature(1.0, heat.loss_before, heat.loss_before)
    plain = Model(model.header, tensors, model.path)
    p = apply_temperature(answers.probabilities, heat.value)
    thresholds = choose_thresholds(p, y, error, model.classes)
    calibrated = measure_abstention(p, y, thresholds)
    tested = None if test is None else measure_abstention(plain.probabilities(test.x), test.y, thresholds)
    found = Abstention(
        error=error,
        thresholds=tuple(thresholds.tolist()),
        temperature=heat.value * answers.temperature,
        calibrated=(calibrated.images, calibrated.answered, calibrated.wrong),
        tested=None if tested is None else (tested.images, tested.answered, tested.wrong),
    )
    header = msgspec.structs.replace(model.header, abstention=found, likeness=None)
    if unlike is not None:
        likeness = learn_likeness(Model(header, tensors, model.path), *images, unlike)
        header = msgspec.structs.replace(header, likeness=likeness)
    made = Model(header, tensors, model.path)
    assert model.path is not None
    made.save(model.path)
    return Calibration(made, heat, calibrated, tested)


class CalibrationAnswers(NamedTuple):
    """The probabilities and labels that choose the thresholds; `temperature` is in these probabilities already."""

    probabilities: NDArray
    labels: NDArray
    temperature: float


class CalibrationImages(NamedTuple):
    """Images that the model was trained on, or others like them; those that choose limits; those that try them."""

    learnt: Images
    chosen: Images
    test: Images | None


def find_calibration_answers(
    model: Model, data: Any, reading: dict[str, Any], temperature: float
) -> tuple[CalibrationAnswers, CalibrationImages]:
    """What chooses the thresholds, and the images; the model has that `temperature` in its weights.

    Of the very data that the model was trained on, its validation split, or what cross-validation kept, and its test
    split; of other data all that it does not know from training. Raises DataError where none is left.
    """
    header = model.header
    if header.fold is None and header.fingerprint:
        try:
            whole = load_dataset(
                data,
                size=model.preprocess.size,
                channels=model.net.input[0],
                fit=model.preprocess.fit,
                seed=header.recipe.get("seed", 0),
                reading=choose_reading(reading, header.reading),
                depth=find_depth(model.preprocess),
                least_test=header.recipe.get("least_test", 0),
            )
        except DataError:
            whole = None  # a set to measure on, which has no training images
        if whole is not None and whole.fingerprint == header.fingerprint:
            valid = whole.valid
            asked = CalibrationAnswers(model.probabilities(valid.x), valid.y, temperature)
            kept = read_out_of_fold(model.path)
            asked = asked if kept is None else CalibrationAnswers(kept.probabilities, kept.labels, 1.0)
            return asked, CalibrationImages(whole.train, valid, whole.test)
    images, kept = model.measured(data), read_out_of_fold(model.path)
    first, second = (images.take(np.arange(start, len(images), 2)) for start in (0, 1))
    told = None if kept is None else kept.find(images)
    if told is not None:
        return CalibrationAnswers(told, images.y, 1.0), CalibrationImages(first, second, None)
    return CalibrationAnswers(model.probabilities(images.x), images.y, temperature), CalibrationImages(
        first, second, None
    )


def divide_logits(net: Net, tensors: dict[str, NDArray], temperature: float) -> dict[str, NDArray] | None:
    """The tensors of the same net with its logits divided by `temperature`: its last weights and biases are.

    None where what follows them is not proportional to them.
    """
    path = find_last_weights(net.body, "")
    if path is None:
        return None
    scaled = {name: np.float32(1 / temperature) * tensors[name] for name in list_own(net, path)}
    return tensors | scaled


def list_own(net: Net, path: str) -> list[str]:
    return [name for name in net.tensors if name.rpartition(".")[0] == path]


def find_last_weights(chain: L.Sequence, path: str) -> str | None:
    """The path of the last convolution or dense layer, if the logits are proportional to what it gives."""
    for name, layer in reversed(chain.named):
        if isinstance(layer, L.Sequence):
            return find_last_weights(layer, f"{path}{name}.")
        if isinstance(layer, L.Conv | L.Dense):
            return f"{path}{name}"
        if not isinstance(layer, SCALED_ALONG):
            return None
    return None
