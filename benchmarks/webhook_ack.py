"""Measures how fast the bridge acknowledges deliveries, against a no-op route of one app in one process.

Rounds of both alternate, over the same kept-alive connections, so that other work on the machine disturbs both alike.
The no-op reads the body and answers; an acknowledged delivery was verified, parsed, and written to the disk, since this
benchmark's Postgres flushes as in operation. Then deliveries are sent on a schedule of 500 a second, with latencies
from the moment at which each was due, and as a burst of 5,000 distinct events, which are counted in the table
afterwards. Takes about 2 minutes.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path

from flask import Flask, Response, request
from sqlalchemy import URL, Engine, func, insert, make_url, select

from benchmarks.database import migrated_database
from benchmarks.figure import show
from benchmarks.http_load import Answered, Load
from strava_pipeline import own_process
from strava_pipeline.keyring import generate_key
from strava_pipeline.local.listeners import open_listener
from strava_pipeline.local.serving import serve_until_signalled
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from webhook_bridge.app import create_app
from webhook_bridge.log_writer import log_in_thread
from webhook_bridge.server import THREADS

RIDER = 1001
SECRET = "benchmark-secret"  # noqa: S105  guards nothing
PATH = "/webhooks/strava"
NO_OP_PATH = "/no-op"
CONNECTIONS = 32
ROUNDS, ROUND_SECONDS = 6, 2.0
RATE_PER_SECOND, RATE_SECONDS, NO_OP_RATE_SECONDS = 500, 60.0, 10.0
BURST = 5_000
TARGET_SHARE = 0.5


def main() -> None:
    """Measure throughput, latency at a fixed rate, and a burst."""
    with migrated_database(durable=True) as url:
        engine = open_engine(url)
        with engine.begin() as connection:
            connection.execute(insert(users).values(athlete_id=RIDER, scopes=[], state="active", generation=1))
        with _served(url) as port:
            _throughput(port)
            _rate(port)
            _burst(port, engine)
        engine.dispose()


def _throughput(port: int) -> None:
    deliveries = _deliveries(PATH)
    with Load(port, CONNECTIONS) as load:
        load.closed(_deliveries(NO_OP_PATH, method="GET"), seconds=ROUND_SECONDS)
        load.closed(deliveries, seconds=ROUND_SECONDS)
        shares, acked, empty = [], [], []
        for _ in range(ROUNDS):
            empty.append(_per_second(load.closed(_deliveries(NO_OP_PATH, method="GET"), seconds=ROUND_SECONDS)))
            acked.append(_per_second(load.closed(deliveries, seconds=ROUND_SECONDS)))
            shares.append(acked[-1] / empty[-1])
    show(f"no-op answers, {CONNECTIONS} connections", statistics.median(empty), "/s")
    show(f"durable acknowledgements, {CONNECTIONS} connections", statistics.median(acked), "/s")
    show(
        f"acknowledgements / no-ops, median of {ROUNDS} rounds", statistics.median(shares), target=f">= {TARGET_SHARE}"
    )


def _rate(port: int) -> None:
    """Measure latency at a fixed rate; the no-op's first, which shows what the machine itself adds."""
    with Load(port, CONNECTIONS) as load:
        empty = load.at_rate(
            _deliveries(NO_OP_PATH, method="GET"), per_second=RATE_PER_SECOND, seconds=NO_OP_RATE_SECONDS
        )
        answered = load.at_rate(_deliveries(PATH), per_second=RATE_PER_SECOND, seconds=RATE_SECONDS)
    show(f"no-ops at {RATE_PER_SECOND}/s for {NO_OP_RATE_SECONDS:.0f} s: p99", _milliseconds(empty, 0.99), "ms")
    name = f"at {RATE_PER_SECOND}/s for {RATE_SECONDS:.0f} s"
    show(
        f"{name}: answered 200", sum(answer.status == HTTPStatus.OK for answer in answered), target=f"{len(answered):,}"
    )
    show(f"{name}: p50", _milliseconds(answered, 0.5), "ms")
    show(f"{name}: p99", _milliseconds(answered, 0.99), "ms", "< 100")
    show(f"{name}: max", _milliseconds(answered, 1.0), "ms")


