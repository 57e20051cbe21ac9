"""The words of the message about failed runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.states import AlertChange, Severity
from strava_pipeline.warehouse.watch.alert_rows import NewMessage
from strava_pipeline.watch.wording import page_url

# A message with more runs is not read.
MOST_TOLD = 10
SECTION = "docs/mails.md#failed-runs"


@dataclass(frozen=True)
class RunFailure:
    """A failed run; ``what``: its job, or its assets. ``ended_at`` in UTC; ``reason``: why, in one line, if known.

    ``athlete_id``, ``months``: whose, and which months it was about, if its tags tell.
    """

    run_id: str
    what: str
    ended_at: datetime
    athlete_id: int | None
    months: str
    reason: str = ""

    @property
    def subject(self) -> str:
        """What the run was about."""
        whose = f"athlete {self.athlete_id}" if self.athlete_id is not None else ""
        return ", ".join(filter(None, (self.what, whose, self.months)))


def message_about(runs: Sequence[RunFailure], settings: Settings) -> NewMessage:
    """Return the message about failed runs, which are in the order of their ends; only the last few are described."""
    one = f"A run failed: {runs[-1].subject}"
    return NewMessage(
        change=AlertChange.RUN_FAILED,
        severity=Severity.WARNING,
        subject=f"Warning: {one if len(runs) == 1 else f'{len(runs)} runs failed'}",
        body="\n".join(_body(runs, settings)),
        athlete_ids=tuple(sorted({run.athlete_id for run in runs if run.athlete_id is not None})),
    )


def _body(runs: Sequence[RunFailure], settings: Settings) -> Iterator[str]:
    shown = runs[-MOST_TOLD:]
    for run in shown:
        yield f"- {run.subject}: {run.reason or 'its reason is in Dagster'} (at {run.ended_at:%Y-%m-%d %H:%M} UTC)"
    if len(runs) > len(shown):
        yield f"- and {len(runs) - len(shown)} more before these"
    yield ""
    yield "What to do: read the reason; schedules and the bridge start anew what is still due."
    yield ""
    yield f"Page: {page_url(settings)}"
    yield from (f"Run: {settings.dagster_pages}/runs/{run.run_id}" for run in shown)
    yield f"More: {SECTION}"
