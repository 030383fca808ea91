"""What every layer record answers: output shape, tensors, MACs, reach, and the rules in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from math import isfinite, prod
from typing import Any, ClassVar, NamedTuple

from ...errors import NetError, ShapeError
from ...language import say
from .. import init
from ..limits import NUMBER, cut_brief

# One image's map `(C, H, W)`, or a vector `(n,)`; never with the batch.
Shape = tuple[int, ...]


# Every record by its name: what the text form and the JSON form may use. `layers/__init__.py` enters striate's own.
LAYERS: dict[str, Any] = {}


class Tensor(NamedTuple):
    """A named tensor that a layer owns, as it is stored in a model file.

    init     how it starts, a name of `architecture.init`
    fan_in   inputs to one output; fan_out  outputs of one input (per filter tap): what the initialisation scales by
    trainable  False for running statistics
    """

    name: str
    shape: tuple[int, ...]
    init: str
    fan_in: int = 1
    fan_out: int = 1
    trainable: bool = True


class Reach(NamedTuple):
    """How far along one axis a layer looks: a window of `extent` pixels every `stride`, the first at `−before`.

    A stride below 1 is that of a map that grows; its windows begin at whole pixels, rounded down.
    """

    extent: int
    stride: float
    before: int


class SavedMap(NamedTuple):
    """What training keeps of a layer's forward pass for its backward pass, as autograd saves it in float32.

    input, output  the map before or after it; a map that several layers keep is kept once
    image          further bytes for each image of the batch
    once           further bytes for the whole batch
    through        further bytes for each image where the input itself learns: of the net's image there is no gradient
    view           the output is the input's own memory
    copies         of an input that is a slice of another map it is a copy that is kept
    """

    input: bool = False
    output: bool = False
    image: int = 0
    once: int = 0
    through: int = 0
    view: bool = False
    copies: bool = False


# Fields, and values of each that are worth trying: what the tests draw a layer's fields from.
Examples = Mapping[str, tuple[Any, ...]]


@dataclass(frozen=True, repr=False)
class Layer:
    """A layer as data. Subclasses are frozen dataclasses whose methods are the layer's rules.

    The methods here are the answers of a layer that changes nothing and owns nothing, so that
    an activation is one line; there is no shared state or work behind them. A layer of one's own is made from it, and
    registered by `striate.layer`.

    >>> import striate
    >>> [issubclass(record, striate.Layer) for record in (striate.Conv, striate.ReLU)]
    [True, True]
    """

    KIND: ClassVar[str] = "layer"
    KEPT: ClassVar[SavedMap | None] = None
    EXAMPLES: ClassVar[Examples] = {}
    name: str | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if self.name is not None and not (isinstance(self.name, str) and re.fullmatch(r"\w+", self.name)):
            raise NetError(
                f"{type(self).__name__}.name",
                say("a layer's name must be letters, digits and underscores"),
                got=cut_brief(self.name),
                hint="name='conv1'",
            )
        need_bounded(self)

    def out(self, x: Shape) -> Shape:
        """The output shape for input shape `x`. Raises ShapeError where the layer does not fit."""
        return x

    def tensors(self, x: Shape) -> tuple[Tensor, ...]:
        """The tensors that the layer owns when its input is `x`."""
        return ()

    def macs(self, x: Shape) -> int:
        """Multiply-adds of convolutions and dense layers for one image; adding a bias is none."""
        return 0

    def reach(self, x: Shape) -> tuple[Reach, Reach] | None:
        """The window over rows and over columns; None where each output looks at its own position only."""
        return None

    def unread(self, x: Shape) -> tuple[int, int]:
        """Rows at the bottom and columns at the right of the map that no window covers."""
        return 0, 0

    def kept(self, x: Shape) -> SavedMap:
        """What training keeps of it for the backward pass. Raises NetError for a record that does not say so."""
        if self.KEPT is None:
            what = say("this record does not say what training keeps of it, so its memory is not known")
            raise NetError(type(self).__name__, what, hint=say("KEPT = Kept(input=True), what an activation keeps"))
        return self.KEPT

    def size_rule(self, x: Shape) -> str:
        """How the output size comes about, with numbers; "" where it is the input's."""
        return ""

    def params_rule(self, x: Shape) -> str:
        """How the number of parameters comes about, with numbers, up to the equals sign; "" where there are none."""
        return ""

    @property
    def label(self) -> str:
        """The layer in a few characters, for tables and drawings."""
        return type(self).__name__

    def params(self, x: Shape) -> int:
        """Trainable parameters when the input is `x`."""
        owned = self.tensors(x)
        return sum(prod(t.shape) for t in owned if t.trainable) if owned else 0

    def buffers(self, x: Shape) -> int:
        """Numbers that are kept and not trained when the input is `x`."""
        return 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(format_arguments(self))})"


def format_arguments(layer: Layer) -> list[str]:
    """The arguments that make `layer`: required ones by position, the others by name where they are not the default."""
    shown = []
    for f in fields(layer):
        value, default = getattr(layer, f.name), f.default
        if default is MISSING and f.default_factory is MISSING:
            shown.append(repr(value))
        elif value != default and f.name != "name":
            shown.append(f"{f.name}={value!r}")
    return shown + ([f"name={layer.name!r}"] if layer.name else [])


