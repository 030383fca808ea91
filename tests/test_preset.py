"""What striate chooses by itself: flips by asking the data, net and recipe by preset and time, and the forecast."""

from __future__ import annotations

from importlib import import_module

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

import striate
from striate.data.images import Dataset, Images, measure_channels
from striate.data.sources.load import find_usual_size
from striate.engines.model_file import Preprocess
from striate.errors import RecipeError
from striate.fitting.batches import Feed
from striate.fitting.checkpoint import Task
from striate.fitting.forecast import forecast_training
from striate.fitting.probe import KEPT_SHARE, ProbeResult, paste_parts, probe_data
from striate.fitting.recipe import Recipe, read_recipe
from striate.fitting.run import Run
from striate.fitting.watch import Watch
from striate.fitting.whiten import find_first_convolution
from striate.runs.presets import FROM_SCRATCH, PRESET_LEVELS, DataFacts, choose_preset, choose_within

FREE = ProbeResult(0.9, 0.9, 10)


def arrows(sides: bool, n: int = 600, seed: int = 0) -> Images:
    """Triangles: two classes that point left or right where `sides`, else up or down."""
    draw = np.random.default_rng(seed)
    wedge = np.tri(8, 8, dtype=np.uint8) * 150  # points down and left
    wedge = wedge[::-1] + wedge  # points left
    wedge = wedge if sides else wedge.T
    x = draw.integers(0, 60, (n, 12, 12, 1), dtype=np.uint8)
    y = np.arange(n) % 2
    for i in range(n):
        row, column = draw.integers(0, 5, 2)
        shown = wedge[:, ::-1] if sides else wedge[::-1]
        x[i, row : row + 8, column : column + 8, 0] += (shown if y[i] else wedge) // 2
    return Images(x, y.astype(np.int64), ("one", "other"), ("",) * n)


def test_flips_are_refused_where_left_and_right_are_the_classes_and_only_there():
    assert not probe_data(arrows(sides=True)).may_flip
    assert probe_data(arrows(sides=False)).may_flip


def test_digits_are_not_to_be_flipped():
    found = load_digits()
    images = Images((found.images * 15).astype(np.uint8)[..., None], found.target, tuple("0123456789"), ("",) * 1797)
    said = probe_data(images)
    assert said.plain > 0.85 and said.kept < KEPT_SHARE
    assert "horizontal flips change the class" in str(said)


def specks(seed: int = 0) -> Images:
    """Bright specks, many or few, anywhere on noise: no side is up."""
    draw = np.random.default_rng(seed)
    x = draw.integers(0, 60, (600, 12, 12, 1), dtype=np.uint8)
    y = np.arange(600) % 2
    for i in range(600):
        for row, column in draw.integers(0, 11, (3 + 9 * y[i], 2)):
            x[i, row : row + 2, column : column + 2] = 220
    return Images(x, y.astype(np.int64), ("few", "many"), ("",) * 600)


def test_only_what_has_no_upper_side_is_turned_any_way():
    said = probe_data(specks())
    assert said.may_flip and said.may_upend and said.may_turn
    augment = choose_preset("balanced", DataFacts(600, (1, 12, 12), 2, said)).settings["augment"]
    assert augment.startswith("alternating-flip+vflip+rot90") and "rotations by 90°" in str(said)
    upright = probe_data(arrows(sides=False))  # its classes are up and down
    assert upright.may_flip and not upright.may_upend and not upright.may_turn
    aside = probe_data(arrows(sides=True))
    assert not (aside.may_flip or aside.may_upend or aside.may_turn)


def test_pictures_that_are_not_square_are_never_turned_by_quarters():
    images = specks()
    assert not probe_data(Images(images.x[:, :8], images.y, images.classes, images.files)).may_turn


