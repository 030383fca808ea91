"""How far an attribution can be trusted: the deletion and insertion scores, beside those of pixels drawn at random."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..architecture.net import Net
from ..language import say
from .attribution import Attribution, Classify, make_classifier

# What two random orders differ by tells nothing: a score must be better by more than this.
TRUST_MARGIN = 0.01


@dataclass(frozen=True)
class Trust:
    """What becomes of the class's probability as pixels go, or come, in the order of an attribution.

    deletion   the mean probability while the strongest pixels are replaced by the mean colour first; low is good
    insertion  the mean probability while the strongest come back first into the blurred image; high is good
    random_…   the same for pixels in a random order, the mean of `draws` orders
    removed, restored  the curves: (share of the pixels, probability)
    An attribution that does no better than the random order has not found what the net looks at.
    """

    deletion: float
    insertion: float
    random_deletion: float
    random_insertion: float
    removed: tuple[tuple[float, float], ...]
    restored: tuple[tuple[float, float], ...]
    draws: int

    @property
    def better_than_random(self) -> bool:
        """In both scores by more than MARGIN."""
        gains = self.random_deletion - self.deletion, self.insertion - self.random_insertion
        return min(gains) > TRUST_MARGIN

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def __str__(self) -> str:
        return say(
            "deletion  {deletion:.3f}  (random order {random_deletion:.3f}; lower is better)\n"
            "insertion {insertion:.3f}  (random order {random_insertion:.3f}; higher is better)\n"
            "{told} in both than pixels at random",
            deletion=self.deletion,
            random_deletion=self.random_deletion,
            insertion=self.insertion,
            random_insertion=self.random_insertion,
            told=say("better") if self.better_than_random else say("not better"),
        )


def measure_trust(
    net: Net,
    tensors: Mapping[str, NDArray],
    x: NDArray,
    given: Attribution,
    steps: int = 32,
    draws: int = 8,
    seed: int = 0,
) -> Trust:
    """The deletion and insertion scores of `given`, an attribution of the image x, C×H×W after preprocessing.

    Petsiuk, Das and Saenko 2018, "RISE", section 4.3: areas under the curves of the probability, from 0 to 1.
    """
    classify = make_classifier(net, tensors)
    order = np.argsort(-given.values, axis=None, kind="stable")
    random = [np.random.default_rng([seed, k]).permutation(order.size) for k in range(draws)]
    blank, soft = np.zeros_like(x), blur_image(x, max(1.0, min(x.shape[1:]) / 10))

    def curve(order: NDArray, start: NDArray, end: NDArray) -> tuple[tuple[float, float], ...]:
        return replace_pixels(classify, start, end, order, given.target, steps)

    removed, restored = curve(order, x, blank), curve(order, soft, x)
    others = [(integrate_curve(curve(o, x, blank)), integrate_curve(curve(o, soft, x))) for o in random]
    deletion, insertion = np.mean(others, axis=0)
    scores = integrate_curve(removed), integrate_curve(restored), float(deletion), float(insertion)
    return Trust(*scores, removed, restored, draws)


def replace_pixels(
    classify: Classify, start: NDArray, end: NDArray, order: NDArray, target: int, steps: int
) -> tuple[tuple[float, float], ...]:
    """The class's probability while the pixels of `start` become those of `end`, in `order`."""
    c = len(start)
    shares = np.linspace(0, 1, min(steps, order.size) + 1)
    images = np.repeat(start.reshape(1, c, -1), len(shares), axis=0)
    for image, share in zip(images, shares, strict=True):
        gone = order[: round(share * order.size)]
        image[:, gone] = end.reshape(c, -1)[:, gone]
    p = classify(images.reshape(-1, *start.shape))[:, target]
    return tuple((float(s), float(v)) for s, v in zip(shares, p, strict=True))


def integrate_curve(curve: tuple[tuple[float, float], ...]) -> float:
    """The area under a curve over 0…1, by trapezia."""
    shares, p = np.array(curve).T
    return float(((p[1:] + p[:-1]) / 2 * np.diff(shares)).sum())


def blur_image(x: NDArray, sigma: float) -> NDArray:
    """C×H×W blurred by a Gaussian of `sigma` pixels, the edge kept going outside."""
    radius = int(3 * sigma + 0.5)
    taps = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    taps /= taps.sum()
    y = x
    for axis in (1, 2):
        around = [(0, 0)] * 3
        around[axis] = (radius, radius)
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(y, around, mode="edge"), len(taps), axis)
        y = windows @ taps.astype(x.dtype)
    return y
