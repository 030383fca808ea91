"""What a recipe is made of beyond its optimizer: whitening, slow weights, alternating flips, growing images, rates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from striate import BatchNorm, Conv, Dense, Flatten, GlobalAvgPool, MaxPool, Net, ReLU
from striate.data.images import Images, measure_channels
from striate.engines.model_file import Preprocess
from striate.errors import RecipeError
from striate.fitting.augment import augment_images, flip_alternately, shrink_images
from striate.fitting.batches import Feed
from striate.fitting.checkpoint import Task
from striate.fitting.loop import fit
from striate.fitting.recipe import Recipe
from striate.fitting.run import Run
from striate.fitting.seeds import make_generator
from striate.fitting.whiten import VARIANCE_FLOOR, find_first_convolution, whiten_filters
from striate.optimizers import OPTIMIZERS

NET = Net(
    (3, 12, 12), [Conv(20, 3, padding="same"), ReLU(), MaxPool(2), Conv(6, 3), BatchNorm(), GlobalAvgPool(), Dense(2)]
)


def photographs(n: int = 60, side: int = 12) -> np.ndarray:
    """Smooth colour pictures: neighbouring pixels and channels are alike, as in photographs."""
    draw = np.random.default_rng(3)
    coarse = torch.from_numpy(draw.random((n, 3, 4, 4)))
    mixed = coarse.mean(1, keepdim=True) * 0.7 + coarse * 0.3
    fine = torch.nn.functional.interpolate(mixed, (side, side), mode="bicubic").clamp(0, 1)
    noisy = (fine.permute(0, 2, 3, 1).numpy() * 235 + draw.normal(0, 4, (n, side, side, 3))).clip(0, 255)
    return noisy.round().astype(np.uint8)


def started(tmp_path, **settings) -> Run:
    recipe = Recipe(**({"epochs": 2, "batch": 10, "augment": "none"} | settings))
    pre = Preprocess((12, 12), "pad", (0.5,) * 3, (0.25,) * 3)
    return Run.start(tmp_path, Task(NET, recipe, ("a", "b"), pre, "", ""))


def feed() -> Feed:
    x = photographs()
    return Feed(
        Images(x, (x.mean((1, 2, 3)) > x.mean()).astype(np.int64), ("a", "b"), ("",) * 60), *measure_channels(x)
    )


def test_whitened_filters_answer_the_images_patches_with_uncorrelated_values_of_spread_1():
    x = photographs(200, 16)
    mean, std = measure_channels(x)
    weight = whiten_filters(NET, np.zeros((54, 3, 3, 3)), x, mean, std)
    maps = ((x / 255 - mean) / std).transpose(0, 3, 1, 2)
    answers = torch.nn.functional.conv2d(torch.from_numpy(maps), torch.from_numpy(weight[:27]).double())
    values = answers.permute(1, 0, 2, 3).reshape(27, -1).numpy()
    moments = values @ values.T / values.shape[1]
    strong = np.diag(moments) > 0.9  # weaker directions are damped by the floor
    assert strong.sum() >= 3
    np.testing.assert_allclose(moments[np.ix_(strong, strong)], np.eye(strong.sum()), atol=0.1)
    np.testing.assert_array_equal(weight[27:], -weight[:27])


def test_filters_beyond_the_patches_directions_stay_as_they_were():
    fresh = np.random.default_rng(0).normal(size=(60, 3, 3, 3)).astype(np.float32)
    weight = whiten_filters(NET, fresh, photographs(), (0.5,) * 3, (0.25,) * 3)
    np.testing.assert_array_equal(weight[54:], fresh[54:])
    assert not np.isclose(weight[:54], fresh[:54]).all(axis=(1, 2, 3)).any()


def test_the_whitened_filters_stay_and_all_else_is_trained(tmp_path):
    run = started(tmp_path, whiten=True)
    before = {name: tensor.clone() for name, tensor in run.network.state_dict().items()}
    list(fit(run, feed(), feed()))
    after = run.network.state_dict()
    held = [name for name in before if torch.equal(before[name], after[name])]
    assert held == [f"{find_first_convolution(NET)}.weight"]


def test_whitening_needs_a_convolution_first():
    net = Net((3, 12, 12), [Flatten(), Dense(2)], name="flat")
    with pytest.raises(RecipeError, match="the first layer of flat is not a plain convolution"):
        find_first_convolution(net)


def test_slow_weights_follow_the_fast_ones_which_start_again_from_them(tmp_path):
    run = started(tmp_path, lookahead=2)
    slow = {k: v.clone() for k, v in run.average.state_dict().items()}
    fast = run.network.state_dict()
    for step, share in ((1, None), (2, 1 - 0.95**2 * (2 / 8) ** 3), (3, None), (4, 1 - 0.95**2 * (4 / 8) ** 3)):
        with torch.no_grad():
            for tensor in fast.values():
                tensor.add_(1.0)
        moved = {k: v.clone() for k, v in fast.items()}
        run.step = step
        run.follow_average(8)
        if share is None:
            assert all(torch.equal(fast[k], moved[k]) for k in fast)
            continue
        for name, tensor in run.average.state_dict().items():
            expected = slow[name] + share * (moved[name] - slow[name])
            torch.testing.assert_close(tensor, expected)
            assert torch.equal(fast[name], tensor)
            slow[name] = tensor.clone()


def test_the_last_step_brings_slow_and_fast_weights_together(tmp_path):
    run = started(tmp_path, lookahead=5)
    list(fit(run, feed(), feed()))
    for one, other in zip(run.network.state_dict().values(), run.average.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@given(st.integers(0, 99), st.integers(0, 5))
def test_two_epochs_in_a_row_show_both_sides_of_each_image(seed, epoch):
    x = torch.randint(0, 255, (9, 4, 5, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    rows = torch.tensor([4, 0, 7, 2, 8, 1, 3, 6, 5])
    one, other = (flip_alternately(x, rows, 9, seed, e) for e in (epoch, epoch + 1))
    for k in range(9):
        both = {one[k].numpy().tobytes(), other[k].numpy().tobytes()}
        assert both == {x[k].numpy().tobytes(), x[k].flip(1).numpy().tobytes()}


def test_half_of_many_images_are_mirrored_in_an_epoch():
    x = torch.arange(2).repeat(2000, 1, 1, 1).view(2000, 1, 2, 1)
    turned = (flip_alternately(x, torch.arange(2000), 2000, 0, 0)[:, 0, 0, 0] == 1).float().mean()
    assert 0.45 < turned < 0.55


def test_a_smaller_image_is_the_mean_of_what_its_pixels_cover():
    x = torch.randint(0, 255, (2, 8, 8, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    flat = torch.full((1, 8, 12, 1), 77, dtype=torch.uint8)
    assert torch.equal(shrink_images(flat, 0.75), torch.full((1, 6, 9, 1), 77.0))
    assert shrink_images(x, 0.5).mean() == pytest.approx(x.float().mean().item(), rel=0.02)


def test_growing_images_begin_at_three_quarters_of_their_side(tmp_path):
    run, seen = started(tmp_path, grow=0.5), []
    run.network.register_forward_pre_hook(lambda _m, inputs: seen.append(inputs[0].shape[2:]))
    run.network.get_submodule("conv1").register_forward_pre_hook(
        lambda _m, inputs: seen.append(tuple(inputs[0].shape[2:]))
    )
    for _ in fit(run, feed(), feed()):
        break
    steps = [size for size in seen if size in ((9, 9), (12, 12))]
    assert steps[:6] == [(9, 9)] * 6
    seen.clear()
    list(fit(run, feed(), feed()))
    assert set(seen) == {(12, 12)}


def test_batch_norms_take_the_recipes_momentum(tmp_path):
    run = started(tmp_path, bn_momentum=0.37)
    assert {m.momentum for m in run.network.modules() if hasattr(m, "running_mean")} == {0.37}


def test_decoupled_rates_are_of_the_whole_way_and_for_momentum_alone():
    assert Recipe(optimizer="nesterov", decoupled=True).peak == pytest.approx(0.05 / (1 - 0.9))
    with pytest.raises(RecipeError, match="recipe.decoupled"):
        Recipe(optimizer="adamw", decoupled=True)


def test_images_are_turned_every_way_and_upended_only_as_they_are_told():
    x = torch.arange(9, dtype=torch.uint8).view(1, 3, 3, 1).repeat(400, 1, 1, 1)
    square = x[0, ..., 0].numpy()
    turns = {np.rot90(square, k).tobytes() for k in range(4)}
    assert {image.numpy().tobytes() for image in augment_images(x, ("rot90",), make_generator(0))} == turns
    assert {image.numpy().tobytes() for image in augment_images(x, ("vflip",), make_generator(0))} == {
        square.tobytes(), square[::-1].tobytes()
    }  # fmt: skip
    flat = x[:, :2]
    halves = {flat[0].numpy().tobytes(), np.rot90(flat[0].numpy(), 2).tobytes()}
    assert {image.numpy().tobytes() for image in augment_images(flat, ("rot90",), make_generator(0))} == halves


def test_images_without_any_difference_give_filters_of_the_length_that_the_floor_allows():
    net = Net((3, 8, 8), [Conv(20, 3), Flatten(), Dense(2)])
    fresh = np.full((20, 3, 3, 3), 7.0, np.float32)
    grey = np.full((5, 8, 8, 3), 100, np.uint8)
    found = whiten_filters(net, fresh, grey, (100 / 255,) * 3, (0.5,) * 3)
    assert np.linalg.norm(found.reshape(20, -1), axis=1) == pytest.approx(VARIANCE_FLOOR**-0.5, rel=1e-4)
    np.testing.assert_array_equal(found[10:], -found[:10])


@pytest.mark.parametrize("share", [0.5, 0.75, 0.8])
def test_smaller_images_are_pillows_which_takes_the_mean_over_what_a_pixel_covers(share):
    x = torch.randint(0, 256, (2, 16, 12, 3), generator=make_generator(1), dtype=torch.uint8)
    size = (round(16 * share), round(12 * share))
    found = shrink_images(x, share)
    assert found.shape == (2, *size, 3)
    for image, small in zip(x.numpy(), found.numpy(), strict=True):
        for c in range(3):
            theirs = Image.fromarray(image[..., c].astype(np.float32)).resize(size[::-1], Image.Resampling.BILINEAR)
            np.testing.assert_allclose(small[..., c], np.asarray(theirs), atol=1e-3)


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_the_usual_rate_grows_with_the_batch_to_four_times_that_of_64_images(optimizer):
    rates = [Recipe(optimizer=optimizer, batch=batch).peak for batch in (16, 64, 128, 64 * 4**4, 64 * 4**6)]
    growth = OPTIMIZERS[optimizer].GROWTH
    assert rates[0] / rates[1] == pytest.approx(0.25**growth) and rates[2] / rates[1] == pytest.approx(2**growth)
    assert rates[3] / rates[1] == rates[4] / rates[1] == pytest.approx(4)
    assert Recipe(optimizer=optimizer, batch=4096, lr=0.03).peak == 0.03


@pytest.mark.parametrize(
    ("good", "bad"),
    [({"batch": 2}, {"batch": 1}), ({"lr": 1e-9}, {"lr": 0.0}), ({"lr": 1e9}, {"lr": float("inf")})],
)
def test_a_recipes_bounds_are_the_ones_that_it_names(good, bad):
    assert Recipe(**good)
    with pytest.raises(RecipeError, match=f"recipe.{next(iter(bad))}"):
        Recipe(**bad)
