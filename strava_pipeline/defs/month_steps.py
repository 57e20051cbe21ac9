"""The months of a step: each is logged when it is done, one that fails stops no other, and what is left out follows."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import dagster as dg
from sqlalchemy import Engine

from strava_pipeline.defs.attempts import attempts_of
from strava_pipeline.defs.partitions import spans_by_athlete
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.run_logs import step_log
from strava_pipeline.defs.steps import StepSubject, patience_of, span_metadata, translate_faults
from strava_pipeline.errors import DatabaseUnavailable, NeedsReauthorization
from strava_pipeline.months import Span, add_months, enclosing_span
from strava_pipeline.names import STEP_ASSETS
from strava_pipeline.sync.context import SpanResult
from strava_pipeline.sync.months_at_work import FailedMonth, each_month, raise_failed
from strava_pipeline.warehouse.engine import autocommit, now, retry_transaction
from strava_pipeline.warehouse.imports.wishes import ask_for_rest
from strava_pipeline.warehouse.states import ImportStep

Result = TypeVar("Result")


@dataclass
class MonthsOfStep:
    """The months that a step works on: logs those that are done, and keeps those that failed for the step's end."""

    context: dg.AssetExecutionContext
    engine: Engine
    step: ImportStep
    subject: StepSubject
    _done: int = 0
    _unchanged: list[dg.AssetMaterialization] = field(default_factory=list)
    _failed: list[FailedMonth] = field(default_factory=list)

    def each(
        self, cells: Mapping[Span, dg.MultiPartitionKey], work: Callable[[Span], Result]
    ) -> Iterator[tuple[dg.MultiPartitionKey, Result]]:
        """Do the step's ``work`` for each month; yield partitions and results of those that do not fail."""

        def work_at(span: Span) -> tuple[dg.MultiPartitionKey, Result]:
            self.subject.at_spans(span)
            return cells[span], work(span)

        return self.done(each_month(self.engine, self.step, cells, work_at))

    def done(self, results: Iterable[Result | FailedMonth]) -> Iterator[Result]:
        """Yield the results of the months that were done; keep the months that failed."""
        for result in results:
            if isinstance(result, FailedMonth):
                self._failed.append(result)
            else:
                self._done += 1
                yield result

    def log_result(self, key: dg.MultiPartitionKey, result: SpanResult, more: Mapping[str, Any]) -> None:
        """Log a month's result as metadata, with ``more`` entries."""
        changed = bool(result.stored or result.deleted or result.quarantined)
        self.log(key, span_metadata(result) | dict(more), changed=changed)

    def log(self, key: dg.MultiPartitionKey, metadata: Mapping[str, Any], *, changed: bool) -> None:
        """Log a finished month at once, so that a run that dies later keeps it.

        A month without changes waits for the end of the step: a run that dies loses nothing by that, and an event for
        each of many empty months would cost more than the other work.
        """
        self.context.add_asset_metadata(metadata, partition_key=str(key))
        if self.context.has_partition_key:
            return
        event = dg.AssetMaterialization(self.context.asset_key, partition=key, metadata=metadata)
        if changed:
            self.context.log_event(event)
        else:
            self._unchanged.append(event)

    def end(self) -> None:
        """Raise ``MonthsFailed`` if months failed, after all others were logged."""
        if not self._failed:
            return
        # A step that fails has no output, by which Dagster would show these.
        for event in self._unchanged:
            self.context.log_event(event)
        months = self._done + len(self._failed)
        self.subject.at_failed([failed.span for failed in self._failed], of=months)
        raise_failed(self._failed, months)


@contextmanager
def working_on_months(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, step: ImportStep
) -> Iterator[MonthsOfStep]:
    """Translate errors for Dagster as :func:`translate_faults` does, and wait for the database.

    The step fails at its end if months failed. When it fails, an import is asked for that does what the run leaves out.
    """
    engine = warehouse.engine
    asked_at: datetime | None = None
    try:
        with translate_faults(attempts_of(context), patience_of(context, warehouse)) as subject:
            with autocommit(engine) as connection:
                asked_at = now(connection)
            months = MonthsOfStep(context, engine, step, subject)
            yield months
            months.end()
    except dg.RetryRequested:
        raise
    except Exception:
        if asked_at is not None:
            # Without a database nothing can be asked for; its own return starts nothing anew.
            with suppress(DatabaseUnavailable):
                _ask_for_rest(context, warehouse, step, asked_at)
        raise


def _ask_for_rest(
    context: dg.AssetExecutionContext, warehouse: WarehouseResource, step: ImportStep, asked_at: datetime
) -> None:
    """Ask for the steps of the run's months that Dagster leaves out once this one has failed, and for this one."""
    selected = context.job_def.asset_layer.selected_asset_keys
    chosen = {warehouse.names.asset_of(key.to_user_string()) for key in selected}
    order = list(ImportStep)
    steps = [later for later in order[order.index(step) :] if STEP_ASSETS[later] in chosen]
    for athlete_id, cells in spans_by_athlete(context.partition_keys):
        whole = enclosing_span(cells)
        first, last = whole.start.date(), add_months(whole.end, -1).date()
        ask = partial(ask_for_rest, athlete_id=athlete_id, first=first, last=last, steps=steps, asked_at=asked_at)
        with suppress(NeedsReauthorization):  # of an athlete who has disconnected nothing is imported
            how = (
                "by itself"
                if retry_transaction(warehouse.engine, ask)
                else "once a person ends the pause of its import"
            )
            step_log(context).info(
                "what this run leaves out of athlete %d, %s follows %s", athlete_id, whole.months, how
            )
