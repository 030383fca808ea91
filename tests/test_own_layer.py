"""A layer of one's own, registered from outside: trained, saved, loaded, predicted with, traced; and what it lacks."""

from __future__ import annotations

import sys
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import striate
from striate.architecture.layers import LAYERS, SavedMap
from striate.architecture.layers.layer import Tensor
from striate.architecture.own_layers import list_own_layers
from striate.engines import onnx, plain
from striate.errors import ModelError, NetError
from striate.fitting.watch import Watch
from striate.inside.trace import trace_value
from tests import forked

MODULE = '''
import striate
from striate.architecture.layers import SavedMap
from striate.architecture.layers.layer import Tensor
from torch import nn
import torch


class Module(nn.Module):
    def __init__(self, channels, start):
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), start))

    def forward(self, x):
        return x * self.weight.view(-1, 1, 1).sigmoid()


@striate.layer
class Soft(striate.Layer):
    """Each channel times the sigmoid of a weight."""

    start: float = 0.5
    KEPT = SavedMap(input=True)

    def tensors(self, x):
        return (Tensor("weight", (x[0],), "ones"),)

    def params_rule(self, x):
        return f"1·{x[0]}"

    def torch(self, x):
        return Module(x[0], self.start)
'''


@pytest.fixture
def soft(tmp_path, monkeypatch):
    """The layer, defined in a module of the user's."""
    (tmp_path / "my_layers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_layers", raising=False)
    import my_layers

    yield my_layers.Soft
    LAYERS.pop("Soft", None)
    sys.modules.pop("my_layers", None)


def make_net(soft):
    return striate.Net(
        (1, 8, 8), [striate.Conv(8, 3), soft(0.25), striate.ReLU(), striate.Flatten(), striate.Dense(10)]
    )


def test_it_is_counted_written_as_text_and_read_again(soft):
    net = make_net(soft)
    assert striate.summary(net).row("soft1").params == 8
    assert striate.parse(repr(net)) == net
    assert "Soft(start=0.25)" in repr(net)
    assert list_own_layers(net) == {"Soft": "my_layers:Soft"}


def test_it_trains_is_saved_loaded_evaluated_and_predicts_without_onnx_operators(soft, tmp_path):
    run = striate.train("digits", make_net(soft), epochs=2, out=tmp_path / "run", watch=Watch())
    assert run.report.accuracy > 0.5
    model = striate.load(tmp_path / "run")
    assert not np.allclose(model.tensors["soft1.weight"], 1.0)
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 1), np.uint8)
    with torch.no_grad():
        wanted = model.torch()(torch.from_numpy(model.standardised(image[None]))).softmax(1)
    assert model.predict(image).probability == pytest.approx(float(wanted.max()), abs=1e-5)
    assert model.evaluate("digits").accuracy == run.report.accuracy
    assert (tmp_path / "run" / "report.html").exists()
    assert {found.path for found in model.features(image)} >= {"soft1"}


@pytest.mark.parametrize(
    "ask, lack",
    [
        (lambda model, image, folder: model.export(folder / "x.onnx"), "there are no ONNX operators for this layer"),
        (lambda model, image, folder: model.trace(image, "soft1", 0, 2, 2), "a value of this layer cannot be traced"),
        (
            lambda model, image, folder: plain.run_forward(model.net, model.tensors, np.zeros((1, 1, 8, 8))),
            "the plain engine cannot compute this layer",
        ),
    ],
)
def test_what_it_lacks_is_said_by_name_where_it_is_asked_for(soft, tmp_path, ask, lack):
    net = make_net(soft)
    pre = striate.Preprocess((8, 8), "pad", (0.3,), (0.3,))
    model = striate.Model(net, net.torch(), classes=[str(k) for k in range(10)], preprocess=pre)
    with pytest.raises(NetError) as refused:
        ask(model, np.zeros((8, 8, 1), np.uint8), tmp_path)
    assert refused.value.where.endswith("Soft") and lack in refused.value.what
    assert refused.value.rule.startswith("Soft has no method ")


