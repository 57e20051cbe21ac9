"""An id for each request: in its log lines, in the answer's header, and in error bodies.

The ``X-Request-Id`` of a proxy in front is used if proxies are configured and it looks like an id.
"""

from __future__ import annotations

import logging
import re
import secrets
import sys
from contextvars import ContextVar

from flask import Flask, Response, request

from strava_pipeline.redaction import LogFormat
from webhook_bridge.log_writer import LogWriter

HEADER = "X-Request-Id"
LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s [%(request_id)s]: %(message)s"
# For log lines that belong to no request, such as the dispatcher's.
NO_REQUEST = "-"
_PLAIN = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_current: ContextVar[str] = ContextVar("request_id", default=NO_REQUEST)


def current_request_id() -> str:
    """The id of the request that this thread works on."""
    return _current.get()


def install_request_ids(app: Flask, *, behind_proxy: bool) -> None:
    """Give each request its id."""

    def begin() -> None:
        given = request.headers.get(HEADER, "") if behind_proxy else ""
        _current.set(given if _PLAIN.fullmatch(given) else secrets.token_hex(8))

    def tell(response: Response) -> Response:
        response.headers[HEADER] = _current.get()
        return response

    def end(_: BaseException | None) -> None:
        _current.set(NO_REQUEST)

    app.before_request(begin)
    app.after_request(tell)
    app.teardown_request(end)


def log_with_request_ids(level: str = "INFO") -> None:
    """Log to stderr from this level up, each line with the id of its request."""
    handler = LogWriter(sys.stderr)
    handler.setFormatter(LogFormat(LOG_FORMAT))
    handler.addFilter(_add_request_id)
    logging.basicConfig(level=level, handlers=[handler])


def _add_request_id(record: logging.LogRecord) -> bool:
    record.request_id = _current.get()
    return True
