"""What torch refuses on real tensors, the account of a module refuses too, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from striate.summaries.module_summary import ModuleError, summarise_module  # noqa: E402

FLOATS = [torch.float32, torch.float64, torch.float16]


class Calls(nn.Module):
    """A forward pass that is one function, of its input and of constants."""

    def __init__(self, function, *rest):
        super().__init__()
        self.function, self.rest = function, rest

    def forward(self, x):
        return self.function(x, *self.rest)


def agree(function, x, *rest):
    """Assert that torch, on these values, and the account refuse the same, and else give one shape."""
    module = Calls(function, *rest)
    try:
        with torch.no_grad():
            theirs = module(x)
    except (RuntimeError, IndexError, ValueError, TypeError):
        with pytest.raises(ModuleError):
            summarise_module(module, x)
        return False
    theirs = theirs[0] if isinstance(theirs, tuple) else theirs
    assert summarise_module(module, x).output in (shape := tuple(theirs.shape), shape[1:])
    return True


def draw_shape(draw, n, low=1, high=5):
    return tuple(draw(st.lists(st.integers(low, high), min_size=n, max_size=n)))


@settings(deadline=None, max_examples=60)
@given(st.data(), st.sampled_from([1, 2, 3]), st.booleans())
def test_a_convolution_is_refused_where_torch_refuses_it(data, n, transposed):
    """Channels, groups, bias, kind of number, stride, padding, in one, two and three dimensions, transposed or not."""
    draw = data.draw
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    c = draw(st.sampled_from([2, 4, 6]))
    right = (c, draw(st.sampled_from([2, 4]))) if transposed else (draw(st.sampled_from([4, 6])), max(c // groups, 1))
    front = draw(st.sampled_from([right, right, (4, 2), (6, 4)]))
    filters = front[1] * groups if transposed else front[0]
    kinds = draw(st.sampled_from([[torch.float32] * 2] * 3 + [FLOATS[:2], FLOATS[1:], [torch.int64, torch.float32]]))
    x = torch.zeros((1, c, *draw_shape(draw, n, 2)), dtype=kinds[0])
    weight = torch.zeros((*front, *draw_shape(draw, n, 1, 3)), dtype=kinds[1])
    size = draw(st.sampled_from([None, filters, filters, 5]))
    bias = None if size is None else torch.zeros(size, dtype=kinds[1])
    more = {
        "stride": draw(st.sampled_from([1, 2, 2, 0])),
        "padding": draw(st.sampled_from([0, 1, 1, -1])),
        "dilation": draw(st.sampled_from([1, 2])),
        "groups": groups,
    }
    if transposed:
        more["output_padding"] = draw(st.sampled_from([0, 0, 1, 2]))
    function = getattr(F, f"conv{'_transpose' * transposed}{n}d")
    agree(lambda x, w, b: function(x, w, b, **more), x, weight, bias)


@pytest.mark.parametrize(
    "module, input, where",
    [
        (nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(16, 4, 2)), (3, 9, 9), "1 (ConvTranspose2d)"),
        (nn.ConvTranspose1d(16, 4, 2), (3, 9), "forward (ConvTranspose1d)"),
        (nn.ConvTranspose3d(16, 4, 2), (3, 4, 4, 4), "forward (ConvTranspose3d)"),
        (nn.Sequential(nn.Softmax(3)), (3, 8), "0 (Softmax)"),
        (nn.Sequential(nn.Softmin(4)), (3, 8, 8), "0 (Softmin)"),
        (nn.Sequential(nn.GELU(), nn.Linear(8, 4, dtype=torch.float64)), torch.zeros(1, 8), "1 (Linear)"),
        (nn.Sequential(nn.BatchNorm2d(3, dtype=torch.float16)), torch.zeros(1, 3, 4, 4), "0 (BatchNorm2d)"),
        (nn.Sequential(nn.GroupNorm(1, 3, dtype=torch.float64)), torch.zeros(1, 3, 4, 4), "0 (GroupNorm)"),
    ],
)
def test_a_module_that_meta_kernels_accept_and_processors_refuse_is_named(module, input, where):
    x = input if isinstance(input, torch.Tensor) else torch.zeros(1, *input)
    with pytest.raises((RuntimeError, IndexError)):
        module.eval()(x)
    with pytest.raises(ModuleError) as caught:
        summarise_module(module, input)
    assert caught.value.where == where


def test_a_transposed_convolution_gets_the_channels_that_fit():
    with pytest.raises(ModuleError) as caught:
        summarise_module(nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(16, 4, 2)), (3, 9, 9))
    e = caught.value
    assert (e.what, e.hint) == ("in_channels=16, but 8×7×7 with 8 channels reaches it", "set in_channels=8")
    fits = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ConvTranspose2d(8, 4, 2))
    assert summarise_module(fits, (3, 9, 9)).output == (4, 8, 8)


AXES = st.integers(-4, 4)


@settings(deadline=None, max_examples=60)
@given(
    st.data(),
    st.sampled_from([F.softmax, F.log_softmax, F.softmin, torch.sort, torch.sum, torch.amax, torch.cumsum, F.glu]),
    AXES,
)
def test_an_axis_that_is_not_there_is_refused(data, function, axis):
    x = torch.zeros((1, *draw_shape(data.draw, data.draw(st.integers(0, 3)), 2, 4)))
    agree(lambda x: function(x, dim=axis), x)


@settings(deadline=None, max_examples=50)
@given(st.data(), st.sampled_from([torch.float32, torch.float16, torch.int64, torch.uint8]))
def test_whole_numbers_are_refused_by_what_computes_in_fractions(data, kind):
    names = "gelu silu mish softplus hardswish hardsigmoid elu celu leaky_relu relu selu logsigmoid hardshrink".split()
    function = data.draw(st.sampled_from([getattr(F, name) for name in names]))
    agree(function, torch.zeros((1, *draw_shape(data.draw, 3)), dtype=kind))


@pytest.mark.parametrize("function", [torch.sigmoid, torch.tanh, F.tanhshrink])
def test_a_sigmoid_of_whole_numbers_is_a_fraction(function):
    """So that the product behind it meets the kind of number that torch would hand on."""
    x = torch.zeros((1, 3, 4), dtype=torch.int64)
    assert agree(lambda x, w: function(x) @ w, x, torch.zeros(4, 2))
    assert not agree(lambda x, w: function(x) @ w, x, torch.zeros((4, 2), dtype=torch.int64))


@settings(deadline=None, max_examples=50)
@given(st.data(), st.sampled_from(["linear", "bilinear", "bicubic", "trilinear"]))
def test_upsampling_to_nothing_is_refused(data, mode):
    axes = {"linear": 1, "trilinear": 3}.get(mode, 2)
    scale = data.draw(st.sampled_from([2, 0.5, 0.1]))
    x = torch.zeros((1, *draw_shape(data.draw, axes + 1)))
    agree(lambda x: F.interpolate(x, scale_factor=scale, mode=mode), x)


@settings(deadline=None, max_examples=60)
@given(
    st.data(),
    st.sampled_from("linear matmul bmm addmm layer_norm batch_norm group_norm cat add_ mul_".split()),
)
def test_operands_of_other_sizes_or_kinds_are_refused_as_torch_does(data, name):
    draw = data.draw
    kinds = [draw(st.sampled_from([torch.float32, torch.float32, *FLOATS])) for _ in range(2)]
    a, b, c = (draw(st.sampled_from([2, 3])) for _ in range(3))
    x, y = torch.zeros((1, a, b), dtype=kinds[0]), torch.zeros((1, c, a), dtype=kinds[1])
    v, w = torch.zeros(b, dtype=kinds[1]), torch.zeros(c, dtype=kinds[1])
    function, rest = {
        "linear": (F.linear, (y[0], w)),
        "matmul": (torch.matmul, (y,)),
        "bmm": (torch.bmm, (y,)),
        "addmm": (lambda x, y, w: torch.addmm(w, x[0], y[0]), (y, w)),
        "layer_norm": (lambda x, v, w: F.layer_norm(x, (b,), v, w), (v, w)),
        "batch_norm": (F.batch_norm, (torch.zeros(a, dtype=kinds[1]), torch.ones(a, dtype=kinds[1]))),
        "group_norm": (lambda x, w: F.group_norm(x, 1, w, w), (w,)),
        "cat": (lambda x, y: torch.cat([x, y], c - 1), (y,)),
        "add_": (lambda x, v: x.clone().add_(v), (v,)),
        "mul_": (lambda x, v: x.long().mul_(v), (v,)),
    }[name]
    agree(function, x, *rest)


@pytest.mark.parametrize("kind, gates", [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
@pytest.mark.parametrize("layers, both", [(1, False), (2, False), (2, True)])
def test_a_recurrence_has_the_shape_of_torchs_and_a_product_a_weight_and_step(kind, gates, layers, both):
    module = kind(8, 5, layers, batch_first=True, bidirectional=both)
    s = summarise_module(module, (7, 8))
    assert s.output == module(torch.zeros(1, 7, 8))[0].shape[1:]
    matrices = [p.numel() for p in module.parameters() if p.ndim == 2]
    assert matrices[0] == gates * 5 * 8
    assert (s.macs, s.uncounted) == (7 * sum(matrices), ())
    assert s.params == s.rows[0].params == sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("kind", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_a_recurrent_cell_is_counted_whole(kind):
    s = summarise_module(kind(8, 5), (8,))
    assert (s.output, s.macs, s.uncounted) == ((5,), s.params - 2 * s.params // 15, ())


def test_a_recurrence_that_does_not_fit_is_refused_in_torchs_words():
    with pytest.raises(ModuleError, match=r"Expected 8, got 6"):
        summarise_module(nn.LSTM(8, 5, batch_first=True), (7, 6))


class Packing(nn.Module):
    """A recurrence over a padded sequence of which `lengths` says how much is there."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(8, 5, batch_first=True)

    def forward(self, x, lengths):
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        return nn.utils.rnn.pad_packed_sequence(self.lstm(packed)[0], batch_first=True)[0]


