"""What training a Net takes: bytes of weights, of the maps kept for the backward pass, of gradients and optimizer.

Each layer says what it keeps (`Layer.kept`); the walk here joins them, so that a map which several layers keep is
counted once, as autograd counts references. Bytes are those of float32.
"""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Any, NamedTuple

from ..architecture.layers import Container, Parallel, SavedMap, SideHead
from ..architecture.net import Net
from ..errors import RecipeError, suggest_name
from ..language import say
from ..optimizers import OPTIMIZERS


class Memory(NamedTuple):
    """Bytes of one training step on `batch` images in float32.

    activations  what the forward pass keeps for the backward pass, the images included
    peak         the most that is held at one moment, with the gradients of maps on their way; a library's own work
                 space (cuDNN's, for one) comes on top
    """

    batch: int
    optimizer: str
    weights: int
    buffers: int
    activations: int
    gradients: int
    state: int
    peak: int


class Kernel(NamedTuple):
    """One operation of the forward pass: the maps it reads, the map it makes, and what it keeps.

    Maps are numbers; a view has the number of what it views. `place` is the index of its step.
    """

    place: int
    reads: tuple[int, ...]
    makes: int
    keeps: tuple[int, ...]
    image: int
    once: int
    params: int
    passes: bool


class TrainingPass:
    """The forward pass in training mode, as operations on numbered maps. Map 0 is the batch of images."""

    def __init__(self, net: Net) -> None:
        self.sizes = [4 * prod(net.input)]
        self.learns = [False]
        self.kernels: list[Kernel] = []
        self.steps = net.steps
        map, place = 0, 0
        while place < len(self.steps):
            map = self.visit(place, map)
            place += 1 + self.steps[place].inside
        self.output = map

    def new(self, shape: tuple[int, ...], learns: bool) -> int:
        self.sizes.append(4 * prod(shape))
        self.learns.append(learns)
        return len(self.sizes) - 1

    def visit(self, place: int, x: int) -> int:
        """Add the operations of the step at `place`, which reads map `x`; return the map that it makes."""
        step = self.steps[place]
        if not isinstance(step.layer, Container):
            return self.single(place, x)
        ends, y = [], x
        child, end = place + 1, place + 1 + step.inside
        while child < end:
            y = self.visit(child, x if isinstance(step.layer, Parallel) else y)
            ends.append((y, self.steps[child].y))
            child += 1 + self.steps[child].inside
        if isinstance(step.layer, Parallel):
            return self.joined(place, step.layer.join, ends)
        return x if isinstance(step.layer, SideHead) else y

    def single(self, place: int, x: int) -> int:
        step = self.steps[place]
        kept = step.layer.kept(step.x)
        if kept.view:
            return x
        params = step.layer.params(step.x)
        learns = self.learns[x] or params > 0
        y = self.new(step.y, learns)
        if not learns:
            kept = SavedMap()
        sliced = self.sizes[x] != 4 * prod(step.x)
        own = self.new(step.x, self.learns[x]) if kept.copies and sliced else x
        keeps = (*(own for _ in range(kept.input)), *(y for _ in range(kept.output)))
        image = kept.image + (kept.through if self.learns[x] else 0)
        self.kernels.append(Kernel(place, (x,), y, keeps, image, kept.once, 4 * params, False))
        return y

    def joined(self, place: int, join: str, ends: list[tuple[int, Any]]) -> int:
        """The join of the branches' maps: a product keeps both factors, a sum and a concatenation nothing."""
        maps = [map for map, _ in ends]
        if join == "concat":
            y = self.new(self.steps[place].y, any(self.learns[m] for m in maps))
            self.kernels.append(Kernel(place, tuple(maps), y, (), 0, 0, 0, True))
            return y
        y, shape = ends[0]
        for other, with_shape in ends[1:]:
            shape = max(shape, with_shape, key=prod)
            made = self.new(shape, self.learns[y] or self.learns[other])
            keeps: tuple[int, ...] = ()
            if join == "multiply":
                keeps = (*([y] if self.learns[other] else []), *([other] if self.learns[y] else []))
            self.kernels.append(Kernel(place, (y, other), made, keeps, 0, 0, 0, join == "add"))
            y = made
        return y

    def kept(self) -> list[SavedMap]:
        """For each step the bytes that it is the first to keep, an image and once a batch."""
        image, once = [0] * len(self.steps), [0] * len(self.steps)
        held: set[int] = set()
        for k in self.kernels:
            fresh = set(k.keeps) - held
            held |= fresh
            image[k.place] += k.image + sum(self.sizes[m] for m in fresh)
            once[k.place] += k.once
        return [SavedMap(image=i, once=o) for i, o in zip(image, once, strict=True)]

    def transient(self, batch: int) -> int:
        """The most that kept maps, gradients of maps and gradients of parameters take together, backwards."""
        last: dict[int, int] = {}
        for i, k in reversed(list(enumerate(self.kernels))):
            for map in k.keeps:
                last[map] = i
        frees: Counter[int] = Counter()
        for map, i in last.items():
            frees[i] += batch * self.sizes[map]
        kept = sum(frees.values()) + sum(batch * k.image + k.once for k in self.kernels)
        grads = {self.output: self.output} if self.learns[self.output] else {}
        peak, learned = kept + batch * self.sizes[self.output], 0
        for i, k in reversed(list(enumerate(self.kernels))):
            if self.learns[k.makes]:
                source = grads.setdefault(k.makes, k.makes)
                for map in k.reads:
                    if self.learns[map]:
                        # The gradient of a sum's or a concatenation's branch is a view of the join's own.
                        grads.setdefault(map, source if k.passes else map)
                learned += k.params
                alive = batch * sum(self.sizes[s] for s in set(grads.values()))
                peak = max(peak, kept + learned + alive)
                del grads[k.makes]
            kept -= frees[i] + batch * k.image + k.once
        return peak


def estimate_memory(net: Net, batch: int = 1, optimizer: str = "adam") -> Memory:
    """The bytes that a training step of `net` takes. Raises RecipeError for an unknown optimizer or no images.

    >>> from striate import nets
    >>> estimate_memory(nets.lenet5(), batch=32).weights
    246824
    """
    if optimizer not in OPTIMIZERS:
        what = say("there is no optimizer '{optimizer}'", optimizer=optimizer)
        raise RecipeError("optimizer", what, hint=suggest_name(optimizer, OPTIMIZERS))
    if batch < 1:
        raise RecipeError("batch", say("a batch holds at least one image"), got=batch, hint="batch=32")
    run = TrainingPass(net)
    params = sum(4 * step.layer.params(step.x) for step in net.steps if not isinstance(step.layer, Container))
    buffers = sum(4 * prod(t.shape) for t in net.tensors.values() if not t.trainable)
    kept = run.kept()
    activations = sum(batch * k.image + k.once for k in kept)
    numbers = OPTIMIZERS[optimizer]().state_numbers
    state = sum(4 * prod(t.shape) * numbers(len(t.shape)) for t in net.tensors.values() if t.trainable)
    # The last step's gradients are gone before the pass begins; the optimizer's state is there from the second on.
    peak = params + buffers + state + max(run.transient(batch), params)
    return Memory(batch, optimizer, params, buffers, activations, params, state, peak)
