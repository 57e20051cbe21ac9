"""The mock Strava at the other end of a session of requests: no socket, but time passes on the way, and outages."""

from __future__ import annotations

import io
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from flask import Flask
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from werkzeug.test import EnvironBuilder, run_wsgi_app

from strava_pipeline.strava.http import new_session

ADDRESS = "https://strava.example.invalid"
LATENCY_S = (0.1, 0.6)
MAINTENANCE = b"<!DOCTYPE html>\n<html><body><h1>Strava is temporarily unavailable</h1></body></html>\n"


@dataclass
class SimulatedStrava:
    """The mock, the way to it, and what was sent; ``sleep`` lets time pass on the way.

    A call of OAuth takes no time: its caller holds the lock on an athlete's row meanwhile.
    """

    app: Flask
    chance: random.Random
    sleep: Callable[[float], None]
    is_away: bool = False
    sent: int = 0
    without_answer: int = 0

    def session(self, ca_bundle: Path | None = None) -> requests.Session:
        """Return a session as the product opens it, whose requests go to the mock."""
        session = new_session(ca_bundle)
        session.mount(ADDRESS, _Adapter(self))
        return session


class _Adapter(BaseAdapter):
    def __init__(self, strava: SimulatedStrava) -> None:
        super().__init__()
        self._strava = strava

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Hand one request to the mock."""
        strava = self._strava
        is_api = not urlsplit(request.url or "").path.startswith("/oauth")
        # On the way there, or on the way back: in both cases others may overtake.
        is_slow_there = strava.chance.random() < 0.5
        if is_api and is_slow_there:
            strava.sleep(strava.chance.uniform(*LATENCY_S))
        answer = self._answer(request)
        if is_api and not is_slow_there:
            strava.sleep(strava.chance.uniform(*LATENCY_S))
        return answer

    def _answer(self, request: requests.PreparedRequest) -> requests.Response:
        strava = self._strava
        strava.sent += 1
        if strava.is_away:
            strava.without_answer += 1
            if strava.chance.random() < 0.5:
                raise requests.ConnectionError("refused", request=request)
            return _response(request, 503, [("Content-Type", "text/html")], MAINTENANCE)
        builder = EnvironBuilder(
            method=request.method or "GET",
            base_url=ADDRESS,
            path=request.path_url,
            headers=list(request.headers.items()),
            data=request.body,
        )
        body, status, headers = run_wsgi_app(strava.app, builder.get_environ(), buffered=True)
        return _response(request, int(status.split()[0]), headers.items(), b"".join(body))

    def close(self) -> None:
        """There is nothing to close."""


def _response(
    request: requests.PreparedRequest, status: int, headers: Iterable[tuple[str, str]], body: bytes
) -> requests.Response:
    response = requests.Response()
    response.status_code, response.headers = status, CaseInsensitiveDict(dict(headers))
    response.raw, response.request, response.url = io.BytesIO(body), request, request.url or ""
    return response
