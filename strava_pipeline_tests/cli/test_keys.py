"""``keys generate|status|rotate``."""

from __future__ import annotations

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import Engine, update

from strava_pipeline.cli import cli
from strava_pipeline.cli.doctor.findings import Verdict
from strava_pipeline.errors import ConfigurationError
from strava_pipeline.keyring import Keyring, generate_key
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.sync.access import open_tokens
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline_tests.doctor_checks import told_by
from strava_pipeline_tests.ports import free_port

OLD = "old-key:" + generate_key().partition(":")[2]
NEW = "new-key:" + generate_key().partition(":")[2]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["keys", *arguments])


def rows(shown: Result) -> dict[str, list[str]]:
    """The table of ``status``: what is said of each key."""
    return {line.split()[0]: line.split()[1:4] for line in shown.stdout.splitlines() if "-key  " in line}


@pytest.fixture(autouse=True)
def two_athletes(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connected while the old key was the only one; then the new one is put in front of it."""
    monkeypatch.setenv("STRAVA_TOKEN_KEYS", OLD)
    store = open_tokens(Settings(), engine)
    for athlete in (1, 2):
        store.connect(TokenGrant(Secret("access"), Secret("refresh"), None, {"id": athlete}), ["read"])
    monkeypatch.setenv("STRAVA_TOKEN_KEYS", f"{NEW},{OLD}")


def test_generate_prints_an_entry_and_nothing_else() -> None:
    shown = run("generate")
    assert shown.exit_code == 0
    assert len(Keyring.parse(shown.stdout.strip()).keys) == 1
    assert shown.stdout.count("\n") == 1


def test_rotation_frees_the_old_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = run("status")
    assert before.exit_code == 0
    assert rows(before) == {"new-key": ["writes", "0", "0"], "old-key": ["reads", "2", "0"]}
    assert "key old-key: needed by 2 rows; run strava-pipeline keys rotate before you remove it" in before.stdout

    assert run("rotate", "--dry-run").stdout == "2 rows of key old-key would be re-encrypted with key new-key\n"
    assert rows(run("status")) == rows(before)
    assert run("rotate").stdout == "2 rows of key old-key re-encrypted with key new-key\n"
    assert run("rotate").stdout == "nothing to do: key new-key wrote all 2 rows\n"

    after = run("status")
    assert rows(after) == {"new-key": ["writes", "2", "0"], "old-key": ["reads", "0", "0"]}
    assert "key old-key: no row needs it; remove it once no process writes with it" in after.stdout
    monkeypatch.setenv("STRAVA_TOKEN_KEYS", NEW)
    gone = run("status")
    assert gone.exit_code == 0
    assert rows(gone) == {"new-key": ["writes", "2", "0"], "old-key": ["no", "0", "0"]}


def test_a_key_that_is_lacking_is_shown_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_TOKEN_KEYS", NEW)
    shown = run("status")
    assert rows(shown) == {"new-key": ["writes", "0", "0"], "old-key": ["LACKING", "2", "0"]}
    assert isinstance(shown.exception, ConfigurationError)
    assert "lacks key old-key" in str(shown.exception)
    assert isinstance(run("rotate").exception, ConfigurationError)


def test_a_key_of_another_value_is_shown_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_TOKEN_KEYS", f"{NEW},old-key:{generate_key().partition(':')[2]}")
    shown = run("status")
    assert "ANOTHER VALUE" in shown.stdout
    assert "key old-key is not the key that this database knows by that id" in str(shown.exception)


def test_tokens_that_do_not_open_are_named_and_fail_the_rotation(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(users).where(users.c.athlete_id == 2).values(generation=9))
    shown = run("rotate")
    assert shown.stdout == "1 row of key old-key re-encrypted with key new-key\n"
    assert "not re-encrypted: the strava_access_token of athlete 2 cannot be decrypted with key old-key" in shown.stderr
    assert str(shown.exception) == "1 row cannot be decrypted: connect these athletes again"


def test_no_key_is_shown() -> None:
    told = "".join(shown.output for shown in (run("status"), run("rotate", "--dry-run"), run("rotate")))
    for entry in (OLD, NEW):
        assert entry.partition(":")[2][:12] not in told


@pytest.mark.parametrize(
    "command",
    [
        "bridge --port 0",
        "connect --code abc",
        "backfill --athlete 1 --from 2024-01 --to 2024-01",
        "api /athlete --athlete 1",
        "up",
    ],
)
def test_no_command_runs_with_wrong_keys(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("STRAVA_BRIDGE_PORT", str(free_port()))
    monkeypatch.setenv("STRAVA_TOKEN_KEYS", f"old-key:{generate_key().partition(':')[2]}")
    ended = CliRunner().invoke(cli, command.split())
    assert isinstance(ended.exception, ConfigurationError)
    assert "key old-key is not the key that this database knows by that id" in str(ended.exception)


def test_the_doctor_finds_wrong_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_TOKEN_KEYS", NEW)
    verdict, told = told_by("stored tokens")
    assert verdict is Verdict.FAIL
    assert "STRAVA_TOKEN_KEYS lacks key old-key" in told
