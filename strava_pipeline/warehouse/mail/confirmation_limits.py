"""How many addresses may be asked: whoever may connect must not be able to have a stranger flooded with mails.

A mail is counted when sending it begins, once for all its tries. What is over a limit waits.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta

from sqlalchemy import ColumnElement, Connection, Engine, delete, func, insert, select, true

from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.schema.notification_tables import confirmation_mails


@dataclass(frozen=True)
class Ask:
    """One mail that asks: its id in ``ops.notifications``, who gave the address, and the mailbox, as a keyed hash."""

    notification_id: int
    athlete_id: int
    mailbox_hash: str


@dataclass(frozen=True)
class Limit:
    """At most so many within a time, of those for ``what``."""

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
    # By one account at Strava, to whichever addresses.
    Limit(5, DAY, "this athlete"),
    Limit(30, HOUR, "all addresses"),
)


def refusal_reason(engine: Engine, ask: Ask) -> str:
    """Count a mail that asks and return ''; or count nothing and return which limit is reached."""
    counted = confirmation_mails.c
    with engine.begin() as connection:
        # Two at once must not both take the last place; who reads ops only can take no such lock.
        connection.exec_driver_sql(f"LOCK TABLE {confirmation_mails.fullname} IN SHARE ROW EXCLUSIVE MODE")
        moment = now(connection)
        delete_counted(connection)
        mine = select(counted.notification_id).where(counted.notification_id == ask.notification_id)
        if connection.execute(mine).first() is not None:
            return ""
        for limit in LIMITS:
            recent = select(func.count()).where(limit.concerns(ask), counted.began_at > moment - limit.within)
            if connection.execute(recent).scalar_one() >= limit.most:
                return f"{limit.most} mails that ask {limit.what} went out within {_told(limit.within)} already"
        connection.execute(insert(confirmation_mails).values(asdict(ask)))
    return ""


def delete_counted(connection: Connection) -> int:
    """Delete what no limit counts any more; returns how many rows."""
    old = confirmation_mails.c.began_at < func.clock_timestamp() - MONTH
    return connection.execute(delete(confirmation_mails).where(old)).rowcount


def _told(span: timedelta) -> str:
    return {HOUR: "an hour", DAY: "a day", MONTH: "thirty days"}[span]
