"""Watches the folder of files (``STRAVA_FILES_FOLDER``) and launches a run for whom files have come to rest.

It looks again and again, since not every disk tells of changes. What keeps files waiting is logged once, not with every
look. A file that is still there after its run is tried again after growing pauses, and so is a launch that Dagster
refused.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.files_runs import MOST_AT_ONCE, files_config, files_tags
from strava_pipeline.log_context import log_ids
from strava_pipeline.names import Job
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.sync.files_folder import Look, Rest, WaitingFile, folder_of, waiting_files
from webhook_bridge.counters import Counters
from webhook_bridge.dagster_api import launch_run, runs_to_come
from webhook_bridge.dagster_place import find_place
from webhook_bridge.dagster_server import DagsterServer
from webhook_bridge.worker_thread import WorkerThread

log = get_logger(__name__)

LOOK_SECONDS = 2.0
# After a run that left files where they were: doubled with each, up to the second one.
FIRST_PAUSE_SECONDS = 30.0
LONGEST_PAUSE_SECONDS = 3600.0


@dataclass
class _Launched:
    """The last run for an athlete, of which files, and when the next one may follow if no file is new (steady, s)."""

    run_id: str
    files: frozenset[WaitingFile]
    pause: float
    not_before: float

    def begin_anew(self) -> None:
        """Note that no file is left: the next one is launched for without a pause."""
        self.files, self.pause = frozenset(), FIRST_PAUSE_SECONDS


class FolderWatch(WorkerThread):
    """A thread that watches the folder until stopped. Several bridges may run one each: one of two runs does nothing.

    ``clock``: s, steady.
    """

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        counters: Counters | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("folder-watch")
        self._root = folder_of(settings)
        self._dagster = DagsterServer.from_settings(settings, (counters or Counters()).launched)
        self._engine = engine
        self._clock = clock
        self._rest = Rest(clock)
        self._launched: dict[int, _Launched] = {}
        self._told: frozenset[str] = frozenset()

    def work(self) -> None:
        """Look into the folder every few seconds."""
        while not self.stopping.is_set():
            self.attempt(self.look, "files in the watched folder wait")
            self.rest(LOOK_SECONDS)

    def look(self) -> int:
        """Launch a run for each athlete with files that rest, if none is to come; return how many."""
        found = self._look()
        self._tell(found.troubles)
        rested: dict[int, set[WaitingFile]] = {}
        for file in self._rest.rested(found.files):
            if file.athlete_id is not None:
                rested.setdefault(file.athlete_id, set()).add(file)
        for athlete_id in self._launched.keys() - rested.keys():
            self._launched[athlete_id].begin_anew()
        due = [athlete_id for athlete_id, files in sorted(rested.items()) if self._is_due(athlete_id, files)]
        return self._launch(due, rested) if due else 0

    def _look(self) -> Look:
        try:
            return waiting_files(self._engine, self._root)
        except ConfigurationError as error:
            return Look((), (str(error),))

    def _tell(self, troubles: tuple[str, ...]) -> None:
        """Log what is amiss, once for as long as it is."""
        for trouble in troubles:
            if trouble not in self._told:
                log.warning("%s", trouble)
        if self._told and not troubles:
            log.info("the watched folder is as it should be again")
        self._told = frozenset(troubles)

    def _is_due(self, athlete_id: int, files: set[WaitingFile]) -> bool:
        last = self._launched.get(athlete_id)
        return last is None or not files <= last.files or self._clock() >= last.not_before

    def _launch(self, due: list[int], rested: dict[int, set[WaitingFile]]) -> int:
        runs = {last.run_id: athlete_id for athlete_id, last in self._launched.items()}
        to_come = {runs[run_id] for run_id in runs_to_come(self._dagster, runs)} if runs else set()
        for athlete_id in self._launched.keys() - rested.keys() - to_come:
            del self._launched[athlete_id]
        ready = [athlete_id for athlete_id in due if athlete_id not in to_come]
        place = find_place(self._dagster)
        launched = 0
        for athlete_id in ready[: max(0, MOST_AT_ONCE - len(to_come))]:
            config, tags = files_config(place.names, athlete_id), files_tags(place.names, athlete_id)
            run_id = launch_run(self._dagster, place, Job.FILES_IMPORT, config, tags)
            self._note(athlete_id, run_id, frozenset(rested[athlete_id]))
            with log_ids(run_id=run_id, athlete_id=athlete_id):
                log.info("run %s takes %d file(s) of athlete %d", run_id, len(rested[athlete_id]), athlete_id)
            launched += 1
        return launched

    def _note(self, athlete_id: int, run_id: str, files: frozenset[WaitingFile]) -> None:
        last = self._launched.get(athlete_id)
        left = files & last.files if last is not None else frozenset()
        pause = min(2 * last.pause, LONGEST_PAUSE_SECONDS) if last is not None and left else FIRST_PAUSE_SECONDS
        if last is not None and left and last.pause == FIRST_PAUSE_SECONDS:
            log.warning(
                "%d file(s) of athlete %d are still in the watched folder after their run: see the log of run %s",
                len(left),
                athlete_id,
                last.run_id,
            )
        self._launched[athlete_id] = _Launched(run_id, files, pause, self._clock() + pause)
