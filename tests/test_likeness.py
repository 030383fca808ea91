"""Pictures unlike the training pictures: the distance by others' code, the limit by its promise, every way out."""

from __future__ import annotations

import csv
import io

import msgspec
import numpy as np
import onnxruntime
import pytest
from PIL import Image

import striate
from striate.browser.payload import make_payload
from striate.engines.model_file import check_model_header
from striate.errors import DataError, ModelError
from striate.fitting.watch import Watch
from striate.metrics.likeness import choose_limit, fit_scatter, measure_distances, measure_energies, shrink_covariance
from striate.model.knowing import find_feature_path
from striate.model.prediction import TableForm
from tests import forked

from .test_serve import ask, running


def draw_features(n: int = 300, wide: int = 12, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    y = draw.integers(0, classes, n)
    mixed = draw.normal(size=(n, wide)) @ draw.normal(size=(wide, wide))
    return mixed + 5 * draw.normal(size=(classes, wide))[y], y


def test_the_covariance_is_what_scikit_learn_1_9_gave():
    f, _ = draw_features()
    found = shrink_covariance(f - f.mean(0))
    assert [*found[0, :3], found[5, 5]] == pytest.approx([67.00617473, 8.68692979, -2.24455956, 26.92492779])


@pytest.mark.slow
def test_the_covariance_is_scikit_learns_ledoit_wolf():
    covariance = pytest.importorskip("sklearn.covariance")
    f, _ = draw_features()
    centred = f - f.mean(0)
    assert shrink_covariance(centred) == pytest.approx(covariance.ledoit_wolf(centred, assume_centered=True)[0])


def test_the_distance_is_mahalanobis_by_the_inverse_covariance():
    f, y = draw_features()
    h = (f - f.mean(0)) / f.std(0)
    centres = np.stack([h[y == k].mean(0) for k in range(3)])
    inverse = np.linalg.inv(shrink_covariance(h - centres[y]))
    apart = h[:, None] - centres
    want = np.sqrt(np.einsum("nki,ij,nkj->nk", apart, inverse, apart).min(1))
    assert measure_distances(fit_scatter(f, y, 3), f) == pytest.approx(want, rel=2e-3, abs=2e-3)


def test_the_energy_is_torchs_logsumexp():
    torch = pytest.importorskip("torch")
    logits = np.random.default_rng(0).normal(size=(5, 4)) * 30
    assert measure_energies(logits) == pytest.approx(-torch.logsumexp(torch.from_numpy(logits), 1).numpy())


def test_a_limit_loses_the_stated_share_on_the_mean_and_no_more():
    draw = np.random.default_rng(0)
    lost = [(draw.normal(size=1000) > choose_limit(draw.normal(size=59), 0.05)).mean() for _ in range(400)]
    assert np.mean(lost) == pytest.approx(0.05, abs=0.005)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A LeNet-5 that reads digits, and knows what they are like."""
    pytest.importorskip("torch", reason="a run is trained first")
    folder = tmp_path_factory.mktemp("runs") / "digits-1"
    striate.train("digits", "lenet5", out=folder, epochs=5, watch=Watch())
    striate.calibrate(folder, "digits", 0.05, unlike=0.05)
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Files: six digits, then six pictures of noise."""
    folder, draw = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    shown = [*striate.load_dataset("digits").test.x[:6], *draw.integers(0, 256, (6, 8, 8, 1), np.uint8)]
    for k, picture in enumerate(shown):
        Image.fromarray(picture[..., 0]).save(folder / f"{k:02}.png")
    return sorted(folder.iterdir())


def test_noise_is_turned_away_and_digits_are_not(run, pictures):
    model = striate.load(run)
    unlike = [answer.unlike for answer in model.predict(list(map(str, pictures)))]
    assert sum(unlike[:6]) <= 1 and sum(unlike[6:]) >= 5
    right, away = model.header.likeness.tested
    assert right > 150 and away / right < 0.12


def test_every_way_out_that_tells_says_the_same(run, pictures, tmp_path):
    model = striate.load(run)
    told = [(answer.unsure, answer.unlike) for answer in model.predict(list(map(str, pictures)))]
    model.export(tmp_path / "m.onnx")
    exported = striate.load(tmp_path / "m.onnx")
    assert [(answer.unsure, answer.unlike) for answer in exported.predict(list(map(str, pictures)))] == told
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    images = np.stack([np.asarray(Image.open(file))[..., None] for file in pictures])
    unsure, strangeness = session.run(["unsure", "strangeness"], {"images": images})
    assert list(zip(unsure.tolist(), (strangeness > 1).tolist(), strict=True)) == told
    with running(tmp_path / "m.onnx") as port:
        asked = [ask(port, "/predict", file.read_bytes(), "image/png")[2] for file in pictures]
    assert [(answer["unsure"], answer["unlike"]) for answer in asked] == told
    x = np.stack([model.prepared(file) for file in pictures])
    assert exported.judge(x) == pytest.approx(model.judge(x), rel=1e-4, abs=1e-4)


def test_predict_says_it_in_a_column_and_in_words(run, pictures):
    told = [answer.unlike for answer in striate.load(run).predict(list(map(str, pictures)))]
    done = forked.run(["-m", "striate", "predict", str(run), *map(str, pictures), "--csv"])
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert done.returncode == 3 and [row["unlike"] for row in rows] == [str(one).lower() for one in told]
    assert TableForm(("a",), unsure=True, unlike=True).columns[-2:] == ("unsure", "unlike")
    assert striate.load(run).predict(str(pictures[-1])).line()[-1] == "unlike"


def test_a_file_that_cannot_tell_has_no_word_of_it(run, tmp_path):
    model = striate.load(run)
    model.export(tmp_path / "half.onnx", fp16=True)
    assert make_payload(model)["untold"]  # which the page says
    half = striate.load(tmp_path / "half.onnx")
    assert not half.tells_strange and half.predict(np.zeros((8, 8), np.uint8)).unlike is None


def test_calibrating_again_without_it_forgets_it(run, tmp_path):
    model = striate.load(run)
    model.save(tmp_path / "model.safetensors")
    striate.calibrate(tmp_path / "model.safetensors", "digits", 0.05)
    assert striate.load(tmp_path / "model.safetensors").header.likeness is None


@pytest.mark.parametrize(("lost", "what"), [(0.0, "between 0 and 1"), (1.5, "between 0 and 1"), (0.001, "too few")])
def test_a_share_that_cannot_be_kept_is_refused_and_the_file_stays(run, lost, what):
    before = (run / "model.safetensors").read_bytes()
    with pytest.raises(DataError, match=what):
        striate.calibrate(run, "digits", 0.05, unlike=lost)
    assert (run / "model.safetensors").read_bytes() == before


def test_a_net_without_a_dense_end_is_refused():
    assert find_feature_path(striate.nets.squeezenet1_1()) is None
    assert find_feature_path(striate.nets.lenet5()) is not None


def test_a_header_whose_likeness_is_not_the_nets_is_refused(run):
    header = striate.load(run).header
    for wrong in ({"path": "nowhere"}, {"mean": b"1234"}, {"rest": 0.0}, {"energy": (0.0, 0.0)}):
        bad = msgspec.structs.replace(header, likeness=msgspec.structs.replace(header.likeness, **wrong))
        with pytest.raises(ModelError, match="likeness"):
            check_model_header(bad, "m")


@pytest.mark.browser
def test_the_studios_results_tell_of_each_class_what_is_answered_and_mark_what_is_not(run):
    pytest.importorskip("fastapi", reason="the extra striate[studio] is not installed")
    from tests.studio_browser import browser, served, watched

    model = striate.load(run)
    images = model.images("digits")
    p = model.probabilities(images.x)
    said, answered = p.argmax(1), np.array([not answer.unsure for answer in model.predict(images.x)])
    want = [[str(int((kept & (said == k)).sum())) for kept in (answered | True, answered)] for k in range(10)]
    with served([run]) as home, browser() as chromium, watched(chromium) as page:
        page.goto(f"{home}#results/digits-1")
        page.wait_for_selector("main[data-shown=results]")
        card = page.locator("section.card", has_text="When it is unsure")
        rows = card.locator("tbody tr").all_inner_texts()
        assert [row.split()[-3:-1] for row in rows] == want
        assert "pictures unlike the training pictures are turned away" in card.inner_text()
        doubtful = [k for k in np.flatnonzero(said != images.y) if not answered[k]]
        assert page.locator(".wall figcaption", has_text="unsure").count() >= min(1, len(doubtful))
