"""The zoo against published parameters, MACs and receptive fields; figures and sources: reference/zoo.json."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.architecture import zoo
from striate.architecture.layers import Container
from striate.architecture.net import Net
from striate.architecture.text import from_json, parse, to_json
from striate.errors import NetError, ShapeError
from striate.summaries.summary import Row, Summary, summarise_net

from .oracles import torchvision

REFERENCE = json.loads((Path(__file__).parent / "reference" / "zoo.json").read_text())

every = pytest.mark.parametrize("name", zoo.NAMES)


def numbers(kind: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("key", list(REFERENCE[kind]))


def last_map(account: Summary) -> Row:
    """The last map of the main line before pooling or flattening makes a vector of it."""
    return [row for row in account.rows if row.depth == 0 and len(row.y) == 3][-1]


def field(row: Row) -> list[int] | None:
    """[size, effective stride, first pixel], equal for rows and columns in these nets."""
    if row.field is None:
        return None
    assert row.field[0] == row.field[1]
    return list(row.field[0])


@numbers("torchvision")
def test_params_macs_and_receptive_field_are_torchvisions(key):
    want = REFERENCE["torchvision"][key]
    got = summarise_net(zoo.build(key, input=(3, want["side"], want["side"])))
    assert got.params == want["params"]
    assert round(got.macs / 1e9, 3) == want["gmacs"]
    if "macs" in want:
        assert got.macs == want["macs"]
    if "field" in want:
        assert field(last_map(got)) == want["field"]


@pytest.mark.parametrize("key", ["googlenet", "inception_v3"])
def test_auxiliary_heads_add_parameters_and_no_macs(key):
    want = REFERENCE["torchvision"][key]
    got = summarise_net(zoo.build(key, aux=True))
    assert got.params == want["params_with_aux"]
    assert got.macs == want["macs"]


@numbers("timm")
def test_params_and_macs_are_timms(key):
    want = REFERENCE["timm"][key]
    got = summarise_net(zoo.build(want["net"], input=(3, want["side"], want["side"])))
    assert (got.params, got.macs) == (want["params"], want["macs"])


@numbers("small")
def test_historic_and_cifar_nets_have_their_published_numbers(key):
    want = REFERENCE["small"][key]
    got = summarise_net(zoo.build(want["net"], **want["options"]))
    assert (got.params, got.macs) == (want["params"], want["macs"])
    if "field" in want:
        assert field(last_map(got)) == want["field"]


SIDES = {
    "alexnet_original": 227,
    "inception_v3": 299,
    "xception": 299,
    "regnet_y_128gf": 384,
    **{f"efficientnet_b{i}": side for i, side in enumerate((224, 240, 260, 300, 380, 456, 528, 600))},
    **{f"efficientnet_lite{i}": side for i, side in enumerate((224, 240, 260, 280, 300))},
}
"""The images that are not of 224×224 pixels: Krizhevsky et al. 2012 as its sizes work out, Szegedy et al. 2015, Chollet
2016, torchvision's weights of RegNetY-128GF, Tan and Le's EfficientNets and the Lite ones' model card."""
SMALL = (
    "resnet20",
    "resnet32",
    "resnet44",
    "resnet56",
    "resnet110",
    "wrn_28_10",
    "striate_s",
    "striate_m",
    "striate_l",
)


@every
def test_a_network_made_without_options_is_for_the_images_and_classes_of_its_paper(name):
    side = SIDES.get(name, 224)
    small = {"lenet5": ((1, 32, 32), 10)} | dict.fromkeys(SMALL, ((3, 32, 32), 10))
    made = zoo.build(name)
    assert (made.input, made.classes) == small.get(name, ((3, side, side), 1000))
    assert made.name == name


DROPPING = ["alexnet", "vgg11", "squeezenet1_1", "googlenet", "inception_v3", "mobilenet_v2", "mobilenet_v3_large",
            "mobilenet_v3_small", "efficientnet_b0", "efficientnet_b1"]  # fmt: skip


@pytest.mark.parametrize("name", DROPPING)
def test_what_is_dropped_in_training_is_dropped_as_often_as_in_torchvision(name):
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        options = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
        theirs = getattr(torchvision().models, name)(**options).modules()
    rates = [module.p for module in theirs if type(module) is torch.nn.Dropout]
    ours = [step.layer.rate for step in zoo.build(name).steps if type(step.layer).__name__ == "Dropout"]
    assert ours == rates and rates


