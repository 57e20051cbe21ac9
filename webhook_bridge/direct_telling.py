"""Sends alerts at once, without the outbox: while the database is away, nothing can be put there."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from datetime import UTC, datetime

from strava_pipeline.home import HomeEntry
from strava_pipeline.local.home_lock import HomeLock
from strava_pipeline.notifications.alert_channels import AlertChannels
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.states import SendState
from strava_pipeline.warehouse.watch.alert_rows import NewMessage
from strava_pipeline.watch.wording import page_url

log = get_logger(__name__)


class DirectTelling:
    """Sends messages on every way that is set up, and logs them.

    Of bridges that share ``STRAVA_HOME``, one does so, until it ends. Those of several machines each tell: without the
    database they know nothing of each other.
    """

    def __init__(self, settings: Settings, channels: AlertChannels) -> None:
        self._channels = channels
        self._lock = HomeLock.open(settings.home / HomeEntry.DIRECT_ALERTS)
        self._process = f"{page_url(settings)} {socket.gethostname()}:{os.getpid()}"

    def __call__(self, messages: Sequence[NewMessage]) -> bool:
        """Send messages; returns whether they need not be sent again: one way or service took them, or none is set up.

        While another bridge of this home tells, nothing is sent, and they may be sent again: it may end.
        """
        if not self._lock.acquire():
            return False
        for message in messages:
            log.critical("%s", message.subject)
        outcomes = self._channels.send(messages, f"{self._process} {datetime.now(UTC).isoformat()}")
        for way, told in (("mail", outcomes.mail), ("push", outcomes.push)):
            if told.reason:
                log.warning("alerts that were sent directly: %s %s, %s", way, told.state, told.reason)
        states = {outcomes.mail.state, outcomes.push.state}
        # What one of several services has must not reach it again with each try.
        return SendState.SENT in states or bool(outcomes.push.reached) or states == {SendState.SKIPPED}

    def stop(self) -> None:
        """Let another bridge tell from now on."""
        self._lock.close()
