"""Each layer record as an `nn.Module`: a class, or a function that makes one, of the record and its input's shape."""

from __future__ import annotations

from math import prod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..architecture import layers as L
from ..architecture.abilities import TORCH
from ..architecture.layers import Shape
from ..architecture.layers.pooling import find_even_pool_padding
from ..architecture.layers.windowed import measure_overhang
from ..architecture.window import make_pair


def build_chain(sequence: L.Sequence, x: Shape) -> dict[str, nn.Module | None]:
    """A module for each layer of a sequence that `x` reaches, by its name."""
    made: dict[str, nn.Module | None] = {}
    for name, layer in sequence.named:
        made[name] = TORCH(layer, x)
        x = layer.out(x)
    return made


@TORCH.of(L.Sequence)
class ModuleChain(nn.Module):
    """Modules one after another under the record's names, which may be any word, "forward" or "0" too."""

    def __init__(self, sequence: L.Sequence, x: Shape) -> None:
        super().__init__()
        self._modules |= build_chain(sequence, x)

    def forward(self, x: Tensor) -> Tensor:
        for child in self._modules.values():
            x = child(x)  # type: ignore[misc]
        return x


@TORCH.of(L.Parallel)
class ModuleBranches(nn.Module):
    def __init__(self, layer: L.Parallel, x: Shape) -> None:
        super().__init__()
        self.join = layer.join
        for name, branch in layer.named:
            self._modules[name] = TORCH(branch, x)

    def forward(self, x: Tensor) -> Tensor:
        outputs = [branch(x) for branch in self._modules.values()]  # type: ignore[misc]
        if self.join == "concat":
            return torch.cat(outputs, dim=1)
        y = outputs[0]
        for other in outputs[1:]:
            y = y + other if self.join == "add" else y * other
        return y


@TORCH.of(L.SideHead)
class ModuleSide(nn.Module):
    """A side head: x goes on; in training its logits wait for `Network.with_sides`."""

    def __init__(self, layer: L.SideHead, x: Shape) -> None:
        super().__init__()
        self.weight = layer.weight
        self.logits: Tensor | None = None
        self._modules |= build_chain(L.Sequence(*layer.layers), x)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            y = x
            for child in self._modules.values():
                y = child(y)  # type: ignore[misc]
            self.logits = y
        return x


