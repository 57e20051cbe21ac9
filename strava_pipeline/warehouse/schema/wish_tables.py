"""The tables of imports as wishes (schema ``ops``): what is to be imported, and how far back histories are listed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, Column, Date, Index, Integer, Table, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY

from strava_pipeline.warehouse.schema import columns
from strava_pipeline.warehouse.schema.columns import UTC_TIME, column, database_time, key, only
from strava_pipeline.warehouse.schema.ops_schema import SCHEMA
from strava_pipeline.warehouse.schema.tables import metadata
from strava_pipeline.warehouse.states import ImportState, ImportTask, MadeBy, PausedBy

# An import is stuck after so many runs in a row that ended without progress.
STUCK_AFTER = 3


def _count(name: str, comment: str) -> Column[Any]:
    return Column(name, Integer, nullable=False, server_default=text("0"), comment=comment)


imports = Table(
    "imports",
    metadata,
    Column("id", BigInteger, primary_key=True, autoincrement=True, comment="order in which they were made first"),
    columns.bigint("athlete_id", "whose history", required=True),
    column("first_month", Date, "first day of the first month (UTC); empty: from the beginning"),
    column("last_month", Date, "first day of the last month (UTC); empty: the import goes on"),
    column("steps", ARRAY(Text), "what is wanted of each month: steps of an import", required=True),
    column("profile", Boolean, "whether profile, totals, zones and gear are wanted, too", required=True),
    Column(
        "made_at",
        UTC_TIME,
        nullable=False,
        server_default=database_time(),
        comment="when it was last asked for (UTC): what was listed before is listed again",
    ),
    columns.text("made_by", "connect, operator, command, run (months of a run failed) or upkeep", required=True),
    columns.text("state", "due, launched or running", required=True),
    columns.instant("next_at", "when due: not to be launched before (UTC)", required=True),
    _count("launch_no", "number of the last launch; a run of an earlier one does nothing"),
    columns.instant("launched_at", "when that was (UTC)"),
    columns.text("run_id", "Dagster run that has it, or had it last; empty: none began"),
    columns.instant("lease_until", "when launched or running: the run is taken to be lost from here on (UTC)"),
    columns.text("doing", "what the run does, or did last: newest_month, listing, months or profile"),
    column("doing_first", Date, "first day of the first month that it does"),
    column("doing_last", Date, "first day of the last one"),
    _count("attempts", "how many runs in a row ended without progress"),
    _count("runs", "how many runs ended in all"),
    columns.text("error", "why the last run ended early; empty: it did not"),
    columns.instant("paused_at", "since when nothing is launched (UTC); empty: it is not paused"),
    columns.text("paused_by", "operator, command or cancel (of a run in Dagster)"),
    columns.instant("newest_at", "when the newest month was complete (UTC); empty: an open import does it first"),
    column("next_month", Date, "newest month that lacked something at the last look"),
    columns.instant("whole_at", "when nothing lacked at the last look (UTC); empty: something did"),
    UniqueConstraint("athlete_id", "first_month", "last_month", postgresql_nulls_not_distinct=True),
    only("made_by", MadeBy),
    only("state", ImportState),
    only("doing", ImportTask),
    only("paused_by", PausedBy),
    Index("ix_imports_due", "next_at", postgresql_where=text(f"state = '{ImportState.DUE}'")),
    Index("ix_imports_stuck", "id", postgresql_where=text(f"attempts >= {STUCK_AFTER}")),
    schema=SCHEMA,
    comment="wishes: months of an athlete that are imported until nothing lacks",
)

histories = Table(
    "histories",
    metadata,
    key("athlete_id", BigInteger, "whose history"),
    columns.instant("listed_at", "when Strava was last asked for the whole of it, from the earliest month on (UTC)"),
    column("listed_from", Date, "first day of the month from which on it was listed (UTC); empty: the earliest one"),
    column("begins_on", Date, "first day of the month of its first activity (UTC); empty: there is none"),
    column("scopes", ARRAY(Text), "permissions with which it was listed then"),
    columns.instant("profile_at", "when Strava was last asked for profile, totals and zones (UTC)"),
    columns.text("held", "why the last comparison deleted nothing; empty: it was not held back"),
    schema=SCHEMA,
    comment="how far back athletes' histories go, and when they were listed",
)
