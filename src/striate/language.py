"""What striate says to people, in their language: a text is a key, its English, and values, said by one catalogue.

    say("a {kernel}×{kernel} window does not fit a {height}×{width} map", kernel=7, height=5, width=5)

The language is that of `use_language`, else of `set_language`, else of STRIATE_LANG, else of the locale, else English.
What is written as data, JSON and files on disk, is English always. The Korean texts are in `locale/ko.po`, read when
the first one is said.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, wraps
from typing import Any, Self, TypeVar

LANGUAGES = ("en", "ko")

# What decides where nobody has said a language; the first one that is set, as gettext reads them.
VARIABLES = ("STRIATE_LANG", "LC_ALL", "LC_MESSAGES", "LANG")

spoken: ContextVar[str | None] = ContextVar("spoken", default=None)
chosen: list[str] = []  # what `set_language` said last, for threads begun later too


class Text(str):
    """What was said, in the language of that moment; `render_text` says it again in another."""

    key: str
    numbers: tuple[Any, ...]
    values: Mapping[str, Any]

    def __new__(
        cls, text: str, key: str = "", numbers: tuple[Any, ...] = (), values: Mapping[str, Any] | None = None
    ) -> Self:
        made = super().__new__(cls, text)
        made.key, made.numbers, made.values = key, numbers, values or {}
        return made


def say(key: str, /, *numbers: Any, **values: Any) -> str:
    """The text that `key` stands for, with its values, in the language of the moment: a Text.

    key  the English text, as `str.format` takes it where there are values: {name}, and {0}, {1} for numbers

    >>> say("a batch holds at least {least} image", least=1)
    'a batch holds at least 1 image'
    """
    return Text(fill_text(key, numbers, values, find_language()), key, numbers, values)


def say_count(one: str, several: str, n: int, **values: Any) -> str:
    """`one` for a single thing, `several` for more or none; both take `n`."""
    return say(one if n == 1 else several, n=n, **values)


def join_texts(separator: str, texts: Sequence[object]) -> str:
    """Texts in a row, each with its own key.

    >>> join_texts("; ", ["one", "two"])
    'one; two'
    """
    return say(separator.join(f"{{{i}}}" for i in range(len(texts))), *texts)


def to_say(key: str) -> str:
    """`key` as it is: a text that is written down here, and said elsewhere. The catalogue must have it."""
    return key


def render_text(text: Any, language: str | None = None) -> Any:
    """`text` said again in `language`, the moment's where None; what is no Text as it is."""
    if not isinstance(text, Text):
        return text
    language = language or find_language()
    numbers = tuple(render_text(value, language) for value in text.numbers)
    values = {name: render_text(value, language) for name, value in text.values.items()}
    return Text(fill_text(text.key, numbers, values, language), text.key, numbers, values)


def render_all(data: Any, language: str) -> Any:
    """Every Text in plain data (dicts, lists, tuples) said again in `language`."""
    if isinstance(data, dict):
        return {key: render_all(value, language) for key, value in data.items()}
    if isinstance(data, list | tuple):
        made = [render_all(value, language) for value in data]
        return type(data)(*made) if hasattr(data, "_fields") else type(data)(made)
    return str(render_text(data, language)) if isinstance(data, Text) else data


def fill_text(key: str, numbers: tuple[Any, ...], values: Mapping[str, Any], language: str) -> str:
    """The key's text in `language`, its own English where the catalogue lacks it, with the values in it."""
    if language == "ko":
        from .korean import fill_korean, load_catalogue

        if key in load_catalogue():
            return fill_korean(load_catalogue()[key], numbers, values)
    return key.format(*numbers, **values) if numbers or values else key


def find_language() -> str:
    """The language of the moment: "en" or "ko"."""
    return spoken.get() or (chosen[-1] if chosen else read_environment())


@cache
def read_environment() -> str:
    """The language of the first variable that is set; English where none is, or it names another."""
    told = next((os.environ[name] for name in VARIABLES if os.environ.get(name)), "")
    return "ko" if told.replace("-", "_").partition(".")[0].partition("_")[0].lower() == "ko" else "en"


def set_language(language: str) -> None:
    """Have striate say its texts in "en" or "ko" from now on. Raises ValueError for another language.

    >>> import striate
    >>> striate.set_language("en")
    """
    chosen[:] = [check_language(language)]


@contextmanager
def use_language(language: str) -> Iterator[None]:
    """Have striate say its texts in "en" or "ko" within the block. Raises ValueError for another language.

    >>> import striate
    >>> with striate.use_language("ko"):
    ...     striate.summary(striate.nets.lenet5()).notes[2]
    ('안 읽는 곳', '가장자리의 픽셀도 모두 읽습니다')
    """
    token = spoken.set(check_language(language))
    try:
        yield
    finally:
        spoken.reset(token)


def choose_language(accepted: str) -> str:
    """Of the languages that a request's Accept-Language names, in its order, the first that striate speaks.

    >>> choose_language("de, ko-KR;q=0.9, en;q=0.8"), choose_language("")
    ('ko', 'en')
    """
    told = (part.partition(";")[0].partition("-")[0].strip().lower() for part in accepted.split(","))
    return next((language for language in told if language in LANGUAGES), find_language())


def check_language(language: str) -> str:
    if language not in LANGUAGES:
        raise ValueError(f"there is no language {language!r}; striate speaks {' and '.join(LANGUAGES)}")
    return language


Function = TypeVar("Function", bound=Callable[..., Any])


def in_english(function: Function) -> Function:
    """A function whose texts are data: English, whatever language is spoken."""

    @wraps(function)
    def neutral(*args: Any, **named: Any) -> Any:
        with use_language("en"):
            return render_all(function(*args, **named), "en")

    return neutral  # type: ignore[return-value]
