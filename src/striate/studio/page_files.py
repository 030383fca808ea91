"""The files of the studio's page, and its modules joined into one script."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from ..browser.joining import join_modules, read_browser_file

PAGE = files(__package__).joinpath("page")


@cache
def read_page_file(name: str) -> str:
    """A file of the page."""
    return PAGE.joinpath(name).read_text(encoding="utf-8")


def read_any_file(name: str) -> str:
    """A file of the page or of the browser's engine; no name stands for two."""
    return read_page_file(name) if PAGE.joinpath(name).is_file() else read_browser_file(name)


def join_page_modules(first: str, beside: str | None = None) -> str:
    """The page's module `first` and all that it imports, of the engine too, as one script: see `join_modules`."""
    return join_modules(first, read_any_file, beside)
