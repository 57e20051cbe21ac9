"""``webhook simulate`` delivers what the bridge takes; ``subscribe`` has Strava do so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from click.testing import CliRunner
from flask import Flask
from sqlalchemy import Engine, select

from strava_pipeline.cli import cli
from strava_pipeline.cli.callback import CallbackUnreachable
from strava_pipeline.cli.simulated_delivery import DeliveryFailed
from strava_pipeline.errors import ClientRefused, ConfigurationError
from strava_pipeline.mock_strava.app import create_mock
from strava_pipeline.mock_strava.config import MockConfig
from strava_pipeline.mock_strava.state import EXTENSION
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline.warehouse.schema.quota_tables import api_calls, quota_windows
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.served_apps import served
from strava_pipeline_tests.strava.loopback import Loopback, reply
from webhook_bridge.app import create_app

HIDDEN = {"STRAVA_WEBHOOK_SIGNATURE": "off", "STRAVA_WEBHOOK_PATH_TOKEN": "canary/path"}


@pytest.fixture
def serve(
    settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[dict[str, str]], None]]:
    """Serves a bridge whose settings are changed as told; athlete 5 is connected."""
    assert settings.client_id
    with engine.begin() as connection:
        connection.execute(users.insert().values(athlete_id=5, scopes=[], state="active", generation=1))
    with ExitStack() as servers:

        def start(changes: dict[str, str]) -> None:
            for name, value in changes.items():
                monkeypatch.setenv(name, value)
            port = servers.enter_context(served(create_app(load_settings(), engine)))
            monkeypatch.setenv("STRAVA_BRIDGE_PORT", str(port))
            monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", f"http://127.0.0.1:{port}")

        yield start


def simulate(*more: str) -> str:
    arguments = ["webhook", "simulate", "--athlete", "5", "--activity", "77", *more]
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    return done.output


@pytest.mark.parametrize(
    "changes",
    [{}, {"STRAVA_WEBHOOK_SIGNATURE": "off", "STRAVA_WEBHOOK_PATH_TOKEN": "hidden//path+="}],
    ids=["signed", "unsigned behind a path token"],
)
def test_delivery_is_stored(serve: Callable[[dict[str, str]], None], engine: Engine, changes: dict[str, str]) -> None:
    serve(changes)
    assert simulate("--aspect", "update", "--title", "New ünï") == '{"status": "new"}\n'
    with engine.connect() as connection:
        stored = connection.execute(select(webhook_events)).one()
    assert (stored.object_id, stored.owner_id, stored.aspect_type) == (77, 5, "update")
    assert stored.updates == {"title": "New ünï"}


@pytest.mark.parametrize(
    ("given", "aspect", "updates"),
    [
        ([], "create", {}),
        (["--aspect", "delete"], "delete", {}),
        (["--aspect", "update"], "update", {}),
        (["--private"], "update", {"private": "true"}),
        (["--not-private", "--title", "Out"], "update", {"private": "false", "title": "Out"}),
        (["--title", ""], "update", {"title": ""}),
    ],
    ids=["nothing", "delete", "update", "private", "visible again, renamed", "no title"],
)
def test_an_event_says_what_changed_as_strava_does(
    serve: Callable[[dict[str, str]], None], engine: Engine, given: list[str], aspect: str, updates: dict[str, str]
) -> None:
    serve({})
    simulate(*given)
    with engine.connect() as connection:
        stored = connection.execute(select(webhook_events)).one()
    assert (stored.object_type, stored.aspect_type, stored.updates) == ("activity", aspect, updates)


def test_a_deauthorization_is_about_the_athlete(serve: Callable[[dict[str, str]], None], engine: Engine) -> None:
    serve({})
    done = CliRunner().invoke(cli, ["webhook", "simulate", "--athlete", "5", "--deauthorize"], catch_exceptions=False)
    assert (done.exit_code, done.output) == (0, '{"status": "new"}\n')
    with engine.connect() as connection:
        stored = connection.execute(select(webhook_events)).one()
    assert (stored.object_type, stored.object_id, stored.owner_id) == ("athlete", 5, 5)
    assert (stored.aspect_type, stored.updates, stored.signed) == ("update", {"authorized": "false"}, True)


def test_an_event_can_take_stravas_way(
    serve: Callable[[dict[str, str]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(HIDDEN)
    monkeypatch.setenv("STRAVA_BRIDGE_PORT", str(free_port()))
    assert simulate("--public-url") == '{"status": "new"}\n'


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([], "give --activity ID or --deauthorize"),
        (["--deauthorize", "--activity", "77"], "--deauthorize is about the athlete"),
        (["--deauthorize", "--private"], "--deauthorize is about the athlete"),
        (["--activity", "77", "--aspect", "delete", "--title", "x"], "a delete changes nothing"),
        (["--activity", "77", "--public-url", "--url", "http://127.0.0.1:9"], "not both"),
    ],
    ids=["nothing", "both", "a change of an athlete", "a change of what is gone", "two callbacks"],
)
def test_an_event_that_strava_would_not_send_is_refused(given: list[str], told: str) -> None:
    done = CliRunner().invoke(cli, ["webhook", "simulate", "--athlete", "5", *given])
    assert done.exit_code == 2
    assert told in done.output


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


def test_a_signed_event_is_sent_to_the_given_address_alone(settings: Settings) -> None:
    with Loopback() as callback, Loopback() as elsewhere:
        callback.answers(reply({}, 307, Location=f"{elsewhere.url}/webhooks/strava"))
        with pytest.raises(DeliveryFailed, match="answered 307"):
            simulate("--url", f"{callback.url}/webhooks/strava")
        assert (len(callback.asked), elsewhere.asked) == (1, [])


@pytest.fixture
def strava(monkeypatch: pytest.MonkeyPatch) -> Iterator[Flask]:
    """A mock Strava for the app of the settings."""
    mock = create_mock(MockConfig(client_id="4711", client_secret="client-secret", subscription_id=9))
    with served(mock) as port:
        monkeypatch.setenv("STRAVA_API_URL", f"http://127.0.0.1:{port}/api/v3")
        yield mock
    mock.extensions[EXTENSION].deliveries.stop()


def webhook(command: str) -> str:
    done = CliRunner().invoke(cli, ["webhook", command], catch_exceptions=False)
    assert done.exit_code == 0
    for secret in ("canary", "client-secret", "verify-token"):
        assert secret not in done.output
    return done.output


def callback_at(strava: Flask) -> str:
    subscription = strava.extensions[EXTENSION].subscription
    return "" if subscription is None else str(subscription["callback_url"])


def test_subscribing_tells_the_id_once_and_ends_by_unsubscribing(
    serve: Callable[[dict[str, str]], None], strava: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve(HIDDEN)
    assert "none" in webhook("status")
    told = webhook("subscribe")
    assert "subscription 9: Strava delivers to http://127.0.0.1" in told
    assert "STRAVA_WEBHOOK_SUBSCRIPTION_ID=9\n" in told
    assert callback_at(strava).endswith("/webhooks/strava/canary%2Fpath")
    assert "is not set" in webhook("status")
    monkeypatch.setenv("STRAVA_WEBHOOK_SUBSCRIPTION_ID", "9")
    assert webhook("subscribe") == "subscription 9 exists already, with this callback\n"
    assert "is the same\nhandshake     answered\n" in webhook("status")
    assert webhook("unsubscribe") == "ended subscription 9: Strava delivers no more events\n"
    assert callback_at(strava) == ""
    assert webhook("unsubscribe") == "there is no subscription\n"


def test_each_call_about_the_subscription_is_booked_for_the_app_in_both_windows(
    serve: Callable[[dict[str, str]], None], strava: Flask, engine: Engine
) -> None:
    serve({})
    for command in ("subscribe", "status", "unsubscribe"):
        webhook(command)
    with engine.connect() as connection:
        calls = connection.execute(select(api_calls).order_by(api_calls.c.id)).all()
        windows = connection.execute(select(quota_windows.c.length_s, quota_windows.c.scope, quota_windows.c.booked))
        booked = Counter[tuple[int, str]]()
        for window in windows:
            booked[window.length_s, window.scope] += window.booked
    listed, one = "/push_subscriptions", "/push_subscriptions/{id}"
    assert [(call.endpoint, call.status) for call in calls] == [
        (listed, 200), (listed, 201), (listed, 200), (listed, 200), (one, 204),
    ]  # fmt: skip
    assert {(call.lane, call.athlete_id) for call in calls} == {("live", None)}
    assert all(call.settled_at is not None for call in calls)
    assert strava.extensions[EXTENSION].calls.body()["totals"]["calls"] == len(calls)
    assert set(booked) == {(900, "app"), (86_400, "app")}
    # More than that where the edge of a window is so near that a call may count on either side.
    assert min(booked.values()) >= len(calls)


def test_another_callback_is_left_alone(
    serve: Callable[[dict[str, str]], None], strava: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve({})
    webhook("subscribe")
    before = callback_at(strava)
    serve(HIDDEN)
    with pytest.raises(ConfigurationError, match=r"has subscription 9 to http://.*/webhooks/strava, another.*unsubscr"):
        webhook("subscribe")
    assert callback_at(strava) == before
    assert "this bridge has another one" in webhook("status")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"STRAVA_WEBHOOK_VERIFY_TOKEN": "canary-other"}, "answers 403"),
        ({"STRAVA_WEBHOOK_PATH_TOKEN": "canary-other"}, "answers 404"),
        ({"STRAVA_BRIDGE_PUBLIC_URL": "http://127.0.0.1:9"}, "cannot be reached"),
    ],
)
def test_a_callback_that_does_not_answer_is_told_before_strava_is_asked(
    serve: Callable[[dict[str, str]], None],
    strava: Flask,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, str],
    told: str,
) -> None:
    serve(HIDDEN)
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(CallbackUnreachable, match=told) as caught:
        webhook("subscribe")
    assert "canary" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert strava.extensions[EXTENSION].subscription is None
    assert told in webhook("status")


def test_what_strava_refuses_is_one_line(
    serve: Callable[[dict[str, str]], None], strava: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    serve({})
    monkeypatch.setenv("STRAVA_CLIENT_SECRET", "canary-secret")
    with pytest.raises(ClientRefused, match="refuses STRAVA_CLIENT_ID or STRAVA_CLIENT_SECRET"):
        webhook("subscribe")


def test_subscribing_needs_the_public_address(settings: Settings) -> None:
    with pytest.raises(ConfigurationError, match=r"^STRAVA_BRIDGE_PUBLIC_URL is not set"):
        webhook("subscribe")
