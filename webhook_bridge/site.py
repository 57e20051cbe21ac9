"""The pages for people, as one: sessions, login, connect, status, the beginning and the end of mails."""

from __future__ import annotations

from collections.abc import Callable

from flask import Flask

from strava_pipeline.settings import Settings
from webhook_bridge.confirm import confirming
from webhook_bridge.connect import connect
from webhook_bridge.operator import operator
from webhook_bridge.sessions import install_sessions
from webhook_bridge.status import status
from webhook_bridge.unsubscribe import unsubscribing


def install_site(app: Flask, settings: Settings, dagster_tasks_wake: Callable[[], None]) -> None:
    """Add the pages to the app; ``dagster_tasks_wake`` is called when an athlete has come or gone."""
    install_sessions(app, settings)
    app.extensions["dagster_tasks_wake"] = dagster_tasks_wake
    for blueprint in (operator, connect, status, confirming, unsubscribing):
        app.register_blueprint(blueprint)
