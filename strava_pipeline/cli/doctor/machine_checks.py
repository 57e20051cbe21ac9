"""Checks of this machine: files, disks, versions, and the settings of the bridge that runs here."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from urllib.parse import urlsplit

from strava_pipeline.cli.doctor.findings import Check, Finding, fail, ok, warn
from strava_pipeline.cli.whose_dagster import has_hosts_storage
from strava_pipeline.extras import Extra, install, is_installed
from strava_pipeline.keyring import Keyring
from strava_pipeline.local.disk import local_disks
from strava_pipeline.local.home_folder import describe_opening, describe_openings
from strava_pipeline.settings import Settings
from strava_pipeline.settings_values import LOOPBACK_HOSTS
from strava_pipeline.web.operator_door import OPEN_WITHOUT_LOGIN, operator_token

OURS = "strava-pipeline"
# Told with their versions; an installation by pip keeps all the others within their ranges, too.
TOLD = ("dagster", "sqlalchemy", "psycopg")
TOKEN_KEYS = "token keys"  # noqa: S105  the name of a check
# What is handed in needs neither an app nor keys.
NO_APP = (
    "none is set up: archives and files are all there is; to let people connect, set STRAVA_CLIENT_ID and"
    " STRAVA_CLIENT_SECRET"
)
FEWEST_CHARACTERS = 8
# A lake of many athletes has a hundred thousand files.
FILES_SECONDS = 20.0


def check_versions(settings: Settings) -> Iterator[Finding]:
    """Tell the versions, and check that the packages we need are those that work with this version of ours."""
    told = ", ".join(f"{name} {version(name)}" for name in TOLD)
    extras = ", ".join(extra for extra in Extra if is_installed(extra)) or "none"
    yield ok(f"{OURS} {version(OURS)} (extras: {extras}), Python {platform.python_version()}, {told}")
    if settings.lake_url is not None and not is_installed(Extra.LAKE):
        yield fail("STRAVA_LAKE_URL is set, and nothing here can write Parquet files", install(Extra.LAKE))
    for name, allowed, installed in _misfits():
        yield fail(f"{name} is {installed}, and {OURS} works with {allowed}", f"pip install '{name}{allowed}'")


def _misfits() -> Iterator[tuple[str, str, str]]:
    """Each package that is outside its range: its name, the range, and what is installed."""
    from packaging.requirements import Requirement

    for needed in map(Requirement, requires(OURS) or []):
        if needed.marker is not None and not any(needed.marker.evaluate({"extra": extra}) for extra in Extra):
            continue
        try:
            installed = version(needed.name)
        except PackageNotFoundError:
            if needed.marker is None:
                yield needed.name, str(needed.specifier), "not installed"
            continue
        if not needed.specifier.contains(installed, prereleases=True):
            yield needed.name, str(needed.specifier), installed


def check_files(settings: Settings) -> Iterator[Finding]:
    """Check that no other user of this machine has access to our files; a host's are the host's to open or close."""
    openings = describe_openings(settings)
    dagster = settings.dagster_home
    is_hosts = has_hosts_storage(settings)
    if dagster is not None and not is_hosts and (opening := describe_opening(dagster / "storage")) is not None:
        openings.append(opening)
    for opening in openings:
        yield warn(opening)
    if not openings:
        others = f" but the group {settings.file_group}" if settings.file_group else ""
        yield ok(f"no other user{others} has access to {settings.home}")
    if is_hosts:
        yield ok(f"not looked at: {dagster} is the folder of a Dagster with another storage than ours")


def check_disks(settings: Settings) -> Iterator[Finding]:
    """Check that there is room on the disks of this machine that are written to."""
    for disk in local_disks(settings):
        if disk.is_full:
            yield fail(str(disk), "make room now: docs/storage.md says what grows, and what may go")
        elif disk.is_scarce:
            yield warn(str(disk), "make room soon: docs/storage.md says what grows, and what may go")
        else:
            yield ok(str(disk))


def check_app(settings: Settings) -> Iterator[Finding]:
    """Check that the app's id and secret are set; whether they are right shows at the subscription."""
    if settings.client_id is None and settings.client_secret is None:
        yield ok(NO_APP)
        return
    settings.require("client_id", "client_secret")
    yield ok(f"app {settings.client_id}")


def check_token_keys(settings: Settings) -> Iterator[Finding]:
    """Check that the keys can be used; whether they are the right ones shows at the stored tokens."""
    if settings.token_keys is None and settings.client_id is None:
        yield ok("none, and none are needed: no app is set up")
        return
    keyring = Keyring.parse(settings.required("token_keys"))
    yield ok(f"{len(keyring.keys)} usable, {keyring.writing_key_id} writes")


def check_bridge_settings(settings: Settings) -> Iterator[Finding]:
    """Check the settings without which the bridge does not start."""
    from webhook_bridge.app import check_settings
    from webhook_bridge.webhooks import takes_deliveries

    check_settings(settings)
    if takes_deliveries(settings):
        yield ok(f"signatures {settings.webhook_signature}, port {settings.bridge_port}")
    else:
        yield ok(f"no app is set up, so no delivery is taken; port {settings.bridge_port}")


def check_operator(settings: Settings) -> Iterator[Finding]:
    """Check that the operator's pages ask for a login, and that their token cannot be guessed."""
    token = operator_token(settings)
    if settings.dangerously_open_without_login:
        yield warn(OPEN_WITHOUT_LOGIN, "unset it, unless something else in front asks for a login")
    elif token is None:
        yield warn(
            "STRAVA_OPERATOR_TOKEN is not set: the bridge's pages are closed", "strava-pipeline up or init makes one"
        )
    elif len(set(token)) < FEWEST_CHARACTERS:
        yield warn(
            f"STRAVA_OPERATOR_TOKEN has fewer than {FEWEST_CHARACTERS} different characters: it can be guessed",
            "remove it, and strava-pipeline up makes a long random one",
        )
    else:
        yield ok("a login is asked for")


def check_proxies(settings: Settings) -> Iterator[Finding]:
    """Check that a public bridge trusts its proxies: it speaks plain HTTP, so it has at least one in front."""
    public = urlsplit(settings.bridge_public_url or "http://localhost").hostname not in LOOPBACK_HOSTS
    if public and settings.origin_of("trusted_proxies") == "default":
        yield warn(
            "STRAVA_TRUSTED_PROXIES is not set, though STRAVA_BRIDGE_PUBLIC_URL is public: all senders count as one,"
            " so that wrong tokens are not limited per sender",
            "set it to the number of proxies in front, mostly 1",
        )
    else:
        yield ok(f"{settings.trusted_proxies} in front of the bridge are trusted")


MACHINE_CHECKS = (
    Check("versions", check_versions),
    Check("files", check_files, limit_s=FILES_SECONDS),
    Check("disk", check_disks),
)
BRIDGE_CHECKS = (
    Check("bridge settings", check_bridge_settings),
    Check("operator", check_operator),
    Check("proxies", check_proxies),
)
APP_CHECKS = (
    Check("Strava app", check_app),
    Check(TOKEN_KEYS, check_token_keys),
)
