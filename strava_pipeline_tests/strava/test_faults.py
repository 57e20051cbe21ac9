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
from strava_pipeline.strava.faults import error_for, parse_fault


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

CASES: list[tuple[int, bytes, type[StravaError]]] = [
    (400, IN_FUTURE, RejectedRequest),
    # Only the token endpoint may say that a grant is dead; see test_oauth.
    (400, DEAD_GRANT, RejectedRequest),
    (401, BAD_TOKEN, NeedsReauthorization),
    (401, BAD_APP, NeedsReauthorization),
    (401, NO_SCOPE, MissingScope),
    (402, b"", RejectedRequest),
    (403, INACTIVE, AppInactive),
    (403, INACTIVE.replace(b"Status", b"status").replace(b"Inactive", b"inactive"), AppInactive),
    (403, fault_body("Forbidden", ("AccessToken", "activity:read", "missing")), MissingScope),
    (403, fault_body("Forbidden", ("Application", "connected athletes", "exceeded")), RejectedRequest),
    (403, HTML, RejectedRequest),
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
    (404, HTML, NotFound),
    (409, b"{}", RejectedRequest),
    (429, READ_LIMIT, QuotaExhausted),
    (429, OVERALL_LIMIT, QuotaExhausted),
    (429, HTML, QuotaExhausted),
    (500, b'{"message":"error"}', RetriableStravaError),
    (502, HTML, RetriableStravaError),
    (503, b"", RetriableStravaError),
    (504, b'{"message"', RetriableStravaError),
    (597, HTML, RetriableStravaError),
]


@pytest.mark.parametrize(("status", "body", "expected"), CASES)
def test_each_answer_means_one_error(status: int, body: bytes, expected: type[StravaError]) -> None:
    error = error_for("GET /athlete of athlete 7", status, body)
    assert type(error) is expected
    assert error.status == status
    assert error.fault == parse_fault(body)
    assert str(error).startswith(f"GET /athlete of athlete 7: Strava answered {status}")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (INACTIVE, StravaFault("Forbidden", (FaultDetail("Application", "Status", "Inactive"),))),
        (NO_STREAMS, StravaFault("Resource Not Found")),
        (b'{"message":"error"}', StravaFault("error")),
        (b'{"errors":[{"code":"invalid"}]}', StravaFault("", (FaultDetail(code="invalid"),))),
        (b'\xef\xbb\xbf{"message":"with a BOM"}', StravaFault("with a BOM")),
        (b'{"message":7,"errors":{"code":"x"}}', StravaFault()),
        (b'{"message":null,"errors":null}', StravaFault()),
        (b'{"message":"m","errors":["text"]}', StravaFault("m")),
        (b'{"message":"m","errors":[{"resource":[],"field":1,"code":true}]}', StravaFault("m")),
        (
            b'{"message":"m","errors":[{"code":"a"},7,{},{"field":"f","code":"b","more":{}},{"resource":"R"}]}',
            StravaFault("m", (FaultDetail(code="a"), FaultDetail(field="f", code="b"), FaultDetail("R"))),
        ),
        (b'["message"]', StravaFault()),
        (b'"message"', StravaFault()),
        (b"null", StravaFault()),
        (b"", StravaFault()),
        (b"   ", StravaFault()),
        (HTML, StravaFault()),
        (b'{"message":"cut', StravaFault()),
        (b'{"message":"\xff\xfe"}', StravaFault()),
        (b"\x00\x01\x02", StravaFault()),
        (b"[" * 100_000, StravaFault()),
        (b"9" * 5_000, StravaFault()),
    ],
)
def test_a_body_of_any_kind_gives_a_fault(body: bytes, expected: StravaFault) -> None:
    assert parse_fault(body) == expected


@given(st.binary() | st.text().map(str.encode), st.integers(300, 599))
def test_no_answer_is_without_its_error(body: bytes, status: int) -> None:
    assert isinstance(error_for("GET /x", status, body), StravaError)


def test_a_message_is_one_short_line() -> None:
    body = json.dumps({"message": "first\nsecond\x1b[31m\r" + "x" * 1_000}).encode()
    told = str(error_for("GET /x", 500, body))
    assert told.isprintable()
    assert len(told) < 300


def test_all_errors_stay_on_the_error_and_in_its_text() -> None:
    body = fault_body(
        "Forbidden", ("AccessToken", "activity:read", "missing"), ("AccessToken", "profile:read_all", "missing")
    )
    error = error_for("GET /x", 403, body)
    assert [detail.field for detail in error.fault.errors] == ["activity:read", "profile:read_all"]
    assert "(AccessToken activity:read missing; AccessToken profile:read_all missing): connect again" in str(error)


def test_any_number_of_errors_is_one_line_of_bounded_length() -> None:
    errors = [("Application", "x" * 1_000, "invalid\n")] * 1_000
    error = error_for("GET /x", 400, fault_body("m", *errors))
    assert len(error.fault.errors) == 1_000
    assert str(error).isprintable()
    assert len(str(error)) <= 1_000


def test_retry_after_is_honoured_and_a_minute_is_the_least_without_it() -> None:
    before = datetime.now(UTC)
    told = error_for("GET /x", 429, READ_LIMIT, retry_after=timedelta(seconds=90))
    untold = error_for("GET /x", 429, READ_LIMIT)
    after = datetime.now(UTC)
    assert isinstance(told, QuotaExhausted)
    assert before + timedelta(seconds=90) <= told.retry_at <= after + timedelta(seconds=90)
    assert isinstance(untold, QuotaExhausted)
    assert before + timedelta(seconds=60) <= untold.retry_at <= after + timedelta(seconds=60)


def test_the_fault_body_stays_on_the_error() -> None:
    assert error_for("GET /x", 429, READ_LIMIT).fault.errors == (
        FaultDetail("Application", "read rate limit", "exceeded"),
    )
