"""A loopback server, and the API's client in front of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
import requests

from strava_pipeline.settings import Settings
from strava_pipeline.strava import http, transport
from strava_pipeline.strava.client import StravaClient
from strava_pipeline.strava.http import new_session
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.strava.transport import Transport
from strava_pipeline_tests.strava.loopback import Loopback
from strava_pipeline_tests.strava.stand_ins import MemoryLedger, MemoryTokens


@pytest.fixture
def strava() -> Iterator[Loopback]:
    with Loopback() as loopback:
        yield loopback


@pytest.fixture
def session() -> Iterator[requests.Session]:
    with new_session() as session:
        yield session


@pytest.fixture
def short_deadline(monkeypatch: pytest.MonkeyPatch) -> float:
    """The total deadline, short enough to be waited for; answers that are meant to come may miss it."""
    monkeypatch.setattr(http, "DEADLINE_SECONDS", 0.4)
    return http.DEADLINE_SECONDS


@pytest.fixture
def without_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries come at once."""
    for constant in ("FIRST_WAIT_SECONDS", "LONGEST_WAIT_SECONDS", "JITTER_SECONDS"):
        monkeypatch.setattr(transport, constant, 0.0)


@pytest.fixture
def ledger() -> MemoryLedger:
    return MemoryLedger()


@pytest.fixture
def tokens() -> MemoryTokens:
    return MemoryTokens()


@pytest.fixture
def api(strava: Loopback, session: requests.Session, ledger: MemoryLedger, tokens: MemoryTokens) -> Transport:
    return Transport(
        api_url=f"{strava.url}/api/v3",
        lane=Lane.LIVE,
        ledger=ledger,
        tokens=tokens,
        refresh=tokens.issue,
        max_wait=timedelta(seconds=7),
        session=session,
    )


@pytest.fixture
def client(api: Transport) -> StravaClient:
    return StravaClient(api)


@pytest.fixture
def app(strava: Loopback) -> Settings:
    """Settings of an app whose OAuth pages are the loopback server's."""
    return Settings(client_id="4711", client_secret="canary-client-secret", oauth_url=f"{strava.url}/oauth")
