"""The rows of ``ops.outages``: whether Strava's API and OAuth answer, for all processes; one row each.

The rules are in :mod:`strava_pipeline.strava.quota.outage`. Whoever changes a row holds the lock that guards it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from strava_pipeline.errors import StravaAway
from strava_pipeline.printable import printable
from strava_pipeline.redaction import get_logger
from strava_pipeline.strava.quota.outage import ANSWERED, FIRST_PAUSE_S, Outage, Service
from strava_pipeline.warehouse.schema.quota_tables import outages

log = get_logger(__name__)

# In the order of the fields of ``Outage``.
COLUMNS = tuple(outages.c[name] for name in Outage.__dataclass_fields__)
_NAMES = {Service.API: "Strava", Service.OAUTH: "Strava's OAuth"}
_LONGEST_REASON = 200


def outage_of(values: Sequence[Any]) -> Outage:
    """Return the state that a row's ``COLUMNS`` hold; that after an answer, if there is no row yet."""
    told = dict(zip(Outage.__dataclass_fields__, values, strict=True))
    if told["unanswered"] is None:
        return ANSWERED
    return Outage(**told | {"hosts": tuple(told["hosts"]), "pause_s": told["pause_s"] or FIRST_PAUSE_S})


def load_outage(connection: Connection, service: Service) -> Outage:
    """Load the stored state of a service."""
    row = connection.execute(select(*COLUMNS).where(outages.c.service == service)).first()
    return ANSWERED if row is None else outage_of(row)


def store_outage(connection: Connection, service: Service, state: Outage) -> None:
    """Store the state of a service."""
    values = asdict(state) | {"hosts": list(state.hosts)}
    connection.execute(
        insert_or_update(outages)
        .values(service=service, **values)
        .on_conflict_do_update(index_elements=[outages.c.service], set_=values)
    )


def note_answered(connection: Connection, service: Service, before: Outage, moment: datetime) -> bool:
    """Note that a call was answered; return whether the service was away. Writes nothing if the last one was, too."""
    if before == ANSWERED:
        return False
    store_outage(connection, service, ANSWERED)
    if before.away_since is not None:
        minutes = (moment - before.away_since).total_seconds() / 60
        log.warning("%s answers again after %.0f min", _NAMES[service], minutes)
    return before.is_away


def note_unanswered(
    connection: Connection,
    service: Service,
    before: Outage,
    *,
    sent: datetime,
    moment: datetime,
    host: str,
    reason: str,
    activity_id: int | None = None,
) -> bool:
    """Note that a call got no answer, and why; return whether the service is away from now on."""
    reason = printable(reason, _LONGEST_REASON)
    after = before.after_unanswered(sent, moment, activity_id, host, reason)
    store_outage(connection, service, after)
    if after.is_away and not before.is_away:
        log.error("%s: calls wait, and one at a time tries whether it answers again", _told(service, after))
    return after.is_away and not before.is_away


def release_probe(connection: Connection, service: Service, began_at: datetime, moment: datetime) -> None:
    """Note that the probe begun at ``began_at`` was not sent: the next call may try at once."""
    state = load_outage(connection, service)
    if state.is_away:
        store_outage(connection, service, state.probe_released(began_at, moment))


def away_error(
    service: Service, state: Outage, moment: datetime, host: str, *, rests_until: datetime | None = None
) -> StravaAway | None:
    """Return the error for a call that this machine must not send now; ``None`` if it may, if only as the probe.

    ``rests_until``: until when this call is not sent in any case.
    """
    if state.away_since is None:
        return None
    times = [] if state.may_probe(moment, host) else [state.probe_at or moment]
    if rests_until is not None and moment < rests_until:
        times.append(rests_until)
    if not times:
        return None
    return StravaAway(
        away_line(service, state, moment),
        since=state.away_since,
        retry_at=max(times),
        refreshes_only=service is Service.OAUTH,
    )


def away_line(service: Service, state: Outage, moment: datetime) -> str:
    """Return one line that says since when a service is away, why, and when it is tried again."""
    is_due = state.probe_at is None or state.probe_at <= moment
    again = "tried again with the next call" if is_due else f"tried again at {state.probe_at:%H:%M:%S} UTC"
    return f"{_told(service, state)}; {again}"


def _told(service: Service, state: Outage) -> str:
    return f"{_NAMES[service]} does not answer since {state.away_since:%Y-%m-%d %H:%M} UTC ({state.reason})"
