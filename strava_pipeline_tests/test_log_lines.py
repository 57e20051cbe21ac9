"""A log line is one record, in JSON or text, with the ids of its work, and holds no secret, whatever is logged."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline.log_context import begin_log_ids, log_ids
from strava_pipeline.log_lines import (
    LONGEST_MESSAGE,
    LONGEST_TRACEBACK,
    JsonLines,
    LogFormatName,
    StderrLines,
    TextLines,
    line_format,
)
from strava_pipeline.redaction import MASK
from strava_pipeline.secret import Secret

FORMS = [JsonLines(), TextLines()]
IDS = {
    "request_id": "069ce760022d755b",
    "event_id": 12,
    "run_id": "ab12",
    "athlete_id": 3,
    "activity_id": 4,
    "fence": 5,
}


@pytest.fixture(autouse=True)
def without_ids() -> None:
    begin_log_ids()


def record(message: Any, *args: Any, **more: Any) -> logging.LogRecord:
    return logging.getLogRecordFactory()("their.module", logging.WARNING, __file__, 1, message, args, None, **more)


def failure(text: str) -> logging.LogRecord:
    try:
        raise ValueError(text)  # noqa: TRY301  a traceback is wanted
    except ValueError:
        found = record("failed")
        found.exc_info = sys.exc_info()
        return found


def line(what: logging.LogRecord) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(JsonLines().format(what))
    return found


def test_a_json_line_says_when_who_what_and_at_which_work() -> None:
    logged = record("%d rides of %s", 3, "Zoë")
    with log_ids(**IDS):  # type: ignore[arg-type]  # each has its type
        found = line(logged)
    assert datetime.fromisoformat(found.pop("time")) == datetime.fromtimestamp(logged.created, UTC).replace(
        microsecond=int(logged.created * 1000) % 1000 * 1000
    )
    assert found == {"level": "WARNING", "logger": "their.module", "message": "3 rides of Zoë"} | IDS


def test_a_text_line_names_the_ids_behind_its_message() -> None:
    with log_ids(**IDS):  # type: ignore[arg-type]  # each has its type
        found = TextLines().format(record("stored"))
    ids = "request=069ce760022d755b event=12 run=ab12 athlete=3 activity=4 fence=5"
    assert found.endswith(f" WARNING their.module: stored [{ids}]")
    assert TextLines().format(record("stored")).endswith(" WARNING their.module: stored")


def test_each_of_several_events_is_found_by_its_id() -> None:
    with log_ids(event_id=[12, 13]):
        assert '"event_id": [12, 13]' in JsonLines().format(record("stored"))
        assert TextLines().format(record("stored")).endswith("[event=12 event=13]")


def test_what_dagster_puts_before_a_message_becomes_fields() -> None:
    told = record("webhook_sync - ab12 - sync_object - stored")
    told.dagster_meta = {
        "orig_message": "stored", "run_id": "ab12", "job_name": "webhook_sync", "step_key": "sync_object",
        "dagster_event": None,
    }  # fmt: skip
    found = line(told)
    assert (found["message"], found["run_id"], found["job"], found["step"]) == (
        "stored", "ab12", "webhook_sync", "sync_object",
    )  # fmt: skip
    assert TextLines().format(told).endswith(": stored [run=ab12 step=sync_object]")


def test_an_exception_stands_in_its_line() -> None:
    found = line(failure("no such ride"))
    assert found["exception"].startswith("Traceback (most recent call last):\n")
    assert found["exception"].endswith("\nValueError: no such ride")
    text = TextLines().format(failure("no such ride\n2026-11-30 01:02:03,004 ERROR forged: line"))
    assert all(each.startswith("    ") for each in text.split("\n")[1:])


def test_a_line_is_never_longer_than_anybody_reads() -> None:
    assert len(line(record("x" * 10 * LONGEST_MESSAGE))["message"]) == LONGEST_MESSAGE
    exception = line(failure("x" * 10 * LONGEST_TRACEBACK))["exception"]
    assert len(exception) < 1.1 * LONGEST_TRACEBACK
    assert exception.startswith("Traceback")


def test_arguments_that_do_not_fit_are_no_reason_to_lose_the_message() -> None:
    assert line(record("%d rides", "three"))["message"] == "%d rides (its arguments do not fit)"
    assert "%d rides (its arguments do not fit)" in TextLines().format(record("%d rides", "three"))


@given(st.text(), st.text(), st.dictionaries(st.sampled_from([*IDS]), st.text()))
def test_whatever_is_logged_is_one_line_of_json_that_says_it_and_no_terminal_obeys(
    message: str, error: str, ids: dict[str, Any]
) -> None:
    told = failure(error)
    told.msg = message
    told.stack_info = error
    with log_ids(**ids):
        written = JsonLines().format(told)
    assert written.isprintable()
    found = json.loads(written)
    assert {name: found[name] for name in ids} == ids
    assert found["level"] == "WARNING"


@given(st.text(alphabet='abcdefghij0123456789"\\\n\u202eé', min_size=8), st.text(), st.text())
def test_no_secret_survives_in_any_line(token: str, before: str, after: str) -> None:
    secret = Secret(token)
    told = failure(before + token + after)
    told.msg = before + token + after
    for form in FORMS:
        written = form.format(told)
        assert secret.reveal() not in written
    found = line(told)
    assert secret.reveal() not in found["message"] + found["exception"]


def test_where_secrets_usually_stand_they_are_masked() -> None:
    found = line(record("GET %s", "https://strava.example/?code=abcdefgh&scope=read"))
    assert found["message"] == f"GET https://strava.example/?code={MASK}&scope=read"


def test_a_name_of_no_form_is_text() -> None:
    assert isinstance(line_format(LogFormatName.JSON), JsonLines)
    assert isinstance(line_format("text"), TextLines)


def test_a_record_that_meets_two_handlers_of_ours_is_written_once() -> None:
    written = io.StringIO()
    handlers = [StderrLines("json", written) for _ in range(2)]
    told = record("once")
    for handler in handlers:
        handler.handle(told)
    assert written.getvalue().count("once") == 1


@pytest.fixture
def two_writers(tmp_path: Path) -> Iterator[tuple[Path, list[StderrLines]]]:
    path = tmp_path / "shared.log"
    streams = [path.open("a") for _ in range(2)]
    yield path, [StderrLines("json", stream) for stream in streams]
    for stream in streams:
        stream.close()


def test_long_lines_of_two_processes_stay_whole_in_one_file(two_writers: tuple[Path, list[StderrLines]]) -> None:
    path, handlers = two_writers

    def tell(handler: StderrLines) -> None:
        for _ in range(50):
            # Longer than what Python writes at once.
            handler.handle(failure("x" * 20_000))

    threads = [threading.Thread(target=tell, args=[handler]) for handler in handlers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = path.read_text().splitlines()
    assert len(lines) == 100
    assert {json.loads(each)["message"] for each in lines} == {"failed"}


PROGRAM = """
import logging, threading, warnings
from strava_pipeline import own_process
from strava_pipeline.secret import Secret
own_process.set_up()
own_process.log_to_stderr("INFO", "json")
secret = Secret("canary-of-a-process")
logging.getLogger("library").info("a\\nb %s", secret.reveal())
warnings.warn("odd", stacklevel=1)
def fail(): raise RuntimeError("in a thread " + secret.reveal())
thread = threading.Thread(target=fail, name="mine"); thread.start(); thread.join()
class AsDagsters(logging.Handler):  # its database is away
    def emit(self, record): raise ConnectionError
logging.root.addHandler(AsDagsters())
raise RuntimeError("in the main thread " + secret.reveal())
"""


def test_all_that_a_process_of_ours_writes_to_standard_error_is_json_even_its_end() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONWARNINGS": ""},
    )
    assert done.returncode == 1
    assert "canary" not in done.stderr
    found = [json.loads(each) for each in done.stderr.splitlines()]
    assert [each["level"] for each in found] == ["INFO", "WARNING", "CRITICAL", "CRITICAL"]
    assert found[0]["message"] == f"a\nb {MASK}"
    assert "odd" in found[1]["message"]
    assert found[2]["message"] == "the thread mine ends by an error"
    assert found[3]["exception"].endswith(f"RuntimeError: in the main thread {MASK}")
