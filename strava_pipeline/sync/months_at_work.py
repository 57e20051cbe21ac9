"""Works on an athlete's months one after the other; a month that fails is kept with its reason, the next ones go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from sqlalchemy import Engine

from strava_pipeline.errors import NOT_ABOUT_ONE_MONTH, DatabaseTooSlow, StravaPipelineError
from strava_pipeline.months import Span
from strava_pipeline.redaction import get_logger
from strava_pipeline.warehouse.engine import retry_transaction
from strava_pipeline.warehouse.imports.failed_months import note_failed, note_succeeded
from strava_pipeline.warehouse.states import ImportStep

log = get_logger(__name__)

Result = TypeVar("Result")
# A message names so many of the months that failed.
NAMED = 3


@dataclass(frozen=True)
class FailedMonth:
    """A month for which a step failed, why, in one line, and the error."""

    span: Span
    reason: str
    error: Exception


class MonthsFailed(StravaPipelineError):
    """A step failed for some of its months; the others were worked on. ``failed`` has the reasons by month."""

    def __init__(self, failed: Sequence[FailedMonth], months: int) -> None:
        self.failed = {month.span: month.reason for month in failed}
        is_one_athletes = len({month.span.athlete_id for month in failed}) == 1
        named = "; ".join(_told(month, with_athlete=not is_one_athletes) for month in failed[:NAMED])
        more = f"; and {len(failed) - NAMED} more" if len(failed) > NAMED else ""
        super().__init__(f"{len(failed)} of {months} months failed: {named}{more}")


def each_month(
    engine: Engine, step: ImportStep, spans: Iterable[Span], work: Callable[[Span], Result]
) -> Iterator[Result | FailedMonth]:
    """Do a step's ``work`` for one month after the other; yield its result, or the month as failed.

    Raises the error if it is not about one month (:data:`.NOT_ABOUT_ONE_MONTH`). After any other error, and after work
    that took the database too long, the month is due again later (:func:`.note_failed`), and the next one is worked on.
    """
    for span in spans:
        try:
            result = work(span)
        except Exception as error:
            if isinstance(error, NOT_ABOUT_ONE_MONTH) and not isinstance(error, DatabaseTooSlow):
                raise
            failed = FailedMonth(span, _reason(error), error)
            log.warning(
                "the step %s of athlete %d failed for %s: %s",
                step,
                span.athlete_id,
                span.months,
                failed.reason,
                exc_info=None if isinstance(error, StravaPipelineError) else error,
            )
            retry_transaction(engine, partial(note_failed, span=span, step=step, reason=failed.reason))
            yield failed
        else:
            retry_transaction(engine, partial(note_succeeded, span=span, step=step))
            yield result


def raise_failed(failed: Sequence[FailedMonth], months: int) -> None:
    """Raise ``MonthsFailed`` if some of a step's ``months`` failed; its cause is the first fault of this program.

    The error of a step's only month is raised as it is.
    """
    if failed and months == 1:
        raise failed[0].error
    if failed:
        bugs = (month.error for month in failed if not isinstance(month.error, StravaPipelineError))
        raise MonthsFailed(failed, months) from next(bugs, None)


def _told(month: FailedMonth, *, with_athlete: bool) -> str:
    whose = f"athlete {month.span.athlete_id}, " if with_athlete else ""
    return f"{whose}{month.span.months}: {month.reason}"


def _reason(error: Exception) -> str:
    """The error in one line; the text of a fault of this program may hold anything, so it is left out."""
    if isinstance(error, StravaPipelineError):
        return str(error)
    return f"{type(error).__name__}: a fault of this program, see the log of the run"
