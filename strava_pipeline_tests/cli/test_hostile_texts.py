"""Texts of strangers (names, titles, reasons, words of Strava and of the database) on every path to a console.

Each command runs as it is called, its bytes are looked at: no control character but the line feed, none that turns or
hides text, and no line that a stranger began.
"""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import click
import pytest
from sqlalchemy import Engine, insert, update

from strava_pipeline.cli import COMMANDS, cli, demo_report
from strava_pipeline.cli.console import print_table
from strava_pipeline.months import Span
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.sync.backfill import analyse_span, import_details, import_streams
from strava_pipeline.sync.summaries import import_summaries
from strava_pipeline.warehouse.schema import alert_tables, archive_tables, tables
from strava_pipeline.warehouse.schema.inbox_tables import webhook_events
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.inbox import change, rows, store
from strava_pipeline_tests.strava.loopback import Asked, Loopback, Reply, reply
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, activity_body, stream_body
from strava_pipeline_tests.warm_processes import WarmProcesses
from strava_pipeline_tests.wishes import change as change_import
from strava_pipeline_tests.wishes import wish_for

# A title for the window, a cleared screen, C1 for CSI, turned text, a hidden character, and the beginning of a line.
EVIL = "Ev\x1b]0;owned\x07il\x1b[2J\x9b31m\x85\u202eexe.fdp\u2066\u200b\nforged line\r\x1b[1A\u2028forged line\x7f"
FORMULA = '=HYPERLINK("http://evil.example","\x1b[2J")'
START = datetime(2025, 6, 2, 8, tzinfo=UTC)
# What rich sends to a terminal: colours, and the cursor shown and hidden.
STYLING = re.compile(r"\x1b\[[0-9;]*m|\x1b\[\?25[lh]")

COMMANDS_RUN: dict[str, tuple[str, ...]] = {
    "alerts list": ("alerts", "list"),
    "alerts list, JSON": ("alerts", "list", "--format", "json"),
    "alerts silence": ("alerts", "silence", "disk_full", "--for", "4h", "--because", EVIL),
    "alerts silence, no rule": ("alerts", "silence", EVIL, "--end"),
    "archive list": ("archive", "list"),
    "archive list, JSON": ("archive", "list", "--format", "json"),
    "archive show": ("archive", "show", "1"),
    "archive show, JSON": ("archive", "show", "1", "--format", "json"),
    "archive link": ("archive", "link", "--athlete", str(RIDER)),
    "archive undo": ("archive", "undo", "1", "--yes"),
    "archive import": ("archive", "import", __file__, "--athlete", str(RIDER)),
    "archive import, no zone": ("archive", "import", __file__, "--athlete", str(RIDER), "--timezone", EVIL),
    "archive import, no sport": ("archive", "import", __file__, "--athlete", str(RIDER), "--sport", f"{EVIL}=x"),
    "athletes list": ("athletes", "list"),
    "athletes list, JSON": ("athletes", "list", "--format", "json"),
    "athletes export": ("athletes", "export", str(RIDER), "-o", f"/proc/{EVIL}/copy"),
    "athletes restore": ("athletes", "restore", __file__),
    "athletes disconnect": ("athletes", "disconnect", str(RIDER), "--yes"),
    "api": ("api", "/athlete", "--athlete", str(RIDER)),
    "api, refused": ("api", "/refused", "--athlete", str(RIDER)),
    "api, a field without a value": ("api", "/athlete", "--athlete", str(RIDER), "-f", EVIL),
    "backfill": ("backfill", "--athlete", str(RIDER), "--from", "2025-06", "--to", "2025-06", "--assets", "athletes"),
    "backfill, no month": ("backfill", "--athlete", str(RIDER), "--from", EVIL, "--to", "2025-06"),
    "connect": ("connect", "--code", "code"),
    "connect, refused": ("connect", "--code", f"http://localhost/?error={EVIL}"),
    "athletes renew-links": ("athletes", "renew-links", "1"),
    "analysts add": ("analysts", "add", EVIL),
    "analysts list": ("analysts", "list"),
    "connect, an error behind escapes": ("connect", "--code", "http://localhost/?error=%1b%5b2J%9b%0aforged%20line"),
    "dead-letters list": ("dead-letters", "list"),
    "dead-letters list, JSON": ("dead-letters", "list", "--format", "json"),
    "dead-letters show": ("dead-letters", "show", "1"),
    "dead-letters replay": ("dead-letters", "replay", "1"),
    "dead-letters discard": ("dead-letters", "discard", "1", "--because", EVIL),
    "doctor": ("doctor",),
    "export-gpx": ("export-gpx", "1"),
    "import all": ("import", "all"),
    "import list": ("import", "list"),
    "import list, JSON": ("import", "list", "--format", "json"),
    "import pause": ("import", "pause", str(RIDER)),
    "import resume": ("import", "resume", str(RIDER)),
    "keys status": ("keys", "status"),
    "keys rotate": ("keys", "rotate", "--dry-run"),
    "login-link": ("login-link",),
    "quota": ("quota",),
    "quota, JSON": ("quota", "--format", "json"),
    "remap": ("remap",),
    "report": ("report", "1"),
    "report, to no folder": ("report", "1", "-o", f"/nowhere/{EVIL}/ride.html"),
    "sql": ("sql", "SELECT id, name, ARRAY[name] FROM strava.activities"),
    "sql, everything": ("sql", "SELECT * FROM strava.activities"),
    "sql, an evil heading": ("sql", f'SELECT 1 AS "{EVIL[:20]}"'),
    "sql, CSV": ("sql", "SELECT *, ARRAY[name] FROM strava.activities", "--format", "csv"),
    "sql, JSON": ("sql", "SELECT * FROM strava.activities", "--format", "json"),
    "sql, a reason of the database": ("sql", f"SELECT CAST('{EVIL}' AS int)"),
    "sql, as an analyst": ("sql", "SELECT * FROM strava.athletes", "--as-analyst"),
    "webhook status": ("webhook", "status"),
    "webhook subscribe": ("webhook", "subscribe"),
    "webhook unsubscribe": ("webhook", "unsubscribe"),
    "webhook simulate": ("webhook", "simulate", "--athlete", "1", "--activity", "1", "--title", EVIL),
}
# What runs until it is ended, waits for a bridge, or prints no text of anybody; the first four are looked at below.
ELSEWHERE = {
    "alerts test",
    "bridge",
    "restore begin",
    "restore check",
    "backup",
    "dagster-exec",
    "code-server",
    "dagster-webserver",
    "health",
    "restore load",
    "mock-strava",
    "init",
    "migrate",
    "up",
    "demo",
    "keys generate",
}


