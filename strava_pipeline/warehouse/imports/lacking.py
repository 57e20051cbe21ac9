"""What an import still lacks, computed from the tables: profile, listings, details, samples, figures, lake's files.

Not lacking is what is put aside or failed and is not due again, what is gone at Strava, and what lies before the
earliest month that is kept. :attr:`Lacking.next_at` tells when something of that is due.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Date, RowMapping, and_, cast, func, select

from strava_pipeline.months import Span, add_months, month_start, months_of
from strava_pipeline.warehouse.activities.activity_store import in_span
from strava_pipeline.warehouse.activities.outdated import lacks_detail
from strava_pipeline.warehouse.activities.quarantine import is_due_again
from strava_pipeline.warehouse.activities.stream_store import lacks_samples
from strava_pipeline.warehouse.analysis.analyses import lacks_figures
from strava_pipeline.warehouse.imports.histories import History, history_of
from strava_pipeline.warehouse.imports.wishes import Import
from strava_pipeline.warehouse.schema.analysis_tables import route_analyses
from strava_pipeline.warehouse.schema.columns import SAME_MOMENT, has_come
from strava_pipeline.warehouse.schema.history_tables import put_aside
from strava_pipeline.warehouse.schema.import_tables import LONGEST_MONTH_PAUSE, failed_months, import_months
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities, activity_streams
from strava_pipeline.warehouse.states import ImportStep, PayloadKind, PutAside


@dataclass(frozen=True)
class Lacking:
    """What an import lacks now. ``listing``: the months to list, in one listing; ``months``: those to fetch for.

    ``months`` come newest first. ``later`` counts activities that are put aside, but for those that Strava shows no
    more, and ``failed`` steps of months that failed; none of them is due again before ``next_at`` (UTC). ``requests``:
    how many ``months`` need at least.

    ``undone``: by month and step, how much is not done yet; what is put aside or failed counts as well, since it is not
    done either.
    """

    profile: bool = False
    listing: Span | None = None
    months: tuple[date, ...] = ()
    later: int = 0
    failed: int = 0
    requests: int = 0
    next_at: datetime | None = None
    undone: Mapping[tuple[date, ImportStep], int] = field(default_factory=dict, compare=False, repr=False)

    @property
    def nothing(self) -> bool:
        return not (self.profile or self.listing or self.months)

    @property
    def next_month(self) -> date | None:
        """The newest month that lacks something."""
        listed = None if self.listing is None else add_months(self.listing.end.date(), -1)
        return max(filter(None, (listed, *self.months[:1])), default=None)

    def is_less_than(self, before: Lacking) -> bool:
        """Whether something that lacked before is done now."""
        return before.profile > self.profile or any(
            self.undone.get(place, 0) < count for place, count in before.undone.items()
        )


def lacking(
    connection: Connection, wish: Import, floor: date, moment: datetime, *, archive_details: bool = False
) -> Lacking:
    """Compute what a wish lacks at a moment (UTC); months before ``floor`` are never imported.

    ``archive_details``: activities of which an archive tells lack their details, too.
    """
    first = max(wish.first_month or floor, floor)
    last = wish.last_month or add_months(moment.date(), 0)
    if first > last:
        return Lacking()
    span = Span(wish.athlete_id, month_start(first), month_start(add_months(last, 1)))
    history = history_of(connection, wish.athlete_id).as_of(moment + SAME_MOMENT)
    failed = _failed_later(connection, span, moment)
    months, requests, later, retries = [], 0, 0, list[datetime]()
    undone: dict[tuple[date, ImportStep], int] = {}
    for row in _by_month(connection, span, moment, archive_details=archive_details):
        lacks = {step for step in wish.steps if row.get(step)}
        undone |= {(row["month"], step): row[f"undone_{step}"] for step in wish.steps if row.get(f"undone_{step}")}
        later += row["later"]
        retries += [row["retry_at"]] if row["retry_at"] else []
        if ImportStep.LAKE in wish.steps and _lake_is_behind(row, wish.made_at):
            lacks.add(ImportStep.LAKE)
            undone[row["month"], ImportStep.LAKE] = 1
        lacks -= {step for month, step in failed if month == row["month"]}
        if lacks:
            months.append(row["month"])
            requests += row["detail"] * (ImportStep.DETAIL in lacks) + row["asked"] * (ImportStep.STREAMS in lacks)
    listing = None
    if ImportStep.SUMMARY in wish.steps:
        unlisted = set(_unlisted(connection, wish, span, history, moment))
        undone |= {(month, ImportStep.SUMMARY): 1 for month in unlisted}
        if not _lists_all(wish, history, span):
            unlisted -= {month for month, step in failed if step == ImportStep.SUMMARY}
        listing = _enclosing(wish.athlete_id, unlisted)
    profile = wish.profile and (history.profile_at is None or history.profile_at < wish.made_at)
    next_at = min((*retries, *failed.values()), default=None)
    return Lacking(profile, listing, tuple(months), later, len(failed), requests, next_at, undone)


def _by_month(connection: Connection, span: Span, moment: datetime, *, archive_details: bool) -> Sequence[RowMapping]:
    """Count by month, newest first, the activities that lack each step; those put aside for later are counted apart."""
    summary, detail = payloads.alias("summary"), payloads.alias("detail")
    aside, no_samples = put_aside.alias("aside"), put_aside.alias("no_samples")
    no_detail = lacks_detail(summary, detail, archive_details=archive_details)
    lacks_streams = lacks_samples()
    detail_later = no_detail & aside.c.activity_id.is_not(None)
    streams_later = lacks_streams & no_samples.c.activity_id.is_not(None)
    later = func.count().filter(detail_later, aside.c.kind != PutAside.HIDDEN) + func.count().filter(
        streams_later, no_samples.c.kind != PutAside.HIDDEN
    )
    month = cast(func.date_trunc("month", func.timezone("UTC", activities.c.start_date)), Date).label("month")
    query = (
        select(
            month,
            func.count().filter(no_detail & ~detail_later).label(ImportStep.DETAIL),
            func.count().filter(lacks_streams & ~streams_later).label(ImportStep.STREAMS),
            func.count().filter(lacks_streams & ~streams_later & activities.c.manual.is_not(True)).label("asked"),
            func.count().filter(lacks_figures()).label(ImportStep.FIGURES),
            func.count().filter(no_detail).label(f"undone_{ImportStep.DETAIL}"),
            func.count().filter(lacks_streams).label(f"undone_{ImportStep.STREAMS}"),
            func.count().filter(lacks_figures()).label(f"undone_{ImportStep.FIGURES}"),
            later.label("later"),
            func.least(
                func.min(aside.c.retry_at).filter(detail_later),
                func.min(no_samples.c.retry_at).filter(streams_later),
            ).label("retry_at"),
            func.max(activity_streams.c.fetched_at).filter(activity_streams.c.point_count > 0).label("samples_at"),
            func.max(import_months.c.lake_at).label("lake_at"),
        )
        .select_from(activities)
        .outerjoin(summary, _is(summary.c, PayloadKind.SUMMARY))
        .outerjoin(detail, _is(detail.c, PayloadKind.DETAIL))
        .outerjoin(activity_streams, activity_streams.c.activity_id == activities.c.id)
        .outerjoin(route_analyses, route_analyses.c.activity_id == activities.c.id)
        .outerjoin(aside, _is_aside(aside.c, ImportStep.DETAIL, moment))
        .outerjoin(no_samples, _is_aside(no_samples.c, ImportStep.STREAMS, moment))
        .outerjoin(import_months, (import_months.c.athlete_id == span.athlete_id) & (import_months.c.month == month))
        .where(in_span(span))
        .group_by(month)
        .order_by(month.desc())
    )
    return connection.execute(query).mappings().all()


def _is(columns: Any, kind: PayloadKind) -> ColumnElement[bool]:
    return and_(columns.activity_id == activities.c.id, columns.kind == kind)


def _is_aside(columns: Any, step: ImportStep, moment: datetime) -> ColumnElement[bool]:
    return and_(columns.activity_id == activities.c.id, columns.step == step, ~is_due_again(columns.retry_at, moment))


def _lake_is_behind(row: RowMapping, made_at: datetime) -> bool:
    """Whether a month with samples has no file, or one from before the wish or before the newest samples."""
    samples_at, lake_at = row["samples_at"], row["lake_at"]
    return samples_at is not None and (lake_at is None or lake_at < max(made_at, samples_at))


def _failed_later(connection: Connection, span: Span, moment: datetime) -> dict[tuple[date, str], datetime]:
    """Month and step of what failed and is not due again, with the time (UTC) at which it is."""
    query = select(failed_months.c.month, failed_months.c.step, failed_months.c.retry_at).where(
        failed_months.c.athlete_id == span.athlete_id,
        failed_months.c.month >= span.start.date(),
        failed_months.c.month < span.end.date(),
        ~has_come(failed_months.c.retry_at, moment, LONGEST_MONTH_PAUSE),
    )
    return {(row.month, row.step): row.retry_at for row in connection.execute(query)}


def _unlisted(connection: Connection, wish: Import, span: Span, history: History, moment: datetime) -> Iterator[date]:
    """The months to list: all of an open wish, once; a bounded wish's own; and those of which some was not stored.

    Months that are kept only now are listed as well.
    """
    if _lists_all(wish, history, span):
        yield from _months(span)
        return
    if not wish.is_open:
        listed = select(import_months.c.month).where(
            import_months.c.athlete_id == span.athlete_id,
            import_months.c.listed_at.between(wish.made_at, moment + SAME_MOMENT),
        )
        done = set(connection.execute(listed).scalars())
        yield from (
            month
            for month in _months(span)
            if month not in done and not (history.tells(month, wish.made_at) and _is_before(month, history.begins_on))
        )
    of_athlete = failed_months.c.athlete_id == span.athlete_id
    failed = select(failed_months.c.month).where(of_athlete, failed_months.c.step == ImportStep.SUMMARY)
    yield from (month for month in connection.execute(failed).scalars() if span.start.date() <= month < span.end.date())
    yield from _months_put_aside(connection, span, moment)


def _lists_all(wish: Import, history: History, span: Span) -> bool:
    """Whether the whole history is to be listed, in one listing, whatever month of it failed."""
    return wish.is_open and not history.tells(span.start.date(), wish.made_at)


def _months_put_aside(connection: Connection, span: Span, moment: datetime) -> Iterator[date]:
    """The months in which activities were listed that could not be stored then, and are due again."""
    query = select(put_aside.c.span_start, put_aside.c.span_end).where(
        put_aside.c.athlete_id == span.athlete_id,
        put_aside.c.step == ImportStep.SUMMARY,
        is_due_again(put_aside.c.retry_at, moment),
    )
    for row in connection.execute(query):
        start, end = max(row.span_start, span.start), min(row.span_end, span.end)
        if start < end:
            yield from _months(Span(span.athlete_id, start, end))


def _months(span: Span) -> Iterator[date]:
    return (month.start.date() for month in months_of(span))


def _is_before(month: date, begins_on: date | None) -> bool:
    return begins_on is None or month < begins_on


def _enclosing(athlete_id: int, months: set[date]) -> Span | None:
    if not months:
        return None
    return Span(athlete_id, month_start(min(months)), month_start(add_months(max(months), 1)))
