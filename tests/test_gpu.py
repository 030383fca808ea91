"""On a GPU: the same answers as on the CPU, every ingredient of a recipe, a resumed run bit for bit, CUDA graphs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import striate
from striate.architecture.find import find_net
from striate.engines.torch import build_network
from striate.fitting.augment import augment_and_mix
from striate.fitting.loop import StopRequested, fit
from striate.fitting.recipe import AUGMENTATIONS
from striate.optimizers import OPTIMIZERS

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU here")

SMALL = (
    "Net((1, 8, 8), [Conv(8, 3, bias=False), BatchNorm(), ReLU(), Dropout(0.1), Conv(16, 3), ReLU(), GlobalAvgPool(), "
    "Dense(10)])"
)
NO_CHANCE = SMALL.replace("Dropout(0.1), ", "")  # dropout draws other numbers on a GPU


@pytest.fixture(autouse=True)
def exact(monkeypatch) -> None:
    """Products of float32 in float32, and not in TensorFloat-32."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


def prepare(folder, net=SMALL, **settings):
    return striate.prepare_run("digits", net, out=folder / "run", **{"epochs": 2, "compile": "no"} | settings)


@pytest.mark.parametrize("name", ["lenet5", "striate_m", "resnet18", "mobilenet_v2", "convnext_tiny", "googlenet"])
def test_a_net_answers_as_on_the_cpu(name):
    net = find_net(name) if name == "lenet5" else find_net(name, input=(3, 64, 64))
    network = build_network(net, seed=1).eval()
    x = torch.randn(4, *net.input, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        here = network(x)
        there = network.to("cuda", memory_format=torch.channels_last)(x.to("cuda")).cpu()
    assert torch.allclose(here, there, atol=1e-4 * float(here.abs().max()))


@pytest.mark.parametrize("name", [name for name in AUGMENTATIONS if name != "alternating-flip"])
@pytest.mark.parametrize("channels", [1, 3])
def test_an_augmentation_draws_and_changes_what_it_does_on_the_cpu(name, channels):
    x = torch.from_numpy(np.random.default_rng(3).integers(0, 256, (40, 30, 30, channels), np.uint8))
    y = torch.arange(40) % 10
    made = []
    for device in ("cpu", "cuda"):
        draw = torch.Generator().manual_seed(4)
        made.append(augment_and_mix(x.to(device), y.to(device), (name,), draw, 10))
    (here, labels), (there, moved) = made
    assert there.is_cuda and moved.is_cuda
    assert (here.float() - there.cpu().float()).abs().max() < 0.6  # of 255 levels: interpolation rounds otherwise
    assert torch.allclose(labels.float(), moved.cpu().float(), atol=1e-6)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_takes_the_steps_that_it_takes_on_the_cpu(name, tmp_path, monkeypatch):
    weights = []
    for device in ("cuda", "cpu"):
        monkeypatch.setattr(torch.cuda, "is_available", lambda device=device: device == "cuda")
        run, train, valid = prepare(
            tmp_path / device, NO_CHANCE, optimizer=name, precision="float32", epochs=1, batch=600
        )
        assert train.device.type == device
        list(fit(run, train, valid))
        weights.append({key: value.cpu() for key, value in run.network.state_dict().items()})
    for key, value in weights[0].items():
        off = (value - weights[1][key]).abs()
        # Where a gradient is next to nothing, a step that is divided by its size goes either way.
        assert (off < 2e-3).float().mean() > 0.98, key


@pytest.mark.parametrize(
    "settings",
    [
        {"precision": "float32"},
        {"precision": "bfloat16", "augment": "alternating-flip+shift"},
        {"optimizer": "muon", "lookahead": 2, "accumulate": 3, "augment": "affine+cutmix", "views": "flip"},
        {"optimizer": "adamw", "ema": 0.99, "whiten": True, "grow": 0.5, "balance": "sampling"},
        {"balance": "weights", "augment": "colour+cutout", "freeze": "conv1", "label_smoothing": 0.1},
    ],
)
def test_a_run_stopped_and_resumed_is_the_whole_run_bit_for_bit(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    whole, train, valid = prepare(tmp_path / "whole", **settings)
    assert train.x is not None and train.x.is_cuda  # resident
    list(fit(whole, train, valid))
    stopped, train, valid = prepare(tmp_path / "stopped", **settings)
    steps = iter([False] * 7)
    with pytest.raises(StopRequested):
        list(fit(stopped, train, valid, stop=lambda: next(steps, True)))
    resumed, train, valid = prepare(tmp_path / "stopped", resume=True, **settings)
    assert resumed.step == 8
    list(fit(resumed, train, valid))
    for key, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[key]), key
    ours, theirs = ([row.as_dict() | {"seconds": 0} for row in run.history] for run in (whole, resumed))
    assert ours == theirs


def test_the_step_is_in_bfloat16_and_channels_last_by_itself(tmp_path):
    run, train, valid = prepare(tmp_path, epochs=1)
    seen = []
    run.network.at("conv2").register_forward_hook(
        lambda module, inputs, y: seen.append((y.dtype, y.is_contiguous(memory_format=torch.channels_last)))
    )
    next(fit(run, train, valid))
    assert seen[0] == (torch.bfloat16, True)
    assert all(weight.dtype == torch.float32 for weight in run.network.parameters())


def test_by_itself_the_step_is_a_cuda_graph(tmp_path):
    from torch.profiler import ProfilerActivity, profile

    run, train, valid = prepare(tmp_path, compile="auto", epochs=4, batch=100)
    rows = fit(run, train, valid)
    first = [next(rows), next(rows)]
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        third = next(rows)
    assert sum(event.count for event in seen.key_averages() if event.key == "cudaGraphLaunch") >= 14
    assert third.loss < first[0].loss


def test_a_training_from_data_to_report(tmp_path):
    done = striate.train("digits", "lenet5", epochs=3, augment="affine", out=tmp_path / "run", compile="no")
    assert done.report.accuracy > 0.8
    assert done.expected is not None and done.held > 0
    model = striate.load(tmp_path / "run")
    digit = np.zeros((8, 8), np.uint8)
    assert model.predict(digit).label in model.classes
