"""timm's networks by name, with the Hub's weights: `timm:convnextv2_atto.fcmae_ft_in1k`, `hf:timm/resnet18.a1_in1k`.

timm makes the module, striate reads the weights from safetensors and makes a Net of both that is proven equal. The
preparation of images is that of timm's pretrained configuration.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from ..architecture.layers import Shape
from ..architecture.net import Net
from ..errors import ModelError, StriateError, suggest_name
from ..extras import explain_missing_extra
from ..language import join_texts, say
from .preparation import Preparation, find_timm_preparation
from .weight_files import download_config, locate_weights, read_weight_file

if TYPE_CHECKING:
    from torch import nn

TIMM, HUB = "timm:", "hf:"


class NamedWeights(NamedTuple):
    """A net of timm's with weights; `replaced_head` where its classifier is fresh."""

    net: Net
    tensors: dict[str, np.ndarray]
    replaced_head: bool
    preprocess: Preparation


class TimmName(NamedTuple):
    """What a name means: timm's architecture, the repository of its weights, and what that says of them."""

    architecture: str
    repository: str
    config: dict[str, Any]


def is_named_elsewhere(spec: object) -> bool:
    """Whether `spec` names a network by timm or the Hub: "timm:…" or "hf:…"."""
    return isinstance(spec, str) and spec.startswith((TIMM, HUB))


def import_timm(where: str) -> Any:
    """timm. Raises StriateError where it, or the torchvision that it imports, cannot be imported."""
    try:
        import_torchvision()
        import timm
    except ModuleNotFoundError as e:
        raise explain_missing_extra(e.name, where, extra="timm") or e from None
    except (ImportError, RuntimeError) as e:
        reason = str(e).strip().split("\n")[0]
        what = say("timm cannot be imported: {reason}", reason=reason)
        raise StriateError(where, what, hint=say("pip install a torchvision that was built for this torch")) from None
    return timm


@cache
def import_torchvision() -> Any:
    """torchvision, which timm imports; None beside it, or the declarations that it lacks.

    One that was built for another torch cannot load its own operators and fails to import for want of two of them,
    which no network here uses. Declared, they are no hindrance.
    """
    import torch

    try:
        import torchvision  # noqa: F401

        return None
    except RuntimeError as e:
        if "torchvision::nms" not in str(e):
            raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision  # noqa: F401

    return library  # dropped, it would undeclare them


def read_timm_name(spec: str) -> TimmName:
    """What "timm:NAME", "timm:NAME.TAG" or "hf:OWNER/NAME" means. Raises ModelError.

    Without a tag the weights are those that timm takes by default. Of the Hub, `config.json` says the architecture.
    """
    timm = import_timm(spec)
    if spec.startswith(HUB):
        repository = spec.removeprefix(HUB)
        config = download_config(repository)
        architecture = str(config.get("architecture", ""))
        if not architecture:
            what = say("this repository's config.json names no architecture of timm")
            raise ModelError(
                spec, what, rule='"architecture": "resnet18"', hint=say("striate.load reads what striate pushed")
            )
    else:
        architecture, _, tag = spec.removeprefix(TIMM).partition(".")
        config = {}
        if timm.is_model(architecture):
            known = timm.get_pretrained_cfg(architecture)
            tag = tag or (known.tag if known is not None else "") or ""
        repository = f"timm/{architecture}.{tag}" if tag else f"timm/{architecture}"
    if not timm.is_model(architecture):
        hint = suggest_name(architecture, timm.list_models())
        raise ModelError(spec, say("timm has no model '{architecture}'", architecture=architecture), hint=hint)
    return TimmName(architecture, repository, config)


def find_named_net(spec: str, *, classes: int | None = None, input: Shape | None = None) -> Net:
    """The Net of timm's architecture, for `classes` and an `input` of (C, H, W); None: timm's own. No weights are read.

    Raises StriateError where there is no such architecture, or NetError where no Net expresses it.
    """
    name = read_timm_name(spec)
    return find_timm_net(name.architecture, classes or name.config.get("num_classes"), input)


@lru_cache(maxsize=16)
def find_timm_net(architecture: str, classes: int | None, input: Shape | None) -> Net:
    module = make_timm_module(architecture, classes)
    own = cast(dict[str, Any], module.pretrained_cfg)
    return convert_module(module, architecture, input or find_timm_input(own)).net


def find_named_input(spec: str) -> Shape:
    """The input (C, H, W) that timm's configuration says."""
    name = read_timm_name(spec)
    known = import_timm(spec).get_pretrained_cfg(name.architecture)
    return find_timm_input(name.config or (known.to_dict() if known is not None else {}))


