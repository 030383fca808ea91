"""Augmentation: what each does is what its paper or Pillow says, and nothing but the given draw settles it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from striate.fitting.augment import CROP_AREA, apply_cutmix, apply_mixup, augment_and_mix, augment_images, crop_randomly
from striate.fitting.pixels import jitter_colour
from striate.fitting.seeds import make_generator
from striate.fitting.trivialaugment import (
    OPERATIONS,
    apply_trivialaugment,
    equalise_images,
    posterise_images,
    sharpen_images,
    solarise_images,
    stretch_contrast,
    transform_geometry,
)
from tests.oracles import torchvision

NAMES = ("flip", "shift", "affine", "crop", "colour", "trivialaugment", "cutout", "mixup", "cutmix")


def noise(n: int = 16, h: int = 12, w: int = 10, c: int = 3, seed: int = 0) -> torch.Tensor:
    return torch.randint(0, 256, (n, h, w, c), generator=make_generator(seed), dtype=torch.uint8)


def pillow(x: torch.Tensor) -> Image.Image:
    return Image.fromarray(x.numpy().squeeze(-1) if x.shape[-1] == 1 else x.numpy())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", NAMES)
def test_each_keeps_shape_and_range_and_depends_on_the_given_draw_alone(name, channels):
    x, y = noise(c=channels), torch.arange(16) % 4
    kept = x.clone()
    torch.manual_seed(1)
    np.random.seed(1)
    first, targets = augment_and_mix(x, y, (name,), make_generator(3), 4)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    again, same = augment_and_mix(x, y, (name,), make_generator(3), 4)
    other, _ = augment_and_mix(x, y, (name,), make_generator(4), 4)
    assert torch.equal(first, again) and torch.equal(targets, same) and not torch.equal(first.float(), other.float())
    assert first.shape == x.shape and torch.equal(x, kept) and not torch.equal(first.float(), x.float())
    assert first.min() >= -1e-3 and first.max() <= 255.001
    torch.manual_seed(1)
    assert torch.equal(torch.get_rng_state(), state), "the global generator was drawn from"


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"mixup", "cutmix"}))
def test_only_mixing_changes_the_labels(name):
    y = torch.tensor([2, 0])
    _, targets = augment_and_mix(noise(2), y, (name,), make_generator(0), 3)
    assert targets is y


@given(st.integers(2, 20), st.integers(1, 9), st.integers(1, 9), st.integers(0, 50))
@settings(deadline=None)
def test_mixup_fades_images_and_targets_by_the_same_share(n, h, w, seed):
    levels = torch.arange(n) * 10
    x = levels.view(n, 1, 1, 1).expand(n, h, w, 1).to(torch.uint8)
    mixed, targets = apply_mixup(x, torch.eye(n), make_generator(seed))
    torch.testing.assert_close(mixed, (targets @ levels.float()).view(n, 1, 1, 1).expand(n, h, w, 1))
    torch.testing.assert_close(targets.sum(1), torch.ones(n))
    assert (targets >= 0).all() and ((targets > 0).sum(1) <= 2).all()


def test_mixups_shares_are_from_beta():
    """Beta(0.2, 0.2) has mean 1/2 and variance 1 / (4 (2α + 1))."""
    _, targets = apply_mixup(
        noise(4000, 1, 1, 1), torch.arange(4000.0).view(-1, 1).expand(-1, 1) * 0 + 1, make_generator(0)
    )
    assert torch.allclose(targets, torch.ones_like(targets))
    x = torch.cat([torch.zeros(4000), torch.full((4000,), 255.0)]).view(-1, 1, 1, 1)
    mixed, _ = apply_mixup(x, torch.zeros(8000, 2), make_generator(0))
    shares = (mixed / 255).flatten()
    apart = shares[(shares > 0) & (shares < 1)]
    assert apart.mean().item() == pytest.approx(0.5, abs=0.02)
    assert apart.var().item() == pytest.approx(1 / (4 * 1.4), abs=0.02)


@given(st.integers(2, 20), st.integers(1, 9), st.integers(1, 9), st.integers(0, 50))
@settings(deadline=None)
def test_cutmix_puts_in_a_rectangle_and_the_targets_are_the_shares_of_the_area(n, h, w, seed):
    x = torch.arange(n, dtype=torch.uint8).view(n, 1, 1, 1).expand(n, h, w, 1)
    mixed, targets = apply_cutmix(x, torch.eye(n), make_generator(seed))
    for own, (image, target) in enumerate(zip(mixed[..., 0], targets, strict=True)):
        torch.testing.assert_close(torch.bincount(image.flatten().long(), minlength=n) / (h * w), target)
        foreign = image != own
        rows, columns = foreign.any(1), foreign.any(0)
        assert torch.equal(foreign, rows.view(-1, 1) & columns)


def test_both_mixes_take_turns():
    x, y = noise(8), torch.arange(8) % 2
    kinds = [augment_and_mix(x, y, ("mixup", "cutmix"), make_generator(seed), 2)[0].dtype for seed in range(40)]
    assert 10 < sum(kind == torch.uint8 for kind in kinds) < 30


def test_a_batch_of_one_image_is_not_mixed():
    x, y = noise(1), torch.tensor([1])
    assert augment_and_mix(x, y, ("mixup",), make_generator(0), 2) == (x, y)


@given(st.floats(0.6, 1.4), st.floats(0.6, 1.4), st.floats(0.6, 1.4))
@settings(deadline=None)
def test_colour_is_pillows_brightness_contrast_and_saturation(b, c, s):
    """Where nothing is clipped; Pillow rounds to whole levels after each of the three."""
    x = (noise(1) // 3 + 60).to(torch.uint8)
    found = jitter_colour(x, *(torch.tensor([v]) for v in (b, c, s)))[0]
    expected = ImageEnhance.Brightness(pillow(x[0])).enhance(b)
    expected = ImageEnhance.Color(ImageEnhance.Contrast(expected).enhance(c)).enhance(s)
    assert (found - torch.from_numpy(np.array(expected)).float()).abs().max() < 4


def test_colour_without_a_change_changes_nothing():
    for channels in (1, 3):
        x = noise(c=channels)
        one = torch.ones(len(x))
        torch.testing.assert_close(jitter_colour(x, one, one, one), x.float(), atol=1e-3, rtol=0)


def test_a_crop_is_a_part_of_the_picture_made_as_large_as_the_whole():
    """A picture whose levels are its coordinates tells which part was taken: top, left, height and width."""
    n, h, w = 400, 40, 30
    y, x = torch.meshgrid((torch.arange(h) + 0.5) / h, (torch.arange(w) + 0.5) / w, indexing="ij")
    picture = torch.stack([y * 255, x * 255, 0 * x], dim=2).expand(n, h, w, 3)
    out = crop_randomly(picture, make_generator(0)) / 255
    height = (out[:, 30, 15, 0] - out[:, 10, 15, 0]) / 20 * h
    width = (out[:, 20, 20, 1] - out[:, 20, 10, 1]) / 10 * w
    assert (height <= 1.001).all() and (width <= 1.001).all()
    area = height * width
    assert area.min() > CROP_AREA[0] * 0.98 and area.max() <= 1.001 and 0.6 < area.mean() < 0.72
    inner = out[:, 4:-4, 4:-4, :2]
    assert inner.min() > 0 and inner.max() < 1
    rows, columns = (torch.arange(count).float() for count in (h, w))
    top, left = out[:, 20, 15, 0] - 20 * height / h, out[:, 20, 15, 1] - 15 * width / w
    upright = (top.view(-1, 1) + rows * (height / h).view(-1, 1)).view(n, h, 1).expand(n, h, w)
    across = (left.view(-1, 1) + columns * (width / w).view(-1, 1)).view(n, 1, w).expand(n, h, w)
    expected = torch.stack([upright, across], dim=3)
    torch.testing.assert_close(out[:, 2:-2, 2:-2, :2], expected[:, 2:-2, 2:-2], atol=2e-4, rtol=0)
    ratio = width * w / (height * h)
    square = ratio / (w / h)
    assert square[height.maximum(width) < 0.99].min() > 3 / 4 * 0.99
    assert square[height.maximum(width) < 0.99].max() < 4 / 3 * 1.01


one = torch.tensor([1.0])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("seed", range(4))
def test_equalise_and_stretch_are_pillows(seed, channels):
    x = (noise(1, 30, 20, channels, seed).float() * (0.2 + 0.2 * seed) + 20).to(torch.uint8)
    for ours, theirs in ((equalise_images, ImageOps.equalize), (stretch_contrast, ImageOps.autocontrast)):
        expected = np.array(theirs(pillow(x[0]))).reshape(30, 20, channels)
        assert np.abs(ours(x.float(), [], one, one)[0].numpy() - expected).max() <= 1


def test_equalise_leaves_an_even_picture_as_it_is():
    x = torch.full((2, 5, 5, 3), 90.0)
    assert torch.equal(equalise_images(x, [], one, one), x) and torch.equal(stretch_contrast(x, [], one, one), x)


@pytest.mark.parametrize("bits", range(7))
def test_posterise_is_pillows(bits):
    x = noise(1)
    expected = np.array(ImageOps.posterize(pillow(x[0]), 8 - bits))
    np.testing.assert_array_equal(posterise_images(x.float(), [], torch.tensor([bits / 6]), one)[0], expected)


@pytest.mark.parametrize("share", [0.0, 0.2, 0.6, 1.0])
def test_solarise_is_pillows(share):
    x = noise(1)
    expected = np.array(ImageOps.solarize(pillow(x[0]), round(255 * (1 - share))))
    np.testing.assert_array_equal(solarise_images(x.float(), [], torch.tensor([share]), one)[0], expected)


@pytest.mark.parametrize("sign", [-1.0, 1.0])
def test_sharpness_is_pillows(sign):
    x = noise(1)
    expected = np.array(ImageEnhance.Sharpness(pillow(x[0])).enhance(1 + sign * 0.5 * 0.99))
    found = sharpen_images(x.float(), [], torch.tensor([0.5]), torch.tensor([sign]))[0]
    assert np.abs(found.numpy() - expected).max() <= 2


@pytest.mark.parametrize("name, options", [
    ("shear x", {"shear": [-np.degrees(np.arctan(0.99 * 0.5)), 0.0]}),
    ("shear y", {"shear": [0.0, -np.degrees(np.arctan(0.99 * 0.5))]}),
    ("shift x", {"translate": [-10, 0]}),
    ("shift y", {"translate": [0, -8]}),
    ("turn", {"angle": -67.5}),
])  # fmt: skip
def test_the_geometry_is_torchvisions_affine(name, options):
    """On a smooth picture, away from the border, whichever way its sign goes."""
    functional = torchvision().transforms.functional
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(40.0), indexing="ij")
    picture = torch.stack([128 + 60 * torch.sin(x / 7), 128 + 60 * torch.cos(y / 6), 3 * (x + y)], dim=2)
    found = transform_geometry(picture[None], [name], torch.tensor([0.5]), one)[0]
    given = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]} | options
    close = []
    for way in (1, -1):
        turned = {k: [way * a for a in v] if isinstance(v, list) else way * v for k, v in given.items()}
        turned["scale"] = 1.0
        expected = functional.affine(
            picture.permute(2, 0, 1)[None], **turned, interpolation=torchvision().transforms.InterpolationMode.BILINEAR,
            fill=[128.0] * 3,
        )[0].permute(1, 2, 0)  # fmt: skip
        close.append((found - expected)[8:-8, 8:-8].abs().median().item() < 0.5)
    assert close.count(True) == 1


def test_trivial_does_one_thing_to_an_image_and_each_as_often():
    """An even picture of level 90 and its mirror: only some changes can show, and a seventh part of them does not."""
    x = noise(3000, 6, 6)
    out = apply_trivialaugment(x, make_generator(0))
    same = (out == x.float()).flatten(1).all(1).float().mean().item()
    kinds, strengths = len(OPERATIONS), 31
    # unchanged: "none" always, and 9 geometric and factor changes, posterise and solarise at strength 0 or nearly
    assert 1 / kinds < same < 1 / kinds + 12 / kinds * 4 / strengths


def test_augmenting_an_image_does_not_depend_on_its_neighbours():
    """Of the changes whose draws are one an image: the first image of two batches that differ elsewhere is the same."""
    a, b = noise(8, seed=1), noise(8, seed=2)
    b[0] = a[0]
    for name in ("flip", "shift", "affine", "crop", "colour", "trivialaugment"):
        torch.testing.assert_close(
            augment_images(a, (name,), make_generator(5))[0], augment_images(b, (name,), make_generator(5))[0]
        )
