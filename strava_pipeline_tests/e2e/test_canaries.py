"""Every secret is a canary, everything runs at DEBUG and fails in every way, and no canary may ever be seen."""

from __future__ import annotations

import base64
import json
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import psutil
import pytest
import requests
from sqlalchemy import create_engine, inspect, make_url, text

from strava_pipeline.keyring import AssociatedData, Keyring, generate_key
from strava_pipeline.warehouse.tokens.token_store import ACCESS, REFRESH
from strava_pipeline_tests.e2e import recordings
from strava_pipeline_tests.e2e.conftest import LISTENING, Installation, Mock
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.warm_processes import TIMEOUT_SECONDS

SHOWN_BY_CHANCE = 8
SECRET_SETTINGS = (
    "STRAVA_CLIENT_SECRET",
    "STRAVA_WEBHOOK_VERIFY_TOKEN",
    "STRAVA_WEBHOOK_SIGNING_SECRETS",
    "STRAVA_WEBHOOK_PATH_TOKEN",
    "STRAVA_OPERATOR_TOKEN",
)
ATHLETE = str(recordings.ATHLETE_ID)
# Strava's own word, which is not asked for again.
REFUSAL: tuple[str, dict[str, Any]] = ("status", {"status": 404})
# The first two are not Strava's words: a command asks four times, a fifth time if Strava answers something else, and
# then gives up.
FAULTS = (
    ("redirect", {"location": "http://127.0.0.1:1/elsewhere?access_token=stolen", "times": 5}),
    ("html", {"status": 403, "times": 5}),
    REFUSAL,
)
MONTHS = ("--from", "2025-09", "--to", "2025-10")


def forms(secret: str) -> set[str]:
    """The shapes in which a secret could hide: raw, URL-encoded, hex, and base64 at each of its three offsets."""
    raw = secret.encode()
    found = {secret, quote(secret, safe=""), raw.hex(), raw.hex().upper()}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            # Without the characters that depend on what stands around the secret.
            found.add(encode(b"\0" * offset + raw).decode()[4 if offset else 0 :].rstrip("=")[:-2])
    return {form for form in found if len(form) >= SHOWN_BY_CHANCE}


