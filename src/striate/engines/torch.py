"""The engine that trains: an `nn.Module` built from a Net, its names the record's names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import singledispatch
from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..arch import layers as L
from ..arch.init import start
from ..arch.layers import Shape
from ..arch.layers.windowed import even
from ..arch.net import Net, check_tensors
from ..arch.window import pair
from .views import View


class Network(nn.Module):
    """`net` with weights. `network(x)` computes the record as written: N×C×H×W -> N×classes for a classifier.

    `state_dict()` has exactly the names and shapes of `net.tensors`. No operation works in place, so that a
    map that a hook or `maps` hands out is the one that was computed.
    """

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        for name, layer, x in inputs(net.body, net.input):
            self._modules[name] = module(layer, x)
        # Kept in a list, so that it is not registered a second time.
        self.final = [*self._modules.values()][-1:] if net.gives_probabilities else [None]

    def forward(self, x: Tensor) -> Tensor:
        for child in self._modules.values():
            x = child(x)  # type: ignore[misc]
        return x

    def logits(self, x: Tensor) -> Tensor:
        """The output before a final Softmax, which `F.cross_entropy` takes."""
        for child in self._modules.values():
            if child is not self.final[0]:
                x = child(x)  # type: ignore[misc]
        return x

    def with_sides(self, x: Tensor) -> tuple[Tensor, list[tuple[float, Tensor]]]:
        """The logits, and (weight, logits) of each side head in training mode."""
        logits = self.logits(x)
        sides: list[tuple[float, Tensor]] = []
        for child in self.modules():
            if isinstance(child, Side) and child.logits is not None:
                sides.append((child.weight, child.logits))
                child.logits = None
        return logits, sides

    def at(self, path: str) -> nn.Module:
        """The module of the layer at `path`, whose name may be that of an attribute too: "logits", "forward"."""
        found: nn.Module = self
        for name in path.split("."):
            found = found._modules[name]  # type: ignore[assignment]
        return found

    def maps(self, x: Tensor) -> dict[str, Tensor]:
        """Every layer's output by its path, containers' too."""
        found: dict[str, Tensor] = {}
        hooks = [
            self.at(step.path).register_forward_hook(
                lambda _module, _inputs, y, path=step.path: found.__setitem__(path, y)
            )
            for step in self.net.steps
            if not step.side
        ]
        try:
            self(x)
        finally:
            for hook in hooks:
                hook.remove()
        return {step.path: found[step.path] for step in self.net.steps if step.path in found}


def build(net: Net, seed: int = 0) -> Network:
    """A network with fresh weights, drawn as the record says from a generator of its own: the seed settles them."""
    network = Network(net)
    draw = torch.Generator().manual_seed(seed)
    state = network.state_dict()
    with torch.no_grad():
        for name, spec in net.tensors.items():
            kind, scale = start(spec.init, spec.fan_in, spec.fan_out)
            tensor = state[name]
            if kind == "uniform":
                tensor.uniform_(-scale, scale, generator=draw)
            elif kind == "normal":
                tensor.normal_(0, scale, generator=draw)
            elif kind == "dirac":
                nn.init.dirac_(tensor)
            else:
                tensor.fill_(scale)
    return network


def load(network: Network, tensors: Mapping[str, np.ndarray | Tensor]) -> Network:
    """Put `tensors` into the network, all of them and nothing else. Raises ModelError naming what does not match."""
    check_tensors(network.net, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    with torch.no_grad():
        for name, mine in network.state_dict().items():
            mine.copy_(torch.as_tensor(tensors[name]))
    return network


def arrays(network: nn.Module) -> dict[str, np.ndarray]:
    """The network's tensors as NumPy arrays in the usual memory order: what a model file holds."""
    state = network.state_dict()
    return {name: tensor.detach().float().contiguous().cpu().numpy() for name, tensor in state.items()}


def inputs(sequence: L.Sequence, x: Shape) -> list[tuple[str, L.Layer, Shape]]:
    """Each layer of a sequence with its name and the shape that reaches it."""
    found = []
    for name, layer in sequence.named:
        found.append((name, layer, x))
        x = layer.out(x)
    return found


def over_views(answer: Callable[[Tensor], Tensor], x: Tensor, views: list[View]) -> Tensor:
    """The weighted mean of `answer` over views of x, N×C×H×W."""
    if len(views) == 1:
        return answer(x)
    return sum(view.weight * answer(seen(x, view)) for view in views)  # type: ignore[return-value]


def seen(x: Tensor, view: View) -> Tensor:
    rows, columns = (torch.tensor(places, device=x.device) for places in (view.rows, view.columns))
    return x.index_select(2, rows).index_select(3, columns)


@singledispatch
def module(layer: L.Layer, x: Shape) -> nn.Module:
    """The module that computes `layer` on an input of shape `x`."""
    raise TypeError(f"no torch module for {type(layer).__name__}")


