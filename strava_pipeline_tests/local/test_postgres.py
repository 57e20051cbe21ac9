"""The embedded Postgres: one server for all processes of a home, gone with the last of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import psutil
import psycopg
import pytest

from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.local import postgres
from strava_pipeline.local.logins import SUPERUSER
from strava_pipeline.local.postgres import (
    LONGEST_SOCKET_DIR,
    Server,
    is_in_use,
    keep_server,
    release_server,
    revive_server,
    use_server,
    using_server,
)
from strava_pipeline.local.server_user import SERVER_USER
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually


class Holder:
    """Another process that holds the server of a home."""

    def __init__(self, home: Path, user: str | None = None, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "strava_pipeline_tests.local.hold_server", str(home), *([user] if user else [])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | environment,
        )
        self.socket_dir = Path(self._hear())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def run(self, statement: str) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{statement}\n")
        self.process.stdin.flush()
        return self._hear()

    def leave(self) -> None:
        """Let it end as it would by itself."""
        self.process.communicate(timeout=PATIENCE_SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.leave()

    def _hear(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


@pytest.fixture(scope="module")
def data(new_home: Callable[[], Path]) -> Path:
    """A data folder as a first start leaves it; copying it is quicker than making one."""
    home = new_home()
    with using_server(home):
        pass
    return home / "postgres"


@pytest.fixture
def used_home(home: Path, data: Path) -> Path:
    """A home whose server has run before."""
    subprocess.run(["/bin/cp", "-a", str(data), str(home)], check=True)
    return home


@pytest.fixture
def home(new_home: Callable[[], Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home without a server, and nothing of it left running afterwards."""
    temporary = new_home()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    folder = new_home()
    yield folder
    release_server(folder)
    if (folder / "postgres").exists():
        assert not is_running(folder)


def postmaster(home: Path) -> psutil.Process | None:
    noted = home / "postgres" / "postmaster.pid"
    if not noted.exists():
        return None
    try:
        process = psutil.Process(int(noted.read_text().split()[0]))
        return None if process.status() == psutil.STATUS_ZOMBIE else process
    except psutil.NoSuchProcess:
        return None


def is_running(home: Path) -> bool:
    return postmaster(home) is not None


def kill_postmaster(home: Path) -> None:
    """As a power cut would leave it: files in place, nobody there."""
    found = postmaster(home)
    assert found is not None
    children = found.children(recursive=True)
    found.kill()
    psutil.wait_procs([found, *children], timeout=PATIENCE_SECONDS)


def one(server: Server) -> int:
    with psycopg.connect(host=str(server.socket_dir), user=SUPERUSER, dbname="postgres") as connection:
        row = connection.execute("SELECT 1").fetchone()
    assert row is not None
    value: int = row[0]
    return value


def test_two_processes_share_a_server_and_the_last_one_stops_it(home: Path) -> None:
    with Holder(home) as second:
        with Holder(home) as first:
            assert first.socket_dir == second.socket_dir
            first.run("CREATE TABLE kept AS SELECT 42 AS answer")
            assert second.run("SELECT answer FROM kept") == "42"
        assert second.run("SELECT answer FROM kept") == "42"
        assert is_in_use(home)
    assert not is_running(home)
    assert not is_in_use(home)
    with Holder(home) as later:
        assert later.run("SELECT answer FROM kept") == "42"


