"""BlurPool against Zhang's definition: reflect, then a depthwise convolution with a fixed binomial filter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate import BatchNorm, BlurPool, Conv, Dense, Flatten, MaxPool, Net, ReLU
from striate.architecture.text import from_json, parse, to_json
from striate.engines import onnx, plain
from striate.errors import NetError, ShapeError

from .test_memory import saved_for_backward

torch = pytest.importorskip("torch")

ZHANG = {1: [1], 2: [1, 1], 3: [1, 2, 1], 4: [1, 3, 3, 1], 5: [1, 4, 6, 4, 1], 6: [1, 5, 10, 10, 5, 1],
         7: [1, 6, 15, 20, 15, 6, 1]}  # fmt: skip
"""The filters in github.com/adobe/antialiased-cnns, antialiased_cnns/blurpool.py."""


def zhang(x: np.ndarray, size: int, stride: tuple[int, int]) -> np.ndarray:
    """Blurred pooling as the paper's code states it, on a map C×H×W, written with loops."""
    filt = np.outer(ZHANG[size], ZHANG[size]) / np.sum(ZHANG[size]) ** 2
    before, after = int((size - 1) / 2), int(np.ceil((size - 1) / 2))
    padded = np.pad(x, ((0, 0), (before, after), (before, after)), mode="reflect")
    rows, columns = (range(0, n - size + 1, s) for n, s in zip(padded.shape[1:], stride, strict=True))
    return np.array([[[(c[i : i + size, j : j + size] * filt).sum() for j in columns] for i in rows] for c in padded])


kernels = st.integers(1, 7)
sides = st.integers(4, 13)
strides = st.one_of(st.integers(1, 4), st.tuples(st.integers(1, 4), st.integers(1, 4)))


@settings(deadline=None, max_examples=60)
@given(kernels, strides, st.integers(1, 4), sides, sides, st.integers(0, 2**31))
def test_all_three_engines_compute_what_the_papers_code_computes(kernel, stride, channels, height, width, seed):
    from striate.engines.torch import build_network

    layer = BlurPool(kernel, stride)
    net = Net((channels, height, width), [layer])
    x = np.random.default_rng(seed).standard_normal((2, *net.input))
    expected = np.stack([zhang(image, kernel, (stride, stride) if isinstance(stride, int) else stride) for image in x])
    assert (2, *layer.out(net.input)) == expected.shape
    np.testing.assert_allclose(plain.run_forward(net, {}, x), expected, atol=1e-12)
    np.testing.assert_allclose(build_network(net).double()(torch.as_tensor(x)).numpy(), expected, atol=1e-12)
    np.testing.assert_allclose(onnx.run_net(net, {}, x.astype(np.float32)), expected, atol=1e-5)


@settings(deadline=None, max_examples=60)
@given(kernels, strides, sides, sides, st.integers(0, 2**31))
def test_the_plain_engines_gradient_is_torchs_also_where_pixels_are_seen_mirrored(kernel, stride, height, width, seed):
    from striate.engines.torch import build_network, load_tensors

    net = Net((2, height, width), [BlurPool(kernel, stride), Flatten(), Dense(3)])
    generator = np.random.default_rng(seed)
    tensors = {name: generator.standard_normal(t.shape) for name, t in net.tensors.items()}
    x = generator.standard_normal((2, *net.input))
    image = torch.tensor(x, requires_grad=True)
    logits = load_tensors(build_network(net).double(), tensors)(image)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 2])).backward()
    mine = plain.loss_and_gradients(net, tensors, x, np.array([0, 2]))
    np.testing.assert_allclose(mine.x, image.grad.numpy(), atol=1e-12)


@settings(deadline=None, max_examples=40)
@given(kernels, strides, sides, sides, st.data())
def test_one_value_alone_is_the_maps_value(kernel, stride, height, width, data):
    net = Net((1, height, width), [Conv(2, 1), BlurPool(kernel, stride)])
    tensors = plain.draw_tensors(net, 1)
    x = np.random.default_rng(0).standard_normal(net.input)
    place = tuple(data.draw(st.integers(0, n - 1)) for n in net.output)
    whole = plain.run_forward(net, tensors, x[None])[0]
    assert plain.compute_value(net, tensors, x, "pool1", *place) == pytest.approx(whole[place], abs=1e-12)


