"""Three rides in June at a stand-in for Strava, brought up to date, and a look at what became of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, Table, select

from strava_pipeline.months import Span
from strava_pipeline.sync.backfill import analyse_span, import_details, import_streams
from strava_pipeline.sync.context import SpanResult
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed

JUNE = Span(RIDER, datetime(2025, 6, 1, tzinfo=UTC), datetime(2025, 7, 1, tzinfo=UTC))
MAY = Span(RIDER, datetime(2025, 5, 1, tzinfo=UTC), JUNE.start)
LISTING = "/athlete/activities"


def on(day: int, month: int = 6) -> datetime:
    return datetime(2025, month, day, 8, tzinfo=UTC)


def three_rides() -> StravaStandIn:
    """Strava with three rides in June, the first of them entered by hand."""
    strava = StravaStandIn()
    strava.add(1, on(1), manual=True)
    strava.add(2, on(2))
    strava.add(3, on(3))
    return strava


def bring_up_to_date(strava: StravaStandIn, engine: Engine, *spans: Span) -> list[list[SpanResult]]:
    """All four steps over the spans, each to its end."""
    sync = strava.sync(engine)
    wanted = spans or (JUNE,)
    return [
        import_listed(sync, wanted),
        [import_details(sync, span) for span in wanted],
        [import_streams(sync, span) for span in wanted],
        [analyse_span(engine, span) for span in wanted],
    ]


def ids(engine: Engine, table: Table) -> list[int]:
    number = table.c.id if table is activities else table.c.activity_id
    with engine.connect() as connection:
        return sorted(set(connection.execute(select(number)).scalars()))


def row(engine: Engine, number: int) -> dict[str, Any]:
    """An activity's row, but for the time of asking."""
    with engine.connect() as connection:
        found = connection.execute(select(activities).where(activities.c.id == number)).mappings().one()
    return {name: told for name, told in found.items() if name != "fetched_at"}


def value(engine: Engine, table: Table, column: str, number: int) -> Any:
    key = table.c.id if table is activities else table.c.activity_id
    with engine.connect() as connection:
        return connection.execute(select(table.c[column]).where(key == number)).scalar_one()
