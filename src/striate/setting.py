"""What a setting says of itself: declared once, beside its field, and read by the command line, the Python signature,

the studio's form and the docs.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from textwrap import wrap
from types import UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin, get_type_hints

import msgspec


class Setting(NamedTuple):
    """Stands in the annotation of a field: `batch: Annotated[int, Setting("Batch size")] = 64`.

    help     a line for `--help` and the form, the field's own term first
    more     what the docs add: units, the formula, the source
    usual    the default in words, where the field's default is None
    choices  the values there are, where the type does not say so
    flags    the option's spellings, where it is not --name: "--whiten/--no-whiten"
    typed    the option's type on the command line, where it is not the field's
    """

    help: str
    more: str = ""
    usual: str = ""
    choices: tuple[str, ...] = ()
    flags: str = ""
    typed: Any = None


class DeclaredSetting(NamedTuple):
    """A field with its setting, as `list_settings` gives it.

    kind  int, float, bool or str: what a user types
    """

    name: str
    kind: type
    annotation: Any
    default: Any
    setting: Setting

    @property
    def choices(self) -> tuple[str, ...]:
        """The values there are; () where it is a number or any text."""
        return self.setting.choices or list_literal_values(self.annotation)

    @property
    def help(self) -> str:
        """The line for a user, with the choices."""
        return f"{self.setting.help}: {', '.join(self.choices)}" if self.choices else self.setting.help

    @property
    def usual(self) -> str:
        """The default as a user reads it."""
        if self.setting.usual:
            return self.setting.usual
        return ("yes" if self.default else "no") if isinstance(self.default, bool) else f"{self.default}"


def list_settings(record: type) -> list[DeclaredSetting]:
    """The settings of a record, in the order in which it declares them; fields without a Setting are not told of."""
    hints = get_type_hints(record, include_extras=True)
    found = []
    for field in msgspec.structs.fields(record):
        parts = get_args(hints[field.name]) if get_origin(hints[field.name]) is Annotated else ()
        for setting in (part for part in parts[1:] if isinstance(part, Setting)):
            kind = setting.typed or find_value_type(parts[0])
            found.append(DeclaredSetting(field.name, kind, parts[0], field.default, setting))
    return found


def find_value_type(annotation: Any) -> type:
    """The type that a user types for a field: of a union the first part, of a Literal its values'."""
    if get_origin(annotation) in (Union, UnionType):
        return find_value_type(get_args(annotation)[0])
    if get_origin(annotation) is Literal:
        return str
    return annotation


def list_literal_values(annotation: Any) -> tuple[str, ...]:
    """The values of a Literal; () for other types."""
    return get_args(annotation) if get_origin(annotation) is Literal else ()


def describe_settings(record: type) -> str:
    """A docstring's part: each setting by name, with its default, its help and what the docs add.

    >>> class Few(msgspec.Struct):
    ...     batch: Annotated[int, Setting("Batch size", "images a step")] = 64
    >>> print(describe_settings(Few))
    batch  Batch size [64]: images a step
    """
    rows = list_settings(record)
    wide = max(len(row.name) for row in rows) + 2
    lines = []
    for row in rows:
        text = f"{row.help} [{row.usual}]" + (f": {row.setting.more}" if row.setting.more else "")
        lines += wrap(f"{row.name:<{wide}}{text}", 116, subsequent_indent=" " * wide, break_on_hyphens=False)
    return "\n".join(lines)


def sign_with(*records: type, leave_out: Collection[str] = ()) -> Callable[[Callable], Callable]:
    """Give a function that takes its settings by name a signature that shows them, for completion and the docs.

    What the function names itself stays as it is; None stands for what is not given. `leave_out` has no meaning there.
    """

    def sign(function: Callable) -> Callable:
        own = list(inspect.signature(function).parameters.values())
        fixed = [p for p in own if p.kind is not inspect.Parameter.VAR_KEYWORD]
        named, kind = {p.name for p in fixed} | set(leave_out), inspect.Parameter.KEYWORD_ONLY
        rows = [row for record in records for row in list_settings(record) if row.name not in named]
        made = [inspect.Parameter(row.name, kind, default=None, annotation=row.annotation) for row in rows]
        function.__signature__ = inspect.Signature([*fixed, *made])  # type: ignore[attr-defined]
        return function

    return sign
