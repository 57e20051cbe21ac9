"""Checks of what is said to Strava: its hosts, the clock, and the addresses to come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import wraps
from http import HTTPStatus
from urllib.parse import urlsplit

from strava_pipeline.cli.doctor.clocks import judged, seconds_off
from strava_pipeline.cli.doctor.findings import EXCHANGE_SECONDS, Check, Finding, fail, ok, warn
from strava_pipeline.proxies import UNUSABLE, is_usable, name_of, proxy_for
from strava_pipeline.settings import Settings
from strava_pipeline.strava.http import Answer, new_session, send
from strava_pipeline.strava.new_host import MOVES_ON, SPELLINGS, probe_api, uses_old_host

OAUTH = "OAuth"
NOT_ASKED = "not asked: no app is set up"
Look = Callable[[Settings], Iterator[Finding]]
REACH = "look for a proxy, a firewall or DNS between this machine and Strava; https://status.strava.com tells outages"
# ``Date`` has whole seconds.
_DATE = timedelta(seconds=1)


def with_app(look: Look) -> Look:
    """Return a check that asks Strava nothing where no app is set up: archives and files need none of it."""

    @wraps(look)
    def looked(settings: Settings) -> Iterator[Finding]:
        if settings.client_id is None and settings.client_secret is None:
            yield ok(NOT_ASKED)
        else:
            yield from look(settings)

    return looked


def check_way_out(settings: Settings) -> Iterator[Finding]:
    """Say which way requests to Strava take; a proxy that no request can go through is a failure."""
    hosts = {urlsplit(url).hostname or "": url for url in (settings.api_url, settings.oauth_url)}
    for host, url in hosts.items():
        proxy = proxy_for(url)
        if proxy is None:
            yield ok(f"none: {host} is asked directly")
        elif is_usable(proxy):
            yield ok(f"{host} is asked through {name_of(proxy)}")
        else:
            yield fail(f"{host} cannot be asked: {UNUSABLE}", "set HTTPS_PROXY, or name the host in NO_PROXY")


@with_app
def check_oauth(settings: Settings) -> Iterator[Finding]:
    """Check that Strava's consent page answers; it counts against no limit."""
    answer = _consent_page(settings)
    told = f"{settings.oauth_url} answers ({answer.status})"
    yield fail(told, REACH) if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR else ok(told)


@with_app
def check_clock(settings: Settings) -> Iterator[Finding]:
    """Compare this machine's clock with Strava's, by the ``Date`` of the consent page."""
    sent = datetime.now(UTC)
    told = _consent_page(settings).server_time
    if told is None:
        yield warn("Strava's answer names no time", f"{settings.oauth_url} should be Strava's; {REACH}")
        return
    yield judged(seconds_off(sent, datetime.now(UTC), told, _DATE), "Strava's")


def _consent_page(settings: Settings) -> Answer:
    return send(
        new_session(settings.ca_bundle),
        "GET",
        f"{settings.oauth_url}/authorize",
        what=settings.oauth_url,
        deadline_s=EXCHANGE_SECONDS,
    )


@with_app
def check_api(settings: Settings) -> Iterator[Finding]:
    """Check that the API answers, without a token, so that Strava counts it against nobody's limits."""
    probe = probe_api(settings.api_url, settings.ca_bundle, EXCHANGE_SECONDS)
    told = f"{probe.url} {_words(probe.told)}"
    yield ok(told) if probe.is_api else fail(told, f"check STRAVA_API_URL; {REACH}")


@with_app
def check_new_host(settings: Settings) -> Iterator[Finding]:
    """Say whether the API's new host, in its first spelling, answers already."""
    yield _judged_host(SPELLINGS[0], settings)


@with_app
def check_other_spelling(settings: Settings) -> Iterator[Finding]:
    """Say the same of the spelling with www."""
    yield _judged_host(SPELLINGS[1], settings)


def _judged_host(base: str, settings: Settings) -> Finding:
    if settings.api_url == base:
        return ok(f"{base} is in use")
    if not uses_old_host(settings.api_url):
        return ok(f"{base} is not asked: STRAVA_API_URL is not Strava's old address")
    probe = probe_api(base, settings.ca_bundle, EXCHANGE_SECONDS)
    told = f"{base} {_words(probe.told)}"
    if probe.is_api:
        return warn(told, f"set STRAVA_API_URL={base} before {MOVES_ON}, and restart everything")
    if datetime.now(UTC).date() < MOVES_ON:
        return ok(f"{told}; it is needed from {MOVES_ON} on")
    return warn(told, REACH)


def _words(told: str) -> str:
    """What a probe told, as a predicate."""
    return told if told.startswith("answers") else f"cannot be reached: {told}"


STRAVA_CHECKS = (
    Check("outgoing proxy", check_way_out),
    Check(OAUTH, check_oauth, REACH),
    Check("clock", check_clock, REACH, needs=OAUTH),
    Check("API", check_api, REACH),
    Check("new API host", check_new_host, REACH),
    Check("new API host, www", check_other_spelling, REACH),
)
