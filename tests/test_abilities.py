"""The table of layers and what can be done with them: every cell is filled, or says why not; nothing is guessed."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib import import_module
from math import floor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from hypothesis import given, settings

from striate.architecture import abilities
from striate.architecture import layers as L
from striate.architecture.abilities import (
    ABILITIES,
    BACKWARD,
    DRAW,
    EXPLAIN,
    FOLLOW,
    FORWARD,
    FROM_TORCH,
    NEEDS,
    ONNX,
    PART,
    TORCH,
)
from striate.architecture.layers import LAYERS
from striate.architecture.layers.layer import Layer, Reach, SavedMap
from striate.architecture.net import Net
from striate.browser.javascript_layers import check_browser_net
from striate.engines import onnx, plain
from striate.engines.plain import boxes
from striate.engines.torch import build_network, load_tensors
from striate.errors import NetError
from striate.inside.follow import find_strongest_reader
from striate.inside.trace import trace_value
from striate.inside.trace_place import IMAGE_PATH, Scene
from striate.summaries.draw import draw_net
from striate.summaries.memory import estimate_memory

from .random_nets import inputs_for, nets, tensors_for


@pytest.mark.parametrize("record", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("ability", ABILITIES, ids=lambda ability: ability.name)
def test_every_record_fills_every_column_or_says_why_not(ability, record):
    import_module(ability.home)
    assert (record in ability.cells) != (record in ability.reasons)
    if record in ability.reasons:
        with pytest.raises(NetError) as e:
            ability.cell(record)
        assert str(e.value) == f"{record.__name__}: {ability.lacks}\n  rule  {ability.reasons[record]}"


@pytest.mark.parametrize("record", LAYERS.values(), ids=LAYERS)
def test_every_record_that_holds_no_others_says_what_training_keeps_of_it(record):
    holds = issubclass(record, L.Container)
    assert holds or record.KEPT is not None or "kept" in vars(record)


def test_the_table_is_all_of_its_module_and_each_home_fills_its_columns():
    assert {a.name: a for a in ABILITIES} == {
        n: a for n, a in vars(abilities).items() if isinstance(a, abilities.Ability)
    }


@pytest.mark.parametrize("home", sorted({ability.home for ability in ABILITIES}))
def test_no_home_of_a_column_has_a_branch_for_whatever_is_left(home):
    tree = ast.parse(Path(import_module(home).__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.match_case):
            assert not isinstance(node.pattern, ast.MatchAs) or node.pattern.pattern, ast.unparse(node.pattern)
        assert not isinstance(node, ast.Name) or node.id != "singledispatch"


# A layer of one's own -----------------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class Shifted(Layer):
    """Every value of the row below, the last row's own: a layer that looks away from its place."""

    KIND: ClassVar[str] = "shifted"
    KEPT: ClassVar[SavedMap] = SavedMap()


@pytest.fixture(autouse=True)
def known(monkeypatch):
    """Shifted is a layer of its own, of which the table knows nothing yet."""
    monkeypatch.setitem(LAYERS, "Shifted", Shifted)


@pytest.fixture
def table():
    """The table as it was, afterwards."""
    yield
    for ability in ABILITIES:
        ability.cells.pop(Shifted, None)
        ability.reasons.pop(Shifted, None)


def below(height: int) -> np.ndarray:
    return np.minimum(np.arange(height) + 1, height - 1)


def compute(layer, x, here):
    return x[:, :, below(x.shape[2])]


with pytest.MonkeyPatch.context() as patch:  # other tests walk over LAYERS too
    patch.setitem(LAYERS, "Shifted", Shifted)
    NET = Net((2, 4, 3), [L.Conv(2, 1), Shifted(), L.GlobalAvgPool(), L.Dense(3)], name="own")
    TENSORS, X = tensors_for(NET), inputs_for(NET, 1)

