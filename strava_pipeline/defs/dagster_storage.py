"""Dagster's storage in Postgres, without the NOTIFY that dagster-postgres still sends with each event.

Nobody listens to it: pages poll. But the queue of notifications is the whole server's, and any login may fill it and
keep it full; then each commit that notifies fails, and with it every run. ``dagster.yaml`` names this class.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from dagster._core.storage.event_log import SqlEventLogStorage
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage
from dagster_postgres.utils import get_token_provider_from_config, pg_url_from_config

if TYPE_CHECKING:
    from dagster._core.events.log import EventLogEntry
    from dagster._serdes import ConfigurableClassData
    from dagster_postgres.auth import PgTokenProvider


class QuietEventLogStorage(PostgresEventLogStorage):
    """Stores events and tells no other session."""

    def store_event(self, event: EventLogEntry) -> None:
        """Store one event, as storages in SQL do that have no NOTIFY."""
        SqlEventLogStorage.store_event(self, event)


class QuietPostgresStorage(DagsterPostgresStorage):
    """dagster-postgres' storage, configured as ``storage: postgres`` is, with events stored quietly."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,
        inst_data: ConfigurableClassData | None = None,
        token_provider: PgTokenProvider | None = None,
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables, inst_data, token_provider)
        # The tables are there by now: looking again would cost a connection each time.
        self._event_log_storage = QuietEventLogStorage(postgres_url, False, None, token_provider)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> QuietPostgresStorage:
        """The storage that a ``dagster.yaml`` configures."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )
