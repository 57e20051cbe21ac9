"""The link that confirms an address: a page that asks, and a POST that lets mails go there."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert, update
from werkzeug.test import TestResponse

from strava_pipeline.keyring import Keyring, generate_key
from strava_pipeline.notifications.mail_links import confirm_url
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.mail.consent import Consent, consent_of, end_mails, give_address, renew_links
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline_tests.erasing import disconnect_and_erase
from strava_pipeline_tests.mail_consent import with_address
from strava_pipeline_tests.webhook_bridge.browser import csrf_in
from webhook_bridge.app import create_app

RIDER, OTHER = 1001, 1002


@pytest.fixture
def client(settings: Settings, engine: Engine) -> FlaskClient:
    with engine.begin() as connection:
        for athlete in (RIDER, OTHER):
            connection.execute(
                insert(users).values(with_address(athlete, f"{athlete}@example.org", is_confirmed=False))
            )
    return create_app(settings, engine).test_client()


def press(client: FlaskClient, link: str, seen: str = "") -> TestResponse:
    """Press the button on a link's page, or that of a page ``seen`` before where the link has none any more."""
    form = {"csrf": csrf_in(client.get(seen or link))}
    return client.post(link, data=form, headers={"Origin": "http://localhost"})


def opened(client: FlaskClient, link: str, method: str) -> TestResponse:
    """The answer to a link, or to its button."""
    return client.get(link) if method == "GET" else press(client, link, seen="/login")


def consent(engine: Engine, athlete_id: int = RIDER) -> Consent | None:
    with engine.connect() as connection:
        return consent_of(connection, athlete_id)


@pytest.fixture
def link(client: FlaskClient, engine: Engine, keyring: Keyring) -> str:
    found = consent(engine)
    assert found is not None
    return confirm_url("", keyring, found)


def confirmed(engine: Engine) -> list[int]:
    found = (consent(engine, athlete) for athlete in (RIDER, OTHER))
    return [each.athlete_id for each in found if each is not None and each.confirmed_at is not None]


def test_a_look_changes_nothing(client: FlaskClient, engine: Engine, link: str) -> None:
    before = consent(engine)
    for method in ("GET", "HEAD", "OPTIONS", "GET"):
        answer = client.open(link, method=method)
        assert answer.status_code == 200
    answer = client.get(link)
    assert f'action="{link}"' in answer.text
    # Whoever has the link learns nothing of the address from it.
    assert "example.org" not in answer.text
    assert consent(engine) == before


def test_the_page_is_as_strict_as_the_others(client: FlaskClient, link: str) -> None:
    for answer in (client.get(link), press(client, link)):
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "script-src" not in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Frame-Options"] == "DENY"


def test_the_button_confirms_and_a_second_time_says_so(client: FlaskClient, engine: Engine, link: str) -> None:
    assert client.post(link).status_code == 403
    assert confirmed(engine) == []
    answer = press(client, link)
    assert (answer.status_code, confirmed(engine)) == (200, [RIDER])
    assert "Your address is confirmed" in answer.text
    before = consent(engine)
    for method in ("POST", "GET"):
        answer = opened(client, link, method)
        assert answer.status_code == 200
        assert "was confirmed before" in answer.text
    assert consent(engine) == before


@pytest.mark.parametrize("methods", [["POST"], ["POST", "GET"], ["POST", "POST"]])
def test_who_has_confirmed_can_end_the_mails_right_there(
    client: FlaskClient, engine: Engine, link: str, methods: list[str]
) -> None:
    page = [opened(client, link, method) for method in methods][-1].text
    way_out = page.partition('href="/mail/unsubscribe/')[2].partition('"')[0]
    assert client.post(f"/mail/unsubscribe/{way_out}").status_code == 200
    assert consent(engine) is None


def test_whoever_holds_the_mail_that_asked_gets_no_link_once_all_were_taken_back(
    client: FlaskClient, engine: Engine, link: str
) -> None:
    press(client, link)
    with engine.begin() as connection:
        renew_links(connection, RIDER)
    for method in ("GET", "POST"):
        answer = opened(client, link, method)
        assert answer.status_code == 404
        assert "/mail/unsubscribe/" not in answer.text


def changes(engine: Engine) -> None:
    with engine.begin() as connection:
        give_address(connection, RIDER, "another@example.org")


def ends(engine: Engine) -> None:
    with engine.begin() as connection:
        end_mails(connection, RIDER, f"unsubscribe-{RIDER}")


def leaves(engine: Engine) -> None:
    disconnect_and_erase(engine, RIDER, keep_data=True, actor=Actor.ATHLETE, cause="left")


def comes_back(engine: Engine) -> None:
    leaves(engine)
    with engine.begin() as connection:
        give_address(connection, RIDER, f"{RIDER}@example.org")


@pytest.mark.parametrize("meanwhile", [changes, ends, leaves, comes_back])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_link_of_an_address_that_was_replaced_or_erased_is_void(
    client: FlaskClient, engine: Engine, link: str, meanwhile: Callable[[Engine], None], method: str
) -> None:
    meanwhile(engine)
    before = consent(engine)
    answer = opened(client, link, method)
    assert answer.status_code == 404
    assert "does not work" in answer.text
    assert consent(engine) == before
    assert confirmed(engine) == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_link_is_good_for_a_week(client: FlaskClient, engine: Engine, keyring: Keyring, method: str) -> None:
    with engine.begin() as connection:
        given_at = datetime.now(UTC) - timedelta(days=7, seconds=1)
        connection.execute(update(users).values(email_given_at=given_at))
    late = consent(engine)
    assert late is not None
    answer = opened(client, confirm_url("", keyring, late), method)
    assert answer.status_code == 410
    assert "too old" in answer.text
    assert confirmed(engine) == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_forged_link_confirms_nothing(
    client: FlaskClient, engine: Engine, keyring: Keyring, link: str, method: str
) -> None:
    good, found = link.rpartition("/")[2], consent(engine)
    assert found is not None
    athlete, nonce, expires_at, mac = good.split(".")
    for token in (
        confirm_url("", Keyring.parse(generate_key()), found).rpartition("/")[2],
        ".".join((str(OTHER), nonce, expires_at, mac)),
        ".".join((str(OTHER), f"email-{OTHER}", expires_at, mac)),
        ".".join((athlete, nonce, str(int(expires_at) + 1), mac)),
        ".".join(("9" * 18, nonce, expires_at, mac)),
        ".".join(("9" * 5000, nonce, expires_at, mac)),
        f"{keyring.writing_key_id}.{good}",
        f"{keyring.writing_key_id}.{athlete}.{nonce}.{expires_at}.{mac[:22]}",
        "x",
        "%00",
        "x" * 10_000,
    ):
        answer = opened(client, f"/mail/confirm/{token}", method)
        assert answer.status_code == 404
        assert "does not work" in answer.text
    assert confirmed(engine) == []
