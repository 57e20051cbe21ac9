"""Run by root, Postgres' user gets to its data, socket and programs, and nobody else gets anywhere by that."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from strava_pipeline.errors import ConfigurationError, WarehouseError
from strava_pipeline.local import acl, kept_server, postgres, private_files
from strava_pipeline.local.logins import SUPERUSER
from strava_pipeline.local.postgres import LONGEST_SOCKET_DIR, Server, release_server, using_server
from strava_pipeline.local.server_user import server_ids
from strava_pipeline_tests.eventually import PATIENCE_SECONDS

STRANGER = 54321
ROOT = os.geteuid() == 0


@pytest.fixture
def closed(new_home: Callable[[], Path]) -> Iterator[Path]:
    """A folder that only its owner passes, as root's own is."""
    folder = new_home() / "closed"
    folder.mkdir(mode=0o700)
    yield folder
    release_server(folder / "home")


def asked(server: Server) -> object:
    with psycopg.connect(host=str(server.socket_dir), user=SUPERUSER, dbname="postgres") as connection:
        return connection.execute("SELECT 1").fetchone()


def others_get_in(*folders: Path) -> list[Path]:
    return [folder for folder in folders if acl.may_traverse(folder, acl.user_principal(STRANGER, STRANGER))]


def modes(home: Path) -> dict[str, int]:
    return {str(path): stat.S_IMODE(path.lstat().st_mode) for path in (home, *home.rglob("*"))}


@pytest.mark.parametrize("name", ["home", "x" * LONGEST_SOCKET_DIR])
@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_nobody_else_passes_what_postgres_user_must_pass(closed: Path, name: str, umask: int) -> None:
    home = closed / name
    before = os.umask(umask)
    try:
        with using_server(home) as server:
            assert asked(server) == (1,)
            assert others_get_in(closed, home, home / "postgres", server.socket_dir) == []
            assert not private_files.is_exposed(home)
            assert not private_files.is_exposed(closed)
            looking = ["/bin/ls", str(server.socket_dir)]
            if ROOT:
                stranger = subprocess.run(
                    looking, user=STRANGER, group=STRANGER, extra_groups=[], capture_output=True, check=False
                )
                assert stranger.returncode != 0
            open_ones = [path for path in (home, *home.rglob("*")) if private_files.is_exposed(path)]
            assert open_ones == []
    finally:
        os.umask(before)
    assert os.umask(before) == before


def test_a_folder_that_was_passable_for_all_stays_as_it_was_chosen(new_home: Callable[[], Path]) -> None:
    above = new_home() / "above"
    above.mkdir()
    above.chmod(0o711)
    with using_server(above / "home"):
        assert stat.S_IMODE(above.stat().st_mode) == 0o711
        assert not acl.has_acl(above)
        assert others_get_in(above / "home") == []


def test_entries_that_somebody_made_are_kept(closed: Path) -> None:
    acl.allow_traversal(closed, acl.user_principal(STRANGER, STRANGER))
    with using_server(closed / "home") as server:
        assert asked(server) == (1,)
    assert others_get_in(closed) == [closed]
    assert others_get_in(closed / "home") == []


def test_programs_in_a_closed_folder_are_reached(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in an environment below root's own folder."""
    installed = postgres._binaries().parents[1]
    for folder in (installed, installed.with_name(f"{installed.name}.libs")):
        shutil.copytree(folder, closed / "venv" / folder.name, ignore=shutil.ignore_patterns("pginstall", "*.py"))
    programs = closed / "venv" / postgres._binaries().relative_to(installed.parent)
    monkeypatch.setattr(postgres, "_binaries", lambda: programs)
    with using_server(closed / "home") as server:
        assert asked(server) == (1,)
        assert others_get_in(closed) == []


def test_where_only_everybody_could_be_let_in_nobody_is(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file system without access lists."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    home = closed / "home"
    if ROOT:
        with pytest.raises(ConfigurationError) as caught, using_server(home):
            pass
        assert "cannot give access to the user pgserver alone, who runs Postgres" in str(caught.value)
        assert "below a folder that this user may traverse, such as /var/lib or /opt" in str(caught.value)
        assert "\n" not in str(caught.value)
    else:
        with using_server(home) as server:
            assert asked(server) == (1,)
    assert modes(closed)[str(closed)] == 0o700
    assert others_get_in(closed, home) == []


def test_the_servers_log_turns_over(closed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whoever keeps the server alive, while it runs; the server goes on in the same file."""
    monkeypatch.setattr(postgres, "LOG_CAP_BYTES", 20_000)
    home = closed / "home"
    log = home / "postgres" / kept_server.LOG
    with using_server(home) as server:
        with psycopg.connect(
            host=str(server.socket_dir), user=SUPERUSER, dbname="postgres", autocommit=True
        ) as connection:
            for number in range(200):
                with pytest.raises(psycopg.errors.SyntaxError):
                    connection.execute(f"nonsense {number} {'x' * 200}".encode())
            assert not postgres.revive_server(home)
            assert log.stat().st_size <= 20_000
            with pytest.raises(psycopg.errors.SyntaxError):
                connection.execute(b"after the turn")
        older = log.with_name(f"{log.name}.1")
        assert "nonsense 0 " in older.read_text()
        assert "after the turn" in log.read_text()
        assert (older.stat().st_uid, stat.S_IMODE(older.stat().st_mode)) == (log.stat().st_uid, 0o600)


def a_pipe(path: Path, _target: Path) -> None:
    os.mkfifo(path)


def a_link(path: Path, target: Path) -> None:
    path.symlink_to(target)


@pytest.mark.parametrize("put", [a_pipe, a_link])
@pytest.mark.parametrize("name", ["PG_VERSION", "pg_hba.conf", "pg_ident.conf", "postmaster.pid"])
def test_a_start_follows_and_awaits_nothing_that_the_servers_user_put_there(
    new_home: Callable[[], Path], name: str, put: Callable[[Path, Path], None]
) -> None:
    """A process of its own, which can be ended should it wait for ever."""
    home = new_home()
    data, target = home / "postgres", home / "target"
    data.mkdir(mode=0o700)
    os.chown(data, *server_ids())
    (data / "PG_VERSION").write_text("18\n")
    target.write_text("precious secret\n")
    (data / name).unlink(missing_ok=True)
    put(data / name, target)
    start = (
        "import sys, pathlib; from strava_pipeline.local import postgres;"
        " postgres.use_server(pathlib.Path(sys.argv[1]))"
    )
    told = subprocess.run(
        [sys.executable, "-c", start, str(home)], capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert f"ConfigurationError: {data / name} is a link, a pipe" in told.stderr
    assert "precious secret" not in told.stderr
    assert target.read_text() == "precious secret\n"


@pytest.mark.parametrize("put", [a_pipe, a_link])
def test_a_log_that_is_none_is_not_told_from(new_home: Callable[[], Path], put: Callable[[Path, Path], None]) -> None:
    home = new_home()
    data, target = home / "postgres", home / "target"
    data.mkdir(mode=0o700)
    target.write_text("precious secret\n")
    put(data / kept_server.LOG, target)
    with pytest.raises(WarehouseError, match="did not stop: pg_ctl: ") as told:
        postgres._pg_ctl(home, "stop")
    assert "precious" not in str(told.value)
