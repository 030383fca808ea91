"""The engine that trains: an `nn.Module` built from a Net, its names the record's names."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..architecture.init import make_initialiser
from ..architecture.layers import Softmax
from ..architecture.net import Net, check_tensors
from .torch_layers import ModuleSide, build_chain
from .views import View, list_views


class Network(nn.Module):
    """`net` with weights. `network(x)` computes the record as written: N×C×H×W -> N×classes for a classifier.

    `state_dict()` has exactly the names and shapes of `net.tensors`. No operation works in place, so that a
    map that a hook or `maps` hands out is the one that was computed.
    """

    def __init__(self, net: Net) -> None:
        super().__init__()
        self.net = net
        self._modules |= build_chain(net.body, net.input)
        # Kept in a list, so that it is not registered a second time.
        self.averages = net.gives_probabilities and not isinstance(net.layers[-1], Softmax)
        self.final = [*self._modules.values()][-1:] if net.gives_probabilities and not self.averages else [None]

    def forward(self, x: Tensor) -> Tensor:
        for child in self._modules.values():
            x = child(x)  # type: ignore[misc]
        return x

    def logits(self, x: Tensor) -> Tensor:
        """The output before a final Softmax, which `F.cross_entropy` takes; of a mean of several its logarithm."""
        for child in self._modules.values():
            if child is not self.final[0]:
                x = child(x)  # type: ignore[misc]
        return x.clamp_min(torch.finfo(x.dtype).tiny).log() if self.averages else x

    def with_sides(self, x: Tensor) -> tuple[Tensor, list[tuple[float, Tensor]]]:
        """The logits, and (weight, logits) of each side head in training mode."""
        logits = self.logits(x)
        sides: list[tuple[float, Tensor]] = []
        for child in self.modules():
            if isinstance(child, ModuleSide) and child.logits is not None:
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


def build_network(net: Net, seed: int = 0) -> Network:
    """A network with fresh weights, drawn as the record says from a generator of its own: the seed settles them."""
    network = Network(net)
    draw = torch.Generator().manual_seed(seed)
    state = network.state_dict()
    with torch.no_grad():
        for name, spec in net.tensors.items():
            kind, scale = make_initialiser(spec.init, spec.fan_in, spec.fan_out)
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


def load_tensors(network: Network, tensors: Mapping[str, np.ndarray | Tensor]) -> Network:
    """Put `tensors` into the network, all of them and nothing else. Raises ModelError naming what does not match."""
    check_tensors(network.net, {name: tuple(tensor.shape) for name, tensor in tensors.items()})
    with torch.no_grad():
        for name, mine in network.state_dict().items():
            mine.copy_(torch.as_tensor(tensors[name]))
    return network


def copy_tensors(network: nn.Module) -> dict[str, np.ndarray]:
    """The network's tensors as NumPy arrays in the usual memory order: what a model file holds."""
    state = network.state_dict()
    return {name: tensor.detach().float().contiguous().cpu().numpy() for name, tensor in state.items()}


def average_views(answer: Callable[[Tensor], Tensor], x: Tensor, views: list[View]) -> Tensor:
    """The weighted mean of `answer` over views of x, N×C×H×W."""
    if len(views) == 1:
        return answer(x)
    return sum(view.weight * answer(take_view(x, view)) for view in views)  # type: ignore[return-value]


def take_view(x: Tensor, view: View) -> Tensor:
    rows, columns = (torch.tensor(places, device=x.device) for places in (view.rows, view.columns))
    return x.index_select(2, rows).index_select(3, columns)


class TorchSession:
    """A network that is run as a session of ONNX Runtime is, for nets with a layer that has no ONNX operators.

    `run(names, {input: x})` gives the net's output, and where `outputs` were asked for, their maps.
    """

    def __init__(
        self, net: Net, tensors: Mapping[str, np.ndarray], inlet: str, outputs: Iterable[str], views: str
    ) -> None:
        self.net, self.inlet, self.outputs = net, inlet, list(outputs)
        self.network = load_tensors(build_network(net), tensors).eval()
        self.views = list_views(views, (net.input[1], net.input[2]))

    def get_inputs(self) -> list[Any]:
        return [SimpleNamespace(name=self.inlet, shape=["N", *self.net.input])]

    @torch.inference_mode()
    def run(self, wanted: Iterable[str] | None, given: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        x = torch.from_numpy(np.ascontiguousarray(given[self.inlet], np.float32))
        if wanted is not None or not self.outputs:
            return [average_views(self.network, x, self.views).numpy()]
        maps = self.network.maps(x)
        return [self.network(x).numpy(), *(maps[path].numpy() for path in self.outputs)]
