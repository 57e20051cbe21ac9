"""Events as tests put them into the inbox, and a look at what became of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from sqlalchemy import Engine, Row, delete, insert, select, update

from strava_pipeline.sync.context import SyncContext
from strava_pipeline.sync.webhook import sync_activity
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.inbox.claims import Claim, claim_objects, refresh_claim
from strava_pipeline.warehouse.inbox.events import NewEvent, Stored, store_events
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_claims, webhook_events
from strava_pipeline.warehouse.states import EventState
from strava_pipeline_tests.strava_stand_in import RIDER

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
JUNE_FIRST = datetime(2025, 6, 1, tzinfo=UTC)


def connect_riders(engine: Engine, *riders: int, **more: Any) -> None:
    """Rows of athletes without tokens."""
    given: dict[str, Any] = {"scopes": ["read", "activity:read_all"], "state": "active", "generation": 1} | more
    with engine.begin() as connection:
        connection.execute(insert(users), [{"athlete_id": rider} | given for rider in riders])


def an_event(number: int = 1, **more: Any) -> NewEvent:
    """A creation of activity ``number``, with a key of its own unless one is given."""
    given: dict[str, Any] = {
        "event_key": f"key-{uuid4().hex}",
        "subscription_id": 5,
        "object_type": "activity",
        "object_id": number,
        "aspect_type": "create",
        "owner_id": RIDER,
        "event_time": JUNE_FIRST,
        "updates": {},
        "signed": True,
    }
    return NewEvent(**(given | more))


def store_event(engine: Engine, event: NewEvent) -> Stored:
    """Commit one event, as a bridge does that has a single one to commit; returns the outcome."""
    with autocommit(engine) as connection:
        (stored,) = store_events(connection, [event])
    return stored.outcome


def store(engine: Engine, *numbers: int, **more: Any) -> None:
    """A new event for each activity."""
    for number in numbers:
        assert store_event(engine, an_event(number, **more)) is Stored.NEW


def claim_one(engine: Engine) -> Claim:
    """The claim on the one object for which something is due."""
    (claim,) = claim_objects(engine, 10)
    return claim


def rows(engine: Engine) -> list[Row[Any]]:
    """The inbox, in order of arrival."""
    with engine.connect() as connection:
        return list(connection.execute(select(webhook_events).order_by(webhook_events.c.id)))


def row(engine: Engine) -> Row[Any]:
    """The one event of the inbox."""
    (found,) = rows(engine)
    return found


def states(engine: Engine) -> list[str]:
    """The states of all events, in order of arrival."""
    return [found.state for found in rows(engine)]


def change(engine: Engine, ids: Iterable[int] | None = None, **values: Any) -> None:
    """Change events behind everybody's back: what time does, without waiting for it."""
    where = [] if ids is None else [webhook_events.c.id.in_(list(ids))]
    with engine.begin() as connection:
        connection.execute(update(webhook_events).where(*where).values(**values))


def bring_up_to_date(sync: SyncContext, athlete_id: int, number: int, aspect: str = "create") -> None:
    """What an event about one activity brings about; of the event itself nothing remains."""
    event = asdict(an_event(number, owner_id=athlete_id, aspect_type=aspect))
    values = event | {"state": EventState.LAUNCHED, "fence": webhook_claims.next_value()}
    with sync.engine.begin() as connection:
        fence = connection.execute(insert(webhook_events).values(values).returning(webhook_events.c.fence)).scalar_one()
    try:
        claim = refresh_claim(sync.engine, fence)
        assert claim is not None
        sync_activity(sync, claim)
    finally:
        with sync.engine.begin() as connection:
            connection.execute(delete(webhook_events).where(webhook_events.c.event_key == event["event_key"]))