def test_it_owns_no_tensor_and_its_macs_are_those_of_a_depthwise_convolution():
    from torch.utils.flop_counter import FlopCounterMode

    from striate.engines.torch import build_network

    layer, x = BlurPool(5, 2), (3, 9, 12)
    network = build_network(Net(x, [layer]))
    assert network.state_dict() == {}
    assert layer.params(x) == 0 and layer.tensors(x) == ()
    with FlopCounterMode(display=False) as flops:
        network(torch.zeros(1, *x))
    assert 2 * layer.macs(x) == flops.get_total_flops()
    assert layer.macs(x) == 5 * 5 * 3 * 5 * 6


@settings(deadline=None, max_examples=60)
@given(kernels, st.integers(1, 9), sides, st.data())
def test_its_reach_and_its_unread_pixels_are_those_that_gradients_measure(kernel, stride, side, data):
    """A window's pixels within the map, mirrored ones left aside, are those from its reach on; the unread have none."""
    from striate.engines.torch import build_network

    layer, shape = BlurPool(kernel, stride), (1, side, side)
    rows, _ = layer.reach(shape)
    x = torch.zeros(1, *shape, requires_grad=True)
    y = build_network(Net(shape, [layer]))(x)
    k = data.draw(st.integers(0, y.shape[2] - 1))
    (grad,) = torch.autograd.grad(y[0, 0, k].sum(), x, retain_graph=True)
    first = k * rows.stride - rows.before
    read = {row for row in range(first, first + rows.extent) if 0 <= row < side}
    assert read <= set((grad[0, 0].sum(1) > 0).nonzero().flatten().tolist())
    if 0 <= first and first + rows.extent <= side:
        assert read == set((grad[0, 0].sum(1) > 0).nonzero().flatten().tolist())
    (grad,) = torch.autograd.grad(y.sum(), x)
    last = (grad[0, 0].sum(1) > 0).nonzero().max().item()
    assert layer.unread(shape)[0] == side - 1 - last


@pytest.mark.parametrize("kernel", ZHANG)
def test_training_keeps_what_autograd_saves_for_it(kernel):
    from striate.engines.torch import build_network
    from striate.summaries.memory import estimate_memory

    net = Net((3, 11, 10), [Conv(4, 3), BlurPool(kernel), Conv(2, 1)])
    measured = saved_for_backward(build_network(net).train(), torch.randn(2, *net.input))
    assert estimate_memory(net, batch=2).activations == measured


@given(kernels, strides)
def test_text_and_json_give_the_record_back(kernel, stride):
    net = Net((2, 8, 8), [MaxPool(2, stride=1), BlurPool(kernel, stride, name="blur")])
    assert parse(repr(net)) == net
    assert from_json(to_json(net)) == net


def test_a_batch_norm_behind_it_is_folded_into_the_fixed_filter():
    net = Net((2, 8, 8), [BlurPool(3), BatchNorm(), ReLU()])
    generator = np.random.default_rng(3)
    tensors = {name: 0.5 + generator.random(t.shape) for name, t in net.tensors.items()}
    x = generator.standard_normal((2, *net.input)).astype(np.float32)
    assert [node.op_type for node in onnx.build_graph(net, tensors).graph.node] == ["Pad", "Conv", "Relu"]
    np.testing.assert_allclose(onnx.run_net(net, tensors, x), plain.run_forward(net, tensors, x), atol=1e-5)


def test_a_map_too_small_to_be_reflected_is_named_with_a_kernel_that_fits():
    with pytest.raises(ShapeError) as caught:
        Net((1, 3, 9), [BlurPool(6)])
    assert str(caught.value).splitlines()[0].endswith("a 3×9 map is too small to be reflected by 3 pixels")
    assert caught.value.hint.startswith("kernel=5 fits")
    assert Net((1, 3, 9), [BlurPool(5)]).output == (1, 2, 5)
    with pytest.raises(RuntimeError):  # torch refuses the same
        torch.nn.functional.pad(torch.zeros(1, 1, 3, 9), (2, 3, 2, 3), mode="reflect")


@pytest.mark.parametrize("kernel", [0, 8, 2.0, True, (3, 3)])
def test_a_kernel_outside_the_papers_seven_is_refused(kernel):
    with pytest.raises(NetError, match="from 1 to 7"):
        BlurPool(kernel)
