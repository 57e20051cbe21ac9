"""A stranger who comes by a forwarder is as far from the operator's page as one who comes straight."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Self

import pytest
import requests
from sqlalchemy import Engine, func, select

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.access.operator_sessions import new_sign_in_link, open_session
from strava_pipeline.warehouse.athletes.invites import new_invite
from strava_pipeline.warehouse.schema.access_tables import invites, operator_audit, operator_sessions
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.web.operator_door import invite_proof, session_proof
from strava_pipeline_tests.conftest import OPERATOR_TOKEN
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.webhook_bridge.deliveries import RIDER
from strava_pipeline_tests.webhook_bridge.forwarders import http_forwarder, tcp_forwarder
from webhook_bridge.bad_requests import PER_MINUTE

Bridge = tuple[subprocess.Popen[str], int]
Forwarder = Callable[[int], AbstractContextManager[int]]

forwarded = pytest.mark.parametrize("forwarder", [tcp_forwarder, http_forwarder])


class Person:
    """Sends requests through a forwarder, by a name of this machine."""

    def __init__(self, port: int, host: str = "localhost") -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.session = requests.Session()
        self.session.headers.update({"Host": host, "Sec-Fetch-Site": "same-origin"})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.session.close()

    def get(self, path: str) -> requests.Response:
        return self.session.get(f"{self.url}{path}", timeout=PATIENCE_SECONDS, allow_redirects=False)

    def post(self, path: str, **form: str) -> requests.Response:
        return self.session.post(f"{self.url}{path}", data=form, timeout=PATIENCE_SECONDS, allow_redirects=False)

    def csrf(self, page: str) -> str:
        found = re.search(r'name="csrf" value="([0-9a-f]+)"', self.get(page).text)
        assert found is not None
        return found[1]


@forwarded
@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "localhost:8080", "[::1]"])
def test_a_stranger_gets_no_page_makes_no_link_and_ends_no_grant(
    bridge: Bridge, engine: Engine, forwarder: Forwarder, host: str
) -> None:
    with forwarder(bridge[1]) as port, Person(port, host) as stranger:
        answer = stranger.get("/")
        assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
        for path in ("/connect", "/oauth/connect"):
            assert stranger.get(path).status_code == 403
        csrf = stranger.csrf("/login")
        for path in ("/invites", "/oauth/disconnect", "/dead-letters/replay", "/logout/everywhere"):
            assert stranger.post(path, csrf=csrf, athlete=str(RIDER)).status_code == 403
    with engine.connect() as connection:
        assert connection.execute(select(users.c.state)).scalars().all() == ["active"]
        for table in (invites, operator_audit):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0


@forwarded
def test_strangers_behind_a_forwarder_do_not_lock_the_operator_out(
    bridge: Bridge, engine: Engine, forwarder: Forwarder
) -> None:
    with engine.begin() as connection:
        link = new_sign_in_link(connection, session_proof(load_settings()))
    with (
        forwarder(bridge[1]) as port,
        Person(port) as stranger,
        Person(port) as other,
        Person(bridge[1]) as operator,
    ):
        csrf = stranger.csrf("/login")
        told = [stranger.post("/login", csrf=csrf, token=f"guess {number}").status_code for number in range(70)]
        assert told == [401] * PER_MINUTE + [429] * 10
        for number in range(PER_MINUTE):
            stranger.get(f"/image-{number}.png")
        assert operator.post("/login", csrf=operator.csrf("/login"), token=OPERATOR_TOKEN).status_code == 303
        assert operator.get("/").status_code == 200
        assert other.post(f"/login/once/{link}", csrf=other.csrf(f"/login/once/{link}")).status_code == 303
        assert other.get("/").status_code == 200


def test_nothing_of_a_sign_in_link_stands_in_the_log(bridge: Bridge, engine: Engine) -> None:
    process, port = bridge
    with engine.begin() as connection:
        link = new_sign_in_link(connection, session_proof(load_settings()))
    with Person(port) as person:
        path = f"/login/once/{link}"
        csrf = person.csrf(path)
        policies = [answer.headers["Referrer-Policy"] for answer in (person.post(path, csrf=csrf), person.get(path))]
    assert policies == ["no-referrer"] * 2
    process.terminate()
    _, log = process.communicate(timeout=PATIENCE_SECONDS)
    assert link not in log


@pytest.fixture
def old_sessions(engine: Engine, settings: Settings) -> None:
    """One of another token, and one of this; so of links to connect by."""
    with engine.begin() as connection:
        for proof in ("of another token", invite_proof(settings)):
            new_invite(connection, proof)
        for proof in ("of another token", session_proof(settings)):
            open_session(connection, proof)


def test_a_start_with_another_token_ends_sessions_and_links_for_good(
    engine: Engine, old_sessions: None, bridge: Bridge
) -> None:
    with engine.connect() as connection:
        proofs = connection.execute(select(operator_sessions.c.proof)).scalars().all()
        of_links = connection.execute(select(invites.c.proof)).scalars().all()
    assert proofs == [session_proof(load_settings())]
    assert of_links == [invite_proof(load_settings())]
