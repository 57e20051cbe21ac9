"""``strava-pipeline health``: whether a part of the installation works on this machine, for containers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.dagster_exec import become
from strava_pipeline.cli.dagster_webserver import LOOPBACK, dagster_port
from strava_pipeline.errors import StravaPipelineError

CODE_SERVER_PORT = 4000
GRPC_SECONDS = 5
# As Dagster's own client asks.
GRPC_SERVICE = "DagsterApi"


class Part(StrEnum):
    """A process of an installation that serves."""

    BRIDGE = "bridge"
    WEBSERVER = "webserver"
    DAEMON = "daemon"
    CODE_SERVER = "code-server"


class Unhealthy(StravaPipelineError):
    """A part of the installation does not work."""


@click.command()
@click.argument("part", type=click.Choice([part.value for part in Part]))
@click.option(
    "-p", "--port", type=click.IntRange(1, 65535),
    help=f"Port on 127.0.0.1; unset: the bridge's or the webserver's as set, {CODE_SERVER_PORT} for a code server.",
)  # fmt: skip
def health(part: str, port: int | None) -> None:
    """Exit 0 if PART works on this machine, else 1 with the reason in one line."""
    CHECKS[Part(part)](port)


def _check_bridge(port: int | None) -> None:
    _check_answer("the bridge", port or command_settings().bridge_port, "/health/live")


def _check_webserver(port: int | None) -> None:
    _check_answer("Dagster's webserver", port or dagster_port(command_settings()), "/health/ready")


def _check_answer(what: str, port: int, path: str) -> None:
    from strava_pipeline.local.supervisor import answers

    if not answers(f"http://{LOOPBACK}:{port}{path}"):
        raise Unhealthy(f"{what} does not answer at {LOOPBACK}:{port}{path}, or by an error")


def _check_code_server(port: int | None) -> None:
    # Dagster's own command for this takes two seconds of the processor to load.
    import grpc
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
    from grpc_health.v1.health_pb2_grpc import HealthStub

    address = f"{LOOPBACK}:{port or CODE_SERVER_PORT}"
    # A proxy knows nothing of this machine's loopback.
    with grpc.insecure_channel(address, options=(("grpc.enable_http_proxy", 0),)) as channel:
        try:
            answer = HealthStub(channel).Check(HealthCheckRequest(service=GRPC_SERVICE), timeout=GRPC_SECONDS)
        except grpc.RpcError as error:
            raise Unhealthy(f"the code server does not answer at {address}: {error.code().name}") from None
    if answer.status != HealthCheckResponse.SERVING:
        raise Unhealthy(f"the code server at {address} does not serve")


def _check_daemon(_: int | None) -> None:
    # By its heartbeats in Dagster's storage.
    become("dagster-daemon", "liveness-check")


CHECKS: Mapping[Part, Callable[[int | None], None]] = {
    Part.BRIDGE: _check_bridge,
    Part.WEBSERVER: _check_webserver,
    Part.DAEMON: _check_daemon,
    Part.CODE_SERVER: _check_code_server,
}
