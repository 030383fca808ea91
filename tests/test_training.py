"""Training: it learns, its optimizers are the named ones, and a run that was stopped ends as one that was not."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

import striate
from striate import BatchNorm, Conv, Dense, Dropout, Flatten, GlobalAvgPool, MaxPool, Net, ReLU, SideHead
from striate.data.images import Images
from striate.engines.model_file import Preprocess
from striate.errors import ModelError, RecipeError, RunError
from striate.fitting.augment import augment_images
from striate.fitting.batches import Feed, count_steps, shuffle_batches, standardise_batch
from striate.fitting.checkpoint import Task
from striate.fitting.loop import StopRequested, fit, score_network
from striate.fitting.recipe import Recipe, read_recipe
from striate.fitting.run import Run
from striate.fitting.schedule import compute_rate_factor
from striate.fitting.seeds import make_generator
from striate.fitting.watch import Watch
from striate.optimizers.in_torch.steps import DecoupledMomentum, TorchMuon, orthogonalise_in_torch
from striate.run_files import RunFiles
from striate.runs.training import format_outcome
from tests import forked


def small(side: bool = False) -> Net:
    head = [SideHead(GlobalAvgPool(), Dense(3))] if side else []
    first = [Conv(8, 3, padding="same"), BatchNorm(), ReLU(), *head, MaxPool(2)]
    return Net((1, 8, 8), [*first, Conv(6, 3), ReLU(), Flatten(), Dropout(0.3), Dense(3)])


def images(n: int = 90, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Three classes that a convolution tells apart: noise with a bright row, a bright column or neither."""
    draw = np.random.default_rng(seed)
    x = draw.integers(0, 90, (n, 8, 8, 1), dtype=np.uint8)
    y = np.arange(n) % 3
    for i in range(n):
        place = draw.integers(8)
        if y[i] == 0:
            x[i, place] += 120
        elif y[i] == 1:
            x[i, :, place] += 120
    return x, y


def resident(n: int = 90, seed: int = 0) -> Feed:
    x, y = images(n, seed)
    return Feed(Images(x, y, ("a", "b", "c"), ("",) * n), (0.25,), (0.2,))


def task(**settings) -> Task:
    net = settings.pop("net", None) or small()
    given = read_recipe(**({"epochs": 3, "batch": 16, "augment": "shift", "seed": 5} | settings))
    return Task(net, given, ("a", "b", "c"), Preprocess((8, 8), "pad", (0.25,), (0.2,)), "fp", "0")


