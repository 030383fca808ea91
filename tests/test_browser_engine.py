"""The browser's engine computes what the record says: ONNX Runtime and the plain engine are its judges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from striate.architecture import zoo
from striate.engines import onnx, plain

from .browser_nets import Answer, Case, run_under_node
from .random_nets import inputs_for, nets, tensors_for


def draw_cases(examples: int) -> list[Case]:
    """Random nets, the same draw as that of the other engines' tests."""
    cases: list[Case] = []

    @settings(deadline=None, max_examples=examples, phases=[Phase.generate], database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(nets(), st.integers(0, 999))
    def collect(net, seed):
        cases.append(Case(net, tensors_for(net, seed), inputs_for(net, 1, seed)[0]))

    collect()
    return cases


def need_close(got: np.ndarray, want: np.ndarray, limit: float, what: str) -> None:
    """Equal to `limit` of the largest value."""
    scale = max(1.0, float(np.abs(want).max(initial=0)))
    assert got.shape == want.shape, what
    assert np.abs(got - want).max(initial=0) <= limit * scale, what


def compare_with_onnx(case: Case, answer: Answer) -> None:
    want = onnx.run_net(case.net, case.tensors, case.x[None], threads=1)[0]
    for output in answer.outputs:
        need_close(output, want, 1e-5, repr(case.net))


@pytest.mark.parametrize("examples", [200, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["wasm", "plain"])
def test_any_net_gives_what_onnx_runtime_gives(kind, examples, tmp_path):
    cases = draw_cases(examples)
    answers = run_under_node(cases, tmp_path, kind)
    assert len(answers) == len(cases) >= examples
    for case, answer in zip(cases, answers, strict=True):
        assert answer.kernel == kind
        compare_with_onnx(case, answer)


def test_every_map_has_the_plain_engines_path_order_shape_and_values(tmp_path):
    cases = draw_cases(60)
    for case, answer in zip(cases, run_under_node(cases, tmp_path, "wasm"), strict=True):
        want = plain.compute_maps(case.net, case.tensors, case.x[None])
        assert list(answer.maps) == list(answer.shapes) == list(want)
        for path, value in want.items():
            assert answer.shapes[path] == value.shape[1:], path
            # An inner map may be a small difference that a normalisation has blown up: float32 has fewer digits.
            need_close(answer.maps[path], value[0], 1e-4, f"{path} of {case.net!r}")


SMALL = [("lenet5", (1, 32, 32)), ("resnet18", (3, 32, 32)), ("mobilenet_v2", (3, 64, 48)), ("convnext_tiny", (3, 32, 32))]  # fmt: skip


def make_named_case(name: str, shape: tuple[int, int, int]) -> Case:
    net = zoo.build(name, input=shape, classes=10)
    return Case(net, tensors_for(net), inputs_for(net, 1)[0])


@pytest.mark.parametrize("name, shape", SMALL)
def test_a_published_net_gives_what_onnx_runtime_gives(name, shape, tmp_path):
    case = make_named_case(name, shape)
    compare_with_onnx(case, run_under_node([case], tmp_path, "wasm")[0])
