"""An id for each request: in its log lines, in the answer's header, and in error bodies.

The ``X-Request-Id`` of a proxy in front is used if proxies are configured and it looks like an id.
"""

from __future__ import annotations

import re
import secrets

from flask import Flask, Response, request

from strava_pipeline.log_context import begin_log_ids, current_log_ids

HEADER = "X-Request-Id"
# In the place of an id, outside of requests.
NO_REQUEST = "-"
_PLAIN = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)


def current_request_id() -> str:
    """The id of the request that this thread works on."""
    return str(current_log_ids().get("request_id", NO_REQUEST))


def install_request_ids(app: Flask, *, behind_proxy: bool) -> None:
    """Give each request its id."""

    def begin() -> None:
        given = request.headers.get(HEADER, "") if behind_proxy else ""
        begin_log_ids(request_id=given if _PLAIN.fullmatch(given) else secrets.token_hex(8))

    def tell(response: Response) -> Response:
        response.headers[HEADER] = current_request_id()
        return response

    def end(_: BaseException | None) -> None:
        begin_log_ids()

    app.before_request(begin)
    app.after_request(tell)
    app.teardown_request(end)
