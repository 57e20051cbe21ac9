"""Serves the bridge, and metrics on a port of their own, and runs the bridge's threads."""

from __future__ import annotations

import socket
from contextlib import AbstractContextManager, nullcontext

from flask import Flask
from sqlalchemy import Engine

from strava_pipeline.local.listeners import open_listener
from strava_pipeline.local.serving import serve_beside, serve_until_signalled
from strava_pipeline.notifications.alert_channels import AlertChannels
from strava_pipeline.own_process import announce
from strava_pipeline.redaction import get_logger
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.access.operator_sessions import end_sessions_of_others
from strava_pipeline.warehouse.athletes.invites import cancel_invites_of_other_tokens
from strava_pipeline.warehouse.reading import open_reader
from strava_pipeline.warehouse.uploads.links import cancel_links_of_other_tokens
from strava_pipeline.web.operator_door import invite_proof, session_proof
from webhook_bridge.alert_sending import AlertSender
from webhook_bridge.all_is_well import AllIsWell
from webhook_bridge.app import create_app
from webhook_bridge.background_reading import BackgroundReading, TableMetrics
from webhook_bridge.counters import Counters
from webhook_bridge.current import bridge_of
from webhook_bridge.dagster_tasks import DagsterTasks
from webhook_bridge.delivery_counting import DeliveryCounting
from webhook_bridge.direct_telling import DirectTelling
from webhook_bridge.dispatcher import Dispatcher
from webhook_bridge.failed_runs import FailedRuns
from webhook_bridge.folder_watch import FolderWatch
from webhook_bridge.hosts import METRICS_PATH
from webhook_bridge.metrics import metrics_registry
from webhook_bridge.metrics_page import create_metrics_app, has_metrics
from webhook_bridge.upload_tickets import UploadBodies
from webhook_bridge.watching import Watching
from webhook_bridge.worker_thread import WorkerThread, stop_all

log = get_logger(__name__)

# Each thread mostly waits for the disk, and all that wait share one flush: more threads store more events per flush.
THREADS = 33
METRICS_THREADS = 2


def serve(settings: Settings, engine: Engine, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; the threads of the bridge, and a port of metrics, run meanwhile.

    ``ConfigurationError`` if that port is taken.
    """
    with engine.begin() as connection:
        # Sessions and links made under another token or other settings end for good, even if those come back.
        end_sessions_of_others(connection, session_proof(settings))
        cancel_invites_of_other_tokens(connection, invite_proof(settings))
        cancel_links_of_other_tokens(connection, invite_proof(settings))
    counters = Counters()
    dispatcher = Dispatcher(settings, engine, counters)
    tasks = DagsterTasks(settings, engine, counters)
    reading = BackgroundReading(settings, engine, TableMetrics() if has_metrics(settings) else None)
    reader = open_reader(settings)
    channels = AlertChannels.from_settings(settings)
    telling = DirectTelling(settings, channels)
    threads: list[WorkerThread] = [
        DeliveryCounting(engine, counters.slots),
        reading,
        dispatcher,
        tasks,
        Watching(settings, engine, telling),
        AlertSender(settings, engine, channels),
        FailedRuns(settings, engine),
    ]
    if settings.files_folder is not None:
        threads.append(FolderWatch(settings, engine, counters))
    if settings.heartbeat_url is not None:
        url = Secret(settings.heartbeat_url.get_secret_value())
        are_well = lambda: not any(thread.has_ended for thread in threads)  # noqa: E731
        threads.append(AllIsWell(url, engine, are_well, settings.ca_bundle))
    app = create_app(settings, engine, dispatcher.wake, tasks.wake, reader, threads, counters, reading)

    def begin(address: str) -> None:
        for thread in threads:
            thread.start()
        announce(f"bridge listening on {address}", settings.log_format)

    with _metrics_port(settings, app):
        serve_until_signalled(
            app,
            listener,
            threads=THREADS,
            # Without trusted proxies no code reads these headers, and to remove them would cost each delivery some
            # time.
            keep_proxy_headers=True,
            large_bodies=UploadBodies(bridge_of(app).tickets),
            on_listening=begin,
        )
    stop_all(threads)
    telling.stop()
    reader.close()


def _metrics_port(settings: Settings, app: Flask) -> AbstractContextManager[None]:
    """Serve metrics on a port of their own during the block, if there is to be one."""
    if settings.metrics_port is None:
        return nullcontext()
    listener = open_listener(settings.metrics_host, settings.metrics_port, "the port of metrics")
    host, port = listener.getsockname()[:2]
    log.info("metrics at http://%s:%d%s", host, port, METRICS_PATH)
    return serve_beside(
        create_metrics_app(metrics_registry(bridge_of(app)), settings), listener, threads=METRICS_THREADS
    )
