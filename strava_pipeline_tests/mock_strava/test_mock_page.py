"""docs/mock-strava.md: its examples work as they stand, and each endpoint of the control API has one."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from strava_pipeline.mock_strava.app import CONTROL
from strava_pipeline.mock_strava.fault_scripts import FaultScript, Kind
from strava_pipeline_tests.mock_strava.callers import mock_of

PAGE = (Path(__file__).parents[2] / "docs" / "mock-strava.md").read_text(encoding="utf-8")
HOST = "http://127.0.0.1:8090"
BLOCK = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"^\$ (curl .*?)\n(?=[\[{])([^\n]*)$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Example:
    """One call as curl would send it, and the answer in the page; ``...`` in it stands for anything."""

    method: str
    path: str
    body: str | None
    answer: str

    def send(self, client: FlaskClient) -> TestResponse:
        kind = None if self.body is None else "application/x-www-form-urlencoded"
        return client.open(self.path, method=self.method, data=self.body, content_type=kind)


def examples() -> list[tuple[str, str]]:
    """Each command of curl's with its answer."""
    return [found for block in BLOCK.findall(PAGE) for found in EXAMPLE.findall(block)]


def parsed(command: str, answer: str, activity: str) -> Example:
    program, *words = shlex.split(command.replace("$MOCK", HOST).replace("$ACTIVITY", activity))
    assert program == "curl"
    options = dict(zip(words[:-1:2], words[1:-1:2], strict=True))
    assert options.keys() <= {"-X", "-d"}
    assert words[-1].startswith(HOST)
    body = options.get("-d")
    return Example(options.get("-X", "GET" if body is None else "POST"), words[-1].removeprefix(HOST), body, answer)


def run(client: FlaskClient) -> Iterator[tuple[Example, TestResponse]]:
    """Call each example in the page's order."""
    activity = ""
    for command, answer in examples():
        example = parsed(command, answer, activity)
        got = example.send(client)
        if not activity and example.path == "/mock/activities":
            activity = str((got.json or {})["id"])
        yield example, got


def test_each_example_gives_the_answer_of_the_page(client: FlaskClient) -> None:
    done = list(run(client))
    assert len(done) == PAGE.count("\n$ curl ")
    for example, got in done:
        told = ".*".join(re.escape(part) for part in example.answer.split("..."))
        assert got.status_code < 300, (example, got.text)
        assert re.fullmatch(told, got.text.strip()), (example, got.text)


def test_each_endpoint_has_an_example(client: FlaskClient) -> None:
    adapter = client.application.url_map.bind("127.0.0.1")
    shown: set[str] = set()
    for example, _ in run(client):
        shown.add(adapter.match(example.path, method=example.method)[0])
    assert mock_of(client).faults.bodies() == []
    rules = client.application.url_map.iter_rules()
    assert shown == {rule.endpoint for rule in rules if rule.rule.startswith(f"{CONTROL}/")}


def test_the_tables_name_each_kind_of_fault_and_each_field() -> None:
    tables = PAGE.partition("| field | meaning | default |")[2]
    named = set(re.findall(r"`(\w+)`", tables))
    assert {kind.value for kind in Kind} <= named
    assert FaultScript.model_fields.keys() <= named
