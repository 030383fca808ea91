"""Quantised modules have the parameters and MACs of the float ones that they were made of."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

import torch.ao.quantization as quantization  # noqa: E402
from torch import nn  # noqa: E402
from torch.ao.quantization import quantize_fx  # noqa: E402

from striate.summaries.module_summary import ModuleError, summarise_module  # noqa: E402

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.skipif("fbgemm" not in torch.backends.quantized.supported_engines, reason="no 8-bit kernels here"),
]


def build_plain(groups: int = 1) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=groups), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 5),
    ).eval()  # fmt: skip


def quantise_static(module: nn.Module) -> nn.Module:
    module = nn.Sequential(quantization.QuantStub(), *module, quantization.DeQuantStub()).eval()
    module.qconfig = quantization.get_default_qconfig("fbgemm")
    prepared = quantization.prepare(module)
    prepared(torch.rand(2, 3, 9, 9))
    return quantization.convert(prepared)


def quantise_by_graph(module: nn.Module) -> nn.Module:
    x = torch.rand(2, 3, 9, 9)
    prepared = quantize_fx.prepare_fx(module, quantization.get_default_qconfig_mapping("fbgemm"), (x,))
    prepared(x)
    return quantize_fx.convert_fx(prepared)


@pytest.mark.parametrize("quantise", [quantise_static, quantise_by_graph])
@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("input", [(3, 9, 9), (4, 3, 9, 9), torch.zeros(4, 3, 9, 9)], ids=["shape", "batch", "tensor"])
def test_a_quantised_network_has_the_account_of_the_float_one(quantise, groups, input):
    plain = summarise_module(build_plain(groups), (3, 9, 9))
    s = summarise_module(quantise(build_plain(groups)), input)
    assert (s.macs, s.params, s.frozen, s.output) == (plain.macs, plain.params, plain.params, plain.output)
    assert s.uncounted == s.unreached == ()
    assert sum(row.alone.params for row in s.rows) == s.params


@pytest.mark.parametrize(
    "module, shape",
    [
        (nn.Linear(8, 5), (8,)),
        (nn.LSTM(8, 5, 2, batch_first=True, bidirectional=True), (7, 8)),
        (nn.GRU(8, 5, batch_first=True), (7, 8)),
        (nn.LSTMCell(8, 5), (8,)),
        (nn.GRUCell(8, 5), (8,)),
        (nn.RNNCell(8, 5), (8,)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_a_module_with_8_bit_weights_alone_has_the_account_of_the_float_one(module, shape):
    kinds = {nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell, nn.RNNCell}
    s = summarise_module(quantization.quantize_dynamic(nn.Sequential(module), kinds), shape)
    plain = summarise_module(module, shape)
    assert (s.macs, s.params, s.output, s.uncounted) == (plain.macs, plain.params, plain.output, ())


def test_a_network_that_is_trained_for_8_bits_is_counted_and_its_observers_are_as_before():
    module = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).train()
    module.qconfig = quantization.get_default_qat_qconfig("fbgemm")
    module = quantization.prepare_qat(quantization.fuse_modules_qat(module, [["0", "1", "2"]]))
    before = {key: value.clone() for key, value in module.state_dict().items()}
    s = summarise_module(module, (3, 9, 9))
    assert (s.macs, s.params, s.uncounted) == (8 * 27 * 49, sum(p.numel() for p in module.parameters()), ())
    after = module.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_a_quantised_layer_that_does_not_fit_gets_the_number_that_does():
    with pytest.raises(ModuleError) as caught:
        summarise_module(quantise_static(build_plain()), (4, 9, 9))
    e = caught.value
    assert (e.where, e.what) == ("1 (Conv2d)", "in_channels=3, but 4×9×9 with 4 channels reaches it")