NORMALISING = ["resnet18", "googlenet", "inception_v3", "mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small",
               "efficientnet_b0", "efficientnet_b5", "densenet121"]  # fmt: skip


@pytest.mark.parametrize("name", NORMALISING)
def test_batch_normalisations_have_torchvisions_constants(name):
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        options = {"init_weights": False, "aux_logits": False} if name in ("googlenet", "inception_v3") else {}
        theirs = getattr(torchvision().models, name)(**options).modules()
    want = Counter((m.num_features, m.eps, m.momentum) for m in theirs if isinstance(m, torch.nn.BatchNorm2d))
    steps = [step for step in zoo.build(name).steps if type(step.layer).__name__ == "BatchNorm"]
    assert Counter((step.x[0], step.layer.eps, step.layer.momentum) for step in steps) == want


@pytest.mark.parametrize("width", [0.5, 0.75, 1.4])
@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"])
def test_a_wider_or_narrower_mobilenet_has_torchvisions_parameters(name, width):
    torch = pytest.importorskip("torch")
    with torch.device("meta"):
        theirs = getattr(torchvision().models, name)(width_mult=width)
    assert summarise_net(zoo.build(name, width=width)).params == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize(
    "channels, side, kernel, stride, pools",
    [(3, 64, 3, 1, 1), (1, 64, 3, 1, 1), (3, 128, 5, 2, 1), (3, 224, 5, 2, 1)],
)
def test_our_own_nets_first_filters_are_wider_where_images_are_larger(channels, side, kernel, stride, pools):
    made = zoo.build("striate_s", input=(channels, side, side))
    first = made.at("patches").layer
    assert (first.kernel, first.stride) == (kernel, stride)
    assert sum(step.path == "pool" for step in made.steps) == pools


@pytest.mark.parametrize("aux, heads", [(False, 0), (True, 2)])
@pytest.mark.parametrize("name", ["googlenet", "googlenet_paper"])
def test_googlenet_has_its_two_side_heads_where_it_is_asked_to(name, aux, heads):
    """Szegedy et al. 2014, section 5: behind 4a and 4d, a dense layer of 1,024 units, and 0.3 of their loss."""
    made = zoo.build(name, aux=aux)
    found = [step for step in made.steps if type(step.layer).__name__ == "SideHead"]
    assert [step.layer.weight for step in found] == [0.3] * heads
    assert [step.x[0] for step in found] == [512, 528][:heads]
    wide = [step.y for step in made.steps if step.side and type(step.layer).__name__ == "Dense"]
    assert wide == [(1024,), (1000,)] * heads


def test_inceptions_means_count_the_zeros_around_a_map():
    """torchvision calls F.avg_pool2d(x, kernel_size=3, stride=1, padding=1), whose default that is."""
    means = [step.layer for step in zoo.build("inception_v3").steps if type(step.layer).__name__ == "AvgPool"]
    assert len(means) == 9 and all((mean.padding, mean.count_padding) == (1, True) for mean in means)


def test_wrn_28_10_has_the_36_5_million_parameters_of_its_paper():
    assert round(summarise_net(zoo.build("wrn_28_10")).params / 1e6, 1) == 36.5


# What Keras has that the paper and torchvision have not, or the reverse, in multiples of the channels that BatchNorm
# sees: its ResNets have a bias in every convolution, its Inception v3 has no scale in BatchNorm. Its EfficientNet
# holds the mean and variance of three input channels and a counter.
KERAS_DIFFERS = {"ResNet50": 1, "ResNet101": 1, "ResNet152": 1, "InceptionV3": -1}
KERAS_MORE = {"EfficientNetB0": 7}


@numbers("keras")
def test_params_and_buffers_together_are_what_keras_calls_parameters(key):
    want = REFERENCE["keras"][key]
    got = summarise_net(zoo.build(want["net"]))
    channels = got.buffers // 2
    extra = KERAS_DIFFERS.get(key, 0) * channels
    assert got.params + extra == want["trainable"]
    assert got.params + extra + got.buffers + KERAS_MORE.get(key, 0) == want["total"]


