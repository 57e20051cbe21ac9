"""The state of each import in words, for the operator's page and the command ``import list``."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from strava_pipeline.months import month_text
from strava_pipeline.warehouse.activities.quarantine import count_quarantined
from strava_pipeline.warehouse.imports.failed_months import NAMED_FROM
from strava_pipeline.warehouse.imports.still_failing import FailedStep, still_failing
from strava_pipeline.warehouse.imports.wishes import Import, list_imports
from strava_pipeline.warehouse.progress.job_progress import BackfillProgress, backfill_progress
from strava_pipeline.warehouse.schema.columns import any_of
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.states import GrantState, ImportState, ImportTask, PausedBy
from strava_pipeline.warehouse.tokens.grants import shows_activities

BY_WHOM = {
    PausedBy.OPERATOR: "the operator",
    PausedBy.COMMAND: "a command",
    PausedBy.CANCEL: "a canceled run",
}
NOT_CONNECTED = "goes on once the athlete connects again"
NEVER_CONNECTED = "goes on once the athlete connects"
SHOWS_NONE = f"{NOT_CONNECTED} and lets the app see activities"
# A list names so many of the months that fail.
NAMED = 3


@dataclass(frozen=True)
class ImportStatus:
    """A wish, the progress of its run while that is at work, and what it has to leave out.

    ``put_aside``: how many of the athlete's activities are put aside; ``failed``: the athlete's steps that fail.
    ``needs``: what the athlete has to do before the import goes on; empty: nothing.
    """

    wish: Import
    run: BackfillProgress | None
    put_aside: int
    failed: tuple[FailedStep, ...]
    needs: str = ""

    @property
    def months(self) -> str:
        """The months that were asked for: ``2024-01 to 2024-12``, ``all``."""
        first, last = self.wish.first_month, self.wish.last_month
        if first is None and last is None:
            return "all"
        begin = "the beginning" if first is None else month_text(first)
        end = "now" if last is None else month_text(last)
        return begin if begin == end else f"{begin} to {end}"

    @property
    def is_complete(self) -> bool:
        """Whether nothing lacked at the last look."""
        wish = self.wish
        return wish.whole_at is not None and wish.state is ImportState.DUE and wish.paused_at is None

    def __str__(self) -> str:
        return "; ".join(filter(None, (self._course(), self._wait(), *self._left_out())))

    def _course(self) -> str:
        wish = self.wish
        if wish.paused_by is not None and wish.paused_at is not None:
            paused = f"paused by {BY_WHOM[wish.paused_by]} since {_moment(wish.paused_at)}"
            return f"{paused}; after that it {self.needs}" if self.needs else paused
        if self.needs:
            return self.needs
        if wish.state is ImportState.LAUNCHED:
            return "launched: waits for its turn in Dagster"
        if wish.state is ImportState.RUNNING:
            return self._doing()
        return "complete" if wish.whole_at is not None else self._next_try()

    def _next_try(self) -> str:
        wish = self.wish
        again = f"again at {_moment(wish.next_at)}"
        if wish.attempts:
            return f"{wish.attempts} run{'s' * (wish.attempts > 1)} without progress, {again}: {wish.error}"
        if wish.error is not None:
            return f"{again}: {wish.error}"
        return "due: goes on by itself"

    def _doing(self) -> str:
        wish = self.wish
        if wish.doing is ImportTask.NEWEST_MONTH:
            return "newest month"
        if wish.doing is ImportTask.PROFILE or wish.doing_first is None or wish.doing_last is None:
            return "profile"
        if wish.doing is ImportTask.LISTING and wish.is_open:
            return "listing the history"
        first, last = month_text(wish.doing_first), month_text(wish.doing_last)
        months = first if first == last else f"{first} to {last}"
        return f"listing {months}" if wish.doing is ImportTask.LISTING else months

    def _wait(self) -> str:
        if self.run is None or not self.run.waiting_for or self.needs or self.wish.state is not ImportState.RUNNING:
            return ""
        until = f" until {_moment(self.run.waiting_until)}" if self.run.waiting_until else ""
        return f"waiting{until}: {self.run.waiting_for}"

    def _left_out(self) -> list[str]:
        told = [f"{self.put_aside} put aside"] if self.put_aside else []
        told += [
            f"{month_text(step.month)} fails ({step.failures} times, tried again daily): {step.error}"
            for step in self.failed[:NAMED]
        ]
        more = len(self.failed) - NAMED
        return [*told, f"{more} more fail"] if more > 0 else told


def import_statuses(connection: Connection, athlete_ids: Collection[int] | None = None) -> list[ImportStatus]:
    """Return the state of these athletes' imports, or of all, by athlete; an athlete's open import comes first."""
    wishes = list_imports(connection, athlete_ids)
    aside = count_quarantined(connection)
    runs = {run.run_id: run for run in backfill_progress(connection)}
    athletes = {wish.athlete_id for wish in wishes}
    failed = still_failing(connection, athletes, failures=NAMED_FROM)
    needs = _needs(connection, athletes)
    return [
        ImportStatus(
            wish,
            runs.get(wish.run_id or ""),
            aside.get(wish.athlete_id, 0),
            tuple(step for step in failed if _concerns(step, wish)),
            needs.get(wish.athlete_id, ""),
        )
        for wish in wishes
    ]


def _needs(connection: Connection, athlete_ids: Collection[int]) -> dict[int, str]:
    """By athlete, until what the athlete does an import waits, which is no work of ours."""
    theirs = any_of(users.c.athlete_id, athlete_ids)
    query = select(users.c.athlete_id, users.c.state).where(theirs, ~shows_activities())
    told = {GrantState.ACTIVE: SHOWS_NONE, GrantState.ARCHIVE_ONLY: NEVER_CONNECTED}
    return {row.athlete_id: told.get(GrantState(row.state), NOT_CONNECTED) for row in connection.execute(query)}


def _concerns(step: FailedStep, wish: Import) -> bool:
    if step.athlete_id != wish.athlete_id:
        return False
    return (wish.first_month is None or step.month >= wish.first_month) and (
        wish.last_month is None or step.month <= wish.last_month
    )


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
