"""The bytes of a training step against what autograd saves and what torch's own memory tracker sees."""

from __future__ import annotations

import pytest
from hypothesis import given, settings

from striate import nets as zoo
from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.errors import RecipeError
from striate.summaries.memory import estimate_memory
from striate.summaries.summary import summarise_net

from .random_nets import nets

torch = pytest.importorskip("torch")


def saved_for_backward(module, x) -> int:
    """Bytes of the distinct memory that autograd saves in a forward pass, parameters and buffers left out."""
    own = {t.untyped_storage().data_ptr() for t in [*module.parameters(), *module.buffers()]}
    found, alive = {}, []

    def pack(t):
        memory = t.untyped_storage()
        if memory.data_ptr() not in own:
            found[memory.data_ptr()] = memory.nbytes()
            alive.append(t)
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        module(x)
    return sum(found.values())


@settings(deadline=None, max_examples=120)
@given(nets(random=True))
def test_the_activations_are_what_autograd_saves(net):
    from striate.engines.torch import build_network

    measured = saved_for_backward(build_network(net).train(), torch.randn(3, *net.input))
    # Torch flattens the output of a layer norm through a copy, which we do not follow.
    assert estimate_memory(net, batch=3).activations == pytest.approx(measured, rel=0.05)


@pytest.mark.parametrize("layer", [cls() for cls in (
    L.ReLU, L.ReLU6, L.LeakyReLU, L.ELU, L.GELU, L.SiLU, L.Sigmoid, L.Tanh, L.HardSigmoid, L.HardSwish, L.Softmax,
    L.BatchNorm, L.LayerNorm, L.LocalResponseNorm, L.Dropout, L.StochasticDepth, L.LayerScale, L.Identity,
    L.GlobalAvgPool, L.GlobalMaxPool,
)] + [
    L.MaxPool(3, 2), L.MaxPool(3, 2, padding=1), L.AvgPool(2), L.AvgPool(3, 2, "same"), L.AvgPool(2, ceil=True),
    L.GlobalResponseNorm(), L.ChannelConv(3), L.ConvTranspose(5, 3, 2), L.Upsample(2), L.Upsample(1.5, "bilinear"),
    L.Conv(5, 3), L.Conv(5, 3, padding=1), L.Conv(5, 3, 2, "same"), L.PadChannels(1, 2),
], ids=repr)  # fmt: skip
def test_each_layer_keeps_what_autograd_saves_for_it(layer):
    from striate.engines.torch import build_network

    last = [] if layer.KIND in ("gap", "gmp") else [L.Conv(2, 1)]
    net = Net((3, 11, 10), [L.Conv(4, 3), layer, *last])
    measured = saved_for_backward(build_network(net).train(), torch.randn(2, *net.input))
    assert estimate_memory(net, batch=2).activations == measured


MEASURED = {
    "resnet18": 44_398_080,
    "resnet50": 172_031_488,
    "mobilenet_v2": 156_555_520,
    "densenet121": 261_057_280,
    "squeezenet1_1": 42_139_456,
    "convnext_tiny": 218_311_752,
    "efficientnet_b0": 176_556_168,
}
"""Bytes that two 3×224×224 images keep in torchvision 0.28's networks: saved_tensors_hooks, training mode, a CPU."""


@pytest.mark.parametrize("name", MEASURED)
def test_two_images_keep_what_was_measured_on_torchvisions_networks_to_the_byte(name):
    assert estimate_memory(zoo.build(name), batch=2).activations == MEASURED[name]


@pytest.mark.parametrize("name, saved", [("alexnet", 7_482_368), ("vgg16", 146_710_528)])
def test_without_torchvisions_adaptive_pooling_there_is_one_small_map_less(name, saved):
    """It pools 6×6 to 6×6 and 7×7 to 7×7, which changes nothing and keeps its input; our nets leave it out."""
    pooled = summarise_net(zoo.build(name)).last_map.y
    assert estimate_memory(zoo.build(name), batch=2).activations == saved - 2 * 4 * pooled[0] * pooled[1] * pooled[2]


