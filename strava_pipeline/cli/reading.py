"""Reads the tables for a command that only shows them; says on stderr when they are the replica's, and how old."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from strava_pipeline.cli.console import say

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection

    from strava_pipeline.errors import DatabaseUnavailable
    from strava_pipeline.local.logins import Login
    from strava_pipeline.settings import Settings
    from strava_pipeline.warehouse.reading import Reading

Result = TypeVar("Result")


def read(settings: Settings, work: Callable[[Connection], Result]) -> Result:
    """Return what ``work`` finds in the tables; it may be called twice, so it must not print."""
    from strava_pipeline.warehouse.reading import read_tables

    return _told(read_tables(settings, work))


def read_replica(settings: Settings, work: Callable[[Connection], Result], because: DatabaseUnavailable) -> Result:
    """Return what ``work`` finds in the replica; raises ``because``, the primary's error, if there is no replica."""
    from strava_pipeline.warehouse import reading

    return _told(reading.read_replica(settings, work, because))


def sql_url(settings: Settings, login: Login) -> URL:
    """Return the address to send a query to as ``login``."""
    from strava_pipeline.warehouse.reading import find_sql_url

    return _told(find_sql_url(settings, login))


def _told(reading: Reading[Result]) -> Result:
    if reading.replica is not None:
        say(str(reading.replica), err=True)
    return reading.value
