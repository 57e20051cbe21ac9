from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from strava_pipeline.errors import NotFound, RetriableStravaError
from strava_pipeline.strava.client import StravaClient
from strava_pipeline_tests.strava.loopback import Asked, Loopback, Reply, reply
from strava_pipeline_tests.strava.stand_ins import MemoryLedger

ATHLETE = 4_000_000_101
MAY = datetime(2025, 5, 1, tzinfo=UTC)
JUNE = datetime(2025, 6, 1, tzinfo=UTC)


def listing_of(count: int) -> list[dict[str, int]]:
    return [{"id": number} for number in range(1, count + 1)]


def pages_of(count: int, strava: Loopback) -> None:
    def page(asked: Asked) -> Reply:
        first = (int(asked.query["page"]) - 1) * int(asked.query["per_page"])
        return reply(listing_of(count)[first : first + int(asked.query["per_page"])])

    strava.answer = page


@limits(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=8)
@given(count=st.integers(0, 650))
@example(0)
@example(1)
@example(199)
@example(200)
@example(201)
@example(400)
def test_a_listing_is_whole_and_ends_at_a_short_page(client: StravaClient, strava: Loopback, count: int) -> None:
    strava.asked.clear()
    pages_of(count, strava)
    assert list(client.list_activities(ATHLETE, MAY, JUNE)) == listing_of(count)
    # A full last page is not known to be the last one.
    assert len(strava.asked) == count // 200 + 1
    assert [asked.query["page"] for asked in strava.asked] == [str(1 + page) for page in range(len(strava.asked))]


def test_pages_nobody_wants_are_not_asked_for(client: StravaClient, strava: Loopback) -> None:
    pages_of(1_000, strava)
    listing = client.list_activities(ATHLETE, MAY, JUNE)
    assert next(listing) == {"id": 1}
    assert len(strava.asked) == 1


def test_a_listing_covers_its_first_second_but_not_its_last(client: StravaClient, strava: Loopback) -> None:
    strava.answers(reply([]))
    assert list(client.list_activities(ATHLETE, MAY, JUNE)) == []
    assert strava.asked[0].path == "/api/v3/athlete/activities"
    # Strava leaves out what starts exactly then, on both sides.
    assert strava.asked[0].query == {
        "after": str(int(MAY.timestamp()) - 1),
        "before": str(int(JUNE.timestamp())),
        "page": "1",
        "per_page": "200",
    }


@pytest.mark.parametrize("body", [{}, None, "text", [1], [{}, None], {"message": "odd"}])
def test_a_listing_of_another_shape_is_an_error_that_may_pass(
    client: StravaClient, strava: Loopback, body: object
) -> None:
    strava.answers(reply(body))
    with pytest.raises(RetriableStravaError, match=f"athlete {ATHLETE}") as caught:
        list(client.list_activities(ATHLETE, MAY, JUNE))
    assert caught.value.status == 200


def test_the_athlete_is_asked_for(client: StravaClient, strava: Loopback) -> None:
    strava.answers(reply({"id": ATHLETE}))
    assert client.get_athlete(ATHLETE) == {"id": ATHLETE}
    assert strava.asked[0].target == "/api/v3/athlete"


def test_an_activity_comes_with_all_its_efforts(client: StravaClient, strava: Loopback) -> None:
    strava.answers(reply({"id": 16_123_456_789}))
    assert client.get_activity(ATHLETE, 16_123_456_789) == {"id": 16_123_456_789}
    assert strava.asked[0].path == "/api/v3/activities/16123456789"
    assert strava.asked[0].query == {"include_all_efforts": "true"}


@pytest.mark.parametrize("body", [[], None, "text", 7])
def test_an_activity_of_another_shape_is_an_error_about_this_one(
    client: StravaClient, strava: Loopback, body: object
) -> None:
    strava.answers(reply(body))
    with pytest.raises(RetriableStravaError, match="not an object") as caught:
        client.get_activity(ATHLETE, 7)
    assert caught.value.status == 200


def test_all_streams_are_asked_for_by_type(client: StravaClient, strava: Loopback) -> None:
    strava.answers(reply({"time": {"data": [0]}}))
    assert client.get_streams(ATHLETE, 7) == {"time": {"data": [0]}}
    assert strava.asked[0].path == "/api/v3/activities/7/streams"
    assert strava.asked[0].query == {
        "keys": "time,distance,latlng,altitude,velocity_smooth,heartrate,cadence,watts,temp,moving,grade_smooth",
        "key_by_type": "true",
    }


def test_no_streams_are_empty_streams(client: StravaClient, strava: Loopback, ledger: MemoryLedger) -> None:
    strava.answers(reply({"message": "Resource Not Found", "errors": []}, 404))
    assert client.get_streams(ATHLETE, 7) == {}
    assert ledger.statuses == [404]


NO_ACTIVITY = {"message": "Record Not Found", "errors": [{"resource": "Activity", "field": "id", "code": "invalid"}]}


@pytest.mark.parametrize("answer", [reply(NO_ACTIVITY, 404), Reply(404, b"<html>gone fishing"), Reply(404, b"")])
def test_a_404_that_does_not_say_so_is_not_taken_for_empty_streams(
    client: StravaClient, strava: Loopback, answer: Reply
) -> None:
    strava.answers(answer)
    with pytest.raises(NotFound):
        client.get_streams(ATHLETE, 7)


def test_any_path_can_be_asked_for(client: StravaClient, strava: Loopback) -> None:
    strava.answers(reply({"all_ride_totals": {}}))
    assert client.get(ATHLETE, f"/athletes/{ATHLETE}/stats", {"a": "b"}) == {"all_ride_totals": {}}
    assert strava.asked[0].target == f"/api/v3/athletes/{ATHLETE}/stats?a=b"
