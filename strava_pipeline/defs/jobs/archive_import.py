"""The job that imports what was handed in for an athlete: an archive of Strava's, or files of devices.

It is launched by the bridge for what waits, or by hand with a path. A run that dies loses nothing: the next one of the
same file, goes on. Nothing is asked of Strava.
"""

from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import Field

from strava_pipeline.archive_runs import ARCHIVE_OP
from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.check_reports import report_checks
from strava_pipeline.defs.decorators import our_job
from strava_pipeline.defs.handed_in import handed_in_metadata
from strava_pipeline.defs.partitions import cell
from strava_pipeline.defs.plan import NO_VALUE, Plan
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.run_logs import step_log
from strava_pipeline.defs.shown_archives import WRITTEN
from strava_pipeline.defs.shown_months import ensure_partitions, month_metadata
from strava_pipeline.defs.steps import NO_REQUESTS, patience_of, translate_faults
from strava_pipeline.errors import (
    AlreadyImported,
    ArchiveImportRunning,
    ConfigurationError,
    DatabaseUnavailable,
    StravaPipelineError,
)
from strava_pipeline.names import NO_RETRIES, Asset, Job
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.archive_place import allowed_place
from strava_pipeline.sync.backfill import analyse_span
from strava_pipeline.sync.months_at_work import FailedMonth, each_month, raise_failed
from strava_pipeline.warehouse.archives.imports import list_imports, load_import
from strava_pipeline.warehouse.archives.launches import fail_waiting, note_content
from strava_pipeline.warehouse.engine import autocommit, retry_transaction
from strava_pipeline.warehouse.states import ArchiveState, CameBy, ImportStep
from strava_pipeline.warehouse.upload_files import fetched

if TYPE_CHECKING:
    from strava_pipeline.sync.archive_import import HandingIn, MonthDone
    from strava_pipeline.sync.archive_report import Report


class ArchiveImportConfig(dg.Config):
    """What is imported for whom: an archive import that waits, by its number, or a file or folder, by its path."""

    athlete_id: int
    import_id: int | None = Field(default=None, description="number of an archive import that waits")
    path: str | None = Field(default=None, description="an archive of Strava's, a recording, or a folder, for the runs")


def archive_import_job(plan: Plan) -> dg.JobDefinition:
    """Make the job of archive imports."""

    @dg.op(name=plan.names.op(ARCHIVE_OP), out=NO_VALUE, pool=plan.pools().imports)
    def import_handed_in(
        context: dg.OpExecutionContext, config: ArchiveImportConfig, strava_warehouse: WarehouseResource
    ) -> None:
        """Import an archive or files, month by month, the newest first, and analyse what was written."""
        _work(context, config, strava_warehouse)

    @our_job(plan, Job.ARCHIVE_IMPORT, plan.names.lane_tags(Lane.BACKFILL), NO_RETRIES)
    def archive_import() -> None:
        """Imports an archive of Strava's, or files of devices, for one athlete."""
        import_handed_in()

    return archive_import


def _work(context: dg.OpExecutionContext, config: ArchiveImportConfig, warehouse: WarehouseResource) -> None:
    from strava_pipeline.sync.archive_import import import_archive  # noqa: PLC0415  loads numerics, no other run needs it

    shown = _Shown(context, warehouse)
    with translate_faults(attempts_of(context), patience_of(context, warehouse)) as subject:
        subject.at_athlete(config.athlete_id)
        try:
            if ImportStep.SUMMARY not in warehouse.kept.steps:
                raise ConfigurationError(f"assets: {Asset.ACTIVITIES} is left out, so nothing can be imported: keep it")
            with _handed_in(warehouse, config) as handing:
                report = shown.all_months(import_archive(warehouse.engine, warehouse.load_settings(), handing))
        except AlreadyImported as error:
            _end_waiting(warehouse, config, error)
            step_log(context).warning("%s", error)
            return
        except StravaPipelineError as error:
            # One of which the import itself has not noted that it failed.
            if not isinstance(error, (ArchiveImportRunning, DatabaseUnavailable)):
                _end_waiting(warehouse, config, error)
            raise
        finally:
            shown.end(config.athlete_id)
        told = "rows: %d, recordings: %d, of them matched: %d, unreadable: %d; rows merged with what Strava tells: %d"
        counts = (report.rows, report.recordings, report.matched, report.unreadable, report.merged)
        step_log(context).info(told, *counts)
        raise_failed(shown.failed, shown.months)