ASKED = {
    "TORCH": lambda: build_network(NET),
    "FORWARD": lambda: plain.run_forward(NET, TENSORS, X),
    "BACKWARD": lambda: plain.loss_and_gradients(NET, TENSORS, X, [0]),
    "NEEDS": lambda: plain.compute_value(NET, TENSORS, X[0], "shifted1", 0, 1, 2),
    "PART": lambda: plain.compute_value(NET, TENSORS, X[0], "shifted1", 0, 1, 2),
    "ONNX": lambda: onnx.run_net(NET, TENSORS, X),
    "EXPLAIN": lambda: trace_value(NET, TENSORS, X[0], "shifted1", 0, 1, 2, engine="plain"),
    "FOLLOW": lambda: up(NET, TENSORS),
    "DRAW": lambda: draw_net(NET),
    "FROM_TORCH": lambda: FROM_TORCH.cell(Shifted),
    "JAVASCRIPT": lambda: check_browser_net(NET),
}
"""By column, what a user would call that needs it."""


def up(net, tensors):
    maps = {path: y[0] for path, y in plain.compute_maps(net, tensors, X).items()} | {IMAGE_PATH: X[0]}
    return find_strongest_reader(Scene(net, tensors, maps), "shifted1", "conv1", (0, 2, 1))


BEFORE = {
    "BACKWARD": [FORWARD],
    "NEEDS": [FORWARD],
    "PART": [FORWARD, NEEDS],
    "EXPLAIN": [FORWARD],
    "FOLLOW": [FORWARD],
}
"""The columns that are asked on the way to one."""


@pytest.mark.parametrize("ability", ABILITIES, ids=lambda ability: ability.name)
def test_a_layer_without_a_cell_is_refused_by_name_and_not_guessed(ability, table):
    for earlier in BEFORE.get(ability.name, []):
        earlier.of(Shifted)(compute if earlier is FORWARD else lambda layer, x, want: want)
    with pytest.raises(NetError) as e:
        ASKED[ability.name]()
    assert str(e.value) == (
        f"Shifted: {ability.lacks}\n"
        f"  rule  {ability.home} has no function for it, and none is guessed\n"
        f"  hint  striate.architecture.abilities.{ability.name}.of(Shifted) on a function makes it the layer's own"
    )


def test_a_record_made_from_another_is_not_computed_by_that_ones_function(monkeypatch):
    @dataclass(frozen=True, repr=False)
    class Doubled(L.ReLU):
        """max(0, 2·x)."""

    monkeypatch.setitem(LAYERS, "Doubled", Doubled)
    with pytest.raises(NetError, match="Doubled: the plain engine cannot compute this layer"):
        plain.run_forward(Net((1, 2, 2), [Doubled()]), {}, np.ones((1, 1, 2, 2)))


def test_a_layer_of_ones_own_with_all_its_cells_is_computed_trained_traced_drawn_and_exported(table):
    import_module("striate.inside.trace_rules")
    from striate.inside.trace_rules import explain_unchanged
    from striate.summaries.draw_layers import Face

    class Module(torch.nn.Module):
        def __init__(self, layer, x):
            super().__init__()
            self.rows = torch.tensor(below(x[1]))

        def forward(self, x):
            return x.index_select(2, self.rows)

    def back(layer, x, y, dy, here):
        dx = np.zeros_like(x)
        for row, source in enumerate(below(x.shape[2])):
            dx[:, :, source] += dy[:, :, row]
        return dx, {}

    def operators(layer, draft, path, x, shape):
        return draft.node("Gather", path, x, draft.constant(f"{path}/rows", below(shape[1]), np.int64), axis=2)

    TORCH.of(Shifted)(Module)
    FORWARD.of(Shifted)(compute)
    BACKWARD.of(Shifted)(back)
    NEEDS.of(Shifted)(boxes.need_whole_map)
    PART.of(Shifted)(lambda layer, path, values, have, want, x, way: boxes.cut_values(
        compute(layer, values, None), boxes.make_whole_box(x), want))  # fmt: skip
    ONNX.of(Shifted)(operators)
    EXPLAIN.of(Shifted)(
        lambda layer, at: explain_unchanged(at.input(at.index[0], below(at.x.shape[1])[at.index[1]], at.index[2]))
    )
    FOLLOW.of(Shifted)(lambda layer, given: (given.spot[0], max(0, given.spot[1] - 1), given.spot[2]))
    DRAW.of(Shifted)(lambda layer: Face("other", "shift"))
    FROM_TORCH.none_for(Shifted, why="torch.nn has no such module")

    network = load_tensors(build_network(NET).double(), TENSORS)
    image = torch.tensor(X, requires_grad=True)
    y = network(image)
    np.testing.assert_allclose(plain.run_forward(NET, TENSORS, X), y.detach().numpy(), atol=1e-12)
    np.testing.assert_allclose(onnx.run_net(NET, TENSORS, X), y.detach().numpy(), atol=1e-5)
    torch.nn.functional.cross_entropy(y, torch.tensor([1])).backward()
    np.testing.assert_allclose(plain.loss_and_gradients(NET, TENSORS, X, [1]).x, image.grad.numpy(), atol=1e-12)
    maps = plain.compute_maps(NET, TENSORS, X)
    assert plain.compute_value(NET, TENSORS, X[0], "shifted1", 1, 0, 2) == maps["shifted1"][0, 1, 0, 2]
    t = trace_value(NET, TENSORS, X[0], "shifted1", 1, 0, 2)
    assert t.lead == "conv1[1,1,2]"
    assert up(NET, TENSORS) == (0, 1, 1)
    assert "shifted1: Shifted" in draw_net(NET)
    assert estimate_memory(NET).activations > 0


