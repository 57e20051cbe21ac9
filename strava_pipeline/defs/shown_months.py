"""What Dagster shows of months of an athlete that a job has written: their rows, and that their partitions exist."""

from functools import partial
from typing import Any

import dagster as dg
from sqlalchemy import Connection

from strava_pipeline.defs.month_link import month_link
from strava_pipeline.defs.partitions import register_athlete
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.steps import ROW_COUNT
from strava_pipeline.errors import NeedsReauthorization
from strava_pipeline.months import Span
from strava_pipeline.names import Asset
from strava_pipeline.warehouse.activities.month_rows import month_rows
from strava_pipeline.warehouse.engine import retry_transaction
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked


def month_metadata(warehouse: WarehouseResource, span: Span) -> dict[str, dict[str, Any]]:
    """Return the metadata by asset of a month as a whole: its rows, and the link to its pictures."""
    rows = retry_transaction(warehouse.engine, partial(month_rows, span=span))
    return {
        Asset.ACTIVITIES: {ROW_COUNT: rows.activities},
        Asset.DETAILS: {ROW_COUNT: rows.laps},
        Asset.STREAMS: {ROW_COUNT: rows.activity_streams},
        Asset.ANALYSES: {ROW_COUNT: rows.route_analyses} | month_link(warehouse.load_settings(), span),
    }


def ensure_partitions(instance: dg.DagsterInstance, warehouse: WarehouseResource, athlete_id: int) -> bool:
    """Create an athlete's partitions if missing; False if the athlete has been disconnected meanwhile."""

    def create(connection: Connection) -> None:
        # An erasure waits for this transaction; its task for Dagster then deletes these partitions, too.
        refuse_rows_of_revoked(connection, [athlete_id])
        register_athlete(instance, warehouse.names, athlete_id)

    if instance.has_dynamic_partition(warehouse.names.partition_set, str(athlete_id)):
        return True
    try:
        retry_transaction(warehouse.engine, create)
    except NeedsReauthorization:
        return False
    return True
