"""An athlete's deauthorization, confirmed at Strava before anything is erased.

Anyone can say that an athlete has gone. It is so when Strava refuses both the athlete's token and to refresh it.
"""

from __future__ import annotations

from sqlalchemy import Engine, select

from strava_pipeline.errors import NeedsReauthorization, RetriableStravaError, UnknownAthlete
from strava_pipeline.sync.backfill import Sync
from strava_pipeline.sync.webhook import Effect
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.erasure import erase_athlete, lock_events
from strava_pipeline.warehouse.inbox.claims import Claim, finish, prove
from strava_pipeline.warehouse.schema.ops_tables import users
from strava_pipeline.warehouse.states import GrantState
from strava_pipeline.warehouse.tokens.token_store import patient_transaction

WITHDRAWN = "withdrawn at Strava"


def settle_deauthorization(sync: Sync, claim: Claim, *, keep_data: bool) -> Effect:
    """Erase an athlete who has really withdrawn; other news of an athlete need nothing.

    ``FencedOut`` if a newer claim has it, or an error below ``StravaError``.
    """
    said = any(event.updates.get("authorized") == "false" for event in claim.events)
    dead = _dead_generation(sync, claim.owner_id) if said else None
    with patient_transaction(sync.engine) as connection:
        prove(connection, claim.fence)
        lock_events(connection, claim.owner_id)
        stored = select(users.c.generation).where(users.c.athlete_id == claim.owner_id).with_for_update()
        # Tokens of a connection that came meanwhile have another generation, and stay.
        erase = dead is not None and connection.execute(stored).scalar() == dead
        finish(connection, claim.fence)
        if erase:
            erase_athlete(connection, claim.owner_id, keep_data=keep_data, actor=Actor.STRAVA, cause=WITHDRAWN)
    if erase:
        return Effect(None, "withdrawn at Strava: erased")
    return Effect(None, "still connected: nothing to do" if said else "nothing to do")


def _dead_generation(sync: Sync, athlete_id: int) -> int | None:
    """The generation of the tokens that Strava refuses for good; ``None`` if it takes them."""
    try:
        sync.client.get_athlete(athlete_id)
    except UnknownAthlete:
        return None
    except NeedsReauthorization as error:
        state, generation = _grant(sync.engine, athlete_id)
        if state == GrantState.ACTIVE:
            # The token was refused, but a refresh was not: that proves nothing yet.
            raise RetriableStravaError(str(error), status=error.status, fault=error.fault) from error
        return generation
    return None


def _grant(engine: Engine, athlete_id: int) -> tuple[str, int]:
    query = select(users.c.state, users.c.generation).where(users.c.athlete_id == athlete_id)
    with engine.connect() as connection:
        row = connection.execute(query).one()
    return row.state, row.generation
