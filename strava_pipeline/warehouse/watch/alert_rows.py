"""The rows of ``ops.alerts``, ``ops.alert_silences`` and ``ops.alert_messages``.

Whoever changes alerts or silences holds the lock ``ALERTS``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, fields
from datetime import datetime

from sqlalchemy import BigInteger, Connection, Text, column, delete, insert, select, tuple_, values
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from strava_pipeline.printable import printable
from strava_pipeline.warehouse.locks import Lock, acquire
from strava_pipeline.warehouse.schema.alert_tables import alert_messages, alert_silences, alerts
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.states import AlertChange, AlertState, SendState, Severity

LONGEST_SUBJECT = 200
_c = alerts.c


@dataclass(frozen=True)
class Alert:
    """One row: ``since``: since when its condition holds, ``told_at``: when a message was last made (UTC)."""

    rule: str
    athlete_id: int
    state: AlertState
    since: datetime
    changed_at: datetime
    fired_at: datetime | None
    told_at: datetime | None
    detail: str

    @property
    def key(self) -> tuple[str, int]:
        return self.rule, self.athlete_id


@dataclass(frozen=True)
class NewMessage:
    """A message to be sent; ``rule`` is ``None`` for a test or a failed run. ``subject`` is one line."""

    change: AlertChange
    severity: Severity
    subject: str
    body: str
    rule: str | None = None
    athlete_ids: tuple[int, ...] = ()


@dataclass(frozen=True)
class Silence:
    """A rule that tells nothing until then (UTC), on whose word, and why."""

    rule: str
    until: datetime
    silenced_by: str
    because: str


@dataclass(frozen=True)
class SentMessage:
    """What became of a message that is out of the outbox: by way the state, and why it failed."""

    mail_state: SendState
    mail_error: str | None
    push_state: SendState
    push_error: str | None

    @property
    def is_sent(self) -> bool:
        """Whether it went out on one way at least."""
        return SendState.SENT in {self.mail_state, self.push_state}


def lock_alerts(connection: Connection) -> None:
    """Let nobody else look at alerts, or silence a rule, until the transaction ends."""
    acquire(connection, Lock.ALERTS)


def load_alerts(connection: Connection) -> list[Alert]:
    """All alerts, those that are pending, too."""
    rows = connection.execute(select(*(_c[field.name] for field in fields(Alert))).order_by(_c.rule, _c.athlete_id))
    return [Alert(**{**row, "state": AlertState(row["state"])}) for row in rows.mappings()]


def store_alerts(connection: Connection, changed: Iterable[Alert]) -> None:
    """Insert or replace these alerts."""
    rows = [asdict(alert) for alert in changed]
    if not rows:
        return
    row = insert_or_update(alerts)
    replaced = {each.name: row.excluded[each.name] for each in _c if not each.primary_key}
    connection.execute(row.on_conflict_do_update(index_elements=[_c.rule, _c.athlete_id], set_=replaced), rows)


def delete_alerts(connection: Connection, keys: Collection[tuple[str, int]]) -> None:
    """Delete the alerts of these rules and athletes."""
    if keys:
        gone = values(column("rule", Text), column("athlete_id", BigInteger), name="gone").data(list(keys))
        connection.execute(delete(alerts).where(tuple_(_c.rule, _c.athlete_id).in_(select(gone))))


def silences(connection: Connection) -> list[Silence]:
    """The silences of now, by rule."""
    c = alert_silences.c
    rows = connection.execute(
        select(c.rule, c.until, c.silenced_by, c.because).where(c.until > database_time()).order_by(c.rule)
    )
    return [Silence(*row) for row in rows]


def silence(connection: Connection, rule: str, until: datetime, *, by: str, because: str) -> None:
    """Let a rule tell nothing until then (UTC); replaces an earlier silence."""
    told = {"until": until, "silenced_by": by, "because": printable(because)}
    row = insert_or_update(alert_silences).values(rule=rule, **told)
    connection.execute(row.on_conflict_do_update(index_elements=[alert_silences.c.rule], set_=told))


def end_silence(connection: Connection, rule: str) -> bool:
    """Let a rule tell again; False if it was not silenced."""
    c = alert_silences.c
    gone = delete(alert_silences).where(c.rule == rule).returning(c.until > database_time())
    return bool(connection.execute(gone).scalar())


def add_messages(connection: Connection, messages: Iterable[NewMessage]) -> list[int]:
    """Put messages into the outbox, pending on both ways; returns their ids."""
    return [
        connection.execute(
            insert(alert_messages)
            .values(
                change=message.change,
                rule=message.rule,
                severity=message.severity,
                athlete_ids=list(message.athlete_ids),
                subject=printable(message.subject, LONGEST_SUBJECT),
                body=message.body,
                mail_state=SendState.PENDING,
                push_state=SendState.PENDING,
            )
            .returning(alert_messages.c.id)
        ).scalar_one()
        for message in messages
    ]


def message_sent(connection: Connection, message_id: int) -> SentMessage | None:
    """What became of a message; ``None`` while it waits to be sent."""
    c = alert_messages.c
    row = connection.execute(
        select(c.mail_state, c.mail_error, c.push_state, c.push_error).where(
            c.id == message_id, c.finished_at.is_not(None)
        )
    ).first()
    return None if row is None else SentMessage(SendState(row[0]), row[1], SendState(row[2]), row[3])
