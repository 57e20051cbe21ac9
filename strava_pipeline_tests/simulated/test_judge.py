"""The judge of a simulation: what it lets pass, and what it calls a fault."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.states import ErrorClass, EventSource, EventState
from strava_pipeline_tests.simulated.comparison import Comparison, Thing
from strava_pipeline_tests.simulated.people import less_than
from strava_pipeline_tests.simulated.stored import MISSING, activity_parts
from strava_pipeline_tests.simulated.truth import Scopes, Truth
from strava_pipeline_tests.simulated.verdict import left_in_inbox
from strava_pipeline_tests.simulated.world import DAY_S, FIRST_ATHLETE
from strava_pipeline_tests.strava_stand_in import activity_body

ALL: Scopes = ("read", "activity:read_all")
NUMBER = 7
PATIENCE_S = 35.0 * DAY_S
START = datetime(2026, 1, 1, tzinfo=UTC)


def body(name: str, **more: Any) -> dict[str, Any]:
    fields = {"total_elevation_gain": 1, "kudos_count": 0, "visibility": "everyone", "commute": False, "gear_id": None}
    return activity_body(NUMBER, START, name=name, private=False, **fields) | more


def truth(states: Mapping[int, dict[str, Any] | None], scopes: Mapping[int, Scopes | None] | None = None) -> Truth:
    """States of the activity by day, and scopes of its athlete by day, all of them from the first day."""
    found = Truth()
    for day, granted in (scopes or {0: ALL}).items():
        found.grant(FIRST_ATHLETE, day * DAY_S, granted)
    for day, state in states.items():
        found.activities[NUMBER].set(day * DAY_S, state)
    return found


def look(true: Truth, stored: dict[str, Any] | None, day: float, comparison: Comparison | None = None) -> bool | None:
    """Whether the stored activity is late on a day; None if it does not differ."""
    now = day * DAY_S
    seen = partial(true.seen_activity, FIRST_ATHLETE, NUMBER, until=now)
    thing = Thing(FIRST_ATHLETE, "activity", NUMBER, stored, seen, activity_parts, now - PATIENCE_S)
    difference = (comparison or Comparison()).difference(thing, now)
    return None if difference is None else difference.is_late


def test_an_activity_that_changes_ever_again_may_not_stay_as_it_was() -> None:
    true = truth({day: body(f"name of day {day}") for day in range(0, 120, 30)})
    first = activity_parts(body("name of day 0"))
    assert look(true, first, 0) is None
    assert look(true, first, 64) is False
    assert look(true, first, 66) is True
    assert look(true, activity_parts(body("name of day 30")), 66) is False


def test_parts_may_be_of_different_times_but_of_none_too_old() -> None:
    true = truth({0: body("old"), 50: body("new", kudos_count=3)})
    mixed = activity_parts(body("old")) | {"kudos_count": 3}
    assert look(true, mixed, 51) is False
    assert look(true, mixed, 90) is True


def test_a_deleted_activity_may_not_stay_and_a_new_one_may_not_lack() -> None:
    true = truth({10: body("name"), 60: None})
    stored = activity_parts(body("name"))
    assert look(true, None, 9) is None
    assert look(true, None, 44) is False
    assert look(true, None, 46) is True
    assert look(true, stored, 94) is False
    assert look(true, stored, 96) is True


def test_a_part_may_not_be_missing_at_each_look_however_often_the_activity_changes() -> None:
    true = truth({day: body(f"name of day {day}") for day in range(0, 120, 10)})

    def without_samples(day: int) -> dict[str, Any]:
        return dict(activity_parts(body(f"name of day {day // 10 * 10}"))) | {"samples": MISSING}

    comparison = Comparison()
    assert [look(true, without_samples(day), day, comparison) for day in (5, 20, 40, 41)] == [False, False, False, True]
    comparison = Comparison()
    assert look(true, without_samples(5), 5, comparison) is False
    assert look(true, activity_parts(body("name of day 20")), 20, comparison) is None
    assert look(true, without_samples(41), 41, comparison) is False


def test_what_an_athlete_shows_no_more_may_stay_until_it_is_shown_again() -> None:
    less = less_than(ALL)
    true = truth({0: body("old", private=True), 20: body("new", private=True)}, {0: ALL, 10: less, 60: ALL})
    stored = activity_parts(body("old", private=True))
    assert look(true, stored, 59) is None
    assert look(true, None, 59) is None
    assert look(true, stored, 94) is False
    assert look(true, stored, 96) is True


def test_what_an_athlete_still_shows_may_not_be_wrong() -> None:
    true = truth({0: body("old"), 20: body("new")}, {0: ALL, 10: less_than(ALL)})
    assert look(true, activity_parts(body("old")), 56) is True
    true = truth({0: body("old"), 20: body("new")}, {0: ALL, 10: None})
    assert look(true, activity_parts(body("old")), 56) is None


def store_event(engine: Engine, **more: Any) -> None:
    event = {
        "event_key": "key",
        "source": EventSource.WEBHOOK,
        "subscription_id": 1,
        "object_type": "activity",
        "object_id": NUMBER,
        "aspect_type": "update",
        "owner_id": FIRST_ATHLETE,
        "event_time": START,
        "updates": {},
        "signed": False,
    }
    with engine.begin() as connection:
        connection.execute(insert(webhook_events).values(event | more))


@pytest.mark.parametrize(
    ("died_on", "kind", "is_excused"),
    [(15, "NotThereYet", True), (21, "NotThereYet", False), (15, "RejectedRequest", False)],
)
def test_a_dead_letter_is_excused_only_while_its_activity_is_not_shown(
    engine: Engine, died_on: int, kind: str, *, is_excused: bool
) -> None:
    true = truth({0: body("name"), 10: None, 20: body("name")})
    store_event(
        engine,
        state=EventState.DEAD,
        error_class=ErrorClass.TRANSIENT,
        error_kind=kind,
        error="not there",
        finished_at=datetime.fromtimestamp(died_on * DAY_S, UTC),
    )
    assert (list(left_in_inbox(engine, true, {FIRST_ATHLETE})) == []) is is_excused


def test_parked_events_of_an_athlete_who_is_connected_are_a_fault(engine: Engine) -> None:
    store_event(engine, state=EventState.PARKED)
    assert list(left_in_inbox(engine, Truth(), {FIRST_ATHLETE + 1})) == []
    assert len(list(left_in_inbox(engine, Truth(), {FIRST_ATHLETE}))) == 1
