"""Tells an address elsewhere, each minute, that all is well: a thread of the bridge. Silence is what is noticed there.

Nothing is sent while a critical alert is on that nobody has silenced, while no bridge has looked for alerts for some
minutes, while a thread of this bridge has ended, or while the database does not answer. The first minutes after a first
start say nothing yet.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

import requests
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from strava_pipeline.errors import StravaPipelineError
from strava_pipeline.http_session import new_http_session
from strava_pipeline.proxies import through
from strava_pipeline.redaction import get_logger
from strava_pipeline.secret import Secret
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.states import Severity
from strava_pipeline.warehouse.watch.alerts import standing_alerts, why_unwatched
from strava_pipeline.watch.rules import RULES_BY_NAME
from webhook_bridge.worker_thread import WorkerThread

log = get_logger(__name__)

EACH_SECONDS = 60.0
TIMEOUT_SECONDS = 10.0


class AllIsWell(WorkerThread):
    """A thread that sends the heartbeat, until stopped. ``threads_are_well``: whether this bridge's threads all are.

    ``ca_bundle``: a file of authorities whose certificates are trusted as well.
    """

    def __init__(
        self, url: Secret, engine: Engine, threads_are_well: Callable[[], bool], ca_bundle: Path | None = None
    ) -> None:
        super().__init__("all-is-well")
        self._ca_bundle = ca_bundle
        self._url = url
        self._engine = engine
        self._threads_are_well = threads_are_well
        self._last = ""

    def work(self) -> None:
        """Send the heartbeat each minute, as long as all is well."""
        self.rest(EACH_SECONDS)
        while not self.stopping.is_set():
            self.beat()
            self.rest(EACH_SECONDS)

    def beat(self) -> bool:
        """Send one heartbeat if all is well; returns whether it arrived. Logs what has changed since the last."""
        what = self._what_is_wrong() or self._failure()
        if what != self._last:
            (log.warning if what else log.info)("heartbeat: %s", what or "sent again")
            self._last = what
        return not what

    def _what_is_wrong(self) -> str:
        if not self._threads_are_well():
            return "not sent, a thread of the bridge has ended"
        try:
            with autocommit(self._engine) as connection:
                alerts, unwatched = standing_alerts(connection), why_unwatched(connection)
        except (StravaPipelineError, SQLAlchemyError):
            return "not sent, the database does not answer"
        if unwatched:
            return f"not sent, {unwatched}"
        critical = sorted({alert.rule for alert in alerts if alert.silenced_until is None and _is_critical(alert.rule)})
        return f"not sent, alerts are on: {', '.join(critical)}" if critical else ""

    def _failure(self) -> str:
        """Send; why that failed, without the address, which is a secret."""
        try:
            # A redirect would tell the address to somebody else. The body is not read: it may be long, or never end.
            with (
                new_http_session(self._ca_bundle) as session,
                session.get(self._url.reveal(), timeout=TIMEOUT_SECONDS, allow_redirects=False, stream=True) as answer,
            ):
                status = answer.status_code
        except (requests.RequestException, ValueError) as error:
            return f"STRAVA_HEARTBEAT_URL did not take it: {type(error).__name__}{self._through()}"
        is_taken = HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES
        return "" if is_taken else f"STRAVA_HEARTBEAT_URL did not take it: HTTP {status}"

    def _through(self) -> str:
        try:
            return through(self._url.reveal())
        except ValueError:
            return ""  # it is no address


def _is_critical(rule: str) -> bool:
    return rule in RULES_BY_NAME and RULES_BY_NAME[rule].severity is Severity.CRITICAL
