"""Whether Strava has switched off the app: one row that all processes read, and one probe an hour while it is off.

The rows that say whether Strava answers at all, and to which database the tables belong, are read with it, since every
call needs all three.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection, func, literal, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from strava_pipeline.errors import AppInactive
from strava_pipeline.printable import printable
from strava_pipeline.redaction import get_logger
from strava_pipeline.strava.quota.clock import StravaClock
from strava_pipeline.strava.quota.outage import ANSWERED, APP_PROBE_EVERY, Outage, Service
from strava_pipeline.warehouse.quota.outages import COLUMNS as OUTAGE_COLUMNS
from strava_pipeline.warehouse.quota.outages import outage_of
from strava_pipeline.warehouse.restored import IS_ROW as IS_IDENTITY
from strava_pipeline.warehouse.restored import Belonging, belonging_columns, belonging_of
from strava_pipeline.warehouse.schema.quota_tables import app_status, outages
from strava_pipeline.warehouse.schema.restore_tables import database_identity

log = get_logger(__name__)

_ONLY = app_status.c.id == 1
_COLUMNS = app_status.c["inactive_since", "probe_at", "reason", "clock_offset_s", "clock_error_s", "clock_learned_at"]
# One row, whether or not the three tables have theirs.
_ALWAYS = select(literal(1).label("row")).subquery()
_ROWS = (
    _ALWAYS.outerjoin(app_status, _ONLY)
    .outerjoin(outages, outages.c.service == Service.API)
    .outerjoin(database_identity, IS_IDENTITY)
)


@dataclass(frozen=True, slots=True)
class AppStatus:
    """The known state of the app, of Strava's clock and of Strava's API, and to which database the tables belong.

    While the app is inactive: ``inactive_since``, ``probe_at`` (when the next probe is due; both UTC), ``reason``.
    """

    inactive_since: datetime | None = None
    probe_at: datetime | None = None
    reason: str | None = None
    clock: StravaClock = field(default_factory=StravaClock)
    outage: Outage = ANSWERED
    belonging: Belonging | None = None

    @property
    def are_calls_held(self) -> bool:
        """Whether the tables come from a backup, so that nobody may call Strava yet."""
        return self.belonging is not None and self.belonging.holds_calls


def load_status(connection: Connection) -> AppStatus:
    """Load the stored state; empty if nothing was stored yet."""
    of_belonging = belonging_columns(connection)
    row = connection.execute(select(*_COLUMNS, *OUTAGE_COLUMNS, *of_belonging).select_from(_ROWS)).one()
    inactive_since, probe_at, reason, offset_s, error_s, learned_at = row[: len(_COLUMNS)]
    clock = StravaClock(offset_s, error_s or 0.0, learned_at)
    outage = outage_of(row[len(_COLUMNS) : -len(of_belonging)])
    return AppStatus(inactive_since, probe_at, reason, clock, outage, belonging_of(row[-len(of_belonging) :]))


def inactive_error(status: AppStatus, moment: datetime) -> AppInactive | None:
    """Return the error for a call that must not be sent now, because the app is switched off and no probe is due.

    ``status`` was loaded under the ledger's lock. Call :func:`begin_probe` once the call has room, so that only one
    call probes.
    """
    if status.inactive_since is None or status.probe_at is None:
        return None
    # A time further away than any pause was written before the database's clock was set back.
    if moment >= status.probe_at or status.probe_at > moment + APP_PROBE_EVERY:
        return None
    return AppInactive(inactive_line(status), retry_at=status.probe_at)


def inactive_line(status: AppStatus) -> str:
    """Return one line that says since when the app is switched off, and what to do about it."""
    return (
        f"Strava has the app switched off since {status.inactive_since:%Y-%m-%d %H:%M} UTC: its owner needs a Strava"
        f" subscription; tried again at {status.probe_at:%Y-%m-%d %H:%M} UTC ({status.reason})"
    )


def begin_probe(connection: Connection, moment: datetime) -> None:
    """Note that a probe is about to be sent: the next one is due in an hour."""
    connection.execute(update(app_status).where(_ONLY).values(probe_at=moment + APP_PROBE_EVERY))


def release_probe(connection: Connection, began_at: datetime, moment: datetime) -> None:
    """Note that the probe begun at ``began_at`` was not sent: the next call may try at once."""
    was_last = app_status.c.probe_at == began_at + APP_PROBE_EVERY
    connection.execute(update(app_status).where(_ONLY, was_last).values(probe_at=moment))


def note_inactive(connection: Connection, reason: str, moment: datetime) -> None:
    """Note that Strava says the app is switched off: from now on only probes are sent. ``reason``: Strava's words."""
    reason = printable(reason)
    log.error("Strava has the app switched off (%s): one call an hour tries whether it is on again", reason)
    first = insert_or_update(app_status).values(
        id=1, inactive_since=moment, probe_at=moment + APP_PROBE_EVERY, reason=reason
    )
    connection.execute(
        first.on_conflict_do_update(
            index_elements=[app_status.c.id],
            set_={
                "inactive_since": func.coalesce(app_status.c.inactive_since, moment),
                "probe_at": moment + APP_PROBE_EVERY,
                "reason": reason,
            },
        )
    )


def note_active(connection: Connection) -> None:
    """Note that the app is on again, because the probe was answered."""
    log.warning("Strava has the app switched on again")
    connection.execute(update(app_status).where(_ONLY).values(inactive_since=None, probe_at=None, reason=None))
