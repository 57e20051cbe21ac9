"""Leases for work that takes hours: one worker at a time does a piece of work; a second one waits, and finds it done.

A lease is a row that the worker extends while it lives. A lock would not do: a transaction that stays open for hours
would keep VACUUM from cleaning the tables, and a login cannot see whether a session of another login is alive. After a
worker is killed, the next one starts within ``LEASE``. A worker that stood still for longer finds its lease taken when
it goes on: then two workers may fetch the same data, which costs requests, but does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, update
from sqlalchemy.dialects.postgresql import insert as insert_or_take_over

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.redaction import get_logger
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.pauses import REAL_PAUSES, Pauses
from strava_pipeline.warehouse.schema.columns import database_time, has_come
from strava_pipeline.warehouse.schema.work_tables import work_leases

log = get_logger(__name__)

LEASE = timedelta(seconds=15)
# A lease is extended several times before it ends, so that one failure does no harm.
BEAT_SECONDS = 4.0
POLL_SECONDS = 0.5
LOG_EVERY_SECONDS = 60.0
_c = work_leases.c


@contextmanager
def only_worker(
    engine: Engine, athlete_id: int, work: str, waits: Callable[[float], None], pauses: Pauses = REAL_PAUSES
) -> Iterator[None]:
    """Hold the lease on an athlete's ``work`` during the block; wait for it first.

    ``waits`` is called before each pause of that wait, with its length in s.
    """
    lease = _Lease(engine, athlete_id, work, uuid4().hex)
    waited, logged = 0.0, -LOG_EVERY_SECONDS
    while not lease.take():
        if waited - logged >= LOG_EVERY_SECONDS:
            log.info("another run is at %s of athlete %d: waiting for it", work, athlete_id)
            logged = waited
        waits(POLL_SECONDS)
        pauses.sleep(POLL_SECONDS)
        waited += POLL_SECONDS
    try:
        with pauses.heartbeat(lease.extend, BEAT_SECONDS):
            yield
    finally:
        with suppress(DatabaseUnavailable):  # the lease ends by itself
            lease.give_back()


def delete_ended_leases(connection: Connection) -> int:
    """Delete leases that killed workers left; return how many. Until then, the next worker takes such a lease over."""
    return connection.execute(delete(work_leases).where(has_come(_c.lease_until, database_time(), LEASE))).rowcount


@dataclass
class _Lease:
    engine: Engine
    athlete_id: int
    work: str
    holder: str
    is_lost: bool = False

    def take(self) -> bool:
        """Take the lease; return False if another worker holds it."""
        lease = insert_or_take_over(work_leases).values(
            athlete_id=self.athlete_id, work=self.work, holder=self.holder, lease_until=database_time() + LEASE
        )
        taken = lease.on_conflict_do_update(
            index_elements=[_c.athlete_id, _c.work],
            set_={"holder": lease.excluded.holder, "lease_until": database_time() + LEASE},
            # The worker's own lease, too: it may hold one by a commit whose answer was lost.
            where=has_come(_c.lease_until, database_time(), LEASE) | (_c.holder == self.holder),
        )
        with autocommit(self.engine) as connection:
            return connection.execute(taken.returning(_c.holder)).first() is not None

    def extend(self) -> None:
        """Extend the lease, even one that has ended, unless another worker has taken it."""
        if self.is_lost:
            return
        with autocommit(self.engine) as connection:
            extended = connection.execute(
                update(work_leases).where(self._is_mine()).values(lease_until=database_time() + LEASE)
            )
        self.is_lost = not extended.rowcount
        if self.is_lost:
            log.warning(
                "this run stood still, so another run fetches %s of athlete %d, too: that costs requests, but no data",
                self.work,
                self.athlete_id,
            )

    def give_back(self) -> None:
        with autocommit(self.engine) as connection:
            connection.execute(delete(work_leases).where(self._is_mine()))

    def _is_mine(self) -> ColumnElement[bool]:
        return and_(_c.athlete_id == self.athlete_id, _c.work == self.work, _c.holder == self.holder)
