"""Turns faults into Dagster's retries, months into materializations, and columns into schemas, for assets and jobs."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.defs.attempts import Attempts, is_outage
from strava_pipeline.defs.markdown import listing
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.errors import (
    AppInactive,
    DatabaseUnavailable,
    QuotaExhausted,
    RetriableStravaError,
    StravaAway,
    StravaPipelineError,
)
from strava_pipeline.log_context import add_log_ids, log_ids
from strava_pipeline.months import Span, enclosing_span
from strava_pipeline.redaction import get_logger
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.access import outage_patience
from strava_pipeline.sync.context import SpanResult
from strava_pipeline.sync.months_at_work import MonthsFailed
from strava_pipeline.sync.stopping import stop_wanted
from strava_pipeline.warehouse.declared_columns import columns_of
from strava_pipeline.warehouse.patience import DatabasePatience, patient
from strava_pipeline.warehouse.write_probe import probe_write

log = get_logger(__name__)

# What Dagster's UI shows as the number of a partition's rows.
ROW_COUNT = "dagster/partition_row_count"
# The metadata of a step that computes from stored rows, without a request.
NO_REQUESTS: dict[str, Any] = {"requests": 0}


@dataclass
class StepSubject:
    """The athlete and months that a step works on; a failure names both, and log lines the athlete."""

    athlete_id: int | None = None
    months: str = ""

    def at_spans(self, *spans: Span) -> None:
        """Set the subject to months of one athlete, in any order."""
        self.at_athlete(spans[0].athlete_id)
        self.months = enclosing_span(spans).months

    def at_failed(self, spans: Sequence[Span], *, of: int) -> None:
        """Set the subject to that of the months that failed; they name themselves unless the step had but one."""
        athletes = {span.athlete_id for span in spans}
        self.athlete_id = spans[0].athlete_id if len(athletes) == 1 else None
        self.months = spans[0].months if of == 1 else ""

    def at_athlete(self, athlete_id: int) -> None:
        """Set the subject to an athlete as a whole."""
        self.athlete_id, self.months = athlete_id, ""
        add_log_ids(athlete_id=athlete_id)


@dataclass(frozen=True)
class StepPatience:
    """A database, and how long a step of a run waits for it."""

    engine: Engine
    longest: timedelta

    def new(self) -> DatabasePatience:
        """Return the patience of one attempt of the step, which logs its waits in the run."""
        return DatabasePatience(self.longest.total_seconds(), _log_wait, _pause)


@contextmanager
def translate_faults(attempts: Attempts, patience: StepPatience | None = None) -> Iterator[StepSubject]:
    """Translate errors for Dagster: one that may pass is retried after 1, 2 and 4 s, any other fails the step at once.

    A step with ``patience`` waits for the database. A transaction that broke is done again by another attempt, after
    1 s, 2 s, 4 s and so on up to 10 min, as long as these pauses together are no longer than the patience. They do not
    use up the three retries. A failure names its reason and the subject, which the step sets on the yielded object.
    """
    subject, waiting = StepSubject(), patience.new() if patience else None
    try:
        with patient(waiting), log_ids():
            yield subject
    except (QuotaExhausted, StravaAway, AppInactive) as error:
        # These were waited for already, as long as the lane allows.
        retry_at = {} if error.retry_at is None else {"retry_at": error.retry_at.isoformat()}
        raise _final(error, subject, **retry_at) from None
    except (RetriableStravaError, DatabaseUnavailable) as error:
        again = _another_attempt(error, attempts, patience, waiting)
        if again is None:
            raise _final(error, subject) from None
        raise again from error
    except MonthsFailed as error:
        # The cause, a fault of this program, is shown with its traceback.
        raise _final(error, subject, months=_listed(error)) from error.__cause__
    except StravaPipelineError as error:
        raise _final(error, subject) from None


def _another_attempt(
    error: StravaPipelineError, attempts: Attempts, patience: StepPatience | None, waiting: DatabasePatience | None
) -> dg.RetryRequested | None:
    """Return what asks Dagster for another attempt after an error that may pass; ``None`` if none is left."""
    if not is_outage(error):
        return attempts.after_fault() if attempts.may_retry(error) else None
    if isinstance(error, DatabaseUnavailable) and patience and waiting and patience.longest:
        # What the step writes may not fit although the probe does: then it must not ask Strava again and again.
        is_too_long = attempts.paused_s + attempts.outage_pause_s > patience.longest.total_seconds()
        goes_on = not is_too_long and _answers_after_all(patience.engine, waiting)
        return attempts.after_outage() if goes_on else None
    return attempts.after_outage() if attempts.may_retry(error) else None


def _answers_after_all(engine: Engine, waiting: DatabasePatience) -> bool:
    """Whether the database accepts writes again within the patience.

    It may take connections before it takes writes: while its disk is full, or while it is slow after a start.
    Dagster's is often on the same server: Dagster is asked to try again once that can be stored.
    """
    wait = waiting.waits()
    while True:
        try:
            with patient(waiting):
                probe_write(engine)
        except DatabaseUnavailable as away:
            if not wait.rest(str(away)):
                return False
        else:
            return True


def _log_wait(message: str) -> None:
    log.warning("%s", message)


def _pause(seconds: float) -> None:
    if stop_wanted.wait(seconds):
        raise dg.DagsterExecutionInterruptedError


def _listed(error: MonthsFailed) -> dg.MetadataValue[Any]:
    return listing(f"athlete {span.athlete_id}, {span.months}: {reason}" for span, reason in error.failed.items())


def _final(error: StravaPipelineError, subject: StepSubject, **more: Any) -> dg.Failure:
    metadata: dict[str, Any] = {"kind": type(error).__name__} | more
    description = str(error)
    if subject.athlete_id is not None:
        metadata["athlete"] = str(subject.athlete_id)
        whose = f"athlete {subject.athlete_id}"
        if subject.months:
            metadata["months"] = subject.months
            whose = f"{whose}, {subject.months}"
        description = f"{whose}: {description}"
    return dg.Failure(description=description, metadata=metadata, allow_retries=False)


def lane_of(context: dg.AssetExecutionContext | dg.OpExecutionContext, warehouse: WarehouseResource) -> Lane:
    """The quota lane that the run's tag names; a run started by hand is a backfill."""
    return Lane(context.run.tags.get(warehouse.names.lane_tag, Lane.BACKFILL))


def patience_of(
    context: dg.AssetExecutionContext | dg.OpExecutionContext, warehouse: WarehouseResource
) -> StepPatience:
    """How long a run of this lane waits for the database."""
    return StepPatience(warehouse.engine, outage_patience(warehouse.load_settings(), lane_of(context, warehouse)))


def span_metadata(result: SpanResult) -> dict[str, Any]:
    """The metadata that a month's materialization shows."""
    metadata: dict[str, Any] = {"written": result.stored, "unchanged": result.unchanged, "deleted": result.deleted}
    if result.quarantined:
        metadata["put aside"] = listing(result.quarantined.values())
    return metadata


def table_metadata(table: str, lineage: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    """Name and columns of a table of schema ``strava``, with the comments that the database holds, and ``lineage``."""
    columns = [
        dg.TableColumn(
            name=column.name,
            type=column.type,
            description=column.comment,
            constraints=dg.TableColumnConstraints(nullable=column.nullable),
        )
        for column in columns_of(table).values()
    ]
    return {
        "dagster/table_name": f"strava.{table}",
        "dagster/column_schema": dg.TableSchema(columns=columns),
        **(lineage or {}),
    }