@numbers("distill")
def test_receptive_fields_are_those_of_the_distill_table(key):
    """Araujo et al. 2019, with TF-slim's strides: 483, 1027 and 1507 for the ResNets; padding is minus the start."""
    want = REFERENCE["distill"][key]
    got = summarise_net(zoo.build(want["net"], **want["options"]))
    size, stride, padding = want["summary"]
    assert field(last_map(got)) == [size, stride, -padding]
    for path, *row in want["rows"]:
        reached = field(got.row(path))
        assert reached is not None
        assert [reached[0], reached[1], -reached[2]] == row, path


@pytest.mark.parametrize(
    "name, side, options",
    [
        ("alexnet", 323, {}),
        ("squeezenet1_1", 255, {}),
        ("resnet18", 511, {}),
        ("resnet50", 511, {}),
        ("resnet50", 575, {"stride_in": "last"}),
        ("mobilenet_v2", 575, {}),
        ("mobilenet_v1", 383, {"padding": "same"}),
        ("googlenet", 447, {}),
    ],
)
def test_the_receptive_field_is_where_the_gradient_of_a_middle_unit_is(name, side, options):
    """Max pooling and activations stand aside (as means and identities with the same windows); weights are equal."""
    measured(zoo.build(name, input=(3, side, side), width=1 / 16, **options))


@pytest.mark.slow
@every
def test_the_receptive_field_of_every_net_is_where_the_gradient_is(name):
    """On the net's own input, which cuts the largest fields off at its edges."""
    try:
        measured(zoo.build(name, width=1 / 8))
    except NetError:
        measured(zoo.build(name))


def measured(net) -> None:
    """The pixels with a gradient of the last map's middle unit are those of its receptive field."""
    torch = pytest.importorskip("torch")
    from striate.engines.torch import build_network

    side = net.input[1]
    text = repr(net)
    for kind in ("ReLU", "ReLU6", "GELU", "SiLU", "HardSwish", "LayerNorm", "Tanh"):
        text = re.sub(rf"\b{kind}\([^()]*\)", "Identity()", text)
    net = parse(text.replace("MaxPool", "AvgPool"))
    network = build_network(net).eval().double()
    with torch.no_grad():
        for weight in network.parameters():
            weight.fill_(1 / weight[0].numel())
    x = torch.ones(1, *net.input, dtype=torch.float64, requires_grad=True)
    row = last_map(summarise_net(net))
    y = network.maps(x)[row.path][0]
    unit = y.shape[1] // 2
    y[:, unit, unit].sum().backward()
    seen = x.grad[0].abs().sum((0, 2)).nonzero().flatten()
    if row.field is None:
        assert [seen[0].item(), seen[-1].item()] == [0, side - 1]
        return
    size, jump, start = field(row)
    first = start + unit * jump
    assert [seen[0].item(), seen[-1].item()] == [max(first, 0), min(first + size, side) - 1]


@every
def test_a_zoo_net_is_the_net_that_its_text_and_its_json_stand_for(name):
    net = zoo.build(name, classes=7)
    assert (net.name, net.classes) == (name, 7)
    assert parse(repr(net)) == net
    assert from_json(json.dumps(to_json(net))) == net


@given(
    name=st.sampled_from(zoo.NAMES),
    side=st.integers(8, 200),
    channels=st.integers(1, 4),
    width=st.sampled_from([0.25, 0.5, 0.7, 1.3]),
)
@settings(deadline=None, max_examples=80)
def test_any_input_and_width_make_a_net_or_a_shape_error(name, side, channels, width):
    try:
        net = zoo.build(name, classes=3, input=(channels, side, side + 5), width=width)
    except ShapeError as e:
        assert e.hint
        return
    assert net.output == (3,)


def test_width_scales_the_parameters_by_about_its_square():
    for name in ("resnet18", "vgg11", "regnet_x_800mf", "convnext_tiny", "densenet121"):
        half, whole = (summarise_net(zoo.build(name, width=w)).params for w in (0.5, 1.0))
        assert 3 < whole / half < 4.3, name


