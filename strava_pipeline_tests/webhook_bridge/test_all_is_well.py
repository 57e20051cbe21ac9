"""The heartbeat to an address elsewhere: sent while all is well, silent otherwise, and its address is in no log."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, delete, func, insert

from strava_pipeline.secret import Secret
from strava_pipeline.warehouse.metric_totals import PeriodicJob, note_success
from strava_pipeline.warehouse.schema.alert_tables import alert_silences, alerts
from strava_pipeline.warehouse.schema.metric_tables import metric_totals
from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.strava.loopback import Loopback, Raw, reply
from webhook_bridge import all_is_well
from webhook_bridge.all_is_well import AllIsWell

KEY = "0ddba11-k3y"


@pytest.fixture
def elsewhere() -> Iterator[Loopback]:
    with Loopback() as loopback:
        yield loopback


def address(elsewhere: Loopback) -> Secret:
    return Secret(f"{elsewhere.url}/ping/{KEY}")


@pytest.fixture
def thread(elsewhere: Loopback, engine: Engine) -> AllIsWell:
    """With a bridge that has just looked for alerts."""
    note_success(engine, PeriodicJob.ALERTS)
    return AllIsWell(address(elsewhere), engine, lambda: True)


def switch_on(engine: Engine, rule: str, state: str = "firing") -> None:
    now = func.clock_timestamp()
    row: dict[str, Any] = {"rule": rule, "athlete_id": 0, "state": state, "since": now, "changed_at": now, "detail": ""}
    with engine.begin() as connection:
        connection.execute(insert(alerts).values(row | ({} if state == "pending" else {"fired_at": now})))


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    return [(each.levelno, each.getMessage()) for each in caplog.records if each.name == all_is_well.__name__]


def test_it_is_sent_while_all_is_well(thread: AllIsWell, elsewhere: Loopback, engine: Engine) -> None:
    switch_on(engine, "processing_slow")
    switch_on(engine, "strava_away", "pending")
    assert thread.beat()
    assert [(asked.method, asked.path) for asked in elsewhere.asked] == [("GET", f"/ping/{KEY}")]


def test_a_critical_alert_silences_it_unless_somebody_silenced_the_alert(
    thread: AllIsWell, elsewhere: Loopback, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    switch_on(engine, "strava_away")
    assert not thread.beat()
    assert elsewhere.asked == []
    with engine.begin() as connection:
        connection.execute(
            insert(alert_silences).values(
                rule="strava_away",
                until=func.clock_timestamp() + func.make_interval(0, 0, 0, 1),
                silenced_by="command",
                because="known",
            )
        )
    assert thread.beat()
    assert logged(caplog) == [
        (logging.WARNING, "heartbeat: not sent, alerts are on: strava_away"),
        (logging.INFO, "heartbeat: sent again"),
    ]


def test_it_is_silent_while_nobody_looks_for_alerts(
    thread: AllIsWell, elsewhere: Loopback, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    with engine.begin() as connection:
        connection.execute(delete(metric_totals))
    assert not thread.beat()
    assert elsewhere.asked == []
    assert logged(caplog) == [(logging.WARNING, "heartbeat: not sent, nobody has looked for alerts yet")]


def test_it_is_silent_once_a_thread_has_ended(elsewhere: Loopback, engine: Engine) -> None:
    assert not AllIsWell(address(elsewhere), engine, lambda: False).beat()
    assert elsewhere.asked == []


def test_it_is_silent_while_the_database_is_away(elsewhere: Loopback) -> None:
    away = create_engine(f"postgresql+psycopg://nobody@127.0.0.1:{free_port()}/none")
    assert not AllIsWell(address(elsewhere), away, lambda: True).beat()
    assert elsewhere.asked == []


def redirect(elsewhere: Loopback) -> None:
    elsewhere.answers(reply({}, 302, Location=f"{elsewhere.url}/other"))


def refuse(elsewhere: Loopback) -> None:
    elsewhere.answers(reply({}, 404))


@pytest.mark.parametrize(("fault", "status"), [(redirect, 302), (refuse, 404)])
def test_a_failure_is_logged_once_without_the_address_and_no_redirect_is_followed(
    thread: AllIsWell,
    elsewhere: Loopback,
    caplog: pytest.LogCaptureFixture,
    fault: Callable[[Loopback], None],
    status: int,
) -> None:
    fault(elsewhere)
    assert not thread.beat()
    assert not thread.beat()
    elsewhere.answers(reply({}))
    assert thread.beat()
    assert thread.beat()
    assert {asked.path for asked in elsewhere.asked} == {f"/ping/{KEY}"}
    assert logged(caplog) == [
        (logging.WARNING, f"heartbeat: STRAVA_HEARTBEAT_URL did not take it: HTTP {status}"),
        (logging.INFO, "heartbeat: sent again"),
    ]


def test_a_host_that_is_away_is_logged_without_the_address(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    note_success(engine, PeriodicJob.ALERTS)
    thread = AllIsWell(Secret(f"http://127.0.0.1:{free_port()}/{KEY}"), engine, lambda: True)
    assert not thread.beat()
    (line,) = logged(caplog)
    assert line == (logging.WARNING, "heartbeat: STRAVA_HEARTBEAT_URL did not take it: ConnectionError")


def test_of_a_long_answer_the_status_is_enough(thread: AllIsWell, elsewhere: Loopback) -> None:
    # Its body never ends: to read that would keep the thread, and the end of the bridge, for ever.
    elsewhere.answers(Raw(lambda: chain([b"HTTP/1.1 200 OK\r\n\r\n"], repeat(b"ok "))))
    beating = threading.Thread(target=thread.beat, daemon=True)
    beating.start()
    eventually(lambda: not beating.is_alive(), "the end of a heartbeat")


def test_the_thread_beats_again_and_again_and_not_at_its_start(
    thread: AllIsWell, elsewhere: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    rests: list[tuple[float, int]] = []
    monkeypatch.setattr(thread, "rest", lambda seconds: rests.append((seconds, len(elsewhere.asked))))
    thread.start()
    eventually(lambda: len(elsewhere.asked) >= 3, "three heartbeats")
    thread.stop()
    assert rests[:2] == [(60.0, 0), (60.0, 1)]
