"""Short ways to declare a column with a comment; the comments go into the database, Dagster and the docs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    DateTime,
    Double,
    Integer,
    Text,
    any_,
    false,
    func,
    literal,
    or_,
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.types import TypeEngine

ColumnType = TypeEngine[Any] | type[TypeEngine[Any]]
Moment = datetime | ColumnElement[datetime]

UTC_TIME = DateTime(timezone=True)
LOCAL_TIME = TIMESTAMP(timezone=False)
# Transactions that go on side by side take the time so far apart, at most.
SAME_MOMENT = timedelta(minutes=1)
SERIES = ARRAY(Double)


def column(name: str, kind: ColumnType, comment: str, *, required: bool = False) -> Column[Any]:
    """A column that may be NULL unless ``required``."""
    return Column(name, kind, comment=comment, nullable=not required)


def key(name: str, kind: ColumnType, comment: str) -> Column[Any]:
    """A part of the primary key; its value comes from Strava or the caller, never from a sequence."""
    return Column(name, kind, comment=comment, primary_key=True, autoincrement=False)


def bigint(name: str, comment: str, *, required: bool = False) -> Column[Any]:
    return column(name, BigInteger, comment, required=required)


def integer(name: str, comment: str, *, required: bool = False) -> Column[Any]:
    return column(name, Integer, comment, required=required)


def number(name: str, comment: str) -> Column[Any]:
    return column(name, Double, comment)


def text(name: str, comment: str, *, required: bool = False) -> Column[Any]:
    return column(name, Text, comment, required=required)


def flag(name: str, comment: str) -> Column[Any]:
    return column(name, Boolean, comment)


def instant(name: str, comment: str, *, required: bool = False) -> Column[Any]:
    return column(name, UTC_TIME, comment, required=required)


def wall_time(name: str, comment: str) -> Column[Any]:
    return column(name, LOCAL_TIME, comment)


def series(name: str, comment: str) -> Column[Any]:
    return column(name, SERIES, comment)


def is_counted() -> Column[Any]:
    """The column that says whether a row that has ended is in ``ops.metric_totals``."""
    comment = "metrics have the row in their totals (ops.metric_totals)"
    return Column("is_counted", Boolean, nullable=False, server_default=false(), comment=comment)


def database_time() -> ColumnElement[datetime]:
    """The time (UTC) of the database's clock, which all processes use: the moment of the call, not of the transaction.

    It is read through the function ``ops.clock()``, so that an installation's time can be moved by replacing that
    function, which only the owner of the tables may. Postgres puts its body in place of the call.
    """
    return func.ops.clock(type_=UTC_TIME)


def has_come(time: ColumnElement[datetime], moment: Moment, longest: timedelta) -> ColumnElement[bool]:
    """Whether a time has come, at ``moment``, that is never set further ahead than ``longest``.

    A time further away was written before the database's clock was set back: it has come as well.
    """
    return or_(time <= moment, time > moment + longest + SAME_MOMENT)


def is_not_newer(stamp: Column[Any], asked_at: Moment) -> ColumnElement[bool]:
    """Whether what is stored was asked for no later than ``asked_at`` (UTC).

    A stamp that lies ahead was written before the database's clock was set back: it is older than any of now.
    """
    return or_(stamp <= asked_at, stamp > database_time())


def owner() -> Column[Any]:
    """The column with the id of the athlete whose row it is."""
    return bigint("athlete_id", "Strava's id of the athlete", required=True)


def activity_key() -> Column[Any]:
    """The column with the id of the activity, as a part of the primary key."""
    return key("activity_id", BigInteger, "Strava's id of the activity")


def only(name: str, values: type[StrEnum]) -> CheckConstraint:
    """A check, named like the column, that a column holds one of the enum's values."""
    return CheckConstraint(holds_one_of(name, values), name=name)


def holds_one_of(name: str, values: Iterable[StrEnum]) -> str:
    """The condition, as SQL, that a column holds one of these values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{name} IN ({listed})"


def any_of(ids: ColumnElement[Any], wanted: Iterable[int]) -> ColumnElement[bool]:
    """The condition that an id is one of ``wanted``, with one array parameter.

    IN would need a parameter per id, which is slow in the driver when there are many.
    """
    return ids == any_(literal(list(wanted), ARRAY(BigInteger)))
