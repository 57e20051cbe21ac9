"""What a step's attempts before this one ended with: faults and outages are counted apart.

Dagster counts the attempts of a step, but not why they ended. Its event log tells: after an outage a step asks for
another attempt by an error of its own.
"""

from dataclasses import dataclass

import dagster as dg

from strava_pipeline.errors import DatabaseTooSlow, DatabaseUnavailable, RefreshDelayed, StravaPipelineError

MAX_RETRIES = 3
LONGEST_OUTAGE_PAUSE_S = 600.0


class RetryAfterOutage(dg.RetryRequested):
    """Asks for another attempt because the database was away, or Strava's OAuth; the event log has this name."""


@dataclass(frozen=True)
class Attempts:
    """How many attempts of a step ended before this one, and how many of these with ``outages``.

    ``paused_s``: how long the pauses after outages took together, s.
    """

    ended: int = 0
    outages: int = 0
    paused_s: float = 0.0

    def may_retry(self, error: StravaPipelineError) -> bool:
        """Whether the step may be tried again at once, within seconds, after an error that may pass."""
        return (self.outages if is_outage(error) else self._faults) < MAX_RETRIES

    def after_fault(self) -> dg.RetryRequested:
        """Ask for another attempt after a fault that may pass: after 1, 2 and 4 s."""
        return dg.RetryRequested(max_retries=self.ended + 1, seconds_to_wait=2**self._faults)

    def after_outage(self) -> RetryAfterOutage:
        """Ask for another attempt after an outage: after 1, 2, 4 s and so on, at most 10 min."""
        return RetryAfterOutage(max_retries=self.ended + 1, seconds_to_wait=self.outage_pause_s)

    @property
    def outage_pause_s(self) -> float:
        """How long to pause after an outage, s."""
        return float(min(2.0 ** min(self.outages, 10), LONGEST_OUTAGE_PAUSE_S))

    @property
    def _faults(self) -> int:
        return self.ended - self.outages


# For work that is not tried again by Dagster.
LAST_ATTEMPT = Attempts(ended=2 * MAX_RETRIES, outages=MAX_RETRIES)


def is_outage(error: StravaPipelineError) -> bool:
    """Whether an error is everybody's, not the step's: it uses up no retry of the step's own faults.

    A database that is too slow may be so for this step's statements alone.
    """
    return isinstance(error, DatabaseUnavailable | RefreshDelayed) and not isinstance(error, DatabaseTooSlow)


def attempts_of(context: dg.AssetExecutionContext | dg.OpExecutionContext) -> Attempts:
    """Return how the attempts of a context's step ended so far; reads Dagster's event log if there was one."""
    if not context.retry_number:
        return Attempts()
    step_key = context.get_step_execution_context().step.key
    found = context.instance.get_records_for_run(context.run.run_id, of_type=dg.DagsterEventType.STEP_UP_FOR_RETRY)
    events = (record.event_log_entry.dagster_event for record in found.records)
    asked = [event.step_retry_data for event in events if event is not None and event.step_key == step_key]
    after_outages = [each for each in asked if each.error.cls_name == RetryAfterOutage.__name__]
    paused_s = sum(each.seconds_to_wait or 0.0 for each in after_outages)
    return Attempts(context.retry_number, len(after_outages), paused_s)
