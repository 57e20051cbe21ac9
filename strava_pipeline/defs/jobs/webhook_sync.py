"""The job behind webhooks: fetch, store, analyse; one step per object, each with its own retries; then the mails.

:mod:`strava_pipeline.sync.failed_claims` decides what an error means for the events.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from importlib import import_module
from typing import Any

import dagster as dg
from sqlalchemy import Connection, Engine

from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.jobs.notifications import send_mails
from strava_pipeline.defs.partitions import cell, register_athlete
from strava_pipeline.defs.resources import StravaResource, WarehouseResource
from strava_pipeline.defs.steps import translate_faults
from strava_pipeline.errors import FencedOut, NeedsReauthorization
from strava_pipeline.names import HISTORY_ASSETS, NAMES, Job
from strava_pipeline.settings import load_settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.claims_at_work import work_on_claim
from strava_pipeline.sync.failed_claims import FailedClaim, Outcome
from strava_pipeline.warehouse.engine import retry_transaction
from strava_pipeline.warehouse.inbox import claims
from strava_pipeline.warehouse.inbox.claims import Claim
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked


class ClaimsConfig(dg.Config):
    """The fences of the claims that a run works on."""

    fences: list[int]


@dg.op(out=dg.DynamicOut(int))
def claimed_objects(
    context: dg.OpExecutionContext, config: ClaimsConfig, warehouse: WarehouseResource
) -> Iterator[dg.DynamicOutput[int]]:
    """Start one step per claimed object, after taking over the leases."""
    # Loads numpy while the first object is fetched, which takes longer.
    threading.Thread(target=import_module, args=("strava_pipeline.sync.activity_analysis",), daemon=True).start()
    with translate_faults(attempts_of(context)):
        held = claims.begin_run(warehouse.engine, config.fences, context.run_id)
    for claim in held:
        yield dg.DynamicOutput(claim.fence, mapping_key=f"{claim.object_type}_{claim.object_id}_{claim.fence}")
    if len(held) < len(config.fences):
        context.log.warning("%d claim(s) are no longer this run's", len(config.fences) - len(held))


# In no pool: the quota ledger limits requests, and a webhook must not wait for a backfill's steps.
@dg.op
def sync_object(
    context: dg.OpExecutionContext, fence: int, strava: StravaResource, warehouse: WarehouseResource
) -> None:
    """Bring one object up to date; events that cannot take effect become dead letters."""
    attempts = attempts_of(context)
    with translate_faults(attempts):
        claim = claims.refresh_claim(warehouse.engine, fence)
    if claim is None:
        context.log.warning("claim %d is no longer this run's: nothing to do", fence)
        return
    counts = Counter(event.aspect_type for event in claim.events)
    aspects = ", ".join(f"{count} x {aspect}" for aspect, count in counts.items())
    context.log.info("%s %d of athlete %d: %s", claim.object_type, claim.object_id, claim.athlete_id, aspects)
    with translate_faults(attempts):
        try:
            ended = work_on_claim(
                strava.sync(claim.lane),
                claim,
                context.run_id,
                may_retry=attempts.may_retry,
                keep_data=not load_settings().purge_on_deauthorization,
            )
        except FencedOut as error:
            context.log.warning(str(error))
            return
        if isinstance(ended, FailedClaim) and ended.outcome is Outcome.RETRY:
            raise ended.error
    if isinstance(ended, FailedClaim):
        _tell_failure(context, claim, ended)
        return
    context.log.info("%s %d: %s", claim.object_type, claim.object_id, ended.done)
    if ended.start is not None:
        _show_in_month(context, warehouse.engine, claim, ended.start)


@dg.job(
    executor_def=dg.in_process_executor,
    name=Job.WEBHOOK_SYNC,
    tags=NAMES.lane_tags(Lane.LIVE),
)
def webhook_sync() -> None:
    """Brings the objects of claimed webhook events up to date."""
    send_mails(claimed_objects().map(sync_object).collect())


def _tell_failure(context: dg.OpExecutionContext, claim: Claim, failed: FailedClaim) -> None:
    """Tell Dagster what became of the claim's events: they wait, or the step fails for good."""
    if failed.outcome is Outcome.WAITING:
        context.log.warning("waiting: %s", failed.error)
        return
    metadata: dict[str, Any] = {
        "kind": failed.kind,
        "class": failed.error_class.value,
        "events": len(claim.events),
    }
    raise dg.Failure(description=str(failed.error), metadata=metadata, allow_retries=False)


def _show_in_month(context: dg.OpExecutionContext, engine: Engine, claim: Claim, start: datetime) -> None:
    """Log in Dagster that an activity of the athlete's month was written.

    Only a month that was imported as a whole is shown as materialized; in any other month a single activity must not
    look like all of them.
    """
    if not _ensure_partitions(context.instance, engine, claim.athlete_id):
        return
    key = cell(claim.athlete_id, start)
    metadata: dict[str, Any] = {"activity": claim.activity_id, "cause": claim.events[-1].aspect_type}
    for name in HISTORY_ASSETS:
        imported = str(key) in context.instance.get_materialized_partitions(dg.AssetKey(name))
        shown = dg.AssetMaterialization if imported else dg.AssetObservation
        context.log_event(shown(name, partition=key, metadata=metadata))


def _ensure_partitions(instance: dg.DagsterInstance, engine: Engine, athlete_id: int) -> bool:
    """Create an athlete's partitions if missing; False if the athlete has been disconnected meanwhile."""

    def create(connection: Connection) -> None:
        # An erasure waits for this transaction; its task for Dagster then deletes these partitions, too.
        refuse_rows_of_revoked(connection, [athlete_id])
        register_athlete(instance, athlete_id)

    if instance.has_dynamic_partition(NAMES.partition_set, str(athlete_id)):
        return True
    try:
        retry_transaction(engine, create)
    except NeedsReauthorization:
        return False
    return True
