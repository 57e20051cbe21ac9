"""The tables by which a database knows that it was restored from a backup (schema ``ops``)."""

from __future__ import annotations

from sqlalchemy import BigInteger, CheckConstraint, Integer, Table

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import key, only
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA, stamped
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.states import RestoreOutcome

database_identity = Table(
    "database_identity",
    metadata,
    key("id", Integer, "always 1"),
    columns.bigint(
        "system_identifier", "the server's, as pg_control_system() tells it; 0: our login may not ask", required=True
    ),
    columns.bigint("database_oid", "the database's, as pg_database has it", required=True),
    columns.instant(
        "check_begun_at",
        "since when a restored database is compared with Strava (UTC), and nothing else may call; empty: it is not",
    ),
    CheckConstraint("id = 1", name="one"),
    schema=SCHEMA,
    comment="the server and database that these tables belong to; elsewhere they come from a backup",
)

restore_checks = Table(
    "restore_checks",
    metadata,
    key("athlete_id", BigInteger, "who was looked after"),
    columns.text("outcome", "connected, reconnect (the athlete must connect again) or erased (again)", required=True),
    stamped("checked_at", "when (UTC)"),
    only("outcome", RestoreOutcome),
    schema=SCHEMA,
    comment="how far the check of a restored database has come; rows go when it has ended",
)
