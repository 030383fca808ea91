"""From what a user names, a run, a file or published weights, to a model that predicts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..architecture.find import find_net
from ..architecture.layers import Shape
from ..architecture.net import Net
from ..architecture.zoo import FAMILY_OF
from ..errors import ModelError
from ..formats.onnx_file import read_exported
from ..language import say
from .model import Model
from .published import PACKAGED, load_packaged, load_published, read_imagenet_classes
from .timm_models import HUB, is_named_elsewhere

if TYPE_CHECKING:
    from .exported import ExportedModel
    from .label_model import LabelModel
    from .number_model import NumberModel


def load(path: str | Path, weights: str | Path | None = None) -> Model:
    """The model in a run folder, a model file or an exported file, or a zoo net with published weights.

    path     a run folder, a model file, an exported .onnx file, a zoo net's name, "timm:NAME" with timm's weights, or
             "hf:OWNER/NAME", a repository of the Hub: what `striate.push` put there, or a network of timm's
    weights  for a zoo net: a file in torchvision's, timm's or striate's layout, or a name on the Hugging Face Hub such
             as "timm/resnet50.a1_in1k"; "efficientnet_lite0", 1 and 2 need none where the extras `striate[lite0]`,
             lite1 and lite2 are installed
    An exported file predicts and evaluates by the same names; it has no layers to look at. Raises ModelError.

    >>> load("efficientnet_lite0").net.classes
    1000
    """
    if weights is None and str(path).endswith(".onnx"):
        from .exported import load_exported

        return load_exported(path)  # type: ignore[return-value]  # an ExportedModel
    from .model import load_model

    if is_named_elsewhere(path):
        return load_from_hub(str(path)) if weights is None and is_pushed(str(path)) else load_net(str(path), weights)[0]
    if weights is None and (str(path) not in FAMILY_OF or Path(path).exists()):
        return load_model(path)
    if weights is None and str(path) in PACKAGED:
        found = load_packaged(str(path))
        return make_published_model(found.net, found.tensors, found.classes, found.preprocess, found.net.name)
    if weights is None:
        raise ModelError(
            str(path), say("this is a net without weights"), hint=say("--weights FILE or a name on the Hub")
        )
    return load_net(str(path), weights)[0]


def open_any(path: str | Path, weights: str | Path | None = None) -> Model | ExportedModel | LabelModel | NumberModel:
    """The model at `path`, whatever it answers: what `load` gives, a LabelModel or a NumberModel. Raises ModelError."""
    from .answering import describe_exported, find_outputs, open_answerer
    from .exported import ExportedModel
    from .label_model import LabelModel
    from .number_model import NumberModel

    kinds: dict[str, type[LabelModel | NumberModel]] = {"sigmoid": LabelModel, "identity": NumberModel}
    if weights is None and str(path).endswith(".onnx"):
        model = ExportedModel(read_exported(path, 1), Path(path))
        told = model.card.outputs
        return model if told == "softmax" else kinds[told](describe_exported(model, told))
    outputs = "softmax" if weights is not None else find_outputs(path)
    return load(path, weights) if outputs == "softmax" else kinds[outputs](open_answerer(path, outputs))


def is_pushed(name: str) -> bool:
    """Whether "hf:OWNER/NAME" is what `striate.push` put there."""
    from .weight_files import download_config

    return name.startswith(HUB) and "striate" in download_config(name.removeprefix(HUB))


def load_from_hub(name: str) -> Model:
    from .model import load_model
    from .weight_files import download_file

    return load_model(download_file(name.removeprefix(HUB), "model.safetensors"))


def load_net(
    spec: str | Net,
    weights: str | Path | None,
    classes: int | None = None,
    shape: Shape | None = None,
    headless: int | None = None,
) -> tuple[Model, bool]:
    """The net that `spec` names, for `classes` and images of `shape`, with weights; and whether its head is fresh.

    weights   None for a network that timm or the Hub names, which brings its own
    headless  of such a network, the classes of a fresh classifier where its weights have none
    """
    if not is_named_elsewhere(spec):
        assert weights is not None
        return load_weights(find_net(spec, classes=classes, input=shape), weights)
    from .timm_models import load_named_weights

    found = load_named_weights(str(spec), weights, classes=classes, shape=shape, headless=headless)
    names = name_outputs(found.net)
    return make_published_model(found.net, found.tensors, names, found.preprocess, str(weights or spec)), (
        found.replaced_head
    )


def load_weights(net: Net, source: str | Path) -> tuple[Model, bool]:
    """`net` with published weights as a Model, and whether its classifier is fresh because its classes are others."""
    from ..engines import plain

    found = load_published(net, source)
    tensors = {**plain.draw_tensors(found.net, 0), **found.tensors} if found.replaced_head else found.tensors
    names = name_outputs(found.net)
    return make_published_model(found.net, tensors, names, found.preprocess, str(source)), found.replaced_head


def name_outputs(net: Net) -> tuple[str, ...]:
    """ImageNet's names where there are 1,000 classes, else their numbers."""
    return read_imagenet_classes() if net.classes == 1000 else tuple(map(str, range(net.classes)))


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