@pytest.mark.parametrize("join", ["concat", "add", "multiply"])
def test_a_map_that_several_layers_keep_is_counted_once(join):
    from striate.engines.torch import build_network

    inner = L.Parallel(L.Identity(), [L.Conv(4, 1), L.ReLU()], [L.Conv(4, 1), L.Sigmoid()], join=join)
    net = Net((3, 8, 8), [L.Conv(4, 3), L.ReLU(), inner, L.Conv(2, 1)])
    assert estimate_memory(net, batch=2).activations == saved_for_backward(
        build_network(net).train(), torch.randn(2, 3, 8, 8)
    )


def test_the_rows_add_up_to_what_one_image_keeps():
    s = summarise_net(zoo.lenet5())
    assert sum(row.kept for row in s.rows) == s.memory(batch=1).activations


@pytest.mark.parametrize("batch", [1, 64])
@pytest.mark.parametrize(
    "net",
    [
        zoo.lenet5(),
        Net(
            (3, 32, 32),
            [
                L.Conv(16, 3, padding=1, name="stem"),
                L.Parallel(
                    [L.Conv(16, 3, padding=1), L.BatchNorm(), L.ReLU(), L.Conv(16, 3, padding=1), L.BatchNorm()],
                    L.Identity(),
                    join="add",
                ),
                L.ReLU(),
                L.Parallel(L.Conv(8, 1), L.Conv(8, 3, padding=1)),
                L.MaxPool(2),
                L.GlobalAvgPool(),
                L.Dense(10),
            ],
            "branches",
        ),
    ],
    ids=lambda net: net.name,
)
def test_the_predicted_peak_is_what_torchs_memory_tracker_sees(net, batch):
    tracker = pytest.importorskip("torch.distributed._tools.mem_tracker")
    from striate.engines.torch import build_network

    network = build_network(net).train()
    optimizer = torch.optim.Adam(network.parameters(), foreach=False)
    images, labels = torch.randn(batch, *net.input), torch.zeros(batch, dtype=torch.long)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    watch = tracker.MemTracker()
    watch.track_external(network, optimizer, images)
    with watch:
        torch.nn.functional.cross_entropy(network(images), labels).backward()
    measured = next(iter(watch.get_tracker_snapshot("peak").values()))["Total"]
    assert estimate_memory(net, batch, "adam").peak == pytest.approx(measured, rel=0.05)


NESTEROV = {"momentum": 0.9, "nesterov": True}


@pytest.mark.parametrize(
    "name, options, kind",
    [
        ("sgd", {}, "SGD"),
        ("momentum", {"momentum": 0.9}, "SGD"),
        ("nesterov", NESTEROV, "SGD"),
        ("rmsprop", {}, "RMSprop"),
        ("adam", {}, "Adam"),
        ("adamw", {}, "AdamW"),
    ],
)
def test_the_optimizer_state_is_what_torchs_optimizer_keeps(name, options, kind):
    from striate.engines.torch import build_network

    network = build_network(zoo.lenet5())
    optimizer = getattr(torch.optim, kind)(network.parameters(), lr=0.1, **options)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    kept = [t for state in optimizer.state.values() for t in state.values() if torch.is_tensor(t) and t.ndim]
    m = estimate_memory(zoo.lenet5(), 1, name)
    assert m.state == sum(t.nbytes for t in kept)
    assert m.weights == m.gradients == sum(p.nbytes for p in network.parameters())


def test_an_unknown_optimizer_and_an_empty_batch_are_named():
    with pytest.raises(RecipeError, match="there is no optimizer 'adamm'"):
        estimate_memory(zoo.lenet5(), 1, "adamm")
    with pytest.raises(RecipeError, match="at least one image"):
        estimate_memory(zoo.lenet5(), 0)