class Chain(nn.Module):
    """Modules one after another under the record's names, which may be any word, "forward" or "0" too."""

    def __init__(self, sequence: L.Sequence, x: Shape) -> None:
        super().__init__()
        for name, layer, shape in inputs(sequence, x):
            self._modules[name] = module(layer, shape)

    def forward(self, x: Tensor) -> Tensor:
        for child in self._modules.values():
            x = child(x)  # type: ignore[misc]
        return x


class Branches(nn.Module):
    def __init__(self, layer: L.Parallel, x: Shape) -> None:
        super().__init__()
        self.join = layer.join
        for name, branch in layer.named:
            self._modules[name] = module(branch, x)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [branch(x) for branch in self._modules.values()]  # type: ignore[misc]
        if self.join == "concat":
            return torch.cat(outputs, dim=1)
        y = outputs[0]
        for other in outputs[1:]:
            y = y + other if self.join == "add" else y * other
        return y


class Side(nn.Module):
    """A side head: x goes on; in training its logits wait for `Network.with_sides`."""

    def __init__(self, layer: L.SideHead, x: Shape) -> None:
        super().__init__()
        self.weight = layer.weight
        self.logits: Tensor | None = None
        for name, child, shape in inputs(L.Sequence(*layer.layers), x):
            self._modules[name] = module(child, shape)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            y = x
            for child in self._modules.values():
                y = child(y)  # type: ignore[misc]
            self.logits = y
        return x


