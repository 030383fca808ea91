"""What the service allows: how much at once, how large, how long, and to whom."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..errors import DataError, StriateError
from ..language import say
from ..model.prediction import IMAGES_A_PIECE


class Refused(StriateError):
    """A request that is not answered with a prediction: its HTTP status, and the headers that go with it."""

    def __init__(self, status: int, where: str, what: str, *, headers: dict[str, str] | None = None, **parts: Any):
        super().__init__(where, what, **parts)
        self.status, self.headers = status, headers or {}


class Sent(NamedTuple):
    """One image as it came: the name that its sender gave it, and its file's bytes or pixels, or why there are none."""

    name: str
    data: bytes | np.ndarray | DataError


@dataclass(frozen=True)
class Limits:
    """Bounds that hold for everybody, so that no request takes the service from the others.

    upload       bytes of one request
    images       of one request
    pixels       of one image, by its header, before anything is decoded
    aspect       of one image: the longer side over the shorter
    seconds      for a request, from its first byte to the answer
    queue        images taken in and not yet answered; above it the answer is 429, with Retry-After
    held         bytes of all requests at once
    connections  open at once
    batch        images of whatever requests that are computed together
    """

    upload: int = 20_000_000
    images: int = 32
    pixels: int = 50_000_000
    aspect: float = 50.0
    seconds: float = 30.0
    queue: int = 256
    held: int = 256_000_000
    connections: int = 2000
    batch: int = IMAGES_A_PIECE

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise StriateError(name, say("a limit is above 0"), got=value)
        if self.images > self.queue:
            what, rule = say("a full request would never be accepted"), say("at most queue, {queue}", queue=self.queue)
            raise StriateError("images", what, got=self.images, rule=rule)

    def too_many(self, got: str) -> Refused:
        return Refused(
            422,
            "body",
            say("too many images in one request"),
            got=got,
            rule=say("at most {images}", images=self.images),
        )


@dataclass(frozen=True)
class Access:
    """Who may ask, and for what.

    token       what a request must carry as `Authorization: Bearer TOKEN`; None asks for none
    hosts       the names that a request may call this server by in its Host header; None takes any. Against pages that
                point a name of their own at this machine (DNS rebinding)
    allow_urls  whether an image may be named by its address on the public internet
    """

    token: str | None = None
    hosts: tuple[str, ...] | None = None
    allow_urls: bool = False

    def __post_init__(self) -> None:
        if self.token is not None and (len(self.token) < 8 or not self.token.isascii() or " " in self.token):
            raise StriateError(
                "token", say("a token is 8 characters or more, ASCII, no spaces"), hint="openssl rand -hex 24"
            )


LOOPBACK = ("localhost", "127.0.0.1", "::1")


def list_usual_hosts(host: str) -> tuple[str, ...] | None:
    """The names that a server bound to `host` answers to where none are given: on this machine only, its own.

    >>> list_usual_hosts("127.0.0.1"), list_usual_hosts("0.0.0.0")
    (('localhost', '127.0.0.1', '::1'), None)
    """
    return LOOPBACK if is_loopback(host) else None


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
