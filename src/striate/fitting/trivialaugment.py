"""TrivialAugment on whole batches: one change an image, drawn evenly, with a strength drawn evenly.

S. Müller and F. Hutter 2021, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation", the wide space.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .pixels import jitter_colour, sample_affine

# Strengths: 0 to 30, of which 30 is the most that a change can do.
STRENGTH_STEPS = 31

# The level of what comes in from outside the picture: that of the bars of the fit "pad".
GROUND_LEVEL = 128

# The strongest shear, shift (as a share of the side; the paper has 32 pixels), turn in degrees, and change of a
# factor of brightness, contrast, saturation or sharpness.
MOST_STRENGTH = {"shear": 0.99, "shift": 0.5, "turn": 135.0, "factor": 0.99}

GEOMETRIC_OPERATIONS = ("shear x", "shear y", "shift x", "shift y", "turn")
FACTOR_OPERATIONS = ("brightness", "contrast", "saturation", "sharpness")
OPERATIONS = ("none", *GEOMETRIC_OPERATIONS, *FACTOR_OPERATIONS, "posterise", "solarise", "stretch", "equalise")


def apply_trivialaugment(x: Tensor, draw: torch.Generator) -> Tensor:
    """`x`, uint8 or float in 0 to 255, with one of OPERATIONS done to each image, as float."""
    n = len(x)
    chosen = torch.randint(len(OPERATIONS), (n,), generator=draw)
    strength = torch.randint(STRENGTH_STEPS, (n,), generator=draw) / (STRENGTH_STEPS - 1)
    sign = torch.randint(2, (n,), generator=draw) * 2.0 - 1
    out = x.float()
    out = out.clone() if out is x else out
    for names, work in OPERATION_GROUPS:
        kinds = torch.tensor([OPERATIONS.index(name) for name in names])
        rows = torch.isin(chosen, kinds).nonzero().squeeze(1)
        if len(rows):
            here = rows.to(x.device)
            names_of = [OPERATIONS[k] for k in chosen[rows].tolist()]
            out[here] = work(out[here], names_of, strength[rows], sign[rows])
    return out


def transform_geometry(x: Tensor, names: list[str], strength: Tensor, sign: Tensor) -> Tensor:
    _, h, w, _ = x.shape
    matrix = torch.eye(2, 3).repeat(len(x), 1, 1)
    amount = strength * sign
    for row, name in enumerate(names):
        a = float(amount[row])
        match name:
            case "shear x":
                matrix[row, 0, 1] = a * MOST_STRENGTH["shear"] * h / w
            case "shear y":
                matrix[row, 1, 0] = a * MOST_STRENGTH["shear"] * w / h
            case "shift x":
                matrix[row, 0, 2] = 2 * a * MOST_STRENGTH["shift"]
            case "shift y":
                matrix[row, 1, 2] = 2 * a * MOST_STRENGTH["shift"]
            case "turn":
                angle = torch.deg2rad(torch.tensor(a * MOST_STRENGTH["turn"]))
                cos, sin = torch.cos(angle), torch.sin(angle)
                matrix[row, :, :2] = torch.stack([cos, -sin * h / w, sin * w / h, cos]).view(2, 2)
    return sample_affine(x - GROUND_LEVEL, matrix, "zeros") + GROUND_LEVEL


def scale_factors(x: Tensor, names: list[str], strength: Tensor, sign: Tensor) -> Tensor:
    """Brightness, contrast and saturation."""
    amount = 1 + strength * sign * MOST_STRENGTH["factor"]
    by = [torch.where(torch.tensor([kind == name for kind in names]), amount, 1.0) for name in FACTOR_OPERATIONS[:3]]
    return jitter_colour(x, *by)


def sharpen_images(x: Tensor, names: list[str], strength: Tensor, sign: Tensor) -> Tensor:
    """Drawn from the picture smoothed by 1 1 1, 1 5 1, 1 1 1 over 13, as Pillow does; the border keeps."""
    amount = (1 + strength * sign * MOST_STRENGTH["factor"]).view(-1, 1, 1, 1).to(x.device)
    maps = x.permute(0, 3, 1, 2)
    if min(maps.shape[2:]) < 3:
        return x
    kernel = torch.ones(3, 3, device=x.device)
    kernel[1, 1] = 5
    c = maps.shape[1]
    smooth = maps.clone()
    smooth[:, :, 1:-1, 1:-1] = F.conv2d(maps, (kernel / 13).expand(c, 1, 3, 3), groups=c)
    return torch.lerp(smooth, maps, amount).clamp_(0, 255).permute(0, 2, 3, 1)


def posterise_images(x: Tensor, names: list[str], strength: Tensor, sign: Tensor) -> Tensor:
    """The lower 0 to 6 of 8 bits cleared."""
    step = 2.0 ** (strength * 6).round().view(-1, 1, 1, 1).to(x.device)
    return (x.round() / step).floor() * step


def solarise_images(x: Tensor, names: list[str], strength: Tensor, sign: Tensor) -> Tensor:
    """What is as bright as a level or brighter, turned over; the level is 255 for strength 0 and 0 for the most."""
    level = (255 * (1 - strength)).view(-1, 1, 1, 1).to(x.device)
    return torch.where(x >= level, 255 - x, x)


def stretch_contrast(x: Tensor, names: list[str], strength: Tensor, sign: Tensor) -> Tensor:
    """Each channel's least level to 0 and its largest to 255."""
    low, high = x.amin((1, 2), keepdim=True), x.amax((1, 2), keepdim=True)
    return torch.where(high > low, (x - low) * (255 / (high - low).clamp(min=1e-6)), x).clamp_(0, 255)


def equalise_images(x: Tensor, names: list[str], strength: Tensor, sign: Tensor) -> Tensor:
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


OPERATION_GROUPS = (
    (GEOMETRIC_OPERATIONS, transform_geometry),
    (FACTOR_OPERATIONS[:3], scale_factors),
    (FACTOR_OPERATIONS[3:], sharpen_images),
    (("posterise",), posterise_images),
    (("solarise",), solarise_images),
    (("stretch",), stretch_contrast),
    (("equalise",), equalise_images),
)
