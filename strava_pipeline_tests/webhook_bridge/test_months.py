"""The page of an athlete's month: what it shows in each state, and to whom."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus

import pytest
from sqlalchemy import Engine, insert, update

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.retention import remove_activities_before
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.tables import activities, athletes
from strava_pipeline.warehouse.states import GrantState
from strava_pipeline_tests.erasing import disconnect_and_erase
from strava_pipeline_tests.inbox import bring_up_to_date, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn
from strava_pipeline_tests.webhook_bridge.browser import Browser, words_of
from webhook_bridge.app import create_app

TOKEN = "a-token-of-the-operator"
JUNE = f"/months/{RIDER}/2025-06"
INDOORS = {"time": {"data": [0, 1, 2]}, "watts": {"data": [100, 110, 120]}}


@pytest.fixture
def browser(settings: Settings, engine: Engine) -> Browser:
    assert settings
    return Browser(create_app(load_settings(), engine)).logged_in()


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """A connected athlete."""
    connect_riders(engine, RIDER)
    return StravaStandIn()


def add(strava: StravaStandIn, engine: Engine, number: int, day: int, **more: object) -> None:
    strava.add(number, datetime(2025, 6, day, tzinfo=UTC), **more)
    bring_up_to_date(strava.sync(engine), RIDER, number)


def shown(browser: Browser, path: str = JUNE, status: HTTPStatus = HTTPStatus.OK) -> str:
    answer = browser.get(path)
    assert answer.status_code == status
    return words_of(answer)


def test_a_month_shows_route_and_elevation_of_its_newest_activity_with_a_route(
    browser: Browser, strava: StravaStandIn, engine: Engine
) -> None:
    add(strava, engine, 1, 10)
    add(strava, engine, 2, 20, name="<b>Over</b> the pass")
    # The last one of all was on a trainer.
    strava.streams[3] = INDOORS
    add(strava, engine, 3, 25)
    page = shown(browser)
    assert f"June 2025 athlete {RIDER}" in page
    assert "3 activities are stored" in page
    assert "The newest with a route: <b>Over</b> the pass" in page
    assert "Elevation over the distance, from 0 m to 9 m" in page
    html = browser.get(JUNE).text
    assert "<b>" not in html
    assert html.count("<svg") == 2


@pytest.mark.usefixtures("strava")
def test_an_empty_month_says_so(browser: Browser) -> None:
    assert "No activity of this month is stored." in shown(browser)


def test_a_month_without_a_route_says_so(browser: Browser, strava: StravaStandIn, engine: Engine) -> None:
    strava.streams[1] = INDOORS
    add(strava, engine, 1, 10)
    page = shown(browser)
    assert "1 activity is stored." in page
    assert "None of them has a route" in page


def test_a_route_without_altitude_says_so(browser: Browser, strava: StravaStandIn, engine: Engine) -> None:
    strava.streams[1] = {
        "time": {"data": [0, 1, 2]},
        "latlng": {"data": [[48.2, 16.3], [48.201, 16.3], [48.202, 16.301]]},
    }
    add(strava, engine, 1, 10)
    assert "No altitude was recorded." in shown(browser)
    assert browser.get(JUNE).text.count("<svg") == 1


def test_units_are_the_athletes(browser: Browser, strava: StravaStandIn, engine: Engine) -> None:
    add(strava, engine, 1, 10)
    with engine.begin() as connection:
        values = {"id": RIDER, "measurement_preference": "feet", "fetched_at": datetime(2025, 6, 1, tzinfo=UTC)}
        connection.execute(insert(athletes).values(values))
    assert "from 0 ft to 30 ft" in shown(browser)


def test_what_went_from_the_tables_is_shown_no_more(browser: Browser, strava: StravaStandIn, engine: Engine) -> None:
    add(strava, engine, 1, 10, name="To the sea")
    assert "To the sea" in shown(browser)
    remove_activities_before(engine, datetime(2025, 7, 1, tzinfo=UTC))
    assert "To the sea" not in shown(browser)


def test_an_athlete_who_left_is_told_apart_from_one_who_never_came(
    browser: Browser, strava: StravaStandIn, engine: Engine
) -> None:
    add(strava, engine, 1, 10)
    with engine.begin() as connection:
        connection.execute(update(users).values(state=GrantState.REVOKED))
    assert "these data were kept, or are being deleted." in shown(browser)
    disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.OPERATOR, cause="test")
    assert "the athlete has disconnected, and their data were deleted" in shown(browser)
    assert "Athlete 2002 has never connected here." in shown(browser, "/months/2002/2025-06", HTTPStatus.NOT_FOUND)


@pytest.mark.parametrize("month", ["2025-13", "2025-6", "9999-12", "0000-01", "x"])
@pytest.mark.usefixtures("strava")
def test_what_is_no_month_is_no_page(browser: Browser, month: str) -> None:
    assert "An address of a month ends like 2024-05." in shown(
        browser, f"/months/{RIDER}/{month}", HTTPStatus.NOT_FOUND
    )


def test_only_the_operator_sees_it(settings: Settings, strava: StravaStandIn, engine: Engine) -> None:
    assert settings
    add(strava, engine, 1, 10)
    answer = Browser(create_app(load_settings(), engine)).get(JUNE)
    assert answer.status_code == HTTPStatus.SEE_OTHER
    assert answer.headers["Location"] == "/login"


def test_the_login_leads_to_the_month_that_was_asked_for(
    settings: Settings, strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings
    monkeypatch.setenv("STRAVA_OPERATOR_TOKEN", TOKEN)
    add(strava, engine, 1, 10)
    for paths in ((JUNE,), (JUNE, "/months/1001/2025-07")):
        browser = Browser(create_app(load_settings(), engine))
        for path in paths:
            browser.get(path)
        answer = browser.submit("/login", "/login", {"token": TOKEN})
        assert answer.headers["Location"] == paths[-1]
    fresh = Browser(create_app(load_settings(), engine)).submit("/login", "/login", {"token": TOKEN})
    assert fresh.headers["Location"] == "/"


def test_another_athletes_activities_are_not_shown(browser: Browser, strava: StravaStandIn, engine: Engine) -> None:
    connect_riders(engine, 2002)
    add(strava, engine, 1, 10)
    with engine.begin() as connection:
        connection.execute(update(activities).values(athlete_id=2002))
    assert "No activity of this month is stored." in shown(browser)
