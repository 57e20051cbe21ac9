from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.errors import (
    AppInactive,
    FaultDetail,
    MissingScope,
    NeedsReauthorization,
    NotFound,
    QuotaExhausted,
    RejectedRequest,
    RetriableStravaError,
    StravaError,
    StravaFault,
)
from strava_pipeline.strava import shapes
from strava_pipeline.strava.faults import read
from strava_pipeline.strava.http import Answer
from strava_pipeline.strava.shapes import Shape


def fault_body(message: str, *errors: tuple[str, str, str]) -> bytes:
    fields = [dict(zip(("resource", "field", "code"), error, strict=True)) for error in errors]
    return json.dumps({"message": message, "errors": fields}).encode()


INACTIVE = fault_body("Forbidden", ("Application", "Status", "Inactive"))
READ_LIMIT = fault_body("Rate Limit Exceeded", ("Application", "read rate limit", "exceeded"))
OVERALL_LIMIT = fault_body("Rate Limit Exceeded", ("Application", "overall rate limit", "exceeded"))
BAD_TOKEN = fault_body("Authorization Error", ("Athlete", "access_token", "invalid"))
BAD_APP = fault_body("Authorization Error", ("Application", "", "invalid"))
NO_SCOPE = fault_body("Authorization Error", ("AccessToken", "activity:read_permission", "missing"))
NO_ACTIVITY = fault_body("Resource Not Found", ("Activity", "", "not found"))
NO_STREAMS = fault_body("Resource Not Found")
IN_FUTURE = fault_body("Bad Request", ("Application", "after", "future"))
DEAD_GRANT = fault_body("Bad Request", ("RefreshToken", "refresh_token", "invalid"))
HTML = b"<!DOCTYPE html><html><body>Strava is down for maintenance</body></html>"

GATEWAY = b'{"message":"Forbidden"}'
CASES: list[tuple[int, bytes, type[StravaError]]] = [
    (400, IN_FUTURE, RejectedRequest),
    # Only the token endpoint may say that a grant is dead; see test_oauth.
    (400, DEAD_GRANT, RejectedRequest),
    (401, BAD_TOKEN, NeedsReauthorization),
    (401, BAD_APP, NeedsReauthorization),
    (401, NO_SCOPE, MissingScope),
    (402, fault_body("Payment Required"), RejectedRequest),
    (403, INACTIVE, AppInactive),
    (403, INACTIVE.replace(b"Status", b"status").replace(b"Inactive", b"inactive"), AppInactive),
    (403, fault_body("Forbidden"), RejectedRequest),
    (403, fault_body("Forbidden", ("AccessToken", "activity:read", "missing")), MissingScope),
    (403, fault_body("Forbidden", ("Application", "connected athletes", "exceeded")), RejectedRequest),
    # Whichever comes first.
    (
        401,
        fault_body("m", ("Athlete", "access_token", "invalid"), ("AccessToken", "x", "missing")),
        NeedsReauthorization,
    ),
    (
        401,
        fault_body("m", ("AccessToken", "x", "missing"), ("Athlete", "access_token", "invalid")),
        NeedsReauthorization,
    ),
    (403, fault_body("m", ("AccessToken", "x", "missing"), ("AccessToken", "y", "missing")), MissingScope),
    (403, fault_body("m", ("AccessToken", "x", "missing"), ("Application", "Status", "Inactive")), AppInactive),
    (404, NO_ACTIVITY, NotFound),
    (404, NO_STREAMS, NotFound),
    (409, fault_body("Conflict"), RejectedRequest),
    # A used-up quota, under any status.
    (429, READ_LIMIT, QuotaExhausted),
    (429, OVERALL_LIMIT, QuotaExhausted),
    (429, fault_body("Slow down"), QuotaExhausted),
    (429, HTML, QuotaExhausted),
    (429, b"", QuotaExhausted),
    (200, READ_LIMIT, QuotaExhausted),
    (400, OVERALL_LIMIT, QuotaExhausted),
    (403, fault_body("Forbidden", ("Application", "rate limit", "exceeded")), QuotaExhausted),
    (403, fault_body("Forbidden", ("Application", "athlete rate limit", "Exceeded")), QuotaExhausted),
    (404, READ_LIMIT, QuotaExhausted),
    (500, READ_LIMIT, QuotaExhausted),
]
NOT_STRAVAS: list[tuple[int, bytes]] = [
    # No answer of Strava's, whatever its form.
    *[(status, body) for status in (408, 425, 500, 502, 503, 504, 597) for body in (HTML, fault_body("m"), b"")],
    (500, b'{"message":"error"}'),
    (504, b'{"message"'),
    *[(status, body) for status in (301, 302, 303, 304, 307, 308) for body in (HTML, b"", NO_ACTIVITY)],
    # Refusals that are not in Strava's form.
    *[
        (status, body)
        for status in (400, 401, 402, 403, 404, 405, 409, 410, 418, 422, 451, 499)
        for body in (HTML, b"", b"{}", b"[]", b"null", b'"Not Found"', GATEWAY, b'{"error":"x"}', b'{"message":"cut')
    ],
    (404, b'{"message":"Not Found","errors":{}}'),
    (404, b'{"message":"Not Found","errors":null}'),
    (404, b'{"message":"Not Found","errors":["no such page"]}'),
    (404, b'{"message":"Not Found","errors":[{"code":404}]}'),
    (404, b'{"message":"Not Found","errors":[{"title":"Not Found"}]}'),
    (404, b'{"message":"","errors":[]}'),
    (404, b'{"errors":[{"resource":"Activity","field":"","code":"not found"}]}'),
    # Successes that are none.
    *[(200, body) for body in (HTML, b"", b'{"id": ', b'{"id": NaN}', fault_body("Forbidden"), NO_ACTIVITY, BAD_TOKEN)],
    *[(status, b"{}") for status in (201, 202, 203, 204, 206)],
]


