"""Looks each half minute whether all is well, and lets alerts fire and clear: a thread of the bridge.

Every bridge does so; a lock lets one after the other look (:mod:`strava_pipeline.watch.look`). Each bridge also gives
its sign of life, with the faults that only it can see.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine

from strava_pipeline.errors import DatabaseTooSlow, DatabaseUnavailable
from strava_pipeline.keyring import Keyring
from strava_pipeline.printable import printable
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.engine import autocommit
from strava_pipeline.warehouse.watch.alerts import standing_alerts
from strava_pipeline.warehouse.watch.check_reports import claim_report, forget_reports, note_reported
from strava_pipeline.warehouse.watch.findings import Finding
from strava_pipeline.warehouse.watch.heartbeats import Role, beat
from strava_pipeline.warehouse.watch.slow_situation import SlowSituation, read_slow_situation
from strava_pipeline.watch.alert_checks import alert_checks
from strava_pipeline.watch.direct_alerts import DirectAlerts, Tell
from strava_pipeline.watch.local_faults import full_disks, new_host, wrong_keys
from strava_pipeline.watch.look import look
from webhook_bridge.dagster_api import report_check, required_daemons
from webhook_bridge.dagster_server import DagsterServer, DagsterUnavailable
from webhook_bridge.worker_thread import WorkerThread

log = get_logger(__name__)

LOOK_SECONDS = 30.0
# However times are scaled.
SHORTEST_LOOK_SECONDS = 1.0
# What takes longer to read.
SLOW_EVERY_SECONDS = 600.0
SHORTEST_SLOW_SECONDS = 5.0
DAY_SECONDS = 86_400.0
# A start takes its time: Dagster may be starting, and other processes may not have given a sign of life yet.
QUIET_SECONDS = 120.0
# Dagster's daemons give a sign of life each half minute.
DAEMON_SILENT_AFTER = timedelta(seconds=90)


class Kept:
    """The result of a function that is called again only after some time, s."""

    def __init__(self, read: Callable[[], list[Finding]], every_s: float) -> None:
        self._read = read
        self._every_s = every_s
        self._read_at = float("-inf")
        self._found: list[Finding] = []

    def get(self) -> list[Finding]:
        """What was found last, or is found now; an error leaves the time as it is."""
        if time.monotonic() - self._read_at >= self._every_s:
            self._found = self._read()
            self._read_at = time.monotonic()
        return self._found


class Watching(WorkerThread):
    """A thread that watches, until stopped. ``tell`` sends messages while the database is away."""

    def __init__(self, settings: Settings, engine: Engine, tell: Tell) -> None:
        super().__init__("watching")
        scale = settings.alert_time_scale
        self._settings = settings
        self._engine = engine
        self._dagster = DagsterServer.from_settings(settings)
        self._direct = DirectAlerts(settings, tell)
        self._look_every_s = min(LOOK_SECONDS, max(SHORTEST_LOOK_SECONDS, LOOK_SECONDS * scale))
        self._slow_every_s = min(SLOW_EVERY_SECONDS, max(SHORTEST_SLOW_SECONDS, SLOW_EVERY_SECONDS * scale))
        keyring = Keyring.parse(settings.required("token_keys"))
        self._keys = Kept(lambda: wrong_keys(engine, keyring), self._slow_every_s)
        self._host = Kept(lambda: new_host(settings, datetime.now(UTC).date()), DAY_SECONDS)
        self._slow: SlowSituation | None = None
        self.slow_read_at = 0.0
        self.tells_from = time.monotonic() + QUIET_SECONDS * scale

    def work(self) -> None:
        """Look each half minute."""
        while not self.stopping.is_set():
            self.watch()
            self.rest(self._look_every_s)

    def watch(self) -> None:
        """Look once; the database may be away."""
        self.attempt(self._watch, "alerts are looked at later")

    def _watch(self) -> None:
        local = [*full_disks(self._settings), *self._daemons()]
        try:
            self._give_sign_of_life(local)
        except DatabaseUnavailable as error:
            self.errors += 1
            log.warning("watching without the database: %s", error)
            if self._may_tell:
                self._direct.note_away(printable(str(error)), local)
            return
        # From here on the database takes writes: what fails is a look that takes too long, and no outage.
        if self._may_tell:
            self._look()

    @property
    def _may_tell(self) -> bool:
        return time.monotonic() >= self.tells_from

    def _give_sign_of_life(self, local: Sequence[Finding]) -> None:
        slow = [*self._keys.get(), *self._host.get()] if self._may_tell else []
        with self._engine.begin() as connection:
            beat(connection, Role.BRIDGE, [*local, *slow, *self._direct.to_hand_over()])

    def _look(self) -> None:
        looked = look(self._engine, self._settings, self._slow_situation())
        self._direct.note_back(looked.alerts, looked.silences)
        for each in looked.news:
            log.warning(
                "alert %s %s: %s", each.rule.name, each.change, "; ".join(alert.detail for alert in each.alerts)
            )
        self._report_checks()

    def _report_checks(self) -> None:
        """Tell Dagster what the checks of alerts say, if that has changed, or was not told for a day."""
        with self._engine.begin() as connection:
            checks = alert_checks(standing_alerts(connection))
            due = [each for each in checks if claim_report(connection, each.asset, each.severity, each.told)]
        failed = []
        for check in due:
            try:
                report_check(self._dagster, check)
                with self._engine.begin() as connection:
                    note_reported(connection, check.asset, check.severity, check.told)
            except DagsterUnavailable as error:
                failed.append((check.asset, check.severity))
                log.info("%s of %s is reported later: %s", check.name, check.asset, error)
        if failed:
            with self._engine.begin() as connection:
                forget_reports(connection, failed)

    def _slow_situation(self) -> SlowSituation:
        if self._slow is None:
            self._slow = self._read_slow_situation()
        elif time.monotonic() - self.slow_read_at >= self._slow_every_s:
            try:
                self._slow = self._read_slow_situation()
            except DatabaseTooSlow as error:
                # What was read before has to do: the other rules must not wait for these.
                self.errors += 1
                log.warning("athletes and upkeep are looked at again in %.0f s: %s", self._slow_every_s, error)
        return self._slow

    def _read_slow_situation(self) -> SlowSituation:
        self.slow_read_at = time.monotonic()
        with autocommit(self._engine) as connection:
            return read_slow_situation(connection, self._settings)

    def _daemons(self) -> list[Finding]:
        try:
            daemons = required_daemons(self._dagster)
        except DagsterUnavailable as error:
            return [Finding("daemon_silent", printable(str(error)))]
        oldest = time.time() - DAEMON_SILENT_AFTER.total_seconds()
        silent = sorted(each.kind for each in daemons if each.beat_at is None or each.beat_at < oldest)
        return [Finding("daemon_silent", f"no sign of life of {', '.join(silent)}")] if silent else []
