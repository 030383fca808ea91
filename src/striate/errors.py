"""Every error that a user's input can cause, in one shape: where, what is wrong, what came, the rule, what works."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from .language import Text, render_text, say, to_say
from .terminal import make_printable, measure_width, pad_right

CONTINUED = "\n" + 8 * " "


class StriateError(Exception):
    """Bad input. The CLI prints it and exits 2.

    where  the place: a layer, a field, a file
    what   what is wrong there, one sentence without a full stop
    got    what came
    rule   what must hold, with the numbers in it
    hint   something that works

    The parts may be what `say` says: the error is then told in the language that is spoken when it is printed.

    >>> print(StriateError("photos/", "no image in this folder", got="3 files", hint="put images into class folders"))
    photos/: no image in this folder
      got   3 files
      hint  put images into class folders
    """

    def __init__(self, where: str, what: str, *, got: object = None, rule: str | None = None, hint: str | None = None):
        self.where, self.what, self.got, self.rule, self.hint = where, what, got, rule, hint
        super().__init__(where, what)

    def at(self, outer: str, separator: str = ".") -> StriateError:
        """The same error, its place put inside `outer`."""
        self.where = join_places(outer, separator, self.where) if self.where else outer
        return self

    def as_dict(self) -> dict[str, str]:
        """The parts that are there, as text in the language spoken: the studio's and the service's 4xx body."""
        parts = {"where": self.where, "what": self.what, "got": self.got, "rule": self.rule, "hint": self.hint}
        return {key: str(render_text(value)) for key, value in parts.items() if value is not None and str(value)}

    def __str__(self) -> str:
        parts = {key: make_lines_printable(text) for key, text in self.as_dict().items()}
        what = parts.get("what", "")
        head = f"{parts['where']}: {what}" if "where" in parts else what
        names = {key: say(name) for key, name in PART_NAMES.items()}
        width = max(map(measure_width, names.values()))
        return "\n".join([head, *(f"  {pad_right(names[key], width)}  {parts[key]}" for key in names if key in parts)])


def make_lines_printable(text: str) -> str:
    """`make_printable`, but for the line ends of our own lists, whose further lines begin with eight spaces."""
    return CONTINUED.join(map(make_printable, text.split(CONTINUED)))


PART_NAMES = {"got": to_say("got"), "rule": to_say("rule"), "hint": to_say("hint")}


def join_places(outer: str, separator: str, inner: str) -> str:
    """One place inside another; it keeps the keys where one of them was said."""
    if isinstance(outer, Text) or isinstance(inner, Text):
        return say("{outer}{separator}{inner}", outer=outer, separator=separator, inner=inner)
    return f"{outer}{separator}{inner}"


class NetError(StriateError):
    """A layer record or a net's text that cannot be read."""


class ShapeError(StriateError):
    """A layer that does not fit the map that reaches it."""


class DataError(StriateError):
    """A data set, or one image, that cannot be used."""


class RecipeError(StriateError):
    """A training setting that cannot be used."""


class ModelError(StriateError):
    """A model file, run folder or exported file that cannot be used."""


class RunError(StriateError):
    """A training run that cannot start or go on."""


def suggest_name(word: str, known: Iterable[str]) -> str:
    """The hint for a misspelt name: the nearest known one, or all of them when none is near.

    >>> suggest_name("kernal", ["bias", "kernel", "stride"])
    "did you mean 'kernel'?"
    """
    known = sorted(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    close = close or [name for name in known if name.lower() == word.lower()]
    return say("did you mean '{name}'?", name=close[0]) if close else say("one of: {names}", names=", ".join(known))
