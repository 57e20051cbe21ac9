"""What the app at hand was made with."""

from __future__ import annotations

from flask import current_app
from sqlalchemy import Engine

from strava_pipeline.settings import Settings


def current_settings() -> Settings:
    """The settings of the app that answers the request at hand."""
    settings: Settings = current_app.extensions["settings"]
    return settings


def current_engine() -> Engine:
    """The engine of its database."""
    engine: Engine = current_app.extensions["engine"]
    return engine
