"""What the images of a data set may undergo, asked of the data: flips help photographs and spoil digits; what is seen

from above, such as a surface or a cell, may be turned any way; a photograph with a part of another in it still shows
what it showed, where a digit or a surface with a scratch may not.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.nn import functional as F

from ..architecture.find import find_net
from ..data.images import Images, measure_channels
from ..engines.model_file import Preprocess
from ..language import say
from .batches import Feed
from .checkpoint import Task
from .loop import fit, score_network
from .recipe import Recipe
from .run import Run
from .seeds import derive_seed

# Steps of the small net, images a step, images that judge it at most, and their side in pixels at most.
PROBE_STEPS, PROBE_BATCH, PROBE_HELD, PROBE_SIDE = 60, 64, 1_000, 32

# Where a net that has seen no mirrored image keeps so much of its accuracy on them, left and right may be exchanged.
#
# Measured after 60 steps: 0.34 for 8×8 digits, 0.40 for MNIST, 0.77 for Fashion-MNIST, whose shoes all look left, 1.00
# for photographs of clothes.
KEPT_SHARE = 0.6
# The same for images upside down and turned by 90°. Stricter, for most pictures have an upper side, and a net that has
# learned little yet does not see all of it.
ANY_WAY_SHARE = 0.9
# Where it keeps so much of what it knows beyond guessing, with a square of PASTED of the side from another image in
#
# each, images may be mixed by CutMix. The square covers 12 % of the image, and CutMix gives the other image 12 % of the
# label; where much more is lost, its labels are wrong. Measured, 60 steps, six seeds: surfaces with flaws 0.2 to 0.5,
# digits 0.73 to 0.77, 800 of MNIST 0.71 to 0.79, photographs of clothes 0.81 to 0.87, Fashion-MNIST 0.88 to 0.91,
# clothes before photographs 0.78 to 0.84. In forty epochs of one to three thousand images CutMix took 8 points from the
# surfaces and 1 from MNIST, and brought the others 0 to 2.
FAIR_SHARE = 0.8
# The side of the square, and how often it is tried.
PASTED_SHARE, PASTED_TIMES = 0.35, 4


class ProbeResult(NamedTuple):
    """Accuracies, 0 to 1, of a small net on training images that it has not seen: as they are, mirrored, upside down

    (mirrored at a horizontal line), turned by 90°, which is 0 where images are not square, and with a square of another
    image in each.
    """

    plain: float
    mirrored: float
    classes: int
    upended: float = 0.0
    turned: float = 0.0
    pasted: float = 0.0

    @property
    def learned(self) -> bool:
        """Whether the net is good enough to be asked: half as good again as chance."""
        return self.plain > 1.5 / self.classes

    @property
    def kept(self) -> float:
        return self.mirrored / max(self.plain, 1e-9)

    @property
    def may_flip(self) -> bool:
        """Where the net cannot tell, as among very few images, images may be flipped."""
        return self.kept >= KEPT_SHARE or not self.learned

    @property
    def may_upend(self) -> bool:
        return self.learned and self.may_flip and self.upended >= ANY_WAY_SHARE * self.plain

    @property
    def may_turn(self) -> bool:
        """By quarters: only what may be upended too."""
        return self.may_upend and self.turned >= ANY_WAY_SHARE * self.plain

    @property
    def may_mix(self) -> bool:
        guess = 1 / self.classes
        return self.learned and self.pasted - guess >= FAIR_SHARE * (self.plain - guess)

    def __str__(self) -> str:
        if not self.learned:
            return say("too few images to probe whether flips are safe")
        found = say("a 60-step probe keeps {share:.0%} of its accuracy on mirrored images", share=self.kept)
        if not self.may_flip:
            return say("{found}: horizontal flips change the class", found=found)
        sides = say("{found}: horizontal flips are safe", found=found)
        if not self.may_upend:
            return sides
        upside = say("{sides}, vertical ones too", sides=sides)
        return say("{upside}, and so are rotations by 90°", upside=upside) if self.may_turn else upside


def probe_data(images: Images, seed: int = 0) -> ProbeResult:
    """Train a small net for some 60 steps on a part of the training `images`, and show it another part changed.

    Takes some 2 seconds of one core; what comes out depends on the images and the seed alone.
    """
    draw = np.random.default_rng(derive_seed(seed, "mirror"))
    rows = draw.permutation(len(images))[: PROBE_HELD + PROBE_STEPS * PROBE_BATCH]
    count = min(PROBE_HELD, max(1, len(rows) // 5))
    held, own = (shrink_for_probe(images.take(np.sort(part))) for part in (rows[:count], rows[count:]))
    mean, std = measure_channels(own.x)
    _, h, w, c = own.x.shape
    net = find_net("striate_s", classes=len(images.classes), input=(c, h, w))
    epochs = max(1, round(PROBE_STEPS * PROBE_BATCH / max(len(own), 1)))
    recipe = Recipe(epochs=min(epochs, 30), batch=PROBE_BATCH, optimizer="muon", augment="none", seed=seed)
    run = Run.start(Path(), Task(net, recipe, images.classes, Preprocess((h, w), "squash", mean, std), "", ""))
    run.writes = False
    feed = Feed(own, mean, std)
    nothing = Feed(held.take(np.arange(1)), mean, std)
    for _ in fit(run, feed, nothing):
        pass

    def right(x: np.ndarray) -> float:
        part = Images(np.ascontiguousarray(x), held.y, held.classes, held.files)
        return score_network(run.network, Feed(part, mean, std))[1]

    x = held.x
    plain, mirrored, upended = right(x), right(x[:, :, ::-1]), right(x[:, ::-1])
    turned = right(x.transpose(0, 2, 1, 3)[:, ::-1]) if h == w else 0.0
    pasted = sum(right(paste_parts(x, draw)) for _ in range(PASTED_TIMES)) / PASTED_TIMES
    return ProbeResult(plain, mirrored, len(images.classes), upended, turned, pasted)


def paste_parts(x: np.ndarray, draw: np.random.Generator) -> np.ndarray:
    """The images, N×H×W×C, each with a square from another one in it, at the same place of both."""
    n, h, w, _ = x.shape
    high, wide = round(h * PASTED_SHARE), round(w * PASTED_SHARE)
    other, changed = draw.permutation(n), x.copy()
    tops, lefts = draw.integers(0, h - high + 1, n), draw.integers(0, w - wide + 1, n)
    for i, (top, left) in enumerate(zip(tops, lefts, strict=True)):
        place = np.s_[top : top + high, left : left + wide]
        changed[i][place] = x[other[i]][place]
    return changed


def shrink_for_probe(images: Images) -> Images:
    """The images at no more than SIDE pixels a side, each pixel the mean of what it covers."""
    x = torch.from_numpy(np.ascontiguousarray(images.x[:])).permute(0, 3, 1, 2).float()
    size = [min(side, PROBE_SIDE) for side in x.shape[2:]]
    shrunk = F.interpolate(x, size, mode="area").round().to(torch.uint8)
    return Images(shrunk.permute(0, 2, 3, 1).numpy(), images.y, images.classes, images.files)
