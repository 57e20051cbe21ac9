"""Services: up together, down together, and nothing of them left."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from strava_pipeline.local import log_files
from strava_pipeline.local import supervisor as supervising
from strava_pipeline.local.supervisor import Service, ServiceFailed, Supervisor, find_free_port
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually

WAITING = "time.sleep(600)"
SERVING = (
    "import http.server, os, sys;"
    "print('serving', os.environ.get('GREETING'), flush=True);"
    "http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), http.server.SimpleHTTPRequestHandler)"
    ".serve_forever()"
)
# Notes its name when it is told to end.
NOTING = (
    "import signal, sys\n"
    "def end(*_):\n"
    "    print(sys.argv[1], file=open(sys.argv[2], 'a'))\n"
    "    sys.exit(0)\n"
    "signal.signal(signal.SIGTERM, end)\n"
    "print('waiting', flush=True)\n"
    "signal.pause()\n"
)
# Has a child in a session of its own that does not listen to SIGTERM, and tells that child's number.
STUBBORN = (
    "import subprocess, sys, time\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import signal, time;"
    'signal.signal(signal.SIGTERM, signal.SIG_IGN); print("deaf", flush=True); time.sleep(600)\'],'
    " start_new_session=True, stdout=subprocess.PIPE)\n"
    "child.stdout.readline()\n"
    "print(child.pid, flush=True)\n"
    "time.sleep(600)\n"
)


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-c", code, *arguments)


def said(log: Path) -> str:
    return log.read_text().strip() if log.exists() else ""


def is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_service_is_ready_when_it_answers_and_gets_its_environment(tmp_path: Path) -> None:
    port = find_free_port()
    url = f"http://127.0.0.1:{port}/"
    log = tmp_path / "logs" / "web.log"
    service = Service("web", python(SERVING, str(port)), log, {"GREETING": "hello"}, url)
    with Supervisor() as supervisor:
        supervisor.start(service)
        supervisor.wait_until_ready(PATIENCE_SECONDS)
        assert said(log).startswith("serving hello")


def test_services_stop_in_reverse_order(tmp_path: Path) -> None:
    order = tmp_path / "order"
    with Supervisor() as supervisor:
        for name in ("first", "second", "third"):
            supervisor.start(Service(name, python(NOTING, name, str(order)), tmp_path / name))
        eventually(lambda: all(said(tmp_path / name) for name in ("first", "second", "third")), "three services")
    assert order.read_text().split() == ["third", "second", "first"]


def test_a_service_that_ends_by_itself_is_named_with_its_last_words(tmp_path: Path) -> None:
    log = tmp_path / "short.log"
    service = Service("short", python("import sys; print('a line', flush=True); sys.exit('no such table')"), log)
    with Supervisor() as supervisor:
        supervisor.start(service)
        with pytest.raises(ServiceFailed) as caught:
            supervisor.watch()
    assert str(caught.value) == f"short ended with exit code 1: no such table (log: {log})"


def test_the_last_words_of_a_service_that_logs_json_are_its_message(tmp_path: Path) -> None:
    log = tmp_path / "short.log"
    line = '{"level": "CRITICAL", "message": "no such table"}'
    with Supervisor() as supervisor:
        supervisor.start(Service("short", python(f"import sys; sys.exit({line!r})"), log))
        with pytest.raises(ServiceFailed, match="short ended with exit code 1: no such table "):
            supervisor.watch()


@pytest.mark.parametrize(
    "statement", ["\nCREATE TABLE runs (\n\tid BIGSERIAL NOT NULL, \n\tPRIMARY KEY (id)\n)\n\n", "SELECT 1"]
)
def test_the_last_words_of_an_sqlalchemy_error_are_its_reason(tmp_path: Path, statement: str) -> None:
    log = tmp_path / "short.log"
    raising = (
        "from sqlalchemy.exc import ProgrammingError\n"
        f"raise ProgrammingError({statement!r}, {{}}, Exception('permission denied for schema public'))"
    )
    with Supervisor() as supervisor:
        supervisor.start(Service("short", python(raising), log))
        with pytest.raises(ServiceFailed) as caught:
            supervisor.watch()
    reason = "sqlalchemy.exc.ProgrammingError: (builtins.Exception) permission denied for schema public"
    assert str(caught.value) == f"short ended with exit code 1: {reason} (log: {log})"


def test_waiting_ends_when_another_service_ended(tmp_path: Path) -> None:
    port = find_free_port()
    deaf = Service(
        "deaf", python("import time; time.sleep(600)"), tmp_path / "deaf.log", ready_url=f"http://127.0.0.1:{port}"
    )
    with Supervisor() as supervisor:
        supervisor.start(deaf)
        supervisor.start(Service("gone", python("raise SystemExit(3)"), tmp_path / "gone.log"))
        with pytest.raises(ServiceFailed, match=r"gone ended with exit code 3: its log is empty \(log: "):
            supervisor.wait_until_ready(PATIENCE_SECONDS)


def test_a_service_that_never_answers_is_named_with_its_log(tmp_path: Path) -> None:
    log = tmp_path / "deaf.log"
    deaf = Service(
        "deaf", python("import time; time.sleep(600)"), log, ready_url=f"http://127.0.0.1:{find_free_port()}"
    )
    with Supervisor() as supervisor:
        supervisor.start(deaf)
        with pytest.raises(ServiceFailed, match=r"deaf is not ready after 0 s \(log: "):
            supervisor.wait_until_ready(0)


def test_stopping_kills_what_a_service_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "GRACE_SECONDS", 1.0)
    log = tmp_path / "stubborn.log"
    with Supervisor() as supervisor:
        supervisor.start(Service("stubborn", python(STUBBORN), log))
        eventually(lambda: said(log) != "", "a child of the service")
        child = int(said(log))
        assert is_alive(child)
    assert not is_alive(child)


def test_stopping_twice_is_harmless(tmp_path: Path) -> None:
    supervisor = Supervisor()
    supervisor.start(Service("waiting", python("import time; time.sleep(600)"), tmp_path / "log"))
    supervisor.stop()
    supervisor.stop()
    supervisor.wait_until_ready(0)


def test_a_log_is_appended_to_until_it_is_too_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "LOG_CAP_BYTES", 10)
    log = tmp_path / "short.log"

    def run(word: str) -> None:
        with Supervisor() as supervisor:
            supervisor.start(Service("short", python(f"print({word!r})"), log))
            with pytest.raises(ServiceFailed):
                supervisor.watch()

    run("one")
    run("two")
    assert log.read_text().split() == ["one", "two"]
    run("twenty-two")
    run("three")
    assert log.read_text().split() == ["three"]
    assert log.with_name("short.log.1").read_text().split() == ["one", "two", "twenty-two"]


# Notes each start of it, and leaves behind a child that notes its own number.
LEAVING = (
    "import os, subprocess, sys\n"
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
    "print(child.pid, flush=True)\n"
    "child.wait()\n"
)


def stop_once(look: Callable[[], bool]) -> Callable[[], None]:
    """For a supervisor's care: tell this process to end once a look is true."""

    def care() -> None:
        if look():
            os.kill(os.getpid(), signal.SIGTERM)

    return care


