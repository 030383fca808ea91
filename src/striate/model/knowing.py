"""What a model learns of its training pictures when it is calibrated, so that it can turn away what is unlike them."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..architecture import layers as L
from ..architecture.net import Net
from ..data.images import Images
from ..engines.model_file import Likeness
from ..errors import DataError
from ..language import say
from ..metrics.likeness import (
    Scatter,
    choose_limit,
    count_fewest,
    fit_scatter,
    measure_distances,
    measure_energies,
    measure_strangeness,
    scale_sign,
)

if TYPE_CHECKING:
    from .model import Model

# Training pictures that are looked at, spread evenly, and features of a picture, for which the covariance is computed.
MOST_PICTURES, MOST_FEATURES = 5_000, 4_096


class Seen(NamedTuple):
    """What a model makes of pictures: their features N×D, the logits (or probabilities) N×K, and the labels."""

    features: NDArray
    outputs: NDArray
    labels: NDArray

    @property
    def right(self) -> NDArray:
        return self.outputs.argmax(1) == self.labels


def find_feature_path(net: Net) -> str | None:
    """The layer whose values the net's last dense layer reads; None where the net does not end in one."""
    named = list(net.body.named)
    for place, (_, layer) in reversed(list(enumerate(named))):
        if isinstance(layer, L.Dense):
            return named[place - 1][0] if place else None
        if not isinstance(layer, L.Identity | L.Dropout | L.Softmax):
            return None
    return None


def learn_likeness(model: Model, learnt: Images, chosen: Images, test: Images | None, lost: float) -> Likeness:
    """What turns away at most a share `lost` of the right answers, and otherwise as much as it can.

    learnt  pictures that the model was trained on, which say where its pictures lie
    chosen  pictures that say how far right ones lie from there; test  others that try it, where there are some
    Raises DataError where the net or the pictures do not allow it.
    """
    if not 0 < lost < 1:
        raise DataError("unlike", say("the share of right answers turned away is between 0 and 1"), got=lost, hint="5%")
    path = find_feature_path(model.net)
    if path is None or model.preprocess.views != "plain":
        what = say("pictures unlike the training pictures cannot be told by this model")
        rule = say("a net that ends in a dense layer, without test-time augmentation")
        raise DataError("unlike", what, got=model.net.name, rule=rule)
    if (wide := prod(model.net.at(path).y)) > MOST_FEATURES:
        what = say("the last layer reads too many values for that")
        raise DataError("unlike", what, got=f"{wide:,}", rule=say("at most {most:,}", most=MOST_FEATURES))
    base, tried = see_pictures(model, spread_pictures(learnt), path), see_pictures(model, chosen, path)
    scatter = fit_scatter(base.features, base.labels, len(model.classes))
    right, fewest = int(tried.right.sum()), count_fewest(lost)
    if right < fewest:
        what = say("there are too few right answers to choose a limit for pictures unlike the training pictures")
        raise DataError("unlike", what, got=f"{right:,}", rule=say("at least {least:,}", least=fewest))
    found = set_limits(model, path, scatter, tried, lost)
    if test is None:
        return found
    held = see_pictures(model, test, path)
    away = measure_strangeness(found, held.features, held.outputs) > 1
    return msgspec.structs.replace(found, tested=(int(held.right.sum()), int(away[held.right].sum())))


def set_limits(model: Model, path: str, scatter: Scatter, tried: Seen, lost: float) -> Likeness:
    """The likeness whose limit the right answers among those `tried` choose: of both signs together."""
    right = tried.right
    far = measure_distances(scatter, tried.features[right])
    energies = None if model.net.gives_probabilities else measure_energies(tried.outputs[right])
    distance, energy = scale_sign(far, lost), None if energies is None else scale_sign(energies, lost)
    packed = [part.astype("<f4").tobytes() for part in scatter[:4]]
    mean, scale, directions, centres = packed
    made = Likeness(
        path=path, lost=lost, mean=mean, scale=scale, directions=directions, centres=centres, rest=scatter.rest,
        distance=distance, energy=energy,
    )  # fmt: skip
    limit = choose_limit(measure_strangeness(made, tried.features[right], tried.outputs[right]), lost)
    assert limit is not None and limit > 0
    widened = (distance[0], distance[1] * limit), None if energy is None else (energy[0], energy[1] * limit)
    return msgspec.structs.replace(made, distance=widened[0], energy=widened[1])


def spread_pictures(images: Images) -> Images:
    if len(images) <= MOST_PICTURES:
        return images
    return images.take(np.linspace(0, len(images) - 1, MOST_PICTURES).astype(int))


def see_pictures(model: Model, images: Images, path: str) -> Seen:
    return Seen(*model.read_features(images.x, path), images.y)
