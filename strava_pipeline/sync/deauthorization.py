"""Confirms an athlete's deauthorization at Strava before anything is erased.

Anyone can send an event that announces one. It is confirmed when Strava refuses both the athlete's access token and
its refresh.
"""

from __future__ import annotations

from strava_pipeline.errors import NeedsReauthorization, RetriableStravaError, UnknownAthlete
from strava_pipeline.sync.context import SyncContext
from strava_pipeline.sync.webhook import SyncResult
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.erasure import begin_erasure_within, lock_events
from strava_pipeline.warehouse.inbox.claims import Claim, check_fence, mark_done
from strava_pipeline.warehouse.states import GrantState
from strava_pipeline.warehouse.tokens.grants import Grant, grant_of
from strava_pipeline.warehouse.tokens.token_store import patient_transaction

DEAUTHORIZED = "deauthorized at Strava"


def settle_deauthorization(sync: SyncContext, claim: Claim, *, keep_data: bool) -> SyncResult:
    """Decide the erasure of an athlete whose deauthorization Strava confirms; other events change nothing.

    The event is done together with the decision, which nobody takes back: whoever deletes the data goes on until none
    are left (:mod:`strava_pipeline.sync.erasing`).
    Raises ``FencedOut`` if a newer claim has the athlete, or an error below ``StravaError``.
    """
    announced = any(event.updates.get("authorized") == "false" for event in claim.events)
    dead = _dead_generation(sync, claim.athlete_id) if announced else None
    with patient_transaction(sync.engine) as connection:
        check_fence(connection, claim.fence)
        lock_events(connection, claim.athlete_id)
        # An athlete who has connected again meanwhile has tokens of another generation, and stays.
        erase = dead is not None and _generation(grant_of(connection, claim.athlete_id, lock=True)) == dead
        mark_done(connection, claim.fence)
        if erase:
            begun = begin_erasure_within(
                connection, claim.athlete_id, keep_data=keep_data, actor=Actor.STRAVA, cause=DEAUTHORIZED
            )
            told = "the data are deleted from now on" if begun.deletes_data else "the data stay"
            return SyncResult(None, f"deauthorized at Strava: tokens and address are erased, {told}")
    return SyncResult(None, "still connected: nothing to do" if announced else "nothing to do")


def _dead_generation(sync: SyncContext, athlete_id: int) -> int | None:
    """The generation of the tokens if Strava refuses them for good; ``None`` if it accepts them or there are none."""
    try:
        sync.client.get_athlete(athlete_id)
    except UnknownAthlete:
        return None
    except NeedsReauthorization as error:
        with sync.engine.connect() as connection:
            grant = grant_of(connection, athlete_id)
        if grant is not None and grant.state is GrantState.ACTIVE:
            # The access token was refused, but not its refresh: that proves nothing yet.
            raise RetriableStravaError(str(error), status=error.status, fault=error.fault) from error
        return _generation(grant)
    return None


def _generation(grant: Grant | None) -> int | None:
    return None if grant is None else grant.generation
