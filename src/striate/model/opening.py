"""From what a user names, a run, a file or published weights, to a model that predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .. import __version__
from ..architecture.find import find_net
from ..architecture.net import Net
from ..architecture.zoo import FAMILY_OF
from ..errors import ModelError
from .model import Model


def load(path: str | Path, weights: str | Path | None = None) -> Model:
    """The model in a run folder, a model file or an exported file, or a zoo net with published weights.

    path     a run folder, a model file, an exported .onnx file, or a zoo net's name
    weights  for a zoo net: a file in torchvision's, timm's or striate's layout, or a name on the Hugging Face Hub such
             as "timm/resnet50.a1_in1k"; "efficientnet_lite0" needs none where the extra `striate[lite0]` is installed
    An exported file predicts and evaluates by the same names; it has no layers to look at. Raises ModelError.

    >>> load("efficientnet_lite0").net.classes
    1000
    """
    if weights is None and str(path).endswith(".onnx"):
        from .exported import load_exported

        return load_exported(path)  # type: ignore[return-value]  # an ExportedModel
    from .model import load_model

    if weights is None and (str(path) not in FAMILY_OF or Path(path).exists()):
        return load_model(path)
    if weights is None and str(path) == "efficientnet_lite0":
        from .published import load_lite0

        found = load_lite0()
        return make_published_model(found.net, found.tensors, found.classes, found.preprocess, found.net.name)
    if weights is None:
        raise ModelError(str(path), "this is a net without weights", hint="--weights FILE or a name on the Hub")
    return load_weights(find_net(str(path)), weights)[0]


def load_weights(net: Net, source: str | Path) -> tuple[Model, bool]:
    """`net` with published weights as a Model, and whether its classifier is fresh because its classes are others."""
    from ..engines import plain
    from .published import load_published, read_imagenet_classes

    found = load_published(net, source)
    tensors = {**plain.draw_tensors(found.net, 0), **found.tensors} if found.replaced_head else found.tensors
    names = read_imagenet_classes() if found.net.classes == 1000 else tuple(map(str, range(found.net.classes)))
    return make_published_model(found.net, tensors, names, found.preprocess, str(source)), found.replaced_head


def make_published_model(net: Net, tensors: Any, classes: tuple[str, ...], prepared: Any, source: str) -> Model:
    """A Model of published weights, with its authors' preparation of images."""
    from ..engines.model_file import ModelHeader, Preprocess

    c, h, w = net.input
    shorter = max(round(prepared.resize * max(h, w) / max(prepared.crop)), h, w)
    fit = f"crop {shorter} {prepared.interpolation}"
    header = ModelHeader(
        net=net,
        classes=classes,
        preprocess=Preprocess((h, w), fit, prepared.mean[:c], prepared.std[:c]),
        metrics={"weights": source},
        version=__version__,
    )
    return Model(header, {name: tensor.astype("float32") for name, tensor in tensors.items()}, Path(source))
