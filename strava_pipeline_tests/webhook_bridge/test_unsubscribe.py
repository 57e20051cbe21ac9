"""The link in every mail: a page that asks, and a POST that ends the mails."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert, select

from strava_pipeline.keyring import Keyring, generate_key
from strava_pipeline.notifications.mail_links import unsubscribe_url
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.mail.consent import Consent, confirm_address, consent_of, give_address, renew_links
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline_tests.mail_consent import with_address
from webhook_bridge.app import create_app

RIDER, OTHER = 1001, 1002


@pytest.fixture
def client(settings: Settings, engine: Engine) -> FlaskClient:
    with engine.begin() as connection:
        for athlete in (RIDER, OTHER):
            connection.execute(insert(users).values(with_address(athlete, f"{athlete}@example.org")))
    return create_app(settings, engine).test_client()


def consent(engine: Engine, athlete_id: int = RIDER) -> Consent:
    with engine.connect() as connection:
        found = consent_of(connection, athlete_id)
    assert found is not None
    return found


@pytest.fixture
def link(client: FlaskClient, engine: Engine, keyring: Keyring) -> str:
    return unsubscribe_url("", keyring, consent(engine))


def addresses(engine: Engine) -> list[str | None]:
    with engine.connect() as connection:
        return list(connection.execute(select(users.c.email).order_by(users.c.athlete_id)).scalars())


def test_a_look_changes_nothing(client: FlaskClient, engine: Engine, link: str) -> None:
    before = consent(engine)
    for method in ("GET", "HEAD", "OPTIONS", "GET"):
        answer = client.open(link, method=method)
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
    assert f'action="{link}"' in client.get(link).text
    assert consent(engine) == before


@pytest.mark.parametrize("form", [{}, {"List-Unsubscribe": "One-Click"}])
def test_a_post_from_the_page_or_a_mail_program_ends_the_mails(
    client: FlaskClient, engine: Engine, link: str, form: dict[str, str]
) -> None:
    for _ in range(2):
        answer = client.post(link, data=form)
        assert answer.status_code == 200
        assert "no more ride summaries" in answer.text
    assert addresses(engine) == [None, "1002@example.org"]
    # A look at it says the same.
    assert "no more ride summaries" in client.get(link).text


def renewed(engine: Engine) -> None:
    with engine.begin() as connection:
        assert renew_links(connection, RIDER)


def changed(engine: Engine) -> None:
    with engine.begin() as connection:
        give_address(connection, RIDER, "another@example.org")


def changed_and_confirmed(engine: Engine) -> None:
    changed(engine)
    with engine.begin() as connection:
        confirm_address(connection, consent(engine))


@pytest.mark.parametrize("taken_back", [renewed, changed, changed_and_confirmed])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_link_that_was_taken_back_says_so_and_does_nothing(
    client: FlaskClient, engine: Engine, keyring: Keyring, link: str, taken_back: object, method: str
) -> None:
    assert callable(taken_back)
    taken_back(engine)
    before = consent(engine)
    answer = client.open(link, method=method)
    assert answer.status_code == 410
    assert "This link has ended" in answer.text
    # Whether a newer mail is there nobody knows here.
    assert "or in the next one, works" in answer.text
    assert "<form" not in answer.text
    assert consent(engine) == before
    # The one in the next mail works.
    assert client.post(unsubscribe_url("", keyring, before)).status_code == 200
    assert addresses(engine) == [None, "1002@example.org"]


def test_the_link_of_the_mail_that_asked_works_after_the_confirmation(
    client: FlaskClient, engine: Engine, keyring: Keyring
) -> None:
    changed(engine)
    asked = consent(engine)
    with engine.begin() as connection:
        confirm_address(connection, asked)
    assert client.post(unsubscribe_url("", keyring, asked)).status_code == 200
    assert addresses(engine) == [None, "1002@example.org"]


def test_a_page_that_asks_does_not_sound_as_if_it_had_happened(client: FlaskClient, link: str) -> None:
    assert "Press the button to get no more ride summaries" in client.get(link).text


def test_a_link_of_before_links_had_a_nonce_leads_nowhere(client: FlaskClient, engine: Engine) -> None:
    answer = client.post("/mail/unsubscribe/k1.1001.AAAAAAAAAAAAAAAAAAAAAA")
    assert answer.status_code == 404
    assert addresses(engine) == ["1001@example.org", "1002@example.org"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_forged_link_leads_nowhere(client: FlaskClient, engine: Engine, keyring: Keyring, method: str) -> None:
    good = unsubscribe_url("", keyring, consent(engine)).rpartition("/")[2]
    for token in (
        unsubscribe_url("", Keyring.parse(generate_key()), consent(engine)).rpartition("/")[2],
        good.replace("1001.", "1002.", 1),
        f"{keyring.writing_key_id}.{good}",
        good.replace("unsubscribe-1001", "unsubscribe-1002"),
        "x",
        "%00",
        "x" * 10_000,
    ):
        answer = client.open(f"/mail/unsubscribe/{token}", method=method)
        assert answer.status_code == 404
        assert "does not work" in answer.text
    assert addresses(engine) == ["1001@example.org", "1002@example.org"]
