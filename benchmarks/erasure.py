"""Measures the erasure of athletes among many: how long it takes, and how long others wait for it.

``python -m benchmarks.erasure [ATHLETES]`` fills a database with ATHLETES (1000) athletes of 1000 activities each, and
erases some of them, one after the other. Meanwhile one writer wants to store rows of the athlete, and another one
changes a segment that the athlete has ridden, both again and again. ``--home FOLDER`` keeps the database there, or uses
the one that is there; each call erases further athletes.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from sqlalchemy import Connection, Engine, event, text

from benchmarks.figure import show
from benchmarks.filled_database import filled_database
from benchmarks.many_athletes_data import Size
from strava_pipeline.errors import NeedsReauthorization
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline_tests.erasing import disconnect_and_erase

ERASED = 5
PAUSE_SECONDS = 0.002
# Of those who are left the last ones; nobody else has ridden on the segments of an athlete of these tables.
ATHLETES = "SELECT athlete_id FROM ops.users WHERE state = 'active' ORDER BY athlete_id DESC LIMIT :erased"
SEGMENT = "SELECT max(segment_id) FROM strava.segment_efforts WHERE activity_id IN (SELECT id FROM strava.activities"
SEGMENT += " WHERE athlete_id = :athlete)"
CHANGE = "UPDATE strava.segments SET fetched_at = now() WHERE id = :segment"


def main() -> None:
    """Fill a database, erase athletes, and print the medians, and the longest of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("athletes", type=int, nargs="?", default=Size.athletes)
    parser.add_argument("--home", type=Path)
    given = parser.parse_args()
    with filled_database(given.home, Size(given.athletes)) as engine:
        with engine.connect() as connection:
            athletes = connection.execute(text(ATHLETES), {"erased": ERASED}).scalars().all()
        others = open_engine(engine.url)
        totals, rows, transactions = [], [], list[float]()
        waits: dict[str, list[float]] = {"the athlete's rows": [], "a segment they rode": []}
        for athlete_id in athletes:
            with _writing(others, athlete_id, waits), _timed_transactions(engine, transactions):
                began = time.perf_counter()
                erased = disconnect_and_erase(
                    engine, athlete_id, keep_data=False, actor=Actor.COMMAND, cause="a benchmark"
                )
                rows.append(erased.rows)
                totals.append(time.perf_counter() - began)
        others.dispose()
    show("rows of an athlete", median(rows))
    show("erasure of an athlete", median(totals), "s")
    show("transactions of an erasure", len(transactions) / len(athletes))
    show("its longest transaction", 1000 * max(transactions), "ms", "1,000")
    for name, waited in waits.items():
        show(f"longest wait of a writer of {name}", 1000 * max(waited), "ms", "1,000")


@contextmanager
def _timed_transactions(engine: Engine, seconds: list[float]) -> Iterator[None]:
    began: dict[int, float] = {}

    def begin(connection: Connection) -> None:
        began[id(connection)] = time.perf_counter()

    def commit(connection: Connection) -> None:
        seconds.append(time.perf_counter() - began.pop(id(connection)))

    event.listen(engine, "begin", begin)
    event.listen(engine, "commit", commit)
    try:
        yield
    finally:
        event.remove(engine, "begin", begin)
        event.remove(engine, "commit", commit)


@contextmanager
def _writing(engine: Engine, athlete_id: int, waits: dict[str, list[float]]) -> Iterator[None]:
    """Write as others do while the block runs, and note how long each transaction takes (s)."""
    with engine.connect() as connection:
        segment = connection.execute(text(SEGMENT), {"athlete": athlete_id}).scalar_one()
    ended = threading.Event()

    def store(connection: Connection) -> None:
        refuse_rows_of_revoked(connection, [athlete_id])

    def change(connection: Connection) -> None:
        connection.execute(text(CHANGE), {"segment": segment})

    def again_and_again(write: Callable[[Connection], None], seconds: list[float]) -> None:
        while not ended.wait(PAUSE_SECONDS):
            began = time.perf_counter()
            try:
                with engine.begin() as connection:
                    write(connection)
            except NeedsReauthorization:
                pass  # as it should be, once the erasure is decided
            seconds.append(time.perf_counter() - began)

    writers = [
        threading.Thread(target=again_and_again, args=(write, seconds))
        for write, seconds in zip((store, change), waits.values(), strict=True)
    ]
    for writer in writers:
        writer.start()
    try:
        yield
    finally:
        ended.set()
        for writer in writers:
            writer.join()


if __name__ == "__main__":
    main()
