"""Short ways to declare a commented column; the comments feed the database, Dagster and the docs."""

from __future__ import annotations

from collections.abc import Iterable
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
    literal,
)
from sqlalchemy.dialects.postgresql import ARRAY, TIMESTAMP
from sqlalchemy.types import TypeEngine

ColumnType = TypeEngine[Any] | type[TypeEngine[Any]]

UTC_TIME = DateTime(timezone=True)
LOCAL_TIME = TIMESTAMP(timezone=False)
SERIES = ARRAY(Double)


def column(name: str, kind: ColumnType, comment: str, *, required: bool = False) -> Column[Any]:
    """A column that may be empty unless ``required``."""
    return Column(name, kind, comment=comment, nullable=not required)


def key(name: str, kind: ColumnType, comment: str) -> Column[Any]:
    """A part of the primary key; Strava and the callers give its value, never a sequence."""
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


def owner() -> Column[Any]:
    """Whose row it is."""
    return bigint("athlete_id", "Strava's id of the athlete", required=True)


def activity_key() -> Column[Any]:
    """The activity, as a part of the primary key."""
    return key("activity_id", BigInteger, "Strava's id of the activity")


def only(name: str, values: type[StrEnum]) -> CheckConstraint:
    """A check that a column holds one of the enum's values; the column's name is the check's."""
    return CheckConstraint(holds_one_of(name, values), name=name)


def holds_one_of(name: str, values: Iterable[StrEnum]) -> str:
    """The condition, as SQL, that a column holds one of these values."""
    listed = ", ".join(f"'{value}'" for value in values)
    return f"{name} IN ({listed})"


def any_of(column: Column[Any], activity_ids: Iterable[int]) -> ColumnElement[bool]:
    """Whether the column holds one of the ids. One array as parameter: IN takes one parameter per id, which is slow."""
    return column == any_(literal(list(activity_ids), ARRAY(BigInteger)))
