"""A training loop for 32×32 images on one GPU and nothing else: what a speed run on CIFAR-10 does, in plain PyTorch.

Written for `bench/gpu.py`, to be set beside striate's own loop. Its ingredients are those of Jordan (2024, arXiv
2404.00498) and of the airbench94_muon record that followed: whitened first filters, blocks of two 3×3 convolutions with
64, 256 and 256 filters, GELU, BatchNorm without scale in float32, all else in half precision; dirac initialisation;
Muon with filters of unit spread for the convolutions, Nesterov momentum for biases and head; rates that fall in a
straight line; alternating flips and shifts of two pixels by reflection; label smoothing of 0.2; six views at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

WIDTHS, PATCHES, SHIFT, EPOCHS_OF_BIAS = (64, 256, 256), 24, 2, 3
BIAS_RATE, HEAD_RATE, FILTER_RATE, DECAY_AN_IMAGE = 0.053, 0.67, 0.24, 2e-6


class Block(nn.Module):
    def __init__(self, before: int, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm1, self.norm2 = (nn.BatchNorm2d(width, eps=1e-12, momentum=0.4) for _ in range(2))
        for norm in (self.norm1, self.norm2):
            norm.weight.requires_grad = False

    def forward(self, x: Tensor) -> Tensor:
        x = F.gelu(self.norm1(F.max_pool2d(self.conv1(x), 2)))
        return F.gelu(self.norm2(self.conv2(x)))


class SpeedNet(nn.Module):
    def __init__(self, images: Tensor) -> None:
        """images  standardised, N×3×32×32: the first filters are their patches' principal parts."""
        super().__init__()
        self.patches = nn.Conv2d(3, PATCHES, 2, bias=False)
        self.patch_bias = nn.Parameter(torch.zeros(PATCHES))
        blocks = [Block(before, width) for before, width in zip((PATCHES, *WIDTHS), WIDTHS, strict=False)]
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Linear(WIDTHS[-1], 10, bias=False)
        with torch.no_grad():
            for block in blocks:
                nn.init.dirac_(block.conv1.weight[: block.conv1.in_channels])
                nn.init.dirac_(block.conv2.weight)
            self.head.weight.div_(self.head.weight.std())
            self.patches.weight.copy_(find_principal_patches(images))
        self.patches.weight.requires_grad = False

    def forward(self, x: Tensor, learn_patches: bool = True) -> Tensor:
        bias = self.patch_bias if learn_patches else self.patch_bias.detach()
        x = F.gelu(F.conv2d(x, self.patches.weight, bias))
        x = F.max_pool2d(self.blocks(x), 3).flatten(1)
        return self.head(x) / x.shape[1]


def find_principal_patches(images: Tensor) -> Tensor:
    rows = F.unfold(images, 2).transpose(1, 2).flatten(0, 1).double()
    variances, directions = torch.linalg.eigh(rows.T @ rows / len(rows))
    found = (directions / (variances + 5e-4).sqrt()).T.flip(0).view(-1, 3, 2, 2)
    return torch.cat([found, -found])


