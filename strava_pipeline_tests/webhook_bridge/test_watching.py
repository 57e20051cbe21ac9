"""The thread that watches: it gives signs of life, tells nothing at first, and outlasts what it watches."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, make_url

from strava_pipeline.errors import ConfigurationError, DatabaseTooSlow
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.schema.quota_tables import outages
from strava_pipeline.warehouse.watch.alert_rows import NewMessage
from strava_pipeline.warehouse.watch.alerts import alert_counts
from strava_pipeline.warehouse.watch.check_reports import claim_report, note_reported
from strava_pipeline.warehouse.watch.heartbeats import Heartbeat, Role, heartbeats_of
from strava_pipeline.watch.alert_checks import ALERT_CHECKS, AlertCheck
from strava_pipeline.watch.direct_alerts import DirectAlerts
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.inbox import LONG_AGO
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.watch.test_evaluation import away
from strava_pipeline_tests.watch.watched import Watched
from webhook_bridge import watching as watch_thread
from webhook_bridge.dagster_api import DaemonState
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable
from webhook_bridge.watching import Watching

LONG_BEFORE = float("-inf")


def beats(engine: Engine) -> list[Heartbeat]:
    with engine.connect() as connection:
        return heartbeats_of(connection, LONG_AGO)


def is_on(engine: Engine) -> list[str]:
    with engine.connect() as connection:
        return sorted(alert_counts(connection))


@pytest.fixture
def daemons(monkeypatch: pytest.MonkeyPatch) -> list[DaemonState]:
    """What Dagster tells of its daemons."""
    told = [DaemonState("SCHEDULER", is_healthy=True, beat_at=datetime.now(UTC).timestamp())]

    def required(_: DagsterServer) -> list[DaemonState]:
        return told

    monkeypatch.setattr(watch_thread, "required_daemons", required)
    return told


@pytest.fixture
def reported(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str, bool]]:
    """The checks that Dagster was told: asset, name, and whether they passed."""
    told: list[tuple[str, str, bool]] = []

    def report(_: DagsterServer, check: AlertCheck) -> None:
        told.append((check.asset, check.name, check.passed))

    monkeypatch.setattr(watch_thread, "report_check", report)
    return told


@pytest.fixture
def told() -> list[str]:
    """The subjects of what was sent without the database."""
    return []


@pytest.fixture
def watching(
    settings: Settings, engine: Engine, daemons: list[DaemonState], told: list[str], monkeypatch: pytest.MonkeyPatch
) -> Watching:
    # Whoever uses Strava's old host asks the new one.
    monkeypatch.setenv("STRAVA_API_URL", f"http://127.0.0.1:{free_port()}/api/v3")

    def tell(messages: Sequence[NewMessage]) -> bool:
        told.extend(message.subject for message in messages)
        return True

    return Watching(load_settings(), engine, tell)


def test_the_first_two_minutes_tell_nothing(watching: Watching, engine: Engine) -> None:
    Watched(engine, load_settings()).insert(outages, away("api"))
    watching.watch()
    assert is_on(engine) == []
    assert [each.role for each in beats(engine)] == [Role.BRIDGE]
    watching.tells_from = LONG_BEFORE
    watching.watch()
    assert is_on(engine) == ["strava_away"]


def test_a_sign_of_life_follows_another(watching: Watching, engine: Engine) -> None:
    watching.watch()
    (first,) = beats(engine)
    watching.watch()
    (second,) = beats(engine)
    assert second.process == first.process
    assert second.started_at == first.started_at <= first.beat_at < second.beat_at


def test_daemons_that_are_silent_are_found(watching: Watching, engine: Engine, daemons: list[DaemonState]) -> None:
    watching.watch()
    assert [each.findings for each in beats(engine)] == [()]
    old = (datetime.now(UTC) - timedelta(minutes=2)).timestamp()
    daemons += [DaemonState("SENSOR", is_healthy=True, beat_at=old), DaemonState("BACKFILL", True, None)]
    watching.watch()
    assert [each.detail for each in beats(engine)[0].findings] == ["no sign of life of BACKFILL, SENSOR"]


def test_a_webserver_that_is_away_is_found(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", f"http://127.0.0.1:{free_port()}")
    Watching(load_settings(), engine, lambda _: True).watch()
    (found,) = beats(engine)[0].findings
    assert found.rule == "daemon_silent"
    assert "gave no usable answer" in found.detail


@pytest.mark.usefixtures("daemons")
def test_a_database_that_is_away_is_told_directly_and_once(
    settings: Settings, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_ALERT_TIME_SCALE", "0.00001")
    nowhere = open_engine(make_url(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/nowhere"))

    def tell(messages: Sequence[NewMessage]) -> bool:
        told.extend(message.subject for message in messages)
        return True

    watching = Watching(load_settings(), nowhere, tell)
    watching.tells_from = LONG_BEFORE
    for _ in range(3):
        watching.watch()
    assert told == ["Critical: The database does not accept writes"]
    assert watching.errors == 3


def test_a_look_that_takes_too_long_is_no_outage_of_the_database(
    watching: Watching, engine: Engine, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def be_slow(*_: object) -> None:
        raise DatabaseTooSlow("the database did not answer in time: canceling statement due to lock timeout")

    monkeypatch.setattr(DirectAlerts, "note_away", lambda *_: told.append("away"))
    monkeypatch.setattr(watch_thread, "look", be_slow)
    watching.tells_from = LONG_BEFORE
    watching.watch()
    assert told == []
    assert watching.errors == 1
    assert [each.role for each in beats(engine)] == [Role.BRIDGE]


def test_what_is_slow_to_read_does_not_keep_the_rest_from_being_told(
    watching: Watching, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def be_slow(*_: object) -> None:
        asked.append(1)
        raise DatabaseTooSlow("the database did not answer in time: canceling statement due to statement timeout")

    watched = Watched(engine, load_settings())
    watched.give_sign_of_life()
    watching.tells_from = LONG_BEFORE
    watching.watch()
    watched.insert(outages, away("api"))
    watching.slow_read_at = LONG_BEFORE
    monkeypatch.setattr(watch_thread, "read_slow_situation", be_slow)
    for _ in range(2):
        watching.watch()
    assert is_on(engine) == ["strava_away"]
    # Once for the next ten minutes: a question of two minutes each half minute would be a storm.
    assert len(asked) == 1
    assert watching.errors == 1


def test_a_fault_of_this_program_does_not_end_the_thread(
    watching: Watching, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Settings) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as broken:
        broken.setattr(watch_thread, "full_disks", fail)
        watching.start()
        eventually(lambda: watching.errors == 1, "an error")
    watching.wake()
    eventually(lambda: bool(beats(engine)), "a sign of life")
    assert watching.is_running
    watching.stop()
    assert not watching.has_ended


def test_a_bridge_without_keys_does_not_begin(settings: Settings, engine: Engine) -> None:
    with pytest.raises(ConfigurationError):
        Watching(settings.model_copy(update={"token_keys": None}), engine, lambda _: True)


def test_checks_are_reported_on_each_change_and_once_a_day(
    watching: Watching, engine: Engine, reported: list[tuple[str, str, bool]]
) -> None:
    watched = Watched(engine, load_settings())
    watched.give_sign_of_life()
    watching.tells_from = LONG_BEFORE
    watching.watch()
    assert len(reported) == len(ALERT_CHECKS)
    assert all(passed for _, _, passed in reported)
    watched.insert(outages, away("api"))
    for _ in range(2):
        watching.watch()
    assert reported[len(ALERT_CHECKS) :] == [("activities", "no_critical_alert", False)]
    watched.execute("UPDATE ops.alert_checks SET told_at = told_at - interval '23 hours'")
    for _ in range(2):
        watching.watch()
    assert len(reported) == 2 * len(ALERT_CHECKS) + 1


def test_a_check_that_dagster_did_not_take_is_reported_later(
    watching: Watching, engine: Engine, reported: list[tuple[str, str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: DagsterServer, check: AlertCheck) -> None:
        raise DagsterUnavailable(f"no {check.name}")

    watching.tells_from = LONG_BEFORE
    with monkeypatch.context() as away_now:
        away_now.setattr(watch_thread, "report_check", refuse)
        watching.watch()
    watching.watch()
    assert len(reported) == len(ALERT_CHECKS)


def test_a_check_whose_bridge_died_before_it_told_dagster_is_reported_once_its_claim_is_over(
    watching: Watching, engine: Engine, reported: list[tuple[str, str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_: DagsterServer, check: AlertCheck) -> None:
        raise KeyboardInterrupt(check.name)

    watching.tells_from = LONG_BEFORE
    with monkeypatch.context() as dying:
        dying.setattr(watch_thread, "report_check", die)
        with pytest.raises(KeyboardInterrupt):
            watching.watch()
    watching.watch()
    assert reported == []
    Watched(engine, load_settings()).execute("UPDATE ops.alert_checks SET told_at = told_at - interval '3 minutes'")
    watching.watch()
    assert len(reported) == len(ALERT_CHECKS)


def test_a_report_that_another_bridge_has_overtaken_is_followed_by_one_of_what_is_on(
    watching: Watching, engine: Engine, reported: list[tuple[str, str, bool]], monkeypatch: pytest.MonkeyPatch
) -> None:
    watched = Watched(engine, load_settings())
    watched.give_sign_of_life()
    watching.tells_from = LONG_BEFORE
    watching.watch()

    def be_slow(_: DagsterServer, check: AlertCheck) -> None:
        with engine.begin() as connection:
            assert claim_report(connection, check.asset, check.severity, "another bridge's")
            note_reported(connection, check.asset, check.severity, "another bridge's")

    watched.insert(outages, away("api"))
    with monkeypatch.context() as slow:
        slow.setattr(watch_thread, "report_check", be_slow)
        watching.watch()
    watching.watch()
    assert reported[len(ALERT_CHECKS) :] == [("activities", "no_critical_alert", False)]
