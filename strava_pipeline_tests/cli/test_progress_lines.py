"""A long command is never silent for long."""

from __future__ import annotations

import re
import threading

import pytest

from strava_pipeline.cli.progress_lines import ProgressLines
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

SHORT_SECONDS = 0.01


def test_each_line_has_the_seconds_since_the_start(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLines() as lines:
        lines.say("Postgres starts", lambda: "waiting")
    assert re.fullmatch(r"\[ +[0-9]+\.[0-9] s\] Postgres starts\n", capsys.readouterr().out)


def test_a_command_that_says_nothing_tells_what_is_under_way(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = threading.Semaphore(0)

    def meanwhile() -> str:
        asked.release()
        return "waiting for Postgres"

    with ProgressLines(SHORT_SECONDS) as lines:
        lines.say("Postgres starts", meanwhile)
        for _ in range(3):
            assert asked.acquire(timeout=PATIENCE_SECONDS)
    assert capsys.readouterr().out.count("waiting for Postgres") >= 2


def test_what_was_under_way_before_is_not_asked_any_more() -> None:
    is_over, asked = False, threading.Event()

    def first() -> str:
        assert not is_over
        return "first"

    def second() -> str:
        asked.set()
        return "second"

    with ProgressLines(SHORT_SECONDS) as lines:
        lines.say("one", first)
        lines.say("two", second)
        is_over = True
        assert asked.wait(PATIENCE_SECONDS)


def untold(asked: threading.Event, error: Exception | None = None) -> None:
    """A command of whose progress nobody can tell; it ends afterwards, with ``error`` if there is one."""

    def meanwhile() -> str:
        asked.set()
        raise ValueError("nobody can tell")

    with ProgressLines(SHORT_SECONDS) as lines:
        lines.say("one", meanwhile)
        assert asked.wait(PATIENCE_SECONDS)
        if error is not None:
            raise error


def test_what_cannot_be_told_is_raised_at_the_end() -> None:
    with pytest.raises(ValueError, match="nobody can tell"):
        untold(threading.Event())


def test_the_failure_of_the_command_itself_counts_more() -> None:
    with pytest.raises(KeyError):
        untold(threading.Event(), KeyError("the command's own"))


@pytest.mark.parametrize("text", ["a line\nforged", "\x1b[31mred"])
def test_texts_of_others_stay_in_their_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressLines() as lines:
        lines.say(text, lambda: "waiting")
    [line] = capsys.readouterr().out.splitlines()
    assert line.isprintable()