@pytest.fixture
def strava() -> Iterator[Loopback]:
    with Loopback() as loopback:
        loopback.answer = answered
        yield loopback


def answered(asked: Asked) -> Reply:
    """Strava, and whoever stands in for the bridge, with words that a stranger chose."""
    fault = {"message": EVIL, "errors": [{"resource": EVIL, "field": EVIL, "code": EVIL}]}
    path = asked.path.removeprefix("/api/v3")
    if path == "/push_subscriptions" and asked.method == "GET":
        return reply([{"id": 7, "callback_url": f"https://evil.example/{EVIL}"}])
    if path == "/athlete":
        return reply({"id": RIDER, "firstname": EVIL, "lastname": 7, "bikes": [{"id": EVIL, "name": EVIL}]})
    if path == "/activities/1":
        return reply(activity_body(1, START, name=EVIL, description=EVIL, sport_type=EVIL))
    if path == "/activities/1/streams":
        return reply(stream_body())
    return reply(fault, status=500 if path == "/bridge" else 403)


@pytest.fixture
def hostile(
    settings: Settings,
    engine: Engine,
    strava: Loopback,
    dagster_database: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """An installation in which strangers have written wherever they can; it logs whatever it logs."""
    changed = {
        "STRAVA_API_URL": f"{strava.url}/api/v3",
        "STRAVA_OAUTH_URL": f"{strava.url}/oauth",
        "STRAVA_BRIDGE_PUBLIC_URL": strava.url,
        "STRAVA_WEBHOOK_SUBSCRIPTION_ID": "7",
        "STRAVA_LOG_LEVEL": "DEBUG",
        "STRAVA_MAIL_FROM": f"Rides {EVIL} <rides@example.org>",
        "DAGSTER_POSTGRES_URL": dagster_database,
        "PYTHONUTF8": "1",
    }
    for name, value in changed.items():
        monkeypatch.setenv(name, value)
    open_tokens(settings, engine).connect(
        TokenGrant(Secret("access-1"), Secret("refresh-1"), None, {"id": RIDER}), ["read", "activity:read_all"]
    )
    stand_in = StravaStandIn()
    stand_in.add(1, START, name=EVIL, description=FORMULA, device_name=EVIL, timezone=EVIL, sport_type=EVIL)
    stand_in.streams[1] = stream_body()
    sync, june = stand_in.sync(engine), Span(RIDER, START - timedelta(days=1), START + timedelta(days=1))
    list(import_summaries(sync, [june]))
    import_details(sync, june)
    import_streams(sync, june)
    analyse_span(engine, june)
    store(engine, 1, 2)
    change(engine, state="dead", error_class="transient", error=EVIL, finished_at=datetime.now(UTC))
    change(engine, [rows(engine)[1].id], state="waiting", waiting_for=EVIL, not_before=datetime.now(UTC))
    with engine.begin() as connection:
        connection.execute(insert(tables.athletes).values(id=RIDER, firstname=EVIL, lastname=FORMULA, fetched_at=START))
        connection.execute(update(webhook_events).values(updates={"title": EVIL}))
        report = {"import_id": 1, "faults": [EVIL], "doubts": [EVIL], "missing_files": [EVIL], "sport_words": {EVIL: 1}}
        connection.execute(
            insert(archive_tables.archive_imports).values(
                athlete_id=RIDER, kind="archive", name=EVIL, content_hash="a" * 64, taken_at=START, came_by="upload",
                options={"sports": [EVIL]}, state="failed", failure=EVIL, report=report,
            )
        )  # fmt: skip
        moments = dict.fromkeys(("since", "changed_at", "fired_at"), START)
        connection.execute(
            insert(alert_tables.alerts).values(
                rule="dead_letters", athlete_id=0, state="firing", detail=EVIL, **moments
            )
        )
        connection.execute(
            insert(alert_tables.alert_silences).values(
                rule="dead_letters", until=datetime(3000, 1, 1, tzinfo=UTC), silenced_by="command", because=EVIL
            )
        )
    wish_for(engine)
    change_import(engine, attempts=1, error=EVIL)


def check(told: bytes) -> None:
    """Nothing in it that a terminal obeys, that turns or hides text, or that passes for a line of ours."""
    text = told.decode()
    assert [char for char in text if not char.isprintable() and char != "\n"] == []
    assert [line for line in text.split("\n") if line.startswith(("forged", "Ev"))] == []


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize("name", COMMANDS_RUN)
def test_no_command_hands_a_strangers_text_to_the_terminal_as_it_is(warm_processes: WarmProcesses, name: str) -> None:
    done = warm_processes.run(*COMMANDS_RUN[name], env=os.environ, timeout=PATIENCE_SECONDS)
    # Of XML nobody reads the lines, and a description keeps its own.
    check(done.stdout if name != "export-gpx" else done.stdout.replace(b"\n", b" "))
    check(done.stderr)
    assert b"Traceback" not in done.stderr


@pytest.mark.usefixtures("hostile")
def test_the_check_of_a_restored_database_names_athletes_in_printable_text(warm_processes: WarmProcesses) -> None:
    for words in (("restore", "begin"), ("restore", "check", "--no-erasures")):
        done = warm_processes.run(*words, env=os.environ, timeout=PATIENCE_SECONDS)
        check(done.stdout)
        check(done.stderr)
        assert b"Traceback" not in done.stderr
    assert str(RIDER).encode() in done.stdout + done.stderr


def test_every_command_is_looked_at() -> None:
    context = click.Context(cli)
    found = set()
    for name in COMMANDS:
        command = cli.get_command(context, name)
        below = command.commands if isinstance(command, click.Group) else {}
        found |= {f"{name} {each}" for each, does in below.items() if not does.hidden} or {name}
    looked_at = {key.partition(",")[0] for key in COMMANDS_RUN}
    assert found - looked_at == ELSEWHERE
    assert looked_at <= found


@pytest.mark.usefixtures("hostile")
@pytest.mark.parametrize(
    "name",
    [
        "athletes list",
        "sql",
        "sql, a reason of the database",
        "dead-letters list",
        "import list",
        "quota",
        "backfill",
        "doctor",
    ],
)
def test_a_terminal_gets_our_styling_and_nothing_else(warm_processes: WarmProcesses, name: str) -> None:
    leader, follower = pty.openpty()
    terminal = os.ttyname(follower)
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "150"}
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(lambda: b"".join(_read(leader)))
        warm_processes.run_on(
            (terminal, terminal, terminal), *COMMANDS_RUN[name], env=environment, timeout=PATIENCE_SECONDS
        )
        os.close(follower)
        told = reading.result()
    os.close(leader)
    # A bar on a terminal is drawn again and again: cursor up, line erased.
    text = (
        re.sub(r"\x1b\[1A|\x1b\[2K|\r", "", STYLING.sub("", told.decode()))
        if name == "backfill"
        else (STYLING.sub("", told.decode()).replace("\r\n", "\n"))
    )
    check(text.encode())
    assert text.strip()