def test_two_processes_may_start_at_once(home: Path) -> None:
    holders: list[Holder] = []
    threads = [threading.Thread(target=lambda: holders.append(Holder(home))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pids = {holder.run("SELECT system_identifier FROM pg_control_system()") for holder in holders}
    for holder in holders:
        holder.leave()
    assert len(holders) == 2
    assert len(pids) == 1


def test_a_killed_holder_does_not_disturb_the_other(used_home: Path) -> None:
    with Holder(used_home) as other:
        Holder(used_home).kill()
        assert other.run("SELECT 7") == "7"
    assert not is_running(used_home)


def test_a_server_whose_holders_were_all_killed_is_taken_over_and_stopped(used_home: Path) -> None:
    Holder(used_home).kill()
    assert is_running(used_home)
    assert not is_in_use(used_home)
    with Holder(used_home) as heir:
        assert heir.run("SELECT 7") == "7"
    assert not is_running(used_home)


def test_one_process_holds_a_server_once(used_home: Path) -> None:
    with using_server(used_home) as server:
        assert use_server(used_home) == server
        assert one(server) == 1
    assert not is_running(used_home)
    release_server(used_home)


@pytest.mark.parametrize("name", ["x" * LONGEST_SOCKET_DIR, "o'brien, rides & co", "a?b#c%41;*<d>|(é🚴)"])
def test_a_home_of_any_name_works(home: Path, name: str) -> None:
    with using_server(home / name) as server:
        assert one(server) == 1
        assert server.socket_dir.stat().st_mode & 0o077 == 0
    assert not is_running(home / name)


def test_a_process_with_another_temporary_folder_finds_the_same_server(home: Path) -> None:
    deep = home / ("x" * LONGEST_SOCKET_DIR)
    elsewhere = home / "tmp"
    elsewhere.mkdir(mode=0o755)
    with Holder(deep) as first, Holder(deep, TMPDIR=str(elsewhere)) as second:
        assert first.run("SELECT 7") == second.run("SELECT 7") == "7"
        assert first.socket_dir == second.socket_dir


def test_a_server_killed_by_a_power_cut_starts_again(used_home: Path) -> None:
    with Holder(used_home) as holder:
        holder.run("CREATE TABLE kept AS SELECT 42 AS answer")
        kill_postmaster(used_home)
        with Holder(used_home) as later:
            assert later.run("SELECT answer FROM kept") == "42"


def test_whoever_holds_a_server_that_was_killed_can_revive_it(used_home: Path) -> None:
    server = use_server(used_home)
    assert revive_server(used_home) is False
    kill_postmaster(used_home)
    assert revive_server(used_home) is True
    assert one(server) == 1
    assert revive_server(used_home) is False
    release_server(used_home)
    assert revive_server(used_home) is False
    assert not is_running(used_home)


def test_what_the_program_behind_up_keeps_is_started_again_and_stopped_in_the_end(used_home: Path) -> None:
    kept, said = keep_server(used_home), list[str]()
    kept.look_after(said.append)
    assert kept.is_running()
    kill_postmaster(used_home)
    assert not kept.is_running()
    kept.look_after(said.append)
    assert said == ["Postgres had ended: started it again"]
    assert kept.is_running()
    with Holder(used_home) as other:
        kept.release()
        # Another process uses it still.
        assert other.run("SELECT 7") == "7"
    release_server(used_home)
    assert not is_running(used_home)


def test_what_the_program_behind_up_keeps_stops_with_it(used_home: Path) -> None:
    kept = keep_server(used_home)
    kept.release()
    assert not is_running(used_home)
    assert not kept.is_running()
    release_server(used_home)


def test_giving_up_a_server_that_was_killed_is_no_fault(used_home: Path) -> None:
    use_server(used_home)
    kill_postmaster(used_home)
    release_server(used_home)
    with using_server(used_home) as server:
        assert one(server) == 1


def test_a_stale_socket_whose_number_is_another_process_by_now_is_seen_through(used_home: Path) -> None:
    with Holder(used_home) as holder:
        kill_postmaster(used_home)
        noted = used_home / "postgres" / "postmaster.pid"
        user = SERVER_USER if os.geteuid() == 0 else None
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, user=user) as stranger:
            _, *rest = noted.read_text().splitlines()
            noted.write_text("\n".join([str(stranger.pid), *rest, ""]))
            assert (holder.socket_dir / ".s.PGSQL.5432").exists()
            with Holder(used_home) as later:
                assert later.run("SELECT 7") == "7"
            assert stranger.poll() is None


@pytest.mark.parametrize("name", ["short", "x" * LONGEST_SOCKET_DIR])
def test_a_lock_of_a_killed_server_whose_number_is_another_process_by_now_is_seen_through(
    home: Path, data: Path, name: str
) -> None:
    deep = home / name
    deep.mkdir(mode=0o700)
    subprocess.run(["/bin/cp", "-a", str(data), str(deep)], check=True)
    with Holder(deep) as holder:
        kill_postmaster(deep)
        lock = holder.socket_dir / ".s.PGSQL.5432.lock"
        user = SERVER_USER if os.geteuid() == 0 else None
        with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, user=user) as stranger:
            _, *rest = lock.read_text().splitlines()
            lock.write_text("\n".join([str(stranger.pid), *rest, ""]))
            with Holder(deep) as later:
                assert later.run("SELECT 7") == "7"
            assert stranger.poll() is None


