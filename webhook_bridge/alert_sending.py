"""Sends what the outbox of alerts holds: a thread of the bridge. Several bridges may run one each."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import groupby
from operator import attrgetter

from sqlalchemy import Engine

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.notifications.alert_channels import AlertChannels
from strava_pipeline.notifications.told import Told
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.states import SendState
from strava_pipeline.warehouse.watch.alert_outbox import (
    ClaimedMessage,
    claim_messages,
    postpone,
    record_mail,
    record_push,
)
from strava_pipeline.watch.wording import page_url
from webhook_bridge.worker_thread import WorkerThread

log = get_logger(__name__)

LOOK_SECONDS = 2.0
# After an error, such as a database that is away: what is due waits in its tables.
AFTER_ERROR_SECONDS = 10.0


class AlertSender(WorkerThread):
    """A thread that sends due messages, each way apart, until stopped.

    What one way does not take is tried again on that way alone, for a day.
    """

    def __init__(self, settings: Settings, engine: Engine, channels: AlertChannels) -> None:
        super().__init__("alert-sending")
        self._channels = channels
        # Two installations that send to one mailbox must not give two mails one id.
        self._installation = page_url(settings) + str(settings.home)
        self._engine = engine
        # What became of messages, and the database did not take: without it they would go out once more.
        self._unrecorded: deque[Callable[[], None]] = deque()

    def work(self) -> None:
        """Look for due messages every two seconds."""
        while not self.stopping.is_set():
            is_done = self.attempt(self.send_due, "alerts wait to be sent")
            self.rest(LOOK_SECONDS if is_done else AFTER_ERROR_SECONDS)

    def send_due(self) -> int:
        """Send the messages that are due; returns how many were."""
        self._record_all()
        claimed = claim_messages(self._engine)
        if not claimed:
            return 0
        by_mail = [message for message in claimed if message.by_mail]
        told = [*self._mail(by_mail), *self._push([message for message in claimed if message.by_push])]
        if any(each.state is SendState.PENDING for each in told):
            postpone(self._engine, claimed)
        return len(claimed)

    def _mail(self, messages: Sequence[ClaimedMessage]) -> Iterator[Told]:
        if not messages:
            return
        name = " ".join((self._installation, *(f"{message.id}/{message.made_at.isoformat()}" for message in messages)))
        told = self._channels.send_mail(messages, name)
        self._record(partial(record_mail, self._engine, messages, told.state, told.reason))
        _log("mail", messages, told)
        yield told

    def _push(self, messages: Sequence[ClaimedMessage]) -> Iterator[Told]:
        """Push messages together that the same services lack."""
        reached = attrgetter("reached")
        for names, group in groupby(sorted(messages, key=lambda message: sorted(message.reached)), key=reached):
            together = sorted(group, key=attrgetter("id"))
            told = self._channels.send_push(together, names)
            self._record(partial(record_push, self._engine, together, told.state, told.reason, told.reached))
            _log("push", together, told)
            yield told

    def _record(self, work: Callable[[], None]) -> None:
        self._unrecorded.append(work)
        self._record_all()

    def _record_all(self) -> None:
        """Record what became of messages. ``DatabaseUnavailable``, and then it is recorded before anything is sent."""
        while self._unrecorded:
            work = self._unrecorded.popleft()
            try:
                work()
            except DatabaseUnavailable:
                self._unrecorded.appendleft(work)
                raise


def _log(way: str, messages: Sequence[ClaimedMessage], told: Told) -> None:
    ids = ", ".join(str(message.id) for message in messages)
    if told.state is SendState.SENT:
        log.info("alert message(s) %s: %s sent%s", ids, way, f", {told.reason}" if told.reason else "")
    elif told.state is not SendState.SKIPPED:
        log.warning("alert message(s) %s: %s %s, %s", ids, way, told.state, told.reason)
