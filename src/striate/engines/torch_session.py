"""A network in torch that is run as a session of ONNX Runtime is: for nets with a layer that has no ONNX operators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from ..architecture.net import Net
from .torch import average_views, build_network, load_tensors
from .views import list_views


class TorchSession:
    """Answers `run(names, {input: x})` with the net's output, and where `outputs` are asked for with their maps."""

    def __init__(
        self, net: Net, tensors: Mapping[str, np.ndarray], inlet: str, outlet: str, outputs: Iterable[str], views: str
    ) -> None:
        self.net, self.inlet, self.outlet, self.outputs = net, inlet, outlet, list(outputs)
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
