"""Fills Dagster's storage as if every month of many athletes had been imported, by copies of a few stored events.

One run per athlete and year has materialized the four assets of its months, as a backfill of the whole history leaves
them behind. Dagster's own code stores one such run; its rows are then copied in SQL, with other ids and months.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import date
from uuid import uuid4

import dagster as dg
from dagster._core.events import DagsterEvent, DagsterEventType, StepMaterializationData
from sqlalchemy import Connection, text

from strava_pipeline.defs.steps import span_metadata
from strava_pipeline.months import month_span, month_start
from strava_pipeline.names import HISTORY_ASSETS, Job, partition_key, range_tags
from strava_pipeline.sync.context import SpanResult
from strava_pipeline_tests.defs.own_definitions import NAMES, key_of

# Replaced in the copies, so they stand nowhere else in an event.
ATHLETE = 918_273_645_918_273
MONTH = date(1971, 7, 1)
# Of the athlete's activities in a month.
ACTIVITIES = 4

_RUNS = text("""
    INSERT INTO runs (run_id, snapshot_id, pipeline_name, mode, status, run_body, create_timestamp, update_timestamp,
                      start_time, end_time)
    SELECT md5(a || '-' || y)::uuid::text, snapshot_id, pipeline_name, mode, status,
           replace(replace(run_body, :run, md5(a || '-' || y)::uuid::text), :athlete, a::text),
           made, made, extract(epoch FROM made), extract(epoch FROM made)
    FROM runs, unnest(CAST(:athletes AS bigint[])) a, unnest(CAST(:years AS int[])) y,
         LATERAL (SELECT least(make_timestamp(y, 12, 31, 12, 0, 0), localtimestamp) AS made) times
    WHERE run_id = :run
""")
_TAGS = text("""
    INSERT INTO run_tags (run_id, key, value)
    SELECT md5(a || '-' || y)::uuid::text, key, replace(value, :athlete, a::text)
    FROM run_tags, unnest(CAST(:athletes AS bigint[])) a, unnest(CAST(:years AS int[])) y WHERE run_id = :run
""")
_EVENTS = text("""
    INSERT INTO event_logs (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
    SELECT md5(a || '-' || left(m, 4))::uuid::text,
           replace(replace(replace(event, :run, md5(a || '-' || left(m, 4))::uuid::text), :athlete, a::text),
                   :month, m),
           dagster_event_type, timestamp, step_key, asset_key, a || '|' || m
    FROM event_logs, unnest(CAST(:athletes AS bigint[])) a, unnest(CAST(:months AS text[])) m
    WHERE run_id = :run AND dagster_event_type = 'ASSET_MATERIALIZATION'
    ORDER BY a, m, id
""")


def fill_dagster(
    instance: dg.DagsterInstance, connection: Connection, athletes: Sequence[int], months: Sequence[date]
) -> int:
    """Store a materialization of each asset for each month of each athlete; return their number.

    ``connection``: to the instance's database; the caller commits.
    """
    instance.add_dynamic_partitions(NAMES.partition_set, [str(athlete_id) for athlete_id in athletes])
    run = _stored_run(instance)
    values = {
        "run": run.run_id,
        "athlete": str(ATHLETE),
        "athletes": list(athletes),
        "month": MONTH.isoformat(),
        "months": [month.isoformat() for month in months],
        "years": sorted({month.year for month in months}),
    }
    for statement in (_RUNS, _TAGS):
        connection.execute(statement, values)
    stored = connection.execute(_EVENTS, values).rowcount
    instance.delete_run(run.run_id)
    # As autovacuum does in operation: without statistics Postgres reads events one by one.
    connection.execute(text("ANALYZE event_logs, runs, run_tags"))
    return stored


def _stored_run(instance: dg.DagsterInstance) -> dg.DagsterRun:
    keys = [key_of(name) for name in HISTORY_ASSETS]
    run = instance.run_storage.add_run(
        dg.DagsterRun(
            job_name=Job.ASSETS,
            run_id=str(uuid4()),
            status=dg.DagsterRunStatus.SUCCESS,
            asset_selection=frozenset(keys),
            tags=NAMES.backfill_tags(ATHLETE) | range_tags(ATHLETE, MONTH, MONTH),
        )
    )
    result = SpanResult(month_span(ATHLETE, month_start(MONTH)), stored=ACTIVITIES)
    for key in keys:
        done = dg.AssetMaterialization(
            key, partition=partition_key(ATHLETE, MONTH), metadata=span_metadata(result) | {"requests": ACTIVITIES}
        )
        event = DagsterEvent(
            DagsterEventType.ASSET_MATERIALIZATION.value,
            Job.ASSETS,
            step_key=key.to_python_identifier(),
            event_specific_data=StepMaterializationData(done, []),
        )
        instance.report_dagster_event(event, run.run_id, timestamp=time.time())
    return run
