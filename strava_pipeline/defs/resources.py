"""Dagster resources for Strava, the warehouse and mail. None holds a secret: all read the settings when used."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg
from pydantic import PrivateAttr
from sqlalchemy import Engine

from strava_pipeline.defs.signs_of_life import showing_life
from strava_pipeline.settings import load_settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.context import SyncContext, open_sync
from strava_pipeline.warehouse.mail.mail_queue import any_due
from strava_pipeline.warehouse.migrate import open_warehouse

if TYPE_CHECKING:
    from strava_pipeline.notifications.outbox import MailResult

# Events rather wait in the inbox than in a run, and tasks of upkeep on their list; a backfill's run may wait a day for
# the daily limit.
MAX_WAIT = {
    Lane.LIVE: timedelta(minutes=2),
    Lane.RECONCILE: timedelta(minutes=2),
    Lane.BACKFILL: timedelta(hours=25),
}


class WarehouseResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic only in its stubs
    """The database of the tables."""

    _engine: Engine | None = PrivateAttr(default=None)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["WarehouseResource"]:
        """Connect for the time of a run, and show that the run lives: every step of ours has this resource.

        Our runs are executed in one process, so its resources are there from before the first step until the run ends.
        """
        with showing_life(context), open_warehouse(load_settings()) as self._engine:
            yield self
        self._engine = None

    @property
    def engine(self) -> Engine:
        """The SQLAlchemy engine; ``DagsterInvariantViolationError`` outside a run."""
        if self._engine is None:
            raise dg.DagsterInvariantViolationError("the warehouse is open only while a run is on")
        return self._engine


class StravaResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # see above
    """Strava's API within the quota, on behalf of connected athletes."""

    warehouse: dg.ResourceDependency[WarehouseResource]

    def sync(self, lane: Lane, *, goes_first: bool = False, max_wait: timedelta | None = None) -> SyncContext:
        """Build the context for bringing activities up to date, in one lane of the quota.

        ``goes_first``: other backfills leave their room to its requests. A request waits at most ``max_wait`` for
        quota; unset: as is usual in the lane.
        """
        wait = MAX_WAIT[lane] if max_wait is None else max_wait
        return open_sync(load_settings(), self.warehouse.engine, lane, wait, goes_first=goes_first)


class MailerResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # see above
    """The outgoing mail to athletes."""

    warehouse: dg.ResourceDependency[WarehouseResource]

    def send_due(self) -> "Iterator[MailResult]":
        """Send the mails that are due; yields the result of each."""
        # Imported only if a mail is due, since loading takes time.
        if any_due(self.warehouse.engine):
            from strava_pipeline.notifications.outbox import send_due  # noqa: PLC0415  see above

            yield from send_due(self.warehouse.engine, load_settings())
