"""Reports results of asset checks to Dagster: with what a run materialized, and by themselves when they are due.

Dagster's UI shows a check as not evaluated unless its last result belongs to the asset's last materialization: it was
reported by the same run, or later (``AssetCheckExecutionRecord.targets_latest_materialization``).
"""

import time
from collections.abc import Iterable, Iterator

import dagster as dg
from sqlalchemy import Connection

from strava_pipeline.defs.checks import AS_LISTED, CHECKS_OF, as_listed_spec
from strava_pipeline.defs.dagster_internals import (
    COMPLETED_ASSET_CHECK_EXECUTION_RECORD_STATUSES as COMPLETED,
)
from strava_pipeline.defs.dagster_internals import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)
from strava_pipeline.defs.dagster_internals import AssetCheckExecutionRecord
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.run_logs import step_log
from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.names import Asset, Names
from strava_pipeline.warehouse.activities.month_checks import check_few_months
from strava_pipeline.warehouse.engine import retry_transaction

# A result is reported at least this often, so that a person sees that somebody looks.
OLDEST_REPORT_S = 86_400.0


def report_checks(
    context: dg.OpExecutionContext,
    warehouse: WarehouseResource,
    assets: Iterable[str],
    listed: dg.AssetCheckResult | None = None,
) -> None:
    """Report how the checks of assets stand that the run has just materialized; without the database, the job does.

    ``assets``: their plain names. ``listed``: the result of ``as_listed``, if the run has read a listing; otherwise its
    last one is told again.
    """
    chosen, engine = sorted(set(assets) & set(warehouse.assets)), warehouse.engine
    if not chosen:
        return
    try:
        # Many are left to the job.
        check_few_months(engine)
        found = retry_transaction(
            engine, lambda connection: list(_results(context.instance, warehouse.names, connection, chosen, listed))
        )
    except DatabaseUnavailable as error:
        # What the run was for is stored by now.
        step_log(context).warning("checks are left to their job: %s", error)
        return
    log_results(context, found)


def log_results(context: dg.OpExecutionContext, results: Iterable[dg.AssetCheckEvaluation]) -> None:
    """Log results of checks as events of the run."""
    for result in results:
        context.log_event(result)  # type: ignore[arg-type]  # which Dagster takes, and its annotation leaves out


def due_reports(
    instance: dg.DagsterInstance, names: Names, kept: frozenset[str], connection: Connection
) -> list[dg.AssetCheckEvaluation]:
    """Return the results to report now.

    Those that differ from what was last told, or that Dagster shows as not evaluated; and those of which nothing was
    told for a day.
    """
    chosen = [asset for asset in CHECKS_OF if asset in kept]
    return [result for result in _results(instance, names, connection, chosen) if _is_due(instance, result)]


def _results(
    instance: dg.DagsterInstance,
    names: Names,
    connection: Connection,
    assets: Iterable[str],
    listed: dg.AssetCheckResult | None = None,
) -> Iterator[dg.AssetCheckEvaluation]:
    for name in assets:
        asset = dg.AssetKey(names.asset_path(name))
        # First, so that a result tells of this materialization or a later one.
        target = _last_materialization(instance, asset)
        for check in CHECKS_OF.get(name, ()):
            yield _evaluation(asset, check.__name__, check(connection), target)
        if name == Asset.ACTIVITIES:
            told = _last_listed(instance, names) if listed is None else listed
            yield _evaluation(asset, AS_LISTED, told, target)


def _evaluation(
    asset: dg.AssetKey, name: str, result: dg.AssetCheckResult, target: Target | None
) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=asset,
        check_name=name,
        passed=result.passed,
        metadata=result.metadata,
        target_materialization_data=target,
        severity=result.severity,
        description=result.description,
    )


def _last_materialization(instance: dg.DagsterInstance, asset: dg.AssetKey) -> Target | None:
    found = instance.fetch_materializations(asset, limit=1).records
    if not found:
        return None
    return Target(storage_id=found[0].storage_id, run_id=found[0].run_id, timestamp=found[0].timestamp)


def _last_listed(instance: dg.DagsterInstance, names: Names) -> dg.AssetCheckResult:
    """What the last listing told; before any, nothing is listed."""
    key = as_listed_spec(names).key
    found = instance.event_log_storage.get_asset_check_execution_history(key, limit=1, status=COMPLETED)
    told = found[0].evaluation if found else None
    if told is None:
        return as_listed(listed=0, absent=0)
    return dg.AssetCheckResult(passed=told.passed, metadata=told.metadata, severity=told.severity)


def as_listed(*, listed: int, absent: int) -> dg.AssetCheckResult:
    """The result of ``as_listed``: so many activities were listed, and so many of them are not stored."""
    metadata = {"listed": listed, "absent": absent}
    return dg.AssetCheckResult(check_name=AS_LISTED, passed=not absent, metadata=metadata)


def _is_due(instance: dg.DagsterInstance, result: dg.AssetCheckEvaluation) -> bool:
    last = instance.get_latest_asset_check_evaluation_record(result.asset_check_key)
    if last is None:
        return True
    if last.status not in COMPLETED:
        run = instance.get_run_by_id(last.run_id)
        # A run that is still on reports it itself.
        return run is None or run.is_finished
    told = last.evaluation
    if told is None or last.event is None or last.event.timestamp < time.time() - OLDEST_REPORT_S:
        return True
    return _verdict(told) != _verdict(result) or not _is_of_last(last, told, result.target_materialization_data)


def _verdict(result: dg.AssetCheckEvaluation) -> tuple[object, ...]:
    """What a new result is compared by: a description says all that counts, where there is one."""
    return (result.passed, result.description) if result.description else (result.passed, None, result.metadata)


def _is_of_last(last: AssetCheckExecutionRecord, told: dg.AssetCheckEvaluation, target: Target | None) -> bool:
    """Whether Dagster takes a result for one of the asset's last materialization."""
    if target is None or target.run_id == last.run_id:
        return True
    of = told.target_materialization_data
    return target.timestamp < last.create_timestamp if of is None else target.storage_id == of.storage_id
