"""Published layouts into our nets: torchvision and timm with random weights are the judges."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from striate.arch import zoo
from striate.arch.net import Net
from striate.arch.text import parse
from striate.errors import ModelError
from striate.ship import published
from striate.ship.layouts import LAYOUTS
from striate.ship.preparation import of_timm, of_torchvision
from striate.ship.published import fitted, imagenet_classes, lite0, load_published

from .oracles import torchvision

torch = pytest.importorskip("torch")


def timm() -> Any:
    """timm, which imports torchvision."""
    torchvision()
    import timm as module

    return module


def randomised(model: Any, seed: int = 0) -> Any:
    """`model` with every weight random, scaled to keep values near 1, and random BatchNorm statistics."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in model.state_dict().items():
        if not value.is_floating_point():
            continue
        drawn = torch.randn(value.shape, generator=generator)
        if name.endswith("running_var"):
            drawn = 0.5 + drawn.abs()
        elif value.ndim > 1:
            drawn *= (2 / max(1, value[0].numel())) ** 0.5
        elif name.endswith("weight"):
            drawn = 1 + 0.2 * drawn
        else:
            drawn *= 0.2
        value.copy_(drawn)
    return model


def arrays(model: Any) -> dict[str, np.ndarray]:
    return {key: value.numpy() for key, value in model.state_dict().items()}


def loaded(net: Net, tensors: dict[str, np.ndarray]) -> Any:
    from striate.engines.torch import build

    network = build(net)
    network.load_state_dict({key: torch.from_numpy(value) for key, value in tensors.items()})
    return network.double()


def tv(name: str, **options: Any) -> Callable[[], Any]:
    return lambda: getattr(torchvision().models, name)(num_classes=10, **options)