def test_a_record_that_does_not_say_what_training_keeps_is_refused_where_memory_is_asked_for(monkeypatch):
    class Silent(Layer):
        """A record without KEPT."""

    monkeypatch.setitem(LAYERS, "Silent", Silent)
    with pytest.raises(NetError) as e:
        estimate_memory(Net((1, 2, 2), [L.Conv(1, 1), Silent()]))
    assert str(e.value) == (
        "Silent: this record does not say what training keeps of it, so its memory is not known\n"
        "  hint  KEPT = Kept(input=True), what an activation keeps"
    )
    Silent.KEPT = SavedMap(input=True)
    estimate_memory(Net((1, 2, 2), [L.Conv(1, 1), Silent()]))


def test_running_statistics_that_the_plain_engine_does_not_know_are_refused(table, monkeypatch):
    @dataclass(frozen=True, repr=False)
    class Counting(L.Identity):
        """Its input, with a running number that nobody moves."""

        def buffers(self, x):
            return 1

    monkeypatch.setitem(LAYERS, "Counting", Counting)
    FORWARD.of(Counting)(lambda layer, x, here: x)
    BACKWARD.of(Counting)(lambda layer, x, y, dy, here: (dy, {}))
    net = Net((1, 2, 2), [Counting(name="counter"), L.GlobalAvgPool()])
    with pytest.raises(NetError, match="counter: the plain engine does not know how its running statistics move"):
        plain.loss_and_gradients(net, {}, np.ones((1, 1, 2, 2)), [0])
    FORWARD.cells.pop(Counting), BACKWARD.cells.pop(Counting)


@settings(deadline=None, max_examples=80)
@given(nets())
def test_a_layers_field_is_what_its_values_need(net):
    """The window that a record tells the summary, place by place, against what the plain engine reads."""
    for step in net.steps:
        if isinstance(step.layer, L.Container | L.BlurPool | L.Flatten) or len(step.x) == len(step.y) == 1:
            continue  # a blur sees the map mirrored at its edges; a vector has no rows
        reach = step.layer.reach(step.x) or (Reach(1, 1, 0),) * 2
        for spot in np.ndindex(step.y[1:] or (1, 1)):
            needs = NEEDS(step.layer, step.x, boxes.Box(spot[0], spot[0] + 1, spot[1], spot[1] + 1))
            for axis, low, high in zip((0, 1), needs[::2], needs[1::2], strict=True):
                first = floor(spot[axis] * reach[axis].stride) - reach[axis].before
                if isinstance(step.layer, L.Upsample | L.ConvTranspose):  # theirs is a bound: it changes by place
                    last = first + reach[axis].extent
                    assert first <= low < high <= last or (last <= 0 or first >= step.x[1 + axis]), step
                    continue
                first, last = max(0, first), min(step.x[1 + axis], first + reach[axis].extent)
                assert (low, high) == (first, last) or (first >= last and high == low + 1), step
