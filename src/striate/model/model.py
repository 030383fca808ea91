"""A trained model: it predicts and evaluates on ONNX Runtime, without torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from .. import __version__
from ..architecture.net import Net
from ..data.corrections import hide_names
from ..data.images import Images, Skipped, standardise_pixels
from ..data.reading import choose_reading
from ..data.sources.load import load_images
from ..engines import onnx
from ..engines.answers import ANSWERS, check_outputs, compute_softmax
from ..engines.finite import check_answers, check_finite
from ..engines.fusing import fuse_net
from ..engines.model_file import (
    Abstention,
    ModelHeader,
    Preprocess,
    check_model_header,
    check_tensors,
    read_model,
    save_model,
)
from ..errors import DataError, ModelError, suggest_name
from ..formats.onnx_file import Card, write_exported
from ..inside.trace import LOSS, Trace, trace_loss, trace_value
from ..language import say
from ..metrics.abstention import apply_temperature
from ..metrics.classification import Report, score_probabilities
from ..metrics.likeness import measure_strangeness
from ..run_files import RunFiles
from .known import Answered, answer_unseen, leave_known_out
from .out_of_fold import read_out_of_fold
from .prediction import Prediction, find_depth, predict_files, predict_images, prepare_image, run_in_pieces

if TYPE_CHECKING:
    import onnxruntime

    from ..inside.ablation import Ablations
    from ..inside.attribution import Attribution
    from ..inside.dream import Dream
    from ..inside.embed import Embedding
    from ..inside.examples import Excited
    from ..inside.features import Features
    from ..inside.filters import Filters
    from ..inside.trust import Trust
    from ..metrics.invariance import Invariance


@dataclass(frozen=True, init=False)
class Model:
    """A net with its weights, class names and preprocessing: all that it takes from a photo's file to a class.

    Made by `striate.load`, or of its parts. `tensors` has an array for each of `net.tensors`.

    >>> import striate
    >>> model = striate.load("efficientnet_lite0")
    >>> model.predict(np.full((300, 400, 3), 127, np.uint8)).label in model.classes
    True
    """

    header: ModelHeader
    tensors: dict[str, np.ndarray]
    path: Path | None

    def __init__(
        self,
        net: Net | ModelHeader,
        tensors: Mapping[str, Any] | Any,
        path: Path | None = None,
        *,
        classes: Sequence[str] | None = None,
        preprocess: Preprocess | None = None,
    ) -> None:
        """Of a Net, or of a model file's header, which says the rest.

        tensors     an array or a torch tensor for each of `net.tensors`, or a module that has them, as `net.torch()`
        classes     the names of the net's outputs, in their order
        preprocess  from an image to the net's input: `striate.Preprocess(size, fit, mean, std)`
        Raises ModelError where these do not fit together, and, with the layer's name, where a weight is NaN or
        infinite: it would answer with NaN.
        """
        header = net if isinstance(net, ModelHeader) else make_header(net, classes, preprocess)
        set_field = object.__setattr__
        set_field(self, "header", header)
        set_field(self, "tensors", tensors if isinstance(net, ModelHeader) else collect_tensors(header.net, tensors))
        set_field(self, "path", path)
        try:
            check_finite(self.tensors)
        except ModelError as e:
            raise e.at(str(self.path), ": ") if self.path else e from None

    @property
    def net(self) -> Net:
        return self.header.net

    @property
    def classes(self) -> tuple[str, ...]:
        return self.header.classes

    @property
    def preprocess(self) -> Preprocess:
        return self.header.preprocess

    @property
    def abstention(self) -> Abstention | None:
        """When its answer is "unsure" (`striate.calibrate`); None: it answers always."""
        return self.header.abstention

    @cached_property
    def session(self) -> onnxruntime.InferenceSession:
        return onnx.open_net(self.net, self.tensors, views=self.preprocess.views, threads=1)

    def standardised(self, x: np.ndarray) -> np.ndarray:
        """uint8 N×h×w×C at the net's size -> float32 N×C×h×w, (x/255 − mean)/std per channel."""
        return np.ascontiguousarray(standardise_pixels(x, self.preprocess.mean, self.preprocess.std))

    def probabilities(self, x: np.ndarray) -> np.ndarray:
        """Class probabilities, float64 N×K, of uint8 images N×h×w×C at the net's size.

        Of a model behind a LabelModel those of its labels, each alone; of one behind a NumberModel the numbers N×1.
        """
        return run_in_pieces(self.at_once, x, len(self.classes))

    def at_once(self, x: np.ndarray) -> np.ndarray:
        """`probabilities` of a few images, in this thread alone."""
        standard = self.standardised(x)
        y = onnx.run_session(self.session, standard).astype(np.float64)
        check_answers(self.net, self.tensors, standard, y)
        if self.net.gives_probabilities:
            return y
        return ANSWERS[self.header.outputs].finish(y)

    @property
    def tells_strange(self) -> bool:
        """Whether it tells pictures that are unlike the training ones (`striate.calibrate` with `unlike`)."""
        return self.header.likeness is not None

    @cached_property
    def feature_sessions(self) -> dict[str, onnxruntime.InferenceSession]:
        """Sessions that give a layer's values beside the output, by the layer's path."""
        return {}

    def read_at_once(self, x: np.ndarray, path: str) -> tuple[np.ndarray, np.ndarray]:
        """The values of the layer at `path`, float32 N×…, and the net's output N×K, of a few images."""
        if path not in self.feature_sessions:
            self.feature_sessions[path] = onnx.open_net(self.net, self.tensors, outputs=[path], threads=1)
        standard = self.standardised(x)
        y, found = self.feature_sessions[path].run(None, {onnx.NET_INPUT: standard})
        check_answers(self.net, self.tensors, standard, y)
        return np.asarray(found), np.asarray(y)

    def read_features(self, x: np.ndarray, path: str) -> tuple[np.ndarray, np.ndarray]:
        """The same of any number of images, the values in a row: float32 N×D, N×K."""
        wide = prod(self.net.at(path).y)

        def join(part: np.ndarray) -> np.ndarray:
            found, y = self.read_at_once(part, path)
            return np.column_stack([found.reshape(len(part), -1), y])

        both = run_in_pieces(join, x, wide + len(self.classes))
        return both[:, :wide], both[:, wide:]

    def judge(self, x: np.ndarray) -> np.ndarray:
        """Probabilities, and in one more column how unlike the training pictures each image is: N×(K + 1).

        Above 1 it is turned away. Of a few images; only where `tells_strange`.
        """
        assert self.header.likeness is not None
        found, y = self.read_at_once(x, self.header.likeness.path)
        logits = y.astype(np.float64)
        strange = measure_strangeness(self.header.likeness, found, logits)
        p = logits if self.net.gives_probabilities else compute_softmax(logits)
        return np.column_stack([p, strange])

    def prepared(self, image: Any) -> np.ndarray:
        """One image as uint8 h×w×C at the net's size: from a path, a file's bytes, a Pillow image or a uint8 array.

        Raises DataError for what is no image.
        """
        return prepare_image(image, self.preprocess, self.net.input[0])

    def predict(self, images: Any, top: int = 5) -> Any:
        """The Prediction for one image (a path, bytes, a Pillow image, a uint8 array H×W×C), or a list of them for

        a list, or for an array N×H×W×C. Raises DataError for the first that is no image; `predict_files` skips those.
        """
        return predict_images(self, images, top)

    def predict_files(self, files: Iterable[Path | str], top: int = 5) -> Iterator[Prediction | Skipped]:
        """The Prediction for each file in order, or, where it is no readable image, Skipped with the reason."""
        return predict_files(self, files, top)

    def torch(self) -> Any:
        """The net with its weights as a `torch.nn.Module` in evaluation: standardised N×C×H×W -> its output.

        Its input is what `standardised` gives. The weights are copies: training it changes this model by nothing.
        """
        from ..engines.torch import build_network, load_tensors

        return load_tensors(build_network(self.net), self.tensors).eval()

    def images(
        self,
        data: Any,
        on_skip: Callable[[Skipped], None] | None = None,
        memory: int | str | None = None,
        **reading: Any,
    ) -> Images:
        """The labelled images of `data`'s test split (all of a folder without splits), in this model's classes.

        Of the very data that the model was trained on, and of "digits", it is the split that training held back.
        on_skip  is told of each file that is no readable image
        memory   for the images, in bytes or such as "500M"; by default half of what is free
        reading  how the files are to be understood, by name; by default as they were in training
        """
        return load_images(
            data,
            self.classes,
            size=self.preprocess.size,
            channels=self.net.input[0],
            fit=self.preprocess.fit,
            seed=self.header.recipe.get("seed", 0),
            on_skip=on_skip,
            trained_on=self.header.fingerprint,
            memory=memory,
            reading=choose_reading(reading, self.header.reading),
            depth=find_depth(self.preprocess),
            fold=self.header.fold,
        )

    def unseen(self, data: Any) -> Images:
        """`images` without those that the model was trained or validated on. Raises DataError where none is left."""
        images, known = self.images(data), self.header.known
        return images if known is None else leave_known_out(known, images)[0]

    def measured(self, data: Any) -> Images:
        """`images`, where the run kept what cross-validation said of each (`answer_crossed`); else `unseen`."""
        images, known = self.images(data), self.header.known
        crossed = known is not None and self.answer_crossed(images) is not None
        return images if known is None or crossed else leave_known_out(known, images)[0]

    def answer_crossed(self, images: Images) -> np.ndarray | None:
        """Probabilities, float64 N×K, of images that the model has learnt from, by models that had not seen them.

        None where the run did not keep them, of each.
        """
        kept = read_out_of_fold(self.path)
        told = None if kept is None else kept.find(images)
        if told is None or self.abstention is None:
            return told
        return apply_temperature(told, self.abstention.temperature)

    def evaluate(self, data: Any, known: bool = False) -> Report:
        """The Report of this model on labelled images: whatever `train` takes as data, or Images.

        Images that it was trained or validated on, pixel for pixel, are left out, and the Report says how many; `known`
        scores them too. A model file of before striate kept them cannot tell (`Report.known` is None). Raises DataError
        where no image is left; but where the run kept what cross-validation said of the images that its model then
        learnt from, that is the Report of these.
        """
        return self.answers(data if isinstance(data, Images) else self.images(data), known).report

    def answers(self, images: Images, known: bool = False) -> Answered:
        """`evaluate`'s Report with what was said of each image.

        Where the run kept what cross-validation said of the images that its model then learnt from, and these are such,
        that is scored.
        """
        told = None if known else self.answer_crossed(images)
        if told is None:
            return answer_unseen(self, self.header.known, images, known)
        return Answered(replace(score_probabilities(told, images.y, self.classes), known=0), images, told, True)

    def trace(self, image: Any, path: str, *index: int, depth: int | None = 1, label: str | None = None) -> Trace:
        """Why the value at `index` of the layer `path` is what it is for this image, with every number.

        path   a layer's, or "probability", or "loss", the cross-entropy of the image with the class `label`
        index  channel, row, column, or the place in a vector, from 0; none of the loss
        depth  how many values to trace, each time going on to the operand that weighs most; None down to the pixels
        It is of the image as it is: where `preprocess.views` has more looks than that, `predict` averages over them.
        Raises TraceError for an address that is nowhere.
        """
        pixels = self.preprocess.mean, self.preprocess.std
        x = self.standardised(self.prepared(image)[None])[0]
        if path == LOSS and not index:
            if label is None:
                raise DataError("label", say("a loss is that of a class"), hint=f"label={self.classes[0]!r}")
            known = self.class_index(label)
            return trace_loss(self.net, self.tensors, x, known, self.classes, depth=depth, pixels=pixels)
        return trace_value(self.net, self.tensors, x, path, *index, depth=depth, pixels=pixels)

    def save(self, path: str | Path) -> None:
        """Write a model file, which `striate.load` reads: safetensors, with all else in its header."""
        save_model(Path(path), self.header, self.tensors)

    def fused(self) -> Model:
        """The model in fewer layers, for use: norms read into the layers before them, added convolutions made one.

        As RepVGG and MobileOne run. It answers as this one does, to float32's rounding; it is not for training on.
        """
        net, tensors = fuse_net(self.net, self.tensors)
        likeness = self.header.likeness
        kept = likeness if likeness and likeness.path in {step.path for step in net.steps} else None
        return Model(msgspec.structs.replace(self.header, net=net, likeness=kept), tensors)

    def export(
        self,
        path: str | Path,
        *,
        licence: str | None = None,
        int8: Sequence[np.ndarray] | None = None,
        fp16: bool = False,
    ) -> Card:
        """Write one .onnx file that takes raw uint8 images and returns probabilities; what it says of itself.

        licence  one line on the weights
        int8     uint8 H×W×C images to calibrate an 8-bit network by
        fp16     the network computes in 16-bit floats, for GPUs
        """
        metadata = {"fingerprint": self.header.fingerprint, "seed": self.header.recipe.get("seed", 0)}
        metadata |= {"reading": hide_names(self.header.reading)} if self.header.reading else {}
        metadata |= {"fold": list(self.header.fold)} if self.header.fold else {}
        metadata |= {} if licence is None else {"licence": licence}
        return write_exported(
            self.net,
            self.tensors,
            self.classes,
            self.preprocess,
            path,
            metadata=metadata,
            int8=int8,
            fp16=fp16,
            abstention=self.abstention,
            likeness=self.header.likeness,
            outputs=self.header.outputs,
            thresholds=self.header.thresholds,
            number=self.header.number,
        )

    # Looking inside: plain records; each has its picture in the module of `striate.inside` that is named.

    def pixels(self, image: Any) -> tuple[np.ndarray, np.ndarray]:
        """One image as the net sees it: uint8 h×w×C, and standardised float32 C×h×w."""
        shown = self.prepared(image)
        return shown, self.standardised(shown[None])[0]

    def filters(self, path: str | None = None) -> Filters:
        """The filters of a convolution, of the first one by default; picture: `inside.filters.draw_filters`."""
        from ..inside import filters

        return filters.read_filters(self.net, self.tensors, path)

    def features(self, image: Any, paths: Iterable[str] | None = None) -> tuple[Features, ...]:
        """The maps of the layers at `paths` (None: all) for an image; picture: `inside.features.draw_features`."""
        from ..inside import features

        return features.compute_features(self.net, self.tensors, self.pixels(image)[1], paths)

    def attribution(
        self, image: Any, label: str | None = None, method: str = "grad-cam", **options: Any
    ) -> Attribution:
        """What in the image speaks for the class `label`, the likeliest by default: "grad-cam", "occlusion" or
        "integrated-gradients"; picture: `inside.attribution.draw_attribution`, and `trust` tells how good it is."""
        from ..inside import attribution

        target = None if label is None else self.class_index(label)
        return attribution.compute_attribution(self.net, self.tensors, self.pixels(image)[1], target, method, **options)

    def trust(self, image: Any, given: Attribution) -> Trust:
        """The deletion and insertion scores of an attribution of this image, beside those of pixels at random."""
        from ..inside import trust

        return trust.measure_trust(self.net, self.tensors, self.pixels(image)[1], given)

    def examples(
        self, data: Any, path: str, channels: Iterable[int] | None = None, count: int = 9
    ) -> tuple[Excited, ...]:
        """The images and patches of a data set that excite a layer's channels most; `inside.examples.draw_examples`."""
        from ..inside import examples

        images = data if isinstance(data, Images) else self.images(data)
        return examples.find_examples(self.net, self.tensors, images.x, self.standardised, path, channels, count)

    def dream(self, path: str, channels: Iterable[int] | None = None, **options: Any) -> Dream:
        """The images that a layer's channels prefer, by optimisation; picture: `inside.dream.draw_dream`."""
        from ..inside import dream

        mean, std = self.preprocess.mean, self.preprocess.std
        return dream.dream_channels(self.net, self.tensors, mean, std, path, channels, **options)

    def ablate(self, data: Any, paths: Iterable[str] | None = None, *, channels: bool = True) -> Ablations:
        """The accuracy on a data set without each layer and each channel; picture: `inside.ablation.draw_ablation`."""
        from ..inside import ablation

        images = data if isinstance(data, Images) else self.images(data)
        return ablation.ablate_layers(
            self.net, self.tensors, self.standardised(images.x[:]), images.y, paths, channels=channels
        )

    def embed(self, data: Any, method: str = "pca", seed: int = 0) -> Embedding:
        """A data set in two dimensions by the net's last features, "pca" or "tsne"; `inside.embed.draw_embedding`."""
        from ..inside import embed

        images = data if isinstance(data, Images) else self.images(data)
        return embed.embed_images(self.net, self.tensors, self.standardised(images.x[:]), images.y, method, seed)

    def invariance(self, data: Any, count: int | None = 1000, seed: int = 0, **options: Any) -> Invariance:
        """What shifts, turns, scalings and flips do to the answers, on `count` images drawn from the data (None: all);
        picture: `report.invariance_plot.draw_invariance`."""
        from ..metrics import invariance

        images = data if isinstance(data, Images) else self.images(data)
        chosen = np.arange(len(images))
        if count is not None and count < len(images):
            chosen = np.sort(np.random.default_rng(seed).permutation(len(images))[:count])
        return invariance.measure_invariance(
            self.probabilities, images.x[chosen], images.y[chosen], seed=seed, **options
        )

    def class_index(self, label: str) -> int:
        """The place of a class in the output. Raises DataError with the nearest name."""
        if label not in self.classes:
            raise DataError(
                "class", say("the network has no class '{label}'", label=label), hint=suggest_name(label, self.classes)
            )
        return self.classes.index(label)

    def __repr__(self) -> str:
        return f"Model({self.net.name}, {len(self.classes)} classes, {str(self.path)!r})"


