"""Every optimizer's record: its step is the judge's in NumPy and in torch, and all that reads the records knows it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from striate.architecture import zoo
from striate.engines.torch import build_network
from striate.errors import RecipeError
from striate.fitting.recipe import Recipe
from striate.fitting.weight_groups import make_optimizer
from striate.optimizers import OPTIMIZERS, Optimizer
from striate.summaries.memory import estimate_memory
from tests.judges import JUDGES

SHAPES = {1: (5,), 2: (3, 4), 4: (3, 2, 2, 2)}
"""A bias, a dense weight and a convolution's, by their axes."""

DECOUPLING = [name for name, kind in OPTIMIZERS.items() if "decoupled" in kind.settings()]
FORMS = [(name, False) for name in OPTIMIZERS] + [(name, True) for name in DECOUPLING]


def made(name: str, decoupled: bool, **given) -> Optimizer:
    return OPTIMIZERS[name](**given, **({"decoupled": True} if decoupled else {}))


def closely(mine, theirs, name: str) -> None:
    np.testing.assert_allclose(mine, theirs.detach().numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("name, decoupled", FORMS)
@settings(deadline=None, max_examples=30)
@given(
    st.integers(0, 2**31), st.sampled_from([0.1, 0.003]), st.sampled_from([0.0, 0.05]), st.sampled_from([1, 4]),
    st.sampled_from(list(SHAPES)),
)  # fmt: skip
def test_steps_in_numpy_and_in_torch_are_the_judges(name, decoupled, seed, rate, decay, steps, axes):
    chosen = made(name, decoupled, rate=rate, decay=decay)
    draw = np.random.default_rng(seed)
    w, state = draw.standard_normal(SHAPES[axes]), {}
    ours, theirs = (torch.tensor(w, requires_grad=True) for _ in range(2))
    one, judge = chosen.in_torch([{"params": [ours], "weight_decay": decay}]), JUDGES[name]([theirs], chosen)
    for _ in range(steps):
        g = draw.standard_normal(SHAPES[axes])
        before, held = w.copy(), {key: np.copy(value) for key, value in state.items()}
        update = chosen.update(w, g, state)
        assert np.array_equal(w, before) and all(np.array_equal(state[key], held[key]) for key in held)
        assert update.lines[-1].value is update.weights
        w, state = chosen.step(w, g, state)
        ours.grad, theirs.grad = torch.tensor(g), torch.tensor(g)
        one.step(), judge.step()
    closely(w, theirs, "NumPy")
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
    kept = {key: value for key, value in one.state[ours].items() if value is not None}
    assert set(kept) == set(chosen.states(axes)) and set(state) == set(chosen.states(axes).values())
    for torchs, mine in chosen.states(axes).items():
        closely(state[mine], kept[torchs], torchs)
        assert kept[torchs].shape == (() if torchs == "step" else ours.shape)


@pytest.mark.parametrize("name, decoupled", FORMS)
def test_the_lines_of_a_step_give_what_they_say(name, decoupled):
    """Each sum is that of its parts, and every other line shows all its parts."""
    chosen = made(name, decoupled, decay=0.1)
    shrinks = chosen.SHRINKS or decoupled
    draw = np.random.default_rng(0)
    for shape in SHAPES.values():
        w, state = draw.standard_normal(shape), {}
        for _ in range(2):
            w, state, lines = chosen.update(w, draw.standard_normal(shape), state)
        for line in lines:
            if line.form:
                assert all(f"{{{i}}}" in line.form for i in range(len(line.parts))), line.name
            else:
                np.testing.assert_array_equal(line.value, line.parts[0] + line.parts[1])
        names = {line.name for line in lines}
        assert ("weight, decayed" in names, "gradient with decay" in names) == (shrinks, not shrinks)
        assert len({line.name for line in lines}) == len(lines)


# What the recipe meant by a name before optimizers had records: its rate at a batch of 64, and how that grows.
USUAL = {
    "sgd": (0.1, 1), "momentum": (0.05, 1), "nesterov": (0.05, 1), "rmsprop": (0.001, 0.5), "adam": (0.003, 0.5),
    "adamw": (0.003, 0.5), "muon": (0.02, 0.5),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_usual_rate_grows_with_the_batch(name):
    rate, power = USUAL.get(name, (OPTIMIZERS[name].rate, OPTIMIZERS[name].GROWTH))
    assert Recipe(optimizer=name).peak == rate
    assert Recipe(optimizer=name, batch=128).peak == pytest.approx(rate * 2**power)
    assert Recipe(optimizer=name, batch=4096).peak == rate * 4
    assert Recipe(optimizer=name, batch=128, lr=0.5).peak == 0.5


@pytest.mark.parametrize("name, decoupled", FORMS)
def test_the_torch_optimizer_has_the_recipes_settings(name, decoupled):
    """Read off torch's own groups, under torch's own words."""
    network = build_network(zoo.build("lenet5"))
    recipe = Recipe(optimizer=name, lr=0.0125, weight_decay=0.25, momentum=0.75, decoupled=decoupled)
    weights, others = make_optimizer(network, recipe).param_groups
    assert (weights["weight_decay"], others["weight_decay"]) == (0.25, 0.0)
    assert {p.ndim for p in weights["params"]} == {2, 4} and {p.ndim for p in others["params"]} == {1}
    for group in (weights, others):
        assert group["lr"] == 0.0125
        assert group.get("momentum", 0) == (0.75 if "momentum" in OPTIMIZERS[name].settings() else 0)
        assert bool(group.get("nesterov")) == (name == "nesterov")


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_the_account_of_memory_is_what_torchs_optimizer_keeps(name):
    network = build_network(zoo.build("lenet5"))
    optimizer = make_optimizer(network, Recipe(optimizer=name))
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    kept = [t for state in optimizer.state.values() for t in state.values() if torch.is_tensor(t) and t.ndim]
    assert estimate_memory(zoo.build("lenet5"), 1, name).state == sum(t.nbytes for t in kept)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_record_says_what_it_is_and_is_found_by_its_file_alone(name):
    kind = OPTIMIZERS[name]
    assert kind.__doc__ and kind.NAME == name and kind.YEAR > 1900 and kind.GROWTH in (0.5, 1)
    assert all(field.default == getattr(kind(), field.name) for field in fields(kind))
    assert replace(kind(), rate=0.5).rate == 0.5
    if name == "momentum":  # a setting's name too
        return
    source = Path(__file__).parent.parent / "src" / "striate"
    own = sys.modules[kind.__module__].__file__
    for file in source.rglob("*.py"):
        if str(file) != own and "in_torch" not in file.parts:
            assert f'"{name}"' not in file.read_text(encoding="utf-8") or (file.name, name) in MEANT, file


MEANT = {
    ("recipe.py", "adamw"),  # the recipe's default
    ("estimator.py", "adamw"),  # the same
    ("presets.py", "muon"),  # a preset's choice
    ("probe.py", "muon"),  # the probe's
    *((file, "adam") for file in ("api.py", "memory.py", "compare.py", "summary.py")),  # whose memory is told unasked
    ("trace_weight.py", "sgd"),  # a weight's update where none is named
}
"""Where an optimizer is chosen by its name."""


def test_an_optimizer_that_is_not_there_is_named_with_the_nearest():
    with pytest.raises(RecipeError) as e:
        Recipe(optimizer="lyon")
    assert str(e.value) == "recipe.optimizer: there is no optimizer 'lyon'\n  hint  did you mean 'lion'?"


def test_the_command_line_and_the_page_offer_every_optimizer():
    from striate.studio.jobs import list_choices

    done = subprocess.run([sys.executable, "-m", "striate", "train", "--help"], capture_output=True, text=True)
    words = done.stdout.replace(",", " ").replace(".", " ").split()
    assert set(OPTIMIZERS) <= set(words)
    [offered] = [setting["choices"] for setting in list_choices()["settings"] if setting["name"] == "optimizer"]
    assert set(OPTIMIZERS) <= set(offered)


def test_the_records_load_neither_torch_nor_numpy():
    code = "import sys, striate.optimizers; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
