"""Workers in simulated time, which stand for processes: they wait, extend leases, and are killed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from psycopg import OperationalError
from sqlalchemy import Engine, event
from sqlalchemy.engine.interfaces import DBAPICursor

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.warehouse.pauses import Pauses
from strava_pipeline_tests.simulated.clock import SimulatedTime

# Leases are an hour in a simulation.
BEAT_SECONDS = 600.0


class Killed(BaseException):
    """Unwinds a worker whose process was killed: nothing of it reaches the database any more."""


@dataclass(eq=False)
class Worker:
    """One process; ``beats`` extend its leases, and were called last at a time (epoch s)."""

    name: str
    is_killed: bool = False
    beats: list[Callable[[], object]] = field(default_factory=list)
    beaten_at: float = 0.0


class Crew:
    """All workers on one database; ``database_is_away``: it refuses connections, and has cut those that there were."""

    def __init__(self, time: SimulatedTime, engine: Engine) -> None:
        self.time = time
        self.database_is_away = False
        self.at_work: list[Worker] = []
        self._engine = engine
        self._mine = threading.local()
        event.listen(engine, "before_cursor_execute", self._before_a_statement)
        event.listen(engine, "do_connect", self._before_a_connection)

    @property
    def pauses(self) -> Pauses:
        """How workers wait."""
        return Pauses(self.sleep, self._heartbeat)

    def start(self, name: str, work: Callable[[], object], ended: Callable[[], object]) -> None:
        """Let a worker begin now; ``ended`` is called when it ends, killed or not."""
        worker = Worker(name)
        self.at_work.append(worker)

        def live() -> None:
            self._mine.worker = worker
            try:
                work()
            except Killed:
                pass
            finally:
                self.at_work.remove(worker)
                ended()

        self.time.start(live)

    def kill_all(self) -> int:
        """Kill every worker where it waits just now; returns how many."""
        for worker in self.at_work:
            worker.is_killed = True
        return len(self.at_work)

    def sleep(self, seconds: float) -> None:
        """Wait; at the end the worker's leases are extended, if that has not been done for a while."""
        # One that holds a row's lock would keep the worker that needs it, and so everybody, waiting for ever.
        held = self._engine.pool.checkedout()  # type: ignore[attr-defined]  # a QueuePool's
        assert held == 0, f"{held} connection(s) are held during a wait"
        self.time.sleep(seconds)
        worker = self._me()
        if worker is None:
            return
        if worker.is_killed:
            raise Killed
        if self.time.now - worker.beaten_at < BEAT_SECONDS:
            return
        worker.beaten_at = self.time.now
        for beat in worker.beats:
            try:
                beat()
            except DatabaseUnavailable:
                continue  # as the real heartbeat

    @contextmanager
    def _heartbeat(self, beat: Callable[[], object], _: float) -> Iterator[None]:
        worker = self._me()
        assert worker is not None
        worker.beats.append(beat)
        try:
            yield
        finally:
            worker.beats.remove(beat)

    def _me(self) -> Worker | None:
        worker: Worker | None = getattr(self._mine, "worker", None)
        return worker

    def _before_a_statement(self, _: object, cursor: DBAPICursor, *__: object) -> None:
        worker = self._me()
        if worker is not None and worker.is_killed:
            raise Killed
        if self.database_is_away:
            # The statement then fails as on a connection that broke.
            cursor.connection.close()

    def _before_a_connection(self, *_: object) -> None:
        if self.database_is_away:
            raise OperationalError("connection failed: connection refused")
