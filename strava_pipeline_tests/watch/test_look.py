"""One look stores and tells what changed, once, whoever dies, looks twice or at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select

from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.schema.alert_tables import alert_messages
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.quota_tables import outages
from strava_pipeline.warehouse.watch.alert_rows import end_silence, silence
from strava_pipeline.warehouse.watch.alerts import alert_counts, standing_alerts, why_unwatched
from strava_pipeline.watch import look as looking
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.watch.test_evaluation import away, event
from strava_pipeline_tests.watch.watched import Watched

MINUTE = timedelta(minutes=1)
FIRED, CLEARED = "Critical: Strava does not answer", "Cleared (critical): Strava does not answer"


@pytest.fixture
def outage(watched: Watched) -> Watched:
    watched.insert(outages, away("api"))
    return watched


def end(watched: Watched) -> None:
    watched.execute("DELETE FROM ops.outages")


def test_one_message_when_it_fires_and_one_when_it_clears(outage: Watched) -> None:
    assert outage.look() == [FIRED]
    assert outage.look() == []
    with outage.engine.connect() as connection:
        (alert,) = standing_alerts(connection)
        assert (alert.rule, alert.athlete_id) == ("strava_away", 0)
        assert alert_counts(connection) == {"strava_away": 1}
    end(outage)
    assert outage.look() == []
    outage.let_pass(5 * MINUTE)
    assert outage.look() == [CLEARED]
    assert outage.look() == []
    with outage.engine.connect() as connection:
        assert standing_alerts(connection) == []


def test_a_message_says_what_to_do_and_where_to_look(outage: Watched) -> None:
    outage.look()
    with outage.engine.connect() as connection:
        told = connection.execute(select(alert_messages)).one()
    assert (told.change, told.rule, told.severity, told.athlete_ids) == ("fired", "strava_away", "critical", [])
    assert (told.mail_state, told.push_state, told.finished_at) == ("pending", "pending", None)
    assert "the API: refused" in told.body
    assert "docs/operations.md#strava-away" in told.body
    assert "What to do: See https://status.strava.com" in told.body


def test_a_bridge_that_dies_before_the_commit_changed_and_told_nothing(
    outage: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as dying:
        dying.setattr(looking, "add_messages", die)
        with pytest.raises(KeyboardInterrupt):
            outage.look()
    with outage.engine.connect() as connection:
        assert standing_alerts(connection) == []
    assert outage.look() == [FIRED]


def test_what_goes_on_within_minutes_of_a_database_that_was_away_is_not_told(watched: Watched) -> None:
    connect_riders(watched.engine, RIDER)
    watched.insert(webhook_events, event(1, 60 * MINUTE))
    watched.execute("UPDATE ops.heartbeats SET beat_at = beat_at - interval '1 hour'")
    assert watched.look() == []
    # A dispatcher rests for a minute at most, and then a run takes its time.
    watched.let_pass(2 * MINUTE)
    assert watched.look() == []
    watched.give_sign_of_life()
    watched.execute("UPDATE ops.webhook_events SET state = 'done', finished_at = ops.clock()")
    assert watched.look() == []
    with watched.engine.connect() as connection:
        assert standing_alerts(connection) == []


def test_a_dispatcher_that_stays_silent_is_told(watched: Watched) -> None:
    watched.execute("UPDATE ops.heartbeats SET beat_at = beat_at - interval '1 hour'")
    watched.look()
    watched.let_pass(3 * MINUTE)
    assert watched.look() == ["Critical: No bridge launches runs"]


def test_a_look_is_noted_so_that_its_lack_shows(watched: Watched) -> None:
    def unwatched() -> str:
        with watched.engine.connect() as connection:
            return why_unwatched(connection)

    assert unwatched() == "nobody has looked for alerts yet"
    watched.look()
    assert unwatched() == ""


def test_bridges_that_look_at_once_tell_once(outage: Watched) -> None:
    with ThreadPoolExecutor(4) as bridges:
        for looked in [bridges.submit(outage.look) for _ in range(8)]:
            looked.result()
    with outage.engine.connect() as connection:
        assert list(connection.execute(select(alert_messages.c.subject)).scalars()) == [FIRED]


def test_a_silence_ends_with_what_is_still_on(outage: Watched) -> None:
    with outage.engine.begin() as connection:
        silence(connection, "strava_away", now(connection) + MINUTE, by="command", because="known")
    assert outage.look() == []
    with outage.engine.begin() as connection:
        assert standing_alerts(connection)[0].silenced_until is not None
        assert end_silence(connection, "strava_away")
        assert not end_silence(connection, "strava_away")
    assert outage.look() == [FIRED]


def test_athletes_of_a_rule_share_a_message(watched: Watched) -> None:
    connect_riders(watched.engine, 1, 2, 3, 4, 5, state="needs_reauth")
    watched.look()
    watched.let_pass(MINUTE)
    assert watched.look() == ["Warning: An athlete must connect again (1, 2, 3 and 2 more)"]
    with watched.engine.connect() as connection:
        assert connection.execute(select(alert_messages.c.athlete_ids)).scalar_one() == [1, 2, 3, 4, 5]
