"""Several classifiers as one net: what it says is the mean of what they say, in every engine and exported file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import striate
from striate import Preprocess
from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.engines.averaging import NetParts, average_nets
from striate.engines.torch import build_network, load_tensors
from striate.errors import NetError
from striate.summaries.summary import summarise_net

SHAPE = (3, 8, 8)
TRUNK = [L.Conv(16, 3, padding="same"), L.ReLU(), L.MaxPool(2), L.Conv(16, 3, padding="same"), L.Flatten()]


def make_model(seed: int, mean: float, softmax: bool = False, layers: list = TRUNK, side: int = 8) -> striate.Model:
    net = Net((3, side, side), [*layers, L.Dense(4), *([L.Softmax()] if softmax else [])])
    tensors = {name: tensor.numpy() for name, tensor in net.torch(seed).state_dict().items()}
    pre = Preprocess((side, side), "pad", mean=(mean,) * 3, std=(0.2 + mean / 5, 0.25, 0.3))
    return striate.Model(net, tensors, classes=list("abcd"), preprocess=pre)


def average(models: list[striate.Model]) -> striate.Model:
    made = average_nets([NetParts(one.net, one.tensors, one.preprocess) for one in models])
    return striate.Model(made.net, made.tensors, classes=models[0].classes, preprocess=made.preprocess)


PICTURES = np.random.default_rng(3).integers(0, 256, (6, 8, 8, 3), np.uint8)


@pytest.fixture(scope="module")
def several() -> list[striate.Model]:
    """Nets with their own layers, means and deviations; one of them ends in a softmax."""
    short = [L.Flatten(), L.Dense(6), L.ReLU()]
    return [make_model(0, 0.3), make_model(1, 0.45, softmax=True), make_model(2, 0.6, layers=short)]


@pytest.fixture(scope="module")
def wanted(several) -> np.ndarray:
    return np.mean([model.probabilities(PICTURES) for model in several], axis=0)


def test_an_ensemble_says_the_mean_of_what_its_nets_say(several, wanted, tmp_path):
    model = average(several)
    np.testing.assert_allclose(model.probabilities(PICTURES), wanted, atol=1e-6)
    model.save(tmp_path / "model.safetensors")
    np.testing.assert_allclose(striate.load(tmp_path / "model.safetensors").probabilities(PICTURES), wanted, atol=1e-6)
    striate.export(model, tmp_path / "model.onnx")
    np.testing.assert_allclose(striate.load(tmp_path / "model.onnx").probabilities(PICTURES), wanted, atol=1e-5)


def test_torch_gives_its_probabilities_and_as_logits_their_logarithm(several, wanted):
    model = average(several)
    network = load_tensors(build_network(model.net), model.tensors).eval()
    x = torch.from_numpy(model.standardised(PICTURES))
    with torch.no_grad():
        np.testing.assert_allclose(network(x).numpy(), wanted, atol=1e-6)
        np.testing.assert_allclose(network.logits(x).softmax(1).numpy(), wanted, atol=1e-6)


def test_a_probability_of_it_is_traced_to_those_of_its_nets(several, wanted):
    model = average(several)
    trace = model.trace(PICTURES[0], "probability", 2, depth=2)
    assert trace.value == pytest.approx(wanted[0, 2], abs=1e-6)
    own = [model.probabilities(PICTURES)[0, 2] for model in several]
    assert [group.value for group in trace.followed.groups] == pytest.approx(own, abs=1e-6)
    assert np.abs(model.attribution(PICTURES[0], label="c", method="integrated-gradients").values).max() > 0


def test_heads_on_one_backbone_have_it_once():
    first = make_model(0, 0.5)
    others = [
        striate.Model(first.net, first.tensors | {name: make_model(seed, 0.5).tensors[name] for name in first.tensors
                                                  if name.startswith("dense1")},
                      classes=first.classes, preprocess=first.preprocess)
        for seed in (1, 2)
    ]  # fmt: skip
    model = average([first, *others])
    head = 16 * 4 * 4 * 4
    assert summarise_net(model.net).macs == summarise_net(first.net).macs + 2 * head
    wanted = np.mean([one.probabilities(PICTURES) for one in (first, *others)], axis=0)
    np.testing.assert_allclose(model.probabilities(PICTURES), wanted, atol=1e-6)


def test_nets_that_see_an_image_differently_are_refused():
    with pytest.raises(NetError, match="these nets do not see an image the same way"):
        average([make_model(0, 0.5), make_model(1, 0.5, side=10)])
