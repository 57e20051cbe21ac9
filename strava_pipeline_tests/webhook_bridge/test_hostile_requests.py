"""Whatever is sent to the bridge as it is served: no 5xx, nothing stored, no more memory; and then it still works."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import socket
import subprocess
import time

import psutil
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import Engine, func, select

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.webhook_bridge.deliveries import PATH, SECRET, delivery, signed
from webhook_bridge.app import create_app

MEGABYTE = 2**20
Bridge = tuple[subprocess.Popen[str], int]


def post(body: bytes, *headers: str, path: str = PATH, length: int | None = None) -> bytes:
    """A whole request, signed; the length is that of the body unless it lies."""
    lines = [f"POST {path} HTTP/1.1", "Host: bridge", *(f"{name}: {value}" for name, value in signed(body).items())]
    if not any(header.lower().startswith(("content-length", "transfer-encoding")) for header in headers):
        lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join([*lines, *headers, "", ""]).encode() + body


def chunked(body: bytes, size: bytes = b"%x") -> bytes:
    return size % len(body) + b"\r\n" + body + b"\r\n0\r\n\r\n" if b"%" in size else size + b"\r\n" + body + b"\r\n"


def signature(value: str) -> bytes:
    body = delivery()
    head = f"POST {PATH} HTTP/1.1\r\nHost: bridge\r\nX-Strava-Signature: {value}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("latin-1") + body


def stamped(timestamp: str) -> bytes:
    """Signed by somebody who has the secret, at an odd time."""
    mac = hmac.new(SECRET.encode(), timestamp.encode() + b"." + delivery(), hashlib.sha256).hexdigest()
    return signature(f"t={timestamp},v1={mac}")


GOOD = delivery()


def hostile() -> dict[str, bytes]:
    """Each by its name, signed now: what was signed when the tests were collected may be too old by its turn."""
    now = int(time.time())
    return {
        "nothing but lines": b"\r\n\r\n\r\n",
        "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n",
        "no HTTP": b"hello\r\n\r\n",
        "HTTP 9.9": post(GOOD).replace(b"HTTP/1.1", b"HTTP/9.9").replace(b"v1=", b"v1=0"),
        "odd method": post(GOOD).replace(b"POST", b"BREW"),
        "lower-case method": post(GOOD).replace(b"POST", b"post"),
        "TRACE": b"TRACE / HTTP/1.1\r\nHost: bridge\r\n\r\n",
        "header of 20 KB": post(GOOD, f"X-Long: {'x' * 20_000}"),
        "bare line feed in a header": post(GOOD, "X-Odd: a\nX-Signature: b"),
        "header without a colon": post(GOOD, "no colon"),
        "NUL in a header": post(GOOD, "X-Odd: \0"),
        "NUL in the path": post(GOOD, path=f"{PATH}/%00"),
        "bytes that are no UTF-8 in the path": post(GOOD, path=f"{PATH}/%ff%fe"),
        "dots in the path": post(GOOD, path=f"{PATH}/../../health/ready"),
        "slashes in the path": post(GOOD, path="//webhooks//strava"),
        "a whole address with odd brackets": post(GOOD, path="http://[::1/webhooks/strava"),
        "unknown transfer encoding": post(GOOD, "Transfer-Encoding: gzip"),
        "two transfer encodings": post(chunked(GOOD), "Transfer-Encoding: gzip, chunked"),
        "chunk size that is none": post(chunked(GOOD, b"zz"), "Transfer-Encoding: chunked"),
        "negative chunk size": post(chunked(GOOD, b"-1"), "Transfer-Encoding: chunked"),
        "huge chunk size": post(chunked(GOOD, b"f" * 5_000), "Transfer-Encoding: chunked"),
        "chunk that is too long for its size": post(chunked(GOOD, b"5"), "Transfer-Encoding: chunked"),
        "length that is none": post(GOOD, "Content-Length: x"),
        "negative length": post(GOOD, "Content-Length: -1"),
        "two lengths": post(GOOD, "Content-Length: 1", f"Content-Length: {len(GOOD)}"),
        "length of 5,000 digits": post(GOOD, f"Content-Length: {'9' * 5_000}"),
        "length that is too small": post(GOOD, length=10),
        "length that is too large": post(GOOD, length=len(GOOD) + 10),
        "no body": post(b""),
        "body just too large": post(GOOD.ljust(16 * 1024 + 1)),
        "chunks just too large": post(chunked(GOOD.ljust(16 * 1024 + 1)), "Transfer-Encoding: chunked"),
        "gzip": post(gzip.compress(GOOD), "Content-Encoding: gzip"),
        "UTF-16": post(GOOD.decode().encode("utf-16")),
        "byte order mark": post(b"\xef\xbb\xbf" + GOOD),
        "depth 5,000": post(b'{"a":' + b"[" * 5_000 + b"]" * 5_000 + b"}"),
        "lone surrogate": post(GOOD[:-1] + b',"updates":{"title":"\\ud800"}}'),
        "2^64": post(delivery(object_id=2**64)),
        "NaN": post(GOOD[:-1] + b',"x":NaN}'),
        "5,000 digits": post(GOOD[:-1] + b',"x":' + b"9" * 5_000 + b"}"),
        "duplicate key": post(GOOD[:-1] + b',"owner_id":1}'),
        "wrong types": post(delivery(object_id="1", owner_id=True, updates=[])),
        "a list": post(b"[" + GOOD + b"]"),
        "form": post(b"object_type=activity", "Content-Type: application/x-www-form-urlencoded"),
        "multipart without an end": post(b"--x\r\n", "Content-Type: multipart/form-data; boundary=x"),
        "no signature": signature(""),
        "signature that is no ASCII": signature("t=1,v1=\xe9\xff"),
        "signature of 15 KB": signature("t=1,v1=" + "0" * 15_000),
        "two signatures": post(GOOD, f"X-Strava-Signature: t={now},v1={'0' * 64}"),
        "five minutes and more ago": stamped(str(now - 400)),
        "an hour ahead": stamped(str(now + 3_600)),
        **{
            f"timestamp {text}": stamped(text)
            for text in ("nan", "1e9", f"+{now}", f" {now}", f"{now}.0", "1_7", "9" * 20)
        },
    }


# What is refused before the app sees it, and how.
BEFORE_THE_APP = {
    "unknown transfer encoding": 400,
    "negative chunk size": 400,
    "negative length": 400,
    "two lengths": 400,
    "length of 5,000 digits": 400,
}


def answers(port: int, request: bytes) -> list[bytes]:
    """The first lines of all answers to what is sent on one connection, until either side has enough."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS) as connection:
        try:
            connection.sendall(request)
            connection.shutdown(socket.SHUT_WR)
            while chunk := connection.recv(65536):
                received += chunk
        except TimeoutError:
            raise
        except OSError:
            pass  # the bridge had enough, which is its right
    assert b"\nserver:" not in received.lower()
    assert b"waitress" not in received.lower()
    return [line for line in received.split(b"\r\n") if line.startswith(b"HTTP/1.")]


