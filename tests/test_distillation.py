"""A teacher: what its answers weigh in the loss, that they are its own, and that a run keeps to them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

import striate
from striate.errors import ModelError, RecipeError, RunError
from striate.fitting.augment import augment_and_mix
from striate.fitting.distillation import join_targets
from striate.fitting.gradient import GradientStep
from striate.fitting.last_step import read_last_step
from striate.fitting.recipe import Recipe
from striate.fitting.seeds import make_generator
from striate.fitting.watch import Watch
from striate.runs.training import TrainingInterrupted
from tests.stopping import StopAfterSteps

NET = "Net((1, 8, 8), [Conv(4, 3), ReLU(), Flatten(), Dense(10)])"
SMALL = "Net((1, 8, 8), [Flatten(), Dense(10)])"


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images[:600] * 15.9).astype(np.uint8), found.target[:600]


@pytest.fixture(scope="module")
def teacher(digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "run"
    return striate.train(digits, NET, epochs=12, lr=0.02, augment="none", out=folder, watch=Watch())


def learn(digits, folder: Path, teacher: object, **given: object):
    usual = {"epochs": 3, "batch": 50, "watch": Watch(), "out": folder, "teacher": teacher}
    return striate.train(digits, SMALL, **usual | given)


def make_step(**settings: object) -> GradientStep:
    none = torch.zeros(1)
    return GradientStep(Recipe(**settings), None, None, none, none, None, None, 1)


@given(seed=st.integers(0, 99), share=st.floats(0, 1), temperature=st.sampled_from([0.5, 1.0, 4.0]))
def test_the_loss_is_the_labels_and_the_teachers_each_by_its_share(seed, share, temperature):
    """The teacher's gradient is that of Hinton, Vinyals and Dean 2015, equation 2, (q − p) / T, times T²."""
    draw = np.random.default_rng(seed)
    logits, theirs = draw.normal(0, 3, (2, 6, 5))
    labels = draw.integers(0, 5, 6)
    z = torch.tensor(logits, dtype=torch.float32, requires_grad=True)
    taught = torch.tensor(theirs, dtype=torch.float32).log_softmax(1)
    step = make_step(distillation=share, temperature=temperature)
    step.share_loss(z, join_targets(torch.tensor(labels), taught, temperature), 6).backward()

    def soften(values: np.ndarray, by: float) -> np.ndarray:
        e = np.exp(values / by)
        return e / e.sum(1, keepdims=True)

    of_labels = soften(logits, 1) - np.eye(5)[labels]
    of_teacher = temperature * (soften(logits, temperature) - soften(theirs, temperature))
    assert np.allclose(z.grad, ((1 - share) * of_labels + share * of_teacher) / 6, atol=1e-5)


@pytest.mark.parametrize("name", ["mixup", "cutmix"])
def test_what_mixes_two_images_mixes_their_labels_and_the_teachers_answers_alike(name):
    y, x = torch.arange(8) % 4, torch.rand(8, 6, 6, 1) * 255
    one_hot = torch.eye(4)[y]
    targets = torch.cat([one_hot, one_hot.flip(1)], 1)
    _, plain = augment_and_mix(x, y, (name,), make_generator(3), 4)
    _, both = augment_and_mix(x, targets, (name,), make_generator(3), 4)
    assert torch.equal(both[:, :4], plain) and torch.equal(both[:, 4:], plain.flip(1))
    assert not torch.equal(plain, one_hot)


def test_its_answers_are_kept_in_the_order_of_the_datas_classes(digits, teacher, tmp_path):
    """Of a teacher whose classes stand the other way round, and which answers the same."""
    model = teacher.model
    turned = {name: t[::-1].copy() if name.startswith("dense1") else t for name, t in model.tensors.items()}
    made = striate.Model(model.net, turned, classes=model.classes[::-1], preprocess=model.preprocess)
    made.save(tmp_path / "turned.safetensors")
    run = learn(digits, tmp_path / "run", tmp_path / "turned.safetensors")
    kept = safetensors.numpy.load_file(run.folder / "checkpoint" / "teacher.safetensors")["log_probabilities"]
    rows = [int(name.split("[")[1][:-1]) for name in striate.load_dataset(digits).train.files]
    told = model.probabilities(digits[0][rows][..., None])
    assert np.allclose(np.exp(kept), told, atol=1e-6)
    assert run.recipe.distillation == 0.9


def test_a_net_learns_from_the_teacher_what_wrong_labels_do_not_say(digits, teacher, tmp_path):
    x, y = digits
    wrong = x, (y + 1) % 10
    given = {"epochs": 12, "lr": 0.02, "selection": "last"}
    alone = striate.train(wrong, SMALL, out=tmp_path / "alone", watch=Watch(), **given)
    taught = learn(wrong, tmp_path / "taught", teacher.folder, distillation=1.0, **given)
    said = teacher.model.probabilities(x[..., None]).argmax(1)
    agree, other = (np.mean(run.model.probabilities(x[..., None]).argmax(1) == said) for run in (taught, alone))
    assert agree > 0.8 and other < 0.2