def _read(leader: int) -> Iterator[bytes]:
    while select.select([leader], [], [], PATIENCE_SECONDS)[0]:
        try:
            part = os.read(leader, 65536)
        except OSError:  # the other side is closed
            return
        if not part:
            return
        yield part


@pytest.mark.usefixtures("hostile")
def test_json_and_exact_csv_hold_every_character(warm_processes: WarmProcesses) -> None:
    run = partial(warm_processes.run, env=os.environ, timeout=PATIENCE_SECONDS)
    query = "SELECT name, description FROM strava.activities"
    assert json.loads(run("sql", query, "--format", "json").stdout) == [{"name": EVIL, "description": FORMULA}]
    exact = run("sql", query, "--format", "csv-exact").stdout.decode()
    assert list(csv.reader(io.StringIO(exact, newline=""))) == [["name", "description"], [EVIL, FORMULA]]
    safe = run("sql", query, "--format", "csv").stdout.decode()
    ((name, description),) = list(csv.reader(io.StringIO(safe, newline="")))[1:]
    assert description.startswith("'=HYPERLINK(")
    assert (name + description).isprintable()
    assert json.loads(run("api", "/athlete", "--athlete", str(RIDER)).stdout)["firstname"] == EVIL
    assert json.loads(run("athletes", "list", "--format", "json").stdout)[0]["name"] == f"{EVIL} {FORMULA}"
    assert json.loads(run("dead-letters", "show", "1").stdout)["error"] == EVIL


