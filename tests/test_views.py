"""Test-time views: what is averaged, and that every engine and file averages the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import striate
from striate import BatchNorm, Conv, Dense, GlobalAvgPool, Net, ReLU, Softmax
from striate.engines.model_file import ModelHeader, Preprocess, read_model, save_model
from striate.engines.torch import average_views, build_network
from striate.engines.views import VIEWS, list_views
from striate.errors import ModelError, RecipeError
from striate.fitting.recipe import Recipe
from striate.formats import torch_program

NET = Net((3, 10, 14), [Conv(5, 3), BatchNorm(), ReLU(), Conv(4, 3, padding="same"), GlobalAvgPool(), Dense(3)])


def model(path, net: Net, name: str):
    tensors = {k: v.detach().numpy() for k, v in build_network(net, seed=1).state_dict().items()}
    pre = Preprocess(net.input[1:], "squash", (0.4, 0.5, 0.6), (0.2, 0.25, 0.3), name)
    save_model(path, ModelHeader(net=net, classes=("a", "b", "c"), preprocess=pre), tensors)
    return striate.load(path)


def moved(x: np.ndarray, pixels: int) -> np.ndarray:
    """N×H×W×C read `pixels` further down and right, the edge repeated: NumPy's own padding."""
    p = abs(pixels)
    wide = np.pad(x, ((0, 0), (p, p), (p, p), (0, 0)), mode="edge")
    n, h, w, _ = x.shape
    return wide[:, p + pixels : p + pixels + h, p + pixels : p + pixels + w]


@given(st.sampled_from(VIEWS), st.integers(1, 80), st.integers(1, 80))
def test_the_weights_of_the_views_sum_to_1_and_every_place_lies_in_the_image(name, height, width):
    found = list_views(name, (height, width))
    assert sum(view.weight for view in found) == 1
    for view in found:
        assert len(view.rows) == height and set(view.rows) <= set(range(height))
        assert len(view.columns) == width and set(view.columns) <= set(range(width))


@pytest.mark.parametrize("softmax", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", VIEWS)
def test_a_model_and_its_files_average_what_it_says_of_each_view(tmp_path, name, softmax):
    net = Net(NET.input, [*NET.layers, Softmax()]) if softmax else NET
    seen, plain = model(tmp_path / "seen.safetensors", net, name), model(tmp_path / "plain.safetensors", net, "plain")
    x = np.random.default_rng(0).integers(0, 256, (6, 10, 14, 3), dtype=np.uint8)

    def said(images: np.ndarray) -> np.ndarray:
        p = plain.probabilities(np.ascontiguousarray(images))
        return p if softmax else np.log(p) - np.log(p).mean(1, keepdims=True)

    def both(images: np.ndarray) -> np.ndarray:
        return (said(images) + said(images[:, :, ::-1])) / 2

    wanted = {
        "plain": lambda: said(x),
        "flip": lambda: both(x),
        "flip+shift": lambda: both(x) / 2 + (both(moved(x, 1)) + both(moved(x, -1))) / 4,
    }[name]()
    if not softmax:
        wanted = np.exp(wanted) / np.exp(wanted).sum(1, keepdims=True)
    np.testing.assert_allclose(seen.probabilities(x), wanted, atol=1e-5)
    seen.export(tmp_path / "seen.onnx")
    np.testing.assert_allclose(striate.load(tmp_path / "seen.onnx").probabilities(x), wanted, atol=1e-5)
    seen.export(tmp_path / "half.onnx", fp16=True)
    np.testing.assert_allclose(striate.load(tmp_path / "half.onnx").probabilities(x), wanted, atol=5e-3)
    card = seen.export(tmp_path / "card.onnx")
    torch_program.write_program(net, seen.tensors, card, tmp_path / "seen.pt2")
    np.testing.assert_allclose(torch_program.read_program(tmp_path / "seen.pt2")(x), wanted, atol=1e-5)
    answer = torch_program.make_answering(net, seen.tensors, seen.preprocess)
    np.testing.assert_allclose(answer(seen.standardised(x)), wanted, atol=1e-5)


def test_an_image_and_its_mirror_image_are_answered_alike(tmp_path):
    seen = model(tmp_path / "m.safetensors", NET, "flip")
    x = np.random.default_rng(1).integers(0, 256, (4, 10, 14, 3), dtype=np.uint8)
    np.testing.assert_allclose(seen.probabilities(x), seen.probabilities(x[:, :, ::-1].copy()), atol=1e-6)


def test_one_view_costs_one_look():
    looks = []
    average_views(lambda x: looks.append(1) or x, torch.zeros(1, 1, 4, 4), list_views("plain", (4, 4)))
    assert len(looks) == 1


def test_a_file_keeps_its_views_and_a_wrong_name_is_refused(tmp_path):
    made = model(tmp_path / "m.safetensors", NET, "flip")
    assert read_model(tmp_path / "m.safetensors")[0].preprocess.views == "flip"
    with pytest.raises(ModelError, match=r"header.preprocess.views"):
        model(tmp_path / "other.safetensors", made.net, "mirror")
        striate.load(tmp_path / "other.safetensors")
    with pytest.raises(RecipeError, match="views"):
        striate.train("digits", views="mirror")


def test_a_run_is_validated_and_tested_as_it_will_look(tmp_path):
    """The validation accuracy of the last epoch is that of the finished model on the same images."""
    draw = np.random.default_rng(0)
    x = draw.integers(0, 256, (80, 12, 12, 1), dtype=np.uint8)
    y = (x[:, :6].mean((1, 2, 3)) > x[:, 6:].mean((1, 2, 3))).astype(np.int64)
    from striate.data.sources.load import load_dataset
    from striate.fitting.watch import Watch

    data = load_dataset((x, y))
    run = striate.train(
        data, "striate_s", epochs=1, batch=20, views="flip+shift", augment="none", out=tmp_path / "r", watch=Watch()
    )
    assert run.model.preprocess.views == "flip+shift" == run.recipe.views
    p = run.model.probabilities(data.valid.x[:])
    assert (p.argmax(1) == data.valid.y).mean() == pytest.approx(run.history[0].valid_acc)
    loss = -np.log(p[np.arange(len(p)), data.valid.y]).mean()
    assert loss == pytest.approx(run.history[0].valid_loss, abs=1e-4)


def test_the_default_is_one_look():
    assert Recipe().views == Preprocess((4, 4), "pad", (0.5,), (0.5,)).views == "plain"
