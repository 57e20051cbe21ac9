"""What became of deliveries, as all bridges counted it: in slots of five minutes, kept for 35 days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from sqlalchemy import BigInteger, ColumnElement, Connection, Engine, cast, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by, insert

from strava_pipeline.warehouse.engine import limit_statements, now
from strava_pipeline.warehouse.schema.delivery_tables import delivery_counts
from strava_pipeline.warehouse.states import DeliveryOutcome

HOUR = timedelta(hours=1)
STATEMENT_MILLISECONDS = 3000


@dataclass(frozen=True)
class CountedDeliveries:
    """Deliveries of one slot (its start, UTC) with the same outcome and reason, as one bridge counted them so far.

    ``slowest_ms``: the longest time from request to answer, ms. ``subscription_id``: of the last one that was rejected
    as of another subscription.
    """

    slot: datetime
    outcome: DeliveryOutcome
    reason: str
    bridge: str
    deliveries: int
    slowest_ms: int
    subscription_id: int | None = None


@dataclass(frozen=True)
class DeliveriesOfHour:
    """The deliveries of the hour that began at ``hour`` (UTC) by outcome, and the longest time to an answer, ms."""

    hour: datetime
    stored: int
    duplicate: int
    stranger: int
    rejected: int
    slowest_ms: int


@dataclass(frozen=True)
class RecentDeliveries:
    """Deliveries with the same outcome and reason; ``subscription_id``: as of :class:`CountedDeliveries`."""

    outcome: DeliveryOutcome
    reason: str
    deliveries: int
    slowest_ms: int
    subscription_id: int | None


def add_deliveries(engine: Engine, counts: Sequence[CountedDeliveries]) -> None:
    """Store what a bridge has counted. Counts are totals of their slot: to store them twice changes nothing.

    ``DatabaseUnavailable`` if that fails; then they may be stored again.
    """
    if not counts:
        return
    statement = insert(delivery_counts)
    new, old = statement.excluded, delivery_counts.c
    upsert = statement.on_conflict_do_update(
        index_elements=list(delivery_counts.primary_key),
        set_={
            "deliveries": func.greatest(old.deliveries, new.deliveries),
            "slowest_ms": func.greatest(old.slowest_ms, new.slowest_ms),
            "subscription_id": func.coalesce(new.subscription_id, old.subscription_id),
        },
    )
    with engine.begin() as connection:
        # A bridge that stops does not wait for a database that hangs.
        limit_statements(connection, STATEMENT_MILLISECONDS)
        connection.execute(upsert, [asdict(count) for count in counts])


def deliveries_by_hour(connection: Connection, hours: int = 24) -> list[DeliveriesOfHour]:
    """The deliveries of the last hours, the current one last; hours without deliveries have zeros."""
    counts, current = delivery_counts.c, now(connection).replace(minute=0, second=0, microsecond=0)
    hour = func.date_trunc("hour", counts.slot)

    def with_outcome(outcome: DeliveryOutcome) -> ColumnElement[int]:
        return cast(func.coalesce(func.sum(counts.deliveries).filter(counts.outcome == outcome), 0), BigInteger)

    query = (
        select(hour, *map(with_outcome, DeliveryOutcome), func.max(counts.slowest_ms))
        .where(counts.slot >= current - (hours - 1) * HOUR)
        .group_by(hour)
    )
    found = {row[0]: DeliveriesOfHour(*row) for row in connection.execute(query)}
    began = [current - back * HOUR for back in reversed(range(hours))]
    return [found.get(hour, DeliveriesOfHour(hour, 0, 0, 0, 0, 0)) for hour in began]


def recent_deliveries(connection: Connection, since: datetime) -> list[RecentDeliveries]:
    """The deliveries of all slots that began at ``since`` (UTC) or later, by outcome and reason."""
    counts = delivery_counts.c
    subscriptions = func.array_agg(aggregate_order_by(counts.subscription_id, counts.slot.desc()))
    last_subscription = subscriptions.filter(counts.subscription_id.is_not(None))
    query = (
        select(
            counts.outcome,
            counts.reason,
            cast(func.sum(counts.deliveries), BigInteger),
            func.max(counts.slowest_ms),
            last_subscription,
        )
        .where(counts.slot >= since)
        .group_by(counts.outcome, counts.reason)
        .order_by(counts.outcome, counts.reason)
    )
    return [
        RecentDeliveries(DeliveryOutcome(outcome), reason, deliveries, slowest_ms, ids[0] if ids else None)
        for outcome, reason, deliveries, slowest_ms, ids in connection.execute(query)
    ]
