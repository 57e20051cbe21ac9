"""The link in every mail: a page that asks, and a POST that ends the mails."""

from __future__ import annotations

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Engine, insert, select

from strava_pipeline.keyring import Keyring, generate_key
from strava_pipeline.notifications.unsubscribe import unsubscribe_url
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.ops_tables import users
from webhook_bridge.app import create_app

RIDER, OTHER = 1001, 1002


@pytest.fixture
def client(settings: Settings, engine: Engine) -> FlaskClient:
    with engine.begin() as connection:
        for athlete in (RIDER, OTHER):
            connection.execute(
                insert(users).values(
                    athlete_id=athlete, scopes=[], state="active", generation=1, email=f"{athlete}@example.org"
                )
            )
    return create_app(settings, engine).test_client()


@pytest.fixture
def link(keyring: Keyring) -> str:
    return unsubscribe_url("", keyring, RIDER)


def addresses(engine: Engine) -> list[str | None]:
    with engine.connect() as connection:
        return list(connection.execute(select(users.c.email).order_by(users.c.athlete_id)).scalars())


def test_a_look_changes_nothing(client: FlaskClient, engine: Engine, link: str) -> None:
    for _ in range(2):
        answer = client.get(link)
        assert answer.status_code == 200
        assert f'action="{link}"' in answer.text
        assert "Set-Cookie" not in answer.headers
    assert addresses(engine) == ["1001@example.org", "1002@example.org"]


@pytest.mark.parametrize("form", [{}, {"List-Unsubscribe": "One-Click"}])
def test_a_post_from_the_page_or_a_mail_program_ends_the_mails(
    client: FlaskClient, engine: Engine, link: str, form: dict[str, str]
) -> None:
    for _ in range(2):
        answer = client.post(link, data=form)
        assert answer.status_code == 200
        assert "no more ride summaries" in answer.text
    assert addresses(engine) == [None, "1002@example.org"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_forged_link_leads_nowhere(client: FlaskClient, engine: Engine, keyring: Keyring, method: str) -> None:
    other = Keyring.parse(generate_key())
    for token in (
        unsubscribe_url("", other, RIDER).rpartition("/")[2],
        unsubscribe_url("", keyring, RIDER).rpartition("/")[2].replace(".1001.", ".1002."),
        "x",
        "%00",
    ):
        answer = client.open(f"/mail/unsubscribe/{token}", method=method)
        assert answer.status_code == 404
        assert "does not work" in answer.text
    assert addresses(engine) == ["1001@example.org", "1002@example.org"]
