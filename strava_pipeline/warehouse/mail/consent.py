"""An athlete's consent to mails: the address is given, confirmed by its owner, and erased at the end.

::

    none -> given -> confirmed
      ^       |          |        another address: given, with all links so far void
      +-------+----------+        ended, erased, or not confirmed within a week

Each address has two nonces: one in the link that confirms the address, one in the links that end its mails. A link is
void once its nonce is no longer stored. The operator can renew the links: all links that end the mails become void, and
also the link by which the address was confirmed, because its page shows a link that ends the mails.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Row, case, select, update

from strava_pipeline.warehouse.mail.mail_queue import queue_for_athlete, skip_pending
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.states import MailKind

NONCE_BYTES = 16
# An address that is not confirmed within this time is erased; the link that confirms it is valid for as long.
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
    """A stored address, times in UTC. While ``confirmed_at`` is ``None``, it gets only mails that ask to confirm it."""

    athlete_id: int
    email: str
    given_at: datetime
    confirmed_at: datetime | None
    nonce: str
    unsubscribe_nonce: str


class Confirmed(StrEnum):
    """The result of a link that confirms an address: confirmed now, confirmed before, or void."""

    NOW = "now"
    BEFORE = "before"
    VOID = "void"


def consent_of(connection: Connection, athlete_id: int) -> Consent | None:
    """Return an athlete's stored address with its consent; ``None`` if no address is stored."""
    row = connection.execute(select(users).where(users.c.athlete_id == athlete_id)).first()
    return None if row is None or row.email is None else _consent(row)


def address_of(connection: Connection, athlete_id: int) -> tuple[Consent | None, str]:
    """Return the address for an athlete's ride summaries and ''; or ``None`` and why there is none."""
    row = connection.execute(select(users).where(users.c.athlete_id == athlete_id)).first()
    if row is None:
        return None, "the athlete is not connected"
    if row.email is None:
        return None, "the athlete has no address" if row.unsubscribed_at is None else "the athlete wants no mails"
    return (_consent(row), "") if row.email_confirmed_at else (None, "the address is not confirmed")


def give_address(connection: Connection, athlete_id: int, email: str) -> None:
    """Store an address and queue the mail that asks its owner for confirmation.

    Does nothing if this address is confirmed already. An address that is given again before it is confirmed is asked
    again, with the same link. The caller's transaction holds the lock on the athlete's row.
    """
    before = consent_of(connection, athlete_id)
    is_same = before is not None and before.email == email
    if before is not None and is_same and before.confirmed_at is not None:
        return
    values: dict[str, Any] = {"email": email, "email_given_at": database_time(), "email_confirmed_at": None}
    if not is_same:
        values |= {"email_nonce": _nonce(), "unsubscribe_nonce": _nonce()}
        _ask_no_more(connection, athlete_id, "another address was given")
    _update(connection, athlete_id, values)
    queue_for_athlete(connection, athlete_id, MailKind.CONFIRMATION)


def confirm_address(connection: Connection, consent: Consent) -> Confirmed:
    """Confirm an address, because its owner wants the mails.

    ``VOID`` if another address or none is stored by now, or if ``CONFIRM_WITHIN`` has passed.
    """
    confirmed = connection.execute(
        update(users)
        .where(
            users.c.athlete_id == consent.athlete_id,
            users.c.email == consent.email,
            users.c.email_nonce == consent.nonce,
            users.c.email_confirmed_at.is_(None),
            users.c.email_given_at > database_time() - CONFIRM_WITHIN,
        )
        .values(
            email_confirmed_at=database_time(),
            unsubscribed_at=None,
            updated_at=database_time(),
        )
    )
    if confirmed.rowcount:
        _ask_no_more(connection, consent.athlete_id, "the address is confirmed")
        return Confirmed.NOW
    now = consent_of(connection, consent.athlete_id)
    same = now is not None and (now.email, now.nonce) == (consent.email, consent.nonce)
    return Confirmed.BEFORE if now is not None and same and now.confirmed_at is not None else Confirmed.VOID


def end_mails(connection: Connection, athlete_id: int, unsubscribe_nonce: str) -> bool:
    """Erase the address whose links have this nonce; return False if there is none. A new address begins mails anew."""
    ended = connection.execute(
        update(users)
        .where(users.c.athlete_id == athlete_id, users.c.unsubscribe_nonce == unsubscribe_nonce)
        .values(**NOTHING, unsubscribed_at=database_time(), updated_at=database_time())
    )
    if ended.rowcount:
        _ask_no_more(connection, athlete_id, "the athlete wants no mails")
    return bool(ended.rowcount)


def renew_links(connection: Connection, athlete_id: int) -> bool:
    """Make all links void that end an athlete's mails; return False without an address. The next mail has a new link.

    If the address is not confirmed, the link that confirms it stays valid: only after it has confirmed the address
    does its page show a link that ends the mails.
    """
    is_to_confirm = users.c.email_confirmed_at.is_(None)
    renewed = connection.execute(
        update(users)
        .where(users.c.athlete_id == athlete_id, users.c.email.is_not(None))
        .values(
            email_nonce=case((is_to_confirm, users.c.email_nonce), else_=_nonce()),
            unsubscribe_nonce=_nonce(),
            updated_at=database_time(),
        )
    )
    return bool(renewed.rowcount)


def erase_address(connection: Connection, athlete_id: int) -> None:
    """Erase an athlete's address and consent; nothing more is sent there."""
    _update(connection, athlete_id, NOTHING)
    _ask_no_more(connection, athlete_id, "the address was erased")


def erase_unconfirmed(connection: Connection) -> int:
    """Erase every address that was not confirmed in time; return how many. A locked row is left for the next call."""
    late = (
        select(users.c.athlete_id)
        .where(
            users.c.email.is_not(None),
            users.c.email_confirmed_at.is_(None),
            users.c.email_given_at <= database_time() - CONFIRM_WITHIN,
        )
        .with_for_update(skip_locked=True, key_share=True)
    )
    found = connection.execute(late).scalars().all()
    for athlete_id in found:
        erase_address(connection, athlete_id)
    return len(found)


def _update(connection: Connection, athlete_id: int, values: dict[str, Any]) -> None:
    connection.execute(
        update(users).where(users.c.athlete_id == athlete_id).values(**values, updated_at=database_time())
    )


def _ask_no_more(connection: Connection, athlete_id: int, reason: str) -> None:
    """Skip an athlete's pending mail that asks for confirmation."""
    skip_pending(connection, athlete_id, MailKind.CONFIRMATION, reason)


def _consent(row: Row[Any]) -> Consent:
    return Consent(
        row.athlete_id, row.email, row.email_given_at, row.email_confirmed_at, row.email_nonce, row.unsubscribe_nonce
    )


def _nonce() -> str:
    return secrets.token_urlsafe(NONCE_BYTES)