def test_a_file_names_the_module_that_defines_it_and_runs_no_code(soft, tmp_path):
    run = striate.train("digits", make_net(soft), epochs=1, out=tmp_path / "run", watch=Watch())
    program = f"import striate; striate.load({str(run.folder)!r})"
    done = forked.run(["-c", program], cwd=tmp_path)
    assert done.returncode and "the net has a layer of its own, 'Soft', which is not registered" in done.stderr
    assert "my_layers:Soft" in done.stderr and "hint  import my_layers" in done.stderr
    program = f"import my_layers, striate; print(striate.load({str(run.folder)!r}).net.name)"
    done = forked.run(["-c", program], cwd=tmp_path)
    assert (done.stdout, done.stderr) == ("net\n", "")


def test_with_its_own_functions_it_is_exported_computed_and_traced(tmp_path, monkeypatch):
    from striate.inside.trace_rules import explain_unchanged

    class Same(striate.Layer):
        KEPT: ClassVar[SavedMap] = SavedMap()

        def torch(self, x):
            return nn.Identity()

        def onnx(self, draft, path, x, shape):
            return draft.node("Identity", path, x)

        def forward(self, x, here):
            return x

        def explain(self, at):
            return explain_unchanged(at.input(*at.index))

    try:
        own = striate.layer(Same)
        net = striate.Net((1, 6, 6), [striate.Conv(2, 3), own(), striate.Flatten(), striate.Dense(3)])
        tensors = plain.draw_tensors(net, 0)
        x = np.random.default_rng(0).normal(size=(1, 1, 6, 6)).astype(np.float32)
        answer = onnx.run_net(net, tensors, x)
        np.testing.assert_allclose(answer, plain.run_forward(net, tensors, x), atol=1e-5)
        assert trace_value(net, tensors, x[0], "same1", 1, 2, 2).lead == "conv1[1,2,2]"
        pre = striate.Preprocess((6, 6), "pad", (0.3,), (0.3,))
        striate.Model(net, tensors, classes=list("abc"), preprocess=pre).export(tmp_path / "x.onnx")
    finally:
        LAYERS.pop("Same", None)


def test_an_unregistered_class_is_refused_at_once():
    class Plain(striate.Layer):
        pass

    with pytest.raises(NetError, match="this class is not registered as a layer") as refused:
        striate.Net((1, 4, 4), [Plain(), striate.Flatten()])
    assert refused.value.hint == "@striate.layer above class Plain"


def test_a_name_that_is_taken_and_what_is_no_layer_are_refused_and_defining_it_again_is_not():
    with pytest.raises(NetError, match="another layer has this name"):
        striate.layer(type("Conv", (striate.Layer,), {}))
    for wrong in (dict, 5, lambda x: x):
        with pytest.raises(NetError, match=r"a layer is a class made from striate\.Layer"):
            striate.layer(wrong)

    def define(factor):
        @striate.layer
        class Again(striate.Layer):
            FACTOR: ClassVar[int] = factor

            def torch(self, x):
                return nn.Identity()

        return Again

    try:
        first, second = define(1), define(2)  # as a notebook's cell that is run twice
        assert LAYERS["Again"] is second
        with pytest.raises(NetError, match="not registered"):
            striate.Net((1, 4, 4), [first(), striate.Flatten()])
        assert striate.Net((1, 4, 4), [second(), striate.Flatten()]).layers[0].FACTOR == 2
    finally:
        LAYERS.pop("Again", None)


def test_a_header_that_names_a_known_layer_is_read(tmp_path):
    with pytest.raises(ModelError, match="not registered"):
        from striate.architecture.own_layers import check_own_layers

        check_own_layers({"Conv": "x:Conv", "Unknown": "a.b:Unknown"}, "file")
    assert Tensor("weight", (1,), "ones").trainable
