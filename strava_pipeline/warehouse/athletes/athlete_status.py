"""The state of every athlete who is or was connected, for the operator."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, select

from strava_pipeline.strava.oauth import WANTED_SCOPES
from strava_pipeline.warehouse.inbox.overview import last_delivery
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.tables import activities, athletes
from strava_pipeline.warehouse.states import DagsterTask, GrantState


@dataclass(frozen=True)
class AthleteStatus:
    """One athlete who is or was connected.

    ``missing``: wanted scopes that were not granted. ``mails``: none, unconfirmed (the address) or on.
    ``connected_at``, and ``last_event_at`` (when the last event was delivered): UTC.
    """

    athlete_id: int
    name: str
    state: GrantState
    scopes: tuple[str, ...]
    mails: str
    connected_at: datetime
    dagster_task: DagsterTask | None
    activity_count: int
    last_event_at: datetime | None

    @property
    def missing(self) -> tuple[str, ...]:
        return tuple(scope for scope in WANTED_SCOPES if scope not in self.scopes)


def count_athletes(connection: Connection) -> int:
    """Count the athletes who are or were connected."""
    return connection.execute(select(func.count()).select_from(users)).scalar_one()


def athlete_statuses(connection: Connection, limit: int | None = None, offset: int = 0) -> list[AthleteStatus]:
    """Return the athletes who are or were connected, by state (active first) and id."""
    count = select(func.count()).where(activities.c.athlete_id == users.c.athlete_id).scalar_subquery()
    query = (
        select(
            users,
            _name().label("name"),
            count.label("activity_count"),
            last_delivery(users.c.athlete_id).label("last_event_at"),
        )
        .outerjoin(athletes, athletes.c.id == users.c.athlete_id)
        .order_by(users.c.state, users.c.athlete_id)
        .limit(limit)
        .offset(offset)
    )
    return [
        AthleteStatus(
            athlete_id=row.athlete_id,
            name=row.name,
            state=GrantState(row.state),
            scopes=tuple(row.scopes),
            mails=_mails(row),
            connected_at=row.connected_at,
            dagster_task=None if row.dagster_task is None else DagsterTask(row.dagster_task),
            activity_count=row.activity_count,
            last_event_at=row.last_event_at,
        )
        for row in connection.execute(query)
    ]


def athlete_names(connection: Connection, athlete_ids: Collection[int]) -> dict[int, str]:
    """Return the names of those of these athletes who have one, by id."""
    query = select(athletes.c.id, _name()).where(any_of(athletes.c.id, athlete_ids))
    return {athlete_id: name for athlete_id, name in connection.execute(query) if name}


def _name() -> ColumnElement[str]:
    return func.trim(func.concat_ws(" ", athletes.c.firstname, athletes.c.lastname))


def _mails(row: Row[Any]) -> str:
    if row.email is None:
        return "none"
    return "unconfirmed" if row.email_confirmed_at is None else "on"
