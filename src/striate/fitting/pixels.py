"""What every augmentation does to pixels: reading them elsewhere, and changing their colour."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..data.read.colour import LUMA


def put_beside(values: Tensor, x: Tensor) -> Tensor:
    """`values` on the device of `x`. What goes to a GPU is on its way when this returns: nobody waits for the GPU."""
    return values.to(x.device, non_blocking=True)


def sample_affine(x: Tensor, matrix: Tensor, padding: str = "border") -> Tensor:
    """Each image read at the places to which its 2×3 matrix takes the frame (−1 to 1 over each side), bilinearly."""
    maps = x.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(put_beside(matrix, x), list(maps.shape), align_corners=False)
    return F.grid_sample(maps, grid, padding_mode=padding, align_corners=False).permute(0, 2, 3, 1)


def jitter_colour(x: Tensor, brightness: Tensor, contrast: Tensor, saturation: Tensor) -> Tensor:
    """Each image's values times `brightness`, then drawn from its mean gray, then from each pixel's own gray.

    As one matrix over the channels and one step up or down, so that nothing is clipped in between.
    """
    n, h, w, c = x.shape
    b, k, s = (put_beside(factor, x).view(n, 1, 1) for factor in (brightness, contrast, saturation))
    luma = torch.tensor(LUMA if c == 3 else (1 / c,) * c, device=x.device)
    flat = x.reshape(n, h * w, c).float()
    matrix = b * k * (s * torch.eye(c, device=x.device) + (1 - s) * luma.view(c, 1).expand(c, c))
    gray = (flat.mean(1) @ luma).view(n, 1, 1)
    return torch.baddbmm((1 - k) * b * gray, flat, matrix).clamp_(0, 255).view(n, h, w, c)