def make_orthogonal(g: Tensor) -> Tensor:
    """Three rounds of Newton–Schulz in bfloat16, with the coefficients of Jordan's Muon."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(3):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


@torch.no_grad()
def step_filters(filters: Sequence[Tensor], velocities: Sequence[Tensor], rate: float, orthogonal: Callable) -> None:
    for weight, velocity in zip(filters, velocities, strict=True):
        g = weight.grad
        assert g is not None
        velocity.mul_(0.6).add_(g)
        g = g.add(velocity, alpha=0.6)
        weight.mul_(len(weight) ** 0.5 / weight.norm())
        weight.add_(orthogonal(g.flatten(1)).view(weight.shape), alpha=-rate)


def shift_and_flip(x: Tensor, flipped: Tensor, turn: bool) -> Tensor:
    """Each image moved by up to two pixels, what comes in reflected; `flipped` ones are mirrored, or all others."""
    n, _, h, w = x.shape
    padded = F.pad(x, (SHIFT,) * 4, "reflect")
    dy, dx = torch.randint(0, 2 * SHIFT + 1, (2, n, 1), device=x.device)
    rows, columns = dy + torch.arange(h, device=x.device), dx + torch.arange(w, device=x.device)
    columns = torch.where((flipped ^ turn).view(n, 1), columns.flip(1), columns)
    at = torch.arange(n, device=x.device).view(n, 1, 1)
    moved = padded.permute(0, 2, 3, 1)[at, rows.unsqueeze(2), columns.unsqueeze(1)]
    return moved.permute(0, 3, 1, 2)


def train_plainly(
    x: Tensor, y: Tensor, now: Callable[[], float], *, epochs: int, batch: int, compiled: bool = True
) -> tuple[SpeedNet, float]:
    """The net trained on standardised images, N×3×32×32, and their labels, both on the device; the steps' seconds."""
    half = torch.float16 if x.is_cuda else torch.float32
    net = SpeedNet(x[:5000].float()).to(x.device, half)
    net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()
    forward = torch.compile(net, mode="reduce-overhead") if compiled else net
    orthogonal = torch.compile(make_orthogonal) if compiled else make_orthogonal
    filters = [p for p in net.parameters() if p.ndim == 4 and p.requires_grad]
    biases = [p for p in net.parameters() if p.ndim == 1 and p.requires_grad and p is not net.patch_bias]
    decay = DECAY_AN_IMAGE * batch
    groups = [
        {"params": [net.patch_bias], "lr": BIAS_RATE, "weight_decay": decay / BIAS_RATE},
        {"params": biases, "lr": BIAS_RATE, "weight_decay": decay / BIAS_RATE},
        {"params": [net.head.weight], "lr": HEAD_RATE, "weight_decay": decay / HEAD_RATE},
    ]
    momentum = torch.optim.SGD(groups, momentum=0.85, nesterov=True, fused=x.is_cuda)
    rates = [group["lr"] for group in momentum.param_groups]
    velocities = [torch.zeros_like(p) for p in filters]
    steps = len(x) // batch
    flipped = torch.rand(len(x), device=x.device) < 0.5
    x = x.to(half).contiguous(memory_format=torch.channels_last)
    began = now()
    for step in range(epochs * steps):
        epoch, k = divmod(step, steps)
        if k == 0:
            order = torch.randperm(len(x), device=x.device)
        chosen = order[k * batch : (k + 1) * batch]
        images = shift_and_flip(x[chosen], flipped[chosen], bool(epoch % 2)).contiguous(
            memory_format=torch.channels_last
        )
        loss = F.cross_entropy(forward(images, epoch < EPOCHS_OF_BIAS), y[chosen], label_smoothing=0.2, reduction="sum")
        loss.backward()
        left, first = 1 - step / (epochs * steps), max(0.0, 1 - step / (EPOCHS_OF_BIAS * steps))
        for group, rate, share in zip(momentum.param_groups, rates, (first, left, left), strict=True):
            group["lr"] = rate * share
        momentum.step()
        step_filters(filters, velocities, FILTER_RATE * left, orthogonal)
        net.zero_grad(set_to_none=True)
    return net, now() - began


@torch.no_grad()
def measure_plainly(net: SpeedNet, x: Tensor, y: Tensor) -> float:
    """Accuracy with six views: the image and its mirror image, in place with half the weight, and moved by a pixel."""
    net.eval()
    right = 0
    for images, labels in zip(x.split(2000), y.split(2000), strict=True):
        images = images.to(net.head.weight.dtype).contiguous(memory_format=torch.channels_last)
        padded = F.pad(images, (1,) * 4, "reflect")
        moved = [padded[:, :, :32, :32], padded[:, :, 2:, 2:]]
        logits = sum(
            weight * 0.5 * net(view)
            for weight, plain in ((0.5, images), *((0.25, one) for one in moved))
            for view in (plain, plain.flip(3))
        )
        right += int((logits.argmax(1) == labels).sum())
    return right / len(y)