def find_timm_input(config: Mapping[str, Any]) -> Shape:
    said = config.get("pretrained_cfg", config)
    c, h, w = said.get("input_size") or (3, 224, 224)
    return (c, h, w)


def make_timm_module(architecture: str, classes: int | None, settings: Mapping[str, Any] | None = None) -> nn.Module:
    """timm's module with weights drawn from a fixed seed; `classes` None: as many as timm's own weights have."""
    import torch

    timm = import_timm(architecture)
    options = dict(settings or {}) | ({} if classes is None else {"num_classes": classes})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return timm.create_model(architecture, pretrained=False, **options).eval()


def convert_module(module: nn.Module, architecture: str, shape: Shape) -> Any:
    from ..conversion.convert import from_torch

    return from_torch(module, shape, name=architecture)


def load_named_weights(
    spec: str,
    weights: str | Path | None = None,
    *,
    classes: int | None = None,
    shape: Shape | None = None,
    headless: int | None = None,
) -> NamedWeights:
    """timm's network with weights, the Hub's or a local file's.

    weights  a `.safetensors` or `.pth` file, or a repository; None: what the name says
    classes  of the net; where the weights have another number, or no classifier, it has a fresh one. None: theirs
    shape    (C, H, W) of its images; None: that of the configuration
    headless classes of a fresh classifier where `classes` is None and the weights have none; None: that is an error
    Raises ModelError where names or shapes do not fit, NetError where no Net expresses the module.
    """
    name = read_timm_name(spec)
    file, beside = locate_weights(name.repository if weights is None else weights)
    config = beside or name.config
    theirs = {key: value for key, value in read_weight_file(file).items() if not key.endswith("num_batches_tracked")}
    head = list_head_keys(name.architecture, spec)
    found = next((len(theirs[key]) for key in head if key in theirs), 0)
    classes = classes if found or classes else headless
    module = make_timm_module(name.architecture, classes or found or 1, config.get("model_args"))
    replaced = (classes or found) != found
    fresh = head if replaced or not found else ()
    kept = {key: value for key, value in theirs.items() if key not in fresh}
    put_weights(module, kept, fresh, str(weights or spec))
    if not (classes or found):
        what = say("these weights have no classifier: they are features for a new one")
        raise ModelError(
            str(weights or spec),
            what,
            hint=say("striate train DATA --net {spec}, alone or --preset transfer", spec=spec),
        )
    config = config or cast(dict[str, Any], module.pretrained_cfg)
    c, h, w = shape or find_timm_input(config)
    made = convert_module(module, name.architecture, (c, h, w))
    preparation = find_timm_preparation(config, (h, w))
    return NamedWeights(made.net, made.tensors, replaced, preparation)


def list_head_keys(architecture: str, where: str) -> tuple[str, ...]:
    """The names of the classifier's tensors in timm's form of the weights."""
    known = import_timm(where).get_pretrained_cfg(architecture)
    places = (known.classifier if known is not None else None) or ()
    return tuple(f"{place}.{part}" for place in ([places] if isinstance(places, str) else places)
                 for part in ("weight", "bias"))  # fmt: skip


def put_weights(module: nn.Module, theirs: Mapping[str, np.ndarray], fresh: tuple[str, ...], source: str) -> None:
    """Put `theirs` into the module, all but what is `fresh`. Raises ModelError naming what does not match."""
    import torch

    own = {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    missing = [key for key in own if key not in theirs and key not in fresh]
    strange = [key for key in theirs if key not in own]
    wrong = [key for key in theirs if key in own and theirs[key].shape != tuple(own[key].shape)]
    if missing or strange or wrong:
        parts = (
            (say("in the file alone"), strange),
            (say("in timm's module alone"), missing),
            (say("of other shapes"), wrong),
        )
        raise ModelError(
            source,
            say("these weights do not fit timm's {name}", name=type(module).__name__),
            got=join_texts(
                "; ", [say("{what}: {names}", what=what, names=", ".join(keys[:3])) for what, keys in parts if keys]
            ),
            rule=say(
                "each of its {count} tensors has one key of its shape in the file, and no key is left", count=len(own)
            ),
            hint=say("the architecture's name is the part before the dot: timm:resnet18d.ra2_in1k"),
        )
    with torch.no_grad():
        for key, value in theirs.items():
            own[key].copy_(torch.from_numpy(np.ascontiguousarray(value)))
