"""What an account takes as input: shapes, batches, several arguments, by place or by name; and what is no module."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import striate
from striate.errors import NetError

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from striate.summaries.module_summary import ModuleError, summarise_module  # noqa: E402


def small() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 9, 4)
    )


@settings(deadline=None)
@given(st.integers(1, 16), st.sampled_from(["cpu", "meta"]))
def test_a_batch_gives_the_account_of_one_image(n, device):
    s, one = summarise_module(small(), torch.empty(n, 3, 8, 8, device=device)), summarise_module(small(), (3, 8, 8))
    assert s.rows == one.rows and (s.title, s.macs, s.params) == (one.title, one.macs, one.params)
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        small().eval()(torch.empty(n, 3, 8, 8))
    assert n * s.flops == flops.get_total_flops()
    assert (s.images, "images came" in str(s)) == (n, n > 1)
    assert s.as_dict()["images"] == n


class Scaled(nn.Module):
    """Takes an image, a number for each image, and a table that has nothing to do with the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)

    def forward(self, x, scale, table):
        return self.conv(x * scale[:, None, None, None]).flatten(1) @ table


def test_only_what_has_the_batch_is_cut():
    x, scale, table = torch.zeros(8, 3, 5, 5), torch.ones(8), torch.zeros(54, 2)
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        Scaled()(x, scale, table)
    s = summarise_module(Scaled(), [x, scale, table])
    assert (8 * s.flops, s.output) == (flops.get_total_flops(), (2,))


@pytest.mark.parametrize(
    "module, shape",
    [
        (nn.Conv1d(3, 4, 3), (3, 9)),
        (nn.Conv2d(3, 4, 3), (3, 9, 9)),
        (nn.Conv3d(3, 4, 3), (3, 5, 9, 9)),
        (small(), (3, 8, 8)),
    ],
    ids=["1d", "2d", "3d", "net"],
)
@pytest.mark.parametrize("n", [1, 8])
def test_a_shape_with_its_batch_is_read_as_torchinfo_reads_it(module, shape, n):
    with_batch, without = summarise_module(module, (n, *shape)), summarise_module(module, shape)
    assert with_batch.rows == without.rows and with_batch.title == without.title
    assert (with_batch.images, without.images) == (n, None)


def test_a_shape_that_fits_as_one_image_is_one_image():
    """A volume of one channel looks like a batch of one, and is none."""
    assert summarise_module(nn.Conv3d(1, 4, 3), (1, 8, 9, 9)).output == (4, 6, 7, 7)


def test_where_a_shape_fits_neither_way_the_failure_that_says_more_is_raised():
    with pytest.raises(ModuleError) as caught:
        summarise_module(nn.Conv2d(1, 4, 3), (8, 3, 32, 32))
    assert caught.value.what == "in_channels=1, but 3×32×32 with 3 channels reaches it"
    with pytest.raises(ModuleError) as caught:
        summarise_module(small(), (8, 3, 9, 17))
    assert caught.value.where == "5 (Linear)" and len(caught.value.summary.rows) == 5
    with pytest.raises(ModuleError) as caught:
        summarise_module(nn.Conv2d(3, 4, 3), (1, 1, 3, 32, 32))
    assert caught.value.what == "it takes a map C×H×W, but 1×1×3×32×32 reaches it"
    assert caught.value.hint == "give the shape of one image, C×H×W, or a tensor with its batch, N×C×H×W"


@pytest.mark.parametrize("input", [(3, 32, 32), torch.zeros(8, 32, 32)])
def test_a_batch_whose_first_image_alone_would_pass_for_an_image_without_a_batch_is_refused(input):
    """One channel of 32×32 is an image to torch, and three or eight of them are none, and no batch either."""
    module = nn.Conv2d(1, 4, 3)
    with pytest.raises(RuntimeError):
        module(torch.zeros(8, 32, 32))
    with pytest.raises(ModuleError) as caught:
        summarise_module(module, input)
    assert ("in_channels=1, but 3×32×32 with 3 channels" in caught.value.what) == (input == (3, 32, 32))


def test_the_account_is_the_same_in_inference_mode_under_autocast_and_with_another_device():
    plain = summarise_module(small(), (3, 8, 8))
    for mode in (torch.inference_mode(), torch.autocast("cpu", dtype=torch.bfloat16), torch.device("meta")):
        with mode:
            assert summarise_module(small(), (3, 8, 8)) == plain


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64, torch.complex64])
def test_a_shape_stands_for_numbers_of_the_modules_kind(kind):
    module = nn.Sequential(nn.Linear(8, 5, dtype=kind), nn.Linear(5, 2, dtype=kind))
    assert module(torch.zeros(1, 8, dtype=kind)).dtype is kind
    s = summarise_module(module, (8,))
    assert (s.macs, s.params) == (50, sum(p.numel() for p in module.parameters()))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_networks_of_other_precision_have_the_account_of_the_same_in_32_bits(kind):
    assert summarise_module(small().to(kind), (3, 8, 8)).rows == summarise_module(small(), (3, 8, 8)).rows


