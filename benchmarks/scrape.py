"""Measures a scrape of ``/metrics``, and the readings in the background that it tells, with many athletes.

``python -m benchmarks.scrape [ATHLETES]`` fills a database with ATHLETES (1000) athletes of 1000 activities and 1000
events each. ``--home FOLDER`` keeps the database there, or uses the one that is there. No Dagster runs. The first
reading adds all rows that have ended to the totals, which an installation does bit by bit. Scrapes are sent one after
another over a kept connection, as Prometheus does; then again while readings go on in the background without a pause.
"""

from __future__ import annotations

import argparse
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path

from sqlalchemy import Engine

from benchmarks.figure import show
from benchmarks.filled_database import filled_database
from benchmarks.many_athletes_data import Size
from strava_pipeline.keyring import generate_key
from strava_pipeline.local.listeners import open_listener
from strava_pipeline.local.serving import serve_beside
from strava_pipeline.settings import Settings
from strava_pipeline.watch.table_metrics import slow_table_metrics
from webhook_bridge.app import create_app
from webhook_bridge.background_reading import BackgroundReading, TableMetrics
from webhook_bridge.current import bridge_of
from webhook_bridge.metrics import metrics_registry
from webhook_bridge.metrics_page import create_metrics_app

SCRAPES, READINGS = 200, 10
TARGET = "50"
WORD = "guards nothing"


def main() -> None:
    """Fill a database, and print the times."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("athletes", type=int, nargs="?", default=Size.athletes)
    parser.add_argument("--home", type=Path)
    given = parser.parse_args()
    with filled_database(given.home, Size(given.athletes)) as engine:
        settings = Settings(token_keys=generate_key(), webhook_verify_token=WORD, webhook_signing_secrets=WORD)
        reading = BackgroundReading(settings, engine, TableMetrics())
        show("first background reading", _milliseconds(reading.read), "ms")
        times = [_milliseconds(reading.read) for _ in range(READINGS)]
        show(f"background reading, median of {READINGS}", statistics.median(times), "ms")
        with engine.connect() as connection:
            slow = [_milliseconds(lambda: slow_table_metrics(connection, settings)) for _ in range(READINGS)]
        show(f"its slow metrics, once a minute, median of {READINGS}", statistics.median(slow), "ms")
        _show_scrapes(settings, engine, reading)


def _show_scrapes(settings: Settings, engine: Engine, reading: BackgroundReading) -> None:
    app = create_app(settings, engine, reading=reading)
    listener = open_listener("127.0.0.1", 0, "the benchmark")
    address = listener.getsockname()
    served = serve_beside(create_metrics_app(metrics_registry(bridge_of(app)), settings), listener, threads=2)
    with served, closing(HTTPConnection(address[0], address[1], timeout=60)) as connection:
        text = _scrape(connection)
        show("samples of a scrape", sum(not line.startswith(b"#") for line in text.splitlines()))
        show("size of a scrape", len(text) / 1024, "KiB")
        _show("scrape", connection)
        with _reading_without_pause(reading):
            _show("scrape during a reading", connection)


def _show(name: str, connection: HTTPConnection) -> None:
    times = [_milliseconds(lambda: _scrape(connection)) for _ in range(SCRAPES)]
    show(f"{name}, median of {SCRAPES}", statistics.median(times), "ms", TARGET)
    show(f"{name}, slowest of {SCRAPES}", max(times), "ms", TARGET)


@contextmanager
def _reading_without_pause(reading: BackgroundReading) -> Iterator[None]:
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            reading.read()

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _scrape(connection: HTTPConnection) -> bytes:
    connection.request("GET", "/metrics")
    return connection.getresponse().read()


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