def format_shape(shape: Shape) -> str:
    """A shape as people write it.

    >>> format_shape((6, 28, 28)), format_shape((400,))
    ('6×28×28', '400')
    """
    return "×".join(map(str, shape))


def format_pair(value: int | tuple[int, int]) -> str:
    """A kernel or stride as people write it: 3 → "3×3", (1, 7) → "1×7"."""
    return f"{value}×{value}" if isinstance(value, int) else f"{value[0]}×{value[1]}"


def need_rule(layer: Layer, name: str, ok: bool, rule: str, hint: str | None = None, **values: object) -> None:
    """Raise NetError unless `ok`: the field `name` of `layer` breaks `rule`, a text's key with its values."""
    if not ok:
        where = f"{type(layer).__name__}.{name}"
        what = say("{name} {rule}", name=name, rule=say(rule, **values))
        raise NetError(where, what, got=cut_brief(getattr(layer, name)), hint=hint)


def need_bounded(layer: Layer) -> None:
    """Raise NetError where a whole number of the layer is beyond limits.NUMBER."""
    for f in fields(layer):
        value = getattr(layer, f.name)
        for number in value if isinstance(value, tuple | list) else (value,):
            ok = not isinstance(number, int) or -NUMBER <= number <= NUMBER
            need_rule(layer, f.name, ok, "must be at most {most:,}", most=NUMBER)


def is_whole(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def need_whole(layer: Layer, *names: str, least: int = 1) -> None:
    """Each field must be a whole number of at least `least`."""
    for name in names:
        ok = is_whole(getattr(layer, name), least)
        need_rule(layer, name, ok, "must be a whole number of at least {least}", least=least)


def need_groups(groups: int, x: Shape, hint: str | None = None) -> None:
    """Raise ShapeError where the channels of `x` are not so many parts of one size."""
    if x[0] % groups:
        rule = say("{channels} mod {groups} = {rest}, must be 0", channels=x[0], groups=groups, rest=x[0] % groups)
        what = say("groups={groups} does not divide the {channels} channels", groups=groups, channels=x[0])
        raise ShapeError("", what, got=format_shape(x), rule=rule, hint=hint)


def need_share(layer: Layer, name: str) -> None:
    """The field must be a probability below 1."""
    value = getattr(layer, name)
    ok = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1
    need_rule(layer, name, ok, "must be at least 0 and below 1", f"{name}=0.5")


def need_number(layer: Layer, *names: str, above: float | None = None) -> None:
    """Each field must be a number, and above `above` where that is given."""
    for name in names:
        value = getattr(layer, name)
        ok = isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)
        if above is None:
            need_rule(layer, name, ok, "must be a finite number")
        else:
            need_rule(layer, name, ok and value > above, "must be a finite number above {above:g}", above=above)


def need_flag(layer: Layer, *names: str) -> None:
    for name in names:
        need_rule(layer, name, isinstance(getattr(layer, name), bool), "must be True or False")


def need_init(layer: Layer) -> None:
    """`init` must name an initialisation."""
    name = layer.init  # type: ignore[attr-defined]
    if name not in init.INITIALISERS:
        need_rule(layer, "init", False, "must name an initialisation", init.suggest_initialiser(name))


def need_pair(layer: Layer, *names: str) -> None:
    """Each field must be a whole number or (rows, columns); equal pairs are stored as one number."""
    for name in names:
        value = getattr(layer, name)
        if isinstance(value, list):
            value = tuple(value)
        ok = is_whole(value, 1) or (isinstance(value, tuple) and len(value) == 2 and all(is_whole(v, 1) for v in value))
        need_rule(
            layer, name, ok, "must be a whole number of at least 1, or a pair (rows, columns) of such", f"{name}=3"
        )
        if isinstance(value, tuple) and value[0] == value[1]:
            value = value[0]
        object.__setattr__(layer, name, value)


def need_padding(layer: Layer) -> None:
    """`padding` must be "valid", "same", a number or (top, bottom, left, right); four equal ones become one."""
    value = layer.padding  # type: ignore[attr-defined]
    if isinstance(value, list):
        value = tuple(value)
    ok = (
        (isinstance(value, str) and value in ("valid", "same"))
        or is_whole(value, 0)
        or (isinstance(value, tuple) and len(value) == 4 and all(is_whole(v, 0) for v in value))
    )
    need_rule(
        layer, "padding", ok, 'must be "valid", "same", a whole number or (top, bottom, left, right)', "padding='same'"
    )
    if isinstance(value, tuple) and len(set(value)) == 1:
        value = value[0]
    object.__setattr__(layer, "padding", value)


def need_map(layer: Layer, x: Shape) -> None:
    """Raise ShapeError unless `x` is C×H×W."""
    if len(x) != 3:
        raise ShapeError(
            "",
            say("{kind} takes feature maps C×H×W, but its input is a vector", kind=type(layer).__name__),
            got=say("{shape} values", shape=format_shape(x)),
            hint=say("put it before Flatten() or GlobalAvgPool()"),
        )