@pytest.mark.parametrize("stop", [4, 13])
def test_a_stopped_run_goes_on_to_the_same_bits_though_its_teacher_is_gone(digits, teacher, tmp_path, stop):
    """Ten steps an epoch."""
    lent = shutil.copytree(teacher.folder, tmp_path / "lent")
    whole = learn(digits, tmp_path / "whole", lent, augment="shift+mixup")
    with pytest.raises(TrainingInterrupted):
        learn(digits, tmp_path / "cut", lent, augment="shift+mixup", watch=StopAfterSteps(stop))
    shutil.rmtree(lent)
    cut = striate.train(digits, out=tmp_path / "cut", resume=True, watch=Watch())
    assert [row.loss for row in cut.history] == [row.loss for row in whole.history]
    assert all(np.array_equal(t, cut.model.tensors[name]) for name, t in whole.model.tensors.items())
    with pytest.raises(RunError, match="a run is resumed with what it began with"):
        striate.train(digits, out=tmp_path / "cut", resume=True, teacher="another", watch=Watch())


def test_a_teacher_of_another_size_sees_the_images_at_its_own(digits, tmp_path, teacher):
    x = np.kron(digits[0], np.ones((1, 2, 2), np.uint8))  # which made small again is what it was
    net = SMALL.replace("(1, 8, 8)", "(1, 16, 16)")
    given = {"out": tmp_path / "r", "teacher": teacher.folder, "epochs": 1, "watch": Watch()}
    run = striate.train((x, digits[1]), net, **given)
    kept = safetensors.numpy.load_file(run.folder / "checkpoint" / "teacher.safetensors")["log_probabilities"]
    assert np.mean(kept.argmax(1) == striate.load_dataset((x, digits[1])).train.y) > 0.9


def test_how_many_images_to_measure_on_the_teacher_knows_is_told(digits, teacher, tmp_path):
    told: list[str] = []

    class Listening(Watch):
        def notice(self, line: str) -> None:
            told.append(line)

    striate.train(digits, SMALL, teacher=teacher.folder, seed=3, epochs=1, out=tmp_path / "r", watch=Listening())
    own = {striate.load_dataset(digits, seed=s).test.files for s in (0, 3)}
    assert len(own) == 2
    [line] = [line for line in told if "flatters" in line]
    first, other = (set(striate.load_dataset(digits, seed=s).test.files) for s in (0, 3))
    assert f"from {len(other - first)} of the {len(other)} images" in line
    told.clear()
    learn(digits, tmp_path / "same", teacher.folder, watch=Listening())
    assert not [line for line in told if "flatters" in line]


def test_what_no_teacher_can_do_is_refused_before_anything_is_written(digits, teacher, tmp_path):
    with pytest.raises(RecipeError, match="there is none"):
        learn(digits, tmp_path / "r", None, distillation=0.5)
    with pytest.raises(RecipeError, match="knows no teacher"):
        learn(digits, tmp_path / "r", teacher.folder, loss=F.cross_entropy)
    with pytest.raises(RecipeError, match="the very images that test a fold"):
        learn(digits, tmp_path / "r", teacher.folder, folds=3)
    with pytest.raises(RecipeError, match="a head of its own"):
        striate.train(digits, preset="transfer", teacher=teacher.folder, out=tmp_path / "r", watch=Watch())
    few = digits[1] < 4
    with pytest.raises(ModelError, match="answers with other classes"):
        learn((digits[0][few], digits[1][few]), tmp_path / "r", teacher.folder)
    with pytest.raises(ModelError, match="no such"):
        learn(digits, tmp_path / "r", tmp_path / "nobody")
    assert not (tmp_path / "r").exists() or not list((tmp_path / "r").iterdir())


def test_the_trace_of_an_update_which_knows_no_teacher_is_refused(digits, teacher, tmp_path):
    run = learn(digits, tmp_path / "r", teacher.folder, epochs=1)
    with pytest.raises(RunError, match="has a teacher's answers in it"):
        read_last_step(run.folder)


def test_recipe_json_says_who_taught(digits, teacher, tmp_path):
    run = learn(digits, tmp_path / "r", teacher.folder, temperature=3.0)
    kept = json.loads((run.folder / "recipe.json").read_text())
    assert kept["teacher"] == str(teacher.folder)
    assert (kept["recipe"]["distillation"], kept["recipe"]["temperature"]) == (0.9, 3.0)
