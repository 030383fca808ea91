"""A model that says when it does not know: the guarantee of its thresholds, and that every way out says the same."""

from __future__ import annotations

import json
from math import inf

import msgspec
import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy.special import softmax
from scipy.stats import binom

import striate
from striate.browser.payload import make_payload
from striate.engines.model_file import Preprocess, check_model_header
from striate.errors import DataError, ModelError
from striate.metrics.abstention import (
    NEVER,
    SURE,
    choose_thresholds,
    find_threshold,
    fit_temperature,
    measure_abstention,
    tabulate_chances,
)
from striate.model.calibrating import divide_logits

from . import forked
from .random_nets import tensors_for
from .test_serve import ask, running

NAMES = ("a", "b", "c")


def draw_answers(images: int, seed: int = 0, heat: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of three classes, and labels drawn from them as they would be at the temperature `heat`."""
    noise = np.random.default_rng(seed)
    logits = noise.normal(0, 3, (images, 3))
    cumulated = softmax(logits / heat, axis=1).cumsum(1)
    return softmax(logits, axis=1), (cumulated < noise.random((images, 1))).sum(1).clip(max=2)


# The thresholds ----------------------------------------------------------------------------------------


@settings(max_examples=50, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=300), st.floats(0.005, 0.5))
def test_the_chances_are_the_binomial_distributions(wrong, error):
    missed = np.cumsum(wrong)
    want = binom.cdf(missed, np.arange(1, len(wrong) + 1), error)
    assert np.allclose(list(tabulate_chances(missed, error)), want, atol=1e-9)


def test_over_200_draws_the_stated_error_is_kept_as_often_as_is_promised():
    """Of each class by itself. The mean error is lower than the stated one by what certainty costs."""
    p, y = draw_answers(60_000)
    noise, broken, errors = np.random.default_rng(1), np.zeros(3), []
    for _ in range(200):
        order = noise.permutation(len(y))
        chosen, rest = order[:3000], order[3000:]
        thresholds = choose_thresholds(p[chosen], y[chosen], 0.05, NAMES)
        predicted, most = p[rest].argmax(1), p[rest].max(1)
        for k in range(3):
            mine = (predicted == k) & (most >= thresholds[k])
            broken[k] += (y[rest][mine] != k).sum() > 0.05 * mine.sum()
        found = measure_abstention(p[rest], y[rest], thresholds)
        errors.append(found.error)
    assert (broken / 200 <= 1 - SURE + 0.03).all(), broken
    assert 0.03 <= np.mean(errors) <= 0.05


def test_a_threshold_is_the_lowest_that_the_test_lets_stand():
    """One mistake at the very end of 60 answers costs it, and those above stand: by hand, 59 right ones at 5 %."""
    confidence = np.linspace(0.99, 0.4, 60)
    right = np.zeros(60, bool)
    assert find_threshold(confidence, right, 0.05) == pytest.approx(0.2)  # halfway from the last to nothing
    assert 0.95**59 <= (1 - SURE) / 2 < 0.95**58
    last = right.copy()
    last[59] = True
    assert find_threshold(confidence, last, 0.05) == pytest.approx((confidence[58] + confidence[59]) / 2)
    first = right.copy()
    first[0] = True
    assert find_threshold(confidence, first, 0.05) == NEVER


def test_images_of_one_confidence_are_answered_together():
    confidence = np.array([0.9] * 60 + [0.8] * 10)
    wrong = np.array([False] * 60 + [True] * 10)
    assert find_threshold(confidence, wrong, 0.05) == pytest.approx(0.85)
    wrong[59], confidence[:] = True, 0.9
    assert find_threshold(confidence, wrong, 0.05) == NEVER


def test_a_class_that_is_often_wrong_is_never_answered_and_others_are():
    p = np.repeat([[0.9, 0.06, 0.04], [0.05, 0.9, 0.05]], 400, axis=0)
    y = np.array([0] * 400 + [1, 2] * 200)
    thresholds = choose_thresholds(p, y, 0.05, NAMES)
    assert thresholds[0] == pytest.approx(0.45) and thresholds[1] == NEVER and thresholds[2] == NEVER
    found = measure_abstention(p, y, thresholds)
    assert found == (800, 400, 0) and found.share == 0.5 and found.error == 0
    assert measure_abstention(p, y, [NEVER] * 3).error is None


@pytest.mark.parametrize("error", [0, 1, -0.1, inf])
def test_an_error_that_is_no_share_is_refused(error):
    with pytest.raises(DataError, match="between 0 and 1"):
        choose_thresholds(*draw_answers(50), error, NAMES)


def test_an_error_that_no_threshold_keeps_says_how_many_images_it_would_take():
    with pytest.raises(DataError, match="no threshold keeps the error at 0.01") as caught:
        choose_thresholds(*draw_answers(100), 0.01, NAMES)
    assert 0.99**299 <= (1 - SURE) / 2 < 0.99**298 and "at least 299" in str(caught.value.hint)


# The temperature ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("heat", [0.5, 1.0, 2.5])
def test_the_temperature_is_found_by_which_the_labels_were_drawn(heat):
    found = fit_temperature(*draw_answers(20_000, heat=heat))
    assert found.value == pytest.approx(heat, rel=0.04) and found.loss_after <= found.loss_before
    assert (found.value == 1) == (heat == 1)


@pytest.mark.parametrize(
    "text",
    [
        "Net((1, 8, 8), [Conv(4, 3), ReLU(), Flatten(), Dense(3)])",
        "Net((1, 8, 8), [Conv(4, 3), ReLU(), Dropout(0.2), Conv(3, 1), ReLU(), GlobalAvgPool()])",
        "Net((1, 8, 8), [Flatten(), Sequence(Dense(5), Tanh(), Dense(3, bias=False))])",
        "Net((1, 8, 8), [Flatten(), Dense(3), Softmax()])",
    ],
)
def test_logits_divided_in_the_weights_are_logits_divided(text):
    net = striate.parse(text)
    tensors = {name: value.astype(np.float32) for name, value in tensors_for(net, 3).items()}
    prepared = Preprocess((8, 8), "pad", (0.5,), (0.25,))
    x = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 1), np.uint8)
    before, after = (
        striate.Model(net, given, classes=NAMES, preprocess=prepared).probabilities(x)
        for given in (tensors, divide_logits(net, tensors, 2.5))
    )
    assert np.allclose(after, softmax(np.log(before) / 2.5, axis=1), atol=1e-5)


def test_logits_behind_another_function_are_left_alone():
    net = striate.parse("Net((1, 8, 8), [Flatten(), Dense(3), Sigmoid()])")
    assert divide_logits(net, tensors_for(net, 3), 2.0) is None


# A run that is calibrated, and all that comes of it ----------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return striate.train("digits", "lenet5", epochs=5, out=tmp_path_factory.mktemp("calibrated") / "run").folder


@pytest.fixture(scope="module")
def calibration(run):
    plain = striate.load(run)
    return plain, striate.calibrate(run, "digits", 0.03)


def test_the_validation_images_choose_and_the_test_images_try(run, calibration):
    plain, found = calibration
    data = striate.load_dataset("digits", size=plain.preprocess.size)
    model = striate.load(run)
    want = choose_thresholds(model.probabilities(data.valid.x), data.valid.y, 0.03, model.classes)
    assert model.abstention.thresholds == tuple(want)
    assert model.abstention.tested == measure_abstention(model.probabilities(data.test.x), data.test.y, want)
    assert 0 < found.tested.answered < len(data.test) and "90% sure" in str(found)
    heat = model.abstention.temperature
    assert np.allclose(
        model.probabilities(data.test.x), softmax(np.log(plain.probabilities(data.test.x)) / heat, axis=1), atol=1e-5
    )


def test_other_images_choose_whatever_the_model_has_not_seen(run, calibration, tmp_path):
    """Of arrays that hold the training images too, those are left out."""
    data = striate.load_dataset("digits")
    x, y = np.concatenate([data.train.x, data.test.x])[..., 0], np.concatenate([data.train.y, data.test.y])
    copy = tmp_path / "run"
    copy.mkdir()
    (copy / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
    found = striate.calibrate(copy, (x, y), 0.1)
    assert found.tested is None and found.calibrated.images <= len(data.test)


def test_an_error_leaves_the_model_file_as_it_is(run, calibration):
    before = (run / "model.safetensors").read_bytes()
    with pytest.raises(DataError, match="no threshold"):
        striate.calibrate(run, "digits", 0.0001)
    assert (run / "model.safetensors").read_bytes() == before


@pytest.fixture(scope="module")
def doubtful(run, calibration, tmp_path_factory):
    """Files of test images, of some of which the model is unsure."""
    model = striate.load(run)
    images = striate.load_dataset("digits").test
    folder = tmp_path_factory.mktemp("doubtful")
    answers = [model.predict(image) for image in images.x]
    rows = [i for i, answer in enumerate(answers) if answer.unsure][:3] + [
        i for i, a in enumerate(answers) if not a.unsure
    ][:3]
    for row in rows:
        Image.fromarray(images.x[row, :, :, 0]).save(folder / f"{row:03}.png")
    return sorted(folder.iterdir())


def test_every_way_out_says_the_same_of_which_it_is_unsure(run, doubtful, tmp_path):
    model = striate.load(run)
    told = [model.predict(file).unsure for file in doubtful]
    assert set(told) == {True, False}
    model.export(tmp_path / "m.onnx")
    exported = striate.load(tmp_path / "m.onnx")
    assert exported.abstention == model.abstention
    assert [exported.predict(file).unsure for file in doubtful] == told
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    images = np.stack([np.asarray(Image.open(file))[..., None] for file in doubtful])
    p, unsure = session.run(["probabilities", "unsure"], {"images": images})
    assert unsure.tolist() == (p.max(1) < np.array(model.abstention.thresholds, np.float32)[p.argmax(1)]).tolist()
    with running(tmp_path / "m.onnx") as port:
        asked = [ask(port, "/predict", file.read_bytes(), "image/png")[2]["unsure"] for file in doubtful]
    assert asked == told
    payload = make_payload(model)
    assert list(payload["abstention"]["thresholds"]) == list(model.abstention.thresholds)


def test_predict_says_it_in_words_in_csv_in_json_and_by_its_exit_code(run, doubtful):
    told = [striate.load(run).predict(file).unsure for file in doubtful]

    def predict(*given: str) -> tuple[int, list[str]]:
        done = forked.run(["-m", "striate", "predict", str(run), *map(str, doubtful), *given])
        return done.returncode, done.stdout.splitlines()

    code, lines = predict()
    assert code == 3 and [line.endswith("\tunsure") for line in lines] == told
    code, lines = predict("--csv")
    assert lines[0] == "file,label,probability,unsure"
    assert [line.rpartition(",")[2] for line in lines[1:]] == [str(one).lower() for one in told]
    code, lines = predict("--json")
    assert [json.loads(line)["unsure"] for line in lines] == told


def test_a_header_whose_thresholds_are_not_the_classes_is_refused(calibration):
    header = calibration[1].model.header
    wrong = msgspec.structs.replace(header.abstention, thresholds=(0.5, 0.5))
    with pytest.raises(ModelError, match="abstention.thresholds"):
        check_model_header(msgspec.structs.replace(header, abstention=wrong), "m")
