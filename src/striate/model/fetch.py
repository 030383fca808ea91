"""An image from the web: its bytes, within limits of size and time, and, for a service, from public addresses only."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import time
from contextlib import closing
from urllib.parse import urljoin, urlsplit

from ..errors import DataError
from ..language import say

LARGEST_BYTES, FETCH_SECONDS, MOST_HOPS, FETCH_BLOCK = 50_000_000, 20.0, 3, 1 << 16
REDIRECTS = (301, 302, 303, 307, 308)
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")  # IPv4 behind a translator: any address may hide in it


def is_url(text: str) -> bool:
    return text.lower().startswith(("http://", "https://"))


def fetch_image(
    url: str, largest: int = LARGEST_BYTES, seconds: float = FETCH_SECONDS, *, public: bool = False
) -> bytes:
    """The bytes at an http or https address, through at most 3 redirections.

    largest  bytes;  seconds  for all of it, looking the name up included
    public   refuse addresses that are not on the public internet: a service that fetches what strangers name must not
             reach its own network. The address that was judged is the one that is connected to, at each redirection.
    Raises DataError.
    """
    until, place = time.monotonic() + seconds, url
    try:
        for _ in range(MOST_HOPS + 1):
            found = fetch_answer(place, largest, until, public)
            if isinstance(found, bytes):
                return found
            place = urljoin(place, found)
    except TimeoutError:
        raise DataError(
            url, say("the URL did not answer in time"), rule=say("{seconds:g} seconds for all of it", seconds=seconds)
        ) from None
    except (OSError, http.client.HTTPException, ValueError) as e:
        raise DataError(url, say("the URL cannot be read: {complaint}", complaint=explain_network_error(e))) from None
    raise DataError(url, say("too many redirects"), rule=say("at most {most} redirections", most=MOST_HOPS))


def fetch_answer(url: str, largest: int, until: float, public: bool) -> bytes | str:
    """The content, or where it is said to be. Raises DataError, OSError, HTTPException, ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.password:
        raise DataError(url, say("this is not an http or https URL of an image"))
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if public and port not in (80, 443):
        raise DataError(url, say("this port is not allowed"), got=port, rule=say("80 or 443"))
    address = resolve_host(url, parts.hostname, port, public)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    asking = http.client.HTTPConnection(parts.hostname, port)
    with closing(connect_to(address, port, parts, until)) as asking.sock:
        wire = asking.sock
        asking.request("GET", path, headers={"User-Agent": "striate", "Accept": "image/*"})
        with closing(asking.getresponse()) as answer:
            return read_answer(url, answer, wire, largest, until)


def read_answer(
    url: str, answer: http.client.HTTPResponse, wire: socket.socket, largest: int, until: float
) -> bytes | str:
    """The content of an answer, or where it is said to be. Raises DataError, OSError, HTTPException."""
    if answer.status in REDIRECTS and answer.getheader("Location"):
        return str(answer.getheader("Location"))
    if answer.status != 200:
        raise DataError(
            url, say("the server answers {code} {reason}", code=answer.status, reason=answer.reason).rstrip()
        )
    found = bytearray()
    while block := answer.read1(FETCH_BLOCK):
        found += block
        if len(found) > largest:
            raise DataError(url, say("the file is too large"), rule=say("at most {largest:,} bytes", largest=largest))
        wire.settimeout(measure_time_left(until))
    expected = answer.getheader("Content-Length", "")
    if expected.isdecimal() and len(found) < int(expected):
        raise DataError(
            url,
            say("the download ended early"),
            got=say("{count:,} of {expected:,} bytes", count=len(found), expected=int(expected)),
        )
    return bytes(found)


def resolve_host(url: str, host: str, port: int, public: bool) -> str:
    """An address of the host. Raises DataError where `public` and one of its addresses is not."""
    found = {str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    if public and not all(map(is_public, found)):
        raise DataError(url, say("this URL is not on the public internet"), hint=say("send the image itself"))
    return min(found, key=lambda text: (":" in text, text))


def is_public(text: str) -> bool:
    """Whether an IP address is one that anybody may reach.

    >>> is_public("8.8.8.8"), is_public("127.0.0.1"), is_public("169.254.169.254"), is_public("::ffff:10.0.0.1")
    (True, False, False, False)
    """
    address = ipaddress.ip_address(text.split("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped or address.sixtofour or address.teredo or address in TRANSLATED:
            return False
    return address.is_global and not address.is_multicast


def connect_to(address: str, port: int, parts, until: float) -> socket.socket:
    """A connection to this very address; for https with the certificate of the name in the URL."""
    plain = socket.create_connection((address, port), timeout=measure_time_left(until))
    if parts.scheme == "http":
        return plain
    try:
        return ssl.create_default_context().wrap_socket(plain, server_hostname=parts.hostname)
    except BaseException:
        plain.close()
        raise


def measure_time_left(until: float) -> float:
    seconds = until - time.monotonic()
    if seconds <= 0:
        raise TimeoutError
    return seconds


def explain_network_error(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split())[:200]
