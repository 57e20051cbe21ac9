"""Serves the bridge, and runs its dispatcher and its Dagster tasks."""

from __future__ import annotations

import socket

import click
from sqlalchemy import Engine

from strava_pipeline.local.serving import serve_until_signalled
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.access.operator_sessions import end_sessions_of_others
from strava_pipeline.warehouse.athletes.invites import cancel_invites_of_other_tokens
from strava_pipeline.warehouse.engine import open_reading_engine
from strava_pipeline.web.operator_door import invite_proof, session_proof
from webhook_bridge.app import create_app
from webhook_bridge.dagster_tasks import DagsterTasks
from webhook_bridge.dispatcher import Dispatcher

# Each thread mostly waits for the disk, and all that wait share one flush: more threads store more events per flush.
THREADS = 33


def serve(settings: Settings, engine: Engine, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; the dispatcher and the Dagster tasks run in threads meanwhile."""
    with engine.begin() as connection:
        # Sessions and links made under another token or other settings end for good, even if those come back.
        end_sessions_of_others(connection, session_proof(settings))
        cancel_invites_of_other_tokens(connection, invite_proof(settings))
    dispatcher = Dispatcher(settings, engine)
    tasks = DagsterTasks(settings, engine)
    reading = open_reading_engine(settings)
    app = create_app(settings, engine, dispatcher.wake, lambda: dispatcher.is_running, tasks.wake, reading)

    def begin(address: str) -> None:
        dispatcher.start()
        tasks.start()
        click.echo(f"bridge listening on {address}")

    serve_until_signalled(
        app,
        listener,
        threads=THREADS,
        # Without trusted proxies no code reads these headers, and to remove them would cost each delivery some time.
        keep_proxy_headers=True,
        on_listening=begin,
    )
    tasks.stop()
    dispatcher.stop()
    reading.dispose()