class Watch:
    """Collects secrets, and everything that was shown anywhere."""

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.secrets = {name: installation.environment[name] for name in SECRET_SETTINGS}
        self.secrets["the mail server's password"] = (
            urlsplit(installation.environment["STRAVA_SMTP_URL"]).password or ""
        )
        for name in ("STRAVA_DATABASE_URL", "DAGSTER_POSTGRES_URL"):
            self.secrets[f"password of {name}"] = make_url(installation.environment[name]).password or ""
        self.secrets["the header for a login proxy"] = installation.environment["STRAVA_DAGSTER_HEADER"].split()[-1]
        self.secrets["a key"] = installation.environment["STRAVA_TOKEN_KEYS"].split(":")[1]
        self.shown: dict[str, str] = {}

    def call(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        done = self.installation.call(*arguments, **variables)
        self.shown[f"output {len(self.shown)} of {' '.join(arguments[:2])}"] = done.stdout + done.stderr
        return done

    def note_tokens(self) -> None:
        """Remember the tokens that are stored now."""
        keyring = Keyring.parse(self.installation.environment["STRAVA_TOKEN_KEYS"])
        engine = create_engine(make_url(self.installation.environment["STRAVA_DATABASE_URL"]))
        with engine.connect() as connection:
            row = connection.execute(text("SELECT * FROM ops.users")).one()
        engine.dispose()
        for column in (ACCESS, REFRESH):
            token = keyring.decrypt(getattr(row, column), AssociatedData(row.athlete_id, column, row.generation))
            self.secrets[f"{column} of generation {row.generation}"] = token.reveal()

    def look_at_databases(self) -> None:
        """Every row of every table of both databases, as text."""
        for name in ("STRAVA_DATABASE_URL", "DAGSTER_POSTGRES_URL"):
            engine = create_engine(make_url(self.installation.environment[name]))
            with engine.connect() as connection:
                schemas = [
                    schema for schema in inspect(connection).get_schema_names() if schema != "information_schema"
                ]
                for schema in schemas:
                    for table in inspect(connection).get_table_names(schema=schema):
                        every_row = text(f'SELECT t::text FROM "{schema}"."{table}" AS t')  # noqa: S608  names of tables
                        rows = connection.execute(every_row).scalars()
                        self.shown[f"table {schema}.{table} of {name}"] = "\n".join(rows)
            engine.dispose()

    def look_at_processes(self) -> None:
        for process in psutil.process_iter():
            try:
                arguments = " ".join(process.cmdline())
            except psutil.Error:
                continue
            self.shown[f"arguments of process {process.pid}"] = arguments

    def hits(self) -> list[str]:
        """Which secret was seen where."""
        return [
            f"{name} in {place}"
            for name, secret in self.secrets.items()
            for place, shown in self.shown.items()
            if any(form in shown for form in forms(secret))
        ]


@pytest.fixture
def watch(installation: Installation) -> Watch:
    """An installation whose every secret is a text that stands nowhere else."""
    for name in SECRET_SETTINGS:
        installation.environment[name] = f"canary-{name.lower()}-{generate_key()[-20:]}".replace("/", "_")
    password = f"canary-mail-{generate_key()[-20:]}".replace("/", "_").replace("=", "_")
    installation.environment["STRAVA_SMTP_URL"] = f"smtp://rides%40example.org:{password}@127.0.0.1:{free_port()}"
    header = f"canary-header-{generate_key()[-20:]}".replace("/", "_")
    installation.environment["STRAVA_DAGSTER_HEADER"] = f"Authorization: Bearer {header}"
    installation.environment["STRAVA_MAIL_FROM"] = "rides@example.org"
    installation.environment["STRAVA_WEBHOOK_SIGNATURE"] = "optional"
    installation.environment["STRAVA_LOG_LEVEL"] = "DEBUG"
    return Watch(installation)


@pytest.fixture
def in_json(watch: Watch) -> None:
    """Everything that is started from now on logs JSON, with tracebacks in its lines."""
    watch.installation.environment["STRAVA_LOG_FORMAT"] = "json"


@pytest.fixture
def mock(watch: Watch, start_mock: Callable[..., Mock], tmp_path: Path) -> Mock:
    """A Strava with recorded answers, to which everything started from now on is pointed."""
    recordings.write(tmp_path / "runner")
    return start_mock("--recordings", str(tmp_path / "runner"))


@pytest.fixture
def bridge(watch: Watch, mock: Mock) -> Iterator[str]:
    """The address of a running bridge; what it logs is watched."""
    process = watch.installation.start_new("bridge", "--port", "0")
    assert process.stdout is not None
    before = []
    for line in process.stdout:
        before.append(line)
        if LISTENING in line:
            break
    else:
        raise AssertionError("".join(before))
    yield line.split(LISTENING)[1].strip().rstrip('"}')
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=PATIENCE_SECONDS)
    watch.shown["the bridge's log"] = "".join(before) + rest


class Browser:
    """Goes through the bridge's pages; the secrets that only it is told are watched."""

    def __init__(self, watch: Watch, bridge: str, who: str) -> None:
        self.watch, self.bridge, self.who = watch, bridge, who
        self.session = requests.Session()

    def get(self, address: str) -> requests.Response:
        answer = self.session.get(address, timeout=PATIENCE_SECONDS, allow_redirects=False)
        self._note(answer)
        return answer

    def submit(self, page: str, path: str, **form: str) -> requests.Response:
        csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', self.get(f"{self.bridge}{page}").text)
        assert csrf is not None
        self.watch.secrets[f"a form's token of the {self.who}, {len(self.watch.secrets)}"] = csrf.group(1)
        fields, told = form | {"csrf": csrf.group(1)}, {"Origin": self.bridge}
        answer = self.session.post(
            f"{self.bridge}{path}", data=fields, headers=told, timeout=PATIENCE_SECONDS, allow_redirects=False
        )
        self._note(answer)
        return answer

    def _note(self, answer: requests.Response) -> None:
        for cookie in answer.cookies:
            self.watch.secrets[f"a cookie of the {self.who}, {len(self.watch.secrets)}"] = cookie.value or ""


