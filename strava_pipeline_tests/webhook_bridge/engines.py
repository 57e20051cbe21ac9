"""Engines for databases that do not answer."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, make_url

from strava_pipeline.warehouse.engine import open_engine


@contextmanager
def engine_away() -> Iterator[Engine]:
    """An engine for a port of this machine that nobody listens on, during the block."""
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        yield open_engine(make_url(f"postgresql+psycopg://me:hunter2@127.0.0.1:{closed.getsockname()[1]}/x"))