def test_one_that_others_find_again_is_started_again_and_nothing_else_ends(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log, other = tmp_path / "kept.log", tmp_path / "other.log"
    with Supervisor() as supervisor:
        supervisor.start(Service("kept", python(LEAVING), log, is_restarted=True))
        supervisor.start(Service("other", python(f"import time; print(1, flush=True); {WAITING}"), other))
        eventually(lambda: said(log) and said(other), "both services")
        kept, another = (running.process for running in supervisor._running)
        kept.kill()
        supervisor.watch(stop_once(lambda: len(said(log).split()) == 2))
        assert another.poll() is None
        left_behind, newest = map(int, said(log).split())
        # A run goes on without its code server.
        assert is_alive(left_behind)
        assert is_alive(newest)
    assert not is_alive(left_behind)
    assert not is_alive(newest)
    (told,) = [record.getMessage() for record in caplog.records if "started again" in record.getMessage()]
    assert told == f"kept ended with exit code -9: {left_behind} (log: {log}); it is started again in 1 s"


def test_stopping_ends_what_a_service_left_behind_that_ended_a_moment_ago(tmp_path: Path) -> None:
    log = tmp_path / "kept.log"
    with Supervisor() as supervisor:
        supervisor.start(Service("kept", python(LEAVING), log, is_restarted=True))
        eventually(lambda: said(log), "a child of the service")
        (running,) = supervisor._running
        os.kill(running.process.pid, signal.SIGKILL)
        # As a zombie: nobody has asked for its end so far.
        eventually(lambda: not is_alive(running.process.pid), "the end of the service")
        left_behind = int(said(log))
        assert is_alive(left_behind)
    assert not is_alive(left_behind)


def test_one_that_ends_again_and_again_is_started_less_and_less_often(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = tmp_path / "ending.log"
    with Supervisor() as supervisor:
        supervisor.start(Service("ending", python("print('no', flush=True)"), log, is_restarted=True))
        (running,) = supervisor._running
        while len(starting_again(caplog)) < 9:
            running.process.wait(PATIENCE_SECONDS)
            # Its pause is over, and it has not run for long.
            running.started_at = time.monotonic()
            if running.starts_again_at is not None:
                running.starts_again_at = time.monotonic()
            supervisor.wait_until_ready()
        assert starting_again(caplog) == ["1 s", "2 s", "4 s", "8 s", "16 s", "32 s", "60 s", "60 s", "60 s"]
        # After one that ran for long, the first pause again.
        while len(starting_again(caplog)) < 10:
            running.process.wait(PATIENCE_SECONDS)
            if running.starts_again_at is not None:
                running.starts_again_at = time.monotonic()
            else:
                running.started_at = time.monotonic() - supervising.LONGEST_PAUSE_SECONDS - 1
            supervisor.wait_until_ready()
        assert starting_again(caplog)[-1] == "1 s"


def starting_again(caplog: pytest.LogCaptureFixture) -> list[str]:
    """After which pauses something was to be started again."""
    told = (record.getMessage() for record in caplog.records)
    return [line.rpartition(" again in ")[2] for line in told if " again in " in line]


# Writes lines until it is ended, and tells how many those were.
TALKING = (
    "import itertools, os, signal, sys\n"
    "signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\n"
    "for number in itertools.count():\n"
    "    os.write(1, b'line %d of a service that talks all the time\\n' % number)\n"
)


def test_logs_turn_over_while_a_service_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervising, "LOG_CAP_BYTES", 100_000)
    log = tmp_path / "talking.log"

    def until_there_are_old_ones() -> None:
        if log.with_name("talking.log.3").exists():
            os.kill(os.getpid(), signal.SIGTERM)

    with Supervisor() as supervisor:
        supervisor.start(Service("talking", python(TALKING), log))
        supervisor.watch(until_there_are_old_ones)
    assert {path.name for path in tmp_path.iterdir()} == {"talking.log", *(f"talking.log.{n}" for n in (1, 2, 3))}
    assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())
    # From a file to the next, the numbers go on.
    for older, newer in ((3, 2), (2, 1)):
        last = log.with_name(f"talking.log.{older}").read_text().splitlines()[-1]
        first = log.with_name(f"talking.log.{newer}").read_text().splitlines()[:2]
        assert any(int(line.split()[1]) == int(last.split()[1]) + 1 for line in first if line.startswith("line"))


