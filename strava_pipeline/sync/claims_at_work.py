"""Works on claims: brings a claim's object up to date while its leases are extended, and settles what fails."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from strava_pipeline.errors import FencedOut, StravaPipelineError
from strava_pipeline.redaction import get_logger
from strava_pipeline.sync.context import SyncContext
from strava_pipeline.sync.deauthorization import settle_deauthorization
from strava_pipeline.sync.failed_claims import FailedClaim, give_up_after_bug, settle_failure
from strava_pipeline.sync.webhook import SyncResult, sync_activity
from strava_pipeline.warehouse.inbox import claims
from strava_pipeline.warehouse.inbox.claims import Claim

log = get_logger(__name__)

# Several times within a lease, so that one failed heartbeat does no harm.
HEARTBEAT_SECONDS = claims.WORK_LEASE.total_seconds() / 4


def work_on_claim(
    sync: SyncContext, claim: Claim, run_id: str, *, may_retry: Callable[[StravaPipelineError], bool], keep_data: bool
) -> SyncResult | FailedClaim:
    """Bring a claimed object up to date; return what was done, or what becomes of the events after an error.

    ``may_retry``: whether the run may try again after an error. ``keep_data``: whether a deauthorized athlete's data
    stay. Raises ``FencedOut`` if a newer claim has the object, ``DatabaseUnavailable`` if the outcome could not be
    stored, and any error that is a fault of this program, whose events are dead letters by then.
    """
    try:
        # Extends the leases while the work is done, or waits for quota.
        with sync.pauses.heartbeat(partial(claims.extend_leases, sync.engine, run_id), HEARTBEAT_SECONDS):
            return _apply(sync, claim, keep_data=keep_data)
    except FencedOut:
        raise
    except StravaPipelineError as error:
        return settle_failure(sync.engine, claim, error, may_retry=may_retry(error))
    except Exception as error:
        # Dagster shows the traceback.
        log.error("%s: a fault of this program, so its events are dead letters", claim.name)  # noqa: TRY400  see above
        give_up_after_bug(sync.engine, claim, error, run_id)
        raise


def _apply(sync: SyncContext, claim: Claim, *, keep_data: bool) -> SyncResult:
    if claim.object_type == "athlete":
        return settle_deauthorization(sync, claim, keep_data=keep_data)
    return sync_activity(sync, claim)
