"""What a container's health check asks each part."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from click.testing import CliRunner, Result
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import add_HealthServicer_to_server

from strava_pipeline.cli import cli
from strava_pipeline.cli.health import GRPC_SERVICE, Unhealthy
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.strava.loopback import Loopback

PATHS = {"bridge": "/health/live", "webserver": "/health/ready"}


def health(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["health", *arguments])


def refusal(result: Result) -> str:
    assert isinstance(result.exception, Unhealthy)
    return str(result.exception)


@pytest.mark.parametrize("part", PATHS)
def test_a_part_that_answers_is_healthy(part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Which nothing here may be sent to.
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with Loopback() as server:
        monkeypatch.setenv("STRAVA_BRIDGE_PORT", str(server.port))
        monkeypatch.setenv("DAGSTER_WEBSERVER_URL", f"http://webserver:{server.port}")
        assert health(part).exit_code == 0
        assert [asked.path for asked in server.asked] == [PATHS[part]]


@pytest.mark.parametrize("part", PATHS)
def test_a_part_that_does_not_answer_is_not(part: str) -> None:
    port = free_port()
    assert f"does not answer at 127.0.0.1:{port}{PATHS[part]}" in refusal(health(part, "--port", str(port)))


@pytest.fixture
def code_server() -> Iterator[tuple[HealthServicer, int]]:
    """What Dagster's code servers have of this, and its port."""
    with ThreadPoolExecutor(2) as threads:
        server = grpc.server(threads)
        servicer = HealthServicer()
        add_HealthServicer_to_server(servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        yield servicer, port
        server.stop(None).wait()


def test_a_code_server_is_healthy_while_it_serves(code_server: tuple[HealthServicer, int]) -> None:
    servicer, port = code_server
    assert refusal(health("code-server", "--port", str(port))).endswith(": NOT_FOUND")
    servicer.set(GRPC_SERVICE, HealthCheckResponse.SERVING)
    assert health("code-server", "--port", str(port)).exit_code == 0
    servicer.set(GRPC_SERVICE, HealthCheckResponse.NOT_SERVING)
    assert refusal(health("code-server", "--port", str(port))) == f"the code server at 127.0.0.1:{port} does not serve"


def test_a_code_server_that_is_not_there_is_told() -> None:
    port = free_port()
    told = f"the code server does not answer at 127.0.0.1:{port}: UNAVAILABLE"
    assert refusal(health("code-server", "--port", str(port))) == told