@pytest.mark.usefixtures("hostile")
def test_a_recorded_athletes_name_is_one_line_of_the_mocks_greeting(tmp_path: Path) -> None:
    (tmp_path / "athlete.json").write_text(json.dumps({"id": RIDER, "firstname": EVIL, "lastname": EVIL}))
    told, log = _ended("mock-strava", "--port", "0", "--recordings", str(tmp_path), until=b"strava-pipeline connect")
    assert b"forged line" in told
    check(told)
    check(log)


def test_the_demo_shows_its_ride_as_text(hostile: None, engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    print_table(demo_report._ride(engine, 1))
    check(capsys.readouterr().out.encode())


def test_a_record_of_the_bridges_log_is_one_line_and_what_is_indented_below(settings: Settings) -> None:
    program = (
        "import logging, sys; from strava_pipeline import redaction; redaction.install();"
        "from webhook_bridge.log_writer import log_in_thread; log_in_thread('INFO', 'text')\n"
        "evil = sys.argv[1]; log = logging.getLogger('somebody.else')\n"
        "log.warning('told: %s', evil)\n"
        "try: raise ValueError(evil)\n"
        "except ValueError: log.exception(evil)\n"
    )
    log = _stderr(program)
    assert [line[:1] for line in log.splitlines() if not line.startswith("    ")] == ["2", "2"]


def test_what_nobody_caught_is_printable_as_well() -> None:
    program = "import sys; from strava_pipeline import redaction; redaction.install(); raise ValueError(sys.argv[1])"
    assert _stderr(program).count("ValueError") == 1


def _stderr(program: str) -> str:
    """What a program writes that is given a stranger's text."""
    command = [sys.executable, "-c", program, EVIL]
    done = subprocess.run(command, capture_output=True, timeout=PATIENCE_SECONDS, check=False)
    check(done.stderr)
    return done.stderr.decode()


def _ended(*arguments: str, until: bytes) -> tuple[bytes, bytes]:
    """What a command prints that has to be ended, which it is once a line of it has been seen."""
    command = [sys.executable, "-m", "strava_pipeline", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout is not None
        told = b""
        for line in process.stdout:
            told += line
            if until in line:
                break
        process.send_signal(signal.SIGTERM)
        rest, log = process.communicate(timeout=PATIENCE_SECONDS)
    return told + rest, log