@TORCH.of(L.Conv)
class ConvModule(nn.Conv2d):
    """nn.Conv2d with zeros put around by the record's rule, which may differ from side to side."""

    def __init__(self, layer: L.Conv, x: Shape) -> None:
        rows, columns = L.slide_window(layer, x)
        even = rows.before == rows.after and columns.before == columns.after
        super().__init__(
            x[0],
            layer.filters,
            make_pair(layer.kernel),
            make_pair(layer.stride),
            (rows.before, columns.before) if even else 0,
            make_pair(layer.dilation),
            layer.groups,
            layer.bias,
        )
        self.around = None if even else (columns.before, columns.after, rows.before, rows.after)

    def reset_parameters(self) -> None:
        """`build_network` draws the weights; torch's own draw would be lost time."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.around) if self.around else x)


@TORCH.of(L.Dense)
class DenseModule(nn.Linear):
    def __init__(self, layer: L.Dense, x: Shape) -> None:
        super().__init__(x[0], layer.units, layer.bias)

    def reset_parameters(self) -> None:
        """`build_network` draws the weights."""


@TORCH.of(L.MaxPool)
class MaxPoolModule(nn.Module):
    def __init__(self, layer: L.MaxPool, x: Shape) -> None:
        super().__init__()
        self.kernel, self.stride, self.dilation = (
            make_pair(layer.kernel),
            L.find_strides(layer),
            make_pair(layer.dilation),
        )
        self.around = find_padding(layer, x)
        self.even, self.ceil = find_even_pool_padding(layer, x), layer.ceil and layer.padding != "same"

    def forward(self, x: Tensor) -> Tensor:
        if self.even is not None:
            return F.max_pool2d(x, self.kernel, self.stride, self.even, self.dilation, self.ceil)
        if any(self.around):
            x = F.pad(x, self.around, value=-torch.inf)
        return F.max_pool2d(x, self.kernel, self.stride, dilation=self.dilation)


@TORCH.of(L.AvgPool)
class AvgPoolModule(nn.Module):
    """The mean over the values that count: `divisor`, each window's share of them, is 1 where all do."""

    divisor: Tensor

    def __init__(self, layer: L.AvgPool, x: Shape) -> None:
        super().__init__()
        self.kernel, self.stride = make_pair(layer.kernel), L.find_strides(layer)
        self.around = find_padding(layer, x)
        self.even, self.ceil = find_even_pool_padding(layer, x), layer.ceil and layer.padding != "same"
        self.count_padding = layer.count_padding
        rows, columns = L.slide_window(layer, x)
        counted = torch.ones(1, 1, *x[1:], dtype=torch.float64)
        if layer.count_padding:
            counted = F.pad(counted, (columns.before, columns.after, rows.before, rows.after), value=1.0)
            beyond = (0, max(0, self.around[1] - columns.after), 0, max(0, self.around[3] - rows.after))
            counted = F.pad(counted, beyond)
            height, width = x[1] + self.around[2] + self.around[3], x[2] + self.around[0] + self.around[1]
            counted = counted[:, :, :height, :width]
        else:
            counted = F.pad(counted, self.around)
        divisor = F.avg_pool2d(counted, self.kernel, self.stride)
        self.whole = bool((divisor == 1).all())
        self.register_buffer("divisor", divisor, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.even is not None:
            return F.avg_pool2d(x, self.kernel, self.stride, self.even, self.ceil, self.count_padding)
        y = F.avg_pool2d(F.pad(x, self.around) if any(self.around) else x, self.kernel, self.stride)
        return y if self.whole else y / self.divisor.to(y.dtype)


def find_padding(layer: L.MaxPool | L.AvgPool, x: Shape) -> tuple[int, int, int, int]:
    """What to pad (left, right, top, bottom) so that exactly the record's windows fit.

    max_pool2d and avg_pool2d skip unread pixels by themselves: no copy to crop them away.
    """
    (top, bottom), (left, right) = measure_overhang(layer, x)
    return left, right, top, bottom


@TORCH.of(L.BlurPool)
class BlurPoolModule(nn.Module):
    """The map reflected at its edges, then a depthwise convolution with the fixed filter."""

    filter: Tensor

    def __init__(self, layer: L.BlurPool, x: Shape) -> None:
        super().__init__()
        top, bottom, left, right = layer.padding
        self.around, self.stride = (left, right, top, bottom), L.find_strides(layer)
        taps = torch.tensor(layer.taps)  # sums of powers of two: exact in float32
        self.register_buffer("filter", torch.outer(taps, taps).repeat(x[0], 1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if any(self.around):
            x = F.pad(x, self.around, mode="reflect")
        return F.conv2d(x, self.filter, None, self.stride, groups=len(self.filter))


@TORCH.of(L.GlobalAvgPool)
class GlobalAvgPoolModule(nn.Module):
    def __init__(self, layer: L.GlobalAvgPool, x: Shape) -> None:
        super().__init__()
        self.keepdims = layer.keepdims

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3), keepdim=self.keepdims)


@TORCH.of(L.GlobalMaxPool)
class GlobalMaxPoolModule(nn.Module):
    def __init__(self, layer: L.GlobalMaxPool, x: Shape) -> None:
        super().__init__()
        self.keepdims = layer.keepdims

    def forward(self, x: Tensor) -> Tensor:
        y = F.adaptive_max_pool2d(x, 1)
        return y if self.keepdims else y.flatten(1)


@TORCH.of(L.BatchNorm)
class BatchNormModule(nn.modules.batchnorm._BatchNorm):
    """For maps and for vectors. It keeps no count of batches: with a fixed momentum nothing reads it."""

    def __init__(self, layer: L.BatchNorm, x: Shape) -> None:
        super().__init__(x[0], layer.eps, layer.momentum, layer.affine)
        self.num_batches_tracked = None

    def _check_input_dim(self, input: Tensor) -> None:
        pass


@TORCH.of(L.LayerNorm)
class LayerNormModule(nn.LayerNorm):
    """Over the channels: the last axis of a vector, the second of N×C×H×W."""

    def __init__(self, layer: L.LayerNorm, x: Shape) -> None:
        super().__init__(x[0], layer.eps, layer.affine)

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 2:
            return super().forward(x)
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


@TORCH.of(L.GroupNorm, L.InstanceNorm)
class GroupNormModule(nn.GroupNorm):
    def __init__(self, layer: L.GroupNorm | L.InstanceNorm, x: Shape) -> None:
        super().__init__(layer.count_groups(x), x[0], layer.eps, layer.affine)

    def forward(self, x: Tensor) -> Tensor:
        """Without torch's refusal of one value a group, whose result is the shift."""
        learns = self.weight is not None and self.weight.requires_grad
        if learns and torch.is_grad_enabled() and not x.requires_grad:
            # On a CPU torch 2.13 dies in the backward pass of a channels-last input that takes no gradient itself.
            x = x.detach().requires_grad_()
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)