def state(run: Run) -> dict:
    return {name: tensor.clone() for name, tensor in run.network.state_dict().items()}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def rows(history) -> list:
    return [(r.epoch, r.loss, r.acc, r.valid_loss, r.valid_acc) for r in history]


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "sgd"},
        {"optimizer": "momentum"},
        {"optimizer": "nesterov", "ema": 0.9},
        {"optimizer": "nesterov", "decoupled": True, "augment": "alternating-flip+vflip+rot90", "views": "flip"},
        {"optimizer": "rmsprop"},
        {"optimizer": "lion", "weight_decay": 0.1},
        {"optimizer": "muon", "lr": 0.02, "lookahead": 3, "augment": "alternating-flip+shift"},
        {"optimizer": "adamw", "whiten": True, "bn_momentum": 0.4},
        {"optimizer": "adam", "balance": "weights", "accumulate": 3},
        {"optimizer": "adamw", "balance": "sampling", "augment": "shift+mixup+cutmix", "label_smoothing": 0.1},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_every_recipe_learns_and_resumes_in_mid_epoch_bit_for_bit(settings, tmp_path):
    train, valid = resident(), resident(30, seed=1)
    whole = Run.start(tmp_path / "whole", task(**settings, epochs=4))
    history = list(fit(whole, train, valid))
    assert history[-1].loss < history[0].loss

    for stop_after in (1, 6, 8, 24):  # of 6 an epoch: with 6 and 24 the epoch's validation is still to come
        folder = tmp_path / f"half-{stop_after}"
        half = Run.start(folder, task(**settings, epochs=4))
        asked = iter([False] * (stop_after - 1) + [True])
        with pytest.raises(StopRequested):
            list(fit(half, train, valid, stop=lambda asked=asked: next(asked)))
        resumed = Run.resume(folder, task(**settings, epochs=4))
        assert resumed.step == stop_after
        list(fit(resumed, train, valid))
        assert same(state(resumed), state(whole))
        assert rows(resumed.history) == rows(whole.history)
        one, other = (r.folder / "model.safetensors" for r in (resumed, whole))
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("at", ["middle", "end"])
def test_a_run_that_version_0_1_0_left_behind_goes_on(at, tmp_path):
    """Stopped after step 6 of 8, and after the last one, whose epoch that version then took for done.

    Weights to a rounding, for the first steps were another processor's.
    """
    shutil.copytree(Path(__file__).parent / "reference" / "stopped" / at, tmp_path / at)
    began = json.loads((tmp_path / at / "recipe.json").read_text())
    whole = striate.train(
        "digits", began["net"], out=tmp_path / "whole", size=8, watch=Watch(), **began["recipe"]
    )  # fmt: skip
    run = striate.train("digits", out=tmp_path / at, resume=True, watch=Watch())
    assert [row.epoch for row in run.history] == [1, 2]
    for one, other in zip(rows(run.history), rows(whole.history), strict=True):
        assert one == pytest.approx(other, rel=1e-3)
    for name, tensor in state(run).items():
        torch.testing.assert_close(tensor, state(whole)[name], rtol=1e-3, atol=1e-4)


def test_checkpoints_take_no_more_than_a_fiftieth_of_the_time(tmp_path):
    run = Run.start(tmp_path, task())
    run.save()
    assert 0 < run.saving < 30 and run.pause == max(30, 50 * run.saving)
    run.saving = 2.0
    assert run.pause == 100
    run.save_every = 0.1
    assert run.pause == 0.1


def test_a_run_between_two_epochs_may_be_dropped_and_loaded(tmp_path):
    train, valid = resident(), resident(30, seed=1)
    whole = Run.start(tmp_path / "whole", task(net=small(side=True), augment="flip+affine+cutout"))
    list(fit(whole, train, valid))
    half = Run.start(tmp_path / "half", task(net=small(side=True), augment="flip+affine+cutout"))
    list(islice(fit(half, train, valid), 2))
    resumed = Run.resume(tmp_path / "half", task(net=small(side=True), augment="flip+affine+cutout"))
    list(fit(resumed, train, valid))
    assert same(state(resumed), state(whole))


def test_a_batch_in_parts_is_the_batch_whole(tmp_path):
    """Without BatchNorm, whose statistics are of a part, the gradients of the parts add up to the batch's."""
    net = Net((1, 8, 8), [Conv(8, 3), ReLU(), Flatten(), Dense(3)])
    runs = [Run.start(tmp_path / str(k), task(net=net, accumulate=k, epochs=1)) for k in (1, 4)]
    one, four = (next(fit(run, resident(), resident(30))) for run in runs)
    assert one.loss == pytest.approx(four.loss, rel=1e-5)
    for name, tensor in state(runs[0]).items():
        torch.testing.assert_close(tensor, state(runs[1])[name], rtol=1e-3, atol=1e-5)


def test_the_average_is_the_running_mean_of_the_weights(tmp_path):
    run = Run.start(tmp_path, task(ema=0.5, epochs=1))
    mean = {name: tensor.double() for name, tensor in state(run).items()}
    for step, _ in enumerate(steps_of_a_run(run), start=1):
        decay = min(0.5, (1 + step) / (10 + step))
        mean = {name: decay * mean[name] + (1 - decay) * tensor.double() for name, tensor in state(run).items()}
    for name, tensor in run.average.state_dict().items():
        torch.testing.assert_close(tensor.double(), mean[name], rtol=1e-5, atol=1e-6)


