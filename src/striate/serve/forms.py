"""The files of a multipart form, in memory: no image is ever written to a disk, and the upload's limit bounds it."""

from __future__ import annotations

from typing import Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from ..language import say
from .settings import Limits, Refused, Sent

FORM_TYPE = "multipart/form-data"
# Parts of a form that are no files: passed over, and this many at most.
MOST_FIELDS = 16


def read_form_files(content_type: str, body: bytes, limits: Limits) -> list[Sent]:
    """The files of a form, whatever its fields are called. Raises Refused: 400, 422."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise Refused(400, "body", say("the form is malformed"), got=say("no boundary in its Content-Type"))
    parts = FormParts(limits)
    try:
        parser = MultipartParser(boundary, parts.calls(), max_size=limits.upload)
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError) as e:
        raise Refused(400, "body", say("the form is malformed"), got=str(e)[:200]) from None
    if not parts.complete:
        raise Refused(400, "body", say("the form is malformed"), got=say("it breaks off"))
    return parts.files


class FormParts:
    """The parts of a form as the parser comes upon them."""

    def __init__(self, limits: Limits) -> None:
        self.limits, self.fields, self.complete = limits, 0, False
        self.files: list[Sent] = []
        self.begin()

    def calls(self) -> Any:
        return {
            "on_part_begin": self.begin,
            "on_header_field": self.name,
            "on_header_value": self.value,
            "on_header_end": self.header,
            "on_part_data": self.content,
            "on_part_end": self.end,
            "on_end": self.close,
        }

    def begin(self) -> None:
        self.headers: dict[bytes, bytes] = {}
        self.data, self.key, self.text = bytearray(), b"", b""

    def name(self, data: bytes, start: int, end: int) -> None:
        self.key += data[start:end]

    def value(self, data: bytes, start: int, end: int) -> None:
        self.text += data[start:end]

    def header(self) -> None:
        self.headers[self.key.lower()] = self.text
        self.key = self.text = b""

    def content(self, data: bytes, start: int, end: int) -> None:
        self.data += memoryview(data)[start:end]

    def end(self) -> None:
        _, options = parse_options_header(self.headers.get(b"content-disposition"))
        name = options.get(b"filename")
        if name is None:
            self.fields += 1
        else:
            self.files.append(Sent(name.decode("utf-8", "replace")[:200] or "image", bytes(self.data)))
        if len(self.files) > self.limits.images or self.fields > MOST_FIELDS:
            raise self.limits.too_many(say("more than {images}", images=self.limits.images))
        self.begin()

    def close(self) -> None:
        self.complete = True