@TORCH.of(L.PReLU)
class PReLUModule(nn.PReLU):
    def __init__(self, layer: L.PReLU, x: Shape) -> None:
        super().__init__(x[0] if layer.per_channel else 1, layer.start)


@TORCH.of(L.GlobalResponseNorm)
class GlobalResponseNormModule(nn.Module):
    def __init__(self, layer: L.GlobalResponseNorm, x: Shape) -> None:
        super().__init__()
        self.eps = layer.eps
        self.weight, self.bias = nn.Parameter(torch.empty(x[0])), nn.Parameter(torch.empty(x[0]))

    def forward(self, x: Tensor) -> Tensor:
        length = x.norm(dim=(2, 3), keepdim=True)
        response = length / (length.mean(1, keepdim=True) + self.eps)
        # x + weight·x·response + bias, in the order that keeps no second map for the backward pass.
        return x * (1 + self.weight.view(-1, 1, 1) * response) + self.bias.view(-1, 1, 1)


@TORCH.of(L.ConvTranspose)
class ConvTransposeModule(nn.ConvTranspose2d):
    def __init__(self, layer: L.ConvTranspose, x: Shape) -> None:
        super().__init__(
            x[0],
            layer.filters,
            make_pair(layer.kernel),
            make_pair(layer.stride),
            make_pair(layer.padding),
            make_pair(layer.output_padding),
            layer.groups,
            layer.bias,
            make_pair(layer.dilation),
        )

    def reset_parameters(self) -> None:
        """`build_network` draws the weights."""


