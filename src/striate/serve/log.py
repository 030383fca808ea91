"""Logs as JSON, a line an event, on stderr: what was asked and how it went, never what an image shows or a token."""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from typing import Any

LOG = logging.getLogger("striate.serve")


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time (UTC), level, event, and the fields that were given with it."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"
        line: dict[str, Any] = {"time": stamp, "level": record.levelname.lower(), "event": record.getMessage()}
        line |= getattr(record, "fields", {})
        if record.exc_info and record.exc_info[0]:
            line["error"] = "".join(traceback.format_exception(*record.exc_info))[-4000:]
        return json.dumps(line, ensure_ascii=False)


def log_as_json() -> None:
    """Have the service and uvicorn write JSON lines to stderr."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonLines())
    for name, level in {"striate.serve": logging.INFO, "uvicorn": logging.WARNING}.items():
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [handler], False
        logger.setLevel(level)


def log_event(name: str, level: int = logging.INFO, **fields: Any) -> None:
    LOG.log(level, name, extra={"fields": fields})
