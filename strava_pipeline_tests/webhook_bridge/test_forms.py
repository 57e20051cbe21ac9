"""Every form is checked in one place: a route that is added need not think of it."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import Engine

from strava_pipeline.settings import Settings
from strava_pipeline_tests.webhook_bridge.browser import Browser, csrf_in, words_of
from webhook_bridge.app import create_app

REFUSED = "was not sent from this page"
SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
# Strava's deliveries, the one click by which a mail program ends mails, and parts of uploads, which have tickets.
NO_FORMS = {"webhooks.deliver", "unsubscribing.end", "upload_api.put_part"}


@pytest.fixture
def app(settings: Settings, engine: Engine) -> Flask:
    return create_app(settings, engine)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_form_that_is_added_is_refused_without_its_token(app: Flask, method: str) -> None:
    app.add_url_rule("/added", view_func=lambda: "done", methods=[method])
    browser = Browser(app)

    def send(origin: str = "http://127.0.0.1", **form: str) -> int:
        return browser.client.open(
            "/added", method=method, data=form, base_url="http://127.0.0.1", headers={"Origin": origin}
        ).status_code

    assert send() == 403
    csrf = csrf_in(browser.get("/login"))
    assert send() == 403
    assert send(csrf="0" * 64) == 403
    assert send(csrf=csrf, origin="https://evil.example") == 403
    assert send(csrf=csrf) == 200


def test_all_that_may_change_something_is_a_form_but_for_three(app: Flask) -> None:
    unchecked = set()
    for rule in app.url_map.iter_rules():
        for method in (rule.methods or set()) - SAFE_METHODS:
            path = app.url_map.bind("127.0.0.1").build(rule.endpoint, dict.fromkeys(rule.arguments, 1), method)
            answer = app.test_client().open(path, method=method, base_url="http://127.0.0.1")
            if answer.status_code != 403 or REFUSED not in words_of(answer):
                unchecked.add(rule.endpoint)
    assert unchecked == NO_FORMS


def test_where_there_is_no_page_nothing_is_said_of_a_form(app: Flask) -> None:
    browser = Browser(app)
    assert [browser.post(path).status_code for path in ("/nowhere", "/", "/health/live")] == [404, 405, 405]