@pytest.mark.parametrize("name", ["lenet5", "alexnet", "alexnet_original", "vgg16", "vgg11_bn"])
def test_a_gap_head_has_one_dense_layer_and_keeps_the_features(name):
    dense, gap = summarise_net(zoo.build(name)), summarise_net(zoo.build(name, head="gap"))
    assert [row.kind for row in gap.leaves].count("Dense") == 1
    assert gap.params < dense.params / 5
    assert gap.parts[0] == dense.parts[0]._replace(
        params_share=gap.parts[0].params_share, macs_share=gap.parts[0].macs_share
    )


def test_an_unknown_name_option_or_choice_is_named_with_what_there_is():
    with pytest.raises(NetError, match="did you mean 'resnet50'"):
        zoo.build("resnet_50")
    with pytest.raises(NetError, match="unexpected keyword argument 'layers'"):
        zoo.build("vgg16", layers=3)
    with pytest.raises(NetError, match="stride_in is one of 1x1, 3x3, last"):
        zoo.build("resnet50", stride_in="2x2")
    with pytest.raises(NetError, match="width must be a number above 0"):
        zoo.build("lenet5", width=0)


def test_the_list_of_names_loads_no_family():
    code = "import sys, striate.architecture.zoo as z; print(len(z.NAMES), [m for m in sys.modules if '.zoo.' in m])"
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert got.split(" ", 1) == [str(len(zoo.NAMES)), "[]\n"]


def test_a_net_of_152_layers_is_made_in_milliseconds():
    def seconds() -> float:
        began = time.process_time()
        zoo.build("resnet152")
        return time.process_time() - began

    assert min(seconds() for _ in range(5)) < 0.05


def test_every_family_cites_its_paper_with_a_year():
    for family in zoo.FAMILIES:
        text = import_module(f"striate.architecture.zoo.{family}").__doc__ or ""
        assert any(f" {year}" in text for year in range(1998, 2023)), family


def test_no_block_is_named_by_its_number_alone_in_a_container():
    """Paths are the keys of the model file, and read as the paper does: layer1.block1.main.conv1."""
    paths = {step.path for step in zoo.build("resnet50").steps if not isinstance(step.layer, Container)}
    assert {"conv1", "layer1.block1.main.conv1", "layer1.block1.shortcut.bn1", "layer4.block3.main.bn3"} <= paths


def test_a_net_is_data():
    assert isinstance(zoo.build("lenet5"), Net)
    assert zoo.build("resnet18") == zoo.build("resnet18") and hash(zoo.build("lenet5")) == hash(zoo.build("lenet5"))


@pytest.mark.parametrize("name", zoo.NAMES)
def test_a_networks_own_input_is_square_and_gray_only_where_its_authors_had_gray_images(name):
    """LeNet-5 read digits (LeCun et al. 1998); all others were published on ImageNet, or are our own."""
    c, h, w = zoo.build(name).input
    assert h == w and c == (1 if name.startswith("lenet") else 3)


def test_alexnets_normalisation_is_the_papers():
    """b = a / (k + α Σ a²)^β over n = 5 channels, k = 2, α = 1e-4, β = 0.75 (Krizhevsky et al. 2012, section 3.3)."""
    torch = pytest.importorskip("torch")
    layers = [step.layer for name in zoo.NAMES if name.startswith("alexnet") for step in zoo.build(name).steps]
    norms = [layer for layer in layers if type(layer).__name__ == "LocalResponseNorm"]
    if not norms:
        pytest.skip("no AlexNet with local response normalisation here")
    a = torch.rand(1, 9, 2, 2, generator=torch.Generator().manual_seed(0)) * 50
    padded = torch.nn.functional.pad(a**2, (0, 0, 0, 0, 2, 2))
    paper = a / (2 + 1e-4 * sum(padded[:, k : k + 9] for k in range(5))) ** 0.75
    for norm in norms:
        found = Net((9, 2, 2), [norm]).torch()(a)
        assert torch.allclose(found, paper, rtol=1e-5)


def test_convnexts_layer_scales_begin_at_a_millionth():
    """Liu et al. 2022, table 5."""
    pytest.importorskip("torch")
    state = zoo.build("convnext_tiny", input=(3, 32, 32)).torch().state_dict()
    scales = [value for name, value in state.items() if ".scale" in name]
    assert len(scales) == 18 and all((value == 1e-6).all() for value in scales)