def steps_of_a_run(run: Run):
    """Yield after each of the run's steps, which a thread of its own takes."""
    import queue
    import threading

    done, go = queue.Queue(), queue.Queue()

    def tick(*_) -> None:
        done.put(True)
        go.get()

    def whole() -> None:
        torch.set_num_threads(1)
        list(fit(run, resident(), resident(30), tick=tick))
        done.put(False)

    thread = threading.Thread(target=whole)
    thread.start()
    while done.get():
        yield
        go.put(True)
    thread.join()


def test_training_leaves_the_users_generators_alone(tmp_path):
    torch.manual_seed(3)
    expected = torch.rand(3)
    torch.manual_seed(3)
    list(fit(Run.start(tmp_path, task(epochs=1)), resident(), resident(30)))
    assert torch.equal(torch.rand(3), expected)


def test_a_loss_that_is_not_finite_stops_the_run_and_says_what_to_try(tmp_path):
    run = Run.start(tmp_path, task(optimizer="sgd", lr=1e30, schedule="constant", warmup=0.0))
    with pytest.raises(RunError) as e:
        list(fit(run, resident(), resident(30)))
    assert e.value.where.startswith("step ")
    assert e.value.hint == "--lr 1e+29, a tenth of the present one"


def test_a_loss_that_is_not_finite_leaves_what_was_saved(tmp_path):
    run = Run.start(tmp_path, task())
    going = fit(run, resident(), resident(30))
    next(going)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with torch.no_grad():
        run.network.state_dict()["dense1.bias"].fill_(torch.inf)
    with pytest.raises(RunError, match="not finite"):
        next(going)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files


def test_side_heads_are_trained(tmp_path):
    run = Run.start(tmp_path, task(net=small(side=True), epochs=1))
    before = state(run)
    list(fit(run, resident(), resident(30)))
    assert not torch.equal(before["aux1.dense1.weight"], run.network.state_dict()["aux1.dense1.weight"])


@pytest.mark.parametrize(
    "change, key",
    [
        ({"seed": 6}, "recipe"),
        ({"net": Net((1, 8, 8), [Flatten(), Dense(3)])}, "net"),
    ],
)
def test_a_checkpoint_of_another_task_is_refused(change, key, tmp_path):
    run = Run.start(tmp_path, task())
    list(islice(fit(run, resident(), resident(30)), 1))
    with pytest.raises(RunError, match=f"this run began with another {key}"):
        Run.resume(tmp_path, task(**change))


def test_a_broken_checkpoint_is_refused(tmp_path):
    with pytest.raises(RunError, match="no checkpoint"):
        Run.resume(tmp_path, task())
    RunFiles(tmp_path).checkpoint.parent.mkdir()
    RunFiles(tmp_path).checkpoint.write_bytes(b"\x00" * 100)
    with pytest.raises(ModelError, match="cannot be read"):
        Run.resume(tmp_path, task())


def test_the_batches_of_an_epoch_hold_each_image_once():
    for n, batch in ((90, 16), (33, 16), (7, 8), (16, 16)):
        batches = shuffle_batches(n, batch, seed=1, epoch=0)
        assert len(batches) == count_steps(n, batch)
        seen = torch.cat(batches).tolist()
        assert len(set(seen)) == len(seen) == (n - 1 if n % batch == 1 else n)
    assert shuffle_batches(90, 16, 1, 0)[0].tolist() != shuffle_batches(90, 16, 1, 1)[0].tolist()
    assert shuffle_batches(90, 16, 1, 0)[0].tolist() == shuffle_batches(90, 16, 1, 0)[0].tolist()


