"""Dagster's storage in Postgres, without the NOTIFY that dagster-postgres sends with each event.

Nobody listens to the notifications: pages poll. But all databases of a server share one queue of notifications, and
any login may fill it and keep it full; then each commit that notifies fails, and with it every run. ``dagster.yaml``
names :class:`QuietPostgresStorage`. Where the storage is configured part by part, as by Dagster's Helm chart, it names
:class:`QuietEventLogStorage` and :class:`TidyRunStorage`.

With a run it also deletes what Dagster leaves behind: evaluations of checks, and the backfill whose last run it was.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dagster import AssetCheckKey, DagsterEventType, RunsFilter
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage, PostgresRunStorage
from dagster_postgres.utils import get_token_provider_from_config, pg_url_from_config

from strava_pipeline.defs.dagster_internals import (
    BACKFILL_ID_TAG,
    BULK_ACTION_TERMINAL_STATUSES,
    AssetCheckExecutionsTable,
    BackfillTagsTable,
    BulkActionsTable,
    SqlEventLogStorage,
)

if TYPE_CHECKING:
    from dagster_postgres.auth import PgTokenProvider
    from sqlalchemy import Connection

    from strava_pipeline.defs.dagster_internals import ConfigurableClassData, EventLogEntry

_OF_CHECKS = {DagsterEventType.ASSET_CHECK_EVALUATION, DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED}


class QuietEventLogStorage(PostgresEventLogStorage):
    """Stores events without notifying other sessions, and deletes evaluations of checks with their run."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> QuietEventLogStorage:
        """Build the storage that a ``dagster.yaml`` configures."""
        return cls(**_configured(inst_data, config_value))

    def store_event(self, event: EventLogEntry) -> None:
        """Store one event as Dagster's storages without NOTIFY do."""
        SqlEventLogStorage.store_event(self, event)

    def delete_events(self, run_id: str) -> None:
        """Delete a run's events, and its evaluations of checks but for the last one of each check."""
        checks = set(map(_check_of, self.get_logs_for_run(run_id, of_type=_OF_CHECKS)))
        with self.index_connection() as connection:
            for check in checks:
                _delete_evaluations(connection, run_id, check)
        super().delete_events(run_id)


class TidyRunStorage(PostgresRunStorage):
    """Deletes a finished backfill with its last run."""

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> TidyRunStorage:
        """Build the storage that a ``dagster.yaml`` configures."""
        return cls(**_configured(inst_data, config_value))

    def delete_run(self, run_id: str) -> None:
        """Delete a run, and its backfill if no other run is left of that."""
        run = next(iter(self.get_runs(RunsFilter(run_ids=[run_id]))), None)
        backfill_id = None if run is None else run.tags.get(BACKFILL_ID_TAG)
        # First: if this process died in between, a backfill without a run would not be found again.
        if backfill_id is not None and self.get_runs_count(RunsFilter(tags={BACKFILL_ID_TAG: backfill_id})) == 1:
            self._delete_ended_backfill(backfill_id)
        super().delete_run(run_id)

    def _delete_ended_backfill(self, backfill_id: str) -> None:
        ended = [status.value for status in BULK_ACTION_TERMINAL_STATUSES]
        backfills, tags = BulkActionsTable, BackfillTagsTable
        with self.connect() as connection:
            is_it = (backfills.c.key == backfill_id) & backfills.c.status.in_(ended)
            if connection.execute(backfills.delete().where(is_it)).rowcount:
                connection.execute(tags.delete().where(tags.c.backfill_id == backfill_id))


class QuietPostgresStorage(DagsterPostgresStorage):
    """dagster-postgres' storage, configured like ``storage: postgres``, that stores events without NOTIFY."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: PgTokenProvider | None = None,
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables, inst_data, token_provider)
        # The tables exist by now: another check would cost a connection each time.
        self._event_log_storage = QuietEventLogStorage(postgres_url, False, None, token_provider)
        self._run_storage = TidyRunStorage(postgres_url, False, None, token_provider)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> QuietPostgresStorage:
        """Build the storage that a ``dagster.yaml`` configures."""
        return cls(**_configured(inst_data, config_value))


def _configured(inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a storage of dagster-postgres, from its configuration."""
    return {
        "postgres_url": pg_url_from_config(config_value),
        "should_autocreate_tables": config_value.get("should_autocreate_tables", True),
        "inst_data": inst_data,
        "token_provider": get_token_provider_from_config(config_value),
    }


def _check_of(entry: EventLogEntry) -> AssetCheckKey:
    event = entry.get_dagster_event()
    if event.event_type is DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED:
        return event.asset_check_planned_data.asset_check_key
    return event.asset_check_evaluation_data.asset_check_key


def _delete_evaluations(connection: Connection, run_id: str, check: AssetCheckKey) -> None:
    """Delete a run's evaluations of a check where a later one tells how the check stands."""
    evaluations, later = AssetCheckExecutionsTable, AssetCheckExecutionsTable.alias("later")
    asset = check.asset_key.to_string()
    superseded = (
        later.select()
        .where(
            later.c.asset_key == asset,
            later.c.check_name == check.name,
            later.c.partition.is_not_distinct_from(evaluations.c.partition),
            later.c.id > evaluations.c.id,
        )
        .exists()
    )
    theirs = evaluations.delete().where(
        evaluations.c.asset_key == asset,
        evaluations.c.check_name == check.name,
        evaluations.c.run_id == run_id,
        superseded,
    )
    connection.execute(theirs)