def connect_in_browsers(watch: Watch, bridge: str) -> None:
    """The operator logs in and makes a link; a guest connects by it."""
    operator, guest = Browser(watch, bridge, "operator"), Browser(watch, bridge, "guest")
    assert operator.submit("/login", "/login", token="a-wrong-guess").status_code == 401
    assert operator.submit("/login", "/login", token=watch.secrets["STRAVA_OPERATOR_TOKEN"]).status_code == 303
    assert operator.submit("/", "/invites").status_code == 303
    link = operator.get(f"{bridge}/").text.split('readonly value="')[1].split('"')[0]
    watch.secrets["an invitation"] = parse_qs(urlsplit(link).query)["invite"][0]
    assert guest.get(link).status_code == 200
    consent = guest.get(f"{bridge}/oauth/connect").headers["Location"]
    watch.secrets["a connection's state"] = parse_qs(urlsplit(consent).query)["state"][0]
    back = requests.get(f"{consent}&athlete={ATHLETE}", timeout=PATIENCE_SECONDS, allow_redirects=False).headers[
        "Location"
    ]
    watch.secrets["a connection's code"] = parse_qs(urlsplit(back).query)["code"][0]
    answers = [guest.get(back), guest.get(back), guest.get(f"{bridge}/oauth/callback?state=x&code=y")]
    assert [answer.status_code for answer in answers] == [303, 400, 400]
    watch.shown |= {f"answer {place} to a callback": told.text for place, told in enumerate(answers)}
    assert operator.submit("/", "/dead-letters/1/replay").status_code == 303
    assert operator.submit("/", "/logout").status_code == 303
    sign_in = watch.installation.output("login-link").strip()
    watch.secrets["a sign-in link"] = sign_in.rpartition("/")[2]
    path = urlsplit(sign_in).path
    assert operator.submit(path, path).status_code == 303
    assert operator.get(f"{bridge}/").status_code == 200


def test_no_secret_is_ever_shown(watch: Watch, in_json: None, mock: Mock, bridge: str) -> None:
    settings = watch.installation.environment

    assert watch.call("connect", "--code", "no-such-code").returncode != 0
    assert watch.call("connect", "--code", mock.new_code(recordings.ATHLETE_ID)).returncode == 0
    watch.note_tokens()
    assert watch.call("api", "/athlete", "--athlete", ATHLETE).returncode == 0
    assert watch.call("api", "/activities/1", "--athlete", ATHLETE).returncode != 0
    assert watch.call("backfill", "--athlete", ATHLETE, *MONTHS).returncode == 0

    requests.post(f"{mock.url}/mock/tokens/expire", json={}, timeout=PATIENCE_SECONDS).raise_for_status()
    assert watch.call("api", "/athlete", "--athlete", ATHLETE).returncode == 0
    watch.note_tokens()
    connect_in_browsers(watch, bridge)
    watch.note_tokens()
    nowhere = f"http://127.0.0.1:{free_port()}"
    assert watch.call("api", "/athlete", "--athlete", ATHLETE, STRAVA_API_URL=nowhere).returncode != 0
    away = {"STRAVA_API_URL": nowhere, "STRAVA_OUTAGE_PATIENCE_HOURS": "0"}
    assert watch.call("backfill", "--athlete", ATHLETE, *MONTHS, **away).returncode != 0
    assert watch.call("api", "/athlete", "--athlete", ATHLETE, STRAVA_TOKEN_KEYS=generate_key()).returncode != 0
    faults = [{"path": "/api/v3/athlete", "fault": kind} | more for kind, more in FAULTS]
    requests.post(f"{mock.url}/mock/faults", json=faults, timeout=PATIENCE_SECONDS).raise_for_status()
    for _ in FAULTS:
        assert watch.call("api", "/athlete", "--athlete", ATHLETE).returncode != 0
    requests.post(f"{mock.url}/mock/deauthorize", json={"athlete_id": recordings.ATHLETE_ID}, timeout=PATIENCE_SECONDS)
    assert watch.call("api", "/athlete", "--athlete", ATHLETE).returncode != 0
    # No mail server is there, which is told without the login.
    assert "fail  mail server         smtp://127.0.0.1:" in watch.call("doctor").stdout
    assert watch.call("doctor", "--json").returncode == 1

    path = f"{bridge}/webhooks/strava/{settings['STRAVA_WEBHOOK_PATH_TOKEN']}"
    query = {"hub.mode": "subscribe", "hub.challenge": "c", "hub.verify_token": settings["STRAVA_WEBHOOK_VERIFY_TOKEN"]}
    answers = {
        "handshake": requests.get(path, params=query, timeout=PATIENCE_SECONDS),
        "wrong handshake": requests.get(path, params=query | {"hub.verify_token": "x"}, timeout=PATIENCE_SECONDS),
        "malformed delivery": requests.post(path, data=b"{", timeout=PATIENCE_SECONDS),
        "wrong signature": requests.post(
            path, data=b"{}", headers={"X-Strava-Signature": "t=1,v1=2"}, timeout=PATIENCE_SECONDS
        ),
        "wrong path": requests.post(f"{bridge}/webhooks/strava/guess", data=b"{}", timeout=PATIENCE_SECONDS),
        "health": requests.get(f"{bridge}/health/ready", timeout=PATIENCE_SECONDS),
    }
    assert [answer.status_code for answer in answers.values()] == [200, 403, 400, 401, 404, 200]
    port = bridge.rpartition(":")[2]
    simulated = watch.call("webhook", "simulate", "--athlete", ATHLETE, "--activity", "5", STRAVA_BRIDGE_PORT=port)
    assert simulated.returncode == 0
    watch.shown |= {f"answer to {name}": answer.text + str(answer.headers) for name, answer in answers.items()}

    watch.look_at_processes()
    watch.look_at_databases()
    assert any("DEBUG" in shown for shown in watch.shown.values()), "nothing was logged at DEBUG"
    # Settings, the key, the password, three generations of two tokens, and what the browsers were told.
    assert len(watch.secrets) >= len(SECRET_SETTINGS) + 2 + 3 * 2 + 11
    assert watch.hits() == []


def test_in_somebody_elses_process_no_secret_is_shown_and_their_log_is_as_it_was(watch: Watch, mock: Mock) -> None:
    assert watch.call("connect", "--code", mock.new_code(recordings.ATHLETE_ID)).returncode == 0
    watch.note_tokens()
    kind, more = REFUSAL
    faults = json.dumps([{"path": "/api/v3/athlete", "fault": kind} | more])
    host = watch.installation.start_module(
        "strava_pipeline_tests.e2e.host", mock.url, ATHLETE, "2025-09", generate_key(), faults
    )
    output, _ = host.communicate(timeout=TIMEOUT_SECONDS)
    assert host.returncode == 0, output
    watch.note_tokens()
    watch.shown["the host's output"] = output
    watch.look_at_databases()

    runs = re.findall(r"^run of (\w+): (\w+)$", output, re.MULTILINE)
    well = [("their_asset", "success"), ("activities", "success"), ("athletes", "success")]
    assert runs == well + [("athletes", "failure")] * 3
    assert "served: [200, 403, 400, 401, 404, 403]" in output
    assert {"access_token of generation 2", "access_token of generation 1"} <= {
        name.replace("strava_", "") for name in watch.secrets
    }
    assert watch.hits() == []
    # Two lines of their own in their run, one at the end: nothing of them is masked.
    assert output.count("INFO theirs: at https://theirs.example/?code=theirs-to-log\n") == 2
    assert "their_asset - at https://theirs.example/?code=theirs-to-log" in output
    assert output.splitlines()[-1] == "unchanged"


def test_what_is_looked_for_would_be_found(watch: Watch) -> None:
    secret = watch.secrets["STRAVA_CLIENT_SECRET"]
    for number, form in enumerate(forms(secret)):
        watch.shown[f"place {number}"] = f"before {form} after"
    assert len(watch.hits()) == len(watch.shown)
    packed = base64.b64encode(b"xy" + secret.encode() + b"zzz").decode()
    watch.shown = {"packed": packed}
    assert watch.hits() == ["STRAVA_CLIENT_SECRET in packed"]
