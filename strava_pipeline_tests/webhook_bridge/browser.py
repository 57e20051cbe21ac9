"""A browser without a screen: keeps cookies, sends what a form on the page would send."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

from flask import Flask
from sqlalchemy import Engine
from werkzeug.test import TestResponse

from strava_pipeline.warehouse.access.operator_sessions import open_session
from strava_pipeline.web.operator_door import cookie_name, session_proof
from webhook_bridge.current import EXTENSION, Bridge

_CSRF = re.compile(r'name="csrf" value="([0-9a-f]+)"')


@dataclass
class Browser:
    """Sends requests to an app from an address, by a host's name."""

    app: Flask
    host: str = "127.0.0.1"
    address: str = "127.0.0.1"
    scheme: str = "http"

    def __post_init__(self) -> None:
        self.client = self.app.test_client()

    def logged_in(self, engine: Engine | None = None) -> Browser:
        """The same, as the operator's: with the cookie of a session that stands in the app's database."""
        bridge: Bridge = self.app.extensions[EXTENSION]
        with (engine or bridge.engine).begin() as connection:
            secret = open_session(connection, session_proof(bridge.settings))
        self.keep(cookie_name(bridge.settings), secret)
        return self

    def keep(self, name: str, value: str) -> None:
        """Have a cookie, wherever it comes from."""
        host = urlsplit(f"//{self.host}").hostname or ""
        self.client.set_cookie(name, value, domain=host, secure=self.scheme == "https")

    def cookies(self) -> dict[str, str]:
        """What a thief could copy."""
        return {cookie.key: cookie.value for cookie in self.client._cookies.values()}  # type: ignore[union-attr]  # werkzeug's own store

    def get(self, path: str, **headers: str) -> TestResponse:
        return self._open("GET", path, headers)

    def post(self, path: str, form: dict[str, str] | None = None, **headers: str) -> TestResponse:
        """As a form of ours sends it; ``Origin=''`` leaves that header out."""
        told = {"Origin": f"{self.scheme}://{self.host}"} | headers
        return self._open("POST", path, {name: text for name, text in told.items() if text}, form or {})

    def submit(self, page: str, path: str, form: dict[str, str] | None = None) -> TestResponse:
        """Load a page, and send one of its forms."""
        return self.post(path, {"csrf": csrf_in(self.get(page))} | (form or {}))

    def press(self, path: str) -> TestResponse:
        """Load a page that a link leads to, and press its button; of a link without a page, as if there were one."""
        found = _CSRF.search(self.get(path).text) or _CSRF.search(self.get("/login").text)
        assert found is not None
        return self.post(path, {"csrf": found.group(1)})

    def _open(self, method: str, path: str, headers: dict[str, str], form: Any = None) -> TestResponse:
        return self.client.open(
            path,
            method=method,
            data=form,
            base_url=f"{self.scheme}://{self.host}",
            environ_base={"REMOTE_ADDR": self.address},
            buffered=True,
            headers={name.replace("_", "-"): text for name, text in headers.items()},
        )


def csrf_in(answer: TestResponse) -> str:
    """The token that the page's forms carry."""
    found = _CSRF.search(answer.text)
    assert found is not None, answer.text
    return found.group(1)


def words_of(answer: TestResponse) -> str:
    """What a page says, without its marks."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", re.sub(r"</?bdi>", "", answer.text))).split())


def state_in(answer: TestResponse) -> str:
    """The state in the address of Strava's consent page."""
    return parse_qs(urlsplit(answer.headers["Location"]).query)["state"][0]
