"""A user's own loss, augmentation, optimizer, metrics and callbacks: called as promised, known again on resuming."""

from __future__ import annotations

import json
import os
import signal
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, f1_score
from torch import nn

import striate
from striate import BatchNorm, Callback, Conv, Dense, Dropout, Flatten, MaxPool, Net, ReLU
from striate.architecture.find import NET_CODE
from striate.data.images import Images
from striate.engines.model_file import Preprocess
from striate.errors import NetError, RecipeError, RunError
from striate.fitting.batches import Feed
from striate.fitting.callables import Callables, make_callables, name_function
from striate.fitting.checkpoint import Task
from striate.fitting.last_step import read_checkpoint_head
from striate.fitting.loop import StopRequested, fit
from striate.fitting.recipe import Recipe
from striate.fitting.run import Run
from striate.fitting.watch import TerminalWatch, Watch
from striate.run_files import RunFiles

NET = Net((1, 8, 8), [Conv(6, 3), BatchNorm(), ReLU(), MaxPool(2), Flatten(), Dropout(0.2), Dense(3)])
PRE = Preprocess((8, 8), "pad", (0.25,), (0.2,))


def focal(logits, targets, gamma=2.0):
    """Lin et al. 2017: a number for each image."""
    log = F.log_softmax(logits, 1).gather(1, targets[:, None])[:, 0]
    return -((1 - log.exp()) ** gamma) * log


def jitter(x, draw):
    """Draws from the generator that it is handed, and from torch's own."""
    return x + 0.1 * torch.randn(x.shape, generator=draw) + 0.1 * torch.rand(len(x), 1, 1, 1)


def two_rates(weights):
    heads = [weight for name, weight in weights if name.startswith("dense")]
    others = [weight for name, weight in weights if not name.startswith("dense")]
    return torch.optim.SGD([{"params": others, "lr": 0.02}, {"params": heads, "lr": 0.1}], momentum=0.9)


class CountingDescent(torch.optim.Optimizer):
    """Keeps numbers among its states and its groups, as some optimizers do, and steps by them."""

    def __init__(self, weights, lr=0.05):
        super().__init__([weight for _, weight in weights], {"lr": lr, "calls": 0, "betas": (0.5, 0.25)})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            group["calls"] += 1
            for weight in group["params"]:
                state = self.state[weight]
                state.setdefault("count", 0)
                state.setdefault("half", torch.zeros_like(weight, dtype=torch.float64))
                state["count"] += 1
                state["half"].mul_(group["betas"][0]).add_(weight.grad)
                weight.add_(
                    state["half"].float(), alpha=-group["lr"] / (1 + 0.1 * state["count"] + 0.1 * group["calls"])
                )


class Tally:
    """Every moment that it was told of, kept with the checkpoint."""

    def __init__(self):
        self.seen = []

    def step(self, run, loss):
        self.seen.append(["step", run.step, loss])

    def epoch(self, run, row):
        self.seen.append(["epoch", row.epoch])

    def state_dict(self):
        return self.seen

    def load_state_dict(self, state):
        self.seen = list(state)


def kappa(p, y):
    return cohen_kappa_score(y, p.argmax(1))


def accuracy(p, y):
    return (p.argmax(1) == y).float().mean()


def feed(n: int = 60, seed: int = 0) -> Feed:
    draw = np.random.default_rng(seed)
    x, y = draw.integers(0, 90, (n, 8, 8, 1), dtype=np.uint8), np.arange(n) % 3
    for i in range(n):
        x[i, 2 * y[i] + 1] += 120
    return Feed(Images(x, y, ("a", "b", "c"), ("",) * n), PRE.mean, PRE.std)


def task(recipe: Recipe, **functions) -> Task:
    return Task(NET, recipe, ("a", "b", "c"), PRE, "fp", "0", callables=make_callables(**functions))


def trained(folder: Path, recipe: Recipe, **functions) -> Run:
    run = Run.start(folder, task(recipe, **functions))
    list(fit(run, feed(), feed(30, 1)))
    return run


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return run.network.state_dict()


