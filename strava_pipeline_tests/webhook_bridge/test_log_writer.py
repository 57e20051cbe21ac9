"""The log is written beside: nobody waits for it, it is whole in the end, and what is lost is counted."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from strava_pipeline.log_lines import JsonLines, TextLines
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from webhook_bridge import log_writer
from webhook_bridge.log_writer import LogWriter

LINES = 500
BARE = logging.Formatter()
PROGRAM = f"""
import logging
from webhook_bridge.log_writer import log_in_thread

log_in_thread("INFO", "text")
for number in range({LINES}):
    logging.info("line %d", number)
"""


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    own = logging.getLogger("log_writer")
    own.setLevel(logging.INFO)
    own.propagate = False
    yield own
    for handler in [*own.handlers]:
        if isinstance(handler, LogWriter):
            own.removeHandler(handler)
            handler.close()


def test_a_process_that_ends_has_written_every_line_in_order() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], stderr=subprocess.PIPE, text=True, check=True)
    assert [line.rpartition("root: ")[2] for line in ended.stderr.splitlines()] == [f"line {n}" for n in range(LINES)]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_process_whose_log_has_nobody_at_its_end_ends_well(unbuffered: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    environment = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    with os.fdopen(writing, "w") as log:
        command = [sys.executable, "-c", PROGRAM]
        subprocess.run(command, stderr=log, check=True, timeout=PATIENCE_SECONDS, env=environment)


def test_lines_of_several_threads_stay_whole(logger: logging.Logger) -> None:
    written = StringIO()
    writer = LogWriter(written, BARE)
    logger.addHandler(writer)

    def tell(name: str) -> None:
        for number in range(LINES):
            logger.info("%s %d", name, number)

    threads = [threading.Thread(target=tell, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    lines = written.getvalue().splitlines()
    for name in "abcd":
        assert [line for line in lines if line.startswith(name)] == [f"{name} {n}" for n in range(LINES)]


def test_a_log_that_takes_nothing_stops_nobody_and_tells_in_its_form_what_is_lost(
    logger: logging.Logger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "MOST_LINES", 10)
    fifo = tmp_path / "log"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    with fifo.open("w") as log:
        logger.addHandler(LogWriter(log, JsonLines()))
        # More than a pipe and the writer's own room take together.
        long = "x" * 4_000
        for _ in range(100):
            logger.info(long)
        os.set_blocking(reading, True)
        with os.fdopen(reading) as read:
            lines = iter(read)
            messages = (json.loads(line)["message"] for line in lines)
            lost = next(int(message.split()[0]) for message in messages if "lost" in message)
    assert 0 < lost < 100


def test_trouble_with_one_line_does_not_end_the_log(logger: logging.Logger) -> None:
    class Troubled(StringIO):
        def write(self, line: str, /) -> int:
            if "bad" in line:
                raise RuntimeError
            return super().write(line)

    written = Troubled()
    writer = LogWriter(written, BARE)
    logger.addHandler(writer)
    logger.info("bad")

    def is_written() -> bool:
        logger.info("good")
        return "good" in written.getvalue()

    eventually(is_written, "a line after the bad one")


def test_a_traceback_is_written_whole(logger: logging.Logger) -> None:
    written = StringIO()
    writer = LogWriter(written, TextLines())
    logger.addHandler(writer)
    reason = "the end of a long reason"
    try:
        _ = os.environ[f"{'x' * 2_000} {reason}"]
    except KeyError:
        logger.exception("an error")
    writer.close()
    lines = written.getvalue().splitlines()
    assert lines[0].endswith("log_writer: an error")
    assert "Traceback (most recent call last):" in lines[1]
    assert lines[-1].endswith(f"{reason}'")


def test_a_process_whose_log_is_not_read_ends_all_the_same() -> None:
    reading, writing = os.pipe()
    program = f"{PROGRAM}\nlogging.info('x' * 200_000)\n"
    with os.fdopen(writing, "w") as log, os.fdopen(reading):
        subprocess.run([sys.executable, "-c", program], stderr=log, check=True, timeout=PATIENCE_SECONDS)