def answer_of(status: int, body: bytes, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body, 1.0)


def error_of(status: int, body: bytes, **headers: str) -> StravaError:
    body_read, error = read("GET /athlete of athlete 7", answer_of(status, body, **headers))
    assert body_read is None
    assert error is not None
    return error


@pytest.mark.parametrize(("status", "body", "expected"), CASES)
def test_each_answer_means_one_error(status: int, body: bytes, expected: type[StravaError]) -> None:
    error = error_of(status, body)
    assert type(error) is expected
    assert error.status == status
    assert error.fault.is_stravas == (body not in (HTML, b""))
    assert str(error).startswith(f"GET /athlete of athlete 7: Strava answered {status}")


@pytest.mark.parametrize(("status", "body"), NOT_STRAVAS)
def test_what_is_not_stravas_passes_and_was_no_answer(status: int, body: bytes) -> None:
    error = error_of(status, body, Content_Type="text/html; charset=utf-8")
    assert type(error) is RetriableStravaError
    assert (error.status, error.answered) == (status, False)


def test_the_message_says_where_to_look() -> None:
    what = "GET /athlete of athlete 7: "
    assert str(error_of(403, HTML, Content_Type="text/html; charset=utf-8")) == (
        f"{what}the answer is not Strava's (403, text/html): a proxy or gateway in between?"
    )
    assert (
        str(error_of(200, HTML))
        == f"{what}the answer is not JSON (200, no content type): a proxy or gateway in between?"
    )
    assert str(error_of(302, b"", Location="https://login.example.invalid/in?token=canary")) == (
        f"{what}the answer is a redirect to login.example.invalid, which is not followed (302, no content type):"
        " check STRAVA_API_URL and STRAVA_OAUTH_URL"
    )
    assert "a redirect to another page" in str(error_of(302, b"", Location="http://["))
    assert str(error_of(500, b'{"message":"error"}')) == f"{what}Strava answered 500 error"
    assert str(error_of(503, HTML)) == f"{what}Strava answered 503 no fault body"
    assert str(error_of(200, NO_ACTIVITY)) == f"{what}Strava answered 200 Resource Not Found (Activity not found)"


@pytest.mark.parametrize(
    ("shape", "fitting", "others"),
    [
        (shapes.ATHLETE, [{"id": 7}], [{}, [], None, "text", 7, {"message": "Forbidden"}, {"id": "req-1"}]),
        (shapes.ACTIVITY, [{"id": 7}, {"id": 2**63}], [{}, None, [{"id": 7}], {"id": "7"}, {"id": True}, {"id": 7.0}]),
        (shapes.activity(7), [{"id": 7}], [{}, [], {"id": 8}, {"id": "7"}, {"id": 7.0}, {"message": "Forbidden"}]),
        (shapes.GEAR, [{"id": "b7"}], [{}, [], None, {"error": "x"}, {"id": 7}, {"id": None}]),
        (shapes.TOTALS, [{"all_ride_totals": {}}, {"ytd_swim_totals": None}], [{}, [], None, {"message": "x"}]),
        (shapes.ZONES, [{"heart_rate": {}}, {"power": {}}], [{}, [], None, {"message": "x"}]),
        (shapes.ACTIVITIES, [[], [{"id": 1}, {"id": 2**63}]], [{}, None, [1], [{}], [{"id": 1}, {"id": None}]]),
        (shapes.ACTIVITIES, [], [[{"status": "ok"}], [{"id": "1"}], {"message": "x"}]),
        (shapes.REVOCATION, [{}, {"access_token": "t"}], [[], None, "ok", {"message": "x"}, {"status": "ok"}]),
        (
            shapes.STREAMS,
            [{}, [], {"time": {"data": []}}, [{"type": "time", "data": [0]}], {"time": {"data": [0]}, "odd": 1}],
            [None, 7, "text", {"message": "x"}, {"error": {"code": 403}}, [{"message": "x"}], [1]],
        ),
        (shapes.SUBSCRIPTIONS, [[], [{"id": 9, "callback_url": "u"}]], [{}, None, [{"id": 9}], [{"id": "9"}]]),
        (shapes.NEW_SUBSCRIPTION, [{"id": 9}], [{}, [], None, {"id": "9"}]),
        (shapes.ANYTHING, [{}, [], None, 7], []),
    ],
)
def test_a_success_of_another_shape_passes_and_was_no_answer(
    shape: Shape, fitting: list[object], others: list[object]
) -> None:
    for body in fitting:
        assert read("GET /x", answer_of(200, json.dumps(body).encode()), shape=shape) == (body, None)
    for body in others:
        read_body, error = read("GET /x", answer_of(200, json.dumps(body).encode()), shape=shape)
        assert (read_body, type(error)) == (None, RetriableStravaError)
        assert isinstance(error, RetriableStravaError)
        assert not error.answered
        assert f"GET /x: the answer is not {shape.name} (200," in str(error)