def tv_vgg(norm: bool) -> Callable[[], Any]:
    """torchvision's VGG-11 with an eighth of the maps and units: its classifier alone would be 120 million numbers."""

    def make() -> Any:
        vgg = torchvision().models.vgg
        thin = [n if n == "M" else n // 8 for n in vgg.cfgs["A"]]
        model = vgg.VGG(vgg.make_layers(thin, norm), num_classes=10, dropout=0.0, init_weights=False)
        for place, (before, after) in {0: (64 * 49, 512), 3: (512, 512), 6: (512, 10)}.items():
            model.classifier[place] = torch.nn.Linear(before, after)
        return model

    return make


def timm_model(name: str, **options: Any) -> Callable[[], Any]:
    return lambda: timm().create_model(name, num_classes=10, **options)


# our net, its options, side of the input, their model
EQUAL = [
    ("alexnet", {"dropout": 0.0}, 224, tv("alexnet", dropout=0.0)),
    ("vgg11", {"width": 1 / 8, "dropout": 0.0}, 224, tv_vgg(False)),
    ("vgg11_bn", {"width": 1 / 8, "dropout": 0.0}, 224, tv_vgg(True)),
    ("googlenet", {"dropout": 0.0}, 96, tv("googlenet", init_weights=False, dropout=0.0, aux_logits=False)),
    ("inception_v3", {"dropout": 0.0}, 107, tv("inception_v3", init_weights=False, dropout=0.0, aux_logits=False)),
    ("resnet18", {}, 64, tv("resnet18")),
    ("resnet50", {}, 64, tv("resnet50")),
    ("resnext50_32x4d", {}, 64, tv("resnext50_32x4d")),
    ("squeezenet1_0", {"dropout": 0.0}, 64, tv("squeezenet1_0", dropout=0.0)),
    ("squeezenet1_1", {"dropout": 0.0}, 64, tv("squeezenet1_1", dropout=0.0)),
    ("densenet121", {}, 64, tv("densenet121")),
    ("mobilenet_v2", {"dropout": 0.0}, 64, tv("mobilenet_v2", dropout=0.0)),
    ("mobilenet_v3_large", {"dropout": 0.0}, 64, tv("mobilenet_v3_large", dropout=0.0)),
    ("mobilenet_v3_small", {"dropout": 0.0}, 64, tv("mobilenet_v3_small", dropout=0.0)),
    ("efficientnet_b0", {"dropout": 0.0, "drop_path": 0.0}, 64,
     tv("efficientnet_b0", dropout=0.0, stochastic_depth_prob=0.0)),
    ("convnext_tiny", {"drop_path": 0.0}, 64, tv("convnext_tiny", stochastic_depth_prob=0.0)),
    ("regnet_x_400mf", {}, 64, tv("regnet_x_400mf")),
    ("regnet_y_400mf", {}, 64, tv("regnet_y_400mf")),
    ("resnet18", {}, 64, timm_model("resnet18")),
    ("seresnet18", {}, 64, timm_model("seresnet18")),
    ("seresnet50", {}, 64, timm_model("seresnet50")),
    ("densenet121", {}, 64, timm_model("densenet121")),
    ("inception_v3", {"dropout": 0.0}, 107, timm_model("inception_v3", aux_logits=False)),
    ("xception", {}, 75, timm_model("legacy_xception")),
    ("mobilenet_v1", {"dropout": 0.0}, 64, timm_model("mobilenetv1_100")),
    ("mobilenet_v2", {"dropout": 0.0}, 64, timm_model("mobilenetv2_100")),
    ("mobilenet_v3_small", {"dropout": 0.0}, 64, timm_model("mobilenetv3_small_100")),
    ("mobilenet_v3_large", {"dropout": 0.0}, 65, timm_model("tf_mobilenetv3_large_100")),
    ("efficientnet_b0", {"dropout": 0.0, "drop_path": 0.0}, 64, timm_model("efficientnet_b0")),
    ("efficientnet_b0", {"dropout": 0.0, "drop_path": 0.0}, 65, timm_model("tf_efficientnet_b0")),
    ("efficientnet_lite0", {"dropout": 0.0, "drop_path": 0.0}, 64, timm_model("efficientnet_lite0")),
    ("efficientnet_lite0", {"dropout": 0.0, "drop_path": 0.0}, 64, timm_model("tf_efficientnet_lite0")),
    ("convnext_tiny", {"drop_path": 0.0}, 64, timm_model("convnext_tiny")),
    ("regnet_y_400mf", {}, 64, timm_model("regnety_004")),
]  # fmt: skip


@pytest.mark.parametrize("name, options, side, theirs", EQUAL)
def test_their_weights_in_our_net_give_their_outputs_and_their_gradients(name, options, side, theirs):
    """In float64, in evaluation and in training, with random running statistics; through a file's tensors."""
    model = randomised(theirs()).double()
    config = {}
    if hasattr(model, "default_cfg"):
        config = {"architecture": model.default_cfg["architecture"]}
    net = zoo.build(name, classes=10, input=(3, side, side), **options)
    got = fitted(net, arrays(model.float()), config=config)
    assert not got.replaced_head
    ours, theirs_too = loaded(got.net, got.tensors), model.double()
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    with torch.no_grad():
        y = theirs_too.eval()(x)
        torch.testing.assert_close(ours.eval()(x), y, rtol=1e-5, atol=1e-5 * float(y.abs().max()))

    y = theirs_too.train()(x)
    mine = ours.train()(x)
    scale = float(y.detach().abs().max())
    torch.testing.assert_close(mine, y, rtol=1e-5, atol=1e-5 * scale)
    (y / scale).square().sum().backward()
    (mine / scale).square().sum().backward()
    want = fitted(net, {k: p.grad.float().numpy() for k, p in full(theirs_too)}, config=config)
    for key, parameter in ours.named_parameters():
        gradient = torch.from_numpy(want.tensors[key]).double()
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5 * float(gradient.abs().max() + 1e-12))


def full(model: Any) -> list[tuple[str, Any]]:
    """Parameters with gradients, and buffers with a zero gradient: all the keys of a file."""

    class Zero:
        def __init__(self, value: Any) -> None:
            self.grad = torch.zeros_like(value)

    return [*model.named_parameters(), *((k, Zero(v)) for k, v in model.named_buffers() if v.is_floating_point())]
