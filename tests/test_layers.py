"""The layers' rules, judged by torch."""

from __future__ import annotations

import ast
import re

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from striate import (
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    Flatten,
    GlobalAvgPool,
    GlobalMaxPool,
    Identity,
    LayerNorm,
    LayerScale,
    MaxPool,
    Net,
    Parallel,
    ReLU,
    StochasticDepth,
)
from striate.architecture.init import INITIALISERS, make_initialiser
from striate.architecture.window import slide_axis
from striate.engines import plain
from striate.engines.torch import build_network
from striate.errors import NetError, ShapeError
from striate.summaries.module_records import find_record
from tests.random_nets import nets

small = st.integers(1, 5)
# With more channels than four an image may be taken for one whose channels are last.
shapes = st.tuples(st.sampled_from([1, 2, 3, 4]), st.integers(1, 14), st.integers(1, 14))
ways = st.one_of(small, st.tuples(small, small))


@settings(deadline=None, max_examples=300)
@given(shapes, st.sampled_from([1, 2, 4, 6]), ways, ways, st.integers(0, 3), st.integers(1, 3), st.booleans(), small)
def test_the_convolution_rule_is_torchs(x, filters, kernel, stride, pad, dilation, bias, groups):
    """Shape and parameters are torch's, and the two refuse the same inputs."""
    try:
        with torch.device("meta"):
            conv = torch.nn.Conv2d(x[0], filters, kernel, stride, pad, dilation, groups, bias)
            y = conv(torch.empty(1, *x))
    except (RuntimeError, ValueError):
        with pytest.raises((ShapeError, NetError)):
            Conv(filters, kernel, stride, pad, dilation, groups, bias).out(x)
        return
    rule = Conv(filters, kernel, stride, pad, dilation, groups, bias)
    assert rule.out(x) == tuple(y.shape[1:])
    assert rule.params(x) == sum(p.numel() for p in conv.parameters())
    assert rule.params(x) == sum(torch.Size(t.shape).numel() for t in rule.tensors(x))


@settings(deadline=None, max_examples=300)
@given(shapes, st.integers(1, 5), st.integers(1, 4), st.integers(0, 2), st.booleans(), st.booleans())
def test_the_pooling_rules_are_torchs(x, kernel, stride, pad, ceil, count):
    """The same sizes and values as torch, which refuses a padding of over half the window; we only a whole one."""
    image = torch.randn(1, *x)
    try:
        largest = torch.nn.functional.max_pool2d(image, kernel, stride, pad, 1, ceil)
        mean = torch.nn.functional.avg_pool2d(image, kernel, stride, pad, ceil, count)
    except RuntimeError:
        if pad <= kernel // 2:
            with pytest.raises(ShapeError):
                MaxPool(kernel, stride, padding=pad, ceil=ceil).out(x)
        return
    layers = {
        MaxPool(kernel, stride, padding=pad, ceil=ceil): largest,
        AvgPool(kernel, stride, padding=pad, ceil=ceil, count_padding=count): mean,
    }
    for layer, expected in layers.items():
        assert layer.out(x) == tuple(expected.shape[1:])
        torch.testing.assert_close(build_network(Net(x, [layer]))(image), expected)


