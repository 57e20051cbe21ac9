"""Whether Strava has switched off the app: one row that all processes read, and one probe an hour while it is off."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from strava_pipeline.errors import AppInactive
from strava_pipeline.printable import printable
from strava_pipeline.redaction import get_logger
from strava_pipeline.strava.quota.clock import StravaClock
from strava_pipeline.warehouse.schema.ops_tables import app_status

log = get_logger(__name__)

PROBE_EVERY = timedelta(hours=1)
_ONLY = app_status.c.id == 1
_COLUMNS = app_status.c["inactive_since", "probe_at", "reason", "clock_offset_s", "clock_error_s", "clock_learned_at"]


@dataclass(frozen=True, slots=True)
class AppStatus:
    """The known state of the app and of Strava's clock.

    While the app is inactive: ``inactive_since``, ``probe_at`` (when the next probe is due; both UTC), ``reason``.
    """

    inactive_since: datetime | None = None
    probe_at: datetime | None = None
    reason: str | None = None
    clock: StravaClock = field(default_factory=StravaClock)


def load_status(connection: Connection) -> AppStatus:
    """Load the stored state; empty if nothing was stored yet."""
    row = connection.execute(select(*_COLUMNS).where(_ONLY)).first()
    if row is None:
        return AppStatus()
    inactive_since, probe_at, reason, offset_s, error_s, learned_at = row
    return AppStatus(inactive_since, probe_at, reason, StravaClock(offset_s, error_s or 0.0, learned_at))


def why_inactive(connection: Connection) -> str | None:
    """Return a line that says what to do about a switched-off app; ``None`` if the app is on."""
    status = load_status(connection)
    return None if status.inactive_since is None else _advice(status)


def admit(status: AppStatus, moment: datetime) -> bool:
    """Whether a call that is sent now is the probe of a switched-off app; ``AppInactive`` if no probe is due yet.

    ``status`` was loaded under the ledger's lock. Call :func:`begin_probe` once the call has room, so that only one
    call probes.
    """
    if status.inactive_since is None:
        return False
    if status.probe_at is not None and moment < status.probe_at:
        raise AppInactive(_advice(status))
    return True


def _advice(status: AppStatus) -> str:
    return (
        f"Strava has the app switched off since {status.inactive_since:%Y-%m-%d %H:%M} UTC: its owner needs a Strava"
        f" subscription; tried again at {status.probe_at:%Y-%m-%d %H:%M} UTC ({status.reason})"
    )


def begin_probe(connection: Connection, moment: datetime) -> None:
    """Note that a probe is about to be sent: the next one is due in an hour."""
    connection.execute(update(app_status).where(_ONLY).values(probe_at=moment + PROBE_EVERY))


def note_inactive(connection: Connection, reason: str, moment: datetime) -> None:
    """Note that Strava says the app is switched off: from now on only probes are sent. ``reason``: Strava's words."""
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
    """Note that the app is on again, because the probe was answered."""
    log.warning("Strava has the app switched on again")
    connection.execute(update(app_status).where(_ONLY).values(inactive_since=None, probe_at=None, reason=None))
