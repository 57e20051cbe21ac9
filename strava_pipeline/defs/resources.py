"""Dagster resources for Strava, the warehouse and mail. None holds a secret: all read the settings when used.

Dagster shows the fields of resources to everybody who opens its UI.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field, PrivateAttr
from sqlalchemy import Engine

from strava_pipeline.defs.run_logs import logging_run
from strava_pipeline.defs.signs_of_life import showing_life
from strava_pipeline.kept_assets import kept_of
from strava_pipeline.names import ALL_ASSETS, Names
from strava_pipeline.own_process import RUN
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.strava.quota.windows import Lane
from strava_pipeline.sync.context import SyncContext, open_sync
from strava_pipeline.warehouse.kept import Kept
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
    """The database of the tables, and what the definitions were made with, for steps in any process."""

    key_prefix: list[str] = Field(default=list(Names().key_prefix), description="parts before each asset's name")
    assets: list[str] = Field(
        default=list(ALL_ASSETS), description="assets that are kept up to date; others are neither fetched nor shown"
    )
    settings: dict[str, Any] = Field(
        default={}, description="settings given in code; of a secret the name of its variable or file"
    )
    is_own: bool = Field(
        default=False, description="whether this Dagster is the pipeline's own, where one process executes each run"
    )
    _engine: Engine | None = PrivateAttr(default=None)

    @property
    def names(self) -> Names:
        """The names in Dagster."""
        return Names(tuple(self.key_prefix))

    @property
    def kept(self) -> Kept:
        """What is kept up to date; it tells nothing of settings, since Dagster asks for it without them."""
        return kept_of(self.assets)

    def load_settings(self) -> Settings:
        """Return the settings: those given, then those of the environment. ``ConfigurationError``."""
        return load_settings(**self.settings)

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["WarehouseResource"]:
        """Connect for the time of a run, show that it lives, and log as the settings say.

        Every step of ours has this resource. Where one process executes a run, its resources are there from before the
        first step until the run ends. ``ConfigurationError`` if the settings name no database that runs may use.
        """
        settings = self.load_settings()
        settings.require_shared_database()
        with (
            logging_run(context, settings),
            showing_life(context, self.names, is_own=self.is_own),
            open_warehouse(settings, RUN) as self._engine,
        ):
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
        settings = self.warehouse.load_settings()
        return open_sync(
            settings,
            self.warehouse.engine,
            lane,
            wait,
            goes_first=goes_first,
            kept=replace(self.warehouse.kept, archive_details=settings.archive_details),
        )


class MailerResource(dg.ConfigurableResource):  # type: ignore[type-arg]  # see above
    """The outgoing mail to athletes."""

    warehouse: dg.ResourceDependency[WarehouseResource]

    def send_due(self) -> "Iterator[MailResult]":
        """Send the mails that are due; yields the result of each."""
        # Imported only if a mail is due, since loading takes time.
        if any_due(self.warehouse.engine):
            from strava_pipeline.notifications.outbox import send_due  # noqa: PLC0415  see above

            yield from send_due(self.warehouse.engine, self.warehouse.load_settings(), self.warehouse.kept)
