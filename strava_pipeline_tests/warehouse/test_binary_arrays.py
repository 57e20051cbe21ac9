"""Series reach Postgres in binary form as they would as text."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import Engine

from strava_pipeline.warehouse.binary_arrays import Doubles, Integers, doubles, integers, let_send
from strava_pipeline.warehouse.bulk import driver_of


def sent(engine: Engine, array: Doubles | Integers | None) -> Any:
    """What Postgres made of a parameter, and its type."""
    with engine.connect() as connection, driver_of(connection).cursor() as cursor:
        let_send(cursor)
        return cursor.execute("SELECT %s, pg_typeof(%s)::text", (array, array)).fetchone()


@pytest.mark.parametrize("values", [[], [1.5], [0.1, -0.0, 1e300], [None, 2.5, None], [None], [1.0] * 4_000])
def test_numbers_arrive_as_they_are(engine: Engine, values: list[float | None]) -> None:
    assert sent(engine, doubles(values)) == (values, "double precision[]")


@pytest.mark.parametrize("values", [[], [0], [2**31 - 1, -(2**31)], [None, 7, None], list(range(4_000))])
def test_whole_numbers_arrive_as_they_are(engine: Engine, values: list[int | None]) -> None:
    assert sent(engine, integers(values)) == (values, "integer[]")


def test_nothing_stays_nothing_and_what_is_no_number_is_missing() -> None:
    assert (doubles(None), integers(None)) == (None, None)
    assert doubles([float("nan"), 1.0]) == doubles([None, 1.0])
