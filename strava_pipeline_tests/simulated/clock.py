"""Simulated time: one clock for Python, the database and Strava, which stands while somebody works."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import time_machine
from sqlalchemy import Engine, text

from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline_tests.strava_model import EPOCH_2026, Simulation

# Each call of the database's clock tells a microsecond more, since an answer must be newer than its question. Time that
# passes makes up for these microseconds.
_REPLACE_CLOCK = (
    "CREATE TABLE ops.simulated_clock (moment timestamp with time zone NOT NULL)",
    "CREATE SEQUENCE ops.simulated_ticks",
    "INSERT INTO ops.simulated_clock VALUES (to_timestamp(0))",
    "GRANT SELECT ON ops.simulated_clock TO PUBLIC",
    "GRANT USAGE ON SEQUENCE ops.simulated_ticks TO PUBLIC",
    """CREATE OR REPLACE FUNCTION ops.clock() RETURNS timestamp with time zone LANGUAGE sql VOLATILE PARALLEL UNSAFE
    AS 'SELECT moment + nextval(''ops.simulated_ticks'') * interval ''1 microsecond'' FROM ops.simulated_clock'""",
)
_MOVE = (
    "WITH moved AS (UPDATE ops.simulated_clock SET moment = to_timestamp(%s))"
    " SELECT setval('ops.simulated_ticks', greatest(1, last_value - %s::bigint)) FROM ops.simulated_ticks"
)


class SimulatedTime(Simulation):
    """Simulated time whose database, opened as its owner, tells it, too; Python's clocks do within :meth:`run`.

    ``before_moving`` is called each time before time passes, while nobody is at work.
    """

    def __init__(self, owner_engine: Engine, before_moving: Callable[[], None], start: float = EPOCH_2026) -> None:
        super().__init__(start)
        self._before_moving = before_moving
        with owner_engine.begin() as connection:
            for statement in _REPLACE_CLOCK:
                connection.execute(text(statement))
        self._database = autocommit(owner_engine)
        self._python: time_machine.Traveller | None = None
        self.move_to(start)

    @property
    def moment(self) -> datetime:
        """The time (UTC)."""
        return datetime.fromtimestamp(self.now, UTC)

    def move_to(self, moment: float) -> None:
        """Let time pass until then, for Python and the database."""
        self._before_moving()
        passed = timedelta(seconds=moment - self.now)
        super().move_to(moment)
        if self._python is not None:
            self._python.move_to(moment)
        # Time moves several times for each request, so a move goes past SQLAlchemy, which takes longer than the server.
        self._database.connection.cursor().execute(_MOVE, (moment, passed // timedelta(microseconds=1)))

    def run(self, until: float) -> None:
        """Let time pass until then, or until nobody is left; workers that still sleep are ended."""
        try:
            with time_machine.travel(self.now, tick=False) as self._python:
                super().run(until)
        finally:
            self._python = None
            self._database.close()