def test_a_packed_sequence_takes_the_steps_that_are_there():
    s = summarise_module(Packing(), {"x": (7, 8), "lengths": torch.tensor([5])})
    assert (s.output, s.macs) == ((5, 5), 5 * (20 * 8 + 20 * 5))
    for lengths in ([9], [0]):
        with pytest.raises(RuntimeError):
            Packing()(torch.zeros(1, 7, 8), torch.tensor(lengths))
        with pytest.raises(ModuleError):
            summarise_module(Packing(), {"x": (7, 8), "lengths": torch.tensor(lengths)})


class Marked(nn.Module):
    """A mask that begins as known zeros, and is then written over with what an image says."""

    def forward(self, x):
        mask = torch.zeros(4)
        view = mask[1:]
        view.copy_(x[0, 0, :3] > 0)
        return x if mask.sum() > 0 else -x


class Filled(nn.Module):
    """The same, written by a function that is told where to."""

    def forward(self, x):
        mask = torch.zeros(3)
        torch.add(x[0, 0, :3], 1, out=mask)
        return x if mask.sum() > 0 else -x


@pytest.mark.parametrize("module", [Marked(), Filled()])
def test_what_is_written_from_an_image_is_not_taken_for_known(module):
    with pytest.raises(ModuleError, match="asks for a value"):
        summarise_module(module, (3, 4))


def test_the_products_in_a_spectral_norm_are_counted_as_those_of_a_matrix_and_two_vectors():
    module = nn.utils.parametrizations.spectral_norm(nn.Conv2d(3, 8, 3))
    s = summarise_module(module, (3, 8, 8))
    assert (s.macs, s.uncounted) == (8 * 27 * 36 + 8 * 27 + 8, ())
