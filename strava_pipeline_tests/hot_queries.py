"""The queries that have to stay fast with many athletes, as the product calls them, on tables that were filled."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, Engine, text

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.activities import quality
from strava_pipeline.warehouse.activities.month_checks import check_changed_months
from strava_pipeline.warehouse.activities.quarantine import count_quarantined
from strava_pipeline.warehouse.analysis.ride_facts import ride_facts
from strava_pipeline.warehouse.athletes.athlete_status import athlete_statuses
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.inbox.overview import inbox_overview
from strava_pipeline.warehouse.progress.import_progress import import_progress
from strava_pipeline.warehouse.quota.api_calls import live_calls
from strava_pipeline.warehouse.record_lives import remove_done_events
from strava_pipeline.warehouse.retention import remove_activities_before
from strava_pipeline.warehouse.watch.alert_outbox import claim_messages
from strava_pipeline.warehouse.watch.deliveries import deliveries_by_hour
from strava_pipeline.warehouse.watch.failed_runs import last_end, was_told_within
from strava_pipeline.warehouse.watch.last_day import calls_by_hour, processing_by_hour
from strava_pipeline.warehouse.watch.situation import read_situation
from strava_pipeline.warehouse.watch.slow_situation import read_slow_situation
from strava_pipeline.warehouse.watch.totals import add_finished
from strava_pipeline.watch.table_metrics import slow_table_metrics, table_metrics
from strava_pipeline_tests.query_plans import Plan

DAY_S = 86_400
DAY = timedelta(days=1)
_MONTHS = frozenset({"month_checks", "ix_month_checks_details", "ix_month_checks_samples"})
# A few short rows for each athlete.
_UPKEEP = frozenset({"upkeep"})


@dataclass(frozen=True)
class Asked:
    """Whom the queries are about: one athlete, an activity of theirs, and the athletes of one page."""

    athlete_id: int
    activity_id: int
    page: tuple[int, ...]


@dataclass(frozen=True)
class HotQuery:
    """A query by its name; ``run`` has an engine, and what is asked for.

    ``may_read``: large tables that it reads as a whole all the same, since that is rare and fast enough.
    """

    name: str
    run: Callable[[Engine, Asked], object]
    may_read: frozenset[str] = frozenset()

    def read_as_a_whole(self, plans: Sequence[Plan], large: set[str]) -> dict[str, str]:
        """What the query must not read as a whole, and does, with the statement; ``large``: tables and indexes."""
        return {name: plan.statement for plan in plans for name in plan.whole if name in large - self.may_read}


def _reading(
    name: str, read: Callable[[Connection, Asked], object], may_read: frozenset[str] = frozenset()
) -> HotQuery:
    def run(engine: Engine, asked: Asked) -> object:
        with engine.connect() as connection:
            return read(connection, asked)

    return HotQuery(name, run, may_read)


def _of_view(view: str) -> Callable[[Connection, Asked], object]:
    query = text(f"SELECT * FROM strava.{view} WHERE athlete_id = :athlete")  # noqa: S608  a constant
    return lambda connection, asked: connection.execute(query, {"athlete": asked.athlete_id}).all()


def _check_changes(engine: Engine, asked: Asked) -> int:
    """Mark the last month of each athlete of the page, and check these months."""
    marking = text(
        "INSERT INTO ops.changed_months (athlete_id, month)"
        " SELECT athlete_id, max(month) FROM ops.month_checks WHERE athlete_id = ANY(:page) GROUP BY athlete_id"
    )
    with engine.begin() as connection:
        connection.execute(marking, {"page": list(asked.page)})
    return check_changed_months(engine)


def _add_a_call(engine: Engine, asked: Asked) -> int:
    call = text(
        "INSERT INTO ops.api_calls (lane, endpoint, athlete_id, reserved_at, settled_at, status, duration_ms)"
        " VALUES ('live', '/athlete', :athlete, now(), now(), 200, 100)"
    )
    with engine.begin() as connection:
        connection.execute(call, {"athlete": asked.athlete_id})
    return add_finished(engine)


HOT_QUERIES = (
    # One short row for each month that lacks something.
    _reading("check details_complete", lambda connection, _: quality.without_detail(connection), _MONTHS),
    _reading("check streams_complete", lambda connection, _: quality.without_streams(connection), _MONTHS),
    HotQuery("check of 25 changed months", _check_changes),
    _reading("check nothing_twice", lambda connection, _: quality.recorded_twice(connection)),
    _reading("check values_in_range", lambda connection, _: quality.out_of_range(connection)),
    _reading("check nothing_put_aside", lambda connection, _: count_quarantined(connection)),
    _reading("check athletes_are_heard_of", lambda connection, _: quality.silences(connection)),
    _reading("status page: inbox", lambda connection, _: inbox_overview(connection, now(connection))),
    _reading("status page: 25 athletes", lambda connection, _: athlete_statuses(connection, 25)),
    _reading("status page: progress of 25", lambda connection, asked: import_progress(connection, asked.page)),
    _reading("status page: calls of the last day", lambda connection, _: calls_by_hour(connection, now(connection))),
    _reading(
        "status page: events of the last day", lambda connection, _: processing_by_hour(connection, now(connection))
    ),
    _reading("status page: deliveries of the last day", lambda connection, _: deliveries_by_hour(connection)),
    _reading("athlete_records of one athlete", _of_view("athlete_records")),
    _reading("weekly_totals of one athlete", _of_view("weekly_totals")),
    _reading("facts of a mail", lambda connection, asked: ride_facts(connection, asked.activity_id)),
    HotQuery("retention: events", lambda engine, _: remove_done_events(engine, timedelta(days=1000))),
    HotQuery(
        "retention: activities",
        lambda engine, _: remove_activities_before(engine, datetime(1990, 1, 1, tzinfo=UTC)),
        may_read=frozenset({"import_months"}),  # short rows, once a night
    ),
    _reading("alerts: each half minute", lambda connection, _: read_situation(connection, Settings())),
    HotQuery("alerts: outbox", lambda engine, _: claim_messages(engine)),
    _reading("failed runs: known", lambda connection, _: (last_end(connection), was_told_within(connection, DAY))),
    _reading("alerts: each ten minutes", lambda connection, _: read_slow_situation(connection, Settings()), _UPKEEP),
    _reading("metrics: each quarter of a minute", lambda connection, _: table_metrics(connection, Settings())),
    _reading(
        "metrics: each minute",
        lambda connection, _: slow_table_metrics(connection, Settings()),
        _MONTHS | _UPKEEP | {"put_aside"},
    ),
    HotQuery("totals: a call", _add_a_call),
    HotQuery("totals: nothing", lambda engine, _: add_finished(engine)),
    _reading("reserve of a busy day", lambda connection, _: live_calls(connection, None, DAY_S, now(connection))),
)


def asked_of(connection: Connection) -> Asked:
    """The athlete with the newest activity that has figures, that activity, and the first 25 athletes."""
    newest = text(
        "SELECT a.athlete_id, a.id FROM strava.activities AS a JOIN strava.route_analyses AS r ON r.activity_id = a.id"
        " ORDER BY a.start_date DESC LIMIT 1"
    )
    athlete_id, activity_id = connection.execute(newest).one()
    page = connection.execute(text("SELECT athlete_id FROM ops.users ORDER BY athlete_id LIMIT 25")).scalars()
    return Asked(athlete_id, activity_id, tuple(page))