def test_a_server_whose_socket_was_cleaned_away_is_started_anew(used_home: Path) -> None:
    with Holder(used_home) as holder:
        (holder.socket_dir / ".s.PGSQL.5432").unlink()
        with Holder(used_home) as later:
            assert later.run("SELECT 7") == "7"
            assert holder.run("SELECT 7") == "7"


def test_half_a_data_folder_is_thrown_away(home: Path) -> None:
    (home / "postgres.new" / "base").mkdir(parents=True)
    with using_server(home) as server:
        assert one(server) == 1
    assert not (home / "postgres.new").exists()


def test_data_of_another_version_are_left_alone(home: Path) -> None:
    (home / "postgres").mkdir()
    (home / "postgres" / "PG_VERSION").write_text("14\n")
    with pytest.raises(
        ConfigurationError, match=r"are of Postgres 14, but this program contains Postgres 18: .*pg_upgrade"
    ):
        use_server(home)
    assert [path.name for path in (home / "postgres").iterdir()] == ["PG_VERSION"]


def test_a_server_that_does_not_start_says_why(used_home: Path) -> None:
    with using_server(used_home):
        pass
    with (used_home / "postgres" / "postgresql.conf").open("a") as configuration:
        configuration.write("\nno_such_setting = 1\n")
    with pytest.raises(WarehouseError, match=r"did not start: .*server\.log") as caught:
        use_server(used_home)
    assert "\n" not in str(caught.value)
    assert not is_in_use(used_home)


def test_an_ordinary_user_runs_a_server(home: Path) -> None:
    user = SERVER_USER if os.geteuid() == 0 else None
    own = home / "own"
    own.mkdir(mode=0o700)
    if user is not None:
        for folder in (home, home.parent):
            folder.chmod(0o755)
        shutil.chown(own, user)
    with Holder(own, user) as holder:
        assert holder.run("SELECT current_user") == SUPERUSER
        assert (own / "postgres").stat().st_uid == own.stat().st_uid
    assert not is_running(own)


def test_the_server_ends_with_a_holder_that_is_told_to_end(used_home: Path) -> None:
    holder = Holder(used_home)
    holder.process.send_signal(signal.SIGINT)
    holder.leave()
    eventually(lambda: not is_running(used_home), "the server's end")


SECRETS = {
    "STRAVA_TOKEN_KEYS": "k1:unseen",
    "STRAVA_OPERATOR_TOKEN": "unseen",
    "STRAVA_DATABASE_URL": "postgresql://x:unseen@h/d",
    "DAGSTER_POSTGRES_URL": "postgresql://x:unseen@h/d",
    "AWS_SECRET_ACCESS_KEY": "unseen",
    "HOME": "/home/unseen",
    "PGPASSWORD": "unseen",
    "PGOPTIONS": "-c search_path=unseen",
    "PGPASSFILE": "/unseen",
    "LD_PRELOAD": "",
}


def test_the_server_knows_nothing_of_our_environment(used_home: Path) -> None:
    with Holder(used_home, LC_MESSAGES="C", **SECRETS):
        server = postmaster(used_home)
        assert server is not None
        # As /proc has it for the server's user; what the server starts has a copy.
        environment = server.environ()
        assert not set(environment) & set(SECRETS)
        assert "unseen" not in str(environment)
        assert environment["LC_MESSAGES"] == "C"


@pytest.mark.processes
def test_neither_do_the_programs_that_set_it_up(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in SECRETS.items():
        monkeypatch.setenv(name, text)
    # In the place of initdb and pg_ctl, a program that tells its environment.
    monkeypatch.setattr(postgres, "_binaries", lambda: Path("/usr/bin"))
    told = postgres._command(home, "env").stdout.decode()
    assert "PATH=" in told
    assert "unseen" not in told
    assert not [name for name in SECRETS if f"{name}=" in told]
