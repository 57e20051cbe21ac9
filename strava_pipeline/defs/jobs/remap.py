"""Rebuilds the tables of activities from the stored raw answers, after a change of the mapping."""

from datetime import UTC, datetime

import dagster as dg

from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.decorators import our_job
from strava_pipeline.defs.plan import NO_VALUE, Plan
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.run_logs import step_log
from strava_pipeline.defs.steps import translate_faults
from strava_pipeline.names import ROOT_RUN_TAG, Job
from strava_pipeline.warehouse.activities import remapping


class RemapConfig(dg.Config):
    """The athlete whose activities are re-mapped; without one, all athletes."""

    athlete_id: int | None = None


def remap_job(plan: Plan) -> dg.JobDefinition:
    """Make the job of remapping."""

    @dg.op(name=plan.names.op("remap_payloads"), out=NO_VALUE, pool=plan.pools().upkeep)
    def remap_payloads(
        context: dg.OpExecutionContext, config: RemapConfig, strava_warehouse: WarehouseResource
    ) -> None:
        """Rebuild rows batch by batch; a re-executed run goes on where the first one ended."""
        _remap(context, config, strava_warehouse)

    @our_job(plan, Job.REMAP, description=__doc__)
    def remap() -> None:
        remap_payloads()

    return remap


def _remap(context: dg.OpExecutionContext, config: RemapConfig, warehouse: WarehouseResource) -> None:
    rebuilt = 0
    odd: dict[int, str] = {}
    with translate_faults(attempts_of(context)):
        batches = remapping.remap(
            warehouse.engine, before=_first_began(context), athlete_id=config.athlete_id, kept=warehouse.kept
        )
        for batch in batches:
            rebuilt += batch.rebuilt
            odd |= batch.odd
            for reason in batch.odd.values():
                step_log(context).warning("not re-mapped: %s", reason)
            step_log(context).info("%d activities re-mapped, up to %d", rebuilt, batch.last_id)
    context.add_output_metadata({"re-mapped": rebuilt, "not re-mapped": len(odd)})


def _first_began(context: dg.OpExecutionContext) -> datetime:
    """When the run was created (UTC) that this run repeats, or this run itself."""
    record = context.instance.get_run_record_by_id(context.run.tags.get(ROOT_RUN_TAG, context.run_id))
    if record is None:
        raise dg.DagsterInvariantViolationError("the run is not in Dagster's storage")
    return record.create_timestamp.astimezone(UTC)