class Conv(nn.Conv2d):
    """nn.Conv2d with zeros put around by the record's rule, which may differ from side to side."""

    def __init__(self, layer: L.Conv, x: Shape) -> None:
        rows, columns = L.slides(layer, x)
        even = rows.before == rows.after and columns.before == columns.after
        super().__init__(
            x[0],
            layer.filters,
            pair(layer.kernel),
            pair(layer.stride),
            (rows.before, columns.before) if even else 0,
            pair(layer.dilation),
            layer.groups,
            layer.bias,
        )
        self.around = None if even else (columns.before, columns.after, rows.before, rows.after)

    def reset_parameters(self) -> None:
        """`build` draws the weights; torch's own draw would be lost time."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.around) if self.around else x)


class Dense(nn.Linear):
    def reset_parameters(self) -> None:
        """`build` draws the weights."""


class MaxPool(nn.Module):
    def __init__(self, layer: L.MaxPool, x: Shape) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation = pair(layer.kernel), L.strides(layer), pair(layer.dilation)
        self.around = around(layer, x)
        self.even, self.ceil = even(layer, x), layer.ceil and layer.padding != "same"

    def forward(self, x: Tensor) -> Tensor:
        if self.even is not None:
            return F.max_pool2d(x, self.kernel, self.stride, self.even, self.dilation, self.ceil)
        if any(self.around):
            x = F.pad(x, self.around, value=-torch.inf)
        return F.max_pool2d(x, self.kernel, self.stride, dilation=self.dilation)


class AvgPool(nn.Module):
    """The mean over the values that count: `divisor`, each window's share of them, is 1 where all do."""

    divisor: Tensor

    def __init__(self, layer: L.AvgPool, x: Shape) -> None:
        super().__init__()
        self.kernel, self.stride = pair(layer.kernel), L.strides(layer)
        self.around = around(layer, x)
        self.even, self.ceil = even(layer, x), layer.ceil and layer.padding != "same"
        self.count_padding = layer.count_padding
        rows, columns = L.slides(layer, x)
        counted = torch.ones(1, 1, *x[1:], dtype=torch.float64)
        if layer.count_padding:
            counted = F.pad(counted, (columns.before, columns.after, rows.before, rows.after), value=1.0)
            beyond = (0, max(0, self.around[1] - columns.after), 0, max(0, self.around[3] - rows.after))
            counted = F.pad(counted, beyond)
            height, width = x[1] + self.around[2] + self.around[3], x[2] + self.around[0] + self.around[1]
            counted = counted[:, :, :height, :width]
        else:
            counted = F.pad(counted, self.around)
        divisor = F.avg_pool2d(counted, self.kernel, self.stride)
        self.whole = bool((divisor == 1).all())
        self.register_buffer("divisor", divisor, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.even is not None:
            return F.avg_pool2d(x, self.kernel, self.stride, self.even, self.ceil, self.count_padding)
        y = F.avg_pool2d(F.pad(x, self.around) if any(self.around) else x, self.kernel, self.stride)
        return y if self.whole else y / self.divisor.to(y.dtype)


def around(layer: L.MaxPool | L.AvgPool, x: Shape) -> tuple[int, int, int, int]:
    """What to pad (left, right, top, bottom) so that exactly the record's windows fit; negative crops unread pixels."""
    rows, columns = L.slides(layer, x)
    found = []
    for n, slid, k, s, d in zip(
        x[1:],
        (rows, columns),
        pair(layer.kernel),
        L.strides(layer),
        pair(getattr(layer, "dilation", 1)),
        strict=True,
    ):
        last = (slid.size - 1) * s + (k - 1) * d + 1
        # max_pool2d and avg_pool2d skip unread pixels by themselves: no copy to crop them away.
        found.append((slid.before, max(0, last - n - slid.before)))
    (top, bottom), (left, right) = found
    return left, right, top, bottom


class BlurPool(nn.Module):
    """The map reflected at its edges, then a depthwise convolution with the fixed filter."""

    filter: Tensor

    def __init__(self, layer: L.BlurPool, x: Shape) -> None:
        super().__init__()
        top, bottom, left, right = layer.padding
        self.around, self.stride = (left, right, top, bottom), L.strides(layer)
        taps = torch.tensor(layer.taps)  # sums of powers of two: exact in float32
        self.register_buffer("filter", torch.outer(taps, taps).repeat(x[0], 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if any(self.around):
            x = F.pad(x, self.around, mode="reflect")
        return F.conv2d(x, self.filter, None, self.stride, groups=len(self.filter))


class GlobalAvgPool(nn.Module):
    def __init__(self, keepdims: bool) -> None:
        super().__init__()
        self.keepdims = keepdims

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=self.keepdims)


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """For maps and for vectors. It keeps no count of batches: with a fixed momentum nothing reads it."""

    def __init__(self, layer: L.BatchNorm, x: Shape) -> None:
        super().__init__(x[0], layer.eps, layer.momentum, layer.affine)
        self.num_batches_tracked = None

    def _check_input_dim(self, input: Tensor) -> None:
        pass


class LayerNorm(nn.LayerNorm):
    """Over the channels: the last axis of a vector, the second of N×C×H×W."""

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return super().forward(x)
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class LayerScale(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.view(-1, *(1,) * (x.ndim - 2))


class StochasticDepth(nn.Module):
    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = torch.empty(len(x), *(1,) * (x.ndim - 1), dtype=x.dtype, device=x.device).bernoulli_(1 - self.rate)
        return x * (kept / (1 - self.rate))


class PadChannels(nn.Module):
    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.around = (0, 0, 0, 0, before, after)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.around)


class Softmax(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(1)


@module.register
def _(layer: L.Sequence, x: Shape) -> nn.Module:
    return Chain(layer, x)


@module.register
def _(layer: L.Parallel, x: Shape) -> nn.Module:
    return Branches(layer, x)


@module.register
def _(layer: L.SideHead, x: Shape) -> nn.Module:
    return Side(layer, x)


@module.register
def _(layer: L.Conv, x: Shape) -> nn.Module:
    return Conv(layer, x)


@module.register
def _(layer: L.MaxPool, x: Shape) -> nn.Module:
    return MaxPool(layer, x)


@module.register
def _(layer: L.AvgPool, x: Shape) -> nn.Module:
    return AvgPool(layer, x)


@module.register
def _(layer: L.BlurPool, x: Shape) -> nn.Module:
    return BlurPool(layer, x)


@module.register
def _(layer: L.GlobalAvgPool, x: Shape) -> nn.Module:
    return GlobalAvgPool(layer.keepdims)


@module.register
def _(layer: L.Flatten, x: Shape) -> nn.Module:
    return nn.Flatten()


@module.register
def _(layer: L.Dense, x: Shape) -> nn.Module:
    return Dense(x[0], layer.units, layer.bias)


@module.register
def _(layer: L.BatchNorm, x: Shape) -> nn.Module:
    return BatchNorm(layer, x)


@module.register
def _(layer: L.LayerNorm, x: Shape) -> nn.Module:
    return LayerNorm(x[0], layer.eps, layer.affine)


@module.register
def _(layer: L.LocalResponseNorm, x: Shape) -> nn.Module:
    return nn.LocalResponseNorm(layer.size, layer.alpha, layer.beta, layer.k)


@module.register
def _(layer: L.Dropout, x: Shape) -> nn.Module:
    return nn.Dropout(layer.rate)


@module.register
def _(layer: L.StochasticDepth, x: Shape) -> nn.Module:
    return StochasticDepth(layer.rate)


@module.register
def _(layer: L.LayerScale, x: Shape) -> nn.Module:
    return LayerScale(prod(x[:1]))


@module.register
def _(layer: L.PadChannels, x: Shape) -> nn.Module:
    return PadChannels(layer.before, layer.after)


@module.register
def _(layer: L.LeakyReLU, x: Shape) -> nn.Module:
    return nn.LeakyReLU(layer.slope)


@module.register
def _(layer: L.ELU, x: Shape) -> nn.Module:
    return nn.ELU(layer.alpha)


for record, made in {
    L.Identity: nn.Identity,
    L.ReLU: nn.ReLU,
    L.ReLU6: nn.ReLU6,
    L.GELU: nn.GELU,
    L.SiLU: nn.SiLU,
    L.Sigmoid: nn.Sigmoid,
    L.Tanh: nn.Tanh,
    L.HardSigmoid: nn.Hardsigmoid,
    L.HardSwish: nn.Hardswish,
    L.Softmax: Softmax,
}.items():
    module.register(record, lambda _layer, _x, made=made: made())