def _milliseconds(answered: list[Answered], share: float) -> float:
    """The milliseconds within which this share of requests was answered."""
    times = sorted(answer.seconds for answer in answered)
    return times[min(int(len(times) * share), len(times) - 1)] * 1000


def _burst(port: int, engine: Engine) -> None:
    before = _stored(engine)
    began = time.monotonic()
    with Load(port, CONNECTIONS) as load:
        answered = load.closed(itertools.islice(_deliveries(PATH), BURST), seconds=600)
    took = time.monotonic() - began
    show(
        f"burst of {BURST:,}: answered 200",
        sum(answer.status == HTTPStatus.OK for answer in answered),
        target=f"{BURST:,}",
    )
    show(f"burst of {BURST:,}: rows stored", _stored(engine) - before, target=f"{BURST:,}")
    show(f"burst of {BURST:,}: took", took, "s")


def _per_second(answered: list[Answered]) -> float:
    refused = [answer.status for answer in answered if answer.status != HTTPStatus.OK]
    if refused:
        raise RuntimeError(f"{len(refused)} of {len(answered)} were not answered with 200: {refused[:3]}")
    began = min(answer.at - answer.seconds for answer in answered)
    return len(answered) / (max(answer.at for answer in answered) - began)


def _stored(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(webhook_events)).scalar_one()


_activities = itertools.count(1)


def _deliveries(path: str, method: str = "POST") -> Iterator[bytes]:
    """Whole requests, each of an event of its own, signed."""
    for activity in _activities:
        event = {
            "aspect_type": "update",
            "event_time": 1_793_702_430,
            "object_id": activity,
            "object_type": "activity",
            "owner_id": RIDER,
            "subscription_id": 120_475,
            "updates": {"title": "Evening ride"},
        }
        body = json.dumps(event).encode()
        timestamp = str(int(time.time()))
        mac = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
        yield (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            f"X-Strava-Signature: t={timestamp},v1={mac}\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode() + body


@contextmanager
def _served(url: URL) -> Iterator[int]:
    """Run the bridge in a process of its own, which logs to the null device; yields its port."""
    environment = {
        "STRAVA_DATABASE_URL": url.render_as_string(hide_password=False),
        "STRAVA_TOKEN_KEYS": generate_key(),
        "STRAVA_WEBHOOK_VERIFY_TOKEN": "verify",
        "STRAVA_WEBHOOK_SIGNING_SECRETS": SECRET,
    }
    command = [sys.executable, "-m", "benchmarks.webhook_ack", "serve"]
    with (
        Path(os.devnull).open("w") as log,
        subprocess.Popen(
            command, env=os.environ | environment, stdout=subprocess.PIPE, stderr=log, text=True
        ) as process,
    ):
        yield int(process.stdout.readline() if process.stdout else "")
        process.terminate()


def _serve() -> None:
    own_process.set_up()
    settings = load_settings()
    log_in_thread("INFO", settings.log_format)
    engine = open_engine(make_url(settings.required("database_url")))
    app = create_app(settings, engine)
    _add_no_op(app)
    serve_until_signalled(
        app,
        open_listener("127.0.0.1", 0, "the bridge"),
        threads=THREADS,
        on_listening=lambda address: print(address.rpartition(":")[2], flush=True),
    )


def _add_no_op(app: Flask) -> None:
    # A GET, since the app takes requests by other methods for forms, and demands a form's token.
    @app.get(NO_OP_PATH)
    def no_op() -> Response:
        request.stream.read()
        return Response('{"status": "new"}', mimetype="application/json")


if __name__ == "__main__":
    _serve() if sys.argv[1:] == ["serve"] else main()