@TORCH.of(L.ChannelConv)
class ChannelConvModule(nn.Module):
    """Along the channels of one place; of more places, the channels as the rows of one map."""

    def __init__(self, layer: L.ChannelConv, x: Shape) -> None:
        super().__init__()
        self.one_place = prod(x[1:]) == 1
        self.weight = nn.Parameter(torch.empty(1, 1, layer.kernel))

    def forward(self, x: Tensor) -> Tensor:
        if self.one_place:
            y = F.conv1d(x.reshape(len(x), 1, x.shape[1]), self.weight, padding=self.weight.shape[2] // 2)
            return y.reshape(x.shape)
        rows = x.reshape(len(x), 1, x.shape[1], -1)
        padding = (self.weight.shape[2] // 2, 0)
        return F.conv2d(rows, self.weight[..., None], padding=padding).reshape(x.shape)


@TORCH.of(L.Upsample)
class UpsampleModule(nn.Module):
    def __init__(self, layer: L.Upsample, x: Shape) -> None:
        super().__init__()
        self.factors, self.mode = layer.factors, layer.mode
        self.align_corners = layer.align_corners if layer.mode == "bilinear" else None

    def forward(self, x: Tensor) -> Tensor:
        factors = [float(one) for one in self.factors]
        return F.interpolate(x, scale_factor=factors, mode=self.mode, align_corners=self.align_corners)


@TORCH.of(L.LayerScale)
class LayerScaleModule(nn.Module):
    def __init__(self, layer: L.LayerScale, x: Shape) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(x[0]))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight.view(-1, *(1,) * (x.ndim - 2))


@TORCH.of(L.StochasticDepth)
class StochasticDepthModule(nn.Module):
    def __init__(self, layer: L.StochasticDepth, x: Shape) -> None:
        super().__init__()
        self.rate = layer.rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = torch.empty(len(x), *(1,) * (x.ndim - 1), dtype=x.dtype, device=x.device).bernoulli_(1 - self.rate)
        return x * (kept / (1 - self.rate))


@TORCH.of(L.PadChannels)
class PadChannelsModule(nn.Module):
    def __init__(self, layer: L.PadChannels, x: Shape) -> None:
        super().__init__()
        self.around = (0, 0, 0, 0, layer.before, layer.after)

    def forward(self, x: Tensor) -> Tensor:
        return F.pad(x, self.around)


@TORCH.of(L.SliceChannels)
class SliceChannelsModule(nn.Module):
    def __init__(self, layer: L.SliceChannels, x: Shape) -> None:
        super().__init__()
        self.start, self.length = layer.start, layer.length

    def forward(self, x: Tensor) -> Tensor:
        return x.narrow(1, self.start, self.length)


@TORCH.of(L.Softmax)
class SoftmaxModule(nn.Module):
    def __init__(self, layer: L.Softmax, x: Shape) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        return x.softmax(1)


# Torch's own modules ------------------------------------------------------------------------------


@TORCH.of(L.ChannelShuffle)
def build_channel_shuffle(layer: L.ChannelShuffle, x: Shape) -> nn.Module:
    return nn.ChannelShuffle(layer.groups)


@TORCH.of(L.Flatten)
def build_flatten(layer: L.Flatten, x: Shape) -> nn.Module:
    return nn.Flatten()


@TORCH.of(L.LocalResponseNorm)
def build_local_response_norm(layer: L.LocalResponseNorm, x: Shape) -> nn.Module:
    return nn.LocalResponseNorm(layer.size, layer.alpha, layer.beta, layer.k)


@TORCH.of(L.Dropout)
def build_dropout(layer: L.Dropout, x: Shape) -> nn.Module:
    return nn.Dropout(layer.rate)


@TORCH.of(L.LeakyReLU)
def build_leaky_relu(layer: L.LeakyReLU, x: Shape) -> nn.Module:
    return nn.LeakyReLU(layer.slope)


@TORCH.of(L.ELU)
def build_elu(layer: L.ELU, x: Shape) -> nn.Module:
    return nn.ELU(layer.alpha)


@TORCH.of(L.CELU)
def build_celu(layer: L.CELU, x: Shape) -> nn.Module:
    return nn.CELU(layer.alpha)


@TORCH.of(L.TanhGELU)
def build_tanh_gelu(layer: L.TanhGELU, x: Shape) -> nn.Module:
    return nn.GELU("tanh")


# Records without a field, which torch has a module for.
SAME_IN_TORCH: dict[type[L.Layer], type[nn.Module]] = {
    L.Identity: nn.Identity,
    L.ReLU: nn.ReLU,
    L.ReLU6: nn.ReLU6,
    L.GELU: nn.GELU,
    L.SELU: nn.SELU,
    L.Mish: nn.Mish,
    L.Softplus: nn.Softplus,
    L.SiLU: nn.SiLU,
    L.Sigmoid: nn.Sigmoid,
    L.Tanh: nn.Tanh,
    L.HardSigmoid: nn.Hardsigmoid,
    L.HardSwish: nn.Hardswish,
}


@TORCH.of(*SAME_IN_TORCH)
def build_without_fields(layer: L.Layer, x: Shape) -> nn.Module:
    return SAME_IN_TORCH[type(layer)]()
