"""A whole installation with Dagster and bridge, and a headless Chromium before it."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from strava_pipeline_tests.e2e.conftest import (  # noqa: F401  fixtures are found by their names here
    Installation,
    Mock,
    embedded,
    installation,
    start_mock,
)

# No sandbox within a container; nothing that calls home.
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
STOPPING_SECONDS = 60


@dataclass(frozen=True)
class Site:
    """The bridge as a browser sees it, and what the browser complained about."""

    page: Page
    url: str
    complaints: list[str]


# Not for the whole run: as long as playwright is open, its event loop runs here, and Dagster's tests need their own.
@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    path = shutil.which("chromium")
    assert path is not None, "no chromium on PATH: install it, or leave these tests out with -m 'not browser'"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def site(
    installation: Installation,  # noqa: F811  the fixture that is imported above
    start_mock: Callable[..., Mock],  # noqa: F811  see above
    chromium: Browser,
) -> Iterator[Site]:
    """Everything that ``up`` runs, against the mock Strava, for the month that has begun and the one before it."""
    start_mock()
    month_before = datetime.now(UTC).replace(day=1) - timedelta(days=1)
    installation.environment["STRAVA_HISTORY_START"] = f"{month_before:%Y-%m}-01"
    running = installation.start("up")
    assert running.stdout is not None
    told = []
    for line in running.stdout:
        told.append(line)
        if "Ctrl-C stops" in line:
            break
    assert running.poll() is None, told
    context = chromium.new_context()
    page = context.new_page()
    url = f"http://127.0.0.1:{installation.environment['STRAVA_BRIDGE_PORT']}"
    complaints: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # The mock's consent page is not ours.
        if message.type in {"error", "warning"} and message.location["url"].startswith(url):
            complaints.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield Site(page, url, complaints)
    context.close()
    running.send_signal(signal.SIGTERM)
    running.communicate(timeout=STOPPING_SECONDS)
