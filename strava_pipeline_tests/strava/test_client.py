from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from inspect import signature
from math import ceil
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from strava_pipeline.errors import MissingScope, NotFound, RejectedRequest, RetriableStravaError, StravaError
from strava_pipeline.strava.client import AthleteProfile, StravaClient
from strava_pipeline.strava.pagination import ask
from strava_pipeline_tests.strava.loopback import Asked, Loopback, Reply, reply
from strava_pipeline_tests.strava.stand_ins import MemoryLedger, MemoryTokens

ATHLETE = 4_000_000_101
MAY = datetime(2025, 5, 1, tzinfo=UTC)
JUNE = datetime(2025, 6, 1, tzinfo=UTC)


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
    listed = strava_lists(strava, count)
    assert list(client.list_activities(ATHLETE, MAY, JUNE)) == listed
    # Each page shows the last entry of the one before; a full last page is not known to be the last one.
    assert len(strava.asked) == max(1, ceil(count / 199))


def test_pages_nobody_wants_are_not_asked_for(client: StravaClient, strava: Loopback) -> None:
    listed = strava_lists(strava, 1_000)
    assert next(client.list_activities(ATHLETE, MAY, JUNE)) == listed[0]
    assert len(strava.asked) == 1


def strava_lists(strava: Loopback, count: int) -> list[dict[str, Any]]:
    """Have Strava list so many activities of May, newest first, by time and page."""
    starts = [JUNE - timedelta(hours=1 + number) for number in range(count)]
    listed = [{"id": number, "start_date": f"{start:%Y-%m-%dT%H:%M:%SZ}"} for number, start in enumerate(starts, 1)]

    def page(asked: Asked) -> Reply:
        after, before, number, size = (int(asked.query[name]) for name in ("after", "before", "page", "per_page"))
        within = [body for body, start in zip(listed, starts, strict=True) if after < start.timestamp() < before]
        return reply(within[(number - 1) * size : number * size])

    strava.answer = page
    return listed


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


@pytest.mark.parametrize("body", [{}, {"id": 1}, None, "text", [1], [{"status": "ok"}], [{"id": "1"}]])
def test_a_listing_of_another_shape_is_an_error_that_may_pass(
    without_waits: None, client: StravaClient, strava: Loopback, body: object
) -> None:
    strava.answers(reply(body))
    with pytest.raises(RetriableStravaError, match=f"athlete {ATHLETE}: the answer is not a list of") as caught:
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


@pytest.mark.parametrize("body", [[], {}, None, "text", 7, {"id": "req-7f"}, {"id": 8}, {"id": True}])
def test_an_activity_of_another_shape_is_an_error_that_may_pass(
    without_waits: None, client: StravaClient, strava: Loopback, body: object
) -> None:
    strava.answers(reply(body))
    with pytest.raises(RetriableStravaError, match="not activity 7") as caught:
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


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (reply(NO_ACTIVITY, 404), NotFound),
        (Reply(404, b"<html>gone fishing"), RetriableStravaError),
        (Reply(404, b""), RetriableStravaError),
    ],
)
def test_a_404_that_does_not_say_so_is_not_taken_for_empty_streams(
    without_waits: None, client: StravaClient, strava: Loopback, answer: Reply, error: type[StravaError]
) -> None:
    strava.answers(answer)
    with pytest.raises(error):
        client.get_streams(ATHLETE, 7)


def test_any_path_can_be_asked_for(client: StravaClient, strava: Loopback) -> None:
    strava.answers(reply({"all_ride_totals": {}}))
    assert client.get(ATHLETE, f"/athletes/{ATHLETE}/stats", {"a": "b"}) == {"all_ride_totals": {}}
    assert strava.asked[0].target == f"/api/v3/athletes/{ATHLETE}/stats?a=b"


@pytest.mark.parametrize(
    ("method", "arguments", "path", "body"),
    [
        (StravaClient.get_athlete_stats, (), f"/athletes/{ATHLETE}/stats", {"all_ride_totals": {}}),
        (StravaClient.get_athlete_zones, (), "/athlete/zones", {"heart_rate": {}}),
        (StravaClient.get_gear, ("b12345",), "/gear/b12345", {"id": "b12345"}),
    ],
)
def test_objects_are_asked_for_at_their_paths(
    without_waits: None,
    client: StravaClient,
    strava: Loopback,
    method: Callable[..., Any],
    arguments: tuple[str, ...],
    path: str,
    body: dict[str, Any],
) -> None:
    strava.answers(reply(body))
    assert method(client, ATHLETE, *arguments) == body
    assert strava.asked[0].target == f"/api/v3{path}"
    strava.answers(reply([]))
    with pytest.raises(RetriableStravaError, match="the answer is not"):
        method(client, ATHLETE, *arguments)


GATEWAYS = {
    "401 page": Reply(401, b"<html>"),
    "403 page": Reply(403, b"<html>"),
    "404 page": Reply(404, b"<html>"),
    "403 of a gateway": reply({"message": "Forbidden"}, 403),
    "404 of a gateway": reply({"error": {"code": 404, "message": "no route"}}, 404),
    "302": Reply(302, b"", {"Location": "https://elsewhere.example.invalid/"}),
    "408": reply({"message": "Timeout", "errors": []}, 408),
    "597": Reply(597, b""),
    "200 page": Reply(200, b"<html>"),
    "200 empty": Reply(200, b""),
    "200 with a fault": reply({"message": "Forbidden", "errors": []}),
    "200 of a gateway": reply({"message": "Forbidden"}),
    "202": reply({}, 202),
}
ANSWERS: dict[Callable[..., Any], tuple[tuple[Any, ...], object]] = {
    StravaClient.get_athlete: ((), {"id": ATHLETE}),
    StravaClient.get_athlete_stats: ((), {"all_ride_totals": {}}),
    StravaClient.get_athlete_zones: ((), {"heart_rate": {}}),
    StravaClient.get_gear: (("b7",), {"id": "b7"}),
    StravaClient.get_activity: ((7,), {"id": 7}),
    StravaClient.get_streams: ((7,), {"time": {"data": [0]}}),
    StravaClient.list_activities: ((MAY, JUNE), [{"id": 7}]),
}


@pytest.mark.parametrize("gateways", GATEWAYS.values(), ids=GATEWAYS)
@pytest.mark.parametrize("method", ANSWERS, ids=lambda method: method.__name__)
def test_what_is_not_stravas_is_asked_for_again(
    without_waits: None,
    client: StravaClient,
    strava: Loopback,
    ledger: MemoryLedger,
    tokens: MemoryTokens,
    method: Callable[..., Any],
    gateways: Reply,
) -> None:
    arguments, body = ANSWERS[method]
    strava.answers(gateways, gateways, reply(body))
    found = method(client, ATHLETE, *arguments)
    assert (list(found) if isinstance(found, Iterator) else found) == body
    assert [outcome.answered for _, outcome in ledger.settled] == [False, False, True]
    assert tokens.refreshes == []


@pytest.mark.parametrize("gear_id", ["", ".", "..", "../athlete?x=1", "a b", "B12", "b", "b1/2", "b" + "1" * 5000])
def test_what_is_no_id_of_gear_is_never_asked_for(client: StravaClient, strava: Loopback, gear_id: str) -> None:
    with pytest.raises(RejectedRequest, match="no id of Strava's") as refused:
        client.get_gear(ATHLETE, gear_id)
    assert len(str(refused.value)) < 120
    assert strava.asked == []


def test_a_profile_is_athlete_stats_and_zones(client: StravaClient, strava: Loopback) -> None:
    strava.answers(reply({"id": ATHLETE}), reply({"all_run_totals": {}}), reply({"heart_rate": {}}))
    assert client.get_athlete_profile(ATHLETE) == AthleteProfile(
        athlete={"id": ATHLETE}, stats={"all_run_totals": {}}, zones={"heart_rate": {}}
    )
    assert len(strava.asked) == 3


def test_a_profile_needs_its_scope(client: StravaClient, strava: Loopback) -> None:
    missing = {"resource": "AccessToken", "field": "profile:read_permission", "code": "missing"}
    strava.answers(
        reply({"id": ATHLETE}),
        reply({"all_run_totals": {}}),
        reply({"message": "Authorization Error", "errors": [missing]}, 401),
    )
    with pytest.raises(MissingScope):
        client.get_athlete_profile(ATHLETE)


def test_an_export_takes_two_requests(client: StravaClient, strava: Loopback) -> None:
    strava.answers(
        reply({"id": 7, "name": "Round the lake", "start_date": "2026-05-01T06:30:00Z"}),
        reply({"latlng": {"data": [[48.2, 16.3]]}, "time": {"data": [3]}}),
    )
    exported = client.export_gpx(ATHLETE, 7)
    assert "<name>Round the lake</name>" in exported
    assert "<time>2026-05-01T06:30:03Z</time>" in exported
    assert [asked.path for asked in strava.asked] == ["/api/v3/activities/7", "/api/v3/activities/7/streams"]


def test_an_activity_without_streams_has_no_export(client: StravaClient, strava: Loopback) -> None:
    strava.answers(reply({"id": 7}), reply({"message": "Resource Not Found", "errors": []}, 404))
    with pytest.raises(NotFound, match="no GPS positions"):
        client.export_gpx(ATHLETE, 7)


# https://developers.strava.com/docs/reference/
PATHS_OF_STRAVA = {
    "/athlete",
    "/athlete/activities",
    "/athlete/zones",
    "/athletes/{id}/stats",
    "/activities/{id}",
    "/activities/{id}/streams",
    "/gear/{id}",
}


def test_every_path_that_is_asked_for_is_one_of_stravas(client: StravaClient, strava: Loopback) -> None:
    arguments = {"athlete_id": ATHLETE, "activity_id": 7, "gear_id": "b7", "after": MAY, "before": JUNE, "pages": ask}
    whole = {"id": 7, "heart_rate": {}, "all_ride_totals": {}}
    unlike: dict[str, object] = {"activities": [], "streams": {}, "b7": {"id": "b7"}}
    strava.answer = lambda asked: reply(unlike.get(asked.path.rpartition("/")[2], whole))
    endpoints = [name for name in dir(StravaClient) if not name.startswith("_") and name not in ("get", "transport")]
    for method in (getattr(client, name) for name in endpoints):
        given = {name: arguments[name] for name in signature(method).parameters}
        # There is nothing to export here; and a listing asks only when it is read.
        with suppress(NotFound):
            found = method(**given)
            assert not isinstance(found, Iterator) or list(found) == []
    asked = {re.sub(r"(?<=/)b?[0-9]+", "{id}", asked.path.removeprefix("/api/v3")) for asked in strava.asked}
    assert asked == PATHS_OF_STRAVA
