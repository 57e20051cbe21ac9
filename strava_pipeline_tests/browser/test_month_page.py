"""The page of a month as a browser shows it: light, dark, and on a small screen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from playwright.sync_api import Browser, expect
from sqlalchemy import Engine
from werkzeug.serving import make_server

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.access.operator_sessions import new_sign_in_link
from strava_pipeline.web.operator_door import session_proof
from strava_pipeline_tests.inbox import bring_up_to_date, connect_riders
from strava_pipeline_tests.notifications.conftest import hilly_streams
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from webhook_bridge.app import create_app

pytestmark = pytest.mark.browser


@pytest.fixture
def bridge(engine: Engine, settings: Settings) -> Iterator[str]:
    """The address of a bridge with one hilly ride in June 2025, of the settings of a test."""
    assert settings
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    strava.streams[1] = hilly_streams()
    strava.add(1, datetime(2025, 6, 10, 6, 30, tzinfo=UTC), name="Over the pass and back", distance=23_992)
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    server = make_server("127.0.0.1", 0, create_app(load_settings(), engine), threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()


LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1180, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1180, "height": 900}, "color_scheme": "dark"},
    "small": {"viewport": {"width": 360, "height": 740}, "color_scheme": "light"},
}


@pytest.mark.parametrize("look", LOOKS)
def test_a_month_is_drawn_whole(bridge: str, engine: Engine, chromium: Browser, look: str) -> None:
    with engine.begin() as connection:
        link = new_sign_in_link(connection, session_proof(load_settings()))
    context = chromium.new_context(locale="en-US", timezone_id="UTC", **LOOKS[look])
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.goto(f"{bridge}/login/once/{link}")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Status").wait_for()
    page.goto(f"{bridge}/months/{RIDER}/2025-06")
    expect(page.get_by_role("heading", name="Over the pass and back")).to_be_visible()
    for name in ("Route, north up", "Elevation over the distance"):
        drawing = page.get_by_role("img", name=name)
        expect(drawing).to_be_visible()
        width, height, line = drawing.evaluate(
            "svg => [svg.clientWidth, svg.clientHeight, getComputedStyle(svg.querySelector('.line')).stroke]"
        )
        assert width > 250
        assert height > 60
        assert line.startswith("rgb(")
    # Nothing is wider than the window.
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert complaints == []
    context.close()
