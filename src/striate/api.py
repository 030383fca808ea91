"""What `striate.…` offers beside the room that does it: the account of a net, an update traced, a data set's doubtful

labels, and the exported file with its proof. `load` and `train` are here by name.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .architecture.find import find_net
from .architecture.net import Net
from .errors import NetError, StriateError, suggest_name
from .language import say
from .model.opening import load
from .summaries.summary import Summary, summarise_net

if TYPE_CHECKING:
    from .data.check.audit import Audit
    from .data.check.label_errors import Doubts
    from .exporting.answer_file import AnswerParity
    from .exporting.parity import Parity
    from .fitting.watch import Watch
    from .inside.profile import NetProfile
    from .inside.trace_record import Trace
    from .metrics.paired import PairedComparison
    from .model.exported import ExportedModel
    from .model.label_model import LabelModel
    from .model.model import Model
    from .model.number_model import NumberModel
    from .summaries.compare import Comparison
    from .summaries.module_summary import ModuleSummary


def summary(net: Any, input: Any = None, **named: Any) -> Summary | ModuleSummary:
    """The account of a network: a row a layer with output size, parameters, MACs and receptive field, and totals.

    net    a Net, a zoo name, a file, the text `Net(…)`, or any `torch.nn.Module` (then with `input`)
    input  (C, H, W) of one image; None keeps the net's own. For a module also a tensor with its batch, a list with one
           of these for each argument of `forward`, or a dict of them by name
    named  further arguments of a module's `forward`, by name

    >>> summary("lenet5").params, summary("lenet5", input=(3, 32, 32)).row("conv1").params_rule
    (61706, '(5·5·3 + 1)·6 = 456')
    """
    if not isinstance(net, Net | str | Path):
        from .summaries.module_summary import summarise_module

        return summarise_module(net, input, **named)
    for name in named:
        what = say("the summary of a Net takes no argument of this name")
        raise NetError(name, what, hint=suggest_name(name, ["input", "net"]))
    return summarise_net(find_net(str(net) if isinstance(net, Path) else net, input=input))


def compare(a: Net | Summary | str, b: Net | Summary | str, batch: int = 32, optimizer: str = "adam") -> Comparison:
    """Two nets side by side: parameters, MACs, receptive field, and the memory of a training step on `batch` images.

    a, b  a Net, a Summary, or what `summary` takes by name: a zoo name, a file, the text `Net(…)`

    >>> print(compare("lenet5", "alexnet").lines[2].values)
    (61706, 61100840)
    """
    from .summaries.compare import compare_nets

    one, two = (net if isinstance(net, Net | Summary) else find_net(net) for net in (a, b))
    return compare_nets(one, two, batch, optimizer)


def compare_models(
    first: str | Path | Model | ExportedModel, second: str | Path | Model | ExportedModel, data: Any, **reading: Any
) -> PairedComparison:
    """Which of two models is better, on labelled images that neither was trained or validated on.

    first, second  run folders, model files, exported files, or models
    data           as for `Model.evaluate`: of the data that a run was trained on the split that it held back
    reading        how the files are to be understood, by name
    The result has both accuracies, their difference with its interval, McNemar's test, and the images on which they
    differ. Raises DataError where no image is new to both, or one of them lacks a class of the images.

    >>> import tempfile, striate
    >>> folder = tempfile.mkdtemp()
    >>> one, two = (striate.train("digits", "lenet5", epochs=n, out=f"{folder}/{n}") for n in (1, 3))
    >>> found = compare_models(one.folder, two.folder, "digits")
    >>> found.images, found.gain > 0
    (180, True)
    """
    from .model.pairing import compare_models as compare_on

    return compare_on(first, second, data, **reading)


def profile(net: Net | str, **options: Any) -> NetProfile:
    """Each layer's milliseconds in torch and in ONNX Runtime beside its MACs, and how far from the machine's peak.

    net      a Net, or what `summary` takes by name
    options  batch, threads, runs: as for `inside.profile.profile_net`

    >>> print(profile("lenet5", runs=2).rows[0].path)
    conv1
    """
    from .inside.profile import profile_net

    return profile_net(net if isinstance(net, Net) else find_net(net), **options)


def check(data: Any, **reading: Any) -> Audit:
    """What is wrong with a data set: files that cannot be read, duplicates, leaks between splits, imbalance.

    data     as `train` takes it. Nothing is written. For likely label errors see `label_errors`
    reading  how its files are to be understood, by name, as for `train`
    Raises DataError where there is no such data set, or no image in it.

    >>> found = check("digits")
    >>> found.clean, [finding.kind for finding in found.findings]
    (True, ['small'])
    """
    from .data.check.audit import audit_data
    from .data.reading import make_reading

    return audit_data(data, reading=make_reading(reading))


def trace_update(run: str | Path, image: Any, path: str, *index: int, label: Any = None) -> Trace:
    """Why the next step of a run, on these images, would move a weight as it does: its gradient and the optimizer.

    run    a run folder: weights and the optimizer's state are those of its checkpoint, the rate is the recipe's peak
    image  an image, or a list of them: the batch
    path   "conv1" for its weight, or "conv1.bias"; index  the place in that tensor, from 0
    label  the class of all images, or a list; None takes the name of the folder that each image lies in
    The loss is the run's own, in training; what of its recipe is left out stands in the trace's `left_out`. Where torch
    is installed the trace is checked against a real step of the run. Raises RunError, TraceError.

    >>> import tempfile, numpy, striate
    >>> run = striate.train("digits", "lenet5", epochs=1, out=tempfile.mkdtemp() + "/run")
    >>> found = trace_update(run.folder, numpy.zeros((8, 8), "uint8"), "dense3", 0, 0, label="3")
    >>> found.address
    'dense3.weight[0,0]'
    """
    from .fitting.last_step import read_last_step
    from .inside.trace_step import trace_step

    model, last = load(run), read_last_step(Path(run))
    x, y = read_batch(model, image, label)
    return trace_step(last, x, y, path, *index)


def trace_optimizers(
    run: str | Path,
    image: Any,
    path: str,
    *index: int,
    label: Any = None,
    optimizers: Iterable[str] | None = None,
    steps: int = 3,
) -> dict[str, tuple[Trace, ...]]:
    """How optimizers move one weight from where it is, on the same images: for each by name the traces of its steps.

    run         a run folder or a model file; no state of its own optimizer comes in
    optimizers  of `striate.optimizers.OPTIMIZERS`, each with its usual rate and without weight decay; None: all of them
    image, path, index, label  as for `trace_update`. Raises StriateError for an optimizer that there is not.

    >>> import tempfile, numpy, striate
    >>> run = striate.train("digits", "lenet5", epochs=1, out=tempfile.mkdtemp() + "/run")
    >>> found = trace_optimizers(run.folder, numpy.zeros((8, 8), "uint8"), "dense3", 0, 0, label="3", steps=2)
    >>> sorted(found)[:3], len(found["adam"])
    (['adam', 'adamw', 'lion'], 2)
    """
    from .inside.trace_weight import trace_steps
    from .optimizers import OPTIMIZERS

    names = tuple(OPTIMIZERS if optimizers is None else optimizers)
    for name in names:
        if name not in OPTIMIZERS:
            raise StriateError(
                "optimizer", say("there is no such optimizer"), got=name, hint=suggest_name(name, OPTIMIZERS)
            )
    model = load(run)
    x, y = read_batch(model, image, label)
    return {
        name: trace_steps(model.net, model.tensors, x, y, path, *index, optimizer=OPTIMIZERS[name](), steps=steps)
        for name in names
    }


def read_batch(model: Model, image: Any, label: Any) -> tuple[np.ndarray, np.ndarray]:
    """Images as they reach the net, float64, and their classes; without a label that of the folder each lies in."""
    images = list(image) if isinstance(image, list | tuple) else [image]
    labels = list(label) if isinstance(label, list | tuple) else [label] * len(images)
    if len(labels) != len(images):
        raise StriateError(
            "label",
            say("each image needs one label"),
            got=say("{labels} for {images} images", labels=len(labels), images=len(images)),
        )
    named = [Path(str(i)).parent.name if name is None else name for i, name in zip(images, labels, strict=True)]
    for name in named:
        if name not in model.classes:
            raise StriateError(
                "label", say("the model has no such class"), got=name, hint=suggest_name(name, model.classes)
            )
    x = np.stack([model.prepared(one) for one in images])
    y = np.array([model.classes.index(name) for name in named])
    return model.standardised(x).astype("float64"), y


def label_errors(data: Any, run: str | Path, parts: int = 5, watch: Watch | None = None) -> Doubts:
    """The likely label errors of a data set, the most likely first.

    What the run was is done afresh on all but one of `parts` parts of the images, in turn, and judges the part that it
    has not seen. For a transfer that is a head on the frozen features, which are kept from the run: seconds. For a run
    from scratch it is the training of its net by its own recipe, from the weights that it began with, if any; the epoch
    is the one that agrees best with the part. Same pictures stay in one part.

    watch  told of the progress; None shows it on stderr
    Those of the run's own data are kept beside it, for the studio's view Fix labels. Raises RunError where the run's
    folder does not say what the run was.

    >>> import tempfile, striate
    >>> run = striate.train("digits", "lenet5", epochs=1, out=tempfile.mkdtemp() + "/run")
    >>> label_errors("digits", run.folder, parts=2).classes[:3]
    ('0', '1', '2')
    """
    from .runs.judged import judge_labels

    return judge_labels(data, run, parts, watch)


def export(
    model: Model | LabelModel | NumberModel,
    out: str | Path,
    *,
    data: Any = None,
    format: str | None = None,
    int8: bool = False,
    fp16: bool = False,
    licence: str | None = None,
    plain: bool = False,
    opset: int | None = None,
    batch: int = 1,
) -> Parity | AnswerParity | None:
    """Write `model` as one file that takes raw images and gives probabilities, and compare it with the model on `data`.

    data     labelled images, as for `Model.evaluate`; None compares nothing and returns None
    format   "onnx", "openvino" (.xml and .bin; needs openvino), "torch" (.pt2, a torch.export program) or "page"
             (.html, which opens in any browser; without a suffix a folder that can be installed from a server); None
             goes by the suffix of `out`. A page's answers are compared under node. "litert" (.tflite), "executorch"
             (.pte) and "coreml" (.mlpackage) hold the bare network, with the .json of its preparation beside it
    int8     quantise the network, calibrated by up to 128 images that are not compared
    fp16     have the network compute in 16-bit floats, for GPUs
    licence  one line on the weights
    plain    an ONNX file for runtimes that refuse the full one: float32 N×C×H×W of one size, prepared by its user
             as the .json beside it says; `opset` is the version of its operators (None: 18), `batch` its N
    Up to 256 images go through the model in torch, the float ONNX file and the exported file, at the net's size and as
    files at their own size. The bounds are `striate.exporting.parity.BOUNDS`: of 32-bit floats 99 % equal predictions
    and probabilities within 0.001 at the net's size, 0.02 from files; of 16-bit floats within 0.02 and 0.04; of 8-bit
    numbers 95 % equal predictions. Raises ModelError, and writes no file, where one is broken. Of several labels or a
    number (`load_labels`, `load_number`) there is the ONNX file of 32-bit floats, compared without data too.

    >>> import tempfile
    >>> model = load("efficientnet_lite0")
    >>> file = tempfile.mkdtemp() + "/lite0.onnx"
    >>> export(model, file)
    >>> load(file).classes == model.classes
    True
    """
    from .exporting.export import PlainForm, export_checked
    from .model.answering import take_model

    if not plain and (opset is not None or batch != 1):
        raise StriateError(
            "export", say("opset and batch are those of a plain file"), hint=say("plain=True, or --plain")
        )
    form = PlainForm(opset, batch) if plain else None
    given = take_model(model)
    return export_checked(given, out, data=data, kind=format, int8=int8, fp16=fp16, licence=licence, form=form)