PLAIN = Recipe(epochs=2, batch=16, augment="none", optimizer="sgd", lr=0.125, weight_decay=0.0, schedule="constant")


def test_twice_the_loss_at_half_the_rate_is_the_same_training_bit_for_bit(tmp_path):
    half = Recipe(**{name: getattr(PLAIN, name) for name in PLAIN.__struct_fields__} | {"lr": 0.0625})
    one = trained(tmp_path / "one", PLAIN, loss=focal)
    two = trained(tmp_path / "two", half, loss=lambda logits, targets: 2 * focal(logits, targets))
    for name, value in weights_of(one).items():
        assert torch.equal(weights_of(two)[name], value), name
    assert [2 * row.loss for row in one.history] == [row.loss for row in two.history]
    assert [2 * row.valid_loss for row in one.history] == [row.valid_loss for row in two.history], "their loss too"


@pytest.mark.parametrize("reduction", ["mean", "none"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_cross_entropy_as_ones_own_loss_trains_as_the_recipes(tmp_path, reduction, accumulate):
    recipe = Recipe(epochs=2, batch=16, augment="mixup", optimizer="sgd", lr=0.1, accumulate=accumulate)
    ours = trained(tmp_path / "ours", recipe)
    own = trained(tmp_path / "own", recipe, loss=partial(F.cross_entropy, reduction=reduction))
    for name, value in weights_of(ours).items():
        torch.testing.assert_close(weights_of(own)[name], value, rtol=1e-4, atol=1e-5)
    assert own.history[-1].valid_loss == pytest.approx(ours.history[-1].valid_loss, rel=1e-4)


def test_an_optimizer_of_ones_own_steps_as_the_recipes_of_that_kind(tmp_path):
    recipe = Recipe(epochs=2, batch=16, augment="none", optimizer="momentum", lr=0.1, weight_decay=0.0)
    ours = trained(tmp_path / "ours", recipe)
    own = trained(tmp_path / "own", recipe, optimizer=lambda weights: torch.optim.SGD(weights, lr=0.1, momentum=0.9))
    for name, value in weights_of(ours).items():
        torch.testing.assert_close(weights_of(own)[name], value, rtol=1e-5, atol=1e-6)


def test_the_schedule_scales_the_rate_of_each_group_of_ones_own_optimizer(tmp_path):
    rates = []
    note = Callback(step=lambda run, loss: rates.append([group["lr"] for group in run.optimizer.param_groups]))
    recipe = Recipe(epochs=2, batch=16, augment="none", schedule="triangular", warmup=0.5)
    run = trained(tmp_path, recipe, optimizer=two_rates, callbacks=[note])
    ramp = [(k + 1) / 4 for k in range(4)] + [1 - (k + 1) / 5 for k in range(4)]
    np.testing.assert_allclose(rates, [[0.02 * share, 0.1 * share] for share in ramp])
    assert run.step == 8


def test_an_augmentation_is_handed_images_from_0_to_1_and_the_network_sees_what_it_returns(tmp_path):
    handed = []

    def turn(x, draw):
        assert isinstance(draw, torch.Generator) and not x.requires_grad
        handed.append(x)
        return x.flip(3)

    run = Run.start(tmp_path / "own", task(PLAIN, augment=turn))
    data, seen = feed(), []
    run.network.register_forward_pre_hook(lambda module, args: seen.append(args))
    list(fit(run, data, feed(30, 1)))
    order = torch.cat(data.order(16, PLAIN.seed, 0))
    expected = data.images.x[order.numpy()].transpose(0, 3, 1, 2).astype(np.float32) / 255
    np.testing.assert_allclose(torch.cat(handed)[:60], expected, rtol=1e-6)
    turned = Images(np.ascontiguousarray(data.images.x[:, :, ::-1]), data.images.y, ("a", "b", "c"), ("",) * 60)
    other = Run.start(tmp_path / "turned", task(PLAIN))
    list(fit(other, Feed(turned, PRE.mean, PRE.std), feed(30, 1)))
    for name, value in weights_of(other).items():
        torch.testing.assert_close(weights_of(run)[name], value, rtol=1e-4, atol=1e-5)


def test_metrics_of_an_epoch_are_those_of_the_validation_images(tmp_path):
    run = trained(tmp_path, PLAIN, metrics={"kappa": kappa, "acc": accuracy, "none": lambda p, y: float("nan")})
    valid = feed(30, 1)
    run.network.eval()
    x = torch.from_numpy(valid.images.x).permute(0, 3, 1, 2).float() / 255
    with torch.no_grad():
        best = run.network((x - 0.25) / 0.2).argmax(1)
    assert run.history[-1].metrics == {
        "kappa": pytest.approx(cohen_kappa_score(valid.y, best)),
        "acc": pytest.approx(run.history[-1].valid_acc),
        "none": None,
    }
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["metrics"] for line in lines] == [row.metrics for row in run.history]


def test_a_run_without_metrics_writes_the_rows_that_it_always_wrote(tmp_path):
    run = trained(tmp_path, PLAIN)
    [first, _] = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert list(json.loads(first)) == ["epoch", "loss", "acc", "valid_loss", "valid_acc", "seconds"]
    assert run.history[0].metrics == {}


def test_callbacks_are_told_of_each_moment_in_turn(tmp_path):
    told = []
    one = Callback(
        start=lambda run: told.append(("start", run.step)),
        step=lambda run, loss: told.append(("step", run.step, round(loss, 9))),
        epoch=lambda run, row: told.append(("epoch", row)),
        end=lambda run: told.append(("end", run.done)),
    )
    tally = Tally()
    run = trained(tmp_path, PLAIN, callbacks=[one, tally])
    losses = [entry[2] for entry in tally.seen if entry[0] == "step"]
    steps = [("step", k + 1, round(loss, 9)) for k, loss in enumerate(losses)]
    assert told == [
        ("start", 0), *steps[:4], ("epoch", run.history[0]), *steps[4:], ("epoch", run.history[1]), ("end", True),
    ]  # fmt: skip
    assert run.history[0].loss == pytest.approx(np.average(losses[:4], weights=[16, 16, 16, 12]))


def test_a_callback_ends_the_training_after_an_epoch_or_within_one(tmp_path):
    after = trained(tmp_path / "epoch", PLAIN, callbacks=[Callback(epoch=lambda run, row: row.epoch == 1)])
    assert (after.done, len(after.history), after.step) == (True, 1, 4)
    within = trained(tmp_path / "step", PLAIN, callbacks=[Callback(step=lambda run, loss: run.step == 2)])
    assert (within.done, len(within.history), within.step) == (True, 1, 2)
    again = Run.resume(tmp_path / "step", within.task)
    assert again.done and list(fit(again, feed(), feed(30, 1))) == [], "what has ended stays so"


def test_stopped_in_the_step_that_ends_it_a_training_goes_on_with_its_validation_alone(tmp_path):
    enough = Callback(step=lambda run, loss: run.step == 2)
    whole = trained(tmp_path / "whole", PLAIN, callbacks=[enough])
    half = Run.start(tmp_path / "half", task(PLAIN, callbacks=[enough]))
    asked = iter((False, True))
    with pytest.raises(StopRequested):
        list(fit(half, feed(), feed(30, 1), stop=lambda: next(asked)))
    again = Run.resume(tmp_path / "half", half.task)
    [row] = fit(again, feed(), feed(30, 1))
    assert (again.step, row.valid_loss) == (2, whole.history[0].valid_loss)


def test_what_a_callback_returns_beside_true_and_false_ends_nothing(tmp_path):
    run = trained(tmp_path, PLAIN, callbacks=[Callback(epoch=lambda run, row: "noted", step=lambda run, loss: 1)])
    assert len(run.history) == PLAIN.epochs


def test_the_end_is_told_also_where_a_training_stops_or_fails(tmp_path):
    ends = []
    run = Run.start(tmp_path, task(PLAIN, callbacks=[Callback(end=lambda run: ends.append(run.done))]))
    with pytest.raises(StopRequested):
        list(fit(run, feed(), feed(30, 1), stop=lambda: run.step == 2))
    next(iter(fit(run, feed(), feed(30, 1))))
    assert ends == [False, False]


EVERYTHING = {
    "loss": focal,
    "augment": jitter,
    "metrics": {"kappa": kappa},
}


@settings(max_examples=12, deadline=None)
@given(stop=st.integers(0, 11), optimizer=st.sampled_from([two_rates, CountingDescent]))
def test_a_run_with_functions_of_ones_own_resumes_bit_for_bit(stop, optimizer, tmp_path_factory):
    """Stopped in any step: weights, rows, the optimizer's states and what the callbacks keep."""
    folder = tmp_path_factory.mktemp("own")
    recipe = Recipe(epochs=3, batch=16, augment="none", ema=0.9, seed=5)
    whole, halved = ({**EVERYTHING, "optimizer": optimizer, "callbacks": [Tally()]} for _ in range(2))
    one = trained(folder / "whole", recipe, **whole)

    half = Run.start(folder / "half", task(recipe, **halved))
    torch.manual_seed(stop)  # where torch's own generator stands must not matter
    asked = iter(range(100))
    with pytest.raises(StopRequested):
        list(fit(half, feed(), feed(30, 1), stop=lambda: next(asked) == stop))
    fresh = {**EVERYTHING, "optimizer": optimizer, "callbacks": [Tally()]}
    other = Run.resume(folder / "half", task(recipe, **fresh))
    list(fit(other, feed(), feed(30, 1)))

    def key(run: Run) -> list:
        return [{name: value for name, value in row.as_dict().items() if name != "seconds"} for row in run.history]

    assert key(other) == key(one)
    assert fresh["callbacks"][0].seen == whole["callbacks"][0].seen
    for name, value in weights_of(one).items():
        assert torch.equal(weights_of(other)[name], value), name
    states = [run.optimizer.state_dict() for run in (one, other)]
    assert states[0]["param_groups"] == states[1]["param_groups"]
    for place, slots in states[0]["state"].items():
        for name, value in slots.items():
            again = states[1]["state"][place][name]
            assert torch.equal(again, value) if isinstance(value, torch.Tensor) else again == value, name


ONCE = {"epochs": 2, "batch": 64, "seed": 1}
SMALL = Net((1, 8, 8), [Conv(4, 3), ReLU(), Flatten(), Dense(10)])


@pytest.fixture(scope="module")
def begun(tmp_path_factory) -> Path:
    """A run of all kinds of functions that was interrupted after its first epoch."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    stop = Callback(epoch=interrupt)
    with pytest.raises(KeyboardInterrupt):
        striate.train("digits", SMALL, out=folder, watch=Watch(), callbacks=[stop], **GIVEN, **ONCE)
    return folder


def interrupt(run, row):
    run.save()
    raise KeyboardInterrupt


def keep_going(run, row):
    return None


def micro_f1(p, y):
    return f1_score(y, p.argmax(1), average="micro")


GIVEN = {"loss": focal, "augment": jitter, "optimizer": two_rates, "metrics": {"f1": micro_f1}}


def test_a_run_goes_on_with_the_same_functions_alone_and_names_them(begun, tmp_path):
    stop = Callback(epoch=interrupt)
    again = {"out": begun, "resume": True, "watch": Watch()}
    changed = [
        ("loss", {"loss": None}, "no loss of your own", f"it began with {__name__}:focal"),
        ("loss", {"loss": F.cross_entropy}, "torch.nn.functional:cross_entropy", f"it began with {__name__}:focal"),
        ("augment", {"augment": None}, "no augment of your own", f"it began with {__name__}:jitter"),
        (
            "optimizer",
            {"optimizer": CountingDescent},
            f"{__name__}:CountingDescent",
            f"it began with {__name__}:two_rates",
        ),
        (
            "metrics",
            {"metrics": {"f": micro_f1}},
            f"f ({__name__}:micro_f1)",
            f"it began with f1 ({__name__}:micro_f1)",
        ),
        ("callbacks", {"callbacks": None}, "no callbacks of your own", f"Callback(epoch={__name__}:interrupt)"),
    ]
    for kind, change, got, rule in changed:
        with pytest.raises(RunError) as e:
            striate.train("digits", **{**GIVEN, "callbacks": [stop], **change}, **again)
        assert e.value.where == f"{begun}: {kind}"
        assert (e.value.got, rule in e.value.rule) == (got, True)
    files = {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()}
    with pytest.raises(KeyboardInterrupt):  # it goes on, and the callback interrupts it after the second epoch
        striate.train("digits", callbacks=[stop], **GIVEN, **again)
    assert {path: path.read_bytes() for path in begun.rglob("*") if path.is_file()} != files


def test_a_run_without_functions_is_not_resumed_with_one(tmp_path):
    folder = tmp_path / "run"
    striate.train("digits", SMALL, out=folder, watch=Watch(), epochs=1)
    with pytest.raises(RunError) as e:
        striate.train("digits", out=folder, resume=True, watch=Watch(), loss=focal)
    assert (e.value.rule, e.value.hint) == ("it began with no loss of your own", "resume it without loss=")
    striate.train("digits", out=folder, resume=True, watch=Watch())


def test_train_says_what_it_was_given_in_the_plan_the_files_and_the_report(tmp_path, capsys):
    run = striate.train(
        "digits", SMALL, out=tmp_path / "run", callbacks=[Tally()], watch=TerminalWatch(), **GIVEN, **ONCE
    )
    said = " ".join(capsys.readouterr().err.split())
    assert (
        f"2 epochs, batch size 64, {__name__}:two_rates, triangular schedule, augmentation: {__name__}:jitter" in said
    )
    assert f"your own loss {__name__}:focal; metrics f1 ({__name__}:micro_f1); callbacks {__name__}:Tally" in said
    assert f"f1 {run.history[0].metrics['f1']:.4f}" in said
    kept = json.loads((run.folder / "recipe.json").read_text())
    assert kept["own"] == {
        "loss": f"{__name__}:focal",
        "augment": f"{__name__}:jitter",
        "optimizer": f"{__name__}:two_rates",
        "metrics": {"f1": f"{__name__}:micro_f1"},
        "callbacks": [f"{__name__}:Tally"],
    }
    recipe = run.model.header.recipe
    assert recipe["own_loss"] == f"{__name__}:focal" and "optimizer" not in recipe and "lr" not in recipe
    assert run.report.metrics == {"f1": pytest.approx(run.report.accuracy)}, "micro F1 of one label an image"
    assert json.loads(run.folder.joinpath("report.json").read_text())["metrics"] == run.report.metrics
    page = (run.folder / "report.html").read_text()
    assert f"Loss: {__name__}:focal" in page and "<h3>f1</h3>" in page
    assert f"f1 {run.report.metrics['f1']:.3f}" in " ".join(str(run.report).split())


def test_the_weights_of_such_a_run_are_handed_on_and_its_functions_named(tmp_path, capsys):
    run = striate.train("digits", SMALL, out=tmp_path / "run", watch=Watch(), **GIVEN, **ONCE)
    on = striate.train("digits", weights=run.folder, out=tmp_path / "on", watch=TerminalWatch())
    assert len(on.history) == 2, "its epochs, which are of the recipe, are handed on"
    said = " ".join(capsys.readouterr().err.split())
    assert f"its own loss {__name__}:focal, augment {__name__}:jitter" in said
    with pytest.raises(RunError, match="functions of its user's own"):
        striate.label_errors("digits", run.folder, parts=2, watch=Watch())
    with pytest.raises(RunError, match="loss is a function of its user's own"):
        striate.trace_update(run.folder, np.zeros((8, 8), "uint8"), "dense2", 0, 0, label="3")


WRONG = [
    ({"loss": "focal"}, "loss: this is no function"),
    ({"loss": nn.Bilinear(2, 2, 2)}, "loss: this loss has weights of its own, which no optimizer"),
    ({"metrics": [kappa]}, "metrics: metrics have names"),
    ({"metrics": {"kappa": 3}}, "metrics.kappa: this is no function with a name"),
    ({"callbacks": Tally()}, "callbacks: callbacks are a list"),
    ({"callbacks": [print]}, "callbacks[0]: this has none of the methods start, step, epoch, end"),
    ({"loss": focal, "label_smoothing": 0.1}, "recipe.label_smoothing: your own loss takes the place of this setting"),
    ({"loss": focal, "balance": "weights"}, "recipe.balance: your own loss takes the place of this setting"),
    ({"optimizer": two_rates, "lr": 0.1}, "recipe.lr: your own optimizer takes the place of this setting"),
    ({"loss": focal, "preset": "transfer"}, "loss: a function of your own has no meaning here"),
    ({"optimizer": lambda weights: None}, "this is no torch.optim.Optimizer"),
    ({"optimizer": lambda weights: torch.optim.SGD(weights[:1], lr=1)}, "it leaves out conv1.bias, dense1.weight"),
    ({"optimizer": torch.optim.LBFGS}, "asks for the loss again within a step"),
    ({"loss": lambda logits, targets: logits}, "a loss is one number, the mean over the images, or a number for each"),
    ({"loss": lambda logits, targets: 3.0}, "a loss is one number, the mean over the images, or a number for each"),
    ({"loss": lambda logits, targets: focal(logits.detach(), targets)}, "no gradient comes back from this loss"),
    ({"augment": lambda x, draw: x[:, :, :4]}, "these are not the images"),
    ({"augment": lambda x, draw: (255 * x).byte()}, "these are not the images"),
    ({"metrics": {"p": lambda p, y: p}}, "a metric is one number"),
    ({"device": "cuda"}, "device: the device is not a setting: a run trains on the GPU that torch sees first"),
    ({"valid": "photos"}, "valid: the images to validate on come with the data"),
    ({"batch_size": 3}, "batch_size: the batch size is called batch"),
    ({"net": nn.Sequential(nn.Flatten(), nn.Linear(64, 10))}, "net: this is not a network"),
]  # fmt: skip


@pytest.mark.parametrize(("given", "what"), WRONG, ids=[what[:40] for _, what in WRONG])
def test_what_cannot_be_used_is_named(given, what, tmp_path):
    with pytest.raises((RecipeError, RunError, NetError)) as e:
        striate.train("digits", **{"net": SMALL, "out": tmp_path / "run", "watch": Watch(), "epochs": 1} | given)
    assert what in str(e.value)


@settings(max_examples=3, deadline=None)
@given(st.sampled_from(["loss", "augment", "optimizer"]))
def test_a_preset_gives_way_to_functions_of_ones_own(kind):
    callables = make_callables(**{kind: GIVEN[kind]})
    from striate.runs.request import settle_replaced

    given = settle_replaced(callables, {"epochs": 1})
    recipe = Recipe(**({"label_smoothing": 0.1, "augment": "flip", "balance": "weights", "weight_decay": 0.0} | given))
    expected = {"loss": recipe.label_smoothing == 0 and recipe.balance == "none", "augment": recipe.augment == "none"}
    assert expected.get(kind, recipe.weight_decay == Recipe().weight_decay)


def test_a_recipe_that_leaves_a_setting_alone_may_stand_beside_the_function_and_one_that_sets_it_not(tmp_path):
    given = {"net": SMALL, "augment": jitter, "loss": focal, "watch": Watch()}
    run = striate.train("digits", recipe=Recipe(epochs=1), out=tmp_path / "run", **given)
    assert run.recipe.augment == "none"
    file = tmp_path / "recipe.toml"
    file.write_text("epochs = 1\nlabel_smoothing = 0.1\n")
    for recipe in (file, Recipe(epochs=1, label_smoothing=0.1)):
        with pytest.raises(RecipeError, match="your own loss takes the place of this setting"):
            striate.train("digits", recipe=recipe, out=tmp_path / "no", **given)
    file.write_text("epochs = 1\n")
    striate.train("digits", recipe=file, out=tmp_path / "file", **given)


def test_names_are_the_same_in_every_process():
    assert name_function(focal) == f"{__name__}:focal"
    assert name_function(partial(focal, gamma=1.5)) == f"{__name__}:focal(gamma=1.5)"
    assert name_function(partial(focal, object())) == f"{__name__}:focal(a object)"
    assert name_function(nn.CrossEntropyLoss()) == "torch.nn.modules.loss:CrossEntropyLoss"
    assert name_function(Tally().step) == f"{__name__}:Tally.step"
    assert Callables().names == {}


def test_stopped_it_says_how_to_go_on_with_its_functions_and_with_data_of_pythons_own(tmp_path):
    def stop(run, row):
        os.kill(os.getpid(), signal.SIGINT)

    draw = np.random.default_rng(0)
    x, y = draw.integers(0, 256, (40, 8, 8), np.uint8), np.arange(40) % 10
    for data, named in (("digits", '"digits"'), ((x, y), "data")):
        folder = tmp_path / named.strip('"')
        given = {"loss": focal, "callbacks": [Callback(epoch=stop)], "out": folder, "watch": Watch()}
        with pytest.raises(striate.runs.training.TrainingInterrupted) as e:
            striate.train(data, SMALL, epochs=3, batch=16, **given)
        call = str(e.value).splitlines()[-1].strip()
        assert call == f'striate.train({named}, loss=…, callbacks=…, out="{folder}", resume=True)'
        assert len((folder / "metrics.jsonl").read_text().splitlines()) == 1
        with pytest.raises(striate.runs.training.TrainingInterrupted):
            striate.train(data, resume=True, **given)
        assert len((folder / "metrics.jsonl").read_text().splitlines()) == 2

    class Stopping(Watch):
        def epoch(self, row, epochs, best):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(striate.runs.training.TrainingInterrupted) as e:
        striate.train((x, y), SMALL, epochs=3, batch=16, out=tmp_path / "own", watch=Stopping())
    assert str(e.value).splitlines()[-1].strip() == f'striate.train(data, out="{tmp_path / "own"}", resume=True)'


def test_in_a_cross_validation_a_callback_begins_each_fold_afresh(tmp_path):
    tally = Tally()
    striate.train(
        "digits", SMALL, folds=2, out=tmp_path / "run", epochs=1, keep="none", callbacks=[tally], watch=Watch()
    )
    heads = [read_checkpoint_head(RunFiles(tmp_path / "run").fold(number).folder) for number in (1, 2)]
    kept = [head["callbacks"][0] for head in heads]
    assert all(seen[0][:2] == ["step", 1] and seen[-1] == ["epoch", 1] for seen in kept)
    assert [len(seen) for seen in kept] == [head["step"] + 1 for head in heads]


def test_the_hints_work(tmp_path):
    run = striate.train("digits", SMALL, out=tmp_path / "run", epochs=1, batch=64, lr=0.01, watch=Watch())
    on = striate.train(
        "digits", preset="best", weights=run.folder, loss=focal, epochs=1, out=tmp_path / "on", watch=Watch()
    )
    assert on.model.net.layers == SMALL.layers
    assert eval(NET_CODE).classes == 10


def test_a_path_is_a_net_too(tmp_path):
    file = tmp_path / "net.txt"
    file.write_text(repr(SMALL))
    run = striate.train("digits", file, out=tmp_path / "run", watch=Watch(), epochs=1)
    assert run.model.net == SMALL


def test_a_loop_of_ones_own_goes_around_fit(tmp_path):
    run = Run.start(tmp_path, task(PLAIN))
    rows = list(islice(fit(run, feed(), feed(30, 1)), 1))
    assert [row.epoch for row in rows] == [1] and not run.done
    assert [row.epoch for row in fit(Run.resume(tmp_path, run.task), feed(), feed(30, 1))] == [2]
