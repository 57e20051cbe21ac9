"""What is on is shown; what is only pending is not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine, insert

from strava_pipeline.warehouse.schema.alert_tables import alert_silences, alerts
from strava_pipeline.warehouse.states import AlertState
from strava_pipeline.warehouse.watch.alerts import StandingAlert, alert_counts, pending_alerts, standing_alerts

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def row(rule: str, athlete_id: int, state: AlertState) -> dict[str, Any]:
    times = {"since": NOON, "changed_at": NOON, "fired_at": None if state is AlertState.PENDING else NOON + HOUR}
    return {"rule": rule, "athlete_id": athlete_id, "state": state, "detail": "why"} | times


def test_what_fires_or_clears_is_on(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(alerts), [row("one", 7, AlertState.FIRING), row("one", 8, AlertState.CLEARING)])
        connection.execute(insert(alerts), [row("two", 0, AlertState.PENDING), row("one", 9, AlertState.PENDING)])
        assert standing_alerts(connection) == [
            StandingAlert("one", athlete_id, NOON, NOON + HOUR, "why") for athlete_id in (7, 8)
        ]
        assert alert_counts(connection) == {"one": 2}


def test_a_silence_is_shown_until_it_ends(engine: Engine) -> None:
    ends = datetime.now(UTC) + HOUR
    silence = {"silenced_by": "command", "because": "known"}
    with engine.begin() as connection:
        connection.execute(insert(alerts), [row(rule, 0, AlertState.FIRING) for rule in ("one", "two", "three")])
        connection.execute(insert(alert_silences), [{"rule": "one", "until": ends} | silence])
        connection.execute(insert(alert_silences), [{"rule": "two", "until": ends - 2 * HOUR} | silence])
        found = {alert.rule: alert.silenced_until for alert in standing_alerts(connection)}
    assert found == {"one": ends, "two": None, "three": None}


def test_what_is_pending_is_told_by_rule_with_the_oldest_time(engine: Engine) -> None:
    rows = [
        row("one", 7, AlertState.PENDING) | {"since": NOON + HOUR},
        row("one", 8, AlertState.PENDING),
        row("two", 0, AlertState.FIRING),
    ]
    with engine.begin() as connection:
        connection.execute(insert(alerts), rows)
        assert pending_alerts(connection) == {"one": NOON}