def test_an_answer_without_a_body_is_a_success_where_it_may_be_one() -> None:
    assert read("DELETE /x", answer_of(204, b""), success=(200, 204)) == (None, None)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (INACTIVE, StravaFault("Forbidden", (FaultDetail("Application", "Status", "Inactive"),))),
        (NO_STREAMS, StravaFault("Resource Not Found")),
        (b'\xef\xbb\xbf{"message":"with a BOM","errors":[]}', StravaFault("with a BOM")),
        (b'{"message":"m","errors":[{"resource":null,"code":"x"}]}', StravaFault("m", (FaultDetail(code="x"),))),
        (
            b'{"message":"m","errors":[{"code":"a"},{"field":"f","code":"b","more":{}}],"more":1}',
            StravaFault("m", (FaultDetail(code="a"), FaultDetail(field="f", code="b"))),
        ),
    ],
)
def test_a_fault_in_stravas_form_is_read_whole(body: bytes, expected: StravaFault) -> None:
    assert error_of(404, body).fault == expected


@pytest.mark.parametrize("body", [b"   ", b'{"message":"\xff\xfe"}', b"\x00\x01\x02", b"[" * 100_000, b"9" * 5_000])
def test_a_body_of_any_kind_is_no_fault(body: bytes) -> None:
    assert error_of(404, body).fault == StravaFault()


@given(st.binary() | st.text().map(str.encode), st.integers(300, 599))
def test_no_answer_is_without_its_error(body: bytes, status: int) -> None:
    assert isinstance(error_of(status, body), StravaError)


def test_a_message_is_one_short_line() -> None:
    body = json.dumps({"message": "first\nsecond\x1b[31m\r" + "x" * 1_000}).encode()
    told = str(error_of(500, body))
    assert told.isprintable()
    assert len(told) < 300


def test_all_errors_stay_on_the_error_and_in_its_text() -> None:
    body = fault_body(
        "Forbidden", ("AccessToken", "activity:read", "missing"), ("AccessToken", "profile:read_all", "missing")
    )
    error = error_of(403, body)
    assert [detail.field for detail in error.fault.errors] == ["activity:read", "profile:read_all"]
    assert "(AccessToken activity:read missing; AccessToken profile:read_all missing): connect again" in str(error)


def test_any_number_of_errors_is_one_line_of_bounded_length() -> None:
    errors = [("Application", "x" * 1_000, "invalid\n")] * 1_000
    error = error_of(400, fault_body("m", *errors))
    assert len(error.fault.errors) == 1_000
    assert str(error).isprintable()
    assert len(str(error)) <= 1_000


def test_retry_after_is_honoured_in_stravas_answers_and_a_minute_is_the_least_without_it() -> None:
    before = datetime.now(UTC)
    told = error_of(429, READ_LIMIT, Retry_After="90")
    untold = [error_of(429, READ_LIMIT), error_of(429, HTML, Retry_After="86400")]
    after = datetime.now(UTC)
    assert isinstance(told, QuotaExhausted)
    assert before + timedelta(seconds=90) <= told.retry_at <= after + timedelta(seconds=90)
    for error in untold:
        assert isinstance(error, QuotaExhausted)
        assert before + timedelta(seconds=60) <= error.retry_at <= after + timedelta(seconds=60)


def test_the_fault_body_stays_on_the_error() -> None:
    assert error_of(429, READ_LIMIT).fault.errors == (FaultDetail("Application", "read rate limit", "exceeded"),)
