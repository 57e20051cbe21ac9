"""Each condition holds because of what is in the tables, and ends with it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.restored import hold_calls, let_calls_go
from strava_pipeline.warehouse.schema.delivery_tables import delivery_counts
from strava_pipeline.warehouse.schema.grant_tables import token_audit
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.quota_tables import api_calls, app_status, outages, quota_windows
from strava_pipeline.warehouse.schema.restore_tables import database_identity
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline.warehouse.watch.findings import Finding
from strava_pipeline.warehouse.watch.heartbeats import Role
from strava_pipeline_tests.inbox import an_event, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.watch.watched import Watched, ago

SECOND, MINUTE, HOUR, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
OTHERS = (RIDER + 1, RIDER + 2)


def event(number: int, received: timedelta, **more: Any) -> dict[str, Any]:
    """A row of the inbox that was received so long ago."""
    made = an_event(number)
    names = ("event_key", "subscription_id", "object_type", "object_id", "aspect_type", "owner_id", "event_time")
    row = {name: getattr(made, name) for name in names} | {"updates": {}, "signed": True, "source": "webhook"}
    return row | {"received_at": ago(received), "state": "received"} | more


def done(number: int, took: timedelta, **more: Any) -> dict[str, Any]:
    """An event that took effect a minute ago."""
    return event(number, MINUTE + took, state="done", finished_at=ago(MINUTE), **more)


def away(service: str) -> dict[str, Any]:
    state = {"unanswered": 5, "several": True, "hosts": ["here"], "reason": "refused", "pause_s": 5.0}
    return state | {"service": service, "first_sent_at": ago(HOUR), "away_since": ago(HOUR), "probe_at": ago(-MINUTE)}


def refresh(outcome: str, age: timedelta, athlete_id: int = RIDER) -> dict[str, Any]:
    told = {
        "operation": "refresh",
        "outcome": outcome,
        "detail": "Strava answered 400" if outcome == "failed" else None,
    }
    return told | {"at": ago(age), "athlete_id": athlete_id}


def test_nothing_is_found_where_nothing_is_wrong(watched: Watched) -> None:
    connect_riders(watched.engine, RIDER)
    assert watched.find() == []


@pytest.mark.parametrize("service", ["api", "oauth"])
def test_strava_is_away_while_one_of_its_services_is(watched: Watched, service: str) -> None:
    watched.insert(outages, away(service))
    (found,) = watched.find()
    assert (found.rule, "refused" in found.detail) == ("strava_away", True)
    assert found.since is not None
    watched.execute("UPDATE ops.outages SET away_since = NULL, unanswered = 0")
    assert watched.find() == []


def test_the_app_is_off(watched: Watched) -> None:
    watched.insert(app_status, {"id": 1, "inactive_since": ago(HOUR), "probe_at": ago(-HOUR), "reason": "Inactive"})
    assert watched.rules() == ["app_inactive"]
    watched.execute("UPDATE ops.app_status SET inactive_since = NULL")
    assert watched.find() == []


def test_a_restored_database_that_is_not_checked_lets_nothing_call(watched: Watched) -> None:
    watched.insert(database_identity, {"id": 1, "system_identifier": 4711, "database_oid": 1})
    (found,) = watched.find()
    assert (found.rule, "restored from a backup" in found.detail, found.since) == ("restore_unchecked", True, None)
    watched.insert(webhook_events, event(1, HOUR))
    # Events wait, and are not stuck.
    assert watched.rules() == ["restore_unchecked"]
    with watched.engine.begin() as connection:
        hold_calls(connection)
    (found,) = watched.find()
    assert found.since is not None
    with watched.engine.begin() as connection:
        let_calls_go(connection)
    assert watched.rules() == ["inbox_stuck"]


def test_refreshes_fail_when_the_last_three_did(watched: Watched) -> None:
    connect_riders(watched.engine, RIDER)
    watched.insert(token_audit, refresh("ok", HOUR), refresh("failed", 3 * MINUTE), refresh("failed", 2 * MINUTE))
    assert watched.find() == []
    watched.insert(token_audit, refresh("failed", MINUTE))
    assert watched.rules() == ["refreshes_failing"]
    watched.insert(outages, away("oauth"))
    assert watched.rules() == ["strava_away"]
    watched.execute("DELETE FROM ops.outages")
    watched.insert(token_audit, refresh("ok", SECOND))
    assert watched.find() == []


def test_refreshes_of_athletes_who_have_connected_again_since_tell_nothing_of_the_app(watched: Watched) -> None:
    connect_riders(watched.engine, RIDER)
    watched.insert(token_audit, *(refresh("failed", minutes * MINUTE) for minutes in (3, 2, 1)))
    assert watched.rules() == ["refreshes_failing"]
    watched.execute("UPDATE ops.users SET granted_at = ops.clock()")
    assert watched.find() == []


def test_an_athlete_who_withdrew_makes_no_refresh_fail(watched: Watched) -> None:
    connect_riders(watched.engine, RIDER, state="needs_reauth")
    connect_riders(watched.engine, *range(10, 40))
    watched.insert(token_audit, *[refresh("failed", age * MINUTE) for age in (1, 2, 3)])
    assert watched.rules() == ["athlete_must_reconnect"]


def test_an_athlete_must_connect_again(watched: Watched) -> None:
    connect_riders(watched.engine, *range(10, 40))
    connect_riders(watched.engine, RIDER, state="needs_reauth")
    watched.insert(token_audit, refresh("failed", 5 * DAY))
    (found,) = watched.find()
    assert (found.rule, found.athlete_id, found.detail) == ("athlete_must_reconnect", RIDER, "Strava answered 400")
    watched.execute("UPDATE ops.users SET state = 'active'")
    assert watched.find() == []


@pytest.mark.parametrize(("lost", "kept", "many"), [(1, 0, False), (2, 18, True), (2, 19, False), (3, 100, True)])
def test_many_are_three_or_two_who_are_a_tenth(watched: Watched, lost: int, kept: int, *, many: bool) -> None:
    withdrawn = range(1, 1 + lost)
    connect_riders(watched.engine, *withdrawn, state="needs_reauth")
    if kept:
        connect_riders(watched.engine, *range(1000, 1000 + kept))
    watched.insert(token_audit, *[refresh("failed", MINUTE, athlete) for athlete in withdrawn])
    assert ("many_must_reconnect" in watched.rules()) is many
    watched.execute("UPDATE ops.token_audit SET at = at - interval '1 hour'")
    assert "many_must_reconnect" not in watched.rules()


def test_the_inbox_is_stuck_when_a_delivery_is_due_for_long(watched: Watched) -> None:
    watched.insert(webhook_events, event(1, 9 * MINUTE), event(2, HOUR, source="reconcile"))
    watched.insert(webhook_events, event(3, HOUR, state="waiting", waiting_for="streams", not_before=ago(-MINUTE)))
    watched.insert(webhook_events, event(4, HOUR, state="waiting", waiting_for="replay", not_before=ago(HOUR)))
    assert watched.find() == []
    watched.insert(webhook_events, event(5, 11 * MINUTE, state="launched", lease_until=ago(-MINUTE)))
    assert watched.rules() == ["inbox_stuck"]
    watched.insert(outages, away("api"))
    assert watched.rules() == ["strava_away"]


def test_dead_letters_are_those_that_wait_for_the_operator(watched: Watched) -> None:
    dead = {"state": "dead", "error_class": "transient", "error": "why", "finished_at": ago(MINUTE)}
    watched.insert(webhook_events, event(1, HOUR, **dead, redrive_at=ago(-MINUTE)))
    assert watched.find() == []
    watched.insert(webhook_events, event(2, HOUR, **dead), event(3, HOUR, **dead))
    assert watched.find() == [Finding("dead_letters", "their errors are transient")]
    watched.insert(webhook_events, event(4, HOUR, **dead | {"finished_at": ago(SECOND)}, run_id="the-last-run"))
    assert watched.find() == [Finding("dead_letters", "their errors are transient; run the-last-run")]
    watched.execute("UPDATE ops.webhook_events SET state = 'discarded'")
    assert watched.find() == []


def test_a_dispatcher_of_any_bridge_is_enough(watched: Watched) -> None:
    watched.execute("UPDATE ops.heartbeats SET beat_at = beat_at - interval '4 minutes'")
    assert watched.rules() == ["dispatcher_silent"]
    watched.execute("UPDATE ops.heartbeats SET process = 'elsewhere'")
    watched.give_sign_of_life()
    assert watched.find() == []
    watched.execute("DELETE FROM ops.heartbeats")
    assert watched.rules() == ["dispatcher_silent"]


def test_processing_is_slow_when_half_of_the_last_events_were(watched: Watched) -> None:
    watched.insert(webhook_events, done(1, 5 * MINUTE), done(2, 5 * MINUTE))
    watched.insert(webhook_events, *[done(number, HOUR, waits=1) for number in (10, 11)], done(12, DAY, attempts=1))
    assert watched.find() == []
    watched.insert(webhook_events, done(3, SECOND))
    assert watched.rules() == ["processing_slow"]
    watched.insert(webhook_events, done(4, SECOND), done(5, SECOND))
    assert watched.find() == []


def test_a_full_window_matters_while_events_wait_for_it(watched: Watched) -> None:
    window = {"scope": "app", "length_s": 86_400, "read_limit": 1000, "read_foreign": 0, "overall_foreign": 0}
    with watched.engine.connect() as connection:
        today = now(connection).replace(hour=0, minute=0, second=0, microsecond=0)
    watched.insert(quota_windows, window | {"starts_at": today, "booked": 810})
    assert watched.find() == []
    waiting = {"state": "waiting", "waiting_for": "quota", "not_before": ago(-HOUR)}
    watched.insert(webhook_events, event(1, MINUTE, **waiting))
    assert watched.rules() == ["quota_high_with_live_waiting"]
    watched.execute("UPDATE ops.quota_windows SET booked = 790")
    assert watched.find() == []


def test_errors_are_many_when_every_fifth_call_fails(watched: Watched) -> None:
    def call(age: timedelta = MINUTE, **more: Any) -> dict[str, Any]:
        return {"lane": "live", "endpoint": "/athlete", "reserved_at": ago(age), "settled_at": ago(age)} | more

    watched.insert(api_calls, call(status=503), *[call(status=200)] * 8, call(settled_at=None, age=SECOND))
    assert watched.find() == []
    watched.insert(api_calls, call(status=None))
    assert watched.rules() == ["errors_spike"]
    watched.execute("UPDATE ops.api_calls SET reserved_at = reserved_at - interval '15 minutes'")
    assert watched.find() == []


def test_an_import_is_stuck_after_three_runs_without_progress(watched: Watched) -> None:
    connect_riders(watched.engine, RIDER)
    wish = {"athlete_id": RIDER, "steps": ["summary"], "profile": False, "made_by": "connect", "state": "due"}
    watched.insert(imports, wish | {"next_at": ago(MINUTE), "attempts": 2, "error": "no room"})
    assert watched.find() == []
    watched.execute("UPDATE ops.imports SET attempts = 3")
    assert watched.find() == [Finding("import_stuck", "no room", RIDER)]
    watched.execute("UPDATE ops.imports SET run_id = 'its-last-run'")
    assert watched.find() == [Finding("import_stuck", "no room; run its-last-run", RIDER)]
    watched.execute("UPDATE ops.imports SET paused_at = ops.clock(), paused_by = 'operator'")
    assert watched.find() == []


def test_mails_fail_when_one_was_given_up_or_tried_often(watched: Watched) -> None:
    mail = {"activity_id": 1, "kind": "ride_summary", "athlete_id": RIDER, "state": "pending", "reason": "refused"}
    watched.insert(notifications, mail | {"attempts": 2, "next_try_at": ago(MINUTE)})
    assert watched.find() == []
    watched.execute("UPDATE ops.notifications SET attempts = 3")
    assert watched.find() == [Finding("mails_failing", "refused")]
    ended = "next_try_at = NULL, finished_at = ops.clock() - interval '59 minutes'"
    watched.execute(f"UPDATE ops.notifications SET state = 'failed', {ended}")  # noqa: S608  a constant
    assert watched.rules() == ["mails_failing"]
    watched.execute("UPDATE ops.notifications SET finished_at = finished_at - interval '2 minutes'")
    assert watched.find() == []


def ride(number: int, days_ago: float) -> dict[str, Any]:
    row = {"id": number, "athlete_id": RIDER, "start_date": ago(days_ago * DAY), "fetched_at": ago(DAY)}
    return row | {"resource_state": 2, "name": "", "type": "Ride", "sport_type": "Ride"}


@pytest.mark.parametrize(
    ("days", "silent"),
    [
        ((10, 11, 12, 13, 14), True),
        # Rides every four days: ten days without one are usual.
        ((10, 14, 18, 22, 26), False),
        # Too few to tell.
        ((10, 11, 12, 13), False),
        ((6, 6.5, 7, 7.5, 8), False),
        # Stopped long ago.
        ((61, 62, 63, 64, 65), False),
    ],
)
def test_an_athlete_is_silent_for_longer_than_usual(watched: Watched, days: tuple[float, ...], *, silent: bool) -> None:
    connect_riders(watched.engine, RIDER)
    watched.insert(activities, *(ride(number, each) for number, each in enumerate(days, start=1)))
    assert watched.rules() == ["athlete_silent"] * silent
    watched.insert(webhook_events, done(99, SECOND))
    assert watched.find() == []


def test_deliveries_are_missed_when_upkeep_finds_as_many_changes(watched: Watched) -> None:
    found = [done(number, SECOND, source="reconcile") for number in (1, 2)]
    watched.insert(webhook_events, *found)
    assert watched.find() == []
    watched.insert(webhook_events, done(3, SECOND, source="reconcile"))
    assert watched.rules() == ["deliveries_missed"]
    watched.insert(webhook_events, *[done(number, SECOND) for number in range(10, 37)])
    assert watched.find() == []


def test_upkeep_is_late_when_it_lacks_quota_or_a_task_is_due_for_a_day(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect_riders(watched.engine, RIDER)
    task = {"athlete_id": RIDER, "kind": "profile", "subject": "", "failures": 0, "takes": 0}
    watched.insert(upkeep, task | {"due_at": ago(DAY - MINUTE)})
    assert watched.find() == []
    watched.execute("UPDATE ops.upkeep SET due_at = due_at - interval '2 minutes'")
    assert watched.rules() == ["upkeep_late"]
    watched.execute("UPDATE ops.upkeep SET due_at = ops.clock()")
    monkeypatch.setenv("STRAVA_UPKEEP_SHARE", "0.001")
    assert Watched(watched.engine, load_settings()).rules() == ["upkeep_late"]


def test_what_a_living_bridge_finds_counts(watched: Watched) -> None:
    full = [Finding("disk_full", "STRAVA_HOME"), Finding("database_away", "refused", is_told=True)]
    watched.give_sign_of_life(Role.BRIDGE, full)
    assert watched.find() == full
    watched.execute("UPDATE ops.heartbeats SET beat_at = beat_at - interval '4 minutes' WHERE role = 'bridge'")
    assert watched.find() == []


def test_how_long_a_fault_lasts_is_scaled(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_ALERT_TIME_SCALE", "0.01")
    watched.insert(webhook_events, event(1, 61 * SECOND))
    scaled: Settings = load_settings()
    assert Watched(watched.engine, scaled).rules() == ["inbox_stuck"]
    assert watched.find() == []


def delivery(outcome: str, count: int, reason: str = "", **more: Any) -> dict[str, Any]:
    row = {"outcome": outcome, "reason": reason, "bridge": "b", "deliveries": count, "slowest_ms": 5}
    return row | {"slot": ago(MINUTE)} | more


def test_rejects_are_many_when_every_fifth_delivery_is_refused(watched: Watched) -> None:
    watched.insert(delivery_counts, delivery("stored", 7), delivery("rejected", 2, "signature"))
    assert watched.find() == []
    watched.insert(delivery_counts, delivery("rejected", 1, "malformed"))
    assert watched.find() == [Finding("rejects_spike", "most of them because of: signature")]
    watched.execute("UPDATE ops.delivery_counts SET deliveries = 20 WHERE outcome = 'stored'")
    assert watched.find() == []


def test_deliveries_of_another_subscription_are_told_with_both_ids(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.insert(delivery_counts, delivery("rejected", 1, "subscription", subscription_id=77))
    monkeypatch.setenv("STRAVA_WEBHOOK_SUBSCRIPTION_ID", "5")
    found = Watched(watched.engine, load_settings()).find()
    assert found == [Finding("foreign_subscription", "they are of subscription 77, and ours is 5")]
    # Once the setting is right, they would be accepted.
    monkeypatch.setenv("STRAVA_WEBHOOK_SUBSCRIPTION_ID", "77")
    assert Watched(watched.engine, load_settings()).find() == []
