"""Uploads in a browser: with progress, over a reload, a lost connection and a cancel, by the operator and by a link."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Route, expect
from sqlalchemy import Engine

from strava_pipeline.local import serving
from strava_pipeline.local.listeners import open_listener
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.access.operator_sessions import open_session
from strava_pipeline.warehouse.archives.imports import list_imports
from strava_pipeline.warehouse.upload_files import fetched
from strava_pipeline.web.operator_door import cookie_name, session_proof
from strava_pipeline_tests.browser.screenshots import Screenshots
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.webhook_bridge.uploads import archive
from webhook_bridge.app import create_app
from webhook_bridge.current import bridge_of
from webhook_bridge.upload_tickets import PART_BYTES, UploadBodies

pytestmark = pytest.mark.browser

ADA = 11
PAGE = f"/athletes/{ADA}/archive"
PARTS = 12
HERE = re.compile("is here. It is imported now")
# A busy machine takes its time for 50 MB.
WHOLE_MILLISECONDS = 180_000
Colours = Literal["light", "dark"]


@contextmanager
def served(app: Flask) -> Iterator[str]:
    """An app, served as the bridge is; its address."""
    listener = open_listener("127.0.0.1", 0, "a test")
    server = serving._create_server(app, listener, threads=8, clear_untrusted_proxy_headers=False)
    server.large_bodies = UploadBodies(bridge_of(app).tickets)
    loop = threading.Thread(target=server.run, daemon=True)
    loop.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.leave_loop()
        loop.join()
        server.task_dispatcher.shutdown()
        for channel in [*server.active_channels.values()]:
            channel.handle_close()
        server.close()


@pytest.fixture
def url(settings: Settings, engine: Engine) -> Iterator[str]:
    with served(create_app(settings, engine)) as address:
        yield address


@pytest.fixture
def logged_in(chromium: Browser, settings: Settings, engine: Engine, url: str) -> Iterator[Callable[..., Page]]:
    """Opens the operator's page of an athlete's archive, in a window of its own."""
    contexts: list[BrowserContext] = []

    def start(colours: Colours = "light", width: int = 1000, height: int = 800) -> Page:
        context = chromium.new_context(viewport={"width": width, "height": height}, color_scheme=colours)
        contexts.append(context)
        with engine.begin() as connection:
            secret = open_session(connection, session_proof(settings))
        context.add_cookies([{"name": cookie_name(settings), "value": secret, "url": url}])
        page = context.new_page()
        page.goto(f"{url}{PAGE}")
        return page

    yield start
    for context in contexts:
        context.close()


@pytest.fixture(scope="module")
def content() -> bytes:
    return archive(ADA, PARTS * PART_BYTES)


@pytest.fixture
def file(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "export_11.zip"
    path.write_bytes(content)
    return path


def complaints_of(page: Page) -> list[str]:
    """What the browser will complain about, such as a breach of the policy."""
    found: list[str] = []

    def note(message: ConsoleMessage) -> None:
        # That a part was answered with an error is what some tests want.
        if message.type in {"error", "warning"} and not message.text.startswith("Failed to load resource"):
            found.append(message.text)

    page.on("console", note)
    page.on("pageerror", lambda error: found.append(str(error)))
    return found


def hold_after(page: Page, parts: int) -> threading.Event:
    """Let so many parts pass, and none after them; the event tells that one is held."""
    held = threading.Event()
    seen = 0

    def pass_or_hold(route: Route) -> None:
        nonlocal seen
        seen += 1
        if seen <= parts:
            route.continue_()
        else:
            held.set()

    page.route("**/archive/parts/*", pass_or_hold)
    return held


def arrived(engine: Engine) -> bytes:
    """What lies there of the one upload that is whole."""
    with engine.connect() as connection:
        (waiting,) = list_imports(connection, ADA)
    assert waiting.place is not None
    with fetched(waiting.place) as path:
        return path.read_bytes()


def test_an_upload_goes_on_after_a_reload_in_the_middle(
    logged_in: Callable[..., Page], file: Path, content: bytes, engine: Engine, screenshots: Screenshots
) -> None:
    page = logged_in()
    complaints = complaints_of(page)
    hold_after(page, 5)
    page.get_by_label("Archive (a zip").set_input_files(file)
    page.get_by_role("button", name="Upload", exact=True).click()
    progress = page.get_by_role("progressbar", name="Upload")
    expect(progress).to_have_js_property("value", 5 * PART_BYTES)
    expect(page.get_by_text(re.compile(r"^41.%: 21\.0 MB of 50\.3 MB"))).to_be_visible()
    expect(page.get_by_role("button", name="Upload", exact=True)).to_be_disabled()
    page.screenshot(path=screenshots.folder / "upload-under-way.png")
    page.unroute_all()
    page.reload()
    expect(page.get_by_text(re.compile(r"export_11\.zip is on its way: 41\s%\s+is here\."))).to_be_visible()
    page.get_by_label("Archive (a zip").set_input_files(file)
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url) if request.method == "PUT" else None)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("status")).to_have_text(HERE, timeout=WHOLE_MILLISECONDS)
    assert len(sent) <= PARTS + 1 - 5
    assert arrived(engine) == content
    assert complaints == []


def test_an_athlete_uploads_by_a_link_with_the_keyboard_alone(
    logged_in: Callable[..., Page], chromium: Browser, file: Path, content: bytes, engine: Engine
) -> None:
    operator = logged_in()
    operator.get_by_role("button", name=f"Make a link for athlete {ADA}").click()
    link = operator.get_by_label("Copy this link").input_value()
    context = chromium.new_context()
    page = context.new_page()
    complaints = complaints_of(page)
    page.goto(link)
    expect(page.get_by_role("heading", name="Hand in your archive")).to_be_visible()
    page.get_by_label("Archive (a zip").set_input_files(file)
    page.get_by_label("Archive (a zip").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name="Upload", exact=True)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text(HERE, timeout=WHOLE_MILLISECONDS)
    assert arrived(engine) == content
    operator.get_by_role("button", name="Cancel the link").click()
    page.reload()
    expect(page.get_by_text("This link has ended, was canceled, or is incomplete.")).to_be_visible()
    assert complaints == []
    context.close()


def test_a_lost_connection_is_waited_for(logged_in: Callable[..., Page], file: Path, engine: Engine) -> None:
    page = logged_in()
    lost = 0

    def lose_some(route: Route) -> None:
        nonlocal lost
        if "parts" in route.request.url and lost < 2:
            lost += 1
            route.abort("connectionreset")
        else:
            route.continue_()

    page.route("**/archive/**", lose_some)
    page.get_by_label("Archive (a zip").set_input_files(file)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("The upload goes on by itself")
    expect(page.get_by_role("status")).to_have_text(HERE, timeout=WHOLE_MILLISECONDS)
    assert lost == 2


def test_cancel_ends_it_and_another_file_can_be_chosen(
    logged_in: Callable[..., Page], file: Path, tmp_path: Path, settings: Settings, engine: Engine
) -> None:
    page = logged_in()
    held = hold_after(page, 2)
    page.get_by_label("Archive (a zip").set_input_files(file)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("progressbar", name="Upload")).to_have_js_property("value", 2 * PART_BYTES)
    assert held.wait(PATIENCE_SECONDS)
    page.get_by_role("button", name="Cancel the upload").click()
    expect(page.get_by_role("status")).to_have_text("The upload is canceled, and what was here of it is deleted.")
    assert [*Path(settings.upload_location()).rglob("*.zip")] == []
    page.unroute_all()
    other = tmp_path / "other.zip"
    other.write_bytes(archive(ADA))
    page.get_by_label("Archive (a zip").set_input_files(other)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("status")).to_have_text(HERE, timeout=WHOLE_MILLISECONDS)


def test_a_page_by_plain_http_hashes_by_itself(
    logged_in: Callable[..., Page], file: Path, content: bytes, engine: Engine
) -> None:
    page = logged_in()
    page.add_init_script("Object.defineProperty(window.crypto, 'subtle', {value: undefined});")
    page.reload()
    assert page.evaluate("window.crypto.subtle === undefined")
    page.get_by_label("Archive (a zip").set_input_files(file)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("status")).to_have_text(HERE, timeout=WHOLE_MILLISECONDS)
    assert arrived(engine) == content


def test_what_cannot_be_imported_is_said(logged_in: Callable[..., Page], tmp_path: Path) -> None:
    page = logged_in()
    other = tmp_path / "export_12.zip"
    other.write_bytes(archive(12))
    page.get_by_label("Archive (a zip").set_input_files(other)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("status")).to_contain_text("is the archive of athlete 12, not of athlete 11")


def test_without_scripts_a_line_says_what_is_needed(
    chromium: Browser, settings: Settings, engine: Engine, url: str
) -> None:
    context = chromium.new_context(java_script_enabled=False)
    with engine.begin() as connection:
        secret = open_session(connection, session_proof(settings))
    context.add_cookies([{"name": cookie_name(settings), "value": secret, "url": url}])
    page = context.new_page()
    page.goto(f"{url}{PAGE}")
    expect(page.get_by_text("To upload, this page needs JavaScript")).to_be_visible()
    expect(page.get_by_role("button", name="Upload", exact=True)).to_be_hidden()
    context.close()


@pytest.mark.parametrize("colours", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1000])
def test_the_pages_fit_phones_and_desks(
    logged_in: Callable[..., Page], file: Path, screenshots: Screenshots, colours: Colours, width: int
) -> None:
    page = logged_in(colours, width)
    hold_after(page, 4)
    page.get_by_role("button", name=f"Make a link for athlete {ADA}").click()
    link = page.get_by_label("Copy this link").input_value()
    page.get_by_label("Archive (a zip").set_input_files(file)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("progressbar", name="Upload")).to_have_js_property("value", 4 * PART_BYTES)
    for name, address in (("operator", None), ("athlete", link)):
        if address is not None:
            page.goto(address)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.screenshot(path=screenshots.folder / f"upload-{name}-{colours}-{width}.png", full_page=True)