def stripes(n: int = 600) -> Images:
    """Lines across the whole image, lying or standing: any part of it tells which."""
    draw = np.random.default_rng(0)
    y = np.arange(n) % 2
    lines = draw.integers(0, 256, (n, 16, 1), dtype=np.uint8).repeat(16, axis=2)
    x = np.where(y[:, None, None] == 1, lines.transpose(0, 2, 1), lines)[..., None]
    return Images(x, y.astype(np.int64), ("lying", "standing"), ("",) * n)


def test_images_are_mixed_where_a_part_of_another_leaves_them_what_they_are_and_are_few():
    digits = load_digits()
    own = Images((digits.images * 15).astype(np.uint8)[..., None], digits.target, tuple("0123456789"), ("",) * 1797)
    assert not probe_data(own).may_mix
    said = probe_data(stripes())
    assert said.may_mix
    few, more = (choose_preset("best", DataFacts(n, (1, 16, 16), 2, said)) for n in (600, 20_000))
    assert few.settings["augment"].endswith("+cutmix") and "CutMix is added" in few.reasons[-1]
    assert "cutmix" not in more.settings["augment"]
    assert "cutmix" not in choose_preset("balanced", DataFacts(600, (1, 16, 16), 2, said)).settings["augment"]


@pytest.mark.parametrize(("classes", "plain", "pasted"), [(2, 0.9, 0.8), (10, 0.9, 0.72)])
def test_what_is_kept_with_a_part_of_another_is_counted_from_guessing_on(classes, plain, pasted):
    """CutMix's labels are about right where an eighth of the image takes less than a fifth of what is known."""
    assert not ProbeResult(plain, plain, classes, pasted=pasted).may_mix
    assert ProbeResult(plain, plain, classes, pasted=pasted + 0.05).may_mix


def test_the_part_is_another_images_and_all_else_stays():
    x = np.arange(1, 21, dtype=np.uint8).repeat(400).reshape(20, 20, 20, 1)  # each image of one value of its own
    seen = paste_parts(x, np.random.default_rng(0))
    for own, changed in zip(x, seen, strict=True):
        rows, columns, _ = np.nonzero(changed != own)
        if len(rows):  # else the part came from the image itself
            assert len(rows) == 49 and np.ptp(rows) == np.ptp(columns) == 6  # 0.35 of 20 is 7
            assert len(np.unique(changed[rows, columns])) == 1
    assert (seen != x).any(axis=(1, 2, 3)).mean() > 0.8


def test_the_question_is_answered_alike_each_time():
    assert probe_data(arrows(sides=False), seed=3) == probe_data(arrows(sides=False), seed=3)


def test_too_few_images_to_tell_may_be_flipped():
    few = arrows(sides=True).take(np.arange(8))
    assert ProbeResult(0.5, 0.1, 2).may_flip
    assert isinstance(probe_data(few).may_flip, bool)


@pytest.mark.parametrize("classes, bar", [(2, 0.75), (4, 0.375)])
def test_a_net_no_better_than_half_as_good_again_as_chance_has_not_learned(classes, bar):
    """Of two classes 3/4, of four 3/8: on the bar itself it is not asked, and any flip is free."""
    at, above = (ProbeResult(plain, 0.0, classes) for plain in (bar, bar + 0.001))
    assert not at.learned and at.may_flip and above.learned and not above.may_flip
    assert (
        ProbeResult(0.8, 0.8 * KEPT_SHARE, 10).may_flip and not ProbeResult(0.8, 0.8 * KEPT_SHARE - 0.001, 10).may_flip
    )


@pytest.mark.parametrize("preset", FROM_SCRATCH)
@pytest.mark.parametrize("images", [40, 3_000, 54_000, 1_000_000])
def test_every_choice_is_a_recipe_and_a_net_that_fits(preset, images):
    for shape in ((1, 8, 8), (1, 28, 28), (3, 64, 64), (3, 128, 96)):
        choice = choose_preset(preset, DataFacts(images, shape, 7, FREE))
        made = read_recipe(None, under=choice.settings)
        assert made.epochs >= 2 and made.batch >= 50
        net = getattr(striate.nets, choice.net)(classes=7, input=shape)
        assert net.output == (7,)
        assert any("preset" in reason for reason in choice.reasons)


