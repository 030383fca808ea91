"""What a teacher says of the images to train on: asked once, at its own image size, and kept beside the run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import safetensors.numpy

from .. import atomic_file
from ..errors import ModelError, RecipeError, RunError
from ..fitting.recipe import Recipe
from ..language import say, to_say
from ..run_files import RunFiles
from ..terminal import format_count
from .together import load_everywhere, make_feeds

if TYPE_CHECKING:
    from ..data.images import Dataset, Images
    from ..fitting.batches import Feed
    from ..model.model import Model
    from .plan import Plan
    from .request import Request

# The share of the loss that is a teacher's, where nobody says another: of Hinton, Vinyals and Dean 2015, section 3.
USUAL_SHARE = 0.9
# Probabilities below this are taken for it, so that their logarithm is a number.
LEAST = 1e-12
# Images that a teacher is asked of at once.
AT_ONCE = 256
SHOWN = to_say("images shown to the teacher")


def settle_distillation(request: Request, recipe: Recipe) -> Recipe:
    """The recipe with the teacher's share of the loss. Raises RecipeError for a share or a way that makes no sense."""
    if request.options.teacher is None:
        if recipe.distillation:
            what = say("this share of the loss is a teacher's, and there is none")
            raise RecipeError("distillation", what, got=recipe.distillation, hint="--teacher RUN")
        return recipe
    obstacles = {
        "devices": (request.ranks.world > 1, to_say("a teacher is asked in one process")),
        "loss": (request.callables.loss is not None, to_say("a loss of your own knows no teacher")),
        "folds": (request.fold is not None, to_say("a teacher may have learnt from the very images that test a fold")),
    }
    for name, (stands, what) in obstacles.items():
        if stands:
            raise RecipeError(name, say(what), hint=say("leave out --teacher or this"))
    given = "distillation" in request.settings
    return recipe if given else msgspec.structs.replace(recipe, distillation=USUAL_SHARE)


def load_teacher(request: Request, data: Dataset) -> Model:
    """The teacher, which must know the classes of `data`. Raises ModelError."""
    from ..model.model import Model
    from ..model.opening import load

    name = str(request.options.teacher)
    model = load(name)
    if not isinstance(model, Model):
        hint = say("the run that it was exported from")
        raise ModelError(name, say("a teacher is a run or a model file, not an exported one"), hint=hint)
    if set(model.classes) != set(data.classes):
        raise ModelError(
            name,
            say("the teacher answers with other classes"),
            got=", ".join(model.classes[:8]),
            rule=say("those of the data: {classes}", classes=", ".join(data.classes[:8])),
            hint=say("striate train {data} makes one", data=request.name),
        )
    return model


def describe_teacher(request: Request, model: Model, recipe: Recipe) -> str:
    return say(
        "teacher: {name}, {net}; its answers are {share:.0%} of the loss, at temperature {temperature:g}",
        name=request.options.teacher,
        net=model.net.name,
        share=recipe.distillation,
        temperature=recipe.temperature,
    )


def make_taught_feeds(plan: Plan) -> tuple[Feed, Feed]:
    """The images to train on, with what the teacher says of them where there is one, and those to validate on."""
    train, valid = make_feeds(plan.task, plan.data, plan.request.ranks)
    if plan.task.recipe.distillation:
        train.teach(find_answers(plan))
    return train, valid


def find_answers(plan: Plan) -> np.ndarray:
    """float32 N×K: the logarithms of the teacher's probabilities of each image to train on, in the data's classes.

    Kept beside the checkpoint, so that a resumed run goes on with the same ones, whatever became of the teacher.
    """
    file = RunFiles(plan.folder).teacher
    if file.is_file():
        found, metadata = read_answers(file)
        if metadata.get("data") == plan.data.fingerprint and found.shape == (
            len(plan.data.train),
            len(plan.data.classes),
        ):
            return found
    answers = ask_teacher(plan)
    atomic_file.write_file(
        file, safetensors.numpy.save({"log_probabilities": answers}, metadata={"data": plan.data.fingerprint})
    )
    return answers


def read_answers(file: Any) -> tuple[np.ndarray, dict[str, str]]:
    with safetensors.safe_open(str(file), framework="np") as opened:
        return opened.get_tensor("log_probabilities"), opened.metadata() or {}


def ask_teacher(plan: Plan) -> np.ndarray:
    """`find_answers`, of the teacher itself, whose accuracy is told."""
    request, data, seed = plan.request, plan.data, plan.task.recipe.seed
    model = load_teacher(request, data)
    theirs = load_for_teacher(request, data, model, seed)
    log_p = np.empty((len(data.train), len(data.classes)), np.float32)
    order, done = [model.classes.index(name) for name in data.classes], 0
    for places, images in pair_images(theirs, data.train, str(request.options.teacher)):
        for low in range(0, len(images), AT_ONCE):
            p = model.probabilities(images.x[low : low + AT_ONCE])
            log_p[places[low : low + AT_ONCE]] = np.log(np.maximum(p[:, order], LEAST))
            done += len(p)
            request.watch.loading(SHOWN, done, len(log_p))
    right = float((log_p.argmax(1) == data.train.y).mean())
    request.watch.notice(say("the teacher is right on {right:.1%} of the images to train on", right=right))
    tell_known(request, model, theirs, data)
    return log_p


def load_for_teacher(request: Request, data: Dataset, model: Model, seed: int) -> Dataset:
    """The data set as the teacher wants to see it; the same one where it fits already."""
    pre, channels = model.preprocess, model.net.input[0]
    given = {"size": pre.size, "channels": channels, "fit": pre.fit, "seed": seed, "depth": pre.depth}
    theirs = load_everywhere(request, given)
    if theirs.shape != (channels, *pre.size):
        raise RunError(
            str(request.options.teacher),
            say("the teacher takes images of another size than these are read at"),
            got="×".join(map(str, theirs.shape)),
            rule="×".join(map(str, (channels, *pre.size))),
            hint=say("hand over what they were read from: a folder, a table, arrays"),
        )
    return theirs


def pair_images(theirs: Dataset, own: Images, teacher: str) -> Iterator[tuple[np.ndarray, Images]]:
    """Our `own` images as the teacher sees them, and their places among ours, from each split that has some of them.

    At another size other images may be copies of each other, and so lie in other splits. Raises RunError for an image
    that is in none.
    """
    at, left = {file: place for place, file in enumerate(own.files)}, len(own)
    for part in (theirs.train, theirs.valid, theirs.test):
        if part is None:
            continue
        rows = np.array([row for row, file in enumerate(part.files) if file in at], np.int64)
        left -= len(rows)
        yield np.array([at[part.files[row]] for row in rows], np.int64), part.take(rows)
    if left:
        what = say("{count:,} images are not there at the teacher's size", count=left)
        raise RunError(teacher, what, hint=say("striate check {data} finds unreadable files", data=theirs.name))


def tell_known(request: Request, model: Model, theirs: Dataset, data: Dataset) -> None:
    """Say how many of the images that the net will be measured on the teacher has learnt from."""
    from ..model.known import find_known

    if model.header.known is None:
        return
    measured = [images for _, images in pair_images(theirs, data.measured, str(request.options.teacher))]
    known = sum(int(find_known(model.header.known, images).sum()) for images in measured)
    if known:
        line = say(
            "the teacher learnt from {known:,} of the {images} that the net will be measured on: that flatters it",
            known=known,
            images=format_count(len(data.measured), "image"),
        )
        request.watch.notice(line)
