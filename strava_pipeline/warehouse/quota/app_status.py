"""Whether Strava has the app switched off: one row that all processes see, and one probe an hour."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from strava_pipeline.errors import AppInactive
from strava_pipeline.printable import printable
from strava_pipeline.warehouse.schema.ops_tables import app_status

log = logging.getLogger(__name__)

PROBE_EVERY = timedelta(hours=1)
_ONLY = app_status.c.id == 1


def load_status(connection: Connection) -> Row[Any] | None:
    """The row with what is known of the app and of Strava's clock; ``None`` before the first answer."""
    return connection.execute(select(app_status).where(_ONLY)).first()


def why_inactive(connection: Connection) -> str | None:
    """What a person can do about an app that is switched off; ``None``: it is not."""
    row = load_status(connection)
    return None if row is None or row.inactive_since is None else _advice(row)


def admit(status: Row[Any] | None, moment: datetime) -> bool:
    """Whether the call that asks is the probe of a switched-off app; ``AppInactive`` if it must not be sent.

    ``status`` as loaded under the ledger's lock; call :func:`begin_probe` once the call has room, so that one call
    only probes.
    """
    if status is None or status.inactive_since is None:
        return False
    if moment < status.probe_at:
        raise AppInactive(_advice(status))
    return True


def _advice(status: Row[Any]) -> str:
    return (
        f"Strava has the app switched off since {status.inactive_since:%Y-%m-%d %H:%M} UTC: its owner needs a Strava"
        f" subscription; tried again at {status.probe_at:%Y-%m-%d %H:%M} UTC ({status.reason})"
    )


def begin_probe(connection: Connection, moment: datetime) -> None:
    """The probe is about to be sent: the next one is due in an hour."""
    connection.execute(update(app_status).where(_ONLY).values(probe_at=moment + PROBE_EVERY))


def note_inactive(connection: Connection, reason: str, moment: datetime) -> None:
    """Strava said that the app is switched off: no call but the probe from now on."""
    reason = printable(reason)
    log.error("Strava has the app switched off (%s): one call an hour tries whether it is on again", reason)
    first = insert_or_update(app_status).values(
        id=1, inactive_since=moment, probe_at=moment + PROBE_EVERY, reason=reason
    )
    connection.execute(
        first.on_conflict_do_update(
            index_elements=[app_status.c.id],
            set_={
                "inactive_since": func.coalesce(app_status.c.inactive_since, moment),
                "probe_at": moment + PROBE_EVERY,
                "reason": reason,
            },
        )
    )


def note_active(connection: Connection) -> None:
    """The probe was answered: the app is on again."""
    log.warning("Strava has the app switched on again")
    connection.execute(update(app_status).where(_ONLY).values(inactive_since=None, probe_at=None, reason=None))
