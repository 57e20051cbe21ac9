"""The bridge's shared objects, made once with the app and found by each request."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from flask import current_app
from sqlalchemy import Engine

from strava_pipeline.keyring import Keyring
from strava_pipeline.settings import Settings
from webhook_bridge.bad_requests import BadRequests
from webhook_bridge.intake import Intake
from webhook_bridge.write_probe import WriteProbe

EXTENSION = "strava_pipeline"


@dataclass(frozen=True)
class Bridge:
    """The shared objects of one app. ``reading_engine`` is for pages, and may connect to a copy of the database."""

    settings: Settings
    keyring: Keyring = field(repr=False)
    csrf_key: bytes = field(repr=False)
    engine: Engine
    reading_engine: Engine
    intake: Intake
    write_probe: WriteProbe
    wrong_tokens: BadRequests
    wake_dispatcher: Callable[[], None]
    dispatcher_is_running: Callable[[], bool]
    wake_dagster_tasks: Callable[[], None]


def current_bridge() -> Bridge:
    """The shared objects of the app that answers the current request."""
    bridge: Bridge = current_app.extensions[EXTENSION]
    return bridge
