"""Schema ``ops``, which holds what the pipeline needs for its own work; analysts have no access to it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    DDL,
    BigInteger,
    Column,
    Integer,
    event,
    text,
)

from strava_pipeline.warehouse.schema.columns import UTC_TIME, database_time
from strava_pipeline.warehouse.schema.tables import metadata

SCHEMA = "ops"
_CLOCK = DDL(  # type: ignore[no-untyped-call]  # SQLAlchemy declares no types here
    "CREATE FUNCTION ops.clock() RETURNS timestamp with time zone LANGUAGE sql VOLATILE PARALLEL SAFE"
    " AS 'SELECT pg_catalog.clock_timestamp()'"
)
event.listen(metadata, "before_create", _CLOCK)


def serial(comment: str) -> Column[Any]:
    """The primary key, numbered by a sequence."""
    return Column("id", BigInteger, primary_key=True, autoincrement=True, comment=comment)


def stamped(name: str, comment: str) -> Column[Any]:
    """A time (UTC) that is the database's when the row is made."""
    return Column(name, UTC_TIME, nullable=False, server_default=database_time(), comment=comment)


def counter(name: str, comment: str) -> Column[Any]:
    """A count that begins at 0."""
    return Column(name, Integer, nullable=False, server_default=text("0"), comment=comment)
