"""Measures what Dagster's storage and schema ``ops`` grow by, and what that makes in a year.

Uses one installation (mock Strava, embedded Postgres, Dagster's webserver and daemon, the bridge). It imports a year,
delivers webhooks one after another, each of a new ride, and lets some minutes pass. Then it counts rows and bytes of
each run in each table of Dagster's database, of each tick, of each table of schema ``ops``, and the files under
DAGSTER_HOME. Bytes are those of a row with its entries in the indexes. From these it computes a year,
if nothing is deleted, and as it is after a year with the lives of docs/storage.md. A figure of a year is computed, all
others are measured. Takes some ten minutes; ``--webhooks`` and ``--minutes`` make it shorter.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path

import requests
from sqlalchemy import Connection, Engine, make_url, text

from benchmarks.installation import Installation, installed
from strava_pipeline.months import add_months
from strava_pipeline.names import OWN_NAMES, Asset, Job
from strava_pipeline.warehouse.engine import ensure_dagster_url, open_engine
from strava_pipeline.watch.alert_checks import ALERT_CHECKS

PATIENCE_SECONDS = 600
DAYS = 365
# An athlete's year: a ride a day, which Strava tells of when it is there and once when it is edited.
WEBHOOKS_A_DAY = 2
MONTHS = 12
# Runs a day of what one run does for all athletes.
NIGHTLY = {"retention": 1, "run_retention": 1, "run_checks": 4}
MOST_UPKEEP_A_DAY = 288
# Days: runs that succeeded, ticks that asked for nothing, other ticks.
RUNS_KEPT, SKIPS_KEPT, TICKS_KEPT = 14, 1, 14
# Days that rows of schema ops are kept; of all others none is deleted by its age. Calls were kept for 90.
RECORDS_KEPT = {"api_calls": 35, "webhook_events": 30, "notifications": 90, "job_progress": 30, "quota_windows": 2}
CALLS_KEPT_BEFORE = 90
# Ticks a day before: newest months, imports and mails each minute, upkeep and the lake every five minutes; and now.
SCHEDULE_TICKS_BEFORE, SCHEDULE_TICKS = 3 * 1440 + 2 * 288 + 1, 6 * 288 + 24 + 1
# Bytes that Postgres adds to a row in its page, and to an entry of an index; how full an index's pages are.
ITEM_POINTER, INDEX_ENTRY, INDEX_FILL = 4, 12, 0.7
LOADS, YEAR = "training loads", "a year, by command"
LINKED = ("runs", "run_tags", "event_logs", "asset_check_executions", "asset_event_tags")


@dataclass(frozen=True)
class Size:
    """Rows, and their bytes with indexes."""

    rows: float = 0.0
    size: float = 0.0

    def __add__(self, other: Size) -> Size:
        return Size(self.rows + other.rows, self.size + other.size)

    def __sub__(self, other: Size) -> Size:
        return Size(self.rows - other.rows, self.size - other.size)

    def __mul__(self, times: float) -> Size:
        return Size(self.rows * times, self.size * times)

    def __str__(self) -> str:
        return f"{self.rows:>11,.1f} {_told(self.size):>9}"


def main() -> None:
    """Measure, and print one table for each part."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--webhooks", type=int, default=20, help="how many are delivered")
    parser.add_argument("--minutes", type=float, default=6, help="how long nothing happens")
    given = parser.parse_args()
    with installed() as installation:
        dagster = open_engine(make_url(ensure_dagster_url(installation.settings)).set(drivername="postgresql+psycopg"))
        began = sizes(installation.engine, "ops")
        _import_year(installation)
        imported = sizes(installation.engine, "ops")
        _deliver(installation, dagster, given.webhooks)
        delivered = sizes(installation.engine, "ops")
        idle_from = datetime.now(UTC).replace(tzinfo=None)
        time.sleep(given.minutes * 60)
        months, webhooks = difference(imported, began, MONTHS), difference(delivered, imported, given.webhooks)
        _show_dagster(dagster, idle_from, given.minutes)
        _show_ops(months, webhooks)
        _show_home(Path(installation.settings.home) / "dagster", dagster)
        dagster.dispose()


def _import_year(installation: Installation) -> None:
    """Import twelve months, the last one being this: the months that the rides to come are of."""
    last = datetime.now(UTC).date()
    command = (sys.executable, "-m", "strava_pipeline", "backfill", "--athlete", str(installation.athlete_id))
    months = ("--from", f"{add_months(last, 1 - MONTHS):%Y-%m}", "--to", f"{last:%Y-%m}")
    subprocess.run([*command, *months], check=True, stdout=subprocess.DEVNULL)


def _deliver(installation: Installation, dagster: Engine, count: int) -> None:
    with requests.Session() as session:
        for _ in range(count):
            before = _ended(dagster, Job.WEBHOOK_SYNC)
            event = installation.event(installation.new_activity(), "create")
            if installation.deliver(session, event) != HTTPStatus.OK:
                raise RuntimeError("the bridge refused a delivery")
            _until(lambda before=before: _ended(dagster, Job.WEBHOOK_SYNC) > before, "the end of a webhook's run")  # type: ignore[misc]


