"""Dagster's storage in Postgres, without the NOTIFY that dagster-postgres sends with each event.

Nobody listens to the notifications: pages poll. But all databases of a server share one queue of notifications, and
any login may fill it and keep it full; then each commit that notifies fails, and with it every run. ``dagster.yaml``
names :class:`QuietPostgresStorage`.
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
    """Stores events without notifying other sessions."""

    def store_event(self, event: EventLogEntry) -> None:
        """Store one event as Dagster's storages without NOTIFY do."""
        SqlEventLogStorage.store_event(self, event)


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

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> QuietPostgresStorage:
        """Build the storage that a ``dagster.yaml`` configures."""
        return cls(
            pg_url_from_config(config_value),
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )
