"""Gradients, Grad-CAM and occlusion in a page are those of Python."""

from __future__ import annotations

import json
import shutil
import subprocess
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from striate.architecture import layers as L
from striate.architecture.abilities import BACKWARD
from striate.architecture.layers import Sequence
from striate.architecture.net import Net
from striate.engines import plain
from striate.engines.plain import network
from striate.inside import attribution
from striate.inside.gradients import encode_one_hot, find_logits, make_differentiable
from striate.inside.trace_place import IMAGE_PATH, find_feed

from .browser_nets import ENGINE, HERE, Case, pack_cases
from .random_nets import inputs_for, tensors_for
from .test_browser_engine import draw_cases, make_named_case
from .test_browser_trace import list_forms

pytestmark = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


class Numbers:
    """The numbers of an answer, taken one array after another."""

    def __init__(self, folder: Path) -> None:
        self.values, self.place = np.frombuffer((folder / "gradients.bin").read_bytes(), np.float64), 0

    def take(self, shape: tuple[int, ...]) -> np.ndarray:
        self.place += prod(shape)
        return self.values[self.place - prod(shape) : self.place].reshape(shape)


def differentiate_under_node(
    cases: list[Case], more: list[dict[str, Any]], folder: Path
) -> tuple[list[dict[str, Any]], Numbers]:
    listed, numbers = pack_cases(cases)
    given = [item | extra for item, extra in zip(listed, more, strict=True)]
    (folder / "nets.json").write_text(json.dumps(given), encoding="utf-8")
    (folder / "nets.bin").write_bytes(numbers)
    done = subprocess.run(
        ["node", str(HERE / "run_gradients.mjs"), str(ENGINE), str(folder)], capture_output=True, text=True
    )
    assert not done.returncode, done.stderr
    return json.loads((folder / "gradients.json").read_text(encoding="utf-8")), Numbers(folder)


def differentiate_in_python(case: Case, maps: dict[str, np.ndarray], path: str, seed: np.ndarray) -> tuple[Any, dict]:
    """The pass of the plain engine with every map as the page's engine gave it, and the gradients of tensors."""
    tensors = {name: np.float64(np.float32(value)) for name, value in case.tensors.items()}
    way, y = plain.start_pass(case.net, tensors, np.float64(np.float32(case.x))[None], False, None)
    seen = {IMAGE_PATH: y[0]} | maps
    steps = network.find_route(case.net, path)
    for place, layer, _ in steps:
        y = network.forward_layer(layer, place, y, way)
    for place in way.maps:
        way.maps[place] = seen[place][None]
        way.inputs[place] = seen[find_feed(case.net, place)][None]
    dy, grads = seed[None], {}
    for place, layer, _ in reversed(steps):
        dy, own = network.backward_layer(layer, place, dy, way)
        grads |= {f"{place}.{name}": gradient for name, gradient in own.items()}
    way.slopes[IMAGE_PATH] = dy
    return way, grads


def need_gradients_of_python(cases: list[Case], folder: Path) -> None:
    draw = np.random.default_rng(0)
    seeds = [draw.standard_normal(case.net.classes) for case in cases]
    made, numbers = differentiate_under_node(cases, [{"seed": seed.tolist()} for seed in seeds], folder)
    for case, seed, item in zip(cases, seeds, made, strict=True):
        maps = {path: numbers.take(tuple(shape)) for path, shape in item["maps"]}
        found = {path: numbers.take(tuple(shape)) for path, shape in item["found"]}
        assert item["path"] == find_logits(case.net)
        way, grads = differentiate_in_python(case, maps, item["path"], seed)
        sides = {step.path for step in case.net.steps if step.side}
        assert set(found) == set(way.slopes) - sides, case.net
        for path, gradient in found.items():
            want = way.slopes[path][0]
            scale = max(1e-6, float(np.abs(want).max(initial=0)))
            assert np.abs(gradient - want).max(initial=0) <= 1e-6 * scale, f"{path} of {case.net!r}"
        for path, _ in item["weights"]:
            want = grads[f"{path}.weight"]
            assert np.allclose(numbers.take(want.shape), want, atol=1e-5 * max(1e-6, np.abs(want).max())), path