def _ended(dagster: Engine, job: str) -> int:
    query = text("SELECT count(*) FROM runs WHERE pipeline_name = :job AND status IN ('SUCCESS', 'FAILURE')")
    with dagster.connect() as connection:
        return int(connection.execute(query, {"job": OWN_NAMES.job(job)}).scalar_one())


def sizes(engine: Engine, schema: str) -> dict[str, Size]:
    """Return the size of each table of a schema."""
    tables = text("SELECT tablename FROM pg_tables WHERE schemaname = :schema ORDER BY 1")
    with engine.connect() as connection:
        names = connection.execute(tables, {"schema": schema}).scalars().all()
        return {name: _size(connection, f'{schema}."{name}"') for name in names}


def _size(connection: Connection, table: str) -> Size:
    query = f"SELECT count(*), coalesce(sum({_row_size(connection, table)}), 0) FROM {table} AS t"  # noqa: S608  names of the catalog
    rows, size = connection.execute(text(query)).one()
    return Size(rows, float(size))


def _row_size(connection: Connection, table: str) -> str:
    """An expression for the bytes of a row with its entries in all indexes.

    The size on the disk says little of a small table, whose pages are mostly empty. Indexes are taken to be filled to
    :data:`INDEX_FILL`.
    """
    found = connection.execute(
        text(
            "SELECT pg_get_expr(indpred, indrelid), ARRAY(SELECT pg_get_indexdef(indexrelid, place, true)"
            " FROM generate_series(1, indnkeyatts) AS place) FROM pg_index WHERE indrelid = CAST(:name AS regclass)"
        ),
        {"name": table},
    ).all()
    parts = [f"pg_column_size(t.*) + {ITEM_POINTER}"]
    for predicate, keys in found:
        entry = " + ".join([str(INDEX_ENTRY), *(f"coalesce(pg_column_size({key}), 0)" for key in keys)])
        parts.append(f"CASE WHEN {predicate or 'true'} THEN ({entry}) / {INDEX_FILL} ELSE 0 END")
    return " + ".join(parts)


def difference(after: Mapping[str, Size], before: Mapping[str, Size], parts: int) -> dict[str, Size]:
    """Return what each table has grown by, for each of so many parts."""
    return {name: (size - before[name]) * (1 / parts) for name, size in after.items()}


def per_run(dagster: Engine) -> dict[str, tuple[int, dict[str, Size]]]:
    """Return, by the plain name of a job, its number of runs, and the mean size of one in each table.

    Of Dagster's own job for assets, runs of training loads are told apart.
    """
    job = (
        f"CASE WHEN pipeline_name <> '{Job.ASSETS}' THEN replace(pipeline_name, '{OWN_NAMES.job('')}', '')"
        " WHEN EXISTS (SELECT FROM event_logs AS e WHERE e.run_id = r.run_id"
        f" AND step_key = '{'__'.join(OWN_NAMES.asset_path(Asset.TRAINING_LOAD))}') THEN '{LOADS}' ELSE '{YEAR}' END"
    )
    found: dict[str, tuple[int, dict[str, Size]]] = {}
    with dagster.connect() as connection:
        counts = connection.execute(text(f"SELECT {job}, count(*) FROM runs AS r GROUP BY 1")).all()  # noqa: S608  constants
        for table in LINKED:
            size = _row_size(connection, f"public.{table}")
            rows = f"SELECT run_id AS of_run, {size} AS size FROM {table} AS t"  # noqa: S608  constants
            if table == "asset_event_tags":
                rows = (
                    f"SELECT l.run_id AS of_run, s.size FROM (SELECT event_id, {size} AS size FROM {table} AS t) AS s"  # noqa: S608  constants
                    " JOIN event_logs AS l ON l.id = s.event_id"
                )
            query = f"SELECT {job}, count(*), sum(size) FROM ({rows}) AS s JOIN runs AS r ON run_id = of_run GROUP BY 1"  # noqa: S608  constants
            of = {name: Size(number, float(whole)) for name, number, whole in connection.execute(text(query))}
            for name, count in counts:
                found.setdefault(name, (count, {}))[1][table] = of.get(name, Size()) * (1 / count)
    return found


def runs_a_day(athletes: int) -> dict[str, float]:
    """Return how many runs of each job a day brings, at most."""
    rides = float(athletes)
    return {
        "webhook_sync": WEBHOOKS_A_DAY * rides,
        # A load follows each ride; all are computed once a day.
        LOADS: WEBHOOKS_A_DAY * rides + 1,
        # The last days of an athlete four times a day, and the profile once.
        "upkeep": min(5.0 * athletes, MOST_UPKEEP_A_DAY),
        **NIGHTLY,
    }