@given(st.integers(1, 60), st.integers(1, 7), st.integers(1, 5), st.integers(1, 3))
def test_same_padding_is_tensorflows(n, kernel, stride, dilation):
    """TensorFlow's rule (tf.nn, "Notes on padding"): ceil(n / stride) positions, the odd zero after."""
    found = slide_axis(n, kernel, stride, "same", dilation)
    reach = (kernel - 1) * dilation + 1
    total = max(reach - stride, 0) if n % stride == 0 else max(reach - n % stride, 0)
    assert found.size == -(-n // stride)
    assert (found.before, found.after) == (total // 2, total - total // 2)


@given(st.integers(1, 30), st.integers(1, 6), st.integers(1, 5), st.integers(0, 3))
def test_unread_pixels_are_those_that_no_window_covers(n, kernel, stride, pad):
    if n + 2 * pad < kernel:
        return
    found = slide_axis(n, kernel, stride, (pad, pad))
    read = {i * stride - pad + k for i in range(found.size) for k in range(kernel)}
    last = max(pixel for pixel in read if pixel < n)
    assert found.unread == sum(1 for pixel in range(n) if pixel > last)


def test_a_five_by_five_filter_has_75_weights_on_rgb_and_six_have_456_parameters():
    assert Conv(1, 5).params((3, 32, 32)) == 75 + 1
    assert Conv(6, 5).params((3, 32, 32)) == 456
    assert Conv(6, 5).params((1, 32, 32)) == 156


def test_a_layer_that_does_not_fit_names_itself_the_rule_and_what_fits():
    with pytest.raises(ShapeError) as e:
        Net((1, 8, 8), [Conv(4, 3), ReLU(), Conv(8, 9, name="wide"), Flatten(), Dense(2)])
    assert str(e.value) == (
        "wide (Conv(8, 9, name='wide')): a 9×9 window does not fit a 6×6 map\n"
        "  got   4×6×6\n"
        "  rule  (6 + 2·0 − 9)/1 + 1 = -2, must be 1 or more\n"
        "  hint  kernel=6 fits; or an input of at least 1×11×11"
    )
    Net((1, 8, 8), [Conv(4, 3), ReLU(), Conv(8, 6, name="wide"), Flatten(), Dense(2)])
    Net((1, 11, 11), [Conv(4, 3), ReLU(), Conv(8, 9, name="wide"), Flatten(), Dense(2)])
    with pytest.raises(ShapeError):
        Net((1, 10, 10), [Conv(4, 3), ReLU(), Conv(8, 9, name="wide"), Flatten(), Dense(2)])


@pytest.mark.parametrize(
    "layers, where, what",
    [
        ([Dense(2)], "dense1 (Dense(2))", "Dense takes a vector, but its input is a feature map"),
        (
            [Flatten(), Conv(1, 1)],
            "conv1 (Conv(1, 1))",
            "Conv takes feature maps C×H×W, but its input is a vector",
        ),
        ([Parallel(Identity(), Conv(5, 3))], "parallel1", 'the branches do not match for join="concat"'),
        ([Parallel(Identity(), Conv(5, 1), join="add")], "parallel1", 'the branches do not match for join="add"'),
        ([Conv(4, 3, groups=2)], "conv1 (Conv(4, 3, groups=2))", "groups=2 does not divide the 3 channels"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(layers, where, what):
    with pytest.raises(ShapeError) as e:
        Net((3, 8, 8), layers)
    assert (e.value.where, e.value.what) == (where, what)
    assert e.value.hint


def test_two_layers_of_one_name_are_refused():
    with pytest.raises(NetError, match="two layers side by side have this name"):
        Net((1, 8, 8), [Conv(1, 1, name="a"), Conv(1, 1, name="a")])


def test_equal_records_are_equal_however_they_were_written():
    assert Conv(6, (5, 5)) == Conv(6, 5)
    assert Conv(6, 5, padding=(1, 1, 1, 1)) == Conv(6, 5, padding=1)
    assert MaxPool(2, 2) == MaxPool(2)
    assert hash(Parallel(Identity(), [ReLU()])) == hash(Parallel(Identity(), [ReLU()]))


TORCH_INIT = {
    "glorot_uniform": torch.nn.init.xavier_uniform_,
    "glorot_normal": torch.nn.init.xavier_normal_,
    "he_uniform": lambda t: torch.nn.init.kaiming_uniform_(t, nonlinearity="relu"),
    "he_normal": lambda t: torch.nn.init.kaiming_normal_(t, nonlinearity="relu"),
    "he_out_normal": lambda t: torch.nn.init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"),
    "he_out_uniform": lambda t: torch.nn.init.kaiming_uniform_(t, mode="fan_out", nonlinearity="relu"),
    "lecun_normal": lambda t: torch.nn.init.kaiming_normal_(t, nonlinearity="linear"),
    "lecun_uniform": lambda t: torch.nn.init.kaiming_uniform_(t, nonlinearity="linear"),
    "torch": lambda t: torch.nn.init.kaiming_uniform_(t, a=5**0.5),
}


@pytest.mark.parametrize("name", sorted(INITIALISERS - {"zeros", "ones", "dirac"}))
def test_initial_weights_are_drawn_as_torch_and_keras_draw_them(name):
    """torch.nn.init's draws have the same range or deviation: 60,000 of each, to 2 %."""
    spec = Conv(100, (5, 4), init=name).tensors((30, 9, 9))[0]
    kind, scale = make_initialiser(name, spec.fan_in, spec.fan_out)
    torch.manual_seed(0)
    theirs = TORCH_INIT[name](torch.empty(spec.shape))
    ours = build_network(Net((30, 9, 9), [Conv(100, (5, 4), init=name)])).state_dict()["conv1.weight"]
    if kind == "uniform":
        assert theirs.abs().max().item() == pytest.approx(scale, rel=1e-3)
        assert ours.abs().max().item() == pytest.approx(scale, rel=1e-3)
    assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.02)
    assert ours.mean().item() == pytest.approx(0, abs=scale / 50)


@settings(deadline=None, max_examples=40)
@given(nets())
def test_what_a_layer_counts_is_what_its_tensors_hold(net):
    for step in net.steps:
        sizes = {kind: 0 for kind in (True, False)}
        for tensor in step.layer.tensors(step.x):
            sizes[tensor.trainable] += torch.Size(tensor.shape).numel()
        assert (step.layer.params(step.x), step.layer.buffers(step.x)) == (sizes[True], sizes[False])


def test_biases_start_at_zero_and_norms_at_one():
    state = build_network(Net((3, 8, 8), [Conv(4, 3), BatchNorm(), GlobalAvgPool(), Dense(2)])).state_dict()
    assert all((state[name] == 0).all() for name in ("conv1.bias", "dense1.bias", "bn1.bias", "bn1.running_mean"))
    assert all((state[name] == 1).all() for name in ("bn1.weight", "bn1.running_var"))


@pytest.mark.parametrize(
    "layer, module",
    [
        (BatchNorm(), torch.nn.BatchNorm2d(6)),
        (LayerNorm(), torch.nn.LayerNorm(6)),
        (LayerScale(0.25), torch.nn.ParameterDict({"weight": torch.full((6,), 0.25)})),
    ],
    ids=["bn", "ln", "scale"],
)
def test_what_normalises_or_scales_starts_with_torchs_numbers(layer, module):
    theirs = {name: tensor for name, tensor in module.state_dict().items() if tensor.ndim}
    start = build_network(Net((6, 5, 4), [layer])).state_dict()
    assert {name.rpartition(".")[2] for name in start} == set(theirs)
    for name, tensor in start.items():
        torch.testing.assert_close(tensor, theirs[name.rpartition(".")[2]])


@pytest.mark.parametrize("layer", [Dropout, StochasticDepth])
@given(st.floats() | st.integers(-3, 3) | st.booleans() | st.just("half"))
def test_a_share_is_at_least_0_and_below_1_and_the_hint_works(layer, rate):
    """torch takes 1.0 too, and then no training gets through the layer."""
    if type(rate) in (int, float) and 0 <= rate < 1:
        assert layer(rate).rate == rate
    else:
        with pytest.raises(NetError, match="must be at least 0 and below 1") as caught:
            layer(rate)
        assert str(rate) in caught.value.got and "rate=0.5" in caught.value.hint
        assert layer(0.5).rate == 0.5


@pytest.mark.parametrize("layer", [Dropout, StochasticDepth])
def test_a_share_of_1_is_refused(layer):
    for rate in (1, 1.0):
        with pytest.raises(NetError, match="must be at least 0 and below 1"):
            layer(rate)


@pytest.mark.parametrize("keepdims", [False, True])
def test_the_largest_value_of_a_map_is_torchs_and_of_equal_ones_the_first_learns(keepdims):
    torch_pool = torch.nn.AdaptiveMaxPool2d(1)
    assert find_record(torch_pool) == GlobalMaxPool(keepdims=True)
    assert (
        find_record(torch.nn.AdaptiveMaxPool2d(2))
        is find_record(torch.nn.AdaptiveMaxPool2d(1, return_indices=True))
        is None
    )
    net = Net((3, 5, 4), [GlobalMaxPool(keepdims), *([Flatten()] if keepdims else []), Dense(2)])
    x = torch.randint(0, 3, (4, 3, 5, 4)).double().requires_grad_()  # many are equal
    network = build_network(net).double()
    weights = {name: tensor.detach().numpy() for name, tensor in network.state_dict().items()}
    y = network.at("dense1")(torch_pool(x).flatten(1))
    torch.nn.functional.cross_entropy(y, torch.tensor([0, 1, 0, 1])).backward()
    mine = plain.loss_and_gradients(net, weights, x.detach().numpy(), [0, 1, 0, 1])
    torch.testing.assert_close(torch.as_tensor(mine.x), x.grad)
    torch.testing.assert_close(network(x), y)


@given(
    st.tuples(st.just(2), st.integers(1, 6), st.integers(1, 6)),
    st.one_of(st.integers(3, 9), st.tuples(st.integers(1, 9), st.integers(1, 9))),
    st.integers(0, 1),
    st.integers(1, 3),
)
def test_the_kernel_that_a_hint_names_fits_and_no_larger_one_does(x, kernel, padding, dilation):
    try:
        Conv(3, kernel, 1, padding, dilation).out(x)
    except ShapeError as error:
        fits = ast.literal_eval(re.fullmatch(r"kernel=(.+) fits", error.hint)[1])
        Conv(3, fits, 1, padding, dilation).out(x)
        sizes = fits if isinstance(fits, tuple) else (fits, fits)
        asked = kernel if isinstance(kernel, tuple) else (kernel, kernel)
        larger = tuple(min(size + 1, most) for size, most in zip(sizes, asked, strict=True))
        with pytest.raises(ShapeError):
            Conv(3, larger, 1, padding, dilation).out(x)