def test_standardised_is_two_lines_of_numpy():
    x = np.random.default_rng(0).integers(0, 256, (4, 5, 6, 3), dtype=np.uint8)
    mean, std = np.array([0.1, 0.2, 0.3], np.float32), np.array([0.5, 0.6, 0.7], np.float32)
    y = standardise_batch(torch.from_numpy(x), torch.from_numpy(mean), torch.from_numpy(std))
    np.testing.assert_allclose(y.numpy(), ((x / 255 - mean) / std).transpose(0, 3, 1, 2), atol=1e-5)
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_a_flip_mirrors_and_a_shift_moves_and_repeats_the_edge():
    x = torch.arange(28 * 28, dtype=torch.int32).remainder(251).to(torch.uint8).view(1, 28, 28, 1).repeat(64, 1, 1, 1)
    flipped = augment_images(x, ("flip",), make_generator(0))
    kinds = {bool(torch.equal(image, x[0])) for image in flipped}
    assert kinds == {True, False}
    assert all(torch.equal(image, x[0]) or torch.equal(image, x[0].flip(1)) for image in flipped)
    padded = torch.nn.functional.pad(x[:1].permute(0, 3, 1, 2).float(), (2, 2, 2, 2), mode="replicate")
    places = {(i, j): padded[0, 0, i : i + 28, j : j + 28] for i in range(5) for j in range(5)}
    for image in augment_images(x, ("shift",), make_generator(0)):
        assert any(torch.equal(image[..., 0].float(), place) for place in places.values())


def test_affine_leaves_a_constant_image_constant_and_cutout_covers_a_part():
    x = torch.full((8, 16, 16, 3), 77, dtype=torch.uint8)
    torch.testing.assert_close(augment_images(x, ("affine",), make_generator(0)), x.float())
    noise = torch.where(torch.rand(8, 16, 16, 3, generator=make_generator(2)) < 0.5, 0, 255).to(torch.uint8)
    shares = [
        ((image != 0) & (image != 255)).float().mean().item()
        for image in augment_images(noise, ("cutout",), make_generator(1))
    ]
    assert all(1 / 16 <= share <= 1 / 4 for share in shares) and len(set(shares)) > 1


def test_a_muon_step_moves_every_direction_equally_far_and_as_far_as_adam():
    """NumPy's singular values of one step, and AdamW's own root mean square for the first step: 1, times 0.2."""
    weight = torch.nn.Parameter(torch.randn(16, 4, 3, 3, generator=make_generator(0)))
    before = weight.detach().clone()
    weight.grad = torch.randn(16, 4, 3, 3, generator=make_generator(1))
    TorchMuon([{"params": [weight]}], lr=0.01, momentum=0.9).step()
    step = ((weight.detach() - before) / -0.01).flatten(1).numpy()
    values = np.linalg.svd(step, compute_uv=False) / (0.2 * 36**0.5)
    assert 0.6 < values.min() and values.max() < 1.3
    assert np.sqrt((step**2).mean()) == pytest.approx(0.2, rel=0.15)
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 9)) for _ in range(2))
    one = TorchMuon([{"params": [ours], "weight_decay": 0.1}], lr=0.01, momentum=0.9)
    other = torch.optim.AdamW([theirs], lr=0.01, weight_decay=0.1)
    for k in range(3):
        ours.grad = theirs.grad = torch.linspace(2, -1, 9) ** (k + 1)
        one.step(), other.step()
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("shape", [(16, 9), (9, 16), (24, 200), (200, 24), (7, 7)])
def test_a_matrix_is_made_orthogonal_as_its_singular_values_go_through_the_rounds(shape):
    """NumPy's singular values in float64, each through the polynomial of Jordan's post five times."""
    draw = np.random.default_rng(0)
    u, _, v = np.linalg.svd(draw.normal(size=shape), full_matrices=False)
    values = np.geomspace(5.0, 1e-3, min(shape))
    wanted = values / np.linalg.norm(values)
    for _ in range(5):
        wanted = 3.4445 * wanted - 4.7750 * wanted**3 + 2.0315 * wanted**5
    given = torch.from_numpy((u * values) @ v).float()
    threads = torch.get_num_threads()
    np.testing.assert_allclose(orthogonalise_in_torch(given).numpy(), (u * wanted) @ v, atol=2e-3)
    assert not orthogonalise_in_torch(torch.zeros(shape)).any()
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("nesterov", [False, True])
def test_decoupled_momentum_is_torchs_with_the_rate_shared_out_and_the_decay_apart(nesterov):
    draw = make_generator(3)
    ours, theirs = (torch.nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4)) for _ in range(2))
    one = DecoupledMomentum([{"params": [ours], "weight_decay": 0.3}], 0.2, 0.8, nesterov)
    other = torch.optim.SGD([theirs], 0.2 * (1 - 0.8), momentum=0.8, nesterov=nesterov)
    for _ in range(4):
        ours.grad = theirs.grad = torch.randn(3, 4, generator=draw)
        with torch.no_grad():
            theirs.mul_(1 - 0.2 * 0.3)
        one.step(), other.step()
        torch.testing.assert_close(ours, theirs)
    assert one.param_groups[0]["lr"] == 0.2 and one.param_groups[0]["weight_decay"] == 0.3


