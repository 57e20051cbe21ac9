from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.errors import RejectedRequest
from strava_pipeline.strava.mapping.fields import (
    bigint,
    flag,
    instant,
    integer,
    nested,
    number,
    objects,
    pick,
    position,
    text,
    wall_time,
)

CONVERTERS = (integer, bigint, number, text, flag, instant, wall_time, position)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("convert", "value", "expected"),
    [
        (integer, 484126.0, 484126),
        (integer, -1, -1),
        (integer, 2**31 - 1, 2**31 - 1),
        (bigint, 7_306_287_690_309_388_191, 7_306_287_690_309_388_191),
        (bigint, 9_007_199_254_740_993, 9_007_199_254_740_993),
        (bigint, 2**63 - 1, 2**63 - 1),
        (bigint, 484126.0, 484126),
        (number, 3, 3.0),
        (number, 0.5821912144702842, 0.5821912144702842),
        (text, "", ""),
        (text, 'a "quote", a 🏃\nand a line', 'a "quote", a 🏃\nand a line'),
        (text, "nul\x00here", "nulhere"),
        (text, "lone \ud83c surrogate", "lone ? surrogate"),
        (flag, False, False),
        (instant, "2025-06-30T22:30:00Z", datetime(2025, 6, 30, 22, 30, tzinfo=UTC)),
        (instant, "2025-07-01T00:30:00+02:00", datetime(2025, 6, 30, 22, 30, tzinfo=UTC)),
        (wall_time, "2025-07-01T00:30:00Z", datetime(2025, 7, 1, 0, 30)),  # noqa: DTZ001  local wall time has no zone
        (wall_time, "2025-07-01T00:00:01", datetime(2025, 7, 1, 0, 0, 1)),  # noqa: DTZ001  see above
        (position, [48.1, -3], [48.1, -3.0]),
        (position, [0, 0], [0.0, 0.0]),
        (position, [], None),
    ],
)
def test_a_value_that_fits_is_converted(convert: Callable[[Any], Any], value: object, expected: object) -> None:
    row = pick({"it": value}, {"it": convert}, "the thing")
    assert row == {"it": expected}
    assert type(row["it"]) is type(expected)


@pytest.mark.parametrize(
    ("convert", "value"),
    [
        (integer, True),
        (integer, 1.5),
        (integer, "1"),
        (integer, 2**31),
        (integer, -(2**31) - 1),
        (integer, 1e300),
        (integer, float("nan")),
        (integer, float("inf")),
        (integer, [1]),
        (bigint, 2**63),
        # The float nearest to an id is not the id.
        (bigint, float(7_306_287_690_309_388_191)),
        (number, True),
        (number, "1.5"),
        (number, float("nan")),
        (number, 10**400),
        (text, 1),
        (text, ["a"]),
        (flag, 0),
        (flag, "true"),
        (instant, "2025-06-30T22:30:00"),
        (instant, "yesterday"),
        (instant, 1751322600),
        (instant, "0001-01-01T00:00:00+10:00"),
        (wall_time, "24:61"),
        (wall_time, {}),
        (position, [1.0]),
        (position, [1.0, 2.0, 3.0]),
        (position, [None, None]),
        (position, "48"),
        (position, 7),
        (position, [10**400, 1]),
    ],
)
def test_a_value_that_does_not_fit_names_its_field(convert: Callable[[Any], Any], value: object) -> None:
    with pytest.raises(RejectedRequest, match="the thing: Strava's field it "):
        pick({"it": value}, {"it": convert}, "the thing")


@pytest.mark.parametrize("convert", CONVERTERS)
def test_absent_and_null_are_the_same(convert: Callable[[Any], Any]) -> None:
    assert pick({}, {"it": convert}, "x") == pick({"it": None}, {"it": convert}, "x") == {"it": None}


@given(json_values, st.sampled_from(CONVERTERS))
def test_any_value_is_converted_or_rejected(value: object, convert: Callable[[Any], Any]) -> None:
    with contextlib.suppress(RejectedRequest):
        assert list(pick({"it": value}, {"it": convert}, "x")) == ["it"]


@given(json_values)
def test_a_rejection_quotes_no_more_than_a_line(value: object) -> None:
    with pytest.raises(RejectedRequest) as caught:
        pick({"it": [value]}, {"it": text}, "x")
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


def test_objects_within_are_found_where_they_are() -> None:
    body = {"map": {"id": 1}, "laps": [{"id": 2}], "none": None, "empty": []}
    assert nested(body, "map", "x") == {"id": 1}
    assert nested(body, "none", "x") == nested(body, "absent", "x") == {}
    assert objects(body, "laps", "x") == [{"id": 2}]
    assert objects(body, "none", "x") == objects(body, "absent", "x") == objects(body, "empty", "x") == []


@pytest.mark.parametrize("value", ["text", 7, True, [{}]])
def test_what_should_be_an_object_and_is_not_is_rejected(value: object) -> None:
    with pytest.raises(RejectedRequest, match="activity 1: Strava's field map is not an object"):
        nested({"map": value}, "map", "activity 1")


@pytest.mark.parametrize("value", ["text", 7, True, {}, [{}, None], [[]]])
def test_what_should_be_a_list_of_objects_and_is_not_is_rejected(value: object) -> None:
    with pytest.raises(RejectedRequest, match="activity 1: Strava's field laps is not a list of objects"):
        objects({"laps": value}, "laps", "activity 1")
