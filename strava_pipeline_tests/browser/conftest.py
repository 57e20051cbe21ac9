"""A whole installation with Dagster and bridge for all tests here, and a headless Chromium before it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, ConsoleMessage, Page, Response, expect, sync_playwright
from sqlalchemy import Engine, make_url

from strava_pipeline.local.logins import Login
from strava_pipeline.local.postgres import Server
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline_tests.browser.dagster_ui import PAGE_MILLISECONDS, WINDOW, DagsterUI
from strava_pipeline_tests.browser.screenshots import Screenshots
from strava_pipeline_tests.conftest import EMPTY, new_database
from strava_pipeline_tests.e2e.conftest import Installation, Mock, everything_up, mock_strava, new_installation
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.warm_processes import WarmProcesses

# No sandbox within a container; nothing that calls home.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
# What the guard answers to whom it does not let pass.
KEPT_OUT = {400, 401, 403, 405, 415, 421}
MONTHS = 3
OPERATOR_TOKEN = "a-token-of-the-operator"


@dataclass(frozen=True)
class Running:
    """Everything that ``up`` runs, against a mock Strava; ``months`` are all there are, oldest first."""

    installation: Installation
    mock: Mock
    engine: Engine
    months: list[date]

    @property
    def bridge_url(self) -> str:
        return f"http://127.0.0.1:{self.installation.environment['STRAVA_BRIDGE_PORT']}"

    @property
    def dagster_url(self) -> str:
        return self.installation.environment["DAGSTER_WEBSERVER_URL"]

    def connect(self, athlete_id: int) -> None:
        """Connect one of the mock's athletes, without a browser."""
        self.installation.output("connect", "--code", self.mock.new_code(athlete_id))

    def break_strava(self, **fault: object) -> None:
        """Script a fault of the mock Strava."""
        requests.post(f"{self.mock.url}/mock/faults", json=fault, timeout=PATIENCE_SECONDS).raise_for_status()


@dataclass(frozen=True)
class Site:
    """The bridge as a browser sees it, and what the browser complained about."""

    page: Page
    url: str
    complaints: list[str]


# One installation, as starting one takes as long as a test. Each test has an athlete of its own.
@pytest.fixture(scope="module")
def running(server: Server, template: str, warm_processes: WarmProcesses) -> Iterator[Running]:
    """An installation at work that may hold this month and the two before it."""
    with (
        new_installation(warm_processes) as installation,
        new_database(server, template) as database_name,
        new_database(server, EMPTY, Login.DAGSTER) as dagster_database,
        mock_strava(installation) as start_mock,
    ):
        months = last_months(MONTHS)
        database = server.url(database_name, Login.PIPELINE)
        installation.environment |= {
            "STRAVA_DATABASE_URL": database,
            "DAGSTER_POSTGRES_URL": server.url(dagster_database, Login.DAGSTER),
            "STRAVA_HISTORY_START": months[0].isoformat(),
            "STRAVA_OPERATOR_TOKEN": OPERATOR_TOKEN,
        }
        mock = start_mock("--months", str(MONTHS))
        with everything_up(installation):
            engine = open_engine(make_url(database))
            yield Running(installation, mock, engine, months)
            engine.dispose()


# Not for the whole run: as long as playwright is open, its event loop runs here, and Dagster's tests need their own.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path is not None, "no chromium on PATH: install it, or leave these tests out with -m 'not browser'"
    # Playwright's own five seconds are too few while other tests take the processors.
    expect.set_options(timeout=PAGE_MILLISECONDS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def site(running: Running, chromium: Browser) -> Iterator[Site]:
    """The bridge in a window of its own, in which the operator has logged in by a link."""
    context = chromium.new_context()
    page = context.new_page()
    page.goto(running.installation.output("login-link").strip())
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Status").wait_for()
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # The mock's consent page is not ours.
        if message.type in {"error", "warning"} and message.location["url"].startswith(running.bridge_url):
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield Site(page, running.bridge_url, complaints)
    context.close()


@pytest.fixture
def dagster(running: Running, chromium: Browser) -> Iterator[DagsterUI]:
    """Dagster's UI in a window of its own, the operator logged in; it is as large as a screenshot should be."""
    context = chromium.new_context(viewport=WINDOW, device_scale_factor=1.25, locale="en-US", timezone_id="UTC")
    page = context.new_page()
    refused: list[str] = []

    def note_answer(answer: Response) -> None:
        if answer.status in KEPT_OUT:
            refused.append(f"{answer.status} {answer.url}")

    def note_policy(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text:
            refused.append(message.text)

    page.on("response", note_answer)
    page.on("console", note_policy)
    log_in(page, running.dagster_url)
    yield DagsterUI(page, running.dagster_url, refused)
    context.close()


def log_in(page: Page, url: str) -> None:
    """From the front page to the form, and with the token back to the front page."""
    page.goto(url)
    page.get_by_label("Operator's token").fill(OPERATOR_TOKEN)
    page.get_by_role("button", name="Log in").click()
    page.wait_for_url(f"{url}/**")


@pytest.fixture
def screenshots(pytestconfig: pytest.Config, tmp_path: Path) -> Screenshots:
    """Into the folder of ``--screenshots``; without it they are taken as well, and thrown away."""
    return Screenshots(pytestconfig.getoption("screenshots") or tmp_path)


def last_months(count: int) -> list[date]:
    """The first days of so many months up to this one (UTC), oldest first."""
    months = [datetime.now(UTC).date().replace(day=1)]
    while len(months) < count:
        months.insert(0, (months[0] - timedelta(days=1)).replace(day=1))
    return months