def load_model(path: str | Path) -> Model:
    """The Model of a run folder or a model file. Raises ModelError, also where it answers otherwise than by a class."""
    header, tensors, place = read_model_at(path)
    check_outputs(path, header.outputs, "softmax")
    return Model(header, tensors, place)


def read_model_at(path: str | Path) -> tuple[ModelHeader, dict[str, np.ndarray], Path]:
    """The model file of a run folder or under its own name, and where it is. Raises ModelError."""
    place = Path(path)
    if place.is_dir():
        place = RunFiles(place).model
        if not place.is_file():
            first = RunFiles(Path(path)).fold(1)
            hint = say("each fold of this cross-validation is a run, {folder} the first of them", folder=first.folder)
            hint = hint if first.settings.exists() else say("a run folder has it once its first epoch is done")
            raise ModelError(str(path), say("this folder holds no model.safetensors"), hint=hint)
    return *read_model(place), place


def make_header(net: Net, classes: Sequence[str] | None, preprocess: Preprocess | None) -> ModelHeader:
    """The header of a model made of its parts. Raises ModelError where one is missing, or they do not fit."""
    if classes is None or isinstance(classes, str):
        hint = say("classes=[…], {classes} names", classes=net.classes)
        raise ModelError("classes", say("the names of the net's outputs are missing"), got=classes, hint=hint)
    if preprocess is None:
        h, w = net.input[1:]
        hint = f'preprocess=striate.Preprocess(({h}, {w}), "pad", mean=(…), std=(…))'
        raise ModelError("preprocess", say("how an image becomes the net's input is missing"), hint=hint)
    header = ModelHeader(net=net, classes=tuple(classes), preprocess=preprocess, version=__version__)
    check_model_header(header, "Model")
    return header


def collect_tensors(net: Net, given: Any) -> dict[str, np.ndarray]:
    """The net's tensors as float32, of arrays, of torch tensors or of a module. Raises ModelError."""
    held = given.state_dict() if hasattr(given, "state_dict") else given
    arrays = {name: to_floats(tensor) for name, tensor in held.items()}
    check_tensors(net, {name: array.shape for name, array in arrays.items()})
    return {name: arrays[name] for name in net.tensors}


def to_floats(tensor: Any) -> np.ndarray:
    """A copy as float32 of an array, or of a torch tensor of any precision on any device."""
    return np.array(tensor.detach().float().cpu().numpy() if hasattr(tensor, "detach") else tensor, np.float32)
