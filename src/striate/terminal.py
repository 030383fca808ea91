"""The terminal's edge: what is printed reaches the reader whatever the encoding, or the program ends in one line.

`prepare_streams` makes stdout and stderr so once, at the program's start; `make_printable`, `print_text`, `format_row`,
`print_json` and `print_page` are how names, texts, lines of data, JSON and HTML get there.
"""

from __future__ import annotations

import codecs
import csv
import errno
import io
import json
import os
import sys
import textwrap
import unicodedata
from collections.abc import Iterable
from typing import Any, TextIO

from .language import say, say_count

# The exit code of a program whose reader has gone, as the shell reports one that SIGPIPE ended.
CLOSED_PIPE = 128 + 13

# What stands in for a sign of ours where the encoding has none; one letter wherever columns stand below each other.
ASCII_SIGNS = {
    "×": "x", "·": "*", "−": "-", "–": "-", "→": ">", "≈": "~", "√": "sqrt ", "±": "+-", "²": "2", "≤": "<=", "≥": ">=",
    "…": "~", "⌊": "[", "⌋": "]", "⌈": "[", "⌉": "]", "▸": ">", "─": "-", "━": "-", "│": "|", "█": "#", "�": "?",
    "Σ": "sum ",    "∂": "d", "∞": "inf", "°": "deg", "½": "1/2", "←": "<", "α": "a", "λ": "l", "ᵀ": "T",
}  # fmt: skip

# Letters that turn the direction of those after them, so that a name would be read as another.
DIRECTION_MARKS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def make_printable(text: str) -> str:
    """`text` with "�" for what neither a terminal nor a page should get, and what would break a line.

    These are control characters, so escape sequences and line ends too, lone surrogates, and turns of direction.

    >>> make_printable("cat\\n\\x1b[31m.png")
    'cat��[31m.png'
    """
    return text if text.isascii() and text.isprintable() else "".join(map(show_letter, text))


def format_count(n: int, noun: str) -> str:
    """A number of things, in the singular for one.

    >>> format_count(1, "epoch"), format_count(1200, "image"), format_count(2, "class")
    ('1 epoch', '1,200 images', '2 classes')
    """
    plural = noun + ("es" if noun.endswith("s") else "s")
    return say_count("{n:,} " + noun, "{n:,} " + plural, n)


