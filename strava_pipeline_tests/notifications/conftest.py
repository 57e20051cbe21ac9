"""Rides of an athlete who gave an address, and a mail server that takes the mails about them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from sqlalchemy import Engine, Row, insert, select

from strava_pipeline.months import Span
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.sync.athlete import import_athlete
from strava_pipeline.sync.backfill import analyse_span, import_details, import_streams
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.states import MailKind
from strava_pipeline_tests.mail_consent import with_address
from strava_pipeline_tests.mail_server import MailServerStandIn, mail_server
from strava_pipeline_tests.strava_stand_in import RIDER, JsonObject, StravaStandIn

ADDRESS = "mira@example.org"
SAMPLES = 3_000


@pytest.fixture
def smtp() -> Iterator[MailServerStandIn]:
    with mail_server() as server:
        yield server


@pytest.fixture
def mail_settings(settings: Settings, smtp: MailServerStandIn, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of an installation that sends mails."""
    monkeypatch.setenv("STRAVA_SMTP_URL", smtp.url)
    monkeypatch.setenv("STRAVA_MAIL_FROM", "Rides <rides@example.org>")
    monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", "https://bridge.example.org")
    return load_settings()


@pytest.fixture
def rider(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(users).values(with_address(RIDER, ADDRESS)))


def hilly_streams(watts: float = 200.0) -> JsonObject:
    """A loop over one hill with everything measured."""
    turn = np.linspace(0, 2 * np.pi, SAMPLES)
    series = {
        "time": np.arange(SAMPLES),
        "distance": np.arange(SAMPLES) * 8.0,
        "altitude": 400 + 300 * (1 - np.cos(turn)),
        "heartrate": 140 + 20 * np.sin(turn),
        "watts": watts + 50 * np.sin(9 * turn),
        "velocity_smooth": np.full(SAMPLES, 8.0),
    }
    body: JsonObject = {name: {"data": values.tolist()} for name, values in series.items()}
    places = np.stack((47 + 0.03 * np.sin(turn), 13 + 0.05 * np.cos(turn)), axis=1)
    return body | {"latlng": {"data": places.tolist()}}


@pytest.fixture
def add_ride(rider: None, engine: Engine) -> Callable[..., None]:
    """Stores a ride that ended an hour ago, or as many days before that as told, and all there is about it."""
    strava = StravaStandIn()
    import_athlete(strava.sync(engine), RIDER)

    def add(number: int, *, days_ago: float = 0, watts: float = 200.0, **more: Any) -> None:
        start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=days_ago, hours=2)
        strava.streams[number] = hilly_streams(watts)
        measured = {
            "distance": 24_000.0,
            "moving_time": 3_000 + number,
            "elapsed_time": 3_600,
            "total_elevation_gain": 600.0,
            "average_speed": 8.0,
            "average_heartrate": 140.0,
            "average_watts": 200.0,
            "device_watts": True,
        }
        strava.add(number, start, **measured | more)
        sync, day = strava.sync(engine), Span(RIDER, start - timedelta(hours=1), start + timedelta(hours=1))
        list(import_summaries(sync, [day]))
        import_details(sync, day)
        import_streams(sync, day)
        analyse_span(engine, day)

    return add


@pytest.fixture
def announce_ride(engine: Engine) -> Callable[[int], None]:
    """Makes a mail about a ride due."""

    def announce(number: int) -> None:
        with engine.begin() as connection:
            connection.execute(
                insert(notifications).values(
                    activity_id=number,
                    kind=MailKind.RIDE_SUMMARY,
                    athlete_id=RIDER,
                    state="pending",
                    next_try_at=datetime.now(UTC) - timedelta(seconds=1),
                )
            )

    return announce


@pytest.fixture
def stored(engine: Engine) -> Callable[[], Row[Any]]:
    """The one row about mails there is."""

    def read() -> Row[Any]:
        with engine.connect() as connection:
            return connection.execute(select(notifications)).one()

    return read
