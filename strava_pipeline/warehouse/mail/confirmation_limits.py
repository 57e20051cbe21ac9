"""Limits on mails that ask an address for confirmation, so that nobody can have a stranger flooded with mails.

A mail is counted when sending it begins, once for all its tries. A mail over a limit waits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, insert, select, true

from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.notification_tables import confirmation_mails


@dataclass(frozen=True)
class Ask:
    """A mail that asks for confirmation: its id in ``ops.notifications``, the athlete, and the mailbox's keyed hash."""

    notification_id: int
    athlete_id: int
    mailbox_hash: str


@dataclass(frozen=True)
class Limit:
    """At most ``most`` mails for ``what`` ``within`` a time."""

    most: int
    within: timedelta
    what: str

    def concerns(self, ask: Ask) -> ColumnElement[bool]:
        counted = confirmation_mails.c
        of: dict[str, ColumnElement[bool]] = {
            "this address": counted.mailbox_hash == ask.mailbox_hash,
            "this athlete": counted.athlete_id == ask.athlete_id,
            "all addresses": true(),
        }
        return of[self.what]


HOUR, DAY, MONTH = timedelta(hours=1), timedelta(days=1), timedelta(days=30)
LIMITS = (
    Limit(3, DAY, "this address"),
    Limit(6, MONTH, "this address"),
    # For one athlete, to any addresses.
    Limit(5, DAY, "this athlete"),
    Limit(30, HOUR, "all addresses"),
)


def refusal_reason(engine: Engine, ask: Ask) -> str:
    """Count a mail that asks for confirmation and return ''; or count nothing and return which limit is reached."""
    counted = confirmation_mails.c
    with engine.begin() as connection:
        # Two mails at once must not both get the last place. A login that may only read ops cannot take this lock.
        connection.exec_driver_sql(f"LOCK TABLE {confirmation_mails.fullname} IN SHARE ROW EXCLUSIVE MODE")
        moment = now(connection)
        delete_counted(connection)
        mine = select(counted.notification_id).where(counted.notification_id == ask.notification_id)
        if connection.execute(mine).first() is not None:
            return ""
        for limit in LIMITS:
            recent = select(func.count()).where(limit.concerns(ask), counted.began_at > moment - limit.within)
            if connection.execute(recent).scalar_one() >= limit.most:
                return (
                    f"{limit.most} mails that ask {limit.what} for confirmation were sent within {_told(limit.within)}"
                )
        connection.execute(insert(confirmation_mails).values(asdict(ask)))
    return ""


def delete_counted(connection: Connection) -> int:
    """Delete the mails that no limit counts any more; return how many."""
    old = confirmation_mails.c.began_at < database_time() - MONTH
    return connection.execute(delete(confirmation_mails).where(old)).rowcount


def _told(span: timedelta) -> str:
    return {HOUR: "an hour", DAY: "a day", MONTH: "thirty days"}[span]
