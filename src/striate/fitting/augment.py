"""Augmentation on whole batches: uint8 N×H×W×C in, uint8 or float in 0 to 255 out; each by its own draw alone."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .pixels import jitter_colour, put_beside, sample_affine
from .seeds import make_generator

# The largest shift as a share of the side: 2 pixels of 28.
SHIFT_SHARE = 1 / 14

# Of `crop`: the share of the picture that is kept, and its width to its height where the picture is square.
CROP_AREA, CROP_RATIO = (0.35, 1.0), (3 / 4, 4 / 3)

# Of `colour`: brightness, contrast and saturation are multiplied by 0.6 to 1.4.
COLOUR_STRENGTH = 0.4

MIXES = ("mixup", "cutmix")
# The α of `mixup`'s Beta(α, α), as Zhang et al. took for ImageNet.
MIXUP_ALPHA = 0.2


def augment_and_mix(
    x: Tensor, y: Tensor, names: tuple[str, ...], draw: torch.Generator, classes: int
) -> tuple[Tensor, Tensor]:
    """`augment_images`, then MixUp or CutMix where `names` has it: the images, and their targets.

    The targets are `y`, int64 N or shares float32 N×m; where images are mixed they are shares, of labels N×classes.
    With both names each batch has one of them, by a coin.

    mixup   two images faded into each other, λ from Beta(0.2, 0.2) (Zhang, Cissé, Dauphin and Lopez-Paz 2018)
    cutmix  a rectangle of one put into the other, its area uniform (Yun et al. 2019)
    """
    x = augment_images(x, names, draw)
    chosen = [name for name in MIXES if name in names]
    if not chosen or len(x) < 2:
        return x, y
    shares = y if y.is_floating_point() else F.one_hot(y, classes).float()
    name = chosen[int(torch.randint(len(chosen), (), generator=draw))] if len(chosen) > 1 else chosen[0]
    return (apply_mixup if name == "mixup" else apply_cutmix)(x, shares, draw)


def augment_images(x: Tensor, names: tuple[str, ...], draw: torch.Generator) -> Tensor:
    """`x` with each of `names` applied to each image by its own draw.

    flip            left and right exchanged for half of the images
    vflip           up and down exchanged for half of the images
    rot90           turned by 0, 90, 180 or 270°, or where images are not square, by 0 or 180°
    shift           moved by up to 1/14 of the side each way, the edge pixels repeated: a crop from the padded image
    affine          turned by up to 15°, scaled by 0.85 to 1.15, moved by up to 1/14, the edge repeated
    crop            a random part, 35 to 100 % of the area, made as large as the whole (Szegedy et al. 2015)
    colour          brightness, contrast and saturation times 0.6 to 1.4 each
    trivialaugment  one of 14 changes with a strength, both drawn evenly (TrivialAugment, Müller and Hutter 2021)
    cutout          a square of half the side set to the batch's mean gray, anywhere (DeVries and Taylor 2017)
    """
    if "flip" in names or "shift" in names:
        x = flip_and_shift(x, "flip" in names, "shift" in names, draw)
    if "vflip" in names:
        x = flip_vertically(x, draw)
    if "rot90" in names:
        x = rotate_quarters(x, draw)
    if "affine" in names:
        x = rotate_images(x, draw)
    if "crop" in names:
        x = crop_randomly(x, draw)
    if "colour" in names:
        b, c, s = (1 + (torch.rand(3, len(x), generator=draw) * 2 - 1) * COLOUR_STRENGTH).unbind()
        x = jitter_colour(x, b, c, s)
    if "trivialaugment" in names:
        from .trivialaugment import apply_trivialaugment

        x = apply_trivialaugment(x, draw)
    if "cutout" in names:
        x = apply_cutout(x, draw)
    return x


def flip_and_shift(x: Tensor, flip: bool, shift: bool, draw: torch.Generator) -> Tensor:
    """Flip and shift in one gather; what is drawn goes to the device, and the places are made there."""
    n, h, w, _ = x.shape
    rows, columns = torch.arange(h, device=x.device).expand(n, h), torch.arange(w, device=x.device).expand(n, w)
    if shift:
        most_y, most_x = max(1, round(h * SHIFT_SHARE)), max(1, round(w * SHIFT_SHARE))
        rows = (rows + put_beside(torch.randint(-most_y, most_y + 1, (n, 1), generator=draw), x)).clamp(0, h - 1)
        columns = (columns + put_beside(torch.randint(-most_x, most_x + 1, (n, 1), generator=draw), x)).clamp(0, w - 1)
    if flip:
        turned = put_beside(torch.rand(n, 1, generator=draw) < 0.5, x)
        columns = torch.where(turned, columns.flip(1), columns)
    at = torch.arange(n, device=x.device).view(n, 1, 1) * h * w + rows.unsqueeze(2) * w + columns.unsqueeze(1)
    return x.reshape(n * h * w, -1)[at]


def flip_vertically(x: Tensor, draw: torch.Generator) -> Tensor:
    coins = put_beside(torch.rand(len(x), generator=draw) < 0.5, x)
    return torch.where(coins.view(-1, 1, 1, 1), x.flip(1), x)


def rotate_quarters(x: Tensor, draw: torch.Generator) -> Tensor:
    turns = put_beside(torch.randint(0, 4, (len(x), 1, 1, 1), generator=draw), x)
    x = torch.where(turns >= 2, x.flip(1, 2), x)
    return torch.where(turns % 2 == 1, x.transpose(1, 2).flip(1), x) if x.shape[1] == x.shape[2] else x


def flip_alternately(x: Tensor, rows: Tensor, images: int, seed: int, epoch: int) -> Tensor:
    """Left and right exchanged in every other epoch, for half of the images in the even ones: Jordan's (2024)

    alternating flip. Two epochs in a row show both sides of each image, where coins show one of them twice to half.
    rows  the place of each image of `x` among all `images`
    """
    coins = torch.rand(images, generator=make_generator(seed, "alternate")) < 0.5
    turned = put_beside(coins[rows] ^ bool(epoch % 2), x)
    return torch.where(turned.view(-1, 1, 1, 1), x.flip(2), x)


def shrink_images(x: Tensor, share: float) -> Tensor:
    """The images at `share` of their sides, bilinearly with the mean over what a pixel covers; float N×H×W×C."""
    size = [max(1, round(side * share)) for side in x.shape[1:3]]
    maps = x.permute(0, 3, 1, 2).float()
    return F.interpolate(maps, size, mode="bilinear", antialias=True, align_corners=False).permute(0, 2, 3, 1)


def rotate_images(x: Tensor, draw: torch.Generator) -> Tensor:
    n, h, w, _ = x.shape
    angle, scale, dy, dx = (torch.rand(4, n, generator=draw) * 2 - 1).unbind()
    angle, scale = angle * torch.pi / 12, 1 + scale * 0.15
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    # grid_sample's coordinates run from −1 to 1 over each side, so a turn on a non-square map needs the sides' ratio.
    matrix = torch.stack([cos, -sin * h / w, dx * 2 * SHIFT_SHARE, sin * w / h, cos, dy * 2 * SHIFT_SHARE], dim=1).view(
        n, 2, 3
    )
    return sample_affine(x, matrix)


def crop_randomly(x: Tensor, draw: torch.Generator) -> Tensor:
    area, ratio, dy, dx = torch.rand(4, len(x), generator=draw).unbind()
    area = CROP_AREA[0] + area * (CROP_AREA[1] - CROP_AREA[0])
    ratio = torch.exp(np.log(CROP_RATIO[0]) + ratio * np.log(CROP_RATIO[1] / CROP_RATIO[0]))
    height, width = (area / ratio).sqrt().clamp(max=1), (area * ratio).sqrt().clamp(max=1)
    none = torch.zeros_like(area)
    y, x0 = (1 - height) * (dy * 2 - 1), (1 - width) * (dx * 2 - 1)
    return sample_affine(x, torch.stack([width, none, x0, none, height, y], dim=1).view(-1, 2, 3))


def apply_mixup(x: Tensor, targets: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    n = len(x)
    other = put_beside(torch.randperm(n, generator=draw), x)
    numbers = np.random.default_rng(int(torch.randint(2**62, (), generator=draw)))
    share = put_beside(torch.from_numpy(numbers.beta(MIXUP_ALPHA, MIXUP_ALPHA, n).astype(np.float32)), x)
    images = x.float()
    return (
        torch.lerp(images[other], images, share.view(n, 1, 1, 1)),
        torch.lerp(targets[other], targets, share.view(n, 1)),
    )


def apply_cutmix(x: Tensor, targets: Tensor, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    n, h, w, _ = x.shape
    other = put_beside(torch.randperm(n, generator=draw), x)
    side, y, x0 = torch.rand(3, n, 1, generator=draw).unbind()
    half = side.sqrt() / 2
    rows = put_beside(((torch.arange(h) + 0.5) / h - y).abs() < half, x)
    columns = put_beside(((torch.arange(w) + 0.5) / w - x0).abs() < half, x)
    taken = (rows.sum(1) * columns.sum(1) / (h * w)).view(n, 1)
    hole = (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(3)
    return torch.where(hole, x[other], x), torch.lerp(targets, targets[other], taken)


def apply_cutout(x: Tensor, draw: torch.Generator) -> Tensor:
    n, h, w, _ = x.shape
    y0 = torch.randint(0, h, (n, 1), generator=draw)
    x0 = torch.randint(0, w, (n, 1), generator=draw)
    rows = put_beside((torch.arange(h) - y0).abs() < h / 4, x)
    columns = put_beside((torch.arange(w) - x0).abs() < w / 4, x)
    hole = (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(3)
    return torch.where(hole, x.float().mean().to(x.dtype), x)
