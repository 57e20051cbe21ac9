"""Compares our mapping and storing of 100,000 listed activities with other ways to get them into Postgres.

All use one Postgres that does not flush to the disk:

- ours: from Strava's parsed answers to committed rows of two tables, ``strava.activities`` and ``ops.payloads`` (the
  raw answers), a thousand at a time as a month's replacement does it, with its comparison, guards, locks and indexes;
  and a second time with every activity edited.
- bare COPY: only stores the finished rows of both tables; as text, which is COPY's usual form, and in the binary form,
  which ours uses.
- pandas: ``json_normalize`` and ``DataFrame.to_sql`` into our tables, without the checks of ours: into both tables
  with each of two drivers, and with ``method="multi"`` (a tenth of the activities, since that takes long); into
  ``strava.activities`` alone; and a second time into that table, through a staging table.
- dlt, in an environment of its own in a temporary folder: from the parsed answers to its own tables by its merge,
  which can be repeated like ours; without the raw answers.

Each is measured in processor time, of the loading process and the database server together, and in wall time, which on
a machine with other work depends on that work. Five times the speed of pandas with psycopg 3 is out of reach: that
would be five sixths of the speed of a bare COPY or more, for more work than COPY does. Ours and the COPYs are measured
three times in turn, and the lowest figure counts; the others are measured once, since they take longer. Takes about
four minutes on a free machine and half an hour on a busy one, most of it for the other ways; a number on the command
line changes the number of activities.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from psycopg.sql import SQL, Identifier
from sqlalchemy import URL, Engine, Table, create_engine, text

from benchmarks.database import migrated_database
from benchmarks.figure import show
from benchmarks.pandas_summaries import fill_activities, fill_both, refill_activities
from benchmarks.processor import Cost, cost_of, server_of, server_seconds
from benchmarks.summaries import ATHLETE, summaries
from strava_pipeline.months import Span
from strava_pipeline.strava.mapping.activity import digest, summary_row
from strava_pipeline.warehouse.activities.activity_store import Payload, Unlisted, replace_span
from strava_pipeline.warehouse.activities.answers import SUMMARIZED
from strava_pipeline.warehouse.activities.summary_changes import changed_summaries
from strava_pipeline.warehouse.bulk import append, driver_of
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.schema.payload_tables import payloads
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.states import PayloadKind

CHECKOUT = Path(__file__).parents[1]
DLT = "dlt[postgres]==1.31.0"
COUNT = 100_000
BATCH = 1000
TIMES = 3
SLOWER = 10
ASKED = datetime(2026, 11, 1, tzinfo=UTC)
LATER = ASKED + timedelta(hours=1)
OURS, AGAIN = "ours", "ours, all of them edited"
COPY, BINARY = "bare COPY of the finished rows", "bare COPY in binary form"
PANDAS, PANDAS_2, MULTI = "pandas, both tables", "pandas, both tables, psycopg2", "pandas, both tables, method multi"
ALONE, ALONE_AGAIN = "pandas, activities alone", "pandas, activities alone, all edited"
BY_DLT = "dlt"
TARGETS = {COPY: ">= 30 %", PANDAS: ">= 5 x", PANDAS_2: ">= 5 x", MULTI: ">= 5 x", ALONE: ">= 5 x", BY_DLT: ">= 3 x"}
Body = dict[str, Any]
Rows = list[Body]


def main() -> None:
    """Print activities per second of each way, and ours relative to the others, by both measures."""
    count = int(sys.argv[1]) if sys.argv[1:] else COUNT
    bodies = summaries(count)
    # The input lives until the end: garbage collections need not check it, in none of the ways.
    gc.freeze()
    with migrated_database() as url:
        costs = _measure(bodies, url)
    for measure, seconds in _by_measure(costs).items():
        print(f"{measure}:", flush=True)
        _compare(seconds, count)
    show("load of the machine, last minute, last quarter of an hour", "{:.1f}, {:.1f}".format(*os.getloadavg()[::2]))


def _by_measure(costs: Mapping[str, Cost]) -> dict[str, dict[str, float]]:
    return {
        "in processor time": {name: cost.processor_s for name, cost in costs.items()},
        "on the clock": {name: cost.clock_s for name, cost in costs.items()},
    }


def _compare(seconds: Mapping[str, float], count: int) -> None:
    for name, taken in seconds.items():
        show(name, count / taken, "/s")
    for name in (COPY, BINARY):
        show(f"ours against the {name}", seconds[name] / seconds[OURS] * 100, "%", TARGETS.get(name, ""))
    for name in (PANDAS, PANDAS_2, MULTI, ALONE, BY_DLT):
        show(f"ours against {name}", seconds[name] / seconds[OURS], "x", TARGETS[name])
    show(f"ours against {ALONE_AGAIN}", seconds[ALONE_AGAIN] / seconds[AGAIN], "x")
    show(f"the {COPY} against {PANDAS}", seconds[PANDAS] / seconds[COPY], "x")


def _measure(bodies: Rows, url: URL) -> dict[str, Cost]:
    engine, other = open_engine(url), create_engine(url.set(drivername="postgresql+psycopg2"))
    finished = ((activities, _activity_rows(bodies)), (payloads, _payload_rows(bodies)))
    edited = [body | {"name": f"{body['name']}, edited", "kudos_count": 99} for body in bodies]
    some = bodies[: len(bodies) // SLOWER]
    gc.freeze()
    server = server_of(engine)

    def cost(work: Callable[[], object], *, empty: bool = True) -> Cost:
        if empty:
            _empty(engine)
        return cost_of(server, work)

    ways = {
        OURS: partial(_ours, engine, bodies, ASKED),
        COPY: partial(_text_copy, engine, finished),
        BINARY: partial(_binary_copy, engine, finished),
    }
    rounds = [{name: cost(work) for name, work in ways.items()} for _ in range(TIMES)]
    costs = {name: min((each[name] for each in rounds), key=lambda took: took.processor_s) for name in ways}
    costs[PANDAS] = cost(partial(fill_both, engine, bodies, ASKED))
    costs[PANDAS_2] = cost(partial(fill_both, other, bodies, ASKED))
    tenth = cost(partial(fill_both, engine, some, ASKED, method="multi", chunksize=BATCH))
    costs[MULTI] = Cost(tenth.clock_s * SLOWER, tenth.processor_s * SLOWER)
    costs[ALONE] = cost(partial(fill_activities, engine, bodies, ASKED))
    costs[ALONE_AGAIN] = cost(partial(refill_activities, engine, edited, LATER), empty=False)
    _empty(engine)
    _ours(engine, bodies, ASKED)
    costs[AGAIN] = cost(partial(_ours, engine, edited, LATER), empty=False)
    _empty(engine)
    costs[BY_DLT] = _dlt(bodies, url, server)
    for each in (engine, other):
        each.dispose()
    return costs


def _empty(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE strava.activities, ops.payloads"))


def _ours(engine: Engine, bodies: Rows, asked_at: datetime) -> None:
    for first in range(0, len(bodies), BATCH):
        month = bodies[first : first + BATCH]
        mapped = {
            body["id"]: (summary_row(ATHLETE, body), Payload(body["id"], ATHLETE, body, digest(body))) for body in month
        }
        starts = [row["start_date"] for row, _ in mapped.values()]
        span = Span(ATHLETE, starts[0], starts[-1] + timedelta(seconds=1))
        with engine.begin() as connection:
            changed = changed_summaries(connection, mapped)
            replace_span(
                connection,
                span,
                [row for row, _ in changed.values()],
                [payload for _, payload in changed.values()],
                listed=mapped.keys(),
                asked_at=asked_at,
                unlisted=Unlisted.REFUSE_MANY,
            )


def _activity_rows(bodies: Rows) -> Rows:
    stamped = {"fetched_at": ASKED, "resource_state": SUMMARIZED}
    return [summary_row(ATHLETE, body) | stamped for body in bodies]


def _payload_rows(bodies: Rows) -> Rows:
    return [
        {
            "activity_id": body["id"],
            "kind": PayloadKind.SUMMARY,
            "athlete_id": ATHLETE,
            "body": json.dumps(body),
            "digest": digest(body),
            "fetched_at": ASKED,
        }
        for body in bodies
    ]


def _text_copy(engine: Engine, finished: Iterable[tuple[Table, Rows]]) -> None:
    for table, rows in finished:
        names = SQL(", ").join(map(Identifier, rows[0]))
        statement = SQL("COPY {} ({}) FROM STDIN").format(Identifier(str(table.schema), table.name), names)
        with (
            engine.begin() as connection,
            driver_of(connection).cursor() as cursor,
            cursor.copy(statement) as copy,
        ):
            for row in rows:
                copy.write_row(list(row.values()))


def _binary_copy(engine: Engine, finished: Iterable[tuple[Table, Rows]]) -> None:
    for table, rows in finished:
        with engine.begin() as connection:
            append(connection, table, rows)


def _dlt(bodies: Rows, url: URL, server: int) -> Cost:
    """The cost of storing by dlt: of dlt's process and of the server."""
    # dlt demands a host and a password: the socket stands for the host, and the server asks for no password.
    host = quote(str(url.query["host"]), safe="")
    address = f"postgresql://{url.username}:none@{host}:{url.query['port']}/{url.database}"
    with tempfile.TemporaryDirectory(prefix="strava-pipeline-benchmark-") as folder:
        environment, answers = Path(folder, "environment"), Path(folder, "answers.jsonl")
        answers.write_text("".join(f"{json.dumps(body)}\n" for body in bodies), encoding="utf-8")
        venv.create(environment, with_pip=True)
        python = environment / "bin" / "python"
        quietly = ["--quiet", "--disable-pip-version-check", "--no-input"]
        subprocess.run([python, "-m", "pip", "install", *quietly, DLT], check=True, stderr=subprocess.DEVNULL)
        command = [str(python), str(CHECKOUT / "benchmarks" / "dlt_summaries.py"), str(answers), address]
        before = server_seconds(server)
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        clock_s, own_s = map(float, done.stdout.split("seconds ")[1].split()[:2])
        return Cost(clock_s, own_s + server_seconds(server) - before)


if __name__ == "__main__":
    main()
