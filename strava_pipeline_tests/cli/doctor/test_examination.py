"""Checks run side by side within their time limits; one that hangs or breaks hides no other."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator

import pytest

from strava_pipeline.cli.doctor.examination import Examined, examine
from strava_pipeline.cli.doctor.findings import Check, Finding, Verdict, fail, ok, warn
from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.settings import Settings, load_settings

PATIENCE_SECONDS = 100.0


def well(_: Settings) -> Iterator[Finding]:
    yield ok("all is well")


def all_of(*checks: Check) -> dict[str, Examined]:
    return {examined.check.name: examined for examined in examine(checks, load_settings())}


def test_a_check_that_hangs_is_given_up_and_the_others_are_told() -> None:
    ending = threading.Event()

    def hang(_: Settings) -> Iterator[Finding]:
        ending.wait(PATIENCE_SECONDS)
        yield ok("too late")

    began = time.monotonic()
    found = all_of(*(Check(f"hangs {n}", hang, "wake it up", limit_s=0.05) for n in range(9)), Check("well", well))
    assert time.monotonic() - began < PATIENCE_SECONDS / 2
    ending.set()
    assert found["hangs 0"].findings == [fail("no result within 0.05 s", "wake it up")]
    assert found["hangs 8"].has_failed
    assert found["well"].findings == [ok("all is well")]


def test_checks_run_side_by_side() -> None:
    meeting = threading.Barrier(5, timeout=PATIENCE_SECONDS)

    def meet(_: Settings) -> Iterator[Finding]:
        meeting.wait()
        yield ok("met")

    found = all_of(*(Check(f"{n}", meet, limit_s=PATIENCE_SECONDS) for n in range(5)))
    assert all(examined.is_well for examined in found.values())


def test_a_broken_check_fails_with_its_errors_class_and_keeps_what_it_found(caplog: pytest.LogCaptureFixture) -> None:
    def break_down(_: Settings) -> Iterator[Finding]:
        yield warn("first")
        raise ZeroDivisionError("with a client-canary")

    # Dagster sets the level of our loggers in whatever process executes a run.
    caplog.set_level(logging.DEBUG, logger="strava_pipeline")
    found = all_of(Check("breaks", break_down), Check("well", well))
    assert found["breaks"].findings == [
        warn("first"),
        fail("this check ended with ZeroDivisionError", "STRAVA_LOG_LEVEL=DEBUG logs where"),
    ]
    assert found["well"].is_well
    assert "check breaks ended with an error" in caplog.text


def test_an_error_of_ours_is_told_with_what_to_do() -> None:
    def away(_: Settings) -> Iterator[Finding]:
        raise WarehouseError("the database is away")
        yield

    def unset(_: Settings) -> Iterator[Finding]:
        raise ConfigurationError("STRAVA_X is not set: set it")
        yield

    found = all_of(Check("away", away, "start it"), Check("unset", unset, "start it"))
    assert found["away"].findings == [fail("the database is away", "start it")]
    assert found["unset"].findings == [fail("STRAVA_X is not set: set it")]


def test_what_needs_another_check_is_made_only_if_that_is_well() -> None:
    def ailing(_: Settings) -> Iterator[Finding]:
        yield warn("there are no tables yet")

    found = all_of(
        Check("one", well),
        Check("two", ailing, needs="one"),
        Check("three", well, needs="two"),
        Check("four", well, needs="three"),
        Check("five", well, needs="one"),
    )
    assert found["two"].findings[0].verdict is Verdict.WARN
    assert found["three"].findings == [warn("not checked: see two above")]
    assert found["four"].findings == [warn("not checked: see three above")]
    assert found["five"].is_well
    assert list(found) == ["one", "two", "three", "four", "five"]