def stored(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(webhook_events)).scalar_one()


def test_no_hostile_request_is_a_fault_of_ours_or_is_stored(bridge: Bridge, engine: Engine) -> None:
    process, port = bridge
    for name, request in hostile().items():
        for line in answers(port, request):
            assert line.split(b" ")[1][:1] == b"4", f"{name}: {line!r}"
        assert stored(engine) == 0, name
    # The same event again and again is one, and the bridge is as well as before.
    replayed = post(GOOD)
    for _ in range(3):
        assert answers(port, replayed) == [b"HTTP/1.1 200 OK"]
    assert stored(engine) == 1
    assert process.poll() is None


def test_what_is_no_request_is_refused_by_the_server_itself(bridge: Bridge) -> None:
    _, port = bridge
    for name, status in BEFORE_THE_APP.items():
        assert [int(line.split(b" ")[1]) for line in answers(port, hostile()[name])][:1] == [status], name


@pytest.mark.parametrize("framing", ["length", "chunks"])
def test_ten_megabytes_are_refused_and_take_no_memory(bridge: Bridge, engine: Engine, framing: str) -> None:
    process, port = bridge
    body = b" " * (10 * MEGABYTE)
    request = post(body) if framing == "length" else post(chunked(body), "Transfer-Encoding: chunked")
    answers(port, post(GOOD.ljust(16 * 1024 + 1)))
    memory = psutil.Process(process.pid).memory_info
    before = memory().rss
    for _ in range(3):
        assert {line.split(b" ")[1] for line in answers(port, request)} <= {b"413"}
    assert memory().rss - before < 5 * MEGABYTE
    assert stored(engine) == 0


@pytest.fixture
def client(settings: Settings, engine: Engine, rider: None) -> FlaskClient:
    return create_app(settings, engine).test_client()


anywhere = st.sampled_from(["", "/", "/x", "/%00", "//", "/..", "/é", "?hub.mode=subscribe", "?a=%ff"])


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.binary(max_size=400), st.sampled_from(["GET", "POST", "PUT", "HEAD", "BREW"]), anywhere, st.booleans())
def test_any_bytes_are_taken_or_refused_and_never_a_fault(
    client: FlaskClient, body: bytes, method: str, rest: str, is_signed: bool
) -> None:
    answer = client.open(PATH + rest, method=method, data=body, headers=signed(body) if is_signed else {})
    assert 200 <= answer.status_code < 500


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.data())
def test_any_flipped_bit_of_a_signed_delivery_is_refused(
    client: FlaskClient, engine: Engine, data: st.DataObject
) -> None:
    headers = signed(GOOD)
    sent = bytearray(GOOD + headers["X-Strava-Signature"].encode())
    # Seven of eight: the header has to stay ASCII to be sent at all.
    bit = data.draw(st.integers(0, len(sent) * 7 - 1))
    sent[bit // 7] ^= 1 << bit % 7
    header = sent[len(GOOD) :].decode("latin-1")
    if "\r" in header or "\n" in header:
        return
    answer = client.post(PATH, data=bytes(sent[: len(GOOD)]), headers={"X-Strava-Signature": header})
    assert answer.status_code in {401, 429}
    assert stored(engine) == 0
