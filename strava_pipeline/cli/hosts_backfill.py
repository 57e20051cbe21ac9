"""``strava-pipeline backfill`` in somebody else's Dagster: its webserver launches one run after another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import click

from strava_pipeline.cli.backfill_runs import BackfillFailed
from strava_pipeline.cli.interruptible import message_on_interrupt, run_in_thread
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.planned_runs import PlannedRun
from strava_pipeline.sync.stopping import stop_wanted
from webhook_bridge.dagster_api import add_athlete, launch_assets
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable
from webhook_bridge.followed_run import ENDED, SUCCESS, address_of_run, status_of_run, terminate_run

LOOK_EVERY_SECONDS = 2.0
# So many looks in a row may find no webserver: it is being restarted.
MOST_LOOKS_IN_VAIN = 150


def assets_there(dagster: DagsterServer, chosen: Sequence[str], *, is_default: bool) -> list[str]:
    """Return those of the chosen assets that the host has.

    ``ConfigurationError`` if a person named one that was left out, or if there is none of them.
    """
    there = find_place(dagster).assets
    missing = [asset for asset in chosen if asset not in there]
    if missing and not is_default:
        raise ConfigurationError(f"--assets: {', '.join(missing)} is left out of this Dagster's definitions")
    if len(missing) == len(chosen):
        raise ConfigurationError(f"--assets: this Dagster's definitions have none of {', '.join(chosen)}")
    return [asset for asset in chosen if asset in there]


def run_in_hosts_dagster(
    dagster: DagsterServer, athlete_id: int, runs: Sequence[PlannedRun], lacks: Callable[[Sequence[PlannedRun]], str]
) -> None:
    """Launch the runs one by one and wait for each; ``lacks`` tells what months lack after runs, or ''.

    ``BackfillFailed`` names the runs that failed. ``Interrupted`` after a signal, which ends the run at work.
    """
    add_athlete(dagster, athlete_id)
    work = _Work(dagster, athlete_id)
    outcome = run_in_thread(partial(_run_all, work, runs, lacks))
    with message_on_interrupt(work.stop):
        outcome.result()


@dataclass
class _Work:
    """The runs of one command, of which one at a time is at work."""

    dagster: DagsterServer
    athlete_id: int
    _at_work: str | None = None

    def result(self, run: PlannedRun) -> tuple[str, str] | None:
        """Launch a run, and return its id and its last status; ``None`` if this process is asked to stop."""
        place = find_place(self.dagster)
        run_id = launch_assets(self.dagster, place, run.selection, run.tags(place.names, self.athlete_id))
        self._at_work = run_id
        ended = next(self._ended(run_id), None)
        return None if ended is None else (run_id, ended)

    def stop(self, _: int) -> str:
        """Have the run at work end, and say how to go on."""
        stop_wanted.set()
        told = "interrupted; what is stored is kept: run the same command to go on from there"
        if self._at_work is None:
            return told
        try:
            terminate_run(self.dagster, self._at_work)
        except DagsterUnavailable:
            return f"{told} (its run goes on: {address_of_run(self.dagster, self._at_work)})"
        return told

    def _ended(self, run_id: str) -> Iterator[str]:
        """Yield the run's last status once it has ended; nothing if this process is asked to stop before."""
        in_vain = 0
        while not stop_wanted.wait(LOOK_EVERY_SECONDS):
            try:
                status, in_vain = status_of_run(self.dagster, run_id), 0
            except DagsterUnavailable as error:
                in_vain += 1
                if in_vain > MOST_LOOKS_IN_VAIN:
                    where = address_of_run(self.dagster, run_id)
                    raise BackfillFailed(f"{error}: its run goes on ({where}); run the same command to go on") from None
                continue
            if status in ENDED:
                yield status


def _run_all(work: _Work, runs: Sequence[PlannedRun], lacks: Callable[[Sequence[PlannedRun]], str]) -> None:
    for run in runs:
        result = work.result(run)
        if result is None:
            return
        run_id, status = result
        state = "failure" if status != SUCCESS else "incomplete" if lacks([run]) else "success"
        click.echo(f"run {run_id}  {state}  {run}")
        if status != SUCCESS:
            where = address_of_run(work.dagster, run_id)
            raise BackfillFailed(f"{run} of athlete {work.athlete_id} ended with {status.lower()}: see {where}")
    if missing := lacks(runs):
        raise BackfillFailed(f"{missing}; the same command tries them again")
