"""The sums behind metrics (``ops.metric_totals``): how often something happened, by kind; they never fall.

Whatever happens rarely is added in the transaction in which it happens, the rest once its row has ended
(:mod:`strava_pipeline.warehouse.finished_rows`). A transaction adds after it has locked all other rows that it needs,
so that it waits for nobody who waits for a sum.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from sqlalchemy import Connection, Engine, extract, func, select
from sqlalchemy.dialects.postgresql import insert as insert_or_add

from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.metric_tables import metric_totals

# Under this label a distribution has its sum, beside the counts under the bounds of its buckets.
SUM = "sum"
NO_BOUND = "+Inf"


class Total(StrEnum):
    """What is counted, and by which labels."""

    CALLS = "calls"  # endpoint, lane, result
    CALL_SECONDS = "call_seconds"  # endpoint, bucket
    TOKENS = "tokens"  # operation, outcome
    EVENTS = "events"  # source, result
    EVENT_SECONDS = "event_seconds"  # source, bucket
    RECEIPT_SECONDS = "receipt_seconds"  # source, bucket
    DEAD_LETTERS = "dead_letters"  # class of the error
    MAILS = "mails"  # kind, outcome


class PeriodicJob(StrEnum):
    """What happens again and again, and whose last success is noted: jobs, and looks for alerts."""

    UPKEEP = "upkeep"
    RETENTION = "retention"
    LAKE = "lake"
    CHECKS = "checks"
    ALERTS = "alerts"


Labels = tuple[str, ...]
_SUCCEEDED = "last_success"
# How much is added to each total.
Amounts = defaultdict[tuple[Total, Labels], float]


def add_to_totals(connection: Connection, amounts: Mapping[tuple[Total, Labels], float]) -> None:
    """Add to the totals, in the caller's transaction."""
    # All processes lock the rows in one order.
    rows = [
        {"metric": total.value, "labels": list(labels), "amount": amount}
        for (total, labels), amount in sorted(amounts.items())
        if amount
    ]
    if not rows:
        return
    adding = insert_or_add(metric_totals).values(rows)
    more = metric_totals.c.amount + adding.excluded.amount
    key = list(metric_totals.primary_key)
    connection.execute(adding.on_conflict_do_update(index_elements=key, set_={"amount": more}))


def read_totals(connection: Connection) -> dict[Total, dict[Labels, float]]:
    """Return all totals, each by its labels; without those that were never added to."""
    totals: dict[Total, dict[Labels, float]] = {total: {} for total in Total}
    for metric, labels, amount in connection.execute(select(metric_totals)):
        # A newer version may count more than this one knows of.
        if metric in totals:
            totals[Total(metric)][tuple(labels)] = amount
    return totals


def note_success(engine: Engine, job: PeriodicJob) -> None:
    """Note that a job has just ended as it should."""
    with engine.begin() as connection:
        note_success_within(connection, job)


def note_success_within(connection: Connection, job: PeriodicJob) -> None:
    """Note that a job has just ended as it should, if the caller's transaction does."""
    moment = extract("epoch", database_time())
    noting = insert_or_add(metric_totals).values(metric=_SUCCEEDED, labels=[job.value], amount=moment)
    latest = func.greatest(metric_totals.c.amount, noting.excluded.amount)
    connection.execute(
        noting.on_conflict_do_update(index_elements=list(metric_totals.primary_key), set_={"amount": latest})
    )


def read_successes(connection: Connection) -> dict[PeriodicJob, datetime]:
    """Return when each job last ended as it should (UTC); without those that never did."""
    rows = connection.execute(
        select(metric_totals.c.labels, metric_totals.c.amount).where(metric_totals.c.metric == _SUCCEEDED)
    )
    found = {labels[0]: datetime.fromtimestamp(amount, UTC) for labels, amount in rows}
    return {job: found[job] for job in PeriodicJob if job in found}
