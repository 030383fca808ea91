"""What a user brings to a training as functions: loss, augmentation, optimizer, metrics, callbacks; and their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RecipeError, RunError
from ..language import say
from ..terminal import make_printable

if TYPE_CHECKING:
    from .run import Epoch, Run

# The settings of a recipe that a function of one's own takes the place of.
REPLACED_SETTINGS = {
    "loss": ("label_smoothing", "balance"),
    "augment": ("augment",),
    "optimizer": ("optimizer", "lr", "rates", "momentum", "decoupled", "weight_decay"),
}
CALLBACK_MOMENTS = ("start", "step", "epoch", "end")
CALLBACK_STATE = ("state_dict", "load_state_dict")


@dataclass(frozen=True)
class Callback:
    """What is done at the moments of a training. Instead of it, any object that has some of these methods will do.

    start  of the Run, before its first step, and again where it goes on
    step   of the Run and the step's mean loss, after each step; True ends the training: the epoch under way is the last
    epoch  of the Run and its Epoch, whose model is kept already; True ends the training
    end    of the Run, when it is left: `run.done` says whether that is its end
    state_dict       what the checkpoint is to keep of the callback, as JSON data
    load_state_dict  is given it back, before `start`
    They are called in the first process alone. What a kill undoes is done again: the steps since the last checkpoint.

    >>> import tempfile, striate
    >>> enough = Callback(epoch=lambda run, row: row.valid_acc > 0.5)
    >>> made = striate.train("digits", "lenet5", epochs=9, callbacks=[enough], out=tempfile.mkdtemp() + "/run")
    >>> made.done, len(made.history) < 9
    (True, True)
    """

    start: Callable[[Run], Any] | None = None
    step: Callable[[Run, float], Any] | None = None
    epoch: Callable[[Run, Epoch], Any] | None = None
    end: Callable[[Run], Any] | None = None
    state_dict: Callable[[], Any] | None = None
    load_state_dict: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Callables:
    """The functions that a training is given; what is None or empty is the recipe's own.

    loss       (logits N×K float32, targets) -> the mean loss, or that of each image, N; targets are int64 N, or float
               N×K where the recipe mixes images
    augment    (x float32 N×C×H×W in 0 to 1, a generator on the CPU) -> x of the same shape
    optimizer  [(name, parameter), …] -> a torch.optim.Optimizer over all of them; the schedule scales its rates
    metrics    name -> (probabilities float32 N×K, labels int64 N) -> a number
    callbacks  told of the moments of the training
    """

    loss: Callable[..., Any] | None = None
    augment: Callable[..., Any] | None = None
    optimizer: Callable[..., Any] | None = None
    metrics: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    callbacks: tuple[Any, ...] = ()

    @property
    def names(self) -> dict[str, Any]:
        """What each is called, as JSON data; {} where there are none. By it a run knows them again."""
        found = {name: name_function(getattr(self, name)) for name in REPLACED_SETTINGS if getattr(self, name)}
        metrics = {name: name_function(metric) for name, metric in self.metrics.items()}
        callbacks = [name_callback(callback) for callback in self.callbacks]
        return found | ({"metrics": metrics} if metrics else {}) | ({"callbacks": callbacks} if callbacks else {})

    @property
    def told(self) -> dict[str, str]:
        """The same, a text each, as a model file keeps it beside the recipe."""
        return {f"own_{kind}": format_names(named) for kind, named in self.names.items()}

    def for_trial(self) -> Callables:
        """Those that a step is made of, without what is told of it."""
        return replace(self, metrics={}, callbacks=())


NO_CALLABLES = Callables()


def make_callables(
    loss: Any = None, augment: Any = None, optimizer: Any = None, metrics: Any = None, callbacks: Any = None
) -> Callables:
    """The functions as given. Raises RecipeError naming what is none."""
    for name, given in (("loss", loss), ("augment", augment), ("optimizer", optimizer)):
        if given is not None and not callable(given):
            hint = (
                say("leave it out for cross-entropy")
                if name == "loss"
                else say("{name}='…' names one of striate's own", name=name)
            )
            raise RecipeError(name, say("this is no function"), got=describe_given(given), hint=hint)
    if any(weight.requires_grad for weight in getattr(loss, "parameters", list)()):
        what = say("this loss has weights of its own, which no optimizer of the run would move or save")
        raise RecipeError("loss", what, got=name_function(loss), hint=say("a loss without parameters to train"))
    if metrics is not None and not isinstance(metrics, Mapping):
        raise RecipeError(
            "metrics", say("metrics have names"), got=describe_given(metrics), hint="metrics={'name': function}"
        )
    for name, metric in (metrics or {}).items():
        if not callable(metric) or not isinstance(name, str):
            raise RecipeError(f"metrics.{name}", say("this is no function with a name"), got=describe_given(metric))
    if callbacks is not None and not isinstance(callbacks, Sequence):
        raise RecipeError("callbacks", say("callbacks are a list"), got=describe_given(callbacks), hint="callbacks=[…]")
    for place, callback in enumerate(callbacks or ()):
        if not list_moments(callback):
            what = say("this has none of the methods {names}", names=", ".join(CALLBACK_MOMENTS))
            hint = "striate.Callback(epoch=function)"
            raise RecipeError(f"callbacks[{place}]", what, got=describe_given(callback), hint=hint)
    return Callables(loss, augment, optimizer, dict(metrics or {}), tuple(callbacks or ()))


def take_callables(given: dict[str, Any], **named: Any) -> Callables:
    """The functions `named`, and those among the settings `given`, which are taken out of these. Raises RecipeError."""
    functions = {name: given.pop(name) for name in ("augment", "optimizer") if callable(given.get(name))}
    return make_callables(**named, **functions)


def check_replaced(callables: Callables, settings: Mapping[str, Any], usual: Mapping[str, Any]) -> None:
    """Raise RecipeError for a setting that was given, and is not as usual, beside the function in its place."""
    for kind, replaced in REPLACED_SETTINGS.items():
        for name in replaced if getattr(callables, kind) is not None else ():
            if name in settings and settings[name] != usual.get(name):
                raise RecipeError(
                    f"recipe.{name}",
                    say("your own {kind} takes the place of this setting", kind=kind),
                    got=say(
                        "{name}={value} beside {kind}={own}",
                        name=name,
                        value=settings[name],
                        kind=kind,
                        own=name_function(getattr(callables, kind)),
                    ),
                    hint=say("leave {name} out, or {kind}", name=name, kind=kind),
                )


def check_same_callables(where: str, given: Mapping[str, Any], began: Mapping[str, Any]) -> None:
    """Raise RunError where the functions' names are not those that the run `began` with, naming both."""
    for kind in (*REPLACED_SETTINGS, "metrics", "callbacks"):
        now, then = given.get(kind), began.get(kind)
        if now == then:
            continue
        call = f"striate.train(…, {kind}=…, resume=True)"
        raise RunError(
            f"{where}: {kind}",
            say("a run with your own functions goes on with the same ones"),
            got=format_names(now) if now else say("no {kind} of your own", kind=kind),
            rule=say("it began with {then}", then=format_names(then))
            if then
            else say("it began with no {kind} of your own", kind=kind),
            hint=say("{call} with {then}", call=call, then=format_names(then))
            if then
            else say("resume it without {kind}=", kind=kind),
        )


