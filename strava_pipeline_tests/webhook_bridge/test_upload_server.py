"""Uploads to a bridge as it is served: one that dies in between, strangers, and deliveries beside them."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import Engine, select

from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.access.operator_sessions import open_session
from strava_pipeline.warehouse.archives.imports import list_imports
from strava_pipeline.warehouse.schema.upload_tables import uploads
from strava_pipeline.warehouse.upload_files import fetched
from strava_pipeline.web.operator_door import cookie_name, session_proof
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.patient_bridge import PATIENT_BRIDGE
from strava_pipeline_tests.webhook_bridge.deliveries import PATH, delivery, signed
from strava_pipeline_tests.webhook_bridge.uploads import Uploader, archive, json_of
from webhook_bridge.upload_tickets import PART_BYTES, PARTS_PATH

ADA = 11
PAGE = f"/athletes/{ADA}/archive"
CONTENT = archive(ADA, 3 * PART_BYTES)
STRAVAS_PATIENCE_SECONDS = 2
DELIVERIES = 10


@contextmanager
def served() -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A bridge and its port; the block may have killed it."""
    with subprocess.Popen(
        PATIENT_BRIDGE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=os.environ
    ) as process:
        assert process.stdout is not None
        told = process.stdout.readline()
        assert told.startswith("bridge listening on "), told
        try:
            yield process, int(told.rsplit(":", 1)[1])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_SECONDS)


class Client:
    """The operator's browser, at a bridge's port."""

    def __init__(self, engine: Engine, settings: Settings, port: int) -> None:
        with engine.begin() as connection:
            secret = open_session(connection, session_proof(settings))
        self.cookies = {cookie_name(settings): secret}
        self.port = port

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | dict[str, str]) -> tuple[int, Any]:
        status, text = self.text(method, path, headers, body)
        return status, json_of(text)

    def text(
        self, method: str, path: str, headers: Mapping[str, str] = {}, body: bytes | dict[str, str] = b""
    ) -> tuple[int, str]:
        told = {"Origin": f"http://127.0.0.1:{self.port}", **headers}
        told["Cookie"] = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        if isinstance(body, dict):
            told["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(body).encode()
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)) as connection:
            connection.request(method, path, body=body, headers=told)
            answer = connection.getresponse()
            for cookie in answer.headers.get_all("Set-Cookie") or []:
                name, _, value = cookie.partition(";")[0].partition("=")
                self.cookies[name] = value
            return answer.status, answer.read().decode()

    def uploader(self) -> Uploader:
        csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', self.text("GET", PAGE)[1])
        assert csrf is not None
        return Uploader(self.send, PAGE, csrf[1], CONTENT)


@pytest.mark.usefixtures("rider")
def test_an_upload_goes_on_after_the_bridge_was_killed_between_two_parts(settings: Settings, engine: Engine) -> None:
    with served() as (process, port):
        client = Client(engine, settings, port)
        upload = client.uploader()
        upload.begin()
        upload.put()
        process.kill()
        process.wait(PATIENCE_SECONDS)
    with served() as (_, port):
        client.port = port
        # The page was not loaded again, and its ticket is still good.
        assert upload.put_in_time() == HTTPStatus.OK
        again = client.uploader()
        status, told = again.begin()
        assert (status, told["offset"]) == (200, 2 * PART_BYTES)
        again.put_rest()
        assert again.finish()[0] == 200
    with engine.connect() as connection:
        (waiting,) = list_imports(connection, ADA)
    assert waiting.place is not None
    with fetched(waiting.place) as path:
        assert path.read_bytes() == CONTENT


def test_a_part_that_its_sender_does_not_finish_changes_nothing(
    bridge: tuple[subprocess.Popen[str], int], settings: Settings, engine: Engine
) -> None:
    _, port = bridge
    upload = Client(engine, settings, port).uploader()
    upload.begin()
    assert upload.standing is not None
    with half_a_part(upload, port):
        pass
    # It waits at most until the server has noticed.
    assert upload.put_in_time() == HTTPStatus.OK
    with engine.connect() as connection:
        assert connection.execute(select(uploads.c.received_bytes)).scalar_one() == PART_BYTES


def test_a_strangers_body_is_not_read(bridge: tuple[subprocess.Popen[str], int]) -> None:
    _, port = bridge
    for extra in ("", "Upload-Ticket: 1.0..9999999999.made-up\r\n", "Expect: 100-continue\r\n"):
        head = f"PUT {PARTS_PATH}/1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {PART_BYTES}\r\n{extra}\r\n"
        with closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)) as connection:
            connection.sendall(head.encode())
            answer = b""
            with suppress(ConnectionResetError):
                while received := connection.recv(65536):
                    answer += received
            assert answer.startswith(b"HTTP/1.1 403 Forbidden\r\n")


def test_deliveries_are_answered_in_time_beside_uploads(
    bridge: tuple[subprocess.Popen[str], int], settings: Settings, engine: Engine
) -> None:
    _, port = bridge
    upload = Client(engine, settings, port).uploader()
    upload.begin()
    with half_a_part(upload, port):
        # Whatever the machine does besides: an answer that waits for the part does not come.
        for number in range(DELIVERIES):
            deliver(port, number + 1)
    assert upload.put_in_time() == HTTPStatus.OK
    thread = threading.Thread(target=upload.put_rest)
    thread.start()
    seconds = [deliver(port, number + 1) for number in range(DELIVERIES, 2 * DELIVERIES)]
    thread.join(PATIENCE_SECONDS)
    assert not thread.is_alive()
    # A busy machine may be late, but not each time.
    assert min(seconds) < STRAVAS_PATIENCE_SECONDS
    assert upload.finish()[0] == 200


@contextmanager
def half_a_part(upload: Uploader, port: int) -> Iterator[None]:
    """During the block the beginning of a part is there, and its rest does not come."""
    assert upload.standing is not None
    head = f"PUT {upload.standing['parts']} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {PART_BYTES}\r\n"
    with closing(socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)) as connection:
        connection.sendall(f"{head}Upload-Ticket: {upload.standing['ticket']}\r\n\r\n".encode() + b"x" * 100_000)
        yield


def deliver(port: int, number: int) -> float:
    """Deliver a new event; returns how many seconds its answer took."""
    body, began = delivery(object_id=number), time.monotonic()
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS)) as connection:
        connection.request("POST", PATH, body=body, headers=signed(body))
        assert json.loads(connection.getresponse().read()) == {"status": "new"}
    return time.monotonic() - began
