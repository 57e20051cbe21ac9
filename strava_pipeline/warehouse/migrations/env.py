"""Runs the revisions on the connection that :mod:`strava_pipeline.warehouse.migrate` opened."""

from __future__ import annotations

from alembic import context

from strava_pipeline.warehouse.migrate import VERSION_SCHEMA, VERSION_TABLE
from strava_pipeline.warehouse.schema import ops_schema, tables
from strava_pipeline.warehouse.schema.declared import all_declared

SCHEMAS = tuple(sorted({tables.SCHEMA, ops_schema.SCHEMA}))

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=all_declared(),
    include_schemas=True,
    include_name=lambda name, kind, _: kind != "schema" or name in SCHEMAS,
    version_table=VERSION_TABLE,
    version_table_schema=VERSION_SCHEMA,
)
with context.begin_transaction():
    context.run_migrations()
