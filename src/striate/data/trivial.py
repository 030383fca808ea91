"""TrivialAugment on whole batches: one change an image, drawn evenly, with a strength drawn evenly.

S. Müller and F. Hutter 2021, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", the wide space.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .augment import coloured, sampled

STEPS = 31
"""Strengths: 0 to 30, of which 30 is the most that a change can do."""

GROUND = 128
"""The level of what comes in from outside the picture: that of the bars of the fit "pad"."""

MOST = {"shear": 0.99, "shift": 0.5, "turn": 135.0, "factor": 0.99}
"""The strongest shear, shift (as a share of the side; the paper has 32 pixels), turn in degrees, and change of a
factor of brightness, contrast, saturation or sharpness."""

GEOMETRIC = ("shear x", "shear y", "shift x", "shift y", "turn")
FACTORS = ("brightness", "contrast", "saturation", "sharpness")
OPERATIONS = ("none", *GEOMETRIC, *FACTORS, "posterise", "solarise", "stretch", "equalise")


def trivially(x: Tensor, draw: torch.Generator) -> Tensor:
    """`x`, uint8 or float in 0 to 255, with one of OPERATIONS done to each image, as float."""
    n = len(x)
    chosen = torch.randint(len(OPERATIONS), (n,), generator=draw)
    strength = torch.randint(STEPS, (n,), generator=draw) / (STEPS - 1)
    sign = torch.randint(2, (n,), generator=draw) * 2.0 - 1
    out = x.float()
    out = out.clone() if out is x else out
    for names, work in GROUPS:
        kinds = torch.tensor([OPERATIONS.index(name) for name in names])
        rows = torch.isin(chosen, kinds).nonzero().squeeze(1)
        if len(rows):
            here = rows.to(x.device)
            names_of = [OPERATIONS[k] for k in chosen[rows].tolist()]
            out[here] = work(out[here], names_of, strength[rows], sign[rows])
    return out


def geometric(x: Tensor, names: list[str], strength: Tensor, sign: Tensor) -> Tensor:
    _, h, w, _ = x.shape
    matrix = torch.eye(2, 3).repeat(len(x), 1, 1)
    amount = strength * sign
    for row, name in enumerate(names):
        a = float(amount[row])
        match name:
            case "shear x":
                matrix[row, 0, 1] = a * MOST["shear"] * h / w
            case "shear y":
                matrix[row, 1, 0] = a * MOST["shear"] * w / h
            case "shift x":
                matrix[row, 0, 2] = 2 * a * MOST["shift"]
            case "shift y":
                matrix[row, 1, 2] = 2 * a * MOST["shift"]
            case "turn":
                angle = torch.deg2rad(torch.tensor(a * MOST["turn"]))
                cos, sin = torch.cos(angle), torch.sin(angle)
                matrix[row, :, :2] = torch.stack([cos, -sin * h / w, sin * w / h, cos]).view(2, 2)
    return sampled(x - GROUND, matrix, "zeros") + GROUND


def factors(x: Tensor, names: list[str], strength: Tensor, sign: Tensor) -> Tensor:
    """Brightness, contrast and saturation."""
    amount = 1 + strength * sign * MOST["factor"]
    by = [torch.where(torch.tensor([kind == name for kind in names]), amount, 1.0) for name in FACTORS[:3]]
    return coloured(x, *by)


def sharpened(x: Tensor, names: list[str], strength: Tensor, sign: Tensor) -> Tensor:
    """Drawn from the picture smoothed by 1 1 1, 1 5 1, 1 1 1 over 13, as Pillow does; the border keeps."""
    amount = (1 + strength * sign * MOST["factor"]).view(-1, 1, 1, 1).to(x.device)
    maps = x.permute(0, 3, 1, 2)
    if min(maps.shape[2:]) < 3:
        return x
    kernel = torch.ones(3, 3, device=x.device)
    kernel[1, 1] = 5
    c = maps.shape[1]
    smooth = maps.clone()
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(maps, (kernel / 13).expand(c, 1, 3, 3), groups=c)
    return torch.lerp(smooth, maps, amount).clamp_(0, 255).permute(0, 2, 3, 1)


def posterised(x: Tensor, names: list[str], strength: Tensor, sign: Tensor) -> Tensor:
    """The lower 0 to 6 of 8 bits cleared."""
    step = 2.0 ** (strength * 6).round().view(-1, 1, 1, 1).to(x.device)
    return (x.round() / step).floor() * step


def solarised(x: Tensor, names: list[str], strength: Tensor, sign: Tensor) -> Tensor:
    """What is as bright as a level or brighter, turned over; the level is 255 for strength 0 and 0 for the most."""
    level = (255 * (1 - strength)).view(-1, 1, 1, 1).to(x.device)
    return torch.where(x >= level, 255 - x, x)


def stretched(x: Tensor, names: list[str], strength: Tensor, sign: Tensor) -> Tensor:
    """Each channel's least level to 0 and its largest to 255."""
    low, high = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
    return torch.where(high > low, (x - low) * (255 / (high - low).clamp(min=1e-6)), x).clamp_(0, 255)


def equalised(x: Tensor, names: list[str], strength: Tensor, sign: Tensor) -> Tensor:
    """Each channel's levels spread so that each is as frequent, by Pillow's rule."""
    n, h, w, c = x.shape
    levels = x.round().long()
    place = levels + 256 * (torch.arange(n * c, device=x.device).view(n, 1, 1, c))
    counts = torch.bincount(place.flatten(), minlength=n * c * 256).view(n * c, 256)
    last = counts.gather(1, (255 - counts.flip(1).bool().int().argmax(1, keepdim=True)))
    step = (h * w - last) // 255
    before = counts.cumsum(1) - counts
    table = ((before + step // 2) // step.clamp(min=1)).clamp(max=255)
    table = torch.where(step > 0, table, torch.arange(256, device=x.device))
    return table.flatten()[place].float()


GROUPS = (
    (GEOMETRIC, geometric),
    (FACTORS[:3], factors),
    (FACTORS[3:], sharpened),
    (("posterise",), posterised),
    (("solarise",), solarised),
    (("stretch",), stretched),
    (("equalise",), equalised),
)
