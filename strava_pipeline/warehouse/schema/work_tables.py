"""The tables by which processes keep out of each other's way (schema ``ops``), and a probe of writes."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Integer,
    Table,
    Text,
)

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import key
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA
from strava_pipeline.warehouse.schema.tables import metadata

write_probe = Table(
    "write_probe",
    metadata,
    key("id", Integer, "always 1"),
    columns.instant("at", "when it was last written (UTC)", required=True),
    CheckConstraint("id = 1", name="one"),
    schema=SCHEMA,
    comment="written to find out whether the database accepts writes",
)

locks = Table(
    "locks",
    metadata,
    key("name", Text, "what it guards"),
    key("athlete_id", BigInteger, "whose that is; 0: nobody's in particular"),
    key("subject", Text, "which of the athlete's, such as a month; empty: all"),
    schema=SCHEMA,
    comment="what one transaction at a time may do: it locks the row meanwhile; the rows themselves never change",
)

work_leases = Table(
    "work_leases",
    metadata,
    key("athlete_id", BigInteger, "whose data is worked on"),
    key("work", Text, "step and month"),
    columns.text("holder", "the worker, by a number drawn at random", required=True),
    columns.instant("lease_until", "the worker is taken to be gone from here on (UTC); it extends this", required=True),
    schema=SCHEMA,
    comment="who is at work on what takes longer than a transaction may",
)
