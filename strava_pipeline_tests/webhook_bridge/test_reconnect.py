"""The link in the mail about a grant's end: lets one athlete connect, and nobody else."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, func, insert, select, update
from werkzeug.test import TestResponse

from strava_pipeline.keyring import Keyring, generate_key
from strava_pipeline.notifications.mail_links import ReconnectLink, reconnect_url
from strava_pipeline.redaction import redact
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.schema.access_tables import invites
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline_tests.mail_consent import with_address
from strava_pipeline_tests.strava.loopback import Loopback, Reply, reply
from strava_pipeline_tests.webhook_bridge.browser import Browser, state_in, words_of
from webhook_bridge.app import create_app

RIDER, OTHER = 1001, 1002
ALL = "read,activity:read_all,profile:read_all"


def tokens(athlete: int) -> Reply:
    body = {"access_token": f"access-{athlete}", "refresh_token": f"refresh-{athlete}", "expires_at": 4102444800}
    return reply(body | {"athlete": {"id": athlete, "firstname": "Mira"}})


@pytest.fixture
def strava(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with Loopback() as loopback:
        monkeypatch.setenv("STRAVA_OAUTH_URL", f"{loopback.url}/oauth")
        loopback.answers(tokens(RIDER))
        yield loopback


@pytest.fixture
def browser(strava: Loopback, engine: Engine) -> Browser:
    with engine.begin() as connection:
        gone = with_address(RIDER, "mira@example.org") | {"state": "needs_reauth", "generation": 4}
        connection.execute(insert(users).values(gone))
    return Browser(create_app(load_settings(), engine), address="203.0.113.7")


def link_to(keyring: Keyring, *, generation: int = 4, days: float = 30) -> str:
    return reconnect_url("", keyring, ReconnectLink(RIDER, generation, int(time.time() + days * 86_400)))


@pytest.fixture
def link(keyring: Keyring) -> str:
    return link_to(keyring)


def connect(browser: Browser) -> TestResponse:
    state = state_in(browser.get("/oauth/connect"))
    return browser.get(f"/oauth/callback?state={state}&code=c&scope={ALL}")


def states(engine: Engine) -> list[tuple[int, str]]:
    with engine.connect() as connection:
        return [tuple(row) for row in connection.execute(select(users.c.athlete_id, users.c.state))]


def test_the_link_leads_to_the_page_and_connects_its_athlete(browser: Browser, engine: Engine, link: str) -> None:
    answer = browser.get(link)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/connect")
    assert "Connect with Strava" in words_of(browser.get("/connect"))
    assert connect(browser).headers["Location"] == "/oauth/connected"
    assert states(engine) == [(RIDER, "active")]
    # The address and its consent stay.
    with engine.connect() as connection:
        assert connection.execute(select(users.c.email_confirmed_at)).scalar_one() is not None


def test_the_link_is_of_no_use_to_another_athlete(
    browser: Browser, engine: Engine, strava: Loopback, link: str
) -> None:
    strava.answers(tokens(OTHER))
    browser.get(link)
    assert connect(browser).status_code == 410
    assert states(engine) == [(RIDER, "needs_reauth")]


def test_programs_that_follow_the_link_use_nothing_up(browser: Browser, engine: Engine, link: str) -> None:
    for _ in range(3):
        Browser(browser.app).get(link)
    browser.get(link)
    assert connect(browser).status_code == 303
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(invites)).scalar_one() == 1


def test_the_operators_page_lists_no_link_that_waits_for_its_athlete(browser: Browser, link: str) -> None:
    browser.get(link)
    assert "Link made" not in words_of(Browser(browser.app).logged_in().get("/"))


def test_a_connected_athlete_has_nothing_to_do(browser: Browser, link: str) -> None:
    browser.get(link)
    connect(browser)
    answer = Browser(browser.app).get(link)
    assert answer.status_code == 200
    assert "You are connected" in words_of(answer)


def test_a_link_of_an_earlier_end_or_one_too_old_has_ended(
    browser: Browser, engine: Engine, keyring: Keyring, link: str
) -> None:
    assert browser.get(link_to(keyring, generation=3)).status_code == 410
    assert browser.get(link_to(keyring, days=-0.1)).status_code == 410
    with engine.begin() as connection:
        connection.execute(update(users).values(state="revoked"))
    assert browser.get(link).status_code == 410
    assert browser.get("/connect").status_code == 403


def test_a_forged_link_is_refused(browser: Browser, keyring: Keyring, link: str) -> None:
    forged = reconnect_url("", Keyring.parse(generate_key()), ReconnectLink(RIDER, 4, 4102444800))
    for bad in (forged, link[:-1], link.replace(".4.", ".5."), "/mail/reconnect/x", f"{link}.x"):
        assert browser.get(bad).status_code == 404
    assert browser.get("/connect").status_code == 403


def test_no_log_shows_the_link(link: str) -> None:
    assert link.rpartition("/")[2] not in redact(f"GET {link} 303")
