"""Why a Dagster run failed: what its log says, in lines for a console."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strava_pipeline.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from dagster import DagsterEvent, DagsterInstance
    from dagster_shared.error import SerializableErrorInfo


def reasons(instance: DagsterInstance, run_id: str) -> list[str]:
    """Return the reasons of a run that failed, one line each: those of its failed steps.

    If none failed, the run failed outside its steps: the reason is that of the run's failure, or else the last error
    that Dagster noted in the run's log. Never empty.
    """
    import dagster as dg

    def found(kind: dg.DagsterEventType) -> list[DagsterEvent]:
        records = instance.get_records_for_run(run_id, of_type=kind).records
        return [record.event_log_entry.dagster_event for record in records if record.event_log_entry.dagster_event]

    steps = _lines(_of_step(event) for event in found(dg.DagsterEventType.STEP_FAILURE))
    if steps:
        return steps
    runs = _lines(_of_run(event) for event in found(dg.DagsterEventType.RUN_FAILURE))
    noted = _lines(_noted(event) for event in found(dg.DagsterEventType.ENGINE_EVENT))
    return runs or noted[-1:] or [f"see run {run_id} in Dagster"]


def kinds(instance: DagsterInstance, run_id: str) -> set[str]:
    """Return the classes of the errors of a run's failed steps, as the steps name them; empty texts for others."""
    import dagster as dg

    records = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE).records
    events = [record.event_log_entry.dagster_event for record in records]
    return {_kind(event) for event in events if event}


def _kind(event: DagsterEvent) -> str:
    told = event.step_failure_data.user_failure_data
    kind = told.metadata.get("kind") if told else None
    return str(kind.value) if kind is not None else ""


def _of_step(event: DagsterEvent) -> str:
    data = event.step_failure_data
    if data.user_failure_data and data.user_failure_data.description:
        return data.user_failure_data.description
    return _told(data.error)


def _of_run(event: DagsterEvent) -> str:
    # A run that another process marked as failed has a message only.
    error = event.job_failure_data.error if event.event_specific_data else None
    return _told(error) or event.message or ""


def _noted(event: DagsterEvent) -> str:
    return _told(event.engine_event_data.error) if event.event_specific_data else ""


def _told(error: SerializableErrorInfo | None) -> str:
    """The error at the bottom of a chain, without its traceback."""
    if error is None:
        return ""
    while error.cause is not None:
        error = error.cause
    return error.message


def _lines(texts: Iterable[str]) -> list[str]:
    """The first line of each text, made printable, each once."""
    return list(dict.fromkeys(_first_lines(texts)))


def _first_lines(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        line = printable(text.strip().partition("\n")[0])
        if line:
            yield line
