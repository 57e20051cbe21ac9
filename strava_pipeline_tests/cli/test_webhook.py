"""``webhook simulate`` delivers what the bridge takes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest
from click.testing import CliRunner
from sqlalchemy import Engine, select
from werkzeug.serving import make_server

from strava_pipeline.cli import cli
from strava_pipeline.cli.webhook import DeliveryFailed
from strava_pipeline.local.supervisor import free_port
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.ops_tables import users, webhook_events
from webhook_bridge.app import create_app


@pytest.fixture
def serve(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[dict[str, str]], None]]:
    """Serves a bridge whose settings are changed as told; athlete 5 is connected."""
    assert settings.client_id
    with engine.begin() as connection:
        connection.execute(users.insert().values(athlete_id=5, scopes=[], state="active", generation=1))
    servers = []

    def start(changes: dict[str, str]) -> None:
        for name, value in changes.items():
            monkeypatch.setenv(name, value)
        server = make_server("127.0.0.1", 0, create_app(load_settings(), engine))
        monkeypatch.setenv("STRAVA_BRIDGE_PORT", str(server.port))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def simulate(*more: str) -> str:
    arguments = ["webhook", "simulate", "--athlete", "5", "--activity", "77", *more]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize(
    "changes",
    [{}, {"STRAVA_WEBHOOK_SIGNATURE": "off", "STRAVA_WEBHOOK_PATH_TOKEN": "hidden/path".replace("/", "")}],
    ids=["signed", "unsigned behind a path token"],
)
def test_delivery_is_stored(serve: Callable[[dict[str, str]], None], engine: Engine, changes: dict[str, str]) -> None:
    serve(changes)
    assert simulate("--aspect", "update", "--title", "New ünï") == '{"status": "new"}\n'
    with engine.connect() as connection:
        stored = connection.execute(select(webhook_events)).one()
    assert (stored.object_id, stored.owner_id, stored.aspect_type) == (77, 5, "update")
    assert stored.updates == {"title": "New ünï"}


def test_refusal_and_absence_of_the_bridge_are_told_in_one_line(
    serve: Callable[[dict[str, str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve({})
    monkeypatch.setenv("STRAVA_WEBHOOK_SIGNING_SECRETS", "another")
    with pytest.raises(DeliveryFailed, match="answered 401"):
        simulate()
    monkeypatch.setenv("STRAVA_BRIDGE_PORT", str(free_port()))
    with pytest.raises(DeliveryFailed, match="cannot be reached"):
        simulate()
