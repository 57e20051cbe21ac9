"""Commands that only show something read from the replica while the primary is away, and say so; others do not."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

import gpxpy
import pytest
from click.testing import CliRunner, Result
from sqlalchemy import insert, make_url

from strava_pipeline import frames
from strava_pipeline.cli import cli
from strava_pipeline.errors import DatabaseUnavailable, UnknownActivity
from strava_pipeline.local.logins import Login
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.schema import tables
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline_tests.conftest import SETTINGS
from strava_pipeline_tests.moody_server import MoodyDatabase
from strava_pipeline_tests.streaming_replica import StreamingReplica

ATHLETE, RIDE, LETTER = 7, 8, 9
START = datetime(2026, 6, 1, 12, tzinfo=UTC)
SHOWING = {
    ("analysts", "list"): "nobody is an analyst yet",
    ("archive", "list"): "nothing was handed in",
    ("athletes", "list"): str(ATHLETE),
    ("dead-letters", "list"): "gone wrong",
    ("dead-letters", "show", str(LETTER)): "gone wrong",
    ("export-gpx", str(RIDE)): "<name>Evening Ride</name>",
    ("import", "list"): "no import was asked for",
    ("quota",): "may be sent now: live",
    ("report", str(RIDE)): "Evening Ride",
    ("sql", "SELECT id FROM strava.activities", "--format", "csv"): str(RIDE),
    ("sql", "SELECT session_user", "--format", "csv"): Login.SQL,
    ("sql", "SELECT session_user", "--format", "csv", "--as-analyst"): Login.SQL_AS_ANALYST,
}
DECIDING = [
    ("archive", "import", __file__, "--athlete", str(ATHLETE)),
    ("archive", "undo", "1", "--yes"),
    ("athletes", "disconnect", str(ATHLETE), "--yes"),
    ("athletes", "renew-links", str(ATHLETE)),
    ("api", "/athlete", "--athlete", str(ATHLETE)),
    ("backfill", "--athlete", str(ATHLETE), "--from", "2026-01", "--to", "2026-02"),
    ("connect", "--code", "a-code"),
    ("dead-letters", "replay", str(LETTER)),
    ("dead-letters", "discard", str(LETTER), "--because", "old"),
    ("import", "pause", str(ATHLETE)),
    ("import", "resume", str(ATHLETE)),
    ("keys", "rotate"),
    ("keys", "status"),
    ("login-link",),
    ("migrate",),
    ("remap",),
    ("webhook", "status"),
]


@pytest.fixture(autouse=True)
def stored(moody: MoodyDatabase, replica: StreamingReplica, monkeypatch: pytest.MonkeyPatch) -> None:
    """An athlete with a ride and a dead letter, on the primary and its replica."""
    given = {
        "STRAVA_DATABASE_URL": moody.address,
        "STRAVA_SQL_DATABASE_URL": moody.on.server.url(moody.name, Login.SQL),
        "STRAVA_ANALYST_DATABASE_URL": moody.on.server.url(moody.name, Login.SQL_AS_ANALYST),
        "STRAVA_DATABASE_REPLICA_URL": replica.address(moody.name),
        "DAGSTER_POSTGRES_URL": moody.on.server.url(moody.name, Login.DAGSTER),
        "STRAVA_API_URL": "http://127.0.0.1:9/api",
        "STRAVA_OAUTH_URL": "http://127.0.0.1:9/oauth",
    }
    for name, value in (SETTINGS | given).items():
        monkeypatch.setenv(name, value)
    engine = open_engine(make_url(moody.address))
    with engine.begin() as connection:
        connection.execute(insert(users).values(athlete_id=ATHLETE, scopes=[], state="active", generation=1))
        connection.execute(insert(tables.athletes).values(id=ATHLETE, fetched_at=START))
        connection.execute(
            insert(tables.activities).values(
                id=RIDE, athlete_id=ATHLETE, resource_state=2, name="Evening Ride", type="Ride", sport_type="Ride",
                start_date=START, fetched_at=START,
            )
        )  # fmt: skip
        connection.execute(
            insert(tables.activity_streams).values(
                activity_id=RIDE, athlete_id=ATHLETE, point_count=2, time=[0, 10], latitude=[64.1, 64.2],
                longitude=[-21.9, -21.8], fetched_at=START,
            )
        )  # fmt: skip
        connection.execute(
            insert(webhook_events).values(
                id=LETTER, object_type="activity", object_id=RIDE, aspect_type="create", owner_id=ATHLETE,
                subscription_id=1, event_time=START, updates={}, event_key="key", signed=True, state="dead",
                source="webhook", error="gone wrong", error_class="permanent", finished_at=START,
            )
        )  # fmt: skip
    engine.dispose()
    replica.catch_up()


def call(*arguments: str) -> Result:
    return CliRunner().invoke(cli, arguments)


@pytest.mark.parametrize(("arguments", "told"), SHOWING.items(), ids=[" ".join(each) for each in SHOWING])
def test_what_only_shows_something_is_read_from_the_replica_and_says_as_of_when(
    moody: MoodyDatabase, replica: StreamingReplica, arguments: tuple[str, ...], told: str
) -> None:
    if arguments[0] != "export-gpx":  # that one asks Strava while the primary is there
        there = call(*arguments)
        assert (there.exit_code, there.stderr) == (0, "")
        assert told in there.stdout
    moody.on.stop()
    away = call(*arguments)
    assert away.exit_code == 0, away.output
    assert told in away.stdout
    (said, *more) = away.stderr.splitlines()
    assert more == []
    assert said.startswith("as of 20")
    assert f" UTC, from the replica at {replica.server.socket_dir}/{moody.name}: the database at " in said


@pytest.mark.parametrize("arguments", DECIDING, ids=" ".join)
def test_what_decides_or_changes_something_never_is(moody: MoodyDatabase, arguments: tuple[str, ...]) -> None:
    moody.on.stop()
    done = call(*arguments)
    assert isinstance(done.exception, DatabaseUnavailable), done.output
    assert str(moody.on.server.socket_dir) in str(done.exception)
    assert "replica" not in str(done.exception) + done.output


def test_where_both_are_away_one_line_names_both(moody: MoodyDatabase, replica: StreamingReplica) -> None:
    moody.on.stop()
    replica.stop()
    for arguments in SHOWING:
        done = call(*arguments)
        assert isinstance(done.exception, DatabaseUnavailable), done.output
        assert str(moody.on.server.socket_dir) in str(done.exception)
        assert str(replica.server.socket_dir) in str(done.exception)
        assert "\n" not in str(done.exception)


def test_an_export_from_the_replica_is_the_stored_ride(moody: MoodyDatabase) -> None:
    moody.on.stop()
    (track,) = gpxpy.parse(call("export-gpx", str(RIDE)).stdout).tracks
    points = [(point.time, point.latitude, point.longitude) for point in track.segments[0].points]
    assert points == [(START, 64.1, -21.9), (START.replace(second=10), 64.2, -21.8)]
    assert isinstance(call("export-gpx", "1").exception, UnknownActivity)


@pytest.mark.parametrize("by_address", [True, False])
def test_a_frame_is_read_from_the_replica_and_says_so(
    moody: MoodyDatabase, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, by_address: bool
) -> None:
    if not by_address:
        monkeypatch.delenv("STRAVA_ANALYST_DATABASE_URL")
        monkeypatch.setattr("strava_pipeline.warehouse.engine.read_secrets", lambda _path: moody.on.server.secrets)
    caplog.set_level(logging.WARNING)
    assert list(frames.activities()["id"]) == [RIDE]
    assert caplog.messages == []
    moody.on.stop()
    assert list(frames.activities()["id"]) == [RIDE]
    (said,) = [each for each in caplog.messages if each.startswith("as of ")]
    assert "from the replica at " in said
