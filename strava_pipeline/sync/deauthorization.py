"""An athlete's deauthorization, confirmed at Strava before anything is erased.

Anyone can say that an athlete has gone. It is so when Strava refuses both the athlete's token and to refresh it.
"""

from __future__ import annotations

from strava_pipeline.errors import NeedsReauthorization, RetriableStravaError, UnknownAthlete
from strava_pipeline.sync.backfill import SyncContext
from strava_pipeline.sync.webhook import SyncResult
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.erasure import erase_athlete, lock_events
from strava_pipeline.warehouse.inbox.claims import Claim, check_fence, mark_done
from strava_pipeline.warehouse.states import GrantState
from strava_pipeline.warehouse.tokens.grants import Grant, grant_of
from strava_pipeline.warehouse.tokens.token_store import patient_transaction

WITHDRAWN = "withdrawn at Strava"


def settle_deauthorization(sync: SyncContext, claim: Claim, *, keep_data: bool) -> SyncResult:
    """Erase an athlete who has really withdrawn; other news of an athlete need nothing.

    ``FencedOut`` if a newer claim has it, or an error below ``StravaError``.
    """
    said = any(event.updates.get("authorized") == "false" for event in claim.events)
    dead = _dead_generation(sync, claim.athlete_id) if said else None
    with patient_transaction(sync.engine) as connection:
        check_fence(connection, claim.fence)
        lock_events(connection, claim.athlete_id)
        # Tokens of a connection that came meanwhile have another generation, and stay.
        erase = dead is not None and _generation(grant_of(connection, claim.athlete_id, lock=True)) == dead
        mark_done(connection, claim.fence)
        if erase:
            erase_athlete(connection, claim.athlete_id, keep_data=keep_data, actor=Actor.STRAVA, cause=WITHDRAWN)
    if erase:
        return SyncResult(None, "withdrawn at Strava: erased")
    return SyncResult(None, "still connected: nothing to do" if said else "nothing to do")


def _dead_generation(sync: SyncContext, athlete_id: int) -> int | None:
    """The generation of the tokens that Strava refuses for good; ``None`` if it takes them."""
    try:
        sync.client.get_athlete(athlete_id)
    except UnknownAthlete:
        return None
    except NeedsReauthorization as error:
        with sync.engine.connect() as connection:
            grant = grant_of(connection, athlete_id)
        if grant is not None and grant.state is GrantState.ACTIVE:
            # The token was refused, but a refresh was not: that proves nothing yet.
            raise RetriableStravaError(str(error), status=error.status, fault=error.fault) from error
        return _generation(grant)
    return None


def _generation(grant: Grant | None) -> int | None:
    return None if grant is None else grant.generation
