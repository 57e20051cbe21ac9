"""The bridge's shared objects, made once with the app and found by each request."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from flask import Flask, current_app
from sqlalchemy import Engine

from strava_pipeline.keyring import Keyring
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.reading import Reader
from webhook_bridge.background_reading import BackgroundReading
from webhook_bridge.bad_requests import BadRequests
from webhook_bridge.counters import Counters
from webhook_bridge.dagster_server import DagsterServer
from webhook_bridge.intake import Intake
from webhook_bridge.seen_sessions import SeenSessions
from webhook_bridge.upload_tickets import Tickets
from webhook_bridge.worker_thread import WorkerThread
from webhook_bridge.write_probe import WriteProbe

EXTENSION = "strava_pipeline"


@dataclass(frozen=True)
class Bridge:
    """The shared objects of one app. ``reader`` is for what a page shows, which may come from a replica."""

    settings: Settings
    keyring: Keyring = field(repr=False)
    csrf_key: bytes = field(repr=False)
    tickets: Tickets = field(repr=False)
    engine: Engine
    reader: Reader
    seen_sessions: SeenSessions
    intake: Intake
    write_probe: WriteProbe
    wrong_tokens: BadRequests
    wake_dispatcher: Callable[[], None]
    wake_dagster_tasks: Callable[[], None]
    threads: Sequence[WorkerThread]
    counters: Counters
    reading: BackgroundReading
    dagster: DagsterServer


def current_bridge() -> Bridge:
    """The shared objects of the app that answers the current request."""
    return bridge_of(current_app)


def bridge_of(app: Flask) -> Bridge:
    """The shared objects of an app."""
    bridge: Bridge = app.extensions[EXTENSION]
    return bridge
