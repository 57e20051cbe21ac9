"""``up`` where no operator's token is set: it makes one, and prints a link that logs in."""

from __future__ import annotations

import re

import requests
from dotenv import dotenv_values

from strava_pipeline.home import settings_file
from strava_pipeline_tests.e2e.conftest import Installation, stop_up, told_by_up
from strava_pipeline_tests.eventually import PATIENCE_SECONDS, eventually
from strava_pipeline_tests.ports import free_port

# Whatever goes through the proxy gets nowhere; what is addressed to this machine does not.
NO_WAY_OUT = {
    name: f"http://127.0.0.1:{free_port()}"
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY")
}


def press(browser: requests.Session, link: str, base: str) -> requests.Response:
    """Load the link's page and press its button."""
    csrf = re.search(r'name="csrf" value="([0-9a-f]+)"', browser.get(link, timeout=PATIENCE_SECONDS).text)
    assert csrf is not None
    form, origin = {"csrf": csrf[1]}, {"Origin": base}
    return browser.post(link, data=form, headers=origin, timeout=PATIENCE_SECONDS, allow_redirects=False)


def test_up_makes_a_token_and_a_link_that_logs_in_once_whatever_proxy_is_named(installation: Installation) -> None:
    del installation.environment["STRAVA_OPERATOR_TOKEN"]
    process = installation.start("up", **NO_WAY_OUT)
    told = [line.split() for line in told_by_up(process)]
    try:
        (link,) = [words[2] for words in told if words[:2] == ["log", "in"]]
        base = f"http://127.0.0.1:{installation.environment['STRAVA_BRIDGE_PORT']}"
        assert link.startswith(f"{base}/login/once/")
        token = dotenv_values(settings_file(installation.home))["STRAVA_OPERATOR_TOKEN"]
        assert token
        assert len(token) == 43
        assert token not in str(told)
        with requests.Session() as browser:
            assert (
                browser.get(f"{base}/", timeout=PATIENCE_SECONDS, allow_redirects=False).headers["Location"] == "/login"
            )
            assert press(browser, link, base).status_code == 303
            assert browser.get(f"{base}/", timeout=PATIENCE_SECONDS, allow_redirects=False).status_code == 200
            # A busy machine may take longer than the page waits.
            eventually(
                lambda: "Dagster does not answer" not in browser.get(f"{base}/", timeout=PATIENCE_SECONDS).text,
                "its answer",
            )
            assert browser.get(link, timeout=PATIENCE_SECONDS).status_code == 410
    finally:
        stop_up(process)
