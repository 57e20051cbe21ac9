"""The rows of ``ops.quota_windows``: how much is used of each of Strava's rate windows, by scope.

The caller of every function that writes holds the ledger's lock.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Text,
    Update,
    and_,
    any_,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from strava_pipeline.strava.quota.lanes import WindowUse
from strava_pipeline.strava.quota.windows import Lane, RateHeaders, Window
from strava_pipeline.warehouse.schema.quota_tables import quota_windows

_c = quota_windows.c
# Calls of these lanes are also counted apart.
_OF_LANE = {Lane.LIVE: _c.booked_live, Lane.RECONCILE: _c.booked_reconcile}


def load_uses(connection: Connection, scope: str, windows: Collection[Window], now: datetime) -> list[WindowUse]:
    """Load the use of these windows, and of any other window of the scope whose block still holds.

    ``now`` is Strava's time. Missing rows are inserted.
    """
    query = select(quota_windows).where(_c.scope == scope, or_(_is_one_of(windows), _is_blocked(now)))
    uses = [_use(row) for row in connection.execute(query)]
    missing = set(windows) - {use.window for use in uses}
    if not missing:
        return uses
    _create(connection, scope, missing)
    return [_use(row) for row in connection.execute(query)]


def look_at_uses(connection: Connection, scope: str, windows: Collection[Window], now: datetime) -> list[WindowUse]:
    """Return what :func:`load_uses` returns, but insert nothing."""
    query = select(quota_windows).where(_c.scope == scope, or_(_is_one_of(windows), _is_blocked(now)))
    uses = [_use(row) for row in connection.execute(query)]
    for window in set(windows) - {use.window for use in uses}:
        read, overall = _last_limits(connection, scope, window)
        uses.append(WindowUse(window, read_limit=read, overall_limit=overall))
    return uses


def uses_of_all(connection: Connection, windows: Collection[Window]) -> list[tuple[str, WindowUse]]:
    """Return the use of these windows in each scope that has used one."""
    rows = connection.execute(select(quota_windows).where(_is_one_of(windows)))
    return [(row.scope, _use(row)) for row in rows]


def booking(scope: str, windows: Collection[Window], calls: int, lane: Lane) -> Update:
    """Return the statement that books ``calls`` in windows that have rows; a negative number gives room back."""
    counts = {_c.booked} if lane is Lane.BACKFILL else {_c.booked, _OF_LANE[lane]}
    return update(quota_windows).where(_these(scope, windows)).values({count: count + calls for count in counts})


def announce_newest(connection: Connection, scope: str, windows: Collection[Window], until: datetime) -> None:
    """Let backfills leave their room in these windows to a new athlete's newest month until then (Strava's clock)."""
    _create(connection, scope, windows)
    announcing = update(quota_windows).where(_these(scope, windows))
    connection.execute(announcing.values(newest_until=func.greatest(_c.newest_until, until)))


def book_late(connection: Connection, scope: str, windows: Collection[Window], lane: Lane) -> None:
    """Book one call in windows in which it was not booked before it was sent."""
    _create(connection, scope, windows)
    connection.execute(booking(scope, windows, 1, lane))


def adopt(connection: Connection, scope: str, use: WindowUse, rates: RateHeaders, *, short: bool) -> bool:
    """Store what an answer says of a window: its limits, and the usage by other programs. Return whether it is news.

    All our calls that Strava counted before it wrote the answer were booked before, so any usage beyond our bookings
    is certainly by others. Bookings include calls under way that Strava has perhaps not counted yet, so the usage by
    others may be higher by up to their number, until an answer comes with fewer calls under way.
    """
    news: dict[str, int] = {}
    for bucket in ("read", "overall"):
        limit, usage = getattr(rates, f"{bucket}_limit"), getattr(rates, f"{bucket}_usage")
        if limit is not None:
            news[f"{bucket}_limit"] = limit.short if short else limit.long
        if usage is not None:
            beyond = (usage.short if short else usage.long) - use.booked
            news[f"{bucket}_foreign"] = max(getattr(use, f"{bucket}_foreign"), beyond)
    changed = {name: value for name, value in news.items() if getattr(use, name) != value}
    if changed:
        connection.execute(update(quota_windows).where(_these(scope, [use.window])).values(**changed))
    return bool(changed)


def block_until(connection: Connection, scope: str, window: Window, until: datetime) -> None:
    """Block the scope until ``until`` (Strava's clock); a stored block is only ever prolonged."""
    _create(connection, scope, [window])
    connection.execute(
        update(quota_windows)
        .where(_these(scope, [window]))
        .values(blocked_until=func.greatest(_c.blocked_until, until))
    )


def scopes_in_use(connection: Connection, current: Collection[Window]) -> list[str]:
    """Return the scopes that have a row for one of the current windows, sorted."""
    query = select(_c.scope).where(_is_one_of(current)).distinct().order_by(_c.scope)
    return list(connection.execute(query).scalars())


def newest_limits(
    connection: Connection, scopes: Collection[str], window: Window
) -> dict[str, tuple[int | None, int | None]]:
    """Return the read and overall limits that Strava named last for each of these scopes, up to this window."""
    age = func.row_number().over(partition_by=_c.scope, order_by=_c.starts_at.desc())
    past = (
        select(_c.scope, _c.read_limit, _c.overall_limit, age.label("age"))
        .where(_c.scope == any_(literal(list(scopes), ARRAY(Text))))
        .where(_c.length_s == window.length_s, _c.starts_at <= window.starts_at)
        .subquery()
    )
    query = select(past.c.scope, past.c.read_limit, past.c.overall_limit).where(past.c.age == 1)
    return {scope: (read, overall) for scope, read, overall in connection.execute(query)}


def _create(connection: Connection, scope: str, windows: Collection[Window]) -> None:
    """Insert rows for the windows that have none yet."""
    for window in sorted(windows):
        read, overall = _last_limits(connection, scope, window)
        connection.execute(
            insert_or_skip(quota_windows)
            .values(
                scope=scope,
                length_s=window.length_s,
                starts_at=window.starts_at,
                booked=0,
                read_limit=read,
                read_foreign=0,
                overall_limit=overall,
                overall_foreign=0,
            )
            .on_conflict_do_nothing()
        )


def _last_limits(connection: Connection, scope: str, window: Window) -> tuple[int | None, int | None]:
    """The read and overall limits that Strava named last: a new window starts with them."""
    last = connection.execute(
        select(_c.read_limit, _c.overall_limit)
        .where(_c.scope == scope, _c.length_s == window.length_s, _c.starts_at < window.starts_at)
        .order_by(_c.starts_at.desc())
        .limit(1)
    ).first()
    return (last[0], last[1]) if last else (None, None)


def _use(row: Row[Any]) -> WindowUse:
    return WindowUse(
        window=Window(row.length_s, row.starts_at),
        booked=row.booked,
        read_limit=row.read_limit,
        read_foreign=row.read_foreign,
        overall_limit=row.overall_limit,
        overall_foreign=row.overall_foreign,
        blocked_until=row.blocked_until,
        booked_live=row.booked_live,
        booked_reconcile=row.booked_reconcile,
        newest_until=row.newest_until,
    )


def _these(scope: str, windows: Collection[Window]) -> ColumnElement[bool]:
    return and_(_c.scope == scope, _is_one_of(windows))


def _is_blocked(now: datetime) -> ColumnElement[bool]:
    return and_(_c.blocked_until.is_not(None), _c.blocked_until > now)  # the first half is the index's


def _is_one_of(windows: Collection[Window]) -> ColumnElement[bool]:
    return tuple_(_c.length_s, _c.starts_at).in_([(window.length_s, window.starts_at) for window in windows])
