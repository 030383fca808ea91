"""Augmentation on whole batches: uint8 N×H×W×C in, uint8 or float in 0 to 255 out. Labels keep."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SHIFT = 1 / 14
"""The largest shift as a share of the side: 2 pixels of 28."""


def augment(x: Tensor, names: tuple[str, ...], draw: torch.Generator) -> Tensor:
    """`x` with each of `names` applied to each image by its own draw.

    flip    left and right exchanged for half of the images
    shift   moved by up to 1/14 of the side each way, the edge pixels repeated
    affine  turned by up to 15°, scaled by 0.85 to 1.15, moved by up to 1/14, the edge repeated
    cutout  a square of half the side set to the batch's mean gray, its centre anywhere (DeVries and Taylor 2017)
    """
    if "flip" in names or "shift" in names:
        x = moved(x, "flip" in names, "shift" in names, draw)
    if "affine" in names:
        x = turned(x, draw)
    if "cutout" in names:
        x = cut(x, draw)
    return x


def moved(x: Tensor, flip: bool, shift: bool, draw: torch.Generator) -> Tensor:
    """Flip and shift in one gather."""
    n, h, w, _ = x.shape
    rows, columns = torch.arange(h).expand(n, h), torch.arange(w).expand(n, w)
    if shift:
        most_y, most_x = max(1, round(h * SHIFT)), max(1, round(w * SHIFT))
        rows = (rows + torch.randint(-most_y, most_y + 1, (n, 1), generator=draw)).clamp(0, h - 1)
        columns = (columns + torch.randint(-most_x, most_x + 1, (n, 1), generator=draw)).clamp(0, w - 1)
    if flip:
        columns = torch.where(torch.rand(n, 1, generator=draw) < 0.5, columns.flip(1), columns)
    at = torch.arange(n).view(n, 1, 1) * h * w + rows.unsqueeze(2) * w + columns.unsqueeze(1)
    return x.reshape(n * h * w, -1)[at.to(x.device)]


def turned(x: Tensor, draw: torch.Generator) -> Tensor:
    n, h, w, _ = x.shape
    angle, scale, dy, dx = (torch.rand(4, n, generator=draw) * 2 - 1).unbind()
    angle, scale = angle * torch.pi / 12, 1 + scale * 0.15
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    # grid_sample's coordinates run from −1 to 1 over each side, so a turn on a non-square map needs the sides' ratio.
    matrix = torch.stack([cos, -sin * h / w, dx * 2 * SHIFT, sin * w / h, cos, dy * 2 * SHIFT], dim=1).view(n, 2, 3)
    maps = x.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(matrix.to(x.device), list(maps.shape), align_corners=False)
    return F.grid_sample(maps, grid, padding_mode="border", align_corners=False).permute(0, 2, 3, 1)


def cut(x: Tensor, draw: torch.Generator) -> Tensor:
    n, h, w, _ = x.shape
    y0 = torch.randint(0, h, (n, 1), generator=draw)
    x0 = torch.randint(0, w, (n, 1), generator=draw)
    rows = (torch.arange(h) - y0).abs() < h / 4
    columns = (torch.arange(w) - x0).abs() < w / 4
    hole = (rows.unsqueeze(2) & columns.unsqueeze(1)).unsqueeze(3).to(x.device)
    return torch.where(hole, x.float().mean().to(x.dtype), x)