@pytest.mark.parametrize("examples", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_the_gradients_of_any_net_are_the_plain_engines(examples, tmp_path):
    need_gradients_of_python(draw_cases(examples), tmp_path)


def test_every_record_goes_backward_in_each_of_its_forms(tmp_path):
    cases, seen = [], set()
    for record in set(BACKWARD.filled()) - {L.Parallel, L.Sequence, L.SideHead}:
        for fields in list_forms(record):
            layer = record(**fields)
            flat = [L.Flatten()] if record is L.Dense else []
            try:
                body = [*flat, layer] if flat or len(layer.out((4, 6, 6))) == 1 else [layer, L.Flatten()]
                net = Net((4, 6, 6), [L.Conv(4, 3, padding="same"), *body, L.Dense(3)])
            except Exception:
                continue
            seen.add(record)
            cases.append(Case(net, tensors_for(net, len(cases)), inputs_for(net, 1, len(cases))[0]))
    for join in ("concat", "add", "multiply"):
        branches = [Sequence(L.Conv(4, 1)), Sequence(L.ReLU())]
        gate = [Sequence(L.GlobalAvgPool(keepdims=True))] if join == "multiply" else []
        net = Net((4, 6, 6), [L.Parallel(*branches, *gate, join=join), L.Flatten(), L.Dense(3)])
        cases.append(Case(net, tensors_for(net), inputs_for(net, 1)[0]))
    assert seen == set(BACKWARD.filled()) - {L.Parallel, L.Sequence, L.SideHead}
    need_gradients_of_python(cases, tmp_path)


def test_the_engines_table_has_a_row_for_every_record_that_goes_backward():
    code = f"""const {{ BACKWARD }} = await import({str((ENGINE / "backward.js").as_uri())!r});
    console.log(JSON.stringify(Object.keys(BACKWARD)))"""
    done = subprocess.run(["node", "--input-type=module", "-e", code], capture_output=True, text=True, check=True)
    held = {"Sequence", "Parallel", "SideHead"}
    assert set(json.loads(done.stdout)) == {record.__name__ for record in BACKWARD.filled()} - held


def test_a_way_back_ends_at_the_layer_that_is_asked_for(tmp_path):
    case = make_named_case("lenet5", (1, 32, 32))
    [made], _ = differentiate_under_node([case], [{"seed": [1.0] + [0.0] * 9, "to": "pool2"}], tmp_path)
    assert [path for path, _ in made["found"]][-1] == "pool2"
    [inside], _ = differentiate_under_node(
        [make_named_case("resnet18", (3, 32, 32))],
        [{"seed": [1.0] + [0.0] * 9, "to": "layer4.block2.main.conv1"}],
        tmp_path,
    )
    assert "layer4.block2.main.conv1" in dict(inside["found"]) and "layer3.block1" not in dict(inside["found"])


def test_through_a_channel_that_is_put_to_zero_no_gradient_goes(tmp_path):
    net = Net((2, 5, 5), [L.Conv(3, 3, name="a"), L.Conv(2, 3, name="b"), L.Flatten(), L.Dense(2)])
    case = Case(net, tensors_for(net), inputs_for(net, 1)[0], {"a": [1]})
    [made], numbers = differentiate_under_node([case], [{"seed": [1.0, -1.0]}], tmp_path)
    for _, shape in made["maps"]:
        numbers.take(tuple(shape))
    found = {path: numbers.take(tuple(shape)) for path, shape in made["found"]}
    without = {name: value.copy() for name, value in case.tensors.items()}
    without["a.weight"][1] = without["a.bias"][1] = 0
    want = make_differentiable(net, without, "plain")(
        case.x[None], "dense1", np.array([[1.0, -1.0]]), IMAGE_PATH
    ).slope[0]
    assert np.allclose(found[IMAGE_PATH], want, atol=1e-5) and np.abs(found["a"][1]).max() > 0


NAMED = [("lenet5", (1, 32, 32)), ("resnet18", (3, 32, 32)), ("mobilenet_v2", (3, 64, 48))]


@pytest.mark.parametrize("named", [NAMED[:2], pytest.param(NAMED[2:], marks=pytest.mark.slow)], ids=["two", "more"])
def test_grad_cam_saliency_and_occlusion_are_pythons(tmp_path, named):
    ending = Net((3, 20, 14), [L.Conv(6, 3), L.ReLU(), L.MaxPool(2), L.Flatten(), L.Dense(4), L.Softmax()])
    cases = [*(make_named_case(*one) for one in named), Case(ending, tensors_for(ending), inputs_for(ending, 1)[0])]
    labels = [case.net.classes - 1 for case in cases]
    made, numbers = differentiate_under_node(cases, [{"label": label} for label in labels], tmp_path)
    for case, label, item in zip(cases, labels, made, strict=True):
        net, size = case.net, case.net.input[1:]
        tensors, x = {n: np.float32(v) for n, v in case.tensors.items()}, np.float32(case.x)
        cam, occlusion, saliency = numbers.take(size), numbers.take(size), numbers.take(net.input)
        want = attribution.compute_grad_cam(net, tensors, x, label)
        assert item["at"] == want.at
        assert np.allclose(cam, want.values, atol=1e-4 * np.abs(want.values).max()), net.name
        hidden = attribution.compute_occlusion(net, tensors, x, label)
        assert np.allclose(occlusion, hidden.values, atol=1e-5), net.name
        slope = make_differentiable(net, tensors)(
            x[None], find_logits(net), encode_one_hot(net.classes, np.array([label])), IMAGE_PATH
        ).slope[0]
        assert np.allclose(saliency, slope, atol=1e-4 * np.abs(slope).max()), net.name
