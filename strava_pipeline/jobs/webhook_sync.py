"""What a webhook sets off: fetch, store, analyse; one step per event, each with its own retries."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from strava_pipeline.assets.steps import LANE_TAG, POOL, step_faults
from strava_pipeline.partitions import cell, register_athlete
from strava_pipeline.resources import StravaResource, WarehouseResource
from strava_pipeline.strava.quota import Lane
from strava_pipeline.sync import Sync, import_activity, remove_if_gone
from strava_pipeline.warehouse.webhook_events import (
    Claim,
    ClaimedEvent,
    bury,
    finish,
    postpone,
    take_up,
)

# Only the app's owner can end this, so there is no point in asking often.
APP_INACTIVE_WAIT = timedelta(hours=1)
WRITTEN_ASSETS = ("activities", "activity_details", "activity_streams", "route_analyses")


class ClaimConfig(dg.Config):
    """A claim on one event of the inbox."""

    event_id: int
    fence: int


class ClaimsConfig(dg.Config):
    """The claims a run works on."""

    claims: list[ClaimConfig]


@dg.op(out=dg.DynamicOut(Claim))
def claimed_events(config: ClaimsConfig) -> Iterator[dg.DynamicOutput[Claim]]:
    """One step per claimed event."""
    for claim in config.claims:
        yield dg.DynamicOutput(Claim(claim.event_id, claim.fence), mapping_key=f"event_{claim.event_id}")


@dg.op(pool=POOL)
def sync_event(
    context: dg.OpExecutionContext, claim: Claim, strava: StravaResource, warehouse: WarehouseResource
) -> None:
    """Bring the activity of one event up to date; an event that cannot take effect becomes a dead letter."""
    with step_faults(context.retry_number), warehouse.engine.begin() as connection:
        event = take_up(connection, claim)
    if event is None:
        context.log.warning("event %d is no longer this run's: nothing to do", claim.event_id)
        return
    context.log.info("%s of %s %d of athlete %d", event.aspect_type, event.object_type, event.object_id, event.owner_id)
    try:
        with step_faults(context.retry_number):
            start = _take_effect(strava.sync(Lane.LIVE), event)
            finish(warehouse.engine, claim)
    except dg.Failure as failure:
        _give_up(warehouse, claim, failure)
        raise
    if start is not None:
        _log_materializations(context, event, start)


@dg.job(
    executor_def=dg.in_process_executor,
    tags={LANE_TAG: Lane.LIVE.value, "dagster/priority": "10"},
)
def webhook_sync() -> None:
    """Brings the activities of claimed webhook events up to date."""
    claimed_events().map(sync_event)


def _take_effect(sync: Sync, event: ClaimedEvent) -> datetime | None:
    """Do what the event asks for; returns when the activity starts, or ``None`` if there is nothing to show."""
    if event.object_type != "activity":
        return None
    if event.aspect_type == "delete":
        return remove_if_gone(sync, event.owner_id, event.object_id)
    return import_activity(sync, event.owner_id, event.object_id)


def _give_up(warehouse: WarehouseResource, claim: Claim, failure: dg.Failure) -> None:
    """An event that has to wait for quota, or for the app, waits; any other ends as a dead letter."""
    cause: Any = failure.metadata
    retry_at = cause.get("retry_at")
    kind = cause["kind"].value
    if retry_at is not None:
        postpone(warehouse.engine, claim, datetime.fromisoformat(retry_at.value), str(failure.description))
    elif kind == "AppInactive":
        postpone(warehouse.engine, claim, datetime.now(UTC) + APP_INACTIVE_WAIT, str(failure.description))
    else:
        transient = kind in ("RetriableStravaError", "DatabaseAway", "NotFound")
        bury(warehouse.engine, claim, str(failure.description), transient=transient)


def _log_materializations(context: dg.OpExecutionContext, event: ClaimedEvent, start: datetime) -> None:
    """Show the athlete's month as materialized, for each asset that was written."""
    register_athlete(context.instance, event.owner_id)
    key = cell(event.owner_id, start)
    for name in WRITTEN_ASSETS:
        context.log_event(
            dg.AssetMaterialization(
                name, partition=key, metadata={"activity": event.object_id, "cause": event.aspect_type}
            )
        )
