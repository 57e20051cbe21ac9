"""The import of ``strava-pipeline backfill``: the command asks for it and works on it; if it dies, others go on."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import partial

import click
from sqlalchemy import Engine

from strava_pipeline.errors import DatabaseUnavailable, StravaPipelineError
from strava_pipeline.names import STEP_ASSETS, Asset
from strava_pipeline.redaction import get_logger
from strava_pipeline.sync.stopping import stop_wanted
from strava_pipeline.warehouse.engine import retry_transaction
from strava_pipeline.warehouse.heartbeat import heartbeat
from strava_pipeline.warehouse.imports import runs
from strava_pipeline.warehouse.imports.launches import Launch
from strava_pipeline.warehouse.imports.runs import Outcome
from strava_pipeline.warehouse.imports.wishes import is_paused, make_import, pause_one
from strava_pipeline.warehouse.states import MadeBy, PausedBy

log = get_logger(__name__)

# Shorter than that of a launched run: after a command was killed, the same command goes on soon.
LEASE = timedelta(seconds=15)
BEAT_SECONDS = 4.0
LOOK_EVERY_SECONDS = 1.0


def interrupt() -> None:
    """End this command as Ctrl-C does: its import was paused from elsewhere."""
    os.kill(os.getpid(), signal.SIGINT)


@dataclass
class HeldImport:
    """An athlete's import that this command asked for. Months before ``floor`` are never imported."""

    engine: Engine
    athlete_id: int
    floor: date
    import_id: int
    _launch: Launch | None = field(default=None)

    def work(self, do: Callable[[], None]) -> None:
        """Hold the import while ``do`` works on it, and end it with the outcome; wait first while a run is at work.

        If this process is asked to stop meanwhile, :meth:`stop` ends it.
        """
        launch = self._launch or self._wait()
        if launch is None:
            return

        def extend() -> None:
            if not stop_wanted.is_set() and not runs.extend(self.engine, launch, LEASE) and self._is_paused():
                interrupt()

        try:
            # Over before the end is noted, which a late beat would undo.
            with heartbeat(extend, BEAT_SECONDS):
                do()
        except StravaPipelineError as error:
            self._end(Outcome(error=str(error)))
            raise
        if not stop_wanted.is_set():
            self._end(Outcome(progressed=True))

    @property
    def goes_on(self) -> str:
        """How the import goes on unless it is paused."""
        pause = f"strava-pipeline import pause {self.athlete_id}"
        return f"the import goes on by itself ({pause} stops it); or run the same command to go on"

    def stop(self, number: int) -> str:
        """End the import after a signal, and say how it goes on. Ctrl-C pauses it; after any other signal it is due."""
        if number != signal.SIGINT:
            self._end(Outcome(progressed=True))
            return self.goes_on
        with self.engine.begin() as connection:
            pause_one(connection, self.athlete_id, self.import_id, PausedBy.COMMAND)
        self._end(Outcome(progressed=True))
        again = f"strava-pipeline import resume {self.athlete_id}"
        return f"the import is paused: run the same command, or {again}, to go on"

    def _is_paused(self) -> bool:
        with self.engine.begin() as connection:
            return is_paused(connection, self.import_id)

    def _wait(self) -> Launch | None:
        """Wait until no other run is at work; ``None`` if this process is asked to stop."""
        click.echo("another run is at work on this import: waiting for it", err=True)
        while self._launch is None and not stop_wanted.wait(LOOK_EVERY_SECONDS):
            try:
                with self.engine.begin() as connection:
                    self._launch = runs.hold(connection, self.import_id, LEASE)
            except DatabaseUnavailable as error:
                log.debug("%s", error)  # the run that this one waits for outlasts it, too
        return self._launch

    def _end(self, outcome: Outcome) -> None:
        """End the run; if the database does not answer, the lease ends by itself."""
        if self._launch is None:
            return
        end = partial(runs.end, launch=self._launch, outcome=outcome, floor=self.floor)
        try:
            retry_transaction(self.engine, end)
        except DatabaseUnavailable as error:
            log.warning("%s: the import goes on by itself", error)


def ask_for_import(
    engine: Engine, athlete_id: int, months: tuple[date, date], assets: Collection[str], floor: date
) -> HeldImport:
    """Ask for the import of an athlete's months, both included, and take it in hand unless a run is at work on it."""
    steps = [step for step, asset in STEP_ASSETS.items() if asset in assets]
    with engine.begin() as connection:
        import_id = make_import(
            connection, athlete_id, *months, steps, profile=Asset.ATHLETES in assets, by=MadeBy.COMMAND
        )
        # In one transaction, so that nobody else launches it first.
        return HeldImport(engine, athlete_id, floor, import_id, runs.hold(connection, import_id, LEASE))
