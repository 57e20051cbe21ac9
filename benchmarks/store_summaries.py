"""Mapping and storing 100,000 listed activities, against ways to store them that map nothing, side by side.

Who does what, all on one Postgres without flushes to the disk:

- ours: from Strava's parsed answers to committed rows of two tables, ``strava.activities`` and ``ops.payloads`` (the
  raw answers), a thousand at a time as a month's replacement does it, with its guards, locks and indexes.
- bare COPY: only stores the finished rows of both tables, into the same tables.
- pandas, raw answers: what one writes without this project. ``json_normalize``, lists as JSON, ``DataFrame.to_sql`` as
  it comes, into one new table without any index; no raw copy, and it can only be done once.
- pandas, finished rows: ``to_sql`` of the rows of both tables into the same tables, mapped beforehand.
- dlt, in an environment of its own in a temporary folder: from the parsed answers to its own tables by its merge,
  which like ours may be repeated; no raw copy.

What counts is processor time, that of the loading process and of the database server added up: on a machine that
others use, too, the time on the clock says more of them. Ours and the COPY are measured three times in turn, the least
counts; the others once, as they take longer. Takes about ten minutes, most of them not ours; a number on the command
line changes how many activities there are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pandas as pd
from psycopg.sql import SQL, Identifier
from sqlalchemy import URL, Engine, Table, text

from benchmarks.database import migrated_database
from benchmarks.figure import show
from benchmarks.processor import both_seconds, server_of, server_seconds
from benchmarks.summaries import ATHLETE, summaries
from strava_pipeline.strava.payload import digest, summary_row
from strava_pipeline.warehouse.activities import SUMMARIZED, SUMMARY, Payload, Span, replace_span
from strava_pipeline.warehouse.bulk import driver_of
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.ops_tables import payloads
from strava_pipeline.warehouse.tables import activities

CHECKOUT = Path(__file__).parents[1]
DLT = "dlt[postgres]==1.31.0"
COUNT = 100_000
BATCH = 1000
TIMES = 3
ASKED = datetime(2026, 11, 1, tzinfo=UTC)
Body = dict[str, Any]
Rows = list[Body]


def main() -> None:
    """Print activities per second of processor time of each way, and how ours compares."""
    count = int(sys.argv[1]) if sys.argv[1:] else COUNT
    bodies = summaries(count)
    with migrated_database() as url:
        engine = open_engine(url)
        finished = ((activities, _activity_rows(bodies)), (payloads, _payload_rows(bodies)))
        server = server_of(engine)

        def cost(work: Callable[[], None]) -> float:
            _empty(engine)
            before = both_seconds(server)
            work()
            return both_seconds(server) - before

        rounds = [
            (cost(lambda: _ours(engine, bodies)), cost(lambda: _bare_copy(engine, finished))) for _ in range(TIMES)
        ]
        ours, copied = (min(seconds) for seconds in zip(*rounds, strict=True))
        framed = cost(lambda: _pandas(engine, bodies))
        finished_framed = cost(lambda: _pandas_finished(engine, finished))
        _empty(engine)
        before = server_seconds(server)
        loaded = _dlt_seconds(bodies, url) + server_seconds(server) - before
        engine.dispose()
    show("activities mapped and stored, ours", count / ours, "/s")
    show("the same rows of both tables, bare COPY", count / copied, "/s")
    show("the same answers, pandas.to_sql into one table", count / framed, "/s")
    show("the same rows of both tables, pandas.to_sql", count / finished_framed, "/s")
    show("the same answers, dlt into Postgres", count / loaded, "/s")
    show("ours against the bare COPY", copied / ours * 100, "%", ">= 30 %")
    show("ours against pandas.to_sql of the raw answers", framed / ours, "x", ">= 5 x")
    show("ours against pandas.to_sql of the finished rows", finished_framed / ours, "x", ">= 5 x")
    show("the bare COPY against pandas.to_sql of the raw answers", framed / copied, "x")
    show("ours against dlt", loaded / ours, "x", ">= 3 x")
    show("load of the machine, last minute, last quarter of an hour", "{:.1f}, {:.1f}".format(*os.getloadavg()[::2]))


def _empty(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("TRUNCATE strava.activities, ops.payloads"))


def _ours(engine: Engine, bodies: Rows) -> None:
    for first in range(0, len(bodies), BATCH):
        month = bodies[first : first + BATCH]
        rows = [summary_row(ATHLETE, body) for body in month]
        answers = [Payload(body["id"], ATHLETE, body, digest(body)) for body in month]
        span = Span(ATHLETE, rows[0]["start_date"], rows[-1]["start_date"] + timedelta(seconds=1))
        with engine.begin() as connection:
            listed = {body["id"] for body in month}
            replace_span(connection, span, rows, answers, listed=listed, asked_at=ASKED, allow_mass_delete=False)


def _activity_rows(bodies: Rows) -> Rows:
    stamped = {"fetched_at": ASKED, "resource_state": SUMMARIZED}
    return [summary_row(ATHLETE, body) | stamped for body in bodies]


def _payload_rows(bodies: Rows) -> Rows:
    return [
        {
            "activity_id": body["id"],
            "kind": SUMMARY,
            "athlete_id": ATHLETE,
            "body": json.dumps(body),
            "digest": digest(body),
            "fetched_at": ASKED,
        }
        for body in bodies
    ]


def _bare_copy(engine: Engine, finished: Iterable[tuple[Table, Rows]]) -> None:
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


def _pandas(engine: Engine, bodies: Rows) -> None:
    frame = pd.json_normalize(bodies, sep="_")
    for name in ("start_latlng", "end_latlng"):
        frame[name] = frame[name].map(json.dumps)
    with engine.begin() as connection:
        frame.to_sql("pandas_activities", connection, if_exists="replace", index=False)


def _pandas_finished(engine: Engine, finished: Iterable[tuple[Table, Rows]]) -> None:
    for table, rows in finished:
        types = {column.name: column.type for column in table.columns if column.name in rows[0]}
        frame = pd.DataFrame(rows, dtype=object)
        with engine.begin() as connection:
            frame.to_sql(
                table.name, connection, schema=table.schema, if_exists="append", index=False,
                chunksize=BATCH, dtype=types,  # type: ignore[arg-type]  # what SQLAlchemy calls a type
            )  # fmt: skip


def _dlt_seconds(bodies: Rows, url: URL) -> float:
    """Processor seconds of dlt's process."""
    # dlt wants a host and a password; the socket takes the place of the one, and the other is not asked for.
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
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        return float(done.stdout.split("seconds ")[1].split()[0])


if __name__ == "__main__":
    main()
