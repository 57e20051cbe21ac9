"""Measures what our client adds to a request: ``StravaClient`` against a bare requests.Session, on one server.

The client adds two short transactions in Postgres (reservation and settlement, durable as in operation), two
reads of the token, decryption, deadlines and checks. Takes about 15 s.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests
from sqlalchemy import Engine

from benchmarks.database import migrated_database
from benchmarks.figure import show
from strava_pipeline.keyring import Keyring, generate_key
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.access import open_client
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore

ROUNDS = 5
CALLS = 150
ATHLETE = 1
BODY = json.dumps({"id": ATHLETE, "firstname": "Ada", "bikes": [{"id": "b1"}]}).encode()


class _Server(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, *_: object) -> None:
        """Log nothing: 1,500 lines would take measured time."""


def main() -> None:
    """Measure both in turn, so that other work on the machine disturbs both alike."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_port}"
    with migrated_database(durable=True) as url:
        engine = open_engine(url)
        client = open_client(_connected(engine, base), engine, Lane.LIVE, timedelta(0))
        session = requests.Session()
        ours: list[float] = []
        bare: list[float] = []
        for _ in range(ROUNDS):
            ours += _timed(lambda: client.get_athlete(ATHLETE))
            bare += _timed(lambda: session.get(f"{base}/athlete", timeout=30).json())
        session.close()
        engine.dispose()
    server.shutdown()
    show("bare requests.Session, p50", statistics.median(bare), "ms")
    show("StravaClient, p50", statistics.median(ours), "ms")
    show("StravaClient, p99", statistics.quantiles(ours, n=100)[98], "ms")
    show("overhead per request, p50", statistics.median(ours) - statistics.median(bare), "ms")
    show("StravaClient / bare, p50", statistics.median(ours) / statistics.median(bare), "x")


def _connected(engine: Engine, base: str) -> Settings:
    """Settings of an app without limits that matter, with one athlete connected."""
    keys = generate_key()
    settings = Settings(
        api_url=base, oauth_url=base, client_id="1", client_secret="benchmark", token_keys=keys,  # noqa: S106  no secret
        quota_short_limit=1_000_000, quota_long_limit=1_000_000,
    )  # fmt: skip
    grant = TokenGrant(Secret("access"), Secret("refresh"), datetime.now(UTC) + timedelta(hours=6), {"id": ATHLETE})
    PostgresTokenStore(engine, Keyring.parse(keys)).connect(grant, ("read",))
    return settings


def _timed(call: Callable[[], object]) -> list[float]:
    """Milliseconds of each call, after one that warms up."""
    call()
    taken = []
    for _ in range(CALLS):
        began = time.perf_counter()
        call()
        taken.append((time.perf_counter() - began) * 1000)
    return taken


if __name__ == "__main__":
    main()
