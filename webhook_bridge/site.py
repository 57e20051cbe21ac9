"""Installs the pages for people: sessions, login, connecting, status, and the links in mails."""

from __future__ import annotations

from flask import Flask

from strava_pipeline.keyring import Keyring
from strava_pipeline.settings import Settings
from webhook_bridge.confirm import confirming
from webhook_bridge.connect import connect
from webhook_bridge.months import months
from webhook_bridge.operator_login import operator
from webhook_bridge.reconnect import reconnecting
from webhook_bridge.sessions import install_form_check, install_sessions
from webhook_bridge.status import status
from webhook_bridge.unsubscribe import unsubscribing
from webhook_bridge.upload_api import upload_api
from webhook_bridge.upload_pages import upload_pages


def install_site(app: Flask, settings: Settings, keyring: Keyring) -> None:
    """Add sessions, the check of forms, and the pages to the app."""
    install_sessions(app, settings, keyring)
    install_form_check(app)
    pages = (operator, connect, status, months, confirming, reconnecting, unsubscribing, upload_pages, upload_api)
    for blueprint in pages:
        app.register_blueprint(blueprint)