def format_names(named: Any) -> str:
    """A function's name, or those of several, in a line."""
    if isinstance(named, Mapping):
        return ", ".join(f"{name} ({function})" for name, function in named.items())
    return named if isinstance(named, str) else ", ".join(named)


def name_function(function: Any) -> str:
    """What a function or an object that can be called is known by: "module:qualname", with what is fixed of it.

    >>> name_function(name_function), name_function(partial(round, ndigits=2))
    ('striate.fitting.callables:name_function', 'builtins:round(ndigits=2)')
    """
    if isinstance(function, partial):
        fixed = [*map(describe_given, function.args)]
        fixed += [f"{name}={describe_given(value)}" for name, value in function.keywords.items()]
        return f"{name_function(function.func)}({', '.join(fixed)})"
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


def name_callback(callback: Any) -> str:
    """A callback's name: its class's, or those of the functions that it is made of."""
    if not isinstance(callback, Callback):
        return name_function(type(callback))
    parts = {name: getattr(callback, name) for name in (*CALLBACK_MOMENTS, *CALLBACK_STATE)}
    return "Callback(" + ", ".join(f"{name}={name_function(f)}" for name, f in parts.items() if f is not None) + ")"


def format_metrics(metrics: Mapping[str, float | None]) -> str:
    """What a user's metrics were, in a line.

    >>> format_metrics({"f1": 0.91234, "auc": None})
    'f1 0.9123, auc –'
    """
    texts = {name: "–" if value is None else f"{value:.4f}" for name, value in metrics.items()}
    return ", ".join(f"{make_printable(name)} {text}" for name, text in texts.items())


def list_moments(callback: Any) -> list[str]:
    """The moments that a callback is told of."""
    return [name for name in CALLBACK_MOMENTS if callable(getattr(callback, name, None))]


def describe_given(value: Any) -> str:
    """A value in a few words that are the same in every process, so without its place in memory."""
    if callable(value):
        return name_function(value)
    shown = repr(value)
    plain = isinstance(value, str | int | float | bool | Path | tuple | list) and len(shown) < 80
    return shown if plain and " at 0x" not in shown else f"a {type(value).__name__}"