@pytest.mark.parametrize("name", ["striate_s", "striate_m", "striate_l"])
@pytest.mark.parametrize(("side", "stride"), [(48, 1), (64, 1), (96, 2), (128, 2)])
def test_of_large_images_the_blocks_see_a_small_map_that_was_pooled(name, side, stride):
    for channels in (1, 3):
        net = getattr(striate.nets, name)(classes=7, input=(channels, side, side))
        assert find_first_convolution(net) == "patches" and net.at("patches").layer.stride == stride
        assert net.at("block1").x[1:] == (side // (2 * stride),) * 2
        assert choose_preset("fast", DataFacts(3_000, net.input, 7, FREE)).settings["whiten"]


def test_easy_images_are_seen_less_often_by_the_fast_preset_alone():
    easy, hard = (DataFacts(54_000, (1, 28, 28), 10, ProbeResult(plain, 0.4, 10)) for plain in (0.97, 0.8))
    assert [choose_preset("fast", facts).settings["epochs"] for facts in (easy, hard)] == [2, 3]
    assert "probe" in choose_preset("fast", easy).reasons[1] and "probe" not in choose_preset("fast", hard).reasons[1]
    for preset in ("balanced", "best"):
        assert choose_preset(preset, easy).settings == choose_preset(preset, hard).settings


def test_in_few_epochs_images_stay_as_they_are():
    facts = DataFacts(54_000, (1, 28, 28), 10, ProbeResult(0.8, 0.8, 10, 0.8, 0.8))
    for epochs, augment in (
        (4, "none"),
        (5, "alternating-flip+vflip+rot90"),
        (11, "alternating-flip+vflip+rot90+shift"),
    ):
        assert choose_preset("best", facts, epochs).settings["augment"] == augment


def test_a_larger_preset_costs_more():
    costs = []
    for preset in FROM_SCRATCH:
        choice = choose_preset(preset, DataFacts(54_000, (1, 28, 28), 10, FREE))
        net = getattr(striate.nets, choice.net)(classes=10, input=(1, 28, 28))
        costs.append(choice.settings["epochs"] * striate.summary(net).macs)
    assert costs[0] * 3 < costs[1] and costs[1] * 3 < costs[2]


def test_an_unknown_preset_is_told_with_the_nearest():
    with pytest.raises(RecipeError, match="there is no preset 'fats'"):
        choose_preset("fats", DataFacts(100, (1, 8, 8), 2, FREE))


@pytest.mark.parametrize("seconds", [1, 60, 600, 6_000, 1e6])
def test_the_chosen_epochs_fit_the_time_and_another_would_not_unless_enough(seconds):
    facts = DataFacts(54_000, (1, 28, 28), 10, FREE)
    each = {"striate_s": 9.0, "striate_m": 16.0, "striate_l": 34.0}
    choice = choose_within(seconds, "best", facts, lambda choice: each[choice.net])
    epochs, cost = choice.settings["epochs"], each[choice.net]
    most = next(level.most for level in PRESET_LEVELS.values() if level.net == choice.net)
    assert epochs * cost <= seconds or epochs == 1
    assert (epochs + 1) * cost > seconds or epochs == most


def test_more_time_never_means_a_smaller_net():
    facts = DataFacts(54_000, (1, 28, 28), 10, FREE)
    each = {"striate_s": 9.0, "striate_m": 16.0, "striate_l": 34.0}
    nets = [choose_within(s, "best", facts, lambda c: each[c.net]).net for s in range(5, 900, 20)]
    assert nets == sorted(nets, key=list(each).index)
    assert set(nets) == set(each)


def test_no_time_at_all_is_refused():
    with pytest.raises(RecipeError, match="must be above 0"):
        choose_within(0, "best", DataFacts(100, (1, 8, 8), 2, FREE), lambda choice: 1.0)


def test_a_recipes_own_settings_go_over_the_presets(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.toml").write_text("batch = 60\n")
    images = arrows(sides=False, n=300)
    run = striate.train((images.x, images.y), preset="fast", recipe="r.toml", epochs=2, seed=4, watch=Watch())
    assert (run.recipe.batch, run.recipe.epochs, run.recipe.seed) == (60, 2, 4)
    assert (run.recipe.optimizer, run.task.net.name) == ("muon", "striate_s")


def test_an_interrupted_automatic_run_goes_on_as_what_was_chosen(tmp_path, monkeypatch):
    """The choice is not made again: a resumed run takes the recorded net and recipe."""
    monkeypatch.chdir(tmp_path)
    images = arrows(sides=False, n=300)
    run = striate.train((images.x, images.y), preset="balanced", epochs=2, watch=Watch())
    monkeypatch.setattr(import_module("striate.fitting.probe"), "probe_data", lambda *_: pytest.fail("asked again"))
    again = striate.train((images.x, images.y), out=run.folder, resume=True, watch=Watch())
    assert again.recipe == run.recipe and again.task.net == run.task.net
    assert again.report == run.report


def test_minutes_set_the_epochs_of_a_given_net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = arrows(sides=False, n=300)
    run = striate.train((images.x, images.y), "lenet5", size=32, minutes=0.02, watch=Watch())
    assert run.task.net.name == "lenet5" and run.recipe.epochs >= 1
    assert run.took < 30


def test_a_forecast_leaves_the_run_as_it_was(tmp_path):
    images = arrows(sides=False, n=200)
    mean, std = measure_channels(images.x)
    net = striate.nets.striate_s(classes=2, input=(1, 12, 12))
    task = Task(net, Recipe(epochs=3, batch=20), images.classes, Preprocess((12, 12), "pad", mean, std), "", "")
    feed = Feed(images, mean, std)
    run = Run.start(tmp_path / "run", task)
    before = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
    expected = forecast_training(task, feed, feed)
    assert all((before[name] == tensor).all() for name, tensor in run.network.state_dict().items())
    assert not (tmp_path / "run").exists()
    assert 0 < expected.step < expected.epoch < expected.seconds
    assert expected.seconds == pytest.approx(3 * expected.epoch)
    assert "(off by 50%)" in expected.beside(expected.seconds * 1.5, expected.bytes)


def test_the_usual_size_of_a_folder_is_the_median_of_its_headers(tmp_path):
    for k, size in enumerate([(40, 30), (40, 30), (200, 10), (60, 90), (64, 31)]):
        (tmp_path / "a").mkdir(exist_ok=True)
        Image.new("L", size).save(tmp_path / "a" / f"{k}.png")
    (tmp_path / "a" / "x.jpg").write_text("no picture")
    assert find_usual_size(tmp_path) == (30, 60)
    assert find_usual_size("digits") is None


def test_photographs_are_made_64_pixels_large_to_train_from_scratch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for name in "ab":
        (tmp_path / "photos" / name).mkdir(parents=True)
        for k in range(12):
            picture = draw.integers(0, 255, (90, 120, 3), dtype=np.uint8)
            Image.fromarray(picture).save(tmp_path / "photos" / name / f"{k}.png")
    run = striate.train("photos", preset="fast", epochs=1, watch=Watch())
    assert run.task.net.input == (3, 64, 64)


def test_a_dataset_may_be_given_as_it_is(tmp_path):
    train, valid = arrows(False), arrows(False, 60, 1)
    run = striate.train(
        Dataset("own", train, valid, None, (), "fp", ()), preset="fast", epochs=1, out=tmp_path / "r", watch=Watch()
    )
    assert run.report.images == 60
