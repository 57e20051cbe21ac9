"""Measures an upload of 1.2 GB without a browser: its speed, the bridge's memory, and deliveries meanwhile.

The bridge is a process of its own on a Postgres that flushes as in operation; parts are flushed to the disk as well, so
the disk decides. Beside it, deliveries are sent one after the other. Takes about a minute.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode

import psutil
from sqlalchemy import Engine, insert

from benchmarks.database import migrated_database
from benchmarks.figure import show
from strava_pipeline.keyring import generate_key
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.access.operator_sessions import open_session
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.web.operator_door import cookie_name, session_proof

ATHLETE = 1001
SECRET = "benchmark-secret"  # noqa: S105  guards nothing
SIZE_BYTES = 1_200_000_000
PAGE = f"/athletes/{ATHLETE}/archive"
MOST_GROWTH_MIB = 64
PATIENCE_SECONDS = 60
MIB = 2**20


def main() -> None:
    """Upload, and deliver meanwhile."""
    home = Path(tempfile.mkdtemp(prefix="strava-pipeline-benchmark-"))
    try:
        with migrated_database(durable=True) as url:
            os.environ |= _variables(home, url.render_as_string(hide_password=False))
            engine = open_engine(url)
            with engine.begin() as connection:
                connection.execute(insert(users).values(athlete_id=ATHLETE, scopes=[], state="active", generation=1))
            with _served() as (process, port):
                _measure(engine, process, port)
            engine.dispose()
    finally:
        shutil.rmtree(home)


def _variables(home: Path, url: str) -> dict[str, str]:
    return {
        "STRAVA_HOME": str(home),
        "STRAVA_DATABASE_URL": url,
        "STRAVA_TOKEN_KEYS": generate_key(),
        "STRAVA_CLIENT_ID": "1",
        "STRAVA_CLIENT_SECRET": SECRET,
        "STRAVA_WEBHOOK_VERIFY_TOKEN": SECRET,
        "STRAVA_WEBHOOK_SIGNING_SECRETS": SECRET,
        "STRAVA_OPERATOR_TOKEN": SECRET,
        "STRAVA_DATA_IN_HOME": "true",
        "DAGSTER_WEBSERVER_URL": "http://127.0.0.1:9",
    }


def _measure(engine: Engine, process: psutil.Process, port: int) -> None:
    uploader = _Uploader(engine, port)
    uploader.begin(SIZE_BYTES)
    before = process.memory_info().rss / MIB
    done = threading.Event()
    delivered: list[float] = []
    deliveries = threading.Thread(target=_deliver, args=(port, done, delivered))
    deliveries.start()
    began = time.monotonic()
    peak = before
    while uploader.standing["ticket"] is not None:
        uploader.put()
        peak = max(peak, process.memory_info().rss / MIB)
    took = time.monotonic() - began
    done.set()
    deliveries.join()
    show(f"upload of {SIZE_BYTES / 1e9:.1f} GB", SIZE_BYTES / 1e6 / took, "MB/s")
    show("the bridge's memory before", before, "MiB")
    show("most that it grew by meanwhile", peak - before, "MiB", f"<= {MOST_GROWTH_MIB}")
    times = sorted(delivered)
    show(f"{len(times)} deliveries meanwhile: median", times[len(times) // 2] * 1000, "ms")
    show("slowest delivery", times[-1] * 1000, "ms", "< 2,000")


class _Uploader:
    """Uploads a file that is made up while it is sent."""

    def __init__(self, engine: Engine, port: int) -> None:
        settings = load_settings()
        with engine.begin() as connection:
            secret = open_session(connection, session_proof(settings))
        self._cookies = {cookie_name(settings): secret}
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)
        self._origin = f"http://127.0.0.1:{port}"
        self._block = os.urandom(4 * MIB)
        self._size = 0
        self.standing: dict[str, str | int | None] = {}

    def begin(self, size: int) -> None:
        self._size = size
        csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', self._send("GET", PAGE))
        form = {"csrf": csrf[1] if csrf else "", "name": "big.zip", "size": str(size), "ends": "0" * 64}
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        self.standing = json.loads(self._send("POST", f"{PAGE}/begin", urlencode(form).encode(), headers))

    def put(self) -> None:
        left = self._size - int(self.standing["offset"] or 0)
        part = self._block[:left]
        told = {"Upload-Ticket": str(self.standing["ticket"]), "Upload-Checksum": hashlib.sha256(part).hexdigest()}
        self.standing = json.loads(self._send("PUT", str(self.standing["parts"]), part, told))

    def _send(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> str:
        cookie = "; ".join(f"{name}={value}" for name, value in self._cookies.items())
        self._connection.request(method, path, body, {"Origin": self._origin, "Cookie": cookie, **(headers or {})})
        answer = self._connection.getresponse()
        text = answer.read().decode()
        if answer.status != HTTPStatus.OK:
            raise SystemExit(f"{method} {path}: {answer.status} {text}")
        for given in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = given.partition(";")[0].partition("=")
            self._cookies[name] = value
        return text


def _deliver(port: int, done: threading.Event, delivered: list[float]) -> None:
    number = 0
    while not done.is_set():
        number += 1
        event = {"object_type": "activity", "object_id": number, "aspect_type": "create", "owner_id": ATHLETE}
        body = json.dumps(event | {"subscription_id": 1, "event_time": int(time.time()), "updates": {}}).encode()
        stamp = str(int(time.time()))
        digest = hmac.new(SECRET.encode(), stamp.encode() + b"." + body, hashlib.sha256).hexdigest()
        began = time.monotonic()
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
            connection.request("POST", "/webhooks/strava", body, {"X-Strava-Signature": f"t={stamp},v1={digest}"})
            connection.getresponse().read()
        delivered.append(time.monotonic() - began)
        done.wait(0.05)


@contextmanager
def _served() -> Iterator[tuple[psutil.Process, int]]:
    command = [sys.executable, "-m", "strava_pipeline", "bridge", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        told = process.stdout.readline() if process.stdout is not None else ""
        try:
            yield psutil.Process(process.pid), int(told.rsplit(":", 1)[1])
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