def test_under_a_steady_gradient_the_decoupled_rate_does_not_depend_on_momentum():
    for momentum in (0.5, 0.9):
        weight = torch.nn.Parameter(torch.zeros(1))
        optimizer = DecoupledMomentum([{"params": [weight], "weight_decay": 0.0}], 0.1, momentum, nesterov=False)
        for _ in range(200):
            before, weight.grad = weight.detach().clone(), torch.ones(1)
            optimizer.step()
        torch.testing.assert_close(before - weight.detach(), torch.tensor([0.1]), rtol=1e-4, atol=0)


def test_the_schedules_reach_their_peak_and_end_low():
    for name in ("triangular", "cosine", "step", "constant"):
        rates = [compute_rate_factor(name, step, 100, 0.2) for step in range(100)]
        assert max(rates) == 1.0 == rates[19]
        assert rates[:20] == sorted(rates[:20])
        assert rates[-1] == {"constant": 1.0, "step": 0.01}.get(name, pytest.approx(0, abs=0.02))
    assert [compute_rate_factor("triangular", step, 4, 0.0) for step in range(4)] == [1.0, 0.75, 0.5, 0.25]


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"epoch": 3}, "recipe.epoch: a recipe has no such setting\n  hint  did you mean 'epochs'?"),
        ({"epochs": 0}, "recipe.epochs: epochs must be at least 1\n  got   0"),
        ({"lr": -1.0}, "recipe.lr: lr must be above 0\n  got   -1.0"),
        ({"augment": "flip+shfit"}, "recipe.augment: there is no 'shfit'\n  hint  did you mean 'shift'?"),
    ],
)
def test_a_wrong_recipe_is_refused(settings, message):
    with pytest.raises(RecipeError) as e:
        read_recipe(**settings)
    assert str(e.value) == message


def test_a_recipe_comes_from_a_file_and_flags_go_over_it(tmp_path):
    file = tmp_path / "recipe.toml"
    file.write_text('epochs = 7\noptimizer = "nesterov"\nlr = 0.2\n')
    assert read_recipe(file, lr=0.1, batch=None) == Recipe(epochs=7, optimizer="nesterov", lr=0.1)
    file.write_text("optimizer = 'adamax'\n")
    with pytest.raises(RecipeError, match="adamax"):
        read_recipe(file)
    file.write_text("epochs = \n")
    with pytest.raises(RecipeError, match="cannot be read"):
        read_recipe(file)


