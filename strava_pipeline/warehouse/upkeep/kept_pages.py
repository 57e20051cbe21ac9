"""The pages of an athlete's listing that was not read to its end: the next turn of the task goes on behind them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from strava_pipeline.months import Span
from strava_pipeline.warehouse.engine import autocommit, now, retry_transaction
from strava_pipeline.warehouse.revoked import Grant, grant_of, refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.columns import SAME_MOMENT, database_time
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep_pages

# A listing that was begun longer ago is begun anew: what was added or deleted since is not in it.
KEPT_FOR = timedelta(days=7)
_c = upkeep_pages.c


@dataclass(frozen=True)
class KeptPages:
    """The pages that were read of a listing of a ``span``, which Strava was asked for at ``asked_at`` (UTC) first.

    ``grant``: what the athlete allowed then.
    A page is known by the time before which its activities start (epoch s).
    """

    engine: Engine
    span: Span
    asked_at: datetime
    grant: Grant | None

    @classmethod
    def of(cls, engine: Engine, span: Span) -> KeptPages:
        """Return the pages that are kept of a span; forget the athlete's of another span or grant, and old ones."""

        def begin(connection: Connection) -> tuple[datetime, Grant | None]:
            moment, grant = now(connection), grant_of(connection, span.athlete_id)
            oldest = moment - KEPT_FOR
            if grant is not None and grant.granted_at is not None:
                # What a smaller grant did not show would be taken for deleted.
                oldest = max(oldest, grant.granted_at)
            # Pages from ahead were read before the database's clock was set back.
            is_void = or_(
                _c.listed_from != span.start,
                _c.listed_to != span.end,
                ~_c.asked_at.between(oldest, moment + SAME_MOMENT),
            )
            connection.execute(delete(upkeep_pages).where(_c.athlete_id == span.athlete_id, is_void))
            first = select(func.min(_c.asked_at)).where(_c.athlete_id == span.athlete_id)
            return min(connection.execute(first).scalar() or moment, moment), grant

        return cls(engine, span, *retry_transaction(engine, begin))

    def read(self, before_s: int) -> list[dict[str, Any]] | None:
        """Return the activities of a page; ``None`` if it is not kept."""
        with autocommit(self.engine) as connection:
            query = select(_c.activities).where(_c.athlete_id == self.span.athlete_id, _c.before_s == before_s)
            found = connection.execute(query).scalar()
        return None if found is None else json.loads(found)

    def keep(self, before_s: int, page: list[dict[str, Any]]) -> None:
        """Keep a page that Strava has answered; its answer has cost a request."""
        row = {
            "athlete_id": self.span.athlete_id,
            "before_s": before_s,
            "listed_from": self.span.start,
            "listed_to": self.span.end,
            "asked_at": self.asked_at,
            "activities": json.dumps(page),
        }

        def insert(connection: Connection) -> None:
            refuse_rows_of_revoked(connection, [self.span.athlete_id])
            connection.execute(insert_or_skip(upkeep_pages).values(row).on_conflict_do_nothing())

        retry_transaction(self.engine, insert)


def forget_old_pages(connection: Connection) -> None:
    """Delete the pages of listings that will not be read to their end, whoever's they are."""
    connection.execute(delete(upkeep_pages).where(_c.asked_at < now(connection) - KEPT_FOR))


def how_many_kept(connection: Connection, athlete_id: int) -> int:
    """Return how many pages are kept of an athlete's listing; after the month in which it was begun, there is none."""
    theirs = (_c.athlete_id == athlete_id, _c.listed_to > database_time())
    return connection.execute(select(func.count()).where(*theirs)).scalar_one()


def forget_pages(engine: Engine, athlete_id: int) -> None:
    """Delete an athlete's pages: the listing was read to its end and written, or is to be begun anew."""
    retry_transaction(engine, partial(_forget, athlete_id=athlete_id))


def _forget(connection: Connection, athlete_id: int) -> None:
    connection.execute(delete(upkeep_pages).where(_c.athlete_id == athlete_id))
