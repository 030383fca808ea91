"""The browser's engine computes what the record says: ONNX Runtime and the plain engine are its judges."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import MISSING, fields

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from striate.architecture import layers as L
from striate.architecture import zoo
from striate.architecture.abilities import JAVASCRIPT
from striate.architecture.layers import LAYERS
from striate.architecture.net import Net
from striate.engines import onnx, plain
from striate.inside.ablation import run_half, split_sessions, zero_channel

from .browser_nets import ENGINE, HERE, Answer, Case, run_under_node
from .random_nets import inputs_for, nets, tensors_for


def draw_cases(examples: int, **options) -> list[Case]:
    """Random nets, the same draw as that of the other engines' tests; with the options of `nets`."""
    cases: list[Case] = []

    @settings(deadline=None, max_examples=examples, phases=[Phase.generate], database=None,
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(nets(**options), st.integers(0, 999))
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


@pytest.mark.parametrize("examples", [100, pytest.param(1000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["wasm", "plain"])
def test_any_net_gives_what_onnx_runtime_gives(kind, examples, tmp_path):
    cases = draw_cases(examples)
    answers = run_under_node(cases, tmp_path, kind)
    assert len(answers) == len(cases) >= examples
    for case, answer in zip(cases, answers, strict=True):
        assert answer.kernel == kind
        compare_with_onnx(case, answer)


CHAINS = {"kinds": ["Conv", "BatchNorm", "ReLU", "ReLU6"], "layers": 9}
"""Nets in which a batch norm and a ReLU often follow a convolution, and are computed with it."""


@pytest.mark.parametrize("options", [{}, CHAINS], ids=["any", "chains"])
def test_every_map_has_the_plain_engines_path_order_shape_and_values(options, tmp_path):
    cases = draw_cases(60, **options)
    for case, answer in zip(cases, run_under_node(cases, tmp_path, "wasm"), strict=True):
        want = plain.compute_maps(case.net, case.tensors, case.x[None])
        assert list(answer.maps) == list(answer.shapes) == list(want)
        for path, value in want.items():
            assert answer.shapes[path] == value.shape[1:], path
            # An inner map may be a small difference that a normalisation has blown up: float32 has fewer digits.
            need_close(answer.maps[path], value[0], 1e-4, f"{path} of {case.net!r}")
        compare_with_onnx(case, answer)
        assert all(apart <= 1e-4 for apart in answer.kept.values()), case.net


SMALL = [
    ("lenet5", (1, 32, 32)),
    ("resnet18", (3, 32, 32)),
    ("mobilenet_v2", (3, 64, 48)),
    ("convnext_tiny", (3, 32, 32)),
]


def make_named_case(name: str, shape: tuple[int, int, int]) -> Case:
    net = zoo.build(name, input=shape, classes=10)
    return Case(net, tensors_for(net), inputs_for(net, 1)[0])


@pytest.mark.parametrize("name, shape", SMALL)
def test_a_published_net_gives_what_onnx_runtime_gives(name, shape, tmp_path):
    case = make_named_case(name, shape)
    compare_with_onnx(case, run_under_node([case], tmp_path, "wasm")[0])


@pytest.mark.parametrize("examples, options", [(100, {}), (16, CHAINS)], ids=["any", "chains"])
def test_a_channel_put_to_zero_changes_what_ablation_changes(examples, options, tmp_path):
    """The judge is ONNX Runtime's second half, from a changed map on (inside.ablation)."""
    cases, wanted = [], []
    for net, tensors, x, _ in draw_cases(examples, **options):
        for step in [step for step in net.steps if isinstance(step.layer, L.Conv | L.BatchNorm | L.ReLU)]:
            channel = len(cases) % step.y[0]
            before, after = split_sessions(net, tensors, step.path)
            image = x[None].astype(np.float32)
            changed = zero_channel(run_half(before, {"image": image})[1], channel)
            cases.append(Case(net, tensors, x, {step.path: [channel]}))
            wanted.append(run_half(after, {"image": image, "map": changed})[0][0])
    assert len(cases) > 20
    for case, answer, want in zip(cases, run_under_node(cases, tmp_path, "wasm"), wanted, strict=True):
        for output in answer.outputs:
            need_close(output, want, 1e-5, f"{case.zero} in {case.net!r}")


def list_javascript_layers() -> dict[str, dict]:
    """Each record's entry in layers.js: kind, defaults, and the name of its function."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on this machine: apt-get install nodejs")
    code = f"""const {{ LAYERS, CONTAINERS }} = await import({str((ENGINE / "layers.js").as_uri())!r});
    const show = ([name, r]) => [name, {{ kind: r.kind, defaults: r.defaults, compute: r.compute?.name }}];
    console.log(JSON.stringify(Object.fromEntries(Object.entries({{ ...LAYERS, ...CONTAINERS }}).map(show))))"""
    done = subprocess.run([node, "--input-type=module", "-e", code], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_the_engines_own_table_is_the_registrys_with_each_records_kind_and_defaults():
    own = list_javascript_layers()
    assert set(own) == {record.__name__ for record in JAVASCRIPT.filled()}
    for name, entry in own.items():
        record = LAYERS[name]
        assert entry["kind"] == record.KIND, name
        usual = {f.name: f.default for f in fields(record) if f.default is not MISSING and f.name != "name"}
        extra = {"join": "concat"} if name == "Parallel" else {"weight": 0.3} if name == "SideHead" else {}
        assert entry["defaults"] == usual | extra, name
        if not issubclass(record, L.Container):
            assert entry["compute"] == JAVASCRIPT.cell(record)(None), name


def test_the_webassembly_is_what_its_source_gives():
    pytest.importorskip("wasmtime", reason="wasmtime, the assembler, is not installed")
    subprocess.run([sys.executable, str(HERE.parent / ".ci" / "build_matmul.py"), "--check"], check=True)


def test_a_dense_layer_too_large_to_be_laid_out_is_computed_all_the_same(tmp_path):
    net = Net((3, 40, 40), [L.Flatten(), L.Dense(900), L.ReLU(), L.Dense(3)])
    case = Case(net, tensors_for(net), inputs_for(net, 1)[0])
    compare_with_onnx(case, run_under_node([case], tmp_path, "wasm")[0])
