"""`trace --weight` is the run's own step on the named images, and what of the recipe it leaves out has its line."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image

from striate import BatchNorm, Conv, Dense, Dropout, Flatten, GlobalAvgPool, MaxPool, Net, ReLU, SideHead
from striate.data.images import Images
from striate.engines.model_file import Preprocess
from striate.engines.torch import build_network, load_tensors
from striate.engines.torch_layers import StochasticDepthModule
from striate.errors import ModelError, RunError
from striate.fitting.batches import Feed
from striate.fitting.checkpoint import Task
from striate.fitting.last_step import LastStep, read_last_step
from striate.fitting.loop import StopRequested, fit
from striate.fitting.recipe import Recipe
from striate.fitting.run import Run
from striate.fitting.weight_groups import choose_optimizer
from striate.inside.trace_format import render_steps_text
from striate.inside.trace_record import Trace, TraceError
from striate.inside.trace_step import check_by_torch, trace_step
from striate.inside.trace_weight import trace_steps
from striate.optimizers import OPTIMIZERS
from striate.run_files import RunFiles
from striate.transfer.fine_tune_state import TransferState
from tests import forked
from tests.judges import JUDGES
from tests.random_nets import inputs_for, tensors_for
from tests.test_trace import shown_sums_are_exact

CLASSES = 3


def net(side: bool = True, drop: float = 0.0) -> Net:
    head = [SideHead(GlobalAvgPool(), Dense(CLASSES), weight=0.3)] if side else []
    first = [Conv(4, 3, padding="same"), BatchNorm(), ReLU(), *head, MaxPool(2)]
    return Net((2, 6, 6), [*first, Conv(5, 2), ReLU(), GlobalAvgPool(), Dropout(drop), Dense(CLASSES)])


def started(folder, recipe: Recipe, net: Net, steps: int = 2) -> Run:
    """A real run, stopped after some steps of its first epoch, as its checkpoint brings it back."""
    draw = np.random.default_rng(recipe.seed)
    x, y = draw.integers(0, 256, (20, 6, 6, 2), dtype=np.uint8), np.array([0] * 12 + [1] * 6 + [2] * 2)
    feed = Feed(Images(x, y, ("a", "b", "c"), ("",) * 20), (0.4, 0.5), (0.2, 0.3))
    task = Task(net, recipe, ("a", "b", "c"), Preprocess((6, 6), "pad", (0.4, 0.5), (0.2, 0.3)), "fp", "0")
    asked = iter([False] * (steps - 1) + [True])
    with pytest.raises(StopRequested):
        list(fit(Run.start(folder, task), feed, feed, stop=lambda: next(asked)))
    return Run.resume(folder, task)


@pytest.mark.parametrize("name", ["sgd", "momentum", "rmsprop", "adam"])
def test_several_steps_of_an_optimizer_are_torchs_with_every_weight_moving(name):
    small = Net((1, 6, 6), [Conv(3, 3), BatchNorm(), ReLU(), MaxPool(2), Flatten(), Dense(3)])
    tensors, x, y = tensors_for(small, 1), inputs_for(small, 4, 2), np.array([0, 1, 2, 1])
    record = OPTIMIZERS[name]()
    traces = trace_steps(small, tensors, x, y, "conv1", 1, 0, 2, 1, optimizer=record, steps=4)
    module = load_tensors(build_network(small).double(), tensors).train()
    made = {
        "sgd": lambda given: torch.optim.SGD(given, record.rate),
        "momentum": lambda given: torch.optim.SGD(given, record.rate, momentum=0.9),
        "rmsprop": lambda given: torch.optim.RMSprop(given, record.rate),
        "adam": lambda given: torch.optim.Adam(given, record.rate),
    }[name](module.parameters())
    weight = dict(module.named_parameters())["conv1.weight"]
    for trace in traces:
        made.zero_grad()
        torch.nn.functional.cross_entropy(module(torch.tensor(x)), torch.tensor(y)).backward()
        assert sum(group.value for group in trace.groups) == pytest.approx(float(weight.grad[1, 0, 2, 1]), abs=1e-9)
        made.step()
        assert trace.value == pytest.approx(float(weight.detach()[1, 0, 2, 1]), abs=1e-9)
    told = render_steps_text(traces)
    assert told.count("new weight") == 4 and "step 4: gradient" in told


def loss_by_hand(logits: torch.Tensor, shares: torch.Tensor, smoothing: float, weights) -> torch.Tensor:
    """Szegedy et al. 2016, section 7, each class's part times its weight, over the number of images."""
    spread = shares * (1 - smoothing) + smoothing / CLASSES
    return -(spread * torch.as_tensor(weights) * logits.log_softmax(1)).sum() / len(logits)


