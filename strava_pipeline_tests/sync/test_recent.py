"""The last days compared: what Strava never told becomes events, each once, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select, update

from strava_pipeline.errors import RetriableStravaError
from strava_pipeline.months import Span
from strava_pipeline.sync.backfill import import_details
from strava_pipeline.sync.recent import compare_recent
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.sync.webhook import sync_activity
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.inbox.claims import claim_objects
from strava_pipeline.warehouse.retention import remove_activities_before
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.tokens.stored_tokens import read_active_tokens
from strava_pipeline_tests.erasing import disconnect_and_erase
from strava_pipeline_tests.inbox import bring_up_to_date
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn

NOW = datetime.now(UTC).replace(microsecond=0)
MONTH = Span(RIDER, NOW - timedelta(days=20), NOW + timedelta(days=1))
Event = tuple[str, int]


def days_ago(days: int) -> datetime:
    return NOW - timedelta(days=days)


@pytest.fixture
def strava(engine: Engine) -> StravaStandIn:
    """A connected athlete with three rides of this week and an old one, all stored."""
    strava = StravaStandIn()
    with engine.begin() as connection:
        connection.execute(insert(users).values(athlete_id=RIDER, scopes=[], state="active", generation=1))
    for number, days in ((1, 1), (2, 2), (3, 3), (4, 12)):
        strava.add(number, days_ago(days))
    list(import_summaries(strava.sync(engine), [MONTH]))
    import_details(strava.sync(engine), MONTH)
    return strava


def inbox(engine: Engine) -> list[Event]:
    query = select(webhook_events.c.aspect_type, webhook_events.c.object_id).order_by(webhook_events.c.id)
    with engine.connect() as connection:
        found = connection.execute(query.where(webhook_events.c.source == "reconcile")).all()
    return [(row[0], row[1]) for row in found]


def compare(strava: StravaStandIn, engine: Engine) -> dict[str, int]:
    return dict(compare_recent(strava.sync(engine), RIDER, 7))


def test_nothing_was_missed(strava: StravaStandIn, engine: Engine) -> None:
    strava.new_requests()
    assert compare(strava, engine) == {}
    assert strava.new_requests() == ["/athlete/activities"]
    assert inbox(engine) == []


def test_a_new_a_changed_and_a_deleted_activity_are_found_once(strava: StravaStandIn, engine: Engine) -> None:
    strava.add(5, days_ago(1))
    strava.edit(2, name="Renamed")
    strava.delete(3)
    assert compare(strava, engine) == {"create": 1, "update": 1, "delete": 1}
    assert sorted(inbox(engine)) == [("create", 5), ("delete", 3), ("update", 2)]
    assert compare(strava, engine) == {}
    assert len(inbox(engine)) == 3


def test_a_second_change_is_a_second_event(strava: StravaStandIn, engine: Engine) -> None:
    for name in ("Renamed", "Renamed again"):
        strava.edit(2, name=name)
        assert compare(strava, engine) == {"update": 1}
    assert inbox(engine) == [("update", 2), ("update", 2)]


def take_effect(strava: StravaStandIn, engine: Engine) -> None:
    """The events of the inbox are worked on, and stay there as done."""
    with engine.begin() as connection:
        open_events = webhook_events.c.state == "received"
        found = connection.execute(select(webhook_events.c.object_id, webhook_events.c.aspect_type).where(open_events))
        events = [(row.object_id, row.aspect_type) for row in found]
        connection.execute(update(webhook_events).values(state="done"))
    for number, aspect in events:
        bring_up_to_date(strava.sync(engine), RIDER, number, aspect)


def test_a_difference_that_comes_back_is_found_each_time_it_comes(strava: StravaStandIn, engine: Engine) -> None:
    ride = strava.activities[2]
    for _ in range(3):
        strava.delete(2)
        assert compare(strava, engine) == {"delete": 1}
        assert compare(strava, engine) == {}
        take_effect(strava, engine)
        strava.activities[2] = ride
        assert compare(strava, engine) == {"create": 1}
        assert compare(strava, engine) == {}
        take_effect(strava, engine)
    for name in ("Renamed", "Ride 2") * 3:
        strava.edit(2, name=name)
        assert compare(strava, engine) == {"update": 1}
        assert compare(strava, engine) == {}
        take_effect(strava, engine)
    assert compare(strava, engine) == {}


def erase(engine: Engine) -> None:
    """The athlete leaves, and connects again by the command."""
    disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.OPERATOR, cause="a test")
    with engine.begin() as connection:
        connection.execute(update(users).values(state="active", scopes=["read", "activity:read_all"]))


def retain_less(engine: Engine) -> None:
    remove_activities_before(engine, NOW)


@pytest.mark.parametrize("remove", [erase, retain_less])
def test_what_is_stored_no_more_is_found_again(
    strava: StravaStandIn, engine: Engine, remove: Callable[[Engine], None]
) -> None:
    strava.add(5, days_ago(1))
    assert compare(strava, engine) == {"create": 1}
    take_effect(strava, engine)
    remove(engine)
    assert compare(strava, engine) == {"create": 4}
    assert compare(strava, engine) == {}
    take_effect(strava, engine)
    assert compare(strava, engine) == {}


def test_once_an_event_took_effect_nothing_is_missed(strava: StravaStandIn, engine: Engine) -> None:
    strava.edit(2, name="Renamed")
    strava.add(5, days_ago(1))
    compare(strava, engine)
    for _, number in inbox(engine):
        bring_up_to_date(strava.sync(engine), RIDER, number)
    with engine.begin() as connection:
        connection.execute(webhook_events.delete())
    assert compare(strava, engine) == {}


@pytest.mark.parametrize(
    "edit", [{"name": "Renamed"}, {"distance": 5.0}, {"gear_id": "b9"}], ids=lambda edit: next(iter(edit))
)
def test_an_edit_that_was_taken_back_without_a_word_is_found(
    strava: StravaStandIn, engine: Engine, edit: dict[str, object]
) -> None:
    before = {name: strava.activities[2].get(name) for name in edit}
    strava.edit(2, **edit)
    bring_up_to_date(strava.sync(engine), RIDER, 2)
    assert compare(strava, engine) == {}
    strava.edit(2, **before)
    assert compare(strava, engine) == {"update": 1}
    assert inbox(engine) == [("update", 2)]


def test_an_activity_that_is_always_listed_unlike_its_detail_is_one_event(
    strava: StravaStandIn, engine: Engine
) -> None:
    strava.add(6, days_ago(1))
    strava.listed_unlike[6] = {"name": "Listed", "distance": 0.0}
    bring_up_to_date(strava.sync(engine), RIDER, 6)
    assert compare(strava, engine) == {"update": 1}
    (claim,) = claim_objects(engine, 10)
    sync_activity(strava.sync(engine), claim)
    strava.new_requests()
    for _ in range(2):
        assert compare(strava, engine) == {}
    # Once it is edited, it is found again.
    strava.edit(6, name="Renamed", commute=True)
    assert compare(strava, engine) == {"update": 1}


def test_kudos_and_older_activities_make_no_event(strava: StravaStandIn, engine: Engine) -> None:
    strava.edit(1, kudos_count=99)
    strava.delete(4)
    assert compare(strava, engine) == {}


def test_an_activity_whose_start_moved_is_no_deletion(strava: StravaStandIn, engine: Engine) -> None:
    strava.edit(1, start_date=days_ago(12).isoformat())
    assert compare(strava, engine) == {"delete": 1}
    # The event is a hint: it is fetched, found, and stored where it belongs.
    bring_up_to_date(strava.sync(engine), RIDER, 1)
    with engine.begin() as connection:
        connection.execute(webhook_events.delete())
    assert compare(strava, engine) == {}


def test_what_is_stored_while_the_listing_is_read_is_left_alone(strava: StravaStandIn, engine: Engine) -> None:
    listing = strava.get

    def overtaken(athlete_id: int, path: str, query: Any = None, **more: Any) -> Any:
        answer = listing(athlete_id, path, query, **more)
        if path == "/athlete/activities":
            strava.add(6, days_ago(1))
            bring_up_to_date(strava.sync(engine), RIDER, 6)
        return answer

    strava.get = overtaken  # type: ignore[method-assign]  # something happens while it answers
    assert compare(strava, engine) == {}


def test_while_strava_is_away_nothing_is_taken_for_deleted(strava: StravaStandIn, engine: Engine) -> None:
    strava.faults["/athlete/activities"] = [RetriableStravaError("no connection")]
    with pytest.raises(RetriableStravaError):
        compare(strava, engine)
    assert inbox(engine) == []


@pytest.mark.usefixtures("strava")
def test_only_connected_athletes_are_asked_for(engine: Engine) -> None:
    with engine.begin() as connection:
        assert [tokens.athlete_id for tokens in read_active_tokens(connection)] == [RIDER]
        connection.execute(update(users).values(state="needs_reauth"))
        assert [tokens.athlete_id for tokens in read_active_tokens(connection)] == []


def test_a_summary_without_a_detail_is_no_missed_webhook(strava: StravaStandIn, engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(payloads.delete().where(payloads.c.kind == "detail"))
    assert compare(strava, engine) == {}
