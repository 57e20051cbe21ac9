"""The job behind webhooks: fetch, store, analyse; one step per object, each with its own retries; then the mails.

:mod:`strava_pipeline.sync.failed_claims` decides what an error means for the events.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import dagster as dg

from strava_pipeline.defs.attempts import Attempts, attempts_of
from strava_pipeline.defs.decorators import our_job
from strava_pipeline.defs.plan import IO_MANAGER, NO_VALUE, Plan
from strava_pipeline.defs.resources import StravaResource, WarehouseResource
from strava_pipeline.defs.run_logs import step_log
from strava_pipeline.defs.shown_activities import show_activities
from strava_pipeline.defs.steps import translate_faults
from strava_pipeline.errors import FencedOut
from strava_pipeline.log_context import log_ids
from strava_pipeline.names import RETRIED_AS_A_WHOLE, Job
from strava_pipeline.our_runs import DEAD_EVENTS
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.claims_at_work import work_on_claim
from strava_pipeline.sync.failed_claims import FailedClaim, Outcome
from strava_pipeline.warehouse.inbox import claims
from strava_pipeline.warehouse.inbox.claims import Claim
from strava_pipeline.warehouse.states import ImportStep


class ClaimsConfig(dg.Config):
    """The fences of the claims that a run works on."""

    fences: list[int]


def webhook_sync_job(plan: Plan, send_mails: dg.OpDefinition) -> dg.JobDefinition:
    """Make the job behind webhooks; ``send_mails`` is its last op."""

    @dg.op(name=plan.names.op("claimed_objects"), out=dg.DynamicOut(int, io_manager_key=IO_MANAGER))
    def claimed_objects(
        context: dg.OpExecutionContext, config: ClaimsConfig, strava_warehouse: WarehouseResource
    ) -> Iterator[dg.DynamicOutput[int]]:
        """Start one step per claimed object, after taking over the leases."""
        yield from _claimed_objects(context, config, strava_warehouse)

    # In no pool: the quota ledger limits requests, and a webhook must not wait for a backfill's steps.
    @dg.op(name=plan.names.op("sync_object"), out=NO_VALUE)
    def sync_object(context: dg.OpExecutionContext, fence: int, strava_client: StravaResource) -> None:
        """Bring one object up to date; events that cannot take effect become dead letters."""
        _sync_object(context, fence, strava_client)

    @our_job(plan, Job.WEBHOOK_SYNC, plan.names.lane_tags(Lane.LIVE), RETRIED_AS_A_WHOLE)
    def webhook_sync() -> None:
        """Brings the objects of claimed webhook events up to date."""
        send_mails(claimed_objects().map(sync_object).collect())

    return webhook_sync


def _claimed_objects(
    context: dg.OpExecutionContext, config: ClaimsConfig, warehouse: WarehouseResource
) -> Iterator[dg.DynamicOutput[int]]:
    # Loads numpy while the first object is fetched, which takes longer.
    if ImportStep.FIGURES in warehouse.kept.steps:
        threading.Thread(target=import_module, args=("strava_pipeline.sync.activity_analysis",), daemon=True).start()
    with translate_faults(attempts_of(context)):
        held = claims.begin_run(warehouse.engine, config.fences, context.run_id)
    for claim in held:
        yield dg.DynamicOutput(claim.fence, mapping_key=f"{claim.object_type}_{claim.object_id}_{claim.fence}")
    if len(held) < len(config.fences):
        step_log(context).warning("%d claim(s) are no longer this run's", len(config.fences) - len(held))


def _sync_object(context: dg.OpExecutionContext, fence: int, strava: StravaResource) -> None:
    attempts = attempts_of(context)
    with translate_faults(attempts):
        claim = claims.refresh_claim(strava.warehouse.engine, fence)
    if claim is None:
        step_log(context).warning("claim %d is no longer this run's: nothing to do", fence)
        return
    with log_ids(**claim.log_ids):
        _work(context, strava, claim, attempts)


def _work(context: dg.OpExecutionContext, strava: StravaResource, claim: Claim, attempts: Attempts) -> None:
    counts = Counter(event.aspect_type for event in claim.events)
    aspects = ", ".join(f"{count} x {aspect}" for aspect, count in counts.items())
    step_log(context).info("%s: %s", claim.name, aspects)
    with translate_faults(attempts):
        try:
            ended = work_on_claim(
                strava.sync(claim.lane),
                claim,
                context.run_id,
                may_retry=attempts.may_retry,
                keep_data=not strava.warehouse.load_settings().purge_on_deauthorization,
            )
        except FencedOut as error:
            step_log(context).warning(str(error))
            return
        if isinstance(ended, FailedClaim) and ended.outcome is Outcome.RETRY:
            step_log(context).warning("trying again: %s", ended.error)
            raise ended.error
    if isinstance(ended, FailedClaim):
        _tell_failure(context, claim, ended)
        return
    step_log(context).info("%s %d: %s", claim.object_type, claim.object_id, ended.done)
    if ended.start is not None:
        shown = {claim.activity_id: ended.start}
        show_activities(context, strava.warehouse, claim.athlete_id, shown, claim.events[-1].aspect_type)


def _tell_failure(context: dg.OpExecutionContext, claim: Claim, failed: FailedClaim) -> None:
    """Tell Dagster what became of the claim's events: they wait, or the step fails for good."""
    if failed.outcome is Outcome.WAITING:
        step_log(context).warning("waiting: %s", failed.error)
        return
    # Dagster's own line about the failure names no event.
    step_log(context).error("dead letter: %s", failed.error)
    metadata: dict[str, Any] = {
        "kind": failed.kind,
        "class": failed.error_class.value,
        DEAD_EVENTS: len(claim.events),
    }
    raise dg.Failure(description=str(failed.error), metadata=metadata, allow_retries=False)
