"""The operator's login in a browser: by a link, on this machine's address whatever the public one is, until logout."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from flask import Flask
from playwright.sync_api import Browser, expect
from sqlalchemy import Engine
from werkzeug.serving import make_server

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.access.operator_sessions import new_sign_in_link
from strava_pipeline.web.operator_door import cookie_name, session_proof
from strava_pipeline_tests.browser.screenshots import Screenshots
from strava_pipeline_tests.conftest import OPERATOR_TOKEN
from webhook_bridge.app import create_app

pytestmark = pytest.mark.browser


@contextmanager
def served(app: Flask) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()


@pytest.fixture
def serve(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Serves the pages of a bridge with this public address; gives its own."""
    with ExitStack() as stack:

        def start(public_url: str) -> str:
            monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", public_url)
            return stack.enter_context(served(create_app(load_settings(), engine)))

        yield start


def new_link(engine: Engine) -> str:
    with engine.begin() as connection:
        return f"/login/once/{new_sign_in_link(connection, session_proof(load_settings()))}"


@pytest.mark.parametrize("public_url", ["", "https://rides.example.org"])
def test_a_link_logs_in_on_this_machine_until_logout(
    serve: Callable[[str], str], engine: Engine, chromium: Browser, screenshots: Screenshots, public_url: str
) -> None:
    url = serve(public_url)
    link = f"{url}{new_link(engine)}"
    context = chromium.new_context(viewport={"width": 900, "height": 500})
    page = context.new_page()
    page.goto(url)
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    screenshots.take(page, "login")
    page.goto(link)
    screenshots.take(page, "sign_in")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Status")).to_be_visible()
    cookies = {cookie["name"]: cookie for cookie in context.cookies()}
    held = cookies[cookie_name(load_settings())]
    assert (held["httpOnly"], held["sameSite"], held["path"]) == (True, "Lax", "/")
    assert held["secure"] == bool(public_url)
    page.reload()
    expect(page.get_by_role("heading", name="Status")).to_be_visible()

    thief = chromium.new_context(extra_http_headers={"Cookie": f"{held['name']}={held['value']}"})
    stolen = thief.new_page()
    stolen.goto(url)
    expect(stolen.get_by_role("heading", name="Status")).to_be_visible()
    page.get_by_role("button", name="Log out", exact=True).click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    stolen.reload()
    expect(stolen.get_by_role("heading", name="Log in")).to_be_visible()

    page.goto(link)
    expect(page.get_by_role("heading", name="does not log in any more")).to_be_visible()
    screenshots.take(page, "used_up")
    page.goto(url)
    page.get_by_label("Operator's token").fill(OPERATOR_TOKEN)
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("heading", name="Status")).to_be_visible()
    page.get_by_label("for how many people").fill("3")
    page.get_by_role("button", name="Make a link").click()
    link_made = page.get_by_label("Copy this link").input_value()
    assert link_made.startswith(f"{public_url or url}/connect?invite=")
    screenshots.take_whole(page, "links")
    context.close()
    thief.close()
