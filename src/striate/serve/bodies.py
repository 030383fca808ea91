"""The images in a request's body: raw bytes, a form with files, or JSON with base64 or addresses."""

from __future__ import annotations

import asyncio
import base64
import binascii
from urllib.parse import unquote

import msgspec
from starlette.requests import Request

from ..errors import DataError
from ..language import say
from ..model.fetch import fetch_image
from .forms import FORM_TYPE, read_form_files
from .settings import Access, Limits, Refused, Sent

JSON_TYPE, RAW_TYPE = "application/json", "application/octet-stream"


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A request in JSON; of these fields it has one."""

    image: str | None = None
    images: list[str] | None = None
    url: str | None = None
    urls: list[str] | None = None


class ByteBudget:
    """The bytes of all requests that are being received or answered."""

    def __init__(self, largest: int) -> None:
        self.largest, self.bytes = largest, 0

    def take(self, count: int) -> None:
        """Raises Refused (429) where there is no room."""
        if self.bytes + count > self.largest:
            headers = {"Retry-After": "1"}
            raise Refused(429, "body", say("too many uploads at once"), hint=say("retry in 1 s"), headers=headers)
        self.bytes += count

    def give(self, count: int) -> None:
        self.bytes -= count


async def receive_body(request: Request, limits: Limits, held: ByteBudget) -> bytes:
    """The whole body. The caller gives its length back to `held`. Raises Refused: 408, 413, 429; ClientDisconnect."""
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > limits.upload:
        raise refuse_large_body(limits, f"{int(stated):,}")
    body = bytearray()
    try:
        async with asyncio.timeout(limits.seconds):
            async for block in request.stream():
                if len(body) + len(block) > limits.upload:
                    raise refuse_large_body(limits, say("more than {upload:,}", upload=limits.upload))
                held.take(len(block))
                body += block
    except TimeoutError:
        held.give(len(body))
        rule = say("{seconds:g} seconds for a request", seconds=limits.seconds)
        raise Refused(
            408, "body", say("the upload takes too long"), rule=rule, headers={"Connection": "close"}
        ) from None
    except BaseException:
        held.give(len(body))
        raise
    return bytes(body)


def refuse_large_body(limits: Limits, got: str) -> Refused:
    return Refused(
        413,
        "body",
        say("the request is too large"),
        got=say("{got} bytes", got=got),
        rule=say("at most {largest:,} bytes", largest=limits.upload),
    )


async def read_images(request: Request, body: bytes, limits: Limits, access: Access, many: bool) -> list[Sent]:
    """The images in the body; `many` where there may be any number. Raises Refused: 400, 403, 415, 422."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == FORM_TYPE:
        sent = read_form_files(request.headers["content-type"], body, limits)
    elif kind == JSON_TYPE:
        sent = await read_json_images(body, limits, access, many)
    elif not many and (kind.startswith("image/") or kind == RAW_TYPE):
        sent = [Sent(read_name(request), body)]
    else:
        kinds = say("{form} or {json}", form=FORM_TYPE, json=JSON_TYPE)
        if not many:
            kinds = say("{form} or {json}, image/*, or {raw}", form=FORM_TYPE, json=JSON_TYPE, raw=RAW_TYPE)
        raise Refused(415, "Content-Type", say("a body of this type is not read"), got=kind or say("none"), rule=kinds)
    if not sent:
        raise Refused(400, "body", say("there is no image in the request"), hint="curl -F file=@photo.jpg URL")
    if len(sent) > 1 and not many:
        raise Refused(
            400,
            "body",
            say("expected one image"),
            got=say("{count} images", count=len(sent)),
            hint="POST /predict/batch",
        )
    return sent


def read_name(request: Request) -> str:
    """The name in a Content-Disposition header, or "image"."""
    _, _, name = request.headers.get("content-disposition", "").partition("filename=")
    return unquote(name.partition(";")[0].strip(' "'))[:200] or "image"


async def read_json_images(body: bytes, limits: Limits, access: Access, many: bool) -> list[Sent]:
    """The images in a JSON body. Raises Refused: 400, 403, 422."""
    fields = ("images", "urls") if many else ("image", "url")
    rule = say('{{"{image}": …}} in base64', image=fields[0])
    if access.allow_urls:
        rule = say('{{"{image}": …}} in base64, or {{"{url}": …}}', image=fields[0], url=fields[1])
    try:
        given = msgspec.json.decode(body, type=Body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise Refused(400, "body", say("the JSON cannot be read"), got=str(e)[:200], rule=rule) from None
    stated = {name: getattr(given, name) for name in Body.__struct_fields__ if getattr(given, name) is not None}
    if len(stated) != 1 or next(iter(stated)) not in fields:
        raise Refused(
            400, "body", say("a request names its images in one field"), got=", ".join(stated) or say("none"), rule=rule
        )
    [(name, value)] = stated.items()
    texts: list[str] = value if isinstance(value, list) else [value]
    if len(texts) > limits.images:
        raise limits.too_many(f"{len(texts)}")
    if name.startswith("image"):
        return [Sent(f"image {i}" if many else "image", decode_base64(text)) for i, text in enumerate(texts)]
    if not access.allow_urls:
        raise Refused(
            403,
            "url",
            say("this server does not fetch URLs"),
            hint=say("send the image, or start it with --allow-urls"),
        )
    return [Sent(text[:200], await fetch_address(text, limits)) for text in texts]


def decode_base64(text: str) -> bytes | DataError:
    """The bytes of base64, plain or as a data: URL."""
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return DataError("image", say("this is not base64"))


async def fetch_address(url: str, limits: Limits) -> bytes | DataError:
    try:
        return await asyncio.to_thread(fetch_image, url, limits.upload, min(10.0, limits.seconds), public=True)
    except DataError as e:
        return e
