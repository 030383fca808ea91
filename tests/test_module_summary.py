"""The account of foreign modules against torch's FLOP counter; the modules are as before, whatever happens."""

from __future__ import annotations

import copy
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.architecture import layers as L
from striate.errors import NetError
from striate.summaries.summary import summarise_net

from .oracles import torchvision
from .random_nets import nets

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from striate.summaries.module_operations import (  # noqa: E402
    infer_concatenation,
    infer_convolution,
    infer_elementwise,
    infer_layer_norm,
    list_tensors,
)
from striate.summaries.module_records import find_record  # noqa: E402
from striate.summaries.module_summary import ModuleError, summarise_module  # noqa: E402

FOREIGN = ["resnet18", "googlenet", "densenet121", "mobilenet_v3_small", "convnext_tiny", "swin_t", "vit_b_16"]


def foreign(name: str) -> nn.Module:
    """torchvision's network, without weights."""
    options = {"init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        return getattr(torchvision().models, name)(**options)


@pytest.mark.parametrize("name", FOREIGN)
def test_parameters_and_macs_of_torchvisions_networks_are_torchs(name):
    """Branches, dense blocks, gates, windowed attention with rolled maps, products inside a `forward`."""
    module = foreign(name)
    s = summarise_module(module)
    assert s.params == sum(p.numel() for p in module.parameters())
    assert s.buffers == sum(b.numel() for b in module.buffers())
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        module.eval()(torch.empty(1, 3, 224, 224, device="meta"))
    assert s.flops == 2 * s.macs == flops.get_total_flops()
    assert s.uncounted == ()
    assert s.output == (1000,)


@pytest.mark.parametrize("name", FOREIGN)
def test_every_parameter_is_in_one_row_or_named_as_not_reached(name):
    s = summarise_module(foreign(name))
    unreached = sum(int(text.split()[-2].replace(",", "")) for text in s.unreached)
    assert sum(row.alone.params for row in s.rows) + unreached == s.params
    assert sum(row.alone.macs for row in s.rows) == s.macs
    assert [text.split(" (")[0] for text in s.unreached] == (["aux1", "aux2"] if name == "googlenet" else [])


@settings(deadline=None, max_examples=60)
@given(nets())
def test_our_own_network_as_a_foreign_module_has_the_numbers_of_its_record(net):
    from striate.engines.torch import build_network

    record, module = summarise_net(net), summarise_module(build_network(net), net.input)
    side = sum(row.params for row in record.leaves if row.side)
    assert (module.params, module.macs, module.output) == (record.params, record.macs, net.output)
    assert sum(row.alone.params for row in module.rows) == record.params - side
    for row in record.rows:
        if not row.side:
            assert module.row(row.path).y[-3:] == row.y


def test_the_rules_are_those_of_the_record():
    s = summarise_module(nn.Sequential(nn.Conv2d(3, 6, 5), nn.BatchNorm2d(6), nn.MaxPool2d(3, 2, 1)), (3, 32, 32))
    assert [row.label for row in s.rows] == ["Conv 6@5×5", "BatchNorm", "MaxPool 3×3 /2 pad 1"]
    assert [row.size_rule for row in s.rows] == ["(32 + 2·0 − 5)/1 + 1 = 28", "", "⌊(28 + 2·1 − 3)/2⌋ + 1 = 14"]
    assert [row.params_rule for row in s.rows] == ["(5·5·3 + 1)·6 = 456", "2·6 = 12", ""]


class Shared(nn.Module):
    """One layer called twice, under two names; a frozen one; a parameter of its own; one that is never called."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(8, 8)
        self.second = self.first
        self.frozen = nn.Linear(8, 4).requires_grad_(False)
        self.scale = nn.Parameter(torch.ones(4))
        self.spare = nn.Linear(3, 3)
        self.register_buffer("seen", torch.zeros(5))

    def forward(self, x):
        return self.frozen(self.second(self.first(x))) * self.scale @ self.scale


def test_a_shared_layer_is_counted_once_and_worked_twice():
    s = summarise_module(Shared(), (8,))
    assert (s.trainable, s.frozen, s.buffers) == (72 + 4 + 12, 36, 5)
    assert s.macs == 64 + 64 + 32 + 4
    assert [row.label for row in s.rows if row.depth] == ["Dense 8", "Dense 8, again", "Dense 4"]
    assert s.unreached == ("spare (Linear, 12 parameters)",)
    text = str(s)
    for line in ("trainable    88 parameters", "frozen       36 parameters", "not reached  spare"):
        assert line in text


@given(
    st.recursive(
        st.none() | st.integers() | st.builds(torch.empty, st.lists(st.integers(1, 3), max_size=3)),
        lambda part: (
            st.lists(part, max_size=3)
            | st.tuples(part, part)
            | st.dictionaries(st.sampled_from(["loss", "logits", "aux"]), part)
        ),
        max_leaves=6,
    )
)
def test_the_tensors_within_lists_tuples_and_dicts_are_those_of_torchs_tree(value):
    theirs = [leaf for leaf in torch.utils._pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]
    ours = list_tensors(value)
    assert len(ours) == len(theirs) and all(a is b for a, b in zip(ours, theirs, strict=True))


def on_meta(shape: tuple[int, ...], kind: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, device="meta", dtype=kind)


@given(st.lists(st.sampled_from([(2, 3), (1, 3), (2, 1), (3, 3), (3,)]), min_size=1, max_size=3), st.integers(-2, 1))
def test_the_shape_of_a_concatenation_is_torchs_or_left_to_torch(shapes, axis):
    tensors = [on_meta(shape) for shape in shapes]
    for given_axis in ((), (axis,)):
        try:
            theirs = tuple(torch.cat(tensors, *given_axis).shape)
        except (RuntimeError, IndexError):
            theirs = None
        if theirs is None and any(len(shape) == 1 for shape in shapes) and axis not in (-1, 0):
            continue  # an axis that a vector lacks: torch names it, and is asked
        ours = infer_concatenation(tensors, *given_axis)
        assert ours is None or tuple(ours.shape) == theirs
        assert ours is not None or theirs is None


@given(
    st.tuples(st.integers(1, 2), st.sampled_from([2, 4]), st.integers(1, 7), st.integers(1, 7)),
    st.tuples(st.sampled_from([2, 4]), st.sampled_from([1, 2, 4]), st.integers(1, 3), st.integers(1, 3)),
    st.integers(1, 3),
    st.integers(0, 2),
    st.integers(1, 2),
    st.sampled_from([1, 2]),
)
def test_the_shape_of_a_convolution_is_torchs_or_left_to_torch(x, weight, stride, pad, dilation, groups):
    try:
        theirs = nn.functional.conv2d(on_meta(x), on_meta(weight), None, stride, pad, dilation, groups).shape
    except RuntimeError:
        theirs = None
    for n in (1, 2):  # torch hands on one number for all axes, or one for each
        args = ([stride] * 2, [pad] * n, [dilation] * n, False, [0] * n, groups)
        ours = infer_convolution(on_meta(x), on_meta(weight), None, *args)
        assert (ours is None) if theirs is None else ours is not None and ours.shape == theirs
        assert infer_convolution(on_meta(x), on_meta(weight), None, *args[:3], True, [0] * n, groups) is None


@given(st.sampled_from([(2, 3), (1, 3), (3,), (2, 1, 3)]), st.sampled_from([(3,), (2, 3), (1, 3), (2,)]))
def test_the_shapes_of_a_layer_norm_and_its_statistics_are_torchs_or_left_to_torch(x, over):
    try:
        theirs = torch.native_layer_norm(on_meta(x), list(over), None, None, 1e-5)
    except RuntimeError:
        theirs = None
    ours = infer_layer_norm(on_meta(x), list(over), None, None, 1e-5)
    assert (ours is None) == (theirs is None)
    assert ours is None or [t.shape for t in ours] == [t.shape for t in theirs]


def test_a_sum_is_known_of_two_tensors_of_one_shape_and_kind_and_else_left_to_torch():
    x = on_meta((2, 3))
    assert infer_elementwise(x, on_meta((2, 3))).shape == (2, 3)
    for other in (on_meta((2, 1)), on_meta((2, 3), torch.float64), 2.0):
        assert infer_elementwise(x, other) is None


@pytest.mark.parametrize(
    "module, record",
    [
        (nn.Conv2d(4, 6, (3, 5), 2, (1, 1), 2, 2, False), L.Conv(6, (3, 5), 2, 1, 2, 2, False)),
        (nn.MaxPool2d(3), L.MaxPool(3, padding=0)),
        (nn.MaxPool2d(3, 2, 1, 2, ceil_mode=True), L.MaxPool(3, 2, padding=1, dilation=2, ceil=True)),
        (nn.AvgPool2d(3), L.AvgPool(3, padding=0, count_padding=True)),
        (nn.AvgPool2d(3, 2, 1, True, False), L.AvgPool(3, 2, padding=1, ceil=True, count_padding=False)),
        (nn.AdaptiveAvgPool2d(1), L.GlobalAvgPool(keepdims=True)),
        (nn.AdaptiveAvgPool2d((1, 1)), L.GlobalAvgPool(keepdims=True)),
        (nn.AdaptiveAvgPool2d((1, 2)), None),
        (nn.Flatten(), L.Flatten()),
        (nn.Flatten(0), None),
        (nn.Flatten(1, 2), None),
        (nn.BatchNorm2d(4), L.BatchNorm()),
        (nn.BatchNorm2d(4, 1e-3, 0.01, affine=False), L.BatchNorm(1e-3, 0.01, False)),
        (nn.BatchNorm2d(4, momentum=None), None),
        (nn.Linear(4, 6, bias=False), L.Dense(6, False)),
        (nn.LocalResponseNorm(3, 0.5, 0.6, 2.0), L.LocalResponseNorm(3, 0.5, 0.6, 2.0)),
        (nn.Dropout(0.3), L.Dropout(0.3)),
        (nn.LeakyReLU(0.3), L.LeakyReLU(0.3)),
        (nn.ELU(0.7), L.ELU(0.7)),
        (nn.GELU(), L.GELU()),
        (nn.GELU("tanh"), None),
    ],
    ids=lambda value: str(value) if isinstance(value, nn.Module) else "",
)
def test_a_torch_module_has_the_record_with_its_settings_or_none(module, record):
    assert find_record(module) == record


class Named(nn.Module):
    """Its output is a dict, of `depth` lists around the tensor."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.fc, self.depth = nn.Linear(8, 5), depth

    def forward(self, x):
        y = {"logits": self.fc(x)}
        for _ in range(self.depth):
            y = [y]
        return y


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_an_output_that_is_a_dict_has_the_shape_of_its_first_tensor(depth):
    s = summarise_module(nn.Sequential(Named(depth)), (8,))
    assert s.output == s.row("0").y == (5,)


class Tied(nn.Module):
    """An embedding whose weight is the last layer's too, as language models have it, and a buffer under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.norm, self.out = nn.Linear(8, 6, bias=False), nn.BatchNorm1d(6), nn.Linear(6, 8)
        self.out.weight = nn.Parameter(torch.empty(8, 6))
        self.other = nn.Linear(6, 8)
        self.other.weight = self.out.weight
        self.again = nn.BatchNorm1d(6)
        self.again.running_mean = self.norm.running_mean

    def forward(self, x):
        x = self.again(self.norm(self.into(x)))
        return self.out(x) + self.other(x)


def test_tied_tensors_are_counted_in_the_first_row_that_has_them():
    module = Tied()
    s = summarise_module(module, (8,))
    assert s.params == sum(p.numel() for p in module.parameters()) == 48 + 12 + 12 + 48 + 8 + 8
    assert s.buffers == sum(b.numel() for b in module.buffers()) == 13 + 7
    assert sum(row.params for row in s.rows) == s.params and sum(row.buffers for row in s.rows) == s.buffers
    assert (s.row("out").params, s.row("other").params) == (56, 8)
    assert (s.row("norm").buffers, s.row("again").buffers) == (13, 7)
    assert s.macs == 3 * 48 and not s.row("other").again


def test_patches_folded_into_a_map_are_sums_and_have_no_product():
    """As VOLO's attention folds them."""
    s = summarise_module(nn.Sequential(nn.Unfold(2), nn.Fold((8, 8), 2)), (1, 8, 8))
    assert (s.macs, s.uncounted, s.output) == (0, (), (1, 8, 8))


class Spectral(nn.Module):
    def forward(self, x):
        return torch.fft.rfft2(x).abs()


def test_what_cannot_be_counted_is_listed_with_the_module_it_is_in():
    s = summarise_module(nn.Sequential(nn.Conv2d(1, 2, 3), Spectral()), (1, 8, 8))
    assert s.uncounted == ("aten._fft_r2c in 1 (Spectral)",)
    assert "not counted  aten._fft_r2c in 1 (Spectral)" in str(s)


def test_a_transposed_convolution_and_a_depthwise_one_count_as_torch_counts_them():
    module = nn.Sequential(
        nn.Conv2d(4, 8, 3, groups=4, dilation=2), nn.ConvTranspose2d(8, 6, 3, stride=2, groups=2), nn.Conv2d(6, 2, 1)
    )
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        module(torch.zeros(1, 4, 9, 9))
    assert 2 * summarise_module(module, (4, 9, 9)).macs == flops.get_total_flops()


class Restless(nn.Module):
    """Changes all that a forward pass can change: buffers in place and anew, attributes, lists, training flags."""

    def __init__(self, fails: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.fc = nn.Linear(72 if not fails else 70, 3)
        self.register_buffer("calls", torch.zeros(1))
        self.register_buffer("level", torch.zeros(2))
        self.plain = torch.zeros(3)
        self.seen, self.last, self.fails = [], None, fails
        self.norm.eval()
        self.fc.register_forward_hook(lambda module, args, output: output + 1)

    def forward(self, x):
        self.calls += 1
        self.level = self.level * 0.9 + 1
        self.plain += 1
        self.norm.train()
        x = self.norm(self.conv(x))
        self.seen.append(x)
        self.last = self.new = x
        self.extra = nn.Linear(1, 1)
        return self.fc(x.flatten(1))


def portrait(module: nn.Module) -> list:
    """All of a module that could have been touched, as comparable data."""
    found = []
    for path, child in module.named_modules():
        state = {}
        for key, value in child.__dict__.items():
            if isinstance(value, torch.Tensor):
                value = ("tensor", id(value), value.device.type, value.tolist())
            elif isinstance(value, dict):
                value = [(k, id(v), v.tolist() if isinstance(v, torch.Tensor) else None) for k, v in value.items()]
            elif isinstance(value, list):
                value = [id(v) for v in value]
            state[key] = copy.copy(value)
        found.append((path, id(child), state, child.training, child.forward.__func__))
    return found


@pytest.mark.parametrize("fails", [False, True])
def test_the_module_is_untouched_on_success_and_on_failure(fails):
    module = Restless(fails)
    everywhere = (
        dict(nn.modules.module._global_forward_hooks),
        dict(nn.modules.module._global_forward_pre_hooks),
        torch.is_grad_enabled(),
    )
    before = portrait(module)
    if fails:
        with pytest.raises(ModuleError, match="set in_features=72"):
            summarise_module(module, (1, 8, 8))
    else:
        assert summarise_module(module, (1, 8, 8)).macs == 9 * 2 * 36 + 72 * 3
    assert portrait(module) == before
    assert everywhere == (
        dict(nn.modules.module._global_forward_hooks),
        dict(nn.modules.module._global_forward_pre_hooks),
        torch.is_grad_enabled(),
    )


class LeNet(nn.Module):
    def __init__(self, features: int, channels: int = 6) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 6, 5)
        self.pool1 = nn.MaxPool2d(2)
        self.conv2 = nn.Conv2d(channels, 16, 5)
        self.pool2 = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(features, 120)

    def forward(self, x):
        x = self.pool1(self.conv1(x).relu())
        x = self.pool2(self.conv2(x).relu())
        return self.fc1(x.flatten(1))


def test_a_dense_layer_that_does_not_fit_gets_the_arithmetic_and_the_rows_before_it():
    with pytest.raises(ModuleError) as caught:
        summarise_module(LeNet(256), (3, 32, 32))
    text = str(caught.value)
    assert text.endswith(
        "fc1 (Linear): in_features=256, but the flattened input has 400 = 16·5·5 "
        "(from pool2: (10 + 2·0 − 2)/2 + 1 = 5)\n  hint  set in_features=400"
    )
    assert [row.path for row in caught.value.summary.rows] == ["conv1", "pool1", "conv2", "pool2"]
    assert "(5·5·3 + 1)·6 = 456" in text
    assert summarise_module(LeNet(400), (3, 32, 32)).output == (120,)


class Joined(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 3)

    def forward(self, x):
        return self.left(x) + self.right(x)


class Asking(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    "module, input, where, what, more",
    [
        (LeNet(400), (1, 32, 32), "conv1 (Conv2d)", "in_channels=3, but 1×32×32 with 1 channel reaches it",
         {"hint": "set in_channels=1"}),
        (LeNet(400, 3), (3, 32, 32), "conv2 (Conv2d)", "in_channels=3, but 6×14×14 with 6 channels reaches it",
         {"hint": "set in_channels=6"}),
        (LeNet(400), (3, 6, 6), "conv2 (Conv2d)", "a 5×5 window does not fit a 1×1 map",
         {"rule": "(1 + 2·0 − 5)/1 + 1 = -3, must be 1 or more", "hint": "kernel_size=1 fits"}),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(3)), (3, 8, 8), "1 (BatchNorm2d)",
         "num_features=3, but 4×6×6 with 4 channels reaches it", {"hint": "set num_features=4"}),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(144, 2)), (3, 8, 8), "1 (Linear)",
         "in_features=144, but a map 4×6×6 reaches it, of which it reads the last axis, 6",
         {"hint": "flatten it first, which gives 144 = 4·6·6 values"}),
        (nn.Sequential(nn.Linear(8, 5), nn.ReLU(), nn.Linear(4, 2)), (8,), "2 (Linear)",
         "in_features=4, but the input of 0 has 5 values", {"hint": "set in_features=5"}),
        (nn.Sequential(nn.LayerNorm(7)), (4, 8), "0 (LayerNorm)", "normalized_shape=[7], but 4×8 ends in 8",
         {"hint": "set normalized_shape=[8]"}),
        (Joined(), (3, 8, 8), "forward (Joined)", None, {"got": "add of 4×8×8 (from left) and 4×6×6 (from right)"}),
        (Asking(), (3, 8, 8), "forward (Asking)",
         "its forward pass asks for a value, and shapes alone have none (_local_scalar_dense)", {}),
    ],
)  # fmt: skip
def test_a_layer_that_fails_is_named_with_what_came_and_what_would_fit(module, input, where, what, more):
    with pytest.raises(ModuleError) as caught:
        summarise_module(module, input)
    e = caught.value
    assert e.where == where
    assert what is None or e.what == what
    assert more.items() <= e.as_dict().items()


def test_a_lazy_layer_and_an_input_that_is_no_shape_are_named():
    with pytest.raises(NetError, match="not known before the first forward pass"):
        summarise_module(nn.Sequential(nn.LazyLinear(3)), (8,))
    with pytest.raises(NetError, match="input must be the shape of one image"):
        summarise_module(nn.Linear(1, 1), "3x32x32")


def test_several_inputs_and_whole_tensors_can_be_given():
    bilinear = nn.Bilinear(3, 4, 5)
    assert summarise_module(bilinear, [(3,), (4,)]).output == (5,)
    words = nn.Sequential(nn.Embedding(10, 6), nn.Linear(6, 2))
    assert summarise_module(words, torch.zeros(1, 7, dtype=torch.long)).macs == 7 * 6 * 2


def test_resnet152_takes_under_a_third_of_a_second_and_ten_megabytes():
    module = foreign("resnet152")
    summarise_module(module)
    took = []
    for _ in range(3):
        began = time.process_time()
        s = summarise_module(module)
        took.append(time.process_time() - began)
    assert (s.params, s.macs) == (60_192_808, 11_513_626_624)
    assert min(took) < 0.3
    tracemalloc.start()
    try:
        summarise_module(module)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10 * 2**20
