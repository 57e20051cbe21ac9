"""The import of a backfill: asked for and held by the command, paused by Ctrl-C, left to others by anything else."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from datetime import date

import pytest
from sqlalchemy import Engine

from strava_pipeline.cli import held_import
from strava_pipeline.cli.held_import import HeldImport, ask_for_import
from strava_pipeline.errors import RetriableStravaError
from strava_pipeline.names import Asset
from strava_pipeline.sync.stopping import stop_wanted
from strava_pipeline.warehouse.imports.wishes import pause
from strava_pipeline.warehouse.states import ImportStep, PausedBy
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.inbox import LONG_AGO, connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.wishes import FLOOR, change, launch, wish

MAY, JUNE = date(2025, 5, 1), date(2025, 6, 1)
ASSETS = (Asset.ATHLETES, Asset.ACTIVITIES, Asset.DETAILS)


@pytest.fixture(autouse=True)
def rider(engine: Engine) -> None:
    connect_riders(engine, RIDER)


@pytest.fixture(autouse=True)
def not_stopped() -> Iterator[None]:
    yield
    stop_wanted.clear()


def ask(engine: Engine) -> HeldImport:
    return ask_for_import(engine, RIDER, (MAY, JUNE), ASSETS, FLOOR)


def test_a_backfill_asks_for_its_months_and_assets_and_holds_them(engine: Engine) -> None:
    held = ask(engine)
    asked = wish(engine, held.import_id)
    assert (asked.first_month, asked.last_month, asked.made_by) == (MAY, JUNE, "command")
    assert (asked.steps, asked.profile) == ((ImportStep.SUMMARY, ImportStep.DETAIL), True)
    seen = []
    held.work(lambda: seen.append(wish(engine, held.import_id).state))
    assert seen == ["running"]
    assert launch(engine) is not None


def test_nobody_else_launches_what_is_held(engine: Engine) -> None:
    held = ask(engine)
    held.work(lambda: None if launch(engine) is None else pytest.fail("it was launched"))


def test_a_backfill_that_fails_leaves_its_import_due(engine: Engine) -> None:
    held = ask(engine)

    def fail() -> None:
        raise RetriableStravaError("no answer for a day")

    with pytest.raises(RetriableStravaError):
        held.work(fail)
    left = wish(engine, held.import_id)
    assert (left.state, left.attempts, left.error, left.paused_at) == ("due", 1, "no answer for a day", None)


def test_ctrl_c_pauses_and_the_same_command_goes_on(engine: Engine) -> None:
    held = ask(engine)
    held.work(stop_wanted.set)
    told = held.stop(signal.SIGINT)
    assert told == (f"the import is paused: run the same command, or strava-pipeline import resume {RIDER}, to go on")
    assert wish(engine, held.import_id).paused_by == "command"
    assert launch(engine) is None
    stop_wanted.clear()
    again = ask(engine)
    assert again.import_id == held.import_id
    assert wish(engine, held.import_id).paused_at is None
    again.work(lambda: None)


def test_a_pause_from_elsewhere_ends_the_command_as_ctrl_c_does(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(held_import, "BEAT_SECONDS", 0.01)
    monkeypatch.setattr(held_import, "interrupt", stop_wanted.set)
    held = ask(engine)

    def work() -> None:
        with engine.begin() as connection:
            pause(connection, RIDER, PausedBy.OPERATOR)
        assert stop_wanted.wait(PATIENCE_SECONDS)

    held.work(work)
    assert f"import resume {RIDER}" in held.stop(signal.SIGINT)
    left = wish(engine, held.import_id)
    assert (left.state, left.paused_by, left.attempts) == ("due", "operator", 0)


def test_the_end_of_the_machine_pauses_nothing(engine: Engine) -> None:
    held = ask(engine)
    held.work(stop_wanted.set)
    assert "goes on by itself" in held.stop(signal.SIGTERM)
    left = wish(engine, held.import_id)
    assert (left.state, left.paused_at, left.attempts) == ("due", None, 0)
    assert launch(engine) is not None


def test_a_second_backfill_waits_for_the_first(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(held_import, "LOOK_EVERY_SECONDS", 0.01)
    order: list[str] = []
    first, second = ask(engine), ask(engine)
    both = threading.Thread(target=second.work, args=(lambda: order.append("second"),))
    began = threading.Event()

    def work() -> None:
        both.start()
        began.wait(0.2)
        order.append("first")

    first.work(work)
    both.join()
    assert order == ["first", "second"]
    assert "another run is at work on this import: waiting for it" in capsys.readouterr().err


def test_a_backfill_goes_on_after_a_killed_one(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(held_import, "LOOK_EVERY_SECONDS", 0.01)
    killed = ask(engine)
    change(engine, killed.import_id, lease_until=LONG_AGO)
    done = []
    ask(engine).work(lambda: done.append(True))
    assert done == [True]


def test_a_backfill_that_waits_can_be_stopped(engine: Engine) -> None:
    first, second = ask(engine), ask(engine)
    stop_wanted.set()
    second.work(lambda: pytest.fail("it began"))
    assert "paused" in second.stop(signal.SIGINT)
    stop_wanted.clear()
    assert wish(engine, first.import_id).paused_by == "command"
