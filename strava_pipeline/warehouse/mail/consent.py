"""Whether an athlete's address may get mails: given, confirmed by its owner, ended, or erased.

::

    none -> given -> confirmed
      ^       |          |        another address: given, with all links so far void
      +-------+----------+        ended, erased, or not confirmed within a week

Each address has a nonce, which the link that confirms it is bound to, and one that its links to end the mails are
bound to. A nonce that is gone makes its links void. On the operator's word all links end: those to end the mails, and
the one that has confirmed, whose page shows another.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, case, func, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.ops_tables import users
from strava_pipeline.warehouse.states import MailKind, MailState

NONCE_BYTES = 16
# An address that nobody confirmed is erased after it; the link that confirms is good for as long.
CONFIRM_WITHIN = timedelta(days=7)
NOTHING = {
    "email": None,
    "email_given_at": None,
    "email_confirmed_at": None,
    "email_nonce": None,
    "unsubscribe_nonce": None,
}


@dataclass(frozen=True)
class Consent:
    """An address that is stored. ``confirmed_at``: UTC; ``None`` while only its owner may be asked."""

    athlete_id: int
    email: str
    given_at: datetime
    confirmed_at: datetime | None
    nonce: str
    unsubscribe_nonce: str


class Confirmed(StrEnum):
    """What a link that confirms came to."""

    NOW = "now"
    BEFORE = "before"
    VOID = "void"


def consent_of(connection: Connection, athlete_id: int) -> Consent | None:
    """What an athlete's address may get; ``None`` if there is none."""
    row = connection.execute(select(users).where(users.c.athlete_id == athlete_id)).first()
    return None if row is None or row.email is None else _consent(row)


def address_of(connection: Connection, athlete_id: int) -> tuple[Consent | None, str]:
    """Where an athlete's ride summaries go, and, if nowhere, why."""
    row = connection.execute(select(users).where(users.c.athlete_id == athlete_id)).first()
    if row is None:
        return None, "the athlete is not connected"
    if row.email is None:
        return None, "the athlete has no address" if row.unsubscribed_at is None else "the athlete wants no mails"
    return (_consent(row), "") if row.email_confirmed_at else (None, "the address is not confirmed")


def give_address(connection: Connection, athlete_id: int, email: str) -> None:
    """Store an address and make the mail due that asks its owner; one that is confirmed already stays so.

    In the transaction that holds the athlete's row. The same address given again is asked again, by the same link.
    """
    before = consent_of(connection, athlete_id)
    is_same = before is not None and before.email == email
    if before is not None and is_same and before.confirmed_at is not None:
        return
    values: dict[str, Any] = {"email": email, "email_given_at": func.clock_timestamp(), "email_confirmed_at": None}
    if not is_same:
        values |= {"email_nonce": _nonce(), "unsubscribe_nonce": _nonce()}
        _ask_no_more(connection, athlete_id, "another address was given")
    _update(connection, athlete_id, values)
    connection.execute(
        insert_or_skip(notifications)
        .values(
            kind=MailKind.CONFIRMATION,
            athlete_id=athlete_id,
            state=MailState.PENDING,
            next_try_at=func.clock_timestamp(),
        )
        .on_conflict_do_nothing()
    )


def confirm_address(connection: Connection, consent: Consent) -> Confirmed:
    """The owner of an address takes its mails; void if another one, or none, is stored by now, or a week is over."""
    confirmed = connection.execute(
        update(users)
        .where(
            users.c.athlete_id == consent.athlete_id,
            users.c.email == consent.email,
            users.c.email_nonce == consent.nonce,
            users.c.email_confirmed_at.is_(None),
            users.c.email_given_at > func.clock_timestamp() - CONFIRM_WITHIN,
        )
        .values(
            email_confirmed_at=func.clock_timestamp(),
            unsubscribed_at=None,
            updated_at=func.clock_timestamp(),
        )
    )
    if confirmed.rowcount:
        _ask_no_more(connection, consent.athlete_id, "the address is confirmed")
        return Confirmed.NOW
    now = consent_of(connection, consent.athlete_id)
    same = now is not None and (now.email, now.nonce) == (consent.email, consent.nonce)
    return Confirmed.BEFORE if now is not None and same and now.confirmed_at is not None else Confirmed.VOID


def end_mails(connection: Connection, athlete_id: int, unsubscribe_nonce: str) -> bool:
    """Erase the address whose links have this nonce; only a new one begins mails anew. False if there is none."""
    ended = connection.execute(
        update(users)
        .where(users.c.athlete_id == athlete_id, users.c.unsubscribe_nonce == unsubscribe_nonce)
        .values(**NOTHING, unsubscribed_at=func.clock_timestamp(), updated_at=func.clock_timestamp())
    )
    if ended.rowcount:
        _ask_no_more(connection, athlete_id, "the athlete wants no mails")
    return bool(ended.rowcount)


def renew_links(connection: Connection, athlete_id: int) -> bool:
    """Make all links so far void that end an athlete's mails; False without an address. The next mail has a new one.

    A link that is still to confirm the address stays good: it leads to none of these before it has done so.
    """
    is_to_confirm = users.c.email_confirmed_at.is_(None)
    renewed = connection.execute(
        update(users)
        .where(users.c.athlete_id == athlete_id, users.c.email.is_not(None))
        .values(
            email_nonce=case((is_to_confirm, users.c.email_nonce), else_=_nonce()),
            unsubscribe_nonce=_nonce(),
            updated_at=func.clock_timestamp(),
        )
    )
    return bool(renewed.rowcount)


def erase_address(connection: Connection, athlete_id: int) -> None:
    """Erase an athlete's address with all consent, whoever wants that; nothing more is sent there."""
    _update(connection, athlete_id, NOTHING)
    _ask_no_more(connection, athlete_id, "the address was erased")


def erase_unconfirmed(connection: Connection) -> int:
    """Erase every address that was not confirmed in time; returns how many. A row that is in use waits its turn."""
    late = (
        select(users.c.athlete_id)
        .where(
            users.c.email.is_not(None),
            users.c.email_confirmed_at.is_(None),
            users.c.email_given_at <= func.clock_timestamp() - CONFIRM_WITHIN,
        )
        .with_for_update(skip_locked=True, key_share=True)
    )
    found = connection.execute(late).scalars().all()
    for athlete_id in found:
        erase_address(connection, athlete_id)
    return len(found)


def _update(connection: Connection, athlete_id: int, values: dict[str, Any]) -> None:
    connection.execute(
        update(users).where(users.c.athlete_id == athlete_id).values(**values, updated_at=func.clock_timestamp())
    )


def _ask_no_more(connection: Connection, athlete_id: int, reason: str) -> None:
    """A mail that is still to ask is not sent any more."""
    connection.execute(
        update(notifications)
        .where(
            notifications.c.athlete_id == athlete_id,
            notifications.c.kind == MailKind.CONFIRMATION,
            notifications.c.state == MailState.PENDING,
        )
        .values(state=MailState.SKIPPED, reason=reason, next_try_at=None, finished_at=func.clock_timestamp())
    )


def _consent(row: Row[Any]) -> Consent:
    return Consent(
        row.athlete_id, row.email, row.email_given_at, row.email_confirmed_at, row.email_nonce, row.unsubscribe_nonce
    )


def _nonce() -> str:
    return secrets.token_urlsafe(NONCE_BYTES)
