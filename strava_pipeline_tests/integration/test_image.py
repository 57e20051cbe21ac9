"""The image, built from a clean clone and run: what it holds, and that an installation of its containers works.

It takes three minutes to build, one and a half for the demo, and one for the four containers, on a machine that does
nothing else.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import requests
from sqlalchemy import Engine, make_url, text

from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.settings import secret_variables
from strava_pipeline_tests.containers import CANARY, HOME, PACKAGE, USER, Container, Image, Running, built_image
from strava_pipeline_tests.e2e import recordings
from strava_pipeline_tests.e2e.conftest import Installation, Mock
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.ports import free_port
from strava_pipeline_tests.proxied import DAGSTER_NAME, PUBLIC_NAME, Ports, Proxy
from strava_pipeline_tests.proxies import NAMES, running_proxy
from strava_pipeline_tests.webhook_bridge.deliveries import delivery, signed

pytestmark = pytest.mark.long

# What builds packages, by any prefix and version, and Python's headers.
COMPILERS = re.compile(r"(.+-)?(cc|c\+\+|gcc|g\+\+|clang|cpp|cc1|as|ld|make|cmake|pip3?(\.\d+)?)(-\d[\d.]*)?|Python\.h")
MOST_BYTES = 1_200_000_000
SECRETS, SOCKET = "/run/secrets", "/run/postgres"
# In the order in which compose starts them.
PARTS = ("code-server", "webserver", "daemon", "bridge")


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    # Not below pytest's own folder: users in containers have to get in.
    with tempfile.TemporaryDirectory(prefix="strava-pipeline-image-") as folder:
        Path(folder).chmod(0o755)
        with built_image(Path(folder)) as image:
            yield image


@pytest.fixture
def folder(image: Image) -> Iterator[Path]:
    """A folder that containers get into."""
    with tempfile.TemporaryDirectory(prefix="strava-pipeline-container-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.fixture
def home(folder: Path) -> Path:
    """A volume for STRAVA_HOME."""
    home = folder / "home"
    home.mkdir(mode=0o700)
    shutil.chown(home, USER, USER)
    return home


def files(image: Image) -> Iterator[tuple[Path, os.stat_result]]:
    """Everything in the image."""
    for above, folders, names in os.walk(image.root):
        for name in (*folders, *names):
            path = Path(above, name)
            yield path, path.lstat()


def test_it_says_what_it_is_and_how_it_is_run(image: Image) -> None:
    labels = image.configuration["Labels"]
    assert labels["org.opencontainers.image.revision"] == image.revision
    assert labels["org.opencontainers.image.version"] == "0.1.0"
    assert image.configuration["User"] == f"{USER}:{USER}"
    assert image.configuration["Entrypoint"][0] == "/usr/bin/tini"


def test_it_holds_no_compiler_and_no_test_and_nothing_that_raises_rights(image: Image) -> None:
    tools = [
        path for path, status in files(image) if not stat.S_ISDIR(status.st_mode) and COMPILERS.fullmatch(path.name)
    ]
    ours = [path for path, _ in files(image) if path.name == "strava_pipeline_tests"]
    raising = [path for path, status in files(image) if stat.S_ISREG(status.st_mode) and status.st_mode & 0o6000]
    tests = [path for path in (image.root / "opt").rglob("tests") if path.is_dir()]
    assert (tools, ours, raising, tests) == ([], [], [], [])


def test_nobody_but_root_can_change_the_program(image: Image) -> None:
    program = image.root / "opt" / "strava-pipeline"
    assert [
        path
        for path in (program, *program.rglob("*"))
        if path.lstat().st_uid != 0 or (path.lstat().st_mode & 0o022 and not path.is_symlink())
    ] == []


def test_no_setting_of_the_building_machine_is_in_a_layer_or_in_the_history(image: Image) -> None:
    # All layers: those of the base, and of the image.
    storage = image.buildah.folder / "storage"
    found = subprocess.run(
        ["grep", "--recursive", "--fixed-strings", "--files-with-matches", CANARY, str(storage)],  # noqa: S607  any
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.stdout, found.returncode) == ("", 1)
    assert CANARY not in image.inspected
    caches = [image.root / "root" / ".cache", *(image.root / "var" / "lib" / "apt" / "lists").glob("*")]
    assert [path for path in caches if path.exists()] == []
    assert [path for path, _ in files(image) if path.suffix == ".whl" or path.name in {".git", "pip.conf"}] == []


def test_a_package_that_the_build_was_asked_for_is_there(image: Image) -> None:
    assert [*(image.root / "opt").glob(f"strava-pipeline/lib/python3*/site-packages/{PACKAGE}/__init__.py")]


def test_it_is_not_larger_than_it_was(image: Image) -> None:
    assert sum(status.st_size for _, status in files(image)) < MOST_BYTES


@pytest.mark.parametrize("command", ["migrate", "bridge", "code-server"])
def test_without_a_database_a_part_ends_with_one_line(image: Image, folder: Path, command: str) -> None:
    """It knows that it is in a container, and starts none."""
    done = Container(image, folder, {"STRAVA_LOG_FORMAT": "text"}).run(command)
    told = [line for line in done.stderr.splitlines() if line.startswith("strava-pipeline: ")]
    assert (done.returncode, len(told)) == (1, 1)
    assert told[0].startswith("strava-pipeline: STRAVA_")


def test_the_demo_runs_on_a_read_only_root(image: Image, folder: Path, home: Path) -> None:
    container = Container(image, folder, volumes={HOME: home})
    with image.read_only():
        # Buildah ends with an error of its own, since it cannot remove what it has put there.
        done = container.execute(
            "sh", "-c", 'touch /new; "$@"; echo "ended with $?"', "sh", *container.command_of("demo")
        )
    assert "touch: cannot touch '/new': Read-only file system" in done.stderr
    assert "ended with 0" in done.stdout.splitlines(), f"{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    assert (home / "postgres").stat().st_uid == USER


@pytest.fixture
def ports() -> Ports:
    return Ports()


@pytest.fixture
def settings(
    installation: Installation, server: Server, database_name: str, folder: Path, ports: Ports
) -> Iterator[dict[str, str]]:
    """Settings of four containers, their secrets in files, and their Postgres behind a socket."""
    socket = Path(server.socket_dir)
    addresses = {name: value for name, value in installation.environment.items() if value.startswith("postgresql")}
    addresses["STRAVA_DATABASE_OWNER_URL"] = server.url(database_name, Login.OWNER)
    given = (
        installation.environment
        | {name: _moved(value) for name, value in addresses.items()}
        | {
            "STRAVA_LOG_FORMAT": "json",
            "STRAVA_BRIDGE_PORT": str(ports.bridge),
            "STRAVA_BRIDGE_PUBLIC_URL": f"https://{PUBLIC_NAME}:{ports.https}",
            "STRAVA_DAGSTER_HOSTS": DAGSTER_NAME,
            "STRAVA_TRUSTED_PROXIES": "1",
            "STRAVA_RUNS_AT_ONCE": "2",
            "DAGSTER_WEBSERVER_URL": f"http://127.0.0.1:{ports.dagster}",
            "CODE_SERVER_HOST": "127.0.0.1",
            "CODE_SERVER_PORT": str(free_port()),
        }
    )
    secrets = folder / "secrets"
    secrets.mkdir()
    for name in secret_variables() & given.keys():
        # As an editor leaves it.
        (secrets / name.lower()).write_text(f"{given.pop(name)}\n", encoding="utf-8")
        given[f"{name}_FILE"] = f"{SECRETS}/{name.lower()}"
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in (socket, *socket.glob(".s.PGSQL.*[0-9]"))}
    try:
        for path in modes:
            path.chmod(0o711 if path.is_dir() else 0o777)
        yield given
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


def _moved(address: str) -> str:
    """The address of a database as containers reach it."""
    return make_url(address).update_query_dict({"host": SOCKET}).render_as_string(hide_password=False)


@pytest.fixture
def start(
    image: Image, server: Server, settings: dict[str, str], folder: Path, home: Path
) -> Callable[[str], Container]:
    """Makes containers of one installation by their names."""
    volumes = {HOME: home, SECRETS: folder / "secrets", SOCKET: Path(server.socket_dir)}

    def start(name: str) -> Container:
        own = folder / name
        own.mkdir()
        return Container(image, own, settings, volumes)

    return start


def test_four_containers_turn_webhooks_into_rows_behind_each_proxy(
    start: Callable[[str], Container],
    start_mock: Callable[..., Mock],
    settings: dict[str, str],
    engine: Engine,
    folder: Path,
    tmp_path: Path,
    ports: Ports,
    installation: Installation,
) -> None:
    recordings.write(tmp_path / "runner")
    mock = start_mock("--recordings", str(tmp_path / "runner"))
    settings |= {
        name: value for name, value in installation.environment.items() if name.endswith(("API_URL", "OAUTH_URL"))
    }
    command = start("command")
    command.output("migrate")
    with ExitStack() as ended:
        running: dict[str, Running] = {}
        for part in PARTS:
            running[part] = ended.enter_context(start(part).running(part))
            running[part].await_health()
        told = json.loads(command.output("connect", "--code", mock.new_code(recordings.ATHLETE_ID)))
        assert told["athlete_id"] == recordings.ATHLETE_ID
        for proxy_name in NAMES:
            with running_proxy(proxy_name, _made(folder / proxy_name), ports) as proxy:
                ride = _ride(mock)
                _deliver(proxy, ride, installation.environment)
                eventually(partial(_is_analysed, engine, ride), f"the analysis of {ride}")
        assert {part: running[part].end() for part in reversed(PARTS)} == dict.fromkeys(PARTS, 0)


def _made(path: Path) -> Path:
    path.mkdir()
    return path


def _ride(mock: Mock) -> int:
    """Somebody rides, and Strava tells nobody yet; the activity's id."""
    fields = {"athlete_id": recordings.ATHLETE_ID, "sport_type": "Ride", "silent": True}
    return int(requests.post(f"{mock.url}/mock/activities", json=fields, timeout=PATIENCE_SECONDS).json()["id"])


def _deliver(proxy: Proxy, activity: int, environment: Mapping[str, str]) -> None:
    """Deliver an event as Strava does."""
    body = delivery(object_id=activity, owner_id=recordings.ATHLETE_ID)
    headers = signed(body, environment["STRAVA_WEBHOOK_SIGNING_SECRETS"])
    answer = proxy.send("POST", "/webhooks/strava", headers=headers, body=body)
    assert (answer.status, json.loads(answer.body)) == (200, {"status": "new"})


def _is_analysed(engine: Engine, activity: int) -> bool:
    with engine.connect() as connection:
        found = connection.execute(
            text("SELECT 1 FROM strava.route_analyses WHERE activity_id = :activity"), {"activity": activity}
        )
        return found.first() is not None
