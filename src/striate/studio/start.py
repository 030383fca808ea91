"""Starting the studio: a free port, a token, and the address for the user."""

from __future__ import annotations

import secrets
import socket
import sys
import webbrowser
from contextlib import suppress
from pathlib import Path

from ..errors import StriateError
from . import runs


def studio(given: list[Path], port: int = 0, browser: bool = True) -> None:
    """Serve the studio of these run folders, or of all under runs/, until Ctrl-C; the address goes to stdout.

    port  0 takes a free one
    Raises ModelError for what is no run folder, StriateError where the extra `striate[studio]` is missing.
    """
    try:
        import uvicorn

        from .server import HOST, app
    except ImportError:
        hint = 'pip install "striate[studio]"'
        raise StriateError("studio", "the web server is not installed", hint=hint) from None
    runs.folders(given)
    token = secrets.token_urlsafe(24)
    # Named TCP, or asyncio leaves Nagle's algorithm on and a lone answer waits some 40 ms.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((HOST, port))
            listening.listen()  # from here on a browser waits for the answer instead of being refused
        except OSError as e:
            what = f"cannot listen on this port: {(e.strerror or str(e)).lower()}"
            raise StriateError("--port", what, got=port, hint="--port 0 takes a free one") from None
        port = listening.getsockname()[1]
        address = f"http://{HOST}:{port}/{token}/"
        print(address, flush=True)
        print("Ctrl-C stops it", file=sys.stderr)
        config = uvicorn.Config(app(given, token, port), log_level="warning", access_log=False, ws="none")
        if browser:
            webbrowser.open(address)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listening])
