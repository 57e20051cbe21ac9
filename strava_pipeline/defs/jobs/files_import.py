"""The job that takes an athlete's files from the watched folder, and the schedule that launches it without a bridge.

The bridge watches the folder itself, and is sooner. Of two runs for one athlete the second one does nothing.
"""

import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import dagster as dg

from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.dead_runs import is_one_to_come
from strava_pipeline.defs.decorators import our_job
from strava_pipeline.defs.markdown import listing
from strava_pipeline.defs.plan import NO_VALUE, Plan
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.run_logs import step_log
from strava_pipeline.defs.schedules import prepare
from strava_pipeline.defs.shown_activities import show_activities
from strava_pipeline.defs.steps import translate_faults
from strava_pipeline.errors import ConfigurationError, WorkTaken
from strava_pipeline.files_runs import MOST_AT_ONCE, TAKE_FILES_OP, files_config, files_tags
from strava_pipeline.kept_assets import kept_of
from strava_pipeline.log_context import log_ids
from strava_pipeline.names import NO_RETRIES, Job
from strava_pipeline.own_process import CODE_SERVER
from strava_pipeline.printable import printable
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.files_folder import folder_of, waiting_files
from strava_pipeline.sync.folder_import import Outcome, Refused, Stuck, Took, TookArchive, take_files
from strava_pipeline.warehouse.migrate import open_warehouse
from strava_pipeline.warehouse.states import ImportStep

NOT_KEPT = "no activities are kept: files are left where they are"


class FilesConfig(dg.Config):
    """The athlete whose files a run takes."""

    athlete_id: int


def files_import_job(plan: Plan, send_mails: dg.OpDefinition) -> dg.JobDefinition:
    """Make the job of the watched folder; ``send_mails`` is its last op."""

    # In no pool: a ride that was just brought must not wait for a backfill's steps.
    @dg.op(name=plan.names.op(TAKE_FILES_OP), out=NO_VALUE)
    def take_waiting_files(
        context: dg.OpExecutionContext, config: FilesConfig, strava_warehouse: WarehouseResource
    ) -> None:
        """Store and analyse an athlete's files from the watched folder, and move each to done or failed."""
        _take(context, config.athlete_id, strava_warehouse)

    @our_job(plan, Job.FILES_IMPORT, plan.names.lane_tags(Lane.LIVE), NO_RETRIES)
    def files_import() -> None:
        """Takes an athlete's files from the watched folder."""
        send_mails(take_waiting_files())

    return files_import


def _take(context: dg.OpExecutionContext, athlete_id: int, warehouse: WarehouseResource) -> None:
    if ImportStep.SUMMARY not in warehouse.kept.steps:
        step_log(context).warning(NOT_KEPT)
        return
    from strava_pipeline.sync.folder_hands import folder_work  # noqa: PLC0415  loads numerics, which other runs do without

    outcomes: list[Outcome] = []
    with translate_faults(attempts_of(context)) as subject:
        subject.at_athlete(athlete_id)
        work = folder_work(warehouse.load_settings(), warehouse.engine, warehouse.kept)
        try:
            for outcome in take_files(work, athlete_id):
                outcomes.append(outcome)
                _tell(context, outcome)
        except WorkTaken as error:
            step_log(context).info("%s", error)
        finally:
            _show(context, warehouse, athlete_id, outcomes)


def _tell(context: dg.OpExecutionContext, outcome: Outcome) -> None:
    match outcome:
        case Took(file, taken_for, has_mail):
            with log_ids(activity_id=taken_for.activity_id):
                mail = ", and a mail is due" if has_mail else ""
                name = printable(file.name)
                step_log(context).info("%s is activity %d%s", name, taken_for.activity_id, mail)
        case TookArchive(file):
            step_log(context).info("%s is imported", printable(file.name))
        case Refused(file, why):
            step_log(context).warning("%s was moved to failed: %s", printable(file.name), why)
        case Stuck(why):
            step_log(context).warning("%s", why)


def _show(
    context: dg.OpExecutionContext, warehouse: WarehouseResource, athlete_id: int, outcomes: list[Outcome]
) -> None:
    """Show in Dagster what was written, be it that a later file's error ends the run."""
    starts: dict[int, datetime] = {
        found.taken_for.activity_id: found.taken_for.start for found in outcomes if isinstance(found, Took)
    }
    show_activities(context, warehouse, athlete_id, starts, "file")
    refused = [f"{printable(found.file.name)}: {found.why}" for found in outcomes if isinstance(found, Refused)]
    metadata: dict[str, Any] = {"activities": len(starts)}
    if refused:
        metadata["failed"] = listing(refused)
    context.add_output_metadata(metadata)


def files_every_five_minutes(plan: Plan) -> dg.ScheduleDefinition:
    """Make the schedule of the watched folder: where a bridge watches, it is sooner."""

    @dg.schedule(
        job_name=plan.names.job(Job.FILES_IMPORT),
        name=plan.names.schedule("files_every_five_minutes"),
        cron_schedule="2-59/5 * * * *",
        execution_timezone="UTC",
        default_status=plan.schedule_status,
    )
    def look_for_files(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Request a run for each athlete for whom files wait, and who has none to come."""
        try:
            wanted, why_not = _due(context.instance, plan)
        except ConfigurationError as error:
            wanted, why_not = [], str(error)
        for athlete_id in wanted:
            config, tags = files_config(plan.names, athlete_id), files_tags(plan.names, athlete_id)
            # With the time: Dagster launches no second run of a key, and files come again and again.
            yield dg.RunRequest(run_key=f"{athlete_id} {time.time():.3f}", run_config=config, tags=tags)
        if not wanted:
            yield dg.SkipReason(why_not)

    return look_for_files


def _due(instance: dg.DagsterInstance, plan: Plan) -> tuple[list[int], str]:
    """The athletes for whom a run is needed, and why none is for others."""
    settings = plan.settings_with_database()
    root = folder_of(settings)
    if ImportStep.SUMMARY not in kept_of(plan.kept).steps:
        return [], NOT_KEPT
    with open_warehouse(settings, CODE_SERVER) as engine:
        prepare(instance, plan)
        found = waiting_files(engine, root)
    due = [
        athlete_id
        for athlete_id in sorted(found.athletes)
        if not is_one_to_come(instance, plan.names, Job.FILES_IMPORT, files_tags(plan.names, athlete_id))
    ]
    return due[:MOST_AT_ONCE], "; ".join(found.troubles) or "no files wait, or their runs have not ended"
