"""A run's lines are written once, in the form that is set, with its ids; without the setting a host's log stays."""

import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any

import dagster as dg
import pytest

from strava_pipeline import redaction
from strava_pipeline.defs.resources import WarehouseResource
from strava_pipeline.defs.run_logs import OURS, step_log, write_consoles
from strava_pipeline.log_context import begin_log_ids, log_ids
from strava_pipeline.log_lines import JsonLines, TextLines
from strava_pipeline.redaction import get_logger
from strava_pipeline.settings import Settings
from strava_pipeline.strava.transport import CALLS
from strava_pipeline_tests import process_state
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually

MANAGED: dict[str, Any] = {"python_logs": {"python_log_level": "INFO", "managed_python_loggers": [OURS]}}
ours, theirs, calls = get_logger(f"{OURS}.some.module"), logging.getLogger("theirs"), get_logger(CALLS)
seen: list[Any] = []


@dg.op
def our_step(context: dg.OpExecutionContext, strava_warehouse: WarehouseResource) -> None:
    """Logs in every way."""
    seen.append((_tree(), [handler.formatter for handler in _console(context).handlers]))
    with log_ids(event_id=12, athlete_id=3):
        step_log(context).info("by the step")
        ours.info("by our code")
        ours.debug("of no interest")
        calls.debug("a call for an event")
    calls.debug("a call for no event")


@dg.op
def their_step(context: dg.OpExecutionContext) -> None:
    """Of the host's own, in the same run."""
    context.log.info("by their step")


@dg.job(executor_def=dg.in_process_executor, resource_defs={"strava_warehouse": WarehouseResource(is_own=True)})
def told() -> None:
    our_step()
    their_step()


@dg.op
def failing_step(strava_warehouse: WarehouseResource) -> None:
    """Fails by a fault of the program."""
    raise ZeroDivisionError("by nothing")


@dg.job(executor_def=dg.in_process_executor, resource_defs={"strava_warehouse": WarehouseResource(is_own=True)})
def failing() -> None:
    failing_step()


def _console(context: dg.OpExecutionContext) -> logging.Logger:
    (console,) = context.log._dagster_handler._loggers
    return console


def _tree() -> dict[str, Any]:
    """Level, handlers and propagation of all loggers but Dagster's own."""
    return {
        name: state for name, state in process_state._loggers() if not name.startswith("dagster") and name != OURS
    } | {
        name: (logger.level, [*logger.handlers], logger.propagate)
        for name in (OURS, CALLS)
        for logger in [logging.getLogger(name)]
    }


@pytest.fixture(autouse=True)
def clean(settings: Settings, engine: object) -> Iterator[None]:
    seen.clear()
    begin_log_ids()
    ours_before = logging.getLogger(OURS).level
    yield
    logging.getLogger(OURS).setLevel(ours_before)


@pytest.fixture
def as_guest() -> Iterator[None]:
    """In a process of somebody else; a test before may have loaded the code location of our own in this one."""
    before = logging.getLogRecordFactory(), logging.getLoggerClass()
    logging.setLogRecordFactory(logging.LogRecord)
    logging.setLoggerClass(logging.Logger)
    yield
    logging.setLogRecordFactory(before[0])
    logging.setLoggerClass(before[1])


@pytest.fixture(params=["json"])
def as_own(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """In a process of our own, which logs in this form."""
    assert redaction.is_installed()
    before = logging.getLoggerClass()
    monkeypatch.setenv("STRAVA_LOG_FORMAT", request.param)
    write_consoles(request.param)
    yield
    logging.setLoggerClass(before)


as_own_in_text = pytest.mark.parametrize("as_own", ["text"], indirect=True)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, list[str]]]:
    """Runs the job; what standard error got, and the messages in Dagster's event log."""

    def execute(job: dg.JobDefinition = told, **settings: Any) -> tuple[str, list[str]]:
        with dg.DagsterInstance.ephemeral(settings=settings or None) as instance:
            capfd.readouterr()
            done = job.execute_in_process(instance=instance, raise_on_error=False)
            messages = [entry.user_message for entry in instance.all_logs(done.run_id) if not entry.is_dagster_event]
            return capfd.readouterr().err, messages

    return execute


def by_message(written: str) -> dict[str, dict[str, Any]]:
    lines = [json.loads(line) for line in written.splitlines()]
    found = {line["message"]: line for line in lines}
    assert len(found) == len(lines), written
    return found


@pytest.mark.usefixtures("as_guest")
def test_without_the_setting_a_host_has_its_log_as_it_is(run: Callable[..., tuple[str, list[str]]]) -> None:
    before = _tree()
    written, _ = run()
    tree, formatters = seen.pop()
    assert tree == before == _tree()
    assert formatters
    assert not any(isinstance(each, JsonLines | TextLines) for each in formatters)
    assert " - by the step" in written
    assert " - by their step" in written
    assert "a call" not in written


