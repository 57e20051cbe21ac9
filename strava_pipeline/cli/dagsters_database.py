"""Tells when it is a database, Dagster's or ours, that ended a run or a command."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import psycopg

from strava_pipeline.errors import DatabaseUnavailable
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.addresses import parse_url, without_password
from strava_pipeline.warehouse.database_moods import Mood, mood_by
from strava_pipeline.warehouse.engine import ensure_dagster_url

if TYPE_CHECKING:
    from dagster import DagsterEvent
    from dagster_shared.error import SerializableErrorInfo

# Our own error, and the one that Dagster raises once it has tried to connect six times.
_KINDS = frozenset({"DatabaseUnavailable", "DagsterPostgresException"})
# Dagster alone uses this driver. Both drivers name their errors alike.
_DRIVERS_ERROR = re.compile(r"\(psycopg2\.(?:errors\.)?(\w+)\) ")
_NO_SERVER = frozenset({"OperationalError", "InterfaceError"})


def outage_behind(error: BaseException) -> str | None:
    """Return in one line why a database is away, if that is what the error comes from."""
    links, link = [], error.__cause__ or error.__context__
    links.append((type(error).__name__, str(error)))
    while link is not None:
        links.append((type(link).__name__, str(link)))
        link = link.__cause__ or link.__context__
    return _outage_among(links)


def outage_told_by(event: DagsterEvent) -> str | None:
    """Return in one line why a database is away, if that is why the event's step or run failed.

    A step that waited for the database, and gave up, is no such event.
    """
    if event.is_step_failure:
        return _outage_among(_links(event.step_failure_data.error))
    return _outage_among(_links(event.job_failure_data.error)) if event.is_run_failure else None


def storage_errors() -> tuple[type[Exception], ...]:
    """Return the errors by which Dagster's storages tell that their database is away."""
    from sqlalchemy.exc import SQLAlchemyError

    if find_spec("dagster_postgres") is None:
        return (SQLAlchemyError,)
    from dagster_postgres.utils import DagsterPostgresException

    return (SQLAlchemyError, DagsterPostgresException)


@contextmanager
def without_dagsters_tries() -> Iterator[None]:
    """Keep Dagster's warnings off the console, one for each of six tries to connect: the command tells the outage."""
    logging.root.addFilter(_is_no_try)
    try:
        yield
    finally:
        logging.root.removeFilter(_is_no_try)


@contextmanager
def explaining_dagsters_database(settings: Settings) -> Iterator[None]:
    """Raise ``DatabaseUnavailable``, in one line, for an outage of Dagster's database."""
    try:
        yield
    except storage_errors() as error:
        reason = outage_behind(error)
        if reason is None:
            raise
        where = without_password(parse_url(ensure_dagster_url(settings), "DAGSTER_POSTGRES_URL"))
        raise DatabaseUnavailable(f"Dagster's database at {where} is away: {reason}") from error


def _is_no_try(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Retrying failed database connection")


def _links(error: SerializableErrorInfo | None) -> list[tuple[str, str]]:
    """The class and the text of an error that was stored, and of those that it comes from."""
    links = []
    while error is not None:
        links.append((error.cls_name or "", error.message))
        error = error.cause or error.context
    return links


def _outage_among(links: list[tuple[str, str]]) -> str | None:
    if not any(_is_outage(kind, text) for kind, text in links):
        return None
    # The last one is the driver's, which says what the server or the system said.
    driver = next((text for _, text in links if _DRIVERS_ERROR.search(text)), links[-1][1])
    return _DRIVERS_ERROR.split(driver)[-1].strip().partition("\n")[0]


def _is_outage(kind: str, text: str) -> bool:
    if kind in _KINDS:
        return True
    found = _DRIVERS_ERROR.search(text)
    if found is None:
        return False
    known = getattr(psycopg.errors, found[1], psycopg.Error)
    broken = known.sqlstate is None and found[1] in _NO_SERVER
    return mood_by(known.sqlstate, text, broken=broken) is Mood.AWAY
