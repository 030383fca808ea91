"""uvicorn's HTTP with bounds: on connections, on the time of a request's head, on the number of a body's chunks."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..errors import DataError
from ..language import say
from .settings import Limits

HEAD_SECONDS = 10.0
# How long what a refused client still sends is read and dropped, so that it comes to reading the answer.
LINGER_SECONDS = 2.0
# So many chunks of a body are taken however small; beyond them a chunk for each 256 bytes. Each costs this process 10
# to 20 µs, one byte or a thousand: 200,000 of one byte took it 3.5 s.
CHUNKS, CHUNK = 10_000, 256
FULL_ANSWER = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def refuse_malformed() -> DataError:
    return DataError("request", say("this is not an HTTP/1.1 request"))


def refuse_small_chunks() -> DataError:
    return DataError(
        "body",
        say("the body comes in too many small chunks"),
        rule=say("at most {chunks:,}, and one more for each {size} bytes", chunks=CHUNKS, size=CHUNK),
        hint=say("send its Content-Length, or chunks of some kilobytes"),
    )


class Connection(h11.Connection):
    """h11's connection, which counts the chunks of a body. `small` says that there were too many of them."""

    chunks = bytes = 0
    small = False

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            self.chunks = self.bytes = 0
        elif isinstance(event, h11.Data) and event.chunk_end:
            self.chunks += 1
            self.bytes += len(event.data)
            if self.chunks > CHUNKS + self.bytes // CHUNK:
                self.small = True
                raise h11.RemoteProtocolError(refuse_small_chunks().what, error_status_hint=400)
        return event


def make_protocol(limits: Limits) -> type[H11Protocol]:
    """uvicorn's protocol within `limits`."""

    class Bounded(H11Protocol):
        waiting: asyncio.TimerHandle | None = None
        dropped: int | None = None

        def __init__(self, config: uvicorn.Config, *given: Any, **named: Any) -> None:
            super().__init__(config, *given, **named)
            largest = config.h11_max_incomplete_event_size
            self.conn = Connection(h11.SERVER, **({} if largest is None else {"max_incomplete_event_size": largest}))

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            if len(self.connections) > limits.connections:
                transport.write(FULL_ANSWER)
                transport.close()
            else:
                self.watch()

        def data_received(self, data: bytes) -> None:
            if self.dropped is None:
                super().data_received(data)
                self.watch()
                return
            self.dropped += len(data)
            if self.dropped > 2 * limits.upload:
                self.transport.close()

        def connection_lost(self, exc: Exception | None) -> None:
            self.unwatch()
            super().connection_lost(exc)

        def watch(self) -> None:
            """Time runs while no request is under way; the idle time after one is uvicorn's own affair."""
            if self.conn.their_state is not h11.IDLE:
                self.unwatch()
            elif self.waiting is None:
                self.waiting = self.loop.call_later(min(HEAD_SECONDS, limits.seconds), self.too_slow)

        def unwatch(self) -> None:
            if self.waiting is not None:
                self.waiting.cancel()
                self.waiting = None

        def too_slow(self) -> None:
            self.waiting = None
            if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
                self.transport.close()

        def send_400_response(self, msg: str) -> None:
            """Say what is wrong unless an answer is under way, and drop what still comes."""
            if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                fault = refuse_small_chunks() if self.conn.small else refuse_malformed()  # type: ignore[attr-defined]
                self.transport.write(refuse_bad_request(fault))
            if self.cycle is not None:  # the application is told that its client is gone
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            self.dropped = 0
            self.flow.resume_reading()
            if self.transport.can_write_eof():
                self.transport.write_eof()
            self.loop.call_later(LINGER_SECONDS, self.transport.close)

    return Bounded


def refuse_bad_request(error: DataError) -> bytes:
    body = json.dumps(error.as_dict(), ensure_ascii=False).encode()
    head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n"
    return f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode() + body