def _show_dagster(dagster: Engine, idle_from: datetime, minutes: float) -> None:
    measured = per_run(dagster)
    print("\nOne run of a job: rows and bytes in Dagster's database")
    for job, (count, tables) in sorted(measured.items()):
        whole = sum(tables.values(), Size())
        parts = ", ".join(f"{name} {size.rows:.1f}" for name, size in tables.items() if size.rows)
        print(f"  {job:24} {whole}   of {count} run(s): {parts}")
    with dagster.connect() as connection:
        whole = _size(connection, "public.job_ticks")
        idle = text(
            "SELECT type, status, count(*) FROM job_ticks WHERE timestamp >= :since GROUP BY 1, 2 ORDER BY 1, 2"
        )
        ticks = [
            (str(kind), str(status), number / minutes)
            for kind, status, number in connection.execute(idle, {"since": idle_from})
        ]
    one = whole * (1 / max(1.0, whole.rows))
    print(f"\nTicks while nothing happened, each of {_told(one.size)}")
    for kind, status, a_minute in ticks:
        print(f"  {kind:16} {status:8} {a_minute:6.2f} a minute")
    # Sensors and automation skip as often before as now.
    others = sum(a_minute for kind, _, a_minute in ticks if kind != "SCHEDULE") * 1440
    for athletes in (10, 100):
        _show_year(athletes, measured, one, others)
    _show_reports(dagster)
    print("\nTables that grow with neither runs nor ticks, now")
    for name, size in sorted(sizes(dagster, "public").items()):
        if name not in {*LINKED, "job_ticks"}:
            print(f"  {name:32} {size}")


def _show_reports(dagster: Engine) -> None:
    """What checks of alerts add, which the bridge reports once a day, and which nothing deletes."""
    one = Size()
    with dagster.connect() as connection:
        for table in ("event_logs", "asset_check_executions"):
            checks = "dagster_event_type = 'ASSET_CHECK_EVALUATION' AND" if table == "event_logs" else ""
            query = f"SELECT count(*), sum({_row_size(connection, table)}) FROM {table} AS t WHERE {checks} run_id = ''"  # noqa: S608  constants
            count, size = connection.execute(text(query)).one()
            one += Size(1.0, float(size or 0) / max(1, count))
    print(f"\nOne report of a check of alerts, without a run: {one}")
    print(f"A year of {len(ALERT_CHECKS)} checks, reported once a day: {one * (len(ALERT_CHECKS) * DAYS)}")


def _show_year(athletes: int, measured: Mapping[str, tuple[int, dict[str, Size]]], tick: Size, others: float) -> None:
    kept: defaultdict[str, Size] = defaultdict(Size)
    all_of_it: defaultdict[str, Size] = defaultdict(Size)
    for job, a_day in runs_a_day(athletes).items():
        _, tables = measured.get(job, (0, {}))
        for table, size in tables.items():
            all_of_it[table] += size * (a_day * DAYS)
            kept[table] += size * (a_day * RUNS_KEPT)
    # A month keeps its last run.
    for table, size in measured["webhook_sync"][1].items():
        kept[table] += size * (athletes * MONTHS)
    all_of_it["job_ticks"] = tick * ((SCHEDULE_TICKS_BEFORE + others) * DAYS)
    kept["job_ticks"] = tick * (
        (SCHEDULE_TICKS + others) * SKIPS_KEPT + sum(runs_a_day(athletes).values()) * TICKS_KEPT
    )
    print(f"\nA year of {athletes} athletes in Dagster's database: nothing deleted | runs and ticks deleted")
    for table in (*LINKED, "job_ticks"):
        print(f"  {table:24} {all_of_it[table]} | {kept[table]}")
    print(f"  {'all':24} {sum(all_of_it.values(), Size())} | {sum(kept.values(), Size())}")


def _show_ops(months: Mapping[str, Size], webhooks: Mapping[str, Size]) -> None:
    print("\nSchema ops: one imported month, one webhook | a year of 10 and of 100 athletes, before | now")
    for name in sorted(months):
        if not months[name].rows and not webhooks[name].rows:
            continue
        days = RECORDS_KEPT.get(name, DAYS)
        before = CALLS_KEPT_BEFORE if name == "api_calls" else days
        told = " | ".join(
            f"{webhooks[name] * (athletes * WEBHOOKS_A_DAY * kept)}"
            for athletes in (10, 100)
            for kept in (before, days)
        )
        print(f"  {name:24} {months[name]} {webhooks[name]} | {told}")


def _show_home(home: Path, dagster: Engine) -> None:
    print("\nFolders under DAGSTER_HOME, now")
    with dagster.connect() as connection:
        runs = int(connection.execute(text("SELECT count(*) FROM runs")).scalar_one())
    for folder in sorted(path for path in home.iterdir() if path.is_dir()):
        files = [path for path in folder.rglob("*") if path.is_file()]
        size = Size(len(files), sum(path.stat().st_blocks * 512 for path in files))
        print(f"  {folder.name:24} {size}   {size * (1 / runs)} a run")
    print(f"  {'files at its top':24} {sum(path.is_file() for path in home.iterdir()):>11}")


def _until(look: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not look():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come within {PATIENCE_SECONDS} s")
        time.sleep(0.1)


def _told(size: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(size) >= factor:
            return f"{size / factor:.1f} {unit}"
    return f"{size:.0f} B"


if __name__ == "__main__":
    main()
