"""Where a request ends: refused where that can be read in two ways, however it is cut into packets."""

from __future__ import annotations

import pytest
from waitress.adjustments import Adjustments

from strava_pipeline.local import serving
from strava_pipeline.local.framing import StrictParser
from strava_pipeline_tests.framings import AMBIGUOUS, BODY, CLEAR, NEXT, STATUS, chunked, post

ADJUSTMENTS = Adjustments(
    max_request_header_size=serving.HEADER_CAP_BYTES, max_request_body_size=serving.BODY_CAP_BYTES
)


def parsed(stream: bytes, packet: int) -> list[StrictParser]:
    """The requests in what arrives, up to the first that is refused, read as waitress's channel does."""
    found: list[StrictParser] = []
    request = StrictParser(ADJUSTMENTS)
    for start in range(0, len(stream), packet):
        data = stream[start : start + packet]
        while data:
            data = data[request.received(data) :]
            if request.completed:
                if not request.empty:
                    found.append(request)
                if request.error:
                    return found
                request = StrictParser(ADJUSTMENTS)
    return found


@pytest.mark.parametrize("packet", [1, 7, 65536])
@pytest.mark.parametrize("name", AMBIGUOUS)
def test_what_can_be_read_in_two_ways_is_refused(name: str, packet: int) -> None:
    (only,) = parsed(AMBIGUOUS[name] + NEXT, packet)
    assert only.error is not None
    assert only.error.code == STATUS.get(name, 400)


@pytest.mark.parametrize("packet", [1, 7, 65536])
@pytest.mark.parametrize("name", CLEAR)
def test_what_is_clear_is_read_to_its_end_and_no_further(name: str, packet: int) -> None:
    request, body = CLEAR[name]
    first, second = parsed(request + NEXT, packet)
    assert (first.error, second.error) == (None, None)
    assert first.path == "/health/live"
    assert first.get_body_stream().read() == body
    assert (second.command, second.query, second.headers) == ("GET", "next", {"HOST": "bridge"})


@pytest.mark.parametrize("packet", [1, 7, 65536])
def test_a_body_in_chunks_is_no_larger_than_one_with_a_length(packet: int) -> None:
    many = b"400\r\n" + b"x" * 1024 + b"\r\n"
    (refused,) = parsed(chunked(many * 64 + b"0\r\n\r\n"), packet)
    assert refused.error.code == 413
    (taken,) = parsed(chunked(many * 60 + b"0\r\n\r\n"), packet)
    assert taken.error is None
    assert taken.headers["CONTENT_LENGTH"] == str(60 * 1024)


def test_trailers_and_extensions_reach_nobody() -> None:
    (request,) = parsed(
        chunked(b"5;user=evil\r\nhello\r\n0\r\nX-Forwarded-For: evil\r\nAuthorization: evil\r\n\r\n"), 65536
    )
    assert request.headers == {"HOST": "bridge", "CONTENT_LENGTH": "5"}
    assert request.get_body_stream().read() == BODY


def test_one_with_a_body_that_is_there_is_not_told_to_go_on() -> None:
    assert not parsed(post(b"Content-Length: 5", b"Expect: 100-continue"), 65536)[0].expect_continue
    waiting = StrictParser(ADJUSTMENTS)
    waiting.received(post(b"Content-Length: 5", b"Expect: 100-continue", body=b""))
    assert waiting.expect_continue
    too_large = StrictParser(ADJUSTMENTS)
    too_large.received(post(b"Content-Length: 9999999", b"Expect: 100-continue", body=b""))
    assert too_large.error.code == 413
    assert not too_large.expect_continue