def format_clock(seconds: float) -> str:
    """A time as people say it.

    >>> format_clock(8.4), format_clock(95), format_clock(7500)
    ('8 s', '1 min 35 s', '2 h 5 min')
    """
    whole = round(seconds)
    if whole < 60:
        return say("{seconds} s", seconds=whole)
    if whole < 3600:
        return say("{minutes} min {seconds} s", minutes=whole // 60, seconds=whole % 60)
    return say("{hours} h {minutes} min", hours=whole // 3600, minutes=whole % 3600 // 60)


def measure_width(text: str) -> int:
    """The columns that `text` takes in a terminal: two for each Hangul syllable and the like.

    >>> measure_width("conv1"), measure_width("합성곱")
    (5, 6)
    """
    return len(text) if text.isascii() else len(text) + sum(map(is_wide, text))


def is_wide(letter: str) -> bool:
    return unicodedata.east_asian_width(letter) in ("W", "F")


def pad_right(text: str, width: int) -> str:
    """`text`, filled up behind to `width` columns."""
    return text + " " * (width - measure_width(text))


def pad_left(text: str, width: int) -> str:
    """`text`, filled up before it to `width` columns."""
    return " " * (width - measure_width(text)) + text


# Stands behind each wide letter while a text is broken into lines by its number of letters.
FILLER = "\ue000"


def wrap_text(text: str, width: int, **options: Any) -> list[str]:
    """`text` in lines of at most `width` columns; `options` are those of `textwrap.wrap`."""
    wide = text if text.isascii() else "".join(letter + FILLER * is_wide(letter) for letter in text)
    return [line.replace(FILLER, "") for line in textwrap.wrap(wide, width, **options)]


def show_letter(letter: str) -> str:
    return "�" if letter in DIRECTION_MARKS or unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") else letter


def print_text(text: object, file: TextIO | None = None) -> None:
    """Print a text of one or more lines; of control characters only ends of lines and tabs are left in it."""
    lines = str(text).split("\n")
    print("\n".join("\t".join(map(make_printable, line.split("\t"))) for line in lines), file=file or sys.stdout)


def print_warning(text: object) -> None:
    """Print to stderr, as `print_text` does."""
    print_text(text, sys.stderr)


def format_row(cells: Iterable[object], delimiter: str = "\t") -> str:
    """Cells as a line of data without its end; one that holds the delimiter, a quote or a line end is quoted as CSV is.

    >>> format_row(["a\\tb.png", "cat", "0.5"])
    '"a\\tb.png"\\tcat\\t0.5'
    """
    line = io.StringIO()
    csv.writer(line, delimiter=delimiter, lineterminator="\r\n").writerow(cells)
    return line.getvalue().removesuffix("\r\n")


def format_table(columns: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """A CSV file with a heading."""
    return "".join(f"{format_row(row, ',')}\n" for row in (columns, *rows))


def print_row(cells: Iterable[object], delimiter: str = "\t") -> None:
    """Print a line of data: as it is to a file or a program, its cells `make_printable` to a terminal."""
    texts = list(map(str, cells))
    print(format_row(map(make_printable, texts) if sys.stdout.isatty() else texts, delimiter))


def print_json(data: Any) -> None:
    """Print JSON on one line, its letters as they are where the encoding has them and a terminal can take them."""
    text = json.dumps(data, ensure_ascii=False)
    if make_printable(text) != text or not is_encodable(text):
        text = json.dumps(data).replace("\x7f", "\\u007f")
    print(text)


def print_page(text: str) -> None:
    """Print an HTML page in UTF-8, as it says of itself, whatever the encoding of stdout."""
    sys.stdout.flush()
    sys.stdout.buffer.write(f"{text}\n".encode())
    sys.stdout.buffer.flush()


def is_encodable(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


class OutputError(OSError):
    """Stdout or stderr that takes no more: the reader has gone, or the disk is full. No `errno`, so that nobody on the

    way takes it for a broken pipe of his own; `flush_streams` tells the user.
    """


class Outlet(io.RawIOBase):
    """The end of stdout or stderr. It raises its first failure as OutputError, and then lets everything fall."""

    def __init__(self, end: Any) -> None:
        self.end = end
        self.failure: OSError | None = None

    def write(self, data: Any) -> int | None:
        if self.failure is not None:
            return len(data)
        try:
            return self.end.write(data)
        except BlockingIOError:
            raise
        except OSError as e:
            self.failure = e
            raise OutputError(e.strerror or str(e)) from None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self.end.fileno()

    def isatty(self) -> bool:
        return self.end.isatty()


def prepare_streams() -> None:
    """Have stdout and stderr take every letter and tell their failures, and stdin any file's name."""
    codecs.register_error("striate", replace_unencodable)
    sys.stdout, sys.stderr = add_outlet(sys.stdout), add_outlet(sys.stderr)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")


def add_outlet(stream: Any) -> Any:
    """`stream` with an Outlet at its end."""
    if stream is None:  # the program was started without it
        return open(os.devnull, "w", encoding="utf-8")
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    end = getattr(stream.buffer, "raw", stream.buffer)
    if isinstance(end, Outlet):  # the command line was run in this process before
        return stream
    return io.TextIOWrapper(
        io.BufferedWriter(Outlet(end)),
        stream.encoding,
        "striate",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def replace_unencodable(error: UnicodeError) -> tuple[str | bytes, int]:
    """What is written for letters that the encoding has not: a file's name by its own bytes, else ASCII."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    stands = bytes([ord(letter) - 0xDC00]) if "\udc80" <= letter <= "\udcff" else ASCII_SIGNS.get(letter, "?")
    return stands, error.start + 1


def flush_streams(code: int) -> int:
    """Write out what is left, and the exit code: `code`, or that of an output that failed, which is then told."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OutputError:
            pass
    for name, failure in list_failures():
        if failure.errno in (errno.EPIPE, errno.EINVAL if os.name == "nt" else errno.EPIPE):
            return CLOSED_PIPE
        print(f"error: {name}: cannot write: {(failure.strerror or str(failure)).lower()}", file=sys.stderr)
        code = 2
    return code


def list_failures() -> list[tuple[str, OSError]]:
    """The outputs that have failed, by name."""
    ends = [(name, getattr(getattr(getattr(sys, name), "buffer", None), "raw", None)) for name in ("stdout", "stderr")]
    return [(name, end.failure) for name, end in ends if isinstance(end, Outlet) and end.failure is not None]
