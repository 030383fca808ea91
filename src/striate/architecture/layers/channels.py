"""Layers along the channels: some added, some taken, all in another order, or a window that slides over them."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

from ...errors import ShapeError
from ...language import say
from .layer import Examples, Layer, SavedMap, Shape, Tensor, need_groups, need_map, need_rule, need_whole

__all__ = ["PadChannels", "SliceChannels", "ChannelShuffle", "ChannelConv"]


@dataclass(frozen=True, repr=False)
class PadChannels(Layer):
    """Zero channels put before and after: C×H×W -> (before + C + after)×H×W, no parameters.

    The shortcut of option A in He et al. 2015, section 4.2.

    >>> PadChannels(8, 8).out((16, 32, 32))
    (32, 32, 32)
    """

    KIND: ClassVar[str] = "pad"
    KEPT: ClassVar[SavedMap] = SavedMap()
    EXAMPLES: ClassVar[Examples] = {"before": (1, 0, 2), "after": (0, 1, 2)}
    before: int
    after: int

    def __post_init__(self) -> None:
        super().__post_init__()
        need_whole(self, "before", "after", least=0)

    def out(self, x: Shape) -> Shape:
        need_map(self, x)
        return (self.before + x[0] + self.after, x[1], x[2])

    def size_rule(self, x: Shape) -> str:
        return say("{before} + {channels} + {after} channels", before=self.before, channels=x[0], after=self.after)


@dataclass(frozen=True, repr=False)
class SliceChannels(Layer):
    """So many channels from `start` on: C×H×W -> length×H×W, no parameters (torch.narrow).

    What a branch reads that works on a part of the map: CSPNet (Wang et al. 2019), Res2Net (Gao et al. 2019),
    ShuffleNet v2 (Ma et al. 2018).

    >>> SliceChannels(16, 8).out((32, 14, 14))
    (8, 14, 14)
    """

    KIND: ClassVar[str] = "slice"
    KEPT: ClassVar[SavedMap] = SavedMap(view=True)
    EXAMPLES: ClassVar[Examples] = {"start": (0, 1), "length": (1, 2)}
    start: int
    length: int

    def __post_init__(self) -> None:
        super().__post_init__()
        need_whole(self, "start", least=0)
        need_whole(self, "length")

    def out(self, x: Shape) -> Shape:
        if self.start + self.length > x[0]:
            raise ShapeError(
                "",
                say(
                    "SliceChannels({start}, {length}) reads beyond the last channel",
                    start=self.start,
                    length=self.length,
                ),
                got=say("{channels} channels", channels=x[0]),
                rule=say(
                    "{start} + {length} = {end}, must be at most {channels}",
                    start=self.start,
                    length=self.length,
                    end=self.start + self.length,
                    channels=x[0],
                ),
            )
        return (self.length, *x[1:])

    def size_rule(self, x: Shape) -> str:
        return say(
            "{length} of {channels} channels, from {start} on", length=self.length, channels=x[0], start=self.start
        )


@dataclass(frozen=True, repr=False)
class ChannelShuffle(Layer):
    """The channels in another order, so that grouped convolutions see each other's: C×H×W -> C×H×W, no parameters.

    Of `groups` neighbouring parts the first channels come first, then the second ones, and so on (ShuffleNet, Zhang et
    al. 2017; torch's nn.ChannelShuffle).

    >>> ChannelShuffle(2).out((8, 14, 14))
    (8, 14, 14)
    """

    KIND: ClassVar[str] = "shuffle"
    KEPT: ClassVar[SavedMap] = SavedMap()
    EXAMPLES: ClassVar[Examples] = {"groups": (1, 2, 3)}
    groups: int

    def __post_init__(self) -> None:
        super().__post_init__()
        need_whole(self, "groups")

    def out(self, x: Shape) -> Shape:
        need_map(self, x)
        need_groups(self.groups, x)
        return x

    def find_source(self, channel: int, x: Shape) -> int:
        """The input's channel that comes out as `channel`."""
        each = x[0] // self.groups
        return channel % self.groups * each + channel // self.groups

    def find_place(self, channel: int, x: Shape) -> int:
        """Where the input's `channel` comes out."""
        each = x[0] // self.groups
        return channel % each * self.groups + channel // each

    def size_rule(self, x: Shape) -> str:
        return say(
            "{groups} · {each} = {channels} channels, {values} values each",
            groups=self.groups,
            each=x[0] // self.groups,
            channels=x[0],
            values=prod(x[1:]),
        )


@dataclass(frozen=True, repr=False)
class ChannelConv(Layer):
    """A one-dimensional convolution along the channels, the same at every place: C×H×W -> C×H×W, or C -> C.

    y[c] = Σ over t of weight[t]·x[c + t − (kernel − 1)/2], zeros beyond the first and the last channel. Behind a global
    pooling it is the gate of ECA-Net (Wang et al. 2019). params kernel, macs kernel·C·H·W

    >>> ChannelConv(3).params((64, 1, 1)), ChannelConv(3).macs((64, 1, 1))
    (3, 192)
    """

    KIND: ClassVar[str] = "chconv"
    KEPT: ClassVar[SavedMap] = SavedMap(input=True)
    EXAMPLES: ClassVar[Examples] = {"kernel": (1, 3, 5)}
    kernel: int

    def __post_init__(self) -> None:
        super().__post_init__()
        need_whole(self, "kernel")
        need_rule(self, "kernel", self.kernel % 2 == 1, "must be odd, so that it has a middle", "kernel=3")

    def tensors(self, x: Shape) -> tuple[Tensor, ...]:
        return (Tensor("weight", (1, 1, self.kernel), "glorot_uniform", self.kernel, self.kernel),)

    def macs(self, x: Shape) -> int:
        return self.kernel * prod(x)

    def params_rule(self, x: Shape) -> str:
        return f"1·{self.kernel}"

    @property
    def label(self) -> str:
        return f"ChannelConv {self.kernel}"
