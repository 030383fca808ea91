"""A net and a model as plain torch modules: the user's own loop trains them, and they answer as the model does."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import striate
from striate.architecture import zoo
from striate.fitting.watch import Watch


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    out = tmp_path_factory.mktemp("to_torch") / "run"
    return striate.train("digits", "lenet5", epochs=1, out=out, watch=Watch()).model


@pytest.mark.parametrize("name", ["lenet5", "resnet18", "mobilenet_v2"])
def test_a_nets_module_has_the_nets_tensors_and_the_seed_settles_them(name):
    net = zoo.build(name, classes=7, input=(3, 64, 64))
    one, same, other = (net.torch(seed=seed) for seed in (3, 3, 4))
    assert {key: tuple(value.shape) for key, value in one.state_dict().items()} == {
        key: spec.shape for key, spec in net.tensors.items()
    }
    for key, value in one.state_dict().items():
        assert torch.equal(value, same.state_dict()[key])
    assert any(not torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())
    assert one.eval()(torch.zeros(2, 3, 64, 64)).shape == (2, 7)


def test_a_models_module_answers_as_the_model_and_owns_its_weights(model):
    module, x = model.torch(), np.random.default_rng(0).integers(0, 256, (8, *model.preprocess.size, 1), np.uint8)
    assert isinstance(module, torch.nn.Module) and not module.training
    with torch.no_grad():
        told = F.softmax(module(torch.from_numpy(model.standardised(x))), 1).numpy()
    np.testing.assert_allclose(told, model.probabilities(x), atol=1e-5)
    before = {name: value.copy() for name, value in model.tensors.items()}
    for weight in module.parameters():
        weight.data.zero_()
    assert all((before[name] == value).all() for name, value in model.tensors.items())


def test_a_loop_of_ones_own_trains_it():
    net = striate.Net((1, 8, 8), [striate.Conv(8, 3), striate.ReLU(), striate.Flatten(), striate.Dense(2)])
    module = copy.deepcopy(net.torch())
    x, y = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(64) % 2
    x[y == 1] += 1
    optimizer = torch.optim.SGD(module.parameters(), lr=0.05)
    losses = []
    for _ in range(30):
        loss = F.cross_entropy(module(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