@pytest.mark.usefixtures("as_guest")
def test_a_host_with_the_setting_gets_our_lines_as_json_beside_its_own_and_only_meanwhile(
    run: Callable[..., tuple[str, list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_LOG_FORMAT", "json")
    before = _tree()
    written, _ = run()
    assert _tree() == before
    tree, _ = seen.pop()
    # Nothing else of the host is changed, not even while the run lasts.
    assert {name: tree[name] for name in tree if name not in (OURS, CALLS)} == {
        name: before[name] for name in before if name not in (OURS, CALLS)
    }
    found = by_message("\n".join(line for line in written.splitlines() if line.startswith("{")))
    assert set(found) == {"by the step", "by our code", "a call for an event"}
    assert all((line["event_id"], line["athlete_id"]) == (12, 3) for line in found.values())
    assert len({line["run_id"] for line in found.values()}) == 1
    assert found["by our code"]["logger"] == f"{OURS}.some.module"
    assert found["by the step"]["step"] == "our_step"
    rest = [line for line in written.splitlines() if not line.startswith("{")]
    assert any(re.search(" - dagster - INFO - told - .* - by their step$", line) for line in rest)


@pytest.mark.usefixtures("as_own")
def test_in_a_process_of_our_own_each_line_of_the_run_is_json_once(run: Callable[..., tuple[str, list[str]]]) -> None:
    before = _tree()
    written, messages = run(**MANAGED)
    found = by_message(written)
    assert {"by the step", "by our code", "by their step", "a call for an event"} == set(found)
    assert found["by our code"]["logger"] == f"{OURS}.some.module"
    assert len({line["run_id"] for line in found.values()}) == 1
    assert {found[said].get("event_id") for said in ("by the step", "by our code", "a call for an event")} == {12}
    assert "event_id" not in found["by their step"]
    # Dagster sets the level itself.
    assert {name: state[1:] for name, state in _tree().items()} == {name: state[1:] for name, state in before.items()}
    # A row for each call would make Dagster's event log grow.
    assert messages == ["by the step", "by our code", "by their step"]


@as_own_in_text
@pytest.mark.usefixtures("as_own")
def test_in_a_process_of_our_own_text_lines_name_run_and_event(run: Callable[..., tuple[str, list[str]]]) -> None:
    written, _ = run(**MANAGED)
    lines = written.splitlines()
    assert [re.sub(r"^.*?: ", "", re.sub(r"run=\S+", "run=ID", line)) for line in lines] == [
        "by the step [event=12 run=ID step=our_step athlete=3]",
        "by our code [event=12 run=ID step=our_step athlete=3]",
        "by their step [run=ID step=their_step]",
    ]


@pytest.mark.usefixtures("as_own")
def test_debug_shows_each_call(run: Callable[..., tuple[str, list[str]]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_LOG_FORMAT", "json")
    monkeypatch.setenv("STRAVA_LOG_LEVEL", "DEBUG")
    written, _ = run(**MANAGED)
    assert {"a call for an event", "a call for no event"} <= set(by_message(written))


@as_own_in_text
@pytest.mark.usefixtures("as_own")
def test_errors_of_a_step_and_its_run_stand_below_their_lines(run: Callable[..., tuple[str, list[str]]]) -> None:
    lines = run(failing, **MANAGED)[0].splitlines()
    heads = [line for line in lines if not line.startswith("    ")]
    assert all(re.match(r"[0-9]{4}-[0-9-]+ \S+ ERROR dagster: Execution of ", line) for line in heads), lines
    assert any("step=failing_step" in line for line in heads)
    assert "    ZeroDivisionError: by nothing" in lines


@pytest.mark.usefixtures("as_own")
def test_errors_of_a_step_and_its_run_stand_in_their_lines(run: Callable[..., tuple[str, list[str]]]) -> None:
    written, _ = run(failing, **MANAGED)
    failed = by_message(written)
    of_step = failed['Execution of step "failing_step" failed.']
    assert of_step["step"] == "failing_step"
    assert "ZeroDivisionError: by nothing\n" in of_step["exception"]
    assert {line["run_id"] for line in failed.values()} == {of_step["run_id"]}
    assert len(failed) == 2


begun, first_ended = threading.Event(), threading.Event()


@dg.op
def overlapping_step(context: dg.OpExecutionContext, strava_warehouse: WarehouseResource) -> None:
    """Of two runs: the first ends while the second one is at work."""
    if "is_second" in context.run.tags:
        begun.set()
        assert first_ended.wait(PATIENCE_SECONDS)
        ours.info("by the second run")
    else:
        assert begun.wait(PATIENCE_SECONDS)


@dg.job(executor_def=dg.in_process_executor, resource_defs={"strava_warehouse": WarehouseResource(is_own=True)})
def overlapping() -> None:
    overlapping_step()


@pytest.mark.usefixtures("as_guest")
def test_two_runs_in_a_hosts_process_leave_its_log_as_it_was(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STRAVA_LOG_FORMAT", "json")
    begun.clear()
    first_ended.clear()
    logging.getLogger(OURS).setLevel(logging.NOTSET)
    before = _tree()
    written: list[str] = []

    def execute(**tags: str) -> None:
        with dg.DagsterInstance.ephemeral() as instance:
            overlapping.execute_in_process(instance=instance, tags=tags)

    first = threading.Thread(target=execute)
    second = threading.Thread(target=execute, kwargs={"is_second": "yes"})
    first.start()
    eventually(lambda: _tree() != before, "the handlers of the first run")
    second.start()
    first.join()
    first_ended.set()
    second.join()
    written += capfd.readouterr().err.splitlines()
    assert _tree() == before
    assert sum('"message": "by the second run"' in line for line in written) == 1
