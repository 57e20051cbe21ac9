"""Parks the events of an athlete whose grant has ended, until the athlete connects again or is erased."""

from __future__ import annotations

from sqlalchemy import Connection, select, update

from strava_pipeline.errors import AthleteError, NeedsReauthorization
from strava_pipeline.printable import printable
from strava_pipeline.warehouse.athletes.erasure import delete_late_events
from strava_pipeline.warehouse.inbox.claims import Claim, under_fences
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.states import EventState, GrantState


def park(connection: Connection, claim: Claim, error: AthleteError) -> bool:
    """Park the claim's events until the athlete connects again; return False if the grant is active by now.

    Events of an athlete who has disconnected are dropped instead: they were stored while the erasure committed.
    """
    held = (
        select(webhook_events.c.id).where(under_fences([claim.fence])).order_by(webhook_events.c.id).with_for_update()
    )
    if connection.execute(held).first() is None:
        return True  # a newer claim decides
    # A shared lock: an athlete who connects at this moment commits before it, and is seen here as active, or after it,
    # and releases these events.
    theirs = select(users.c.state).where(users.c.athlete_id == claim.athlete_id).with_for_update(read=True)
    state = connection.execute(theirs).scalar()
    if state == GrantState.REVOKED:
        delete_late_events(connection, claim.athlete_id)
        return True
    if state == GrantState.ACTIVE and isinstance(error, NeedsReauthorization):
        return False
    connection.execute(
        update(webhook_events)
        .where(under_fences([claim.fence]))
        .values(state=EventState.PARKED, lease_until=None, waiting_for=None, error=printable(str(error)))
    )
    return True
