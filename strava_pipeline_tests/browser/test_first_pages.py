"""What an operator sees who begins: an empty page, the way to Strava and back, and a link for somebody else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect
from sqlalchemy import Engine

from strava_pipeline.mock_strava.app import create_mock
from strava_pipeline.mock_strava.athletes import CYCLIST
from strava_pipeline.mock_strava.config import MockConfig
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.access.operator_sessions import new_sign_in_link
from strava_pipeline.web.operator_door import session_proof
from strava_pipeline_tests.browser.screenshots import Screenshots
from strava_pipeline_tests.placed import PlacedLoopback
from strava_pipeline_tests.served_apps import served
from strava_pipeline_tests.strava.loopback import reply
from webhook_bridge.app import create_app

pytestmark = pytest.mark.browser


@pytest.fixture
def address(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A link that logs in to a bridge without athletes, beside a mock Strava and a Dagster that has nothing to do."""
    assert settings.client_secret
    mock = create_mock(
        MockConfig(client_id=settings.client_id, client_secret=settings.client_secret.get_secret_value(), months=1)
    )
    with PlacedLoopback() as dagster, served(mock) as strava:
        dagster.answers(reply({"data": {"answer": {"__typename": "Repository", "schedules": [], "sensors": []}}}))
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", dagster.url)
        monkeypatch.setenv("STRAVA_API_URL", f"http://127.0.0.1:{strava}/api/v3")
        monkeypatch.setenv("STRAVA_OAUTH_URL", f"http://127.0.0.1:{strava}/oauth")
        with engine.begin() as connection:
            link = new_sign_in_link(connection, session_proof(load_settings()))
        with served(create_app(load_settings(), engine)) as bridge:
            yield f"http://127.0.0.1:{bridge}/login/once/{link}"


@pytest.fixture
def page(address: str, chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(viewport={"width": 1000, "height": 1200}, locale="en-US", timezone_id="UTC")
    page = context.new_page()
    page.goto(address)
    yield page
    context.close()


def card(page: Page) -> Locator:
    return page.locator(".card").first


def authorize(page: Page, *, without: str | None = None) -> None:
    """Allow access on the mock's consent page, but for one permission."""
    expect(page.get_by_role("heading", name="Mock Strava")).to_be_visible()
    page.get_by_label("Athlete").select_option(str(CYCLIST.athlete_id))
    if without is not None:
        page.get_by_label(without).uncheck()
    page.get_by_role("button", name="Authorize").click()
    expect(page.get_by_role("heading", name="Connected", exact=True)).to_be_visible()


def test_first_pages_lead_to_a_connected_athlete(page: Page, screenshots: Screenshots) -> None:
    screenshots.take(page, "login-link", only=card(page))
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_text("Nobody is connected yet")).to_be_visible()
    screenshots.take(page, "nobody-connected", above=page.get_by_role("heading", name="Dead letters"))

    page.get_by_role("link", name="Connect with Strava").click()
    expect(page.get_by_role("heading", name="Connect with Strava")).to_be_visible()
    screenshots.take(page, "connect", only=card(page))
    page.get_by_role("button", name="Connect with Strava").click()
    authorize(page, without="profile:read_all")
    expect(page.get_by_text("Weight, FTP, zones and gear are missing")).to_be_visible()
    screenshots.take(page, "connected-lacking", only=card(page))

    page.get_by_role("link", name="Try again").click()
    page.get_by_role("button", name="Connect with Strava").click()
    authorize(page)
    expect(page.get_by_text("Not everything was allowed")).to_have_count(0)
    screenshots.take(page, "connected", only=card(page))
    page.get_by_role("link", name="To the status page").click()
    row = page.get_by_role("row").filter(has_text=str(CYCLIST.athlete_id))
    expect(row).to_contain_text("connected")
    expect(row.get_by_role("button", name="Pause the import")).to_be_visible()
    screenshots.take(page, "just-connected", only=page.locator("section[aria-labelledby=athletes]"))


def test_first_pages_have_a_link_for_somebody_else(page: Page, screenshots: Screenshots) -> None:
    page.get_by_role("button", name="Log in").click()
    page.get_by_label("for how many people").fill("3")
    page.get_by_role("button", name="Make a link for somebody else").click()
    expect(page.get_by_label("Copy this link")).to_have_value(re.compile(r"/connect\?invite=\S+$"))
    screenshots.take(page, "invitation", only=page.locator("#connect"))