@contextmanager
def _handed_in(warehouse: WarehouseResource, config: ArchiveImportConfig) -> Iterator["HandingIn"]:
    """What is to be imported, as a file of this machine during the block.

    ``ConfigurationError`` for a config that names nothing, too much, or a place that is not for archives;
    ``WarehouseError`` if the file is gone.
    """
    from strava_pipeline.sync.archive_import import HandingIn  # noqa: PLC0415  see above
    from strava_pipeline.sync.archive_options import ArchiveOptions  # noqa: PLC0415  see above
    from strava_pipeline.sync.archive_source import open_handed_in  # noqa: PLC0415  see above

    if (config.import_id is None) == (config.path is None):
        raise ConfigurationError("the run's config has to name either import_id or path")
    if config.import_id is None:
        path = allowed_place(warehouse.load_settings(), config.path or "", config.athlete_id)
        yield HandingIn(given=path, athlete_id=config.athlete_id, came_by=CameBy.COMMAND, place=str(path))
        return
    with autocommit(warehouse.engine) as connection:
        found = load_import(connection, config.import_id)
    if found.athlete_id != config.athlete_id:
        raise ConfigurationError(f"archive import {found.id} is not athlete {config.athlete_id}'s")
    if found.state in (ArchiveState.DONE, ArchiveState.UNDONE):
        raise AlreadyImported(f"archive import {found.id} is {found.state}: nothing was changed", found.id)
    if found.place is None:
        raise ConfigurationError(f"archive import {found.id} can be read from nowhere: hand it in again")
    with _local(found.came_by, found.place) as path:
        with open_handed_in(path) as handed:
            content = handed.members.listing.content_hash
        retry_transaction(warehouse.engine, partial(note_content, import_id=found.id, content_hash=content))
        yield HandingIn(
            given=path,
            athlete_id=found.athlete_id,
            came_by=found.came_by,
            options=ArchiveOptions.from_json(found.options),
            place=found.place,
        )


@contextmanager
def _local(came_by: CameBy, place: str) -> Iterator[Path]:
    if came_by is CameBy.UPLOAD:
        with fetched(place) as path:
            yield path
    else:
        yield Path(place)


def _end_waiting(warehouse: WarehouseResource, config: ArchiveImportConfig, error: StravaPipelineError) -> None:
    """Note that an archive import failed that waits still: no other run shall be launched for it."""
    if config.import_id is not None:
        retry_transaction(warehouse.engine, partial(fail_waiting, import_id=config.import_id, why=str(error)))


class _Shown:
    """Analyses the months that an import writes, and shows each in Dagster: a materialization for each asset."""

    def __init__(self, context: dg.OpExecutionContext, warehouse: WarehouseResource) -> None:
        self.failed: list[FailedMonth] = []
        self.months = 0
        self._context = context
        self._warehouse = warehouse
        self._assets = [name for name, step in WRITTEN.items() if step in warehouse.kept.steps]

    def all_months(self, work: "Generator[MonthDone, None, Report]") -> "Report":
        """Let the import work, show each month that it brings, and return its report."""
        # Whatever ends this, be it a person: the import notes it now, and not when somebody collects it.
        with closing(work):
            while True:
                try:
                    month = next(work)
                except StopIteration as ended:
                    report: Report = ended.value
                    return report
                self.months += 1
                self._analyse(month)
                self._show(month)

    def end(self, athlete_id: int) -> None:
        """Report checks of what was written, and show what was handed in for the athlete."""
        if self.months:
            report_checks(self._context, self._warehouse, self._assets)
        if Asset.ARCHIVE_FILES not in self._warehouse.assets:
            return
        with autocommit(self._warehouse.engine) as connection:
            found = list_imports(connection, athlete_id)
        if found and ensure_partitions(self._context.instance, self._warehouse, athlete_id):
            asset = dg.AssetKey(self._warehouse.names.asset_path(Asset.ARCHIVE_FILES))
            metadata = handed_in_metadata(found)
            self._context.log_event(dg.AssetMaterialization(asset, partition=str(athlete_id), metadata=metadata))

    def _analyse(self, month: "MonthDone") -> None:
        if Asset.ANALYSES not in self._assets:
            return
        engine = self._warehouse.engine
        for result in each_month(engine, ImportStep.FIGURES, [month.span], partial(analyse_span, engine)):
            if isinstance(result, FailedMonth):
                self.failed.append(result)

    def _show(self, month: "MonthDone") -> None:
        span = month.span
        line = "%s, month %d of %d: activities: %d, recordings read: %d"
        step_log(self._context).info(line, span.months, month.number, month.of, month.activities, month.recordings)
        if not ensure_partitions(self._context.instance, self._warehouse, span.athlete_id):
            return
        rows, key = month_metadata(self._warehouse, span), cell(span.athlete_id, span.start)
        of_archive = {"cause": "archive", "in the archive": month.activities, "recordings read": month.recordings}
        for name in self._assets:
            asset = dg.AssetKey(self._warehouse.names.asset_path(name))
            metadata = NO_REQUESTS | of_archive | rows[name]
            self._context.log_event(dg.AssetMaterialization(asset, partition=key, metadata=metadata))