def test_score_is_torchs_loss_and_accuracy(tmp_path):
    run = Run.start(tmp_path, task())
    data = resident(40)
    loss, acc = score_network(run.network, data)
    logits = run.network.eval()(standardise_batch(data.x, data.mean, data.std))
    assert loss == pytest.approx(torch.nn.functional.cross_entropy(logits, data.y).item(), rel=1e-5)
    assert acc == (logits.argmax(1) == data.y).double().mean().item()


def test_the_whole_way_from_arrays_to_a_report(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = striate.train(images(900), small(), epochs=8, watch=Watch(), augment="none", lr=0.01)
    assert run.folder.as_posix() == "runs/arrays-1"
    assert run.report.accuracy >= 0.9
    files = {path.relative_to(run.folder).as_posix() for path in run.folder.rglob("*") if path.is_file()}
    assert files == {
        "model.safetensors",
        "checkpoint/images.safetensors",
        "checkpoint/last.safetensors",
        "metrics.jsonl",
        "recipe.json",
        "report.html",
        "report.json",
    }
    lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 9))
    model = striate.load(run.folder)
    best = max(lines, key=lambda line: (line["valid_acc"], -line["valid_loss"]))
    assert model.header.metrics["epoch"] == best["epoch"]
    x, y = images(60, seed=9)
    assert np.mean([model.predict(image).label == str(label) for image, label in zip(x, y, strict=True)]) > 0.8


WORDS = ("train", "digits", "--size", "16", "--net", "lenet5", "--epochs", "2")


def finished(*words: str, folder) -> subprocess.CompletedProcess:
    return forked.run(["-m", "striate", *words], cwd=folder)


def interrupted(number: int, *words: str, folder) -> tuple[int, str]:
    """Run the command, send it the signal after its first epoch; its exit code and what it said from then on."""
    running = forked.Forked(["-m", "striate", *words], cwd=folder)
    for line in running.stderr:
        if line.startswith("epoch"):
            running.send_signal(number)
            break
    said = running.communicate()[1]
    return running.returncode, said


SLOW_SIGNALS = [pytest.param(name, marks=pytest.mark.slow) for name in ("SIGINT", "SIGTERM")]


@pytest.mark.parametrize("name", ["SIGHUP", "SIGKILL", *SLOW_SIGNALS])
def test_a_run_that_a_signal_ends_goes_on_as_if_nothing_had_happened(name, tmp_path):
    number = getattr(signal, name, None)
    if number is None:
        pytest.skip(f"this system has no {name}")
    code, said = interrupted(number, *WORDS, "--out", "stopped", folder=tmp_path)
    if number == signal.SIGKILL:
        assert code == -signal.SIGKILL
        again = finished(*WORDS, "--out", "stopped", folder=tmp_path)
        assert again.returncode == 2 and "this folder holds a run already" in again.stderr
    else:
        assert (code, said.splitlines()[-1].strip()) == (130, "striate train digits --out stopped --resume")
    going_on = finished("train", "digits", "--out", "stopped", "--resume", folder=tmp_path)
    assert going_on.returncode == 0, going_on.stderr
    whole = striate.train("digits", "lenet5", out=tmp_path / "whole", size=16, epochs=2, watch=Watch())
    one, other = (folder / "model.safetensors" for folder in (tmp_path / "stopped", whole.folder))
    assert one.read_bytes() == other.read_bytes()


def test_what_comes_of_a_training_names_the_classes_that_were_not_measured(tmp_path):
    x = np.random.default_rng(0).integers(0, 256, (36, 8, 8), np.uint8)
    y = np.repeat(["often", "thrice", "once"], [32, 3, 1])
    run = striate.train((x, y), "lenet5", out=tmp_path / "run", size=16, epochs=1, watch=Watch())
    assert run.report.unmeasured == ("once",)
    assert "not measured, no images: once" in format_outcome(run)
    assert "no image to test on in once: it is not measured there" in (tmp_path / "run" / "report.html").read_text()
