"""One run of Dagster over an athlete's whole history, in a process of its own: started by ``backfill``.

Takes the number of activities. Prints the process's peak memory, and its memory when each quarter of the activities was
stored. Progress goes to standard error every half minute.
"""

from __future__ import annotations

import json
import resource
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from sqlalchemy import Engine, func, select

from benchmarks.many_activities import ATHLETE, YEARS
from strava_pipeline.cli.instance import open_instance
from strava_pipeline.defs.partitions import register_athlete
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.engine import ensure_database_url, open_engine
from strava_pipeline.warehouse.schema import tables
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.states import PayloadKind
from strava_pipeline_tests.defs.own_definitions import (
    NAMES,
    activities,
    activity_details,
    activity_streams,
    own_resources,
)

SAVE_EVERY_SECONDS = 30.0
_DETAILED = select(func.count()).select_from(payloads).where(payloads.c.kind == PayloadKind.DETAIL)


def main() -> None:
    """Materialize the history, and print the figures as JSON on the last line."""
    now = datetime.now(UTC)
    held = _Held(open_engine(ensure_database_url(load_settings())), int(sys.argv[1]))
    held.start()
    with open_instance(load_settings()) as instance:
        register_athlete(instance, NAMES, ATHLETE)
        began = time.perf_counter()
        result = dg.materialize(
            [activities, activity_details, activity_streams],
            instance=instance,
            resources=own_resources(),
            tags={
                "dagster/asset_partition_range_start": f"{ATHLETE}|{now.year - YEARS:04d}-{now:%m}-01",
                "dagster/asset_partition_range_end": f"{ATHLETE}|{now:%Y-%m}-01",
            },
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            raise_on_error=False,
        )
        seconds = time.perf_counter() - began
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    held.over.set()
    held.join()
    figures = {"success": result.success, "seconds": seconds, "peak_mib": peak_mib, "held_mib": held.at_quarters}
    print(json.dumps(figures))
    sys.exit(not result.success)


class _Held(threading.Thread):
    """Counts once a second the activities with streams, and notes this process's memory at each quarter, MiB.

    Prints progress every ``SAVE_EVERY_SECONDS``.
    """

    def __init__(self, engine: Engine, count: int) -> None:
        super().__init__(daemon=True)
        self.at_quarters: dict[int, float] = {}
        self.over = threading.Event()
        self._engine = engine
        self._told_at = self._began = time.monotonic()
        self._count = count
        self._marks = [count * quarter // 4 for quarter in (1, 2, 3, 4)]

    def run(self) -> None:
        while self._marks:
            last = self.over.wait(1)
            with self._engine.connect() as connection:
                stored = connection.execute(select(func.count()).select_from(tables.activity_streams)).scalar_one()
                detailed = connection.execute(_DETAILED).scalar_one()
            if time.monotonic() - self._told_at >= SAVE_EVERY_SECONDS:
                self._told_at = time.monotonic()
                print(
                    f"after {self._told_at - self._began:.0f} s: of {self._count} activities {detailed} have their"
                    f" detail, {stored} their streams; {_resident_mib():.0f} MiB",
                    file=sys.stderr,
                )
            while self._marks and stored >= self._marks[0]:
                self.at_quarters[self._marks.pop(0)] = _resident_mib()
            if last:
                return


def _resident_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    main()