def stepped_by_judge(run: Run, x, shares, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Gradient and new weight of a tensor: torch's autograd in float64 and the judge of the run's optimizer."""
    recipe, network = run.recipe, copy.deepcopy(run.network).double().train()
    for module in network.modules():
        if isinstance(module, torch.nn.Dropout | StochasticDepthModule):
            module.eval()
    # images / (classes · images of the class), as scikit-learn's "balanced" has it.
    weights = 20 / (CLASSES * np.array([12, 6, 2])) if recipe.balance == "weights" else np.ones(CLASSES)
    weights = weights.astype(np.float32).astype(np.float64)
    logits, sides = network.with_sides(torch.as_tensor(x))
    loss = loss_by_hand(logits, shares, recipe.label_smoothing, weights)
    for weight, side in sides:
        loss = loss + weight * loss_by_hand(side, shares, recipe.label_smoothing, weights)
    loss.backward()
    parameter, held = network.get_parameter(name), run.optimizer.state[run.network.get_parameter(name)]
    gradient = parameter.grad.numpy().copy()
    judge = JUDGES[recipe.optimizer]([parameter], choose_optimizer(recipe, parameter.ndim))
    judge.state[parameter].update({k: v.double() if v.ndim else v for k, v in held.items() if v is not None})
    judge.step()
    return gradient, parameter.detach().numpy()


recipes = st.builds(
    lambda optimizer, **more: Recipe(
        optimizer=optimizer, batch=8, seed=3, **{k: v for k, v in more.items() if k != "decoupled"},
        decoupled=more["decoupled"] and "decoupled" in OPTIMIZERS[optimizer].settings(),
    ),
    optimizer=st.sampled_from(list(OPTIMIZERS)),
    decoupled=st.booleans(),
    weight_decay=st.sampled_from([0.0, 0.1]),
    label_smoothing=st.sampled_from([0.0, 0.1]),
    balance=st.sampled_from(["none", "weights", "sampling"]),
    augment=st.sampled_from(["none", "shift", "shift+mixup"]),
    schedule=st.sampled_from(["constant", "triangular"]),
    warmup=st.sampled_from([0.0, 0.2]),
    accumulate=st.sampled_from([1, 2]),
    grow=st.sampled_from([0.0, 0.5]),
    ema=st.sampled_from([0.0, 0.9]),
    whiten=st.booleans(),
    bn_momentum=st.sampled_from([None, 0.3]),
)  # fmt: skip


@settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck), phases=[Phase.reuse, Phase.generate])
@given(recipes, st.booleans(), st.sampled_from([0.0, 0.4]), st.integers(1, 3), st.booleans(), st.data())
def test_the_traced_step_is_what_torchs_step_does_to_the_weight(tmp_path_factory, recipe, side, drop, n, mixed, data):
    made = net(side, drop)
    run = started(tmp_path_factory.mktemp("run"), recipe, made)
    last = read_last_step(run.folder)
    names = [name for name, spec in made.tensors.items() if spec.trainable]
    name = data.draw(st.sampled_from(names))
    index = tuple(data.draw(st.integers(0, size - 1)) for size in made.tensors[name].shape)
    draw = np.random.default_rng(n)
    x, labels = draw.standard_normal((n, 2, 6, 6)), draw.integers(0, CLASSES, n)
    shares = np.eye(CLASSES)[labels]
    if mixed:
        labels = shares = draw.dirichlet(np.ones(CLASSES), n)
    if recipe.whiten and name == "conv1.weight":
        with pytest.raises(RunError, match="the recipe whitens this layer"):
            trace_step(last, x, labels, name, *index)
        return
    found = trace_step(last, x, labels, name, *index)
    gradient, after = stepped_by_judge(run, x, torch.as_tensor(shares), name)
    mine = sum(group.value for group in found.groups)
    assert mine == pytest.approx(gradient[index], rel=1e-7, abs=1e-10)
    if not any(line.startswith("a sure sign") for line in found.left_out):
        assert found.value == pytest.approx(after[index], rel=1e-8, abs=1e-9)
        assert found.checked_by.startswith("torch")
    else:  # before a BatchNorm a bias's gradient is rounding alone
        assert recipe.optimizer == "lion" and abs(gradient[index]) < 1e-9
    shown_sums_are_exact(found)
    said_of_the_recipe(found, recipe, drop, n, side)


def said_of_the_recipe(found: Trace, recipe: Recipe, drop: float, n: int, side: bool) -> None:
    """Each thing that is left out has its line, and no other has one."""
    wanted = {
        "augmentation shift": recipe.augment != "none",
        "progressive resizing": recipe.grow > 0,
        "what dropout1 would drop": drop > 0,
        "gradient accumulation": recipe.accumulate > 1 and n > 1,
        "the learning rate's schedule": recipe.schedule != "constant" or recipe.warmup > 0,
        "a sure sign": found.checked_by.startswith("plain"),
    }
    for start, there in wanted.items():
        assert any(line.startswith(start) for line in found.left_out) == there, start
        assert f"left out: {start}" in str(found) or not there
    assert len(found.left_out) == sum(wanted.values())
    assert any("its own label" in line for line in found.left_out) == ("mixup" in recipe.augment)
    assert ("label smoothing 0.1" in found.loss) == (recipe.label_smoothing > 0)
    assert ("class weights" in found.loss) == (recipe.balance == "weights")
    assert ("0.3 times that of aux1" in found.loss) == side
    assert f"mean of {n} image" in found.loss and "BatchNorm by this batch" in found.loss
    assert found.as_dict()["left_out"] == list(found.left_out) and found.as_dict()["loss"] == found.loss


def a_last_step(tmp_path, **given) -> LastStep:
    made = given.pop("net", None) or net()
    return read_last_step(
        started(tmp_path, Recipe(**({"batch": 8, "augment": "none", "seed": 1} | given)), made).folder
    )


X, Y = np.random.default_rng(0).standard_normal((2, 2, 6, 6)), np.array([0, 2])


def test_a_disagreement_with_torch_is_an_error(tmp_path):
    """The trace of another loss, and of another state, is refused by the real step."""
    last = a_last_step(tmp_path, label_smoothing=0.1)
    found = trace_step(last, X, Y, "dense1", 1, 2)
    plain_loss = last._replace(recipe=Recipe(batch=8, augment="none"))
    with pytest.raises(TraceError, match="the gradient is not torch's"):
        check_by_torch(found, plain_loss, X, Y, "dense1.weight", (1, 2))
    states = last.states | {"dense1.weight": {}}
    with pytest.raises(TraceError, match="the new weight is not torch's"):
        check_by_torch(found, last._replace(states=states), X, Y, "dense1.weight", (1, 2))


def test_lookahead_and_bfloat16_are_named_where_they_are_left_out(tmp_path):
    last = a_last_step(tmp_path, lookahead=4, precision="bfloat16", schedule="constant", warmup=0.0)
    assert trace_step(last, X, Y, "conv1.bias", 1).left_out == (
        "bfloat16: all is computed in float64",
        "lookahead: every 4 steps the weight then moves to its slow one",
    )


def test_class_weights_that_an_older_checkpoint_lacks_are_named(tmp_path):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    last = a_last_step(tmp_path, balance="weights", schedule="constant", warmup=0.0)
    assert trace_step(last, X, Y, "dense1", 0, 0).left_out == ()
    path = RunFiles(tmp_path).checkpoint
    with safe_open(str(path), framework="np") as file:
        head = file.metadata()
    tensors = {name: value for name, value in load_file(path).items() if name != "loss/class_weights"}
    save_file(tensors, path, metadata=head)
    found = trace_step(read_last_step(tmp_path), X, Y, "dense1", 0, 0)
    assert found.left_out == (
        "class weights: this checkpoint, an older one, does not hold them, and each class counts 1",
    )
    assert "class weights" not in found.loss


def test_a_bias_sees_no_input_and_a_norms_weight_the_normalised_one(tmp_path):
    last = a_last_step(tmp_path)
    bias = trace_step(last, X, Y, "conv1.bias", 3)
    assert all(term.at is None and term.x == 1 and term.note.startswith("image ") for term in bias.terms)
    assert {term.weight_at.split("[")[0] for term in bias.terms} == {"∂loss/∂conv1"}
    assert "image[" not in str(bias) and "pad" not in str(bias) and "a bias is multiplied by 1 everywhere" in bias.rule
    scale = trace_step(last, X, Y, "bn1", 3)
    assert {term.note for term in scale.terms} == {"image 0, normalised", "image 1, normalised"}


def test_one_value_a_channel_is_refused_where_batchnorm_has_nothing_to_normalise_by(tmp_path):
    made = Net((2, 6, 6), [Conv(4, 6), BatchNorm(), ReLU(), Flatten(), Dense(CLASSES)])
    last = a_last_step(tmp_path, net=made)
    with pytest.raises(TraceError) as e:
        trace_step(last, X[:1], Y[:1], "conv1", 0, 0, 0, 0)
    what = "in training BatchNorm normalises by the batch, and here each channel has one value in it"
    assert str(e.value) == f"bn1: {what}\n  hint  name two images or more"
    trace_step(last, X, Y, "conv1", 0, 0, 0, 0)


def test_without_torch_the_plain_engine_alone_answers_and_says_so(tmp_path, monkeypatch):
    last = a_last_step(tmp_path)
    monkeypatch.setattr("striate.inside.trace_step.find_spec", lambda name: None)
    assert trace_step(last, X, Y, "dense1", 0, 0).checked_by == "plain engine, float64, whole tensor"


def test_a_transfers_and_a_broken_checkpoint_have_no_next_step_to_trace(tmp_path):
    TransferState({}, None).save(tmp_path)
    with pytest.raises(RunError, match="this run is a transfer: its head was fitted to kept features"):
        read_last_step(tmp_path)
    RunFiles(tmp_path).checkpoint.write_bytes(b"half")
    with pytest.raises(ModelError, match="this checkpoint cannot be read"):
        read_last_step(tmp_path)


def test_the_command_takes_several_images_as_one_batch(tmp_path):
    """As `trace_step` does on the same two images; an activation belongs to one image."""
    asked = iter([False] * 3 + [True])
    draw = np.random.default_rng(0)
    images = draw.integers(0, 256, (16, 6, 6, 1), dtype=np.uint8)
    feed = Feed(Images(images, np.arange(16) % 2, ("a", "b"), ("",) * 16), (0.5,), (0.25,))
    made = Net((1, 6, 6), [Conv(2, 3), BatchNorm(), ReLU(), GlobalAvgPool(), Dense(2)])
    task = Task(made, Recipe(batch=8), ("a", "b"), Preprocess((6, 6), "pad", (0.5,), (0.25,)), "fp", "0")
    run = Run.start(tmp_path / "run", task)
    for _ in fit(run, feed, feed, stop=lambda: next(asked)):
        break
    files = [tmp_path / name / "one.png" for name in ("a", "b")]
    for file, image in zip(files, images, strict=False):
        file.parent.mkdir()
        Image.fromarray(image[..., 0]).save(file)
    weight = ["--weight", "conv1[1,0,2,0]", "--json"]
    done = forked.run(["-m", "striate", "trace", run.folder, *files, *weight])
    x = (images[:2].astype(np.float32) / 255 - 0.5) / 0.25
    found = trace_step(
        read_last_step(run.folder), x.transpose(0, 3, 1, 2).astype(float), np.array([0, 1]), "conv1", 1, 0, 2, 0
    )
    assert json.loads(done.stdout)["value"] == pytest.approx(found.value, abs=1e-7), done.stderr
    assert "mean of 2 images" in json.loads(done.stdout)["loss"]
    done = forked.run(["-m", "striate", "trace", run.folder, *files, "--at", "conv1[0,0,0]"])
    assert done.returncode == 2 and "an activation belongs to one image" in done.stderr