def test_a_log_that_cannot_be_turned_over_is_told_once_and_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    turns = 0

    def refuse(*_: object) -> bool:
        nonlocal turns
        turns += 1
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log_files, "rotate", refuse)

    def after_some_turns() -> None:
        if turns > 2:
            os.kill(os.getpid(), signal.SIGTERM)

    log = tmp_path / "waiting.log"
    with Supervisor() as supervisor:
        supervisor.start(Service("waiting", python("import time; time.sleep(600)"), log))
        supervisor.watch(after_some_turns)
    told = [record.getMessage() for record in caplog.records if "rotated" in record.getMessage()]
    assert told == [f"{log} cannot be rotated: No space left on device"]


def test_logs_are_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with Supervisor() as supervisor:
            supervisor.start(
                Service("waiting", python("import time; time.sleep(600)"), tmp_path / "logs" / "waiting.log")
            )
    finally:
        os.umask(before)
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "logs", tmp_path / "logs" / "waiting.log")] == [
        0o700,
        0o600,
    ]


def supervise(folder: Path) -> tuple[subprocess.Popen[str], int]:
    """A supervisor of its own that watches by now, and its service's number."""
    command = [sys.executable, "-m", "strava_pipeline_tests.local.supervise", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    eventually(lambda: said(folder / "waiting.log") != "" and catches_sigterm(process.pid), "a watching supervisor")
    return process, int(said(folder / "waiting.log"))


def catches_sigterm(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line for line in lines if line.startswith("SigCgt:")).split()[1]
    return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_supervisor_and_services(tmp_path: Path, number: signal.Signals) -> None:
    process, service = supervise(tmp_path)
    process.send_signal(number)
    assert process.communicate(timeout=PATIENCE_SECONDS)[0] == "stopped\n"
    assert process.returncode == 0
    assert not is_alive(service)


def test_services_do_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    process, service = supervise(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=PATIENCE_SECONDS)
    eventually(lambda: not is_alive(service), "the end of the service")


def test_a_free_port_can_be_listened_on() -> None:
    port = find_free_port()
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
        assert listener.getsockname()[1] == port
