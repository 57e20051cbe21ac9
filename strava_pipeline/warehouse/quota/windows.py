"""The rows of ``ops.quota_windows``: what is used of each of Strava's rate windows, within one scope.

Everything that writes here is called under the ledger's lock.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Update, and_, func, or_, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as insert_or_skip

from strava_pipeline.strava.quota.lanes import WindowUse
from strava_pipeline.strava.quota.windows import RateHeaders, Window
from strava_pipeline.warehouse.schema.ops_tables import quota_windows

_c = quota_windows.c


def load_uses(connection: Connection, scope: str, windows: Collection[Window], now: datetime) -> list[WindowUse]:
    """These windows, and any other one with a block that still holds; ``now`` is Strava's."""
    query = select(quota_windows).where(_c.scope == scope, or_(_is_one_of(windows), _is_blocked(now)))
    uses = [_use(row) for row in connection.execute(query)]
    missing = set(windows) - {use.window for use in uses}
    if not missing:
        return uses
    _create(connection, scope, missing)
    return [_use(row) for row in connection.execute(query)]


def look_at_uses(connection: Connection, scope: str, windows: Collection[Window], now: datetime) -> list[WindowUse]:
    """The same for who only wants to see: windows of which nothing is used need no row."""
    query = select(quota_windows).where(_c.scope == scope, or_(_is_one_of(windows), _is_blocked(now)))
    uses = [_use(row) for row in connection.execute(query)]
    for window in set(windows) - {use.window for use in uses}:
        read, overall = _last_limits(connection, scope, window)
        uses.append(WindowUse(window, read_limit=read, overall_limit=overall))
    return uses


def booking(scope: str, windows: Collection[Window], calls: int) -> Update:
    """Counts calls in windows that were loaded before; less than none gives room back."""
    return update(quota_windows).where(_these(scope, windows)).values(booked=_c.booked + calls)


def book_late(connection: Connection, scope: str, windows: Collection[Window]) -> None:
    """Count one call in windows that nobody had expected it in."""
    _create(connection, scope, windows)
    connection.execute(booking(scope, windows, 1))


def adopt(connection: Connection, scope: str, use: WindowUse, rates: RateHeaders, *, short: bool) -> bool:
    """Take over what an answer says of a window: limits as they are, and usage that we did not book ourselves.

    Returns whether that was news.

    Whatever Strava had counted of ours when it wrote the answer had been booked before, so that what it counted
    beyond all our bookings is others' for certain. Calls under way are booked, too: with others at work it may
    be more by as many as those, until an answer comes with fewer under way.
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
    """No call in this scope before ``until`` (Strava's clock); an earlier block is only ever prolonged."""
    _create(connection, scope, [window])
    connection.execute(
        update(quota_windows)
        .where(_these(scope, [window]))
        .values(blocked_until=func.greatest(_c.blocked_until, until))
    )


def scopes_in_use(connection: Connection, current: Collection[Window]) -> list[str]:
    """Whose windows are in use now."""
    query = select(_c.scope).where(_is_one_of(current)).distinct().order_by(_c.scope)
    return list(connection.execute(query).scalars())


def _create(connection: Connection, scope: str, windows: Collection[Window]) -> None:
    """Rows for the windows that have none yet."""
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
    """A fresh window starts with the limits that Strava named last."""
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
    )


def _these(scope: str, windows: Collection[Window]) -> ColumnElement[bool]:
    return and_(_c.scope == scope, _is_one_of(windows))


def _is_blocked(now: datetime) -> ColumnElement[bool]:
    return and_(_c.blocked_until.is_not(None), _c.blocked_until > now)  # the first half is the index's


def _is_one_of(windows: Collection[Window]) -> ColumnElement[bool]:
    return tuple_(_c.length_s, _c.starts_at).in_([(window.length_s, window.starts_at) for window in windows])
