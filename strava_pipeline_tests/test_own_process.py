"""A process of our own tells of its beginning and its end in the form that is set."""

from __future__ import annotations

import io
import json
import logging

import pytest

from strava_pipeline.own_process import announce


def test_what_a_server_says_of_itself_is_a_line_of_text_or_a_record(capsys: pytest.CaptureFixture[str]) -> None:
    announce("bridge listening on http://127.0.0.1:8080", "text")
    announce("bridge listening on http://127.0.0.1:8080", "json")
    text, record = capsys.readouterr().out.splitlines()
    assert text == "bridge listening on http://127.0.0.1:8080"
    found = json.loads(record)
    assert (found["level"], found["message"]) == ("INFO", text)


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_it_quotes_of_others_stays_on_its_line(form: str) -> None:
    written = io.StringIO()
    announce("ended by \x1b[2Jforged\n2026 INFO line", form, written, logging.CRITICAL)
    (line,) = written.getvalue().splitlines()
    assert line.isprintable()
    assert "forged" in line