class Stored(nn.Module):
    """Weights of 8 bits, which the forward pass turns into numbers to compute in."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(4, 8).to(torch.float8_e4m3fn), requires_grad=False)

    def forward(self, x):
        return x @ self.weight.to(x.dtype).T


def test_weights_that_are_only_stored_in_8_bits_do_not_set_the_inputs_kind():
    assert Stored()(torch.zeros(1, 8)).shape == (1, 4)
    assert (summarise_module(Stored(), (8,)).macs, summarise_module(Stored(), (8,)).frozen) == (32, 32)


class Named(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 5)

    def forward(self, x, mask=None, *, scale=None, twice=False):
        y = self.fc(x if mask is None else x * mask)
        y = y if scale is None else y * scale
        return self.fc.weight @ y.T if twice is None else y


@pytest.mark.parametrize(
    "args, named",
    [
        ([{"x": (8,)}], {}),
        ([{"x": (8,), "mask": (8,)}], {}),
        ([{"x": torch.zeros(4, 8), "mask": torch.zeros(4, 8)}], {}),
        ([(8,)], {"mask": (8,), "twice": True}),
        ([[(8,), None]], {"scale": (1,)}),
        ([], {"x": (8,)}),
    ],
)
def test_arguments_are_given_by_place_or_by_name(args, named):
    s = striate.summary(Named(), *args, **named)
    assert (s.output, s.macs) == ((5,), 40)


def test_a_name_that_forward_does_not_take_gets_the_nearest():
    for given_, near in (({"maks": (8,)}, "mask"), ({"input_size": (8,)}, "input")):
        with pytest.raises(NetError) as caught:
            striate.summary(Named(), (8,), **given_)
        assert caught.value.hint == f"did you mean '{near}'?"
    with pytest.raises(NetError) as caught:
        striate.summary("lenet5", input_size=(1, 32, 32))
    assert (caught.value.where, caught.value.hint) == ("input_size", "did you mean 'input'?")
    assert striate.summary("lenet5", input=(1, 32, 32)).params == 61706


class Detector(nn.Module):
    """Takes one dict, or one list of images of different sizes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, batch):
        images = batch["images"] if isinstance(batch, dict) else batch
        return [self.conv(image) for image in images]


def test_a_dict_or_a_list_can_be_the_one_argument():
    for input in ({"images": [(3, 8, 8), (3, 5, 5)]}, [[(3, 8, 8), (3, 5, 5)]]):
        s = summarise_module(Detector(), input)
        assert s.macs == 4 * 27 * (36 + 9)
        assert s.title == "Detector  3×8×8 and 3×5×5 → 4×6×6"


def test_hugging_faces_manner_of_calling_with_an_open_list_of_names():
    class Open(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 5)

        def forward(self, **named):
            return {"logits": self.fc(named["pixel_values"])}

    assert summarise_module(Open(), {"pixel_values": (8,)}).output == (5,)


@pytest.mark.parametrize(
    "input", ["3x32x32", (0, 3, 3), (), [], (3, -8, 8), (3, 8.0, 8), torch.zeros(0, 8), [None], {}, object()]
)
def test_what_is_no_input_is_refused_with_what_is_one(input):
    with pytest.raises(NetError) as caught:
        summarise_module(nn.Linear(8, 1), input)
    assert caught.value.where == "input"


def test_a_packed_sequence_is_refused_with_what_to_give():
    packed = nn.utils.rnn.pack_padded_sequence(torch.zeros(7, 1, 8), [7])
    with pytest.raises(NetError, match="no one image"):
        summarise_module(nn.LSTM(8, 5), packed)


def test_an_embedding_asks_for_whole_numbers_with_a_tensor_that_works():
    with pytest.raises(ModuleError) as caught:
        summarise_module(nn.Embedding(10, 4), (7,))
    assert caught.value.hint == "give whole numbers, as a tensor with its batch: torch.zeros(1, 7, dtype=torch.long)"
    assert summarise_module(nn.Embedding(10, 4), torch.zeros(1, 7, dtype=torch.long)).output == (7, 4)


@pytest.mark.parametrize("input", [(28, 28, 1), (1, 28, 28, 1), torch.zeros(8, 28, 28, 1)])
def test_channels_that_come_last_are_named_as_such(input):
    module = nn.Conv2d(1, 4, 3)
    with pytest.raises(ModuleError) as caught:
        summarise_module(module, input)
    assert caught.value.hint == "channels come first here: did you mean 1×28×28?"
    assert summarise_module(module, (1, 28, 28)).output == (4, 26, 26)


@pytest.mark.parametrize(
    "thing, got, hint",
    [
        (lambda x: x, "function", "call it in the forward of a torch.nn.Module, and give that"),
        (nn.Conv2d, "Conv2d", "make one of it: Conv2d(…)"),
        (None, "NoneType", None),
        (3, "int", None),
        ([nn.ReLU()], "list", None),
        (torch.zeros(3), "Tensor", None),
    ],
)
def test_what_is_no_module_is_refused_by_its_kind(thing, got, hint):
    with pytest.raises(NetError) as caught:
        striate.summary(thing, (3, 8, 8))
    assert (caught.value.got, caught.value.hint) == (got, hint)


def test_a_module_that_was_never_initialised_is_named():
    class Bare(nn.Module):
        def __init__(self) -> None:
            self.sides = 3

    with pytest.raises(NetError, match="never initialised") as caught:
        striate.summary(Bare(), (3, 8, 8))
    assert caught.value.hint == "call super().__init__() first in its __init__"


class Hiding(nn.Module):
    """Attributes under the names of torch's own methods."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.__dict__[name] = [1, 2]
        self.conv.__dict__[name] = {}

    def forward(self, x):
        return self.conv(x)


METHODS = "modules named_modules children parameters named_parameters buffers named_buffers register_forward_hook train"


@pytest.mark.parametrize("name", METHODS.split())
def test_an_attribute_may_have_the_name_of_a_method(name):
    s = summarise_module(Hiding(name), (3, 8, 8))
    assert (s.params, s.macs, s.buffers) == (4 * 27 + 4 + 8, 4 * 27 * 36, 9)
