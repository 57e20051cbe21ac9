"""Whoever listens for news of the inbox goes on listening, whatever happens to the connection."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import Engine, create_engine, text

from strava_pipeline_tests.e2e.live_path import wait_for
from webhook_bridge import inbox_listener
from webhook_bridge.inbox_listener import InboxListener

PATIENCE_SECONDS = 30


def test_a_listener_whose_connection_breaks_listens_again(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox_listener, "PAUSE_SECONDS", 0.01)
    woken = threading.Event()
    listener = InboxListener(engine, woken.set)
    listener.start()
    assert woken.wait(PATIENCE_SECONDS)
    woken.clear()
    with engine.connect() as connection:
        connection.execute(
            text(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND query LIKE 'LISTEN%' AND pid <> pg_backend_pid()"
            )
        )
    assert woken.wait(PATIENCE_SECONDS)
    listener.stop()


def test_a_listener_that_finds_no_free_connection_listens_once_there_is_one(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inbox_listener, "PAUSE_SECONDS", 0.01)
    narrow = create_engine(engine.url, pool_size=1, max_overflow=0, pool_timeout=0.01)
    woken = threading.Event()
    listener = InboxListener(narrow, woken.set)
    with narrow.connect():
        listener.start()
        wait_for(lambda: "not listening" in caplog.text, "a listener without a connection")
    assert woken.wait(PATIENCE_SECONDS)
    listener.stop()
    narrow.dispose()
