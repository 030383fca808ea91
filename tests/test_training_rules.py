"""Small rules of training, each against two lines of NumPy or a table: what is counted, timed, drawn and scored."""

import statistics
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from striate.architecture import layers as L
from striate.architecture.net import Net
from striate.data.images import Images
from striate.engines.model_file import Preprocess
from striate.errors import RecipeError
from striate.fitting import augment, forecast
from striate.fitting.batches import Feed
from striate.fitting.checkpoint import Task
from striate.fitting.forecast import WARM, Forecast, Window
from striate.fitting.launch import launch_ranks
from striate.fitting.loop import fit, score_network
from striate.fitting.probe import ProbeResult, paste_parts
from striate.fitting.ranks import ALONE, Ranks, view_bytes
from striate.fitting.recipe import Recipe, read_recipe
from striate.fitting.run import Run
from striate.fitting.schedule import compute_rate_factor
from striate.fitting.trivialaugment import equalise_images
from striate.fitting.whiten import whiten_filters

NET = Net((3, 6, 6), [L.Conv(4, 3), L.BatchNorm(), L.ReLU(), L.Flatten(), L.Dense(3)])
STATS = ((0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def draw_pictures(n=40, seed=0, size=(6, 6), channels=3):
    draw = np.random.default_rng(seed)
    return Images(
        draw.integers(0, 256, (n, *size, channels), np.uint8),
        np.arange(n) % 3,
        ("a", "b", "c"),
        tuple(map(str, range(n))),
    )


def make_run(**recipe) -> Run:
    task = Task(NET, Recipe(**recipe), ("a", "b", "c"), Preprocess((6, 6), "pad", *STATS), "", "")
    run = Run.start(Path(), task)
    run.writes = False
    return run


def make_draw(seed=0):
    return torch.Generator().manual_seed(seed)


# Scores and counts.


@pytest.mark.parametrize("n", [3, 256, 300])
def test_a_score_is_the_mean_cross_entropy_and_the_share_that_is_right(n):
    run, images = make_run(), draw_pictures(n)
    loss, accuracy = score_network(run.network, Feed(images, *STATS))
    x = ((images.x / 255 - np.array(STATS[0])) / np.array(STATS[1])).transpose(0, 3, 1, 2)
    run.network.eval()
    with torch.no_grad():
        logits = run.network.logits(torch.tensor(x, dtype=torch.float32)).double()
    assert loss == pytest.approx(float(F.cross_entropy(logits, torch.tensor(images.y))), rel=1e-5)
    assert accuracy == float((logits.argmax(1).numpy() == images.y).mean())


def test_scoring_leaves_a_network_in_the_mode_that_it_was_in():
    run, feed = make_run(), Feed(draw_pictures(), *STATS)
    for training in (True, False):
        run.network.train(training)
        score_network(run.network, feed)
        assert run.network.training == training


def test_a_row_is_of_its_own_epoch_alone():
    run = make_run(epochs=3, batch=10, augment="none")
    feed = Feed(draw_pictures(), *STATS)
    seen = []
    for row in fit(run, feed, feed):
        seen.append((run.seen, run.right, run.loss_sum, run.seconds))
        assert 0 <= row.acc <= 1 and row.loss > 0
    assert seen == [(0, 0, 0.0, 0.0)] * 3
    assert run.step == 12 and run.done


def test_a_step_counts_with_its_images():
    run = make_run()
    run.count_step(2.0, 3, 10)
    run.count_step(4.0, 5, 30)
    assert (run.step, run.loss_sum, run.right, run.seen) == (2, 140.0, 8, 40)


@pytest.mark.parametrize(
    "every, saving, pause",
    [(0.5, 10.0, 0.5), (1.0, 0.001, 1.0), (1.0, 0.1, 5.0), (60.0, 1.0, 60.0), (60.0, 2.0, 100.0)],
)
def test_checkpoints_slow_a_training_by_two_percent_at_most(every, saving, pause):
    run = make_run()
    run.save_every, run.saving = every, saving
    assert run.pause == pytest.approx(pause)


# Forecasts.


@given(st.lists(st.floats(0.001, 5), min_size=1, max_size=9))
def test_a_usual_step_is_the_median_without_those_that_warm_up(steps):
    window = Window(99)
    window.steps = steps
    warm = WARM if len(steps) > WARM + 1 else 1 if len(steps) > 1 else 0
    assert window.step == statistics.median(steps[warm:])


def test_a_trial_times_a_step_after_the_first_and_no_more_than_asked(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(forecast, "time", type("Clock", (), {"perf_counter": staticmethod(lambda: now[0])}))
    window = Window(4)
    assert not window.enough()
    for step in range(3):
        now[0] += 0.1
        window.tick()
        assert window.enough() == (step == 2)  # the fourth is the last
    slow = Window(99)
    now[0] += 60
    slow.tick()
    assert not slow.enough()
    now[0] += 60
    slow.tick()
    assert slow.enough()
    slow.validated()
    assert slow.last == now[0] and slow.steps == [60, 60]


def test_a_forecast_in_words():
    given_ = Forecast(0.1, 30.0, 90.0, 3 * 2**29, 50.0)
    assert str(given_) == "expected: 1 min 30 s (30 s per epoch), 1.5 GiB of memory"
    assert given_.beside(99.0, 2**30) == (
        "trained in 99.0 s, expected 90.0 s (off by 10%); memory 1.0 GiB, expected 1.5 GiB"
    )


# The rate.


@given(st.sampled_from(["constant", "triangular", "cosine", "step"]), st.integers(2, 60), st.floats(0, 0.9))
def test_a_rate_rises_in_a_straight_line_then_never_rises_again(schedule, steps, warmup):
    found = [compute_rate_factor(schedule, step, steps, warmup) for step in range(steps)]
    rise = round(warmup * steps)
    assert found[:rise] == pytest.approx([(k + 1) / rise for k in range(rise)])
    assert all(a >= b - 1e-12 for a, b in zip(found[rise:], found[rise + 1 :], strict=False))
    assert all(0 < value <= 1 for value in found)


# Augmentation, on pictures whose pixels say where they come from.


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("size", [(28, 14), (9, 40)])
def test_a_shift_is_a_crop_of_the_padded_picture_each_as_often(flip, size):
    h, w = size
    most = [max(1, round(side / 14)) for side in size]
    n = 400
    place = np.stack(np.meshgrid(np.arange(h), np.arange(w), indexing="ij"), 2).astype(np.uint8)
    x = torch.from_numpy(np.broadcast_to(place, (n, h, w, 2)).copy())
    found = augment.flip_and_shift(x, flip, True, make_draw()).numpy()
    seen = set()
    for image in found:
        turned = bool(image[0, 0, 1] > image[0, -1, 1])
        plain = image[:, ::-1] if turned else image
        down, across = int(plain[h // 2, w // 2, 0]) - h // 2, int(plain[h // 2, w // 2, 1]) - w // 2
        assert np.array_equal(plain[..., 0], np.broadcast_to(np.clip(np.arange(h) + down, 0, h - 1)[:, None], size))
        assert np.array_equal(plain[..., 1], np.broadcast_to(np.clip(np.arange(w) + across, 0, w - 1), size))
        seen.add((turned, down, across))
    turns = (False, True) if flip else (False,)
    rows, columns = range(-most[0], most[0] + 1), range(-most[1], most[1] + 1)
    assert seen == {(turned, down, across) for turned in turns for down in rows for across in columns}


@pytest.mark.parametrize("size", [(30, 30), (24, 48)])
def test_an_affine_change_turns_and_scales_and_moves_by_no_more_than_it_says(size):
    h, w = size
    n, ramp = 200, np.stack(np.meshgrid(np.arange(h), np.arange(w), indexing="ij"), 2).astype(np.float32)
    x = torch.from_numpy(np.broadcast_to(ramp, (n, h, w, 2)).copy())
    found = augment.rotate_images(x, make_draw()).numpy()
    angles, scales, moves = [], [], []
    middle = np.s_[h // 2 - 3 : h // 2 + 3, w // 2 - 3 : w // 2 + 3]
    for image in found:
        down = np.diff(image[middle], axis=0).mean((0, 1))  # where one pixel down is read: (rows, columns)
        across = np.diff(image[middle], axis=1).mean((0, 1))
        # A turn with a scale: one pixel across is one pixel down, turned by a quarter.
        assert np.allclose(across, [-down[1], down[0]], atol=1e-3)
        angles.append(np.degrees(np.arctan2(across[0], across[1])))
        scales.append(1 / np.hypot(*down))
        centre = image[h // 2 - 1 : h // 2 + 1, w // 2 - 1 : w // 2 + 1].mean((0, 1)) - [(h - 1) / 2, (w - 1) / 2]
        moves.append(centre / [h, w])
    assert max(np.abs(angles)) <= 15.01 and max(angles) > 13 and min(angles) < -13
    assert min(scales) >= 0.849 and max(scales) <= 1.151 and min(scales) < 0.87 and max(scales) > 1.13
    assert np.abs(moves).max() <= 1 / 14 + 1e-4 and (np.abs(moves).max(0) > 0.06).all()


@given(st.integers(0, 999), st.integers(2, 12), st.integers(2, 12))
@settings(deadline=None, max_examples=30)
def test_the_part_that_cutmix_puts_in_is_what_its_target_says(seed, h, w):
    n = 8
    x = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, h, w, 1).contiguous()
    found, targets = augment.apply_cutmix(x, torch.eye(n), make_draw(seed))
    for k in range(n):
        shares = np.bincount(found[k].flatten().numpy(), minlength=n) / (h * w)
        assert np.allclose(targets[k].numpy(), shares, atol=1e-6)


def test_cutmix_covers_every_place_and_half_the_picture_on_average_where_it_fits():
    n, side = 600, 11
    x = torch.arange(n).view(n, 1, 1, 1).expand(n, side, side, 1).contiguous()
    found, _ = augment.apply_cutmix(x, torch.eye(n), make_draw(1))
    changed = (found != x)[..., 0].float().mean(0).numpy()
    assert np.allclose(changed, changed[::-1], atol=0.09) and np.allclose(changed, changed[:, ::-1], atol=0.09)
    assert changed[side // 2, side // 2] > changed[0, 0] > 0.05


@pytest.mark.parametrize("shape", [(1, 1), (5, 5), (16, 16), (17, 31), (64, 64)])
@pytest.mark.parametrize("levels", [1, 2, 256])
def test_equalising_is_pillows_also_where_there_are_few_pixels(shape, levels):
    from PIL import Image, ImageOps

    pixels = np.random.default_rng(3).integers(0, levels, (2, *shape, 3), np.uint8)
    none = torch.zeros(2)
    found = equalise_images(torch.from_numpy(pixels).float(), ["", ""], none, none).numpy()
    for mine, given_ in zip(found, pixels, strict=True):
        assert np.array_equal(mine, np.asarray(ImageOps.equalize(Image.fromarray(given_))))


@pytest.mark.parametrize("epoch", [0, 1, 2, 7])
def test_alternate_flips_depend_on_the_image_and_the_epoch_alone(epoch):
    x = torch.from_numpy(draw_pictures(64).x)
    rows = torch.randperm(64, generator=make_draw(5))
    whole = augment.flip_alternately(x, torch.arange(64), 64, 3, epoch)
    assert torch.equal(augment.flip_alternately(x[rows], rows, 64, 3, epoch), whole[rows])
    again = augment.flip_alternately(x, torch.arange(64), 64, 3, epoch + 1)
    assert torch.equal(again, whole.flip(2))
    turned = [not torch.equal(a, b) for a, b in zip(whole, x, strict=True)]
    assert 16 < sum(turned) < 48


# The probe.


@pytest.mark.parametrize("size", [(8, 8), (10, 20), (3, 3)])
def test_a_pasted_part_is_a_square_of_another_image_anywhere(size):
    h, w = size
    high, wide = round(h * 0.35), round(w * 0.35)
    n = 300
    x = np.broadcast_to(np.arange(n, dtype=np.int32)[:, None, None, None], (n, h, w, 1)).copy()
    found = paste_parts(x, np.random.default_rng(0))
    tops, lefts = set(), set()
    for k, image in enumerate(found[..., 0]):
        changed = image != k
        if not changed.any():
            continue
        assert len(set(image[changed].tolist())) == 1
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        assert changed.sum() == high * wide == len(rows) * len(columns)
        tops.add(rows[0])
        lefts.add(columns[0])
    assert tops == set(range(h - high + 1)) and lefts == set(range(w - wide + 1))


@pytest.mark.parametrize(
    "plain, pasted, may",
    [(0.9, 0.741, True), (0.9, 0.739, False), (0.3, 0.3, False), (0.5, 0.451, True), (0.5, 0.449, False)],
)
def test_images_are_mixed_where_four_fifths_beyond_guessing_are_kept(plain, pasted, may):
    """Of 10 classes: 0.1 + 0.8 · (0.9 − 0.1) = 0.74; of 4, 0.25 + 0.8 · (0.5 − 0.25) = 0.45."""
    classes = 4 if plain == 0.5 else 10 if plain == 0.9 else 4
    assert ProbeResult(plain, plain, classes, pasted=pasted).may_mix == may


# Recipes, ranks, whitening.


def test_an_old_name_of_an_augmentation_is_told_and_a_new_one_is_not():
    with pytest.warns(FutureWarning, match="is now called vflip"):
        assert read_recipe(augment="upend").augment == "vflip"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_recipe(augment="flip+vflip").augment == "flip+vflip"


@pytest.mark.parametrize("given_", [{}, {"devices": 1}, {"nodes": 1}, {"devices": 1, "nodes": 1}])
def test_one_process_joins_nobody(monkeypatch, given_):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    ranks = launch_ranks(**given_)
    assert (ranks.world, ranks.rank, ranks.first, ranks.guard) == (1, 0, True, None)


@pytest.mark.parametrize(
    "given_, name", [({"devices": 0}, "devices"), ({"nodes": 0}, "nodes"), ({"devices": -2}, "devices")]
)
def test_no_process_at_all_is_refused(given_, name):
    with pytest.raises(RecipeError, match=f"{name} must be at least 1"):
        launch_ranks(**given_)


def test_a_process_alone_needs_nobody():
    rows = np.arange(6).reshape(3, 2)
    assert ALONE.sent(b"word", "here") == b"word"
    assert ALONE.gathered(rows, 3) is rows
    assert ALONE.total([1.0, 2.5], "here") == [1.0, 2.5]
    ALONE.wait("here")
    ALONE.at("here")
    ALONE.done()
    with ALONE.waiting("here"), ALONE.one_end():
        pass


@given(st.integers(1, 9), st.integers(0, 50))
def test_shares_are_neighbours_as_even_as_it_goes(world, count):
    shares = [Ranks(rank=rank, world=world).share(count).tolist() for rank in range(world)]
    assert sum(shares, []) == list(range(count))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_the_bytes_of_rows_are_their_own_memory():
    rows = np.arange(6, dtype=np.float32).reshape(2, 3)
    held = view_bytes(rows)
    assert held.dtype == torch.uint8 and held.numpy().tobytes() == rows.tobytes()
    held[0] = 7
    assert rows.view(np.uint8)[0, 0] == 7


@pytest.mark.parametrize("filters", [1, 5, 6, 54, 60])
def test_whitened_filters_are_pairs_of_principal_directions_and_the_rest_stays(filters):
    net = Net((3, 8, 8), [L.Conv(filters, 3), L.ReLU(), L.Flatten(), L.Dense(2)])
    x = ndimage.gaussian_filter(np.random.default_rng(0).random((300, 8, 8, 3)), (0, 1, 1, 0.5))
    x = ((x - x.min()) / (x.max() - x.min()) * 255).astype(np.uint8)
    fresh = np.random.default_rng(1).normal(size=(filters, 3, 3, 3)).astype(np.float32)
    found = whiten_filters(net, fresh, x, (0.5,) * 3, (0.25,) * 3)
    half = min(27, (filters + 1) // 2)
    for k in range(half):
        if half + k < filters:
            assert np.array_equal(found[half + k], -found[k])
    assert np.array_equal(found[2 * half :], fresh[2 * half :])
    flat = found[:half].reshape(half, -1).astype(np.float64)
    lengths = np.linalg.norm(flat, axis=1)
    assert np.all(np.diff(lengths) >= -1e-6)  # what varies most has the shortest filter
    assert np.allclose((flat / lengths[:, None]) @ (flat / lengths[:, None]).T, np.eye(half), atol=1e-4)


@pytest.mark.parametrize("setting", ["auto", "yes", "no"])
@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_a_step_is_compiled_where_that_is_asked_for_and_by_itself_on_a_gpu_alone(setting, device):
    assert Recipe(compile=setting).compiled(device) == (setting == "yes" or (setting == "auto" and device == "cuda:0"))


@pytest.mark.parametrize("precision", ["auto", "float32", "bfloat16"])
@pytest.mark.parametrize("device", ["cpu", "cuda:0"])
def test_half_precision_is_for_gpus_unless_it_is_asked_for(precision, device):
    wanted = precision == "bfloat16" or (precision == "auto" and device == "cuda:0")
    assert Recipe(precision=precision).half(device) == wanted


def test_names_in_a_table_are_cut_to_its_width():
    from striate.metrics.tables import shorten_names

    assert shorten_names(("seven77", "eight888", "nine99999")) == ["seven77", "eight888", "nine999…"]
    assert shorten_names(("abcd",) * 20) == ["ab…"] * 20
    assert shorten_names(("abc",) * 30) == ["abc"] * 30


def test_two_settings_that_differ_are_told_with_what_was_there_before():
    from striate.fitting.checkpoint import describe_difference

    assert describe_difference({"lr": 1, "seed": 0}, {"lr": 2, "seed": 0}) == "lr=1 (it began with 2)"
    assert describe_difference(["a"], ["b"]) == "['a'] (it began with ['b'])"
    assert describe_difference("x" * 99, None) == f"{'x' * 60} (it began with None)"
