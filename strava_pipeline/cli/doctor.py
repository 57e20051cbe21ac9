"""``strava-pipeline doctor``: every setting with its source, and what is wrong with this installation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import click
from pydantic import SecretStr

from strava_pipeline.cli.console import say
from strava_pipeline.errors import ConfigurationError, StravaPipelineError
from strava_pipeline.printable import printable
from strava_pipeline.settings import LOOPBACK_HOSTS, Settings, load_settings, origin_of, variable_name

TIMEOUT_SECONDS = 5
MASK = "********"
FEWEST_CHARACTERS = 8
FAIL = "FAIL"


class DoctorFoundFaults(StravaPipelineError):
    """At least one check failed."""


class Advice(StravaPipelineError):
    """The checked part works, but a setting should be changed; each argument is one line about it."""


@click.command()
def doctor() -> None:
    """Print each setting with its source, secrets masked, then check what a running system needs.

    Sends no request that counts against Strava's limits.
    """
    settings = load_settings()
    for field in Settings.model_fields:
        say(f"{variable_name(field):38} {_shown(getattr(settings, field)):44} {origin_of(field, settings.home)}")
    click.echo()
    faults = sum(not _passes(name, check, settings) for name, check in CHECKS.items())
    if faults:
        raise DoctorFoundFaults(f"{faults} of {len(CHECKS)} checks failed: see above")


def _shown(value: Any) -> str:
    if isinstance(value, SecretStr):
        return MASK
    return "-" if value is None else printable(str(value))


def _passes(name: str, check: Callable[[Settings], str], settings: Settings) -> bool:
    try:
        lines, verdict = (check(settings),), "ok"
    except Advice as advice:
        lines, verdict = advice.args, "warn"
    except StravaPipelineError as error:
        lines, verdict = (str(error),), FAIL
    for number, line in enumerate(lines):
        label = f"{verdict:4}  {name:16}" if number == 0 else ""
        say(f"{label:22} {line}")
    return verdict != FAIL


def _app(settings: Settings) -> str:
    settings.require("client_id", "client_secret")
    return f"Strava app {settings.client_id}"


def _keys(settings: Settings) -> str:
    from strava_pipeline.keyring import Keyring

    keyring = Keyring.parse(settings.required("token_keys"))
    return f"{len(keyring.keys)} usable, {keyring.writing_key_id} writes"


def _database(settings: Settings) -> str:
    from strava_pipeline.warehouse.engine import without_password
    from strava_pipeline.warehouse.migrate import HEAD, open_warehouse

    with open_warehouse(settings) as engine:
        return f"{without_password(engine.url)}, tables at {HEAD}"


def _logins(settings: Settings) -> str:
    """Check that each database login has the rights it needs and no more, as the logins that we make have."""
    from strava_pipeline.local.logins import Login
    from strava_pipeline.warehouse.access.rights import superfluous_rights, what_analysts_may_take
    from strava_pipeline.warehouse.engine import ensure_sql_url, sql_login
    from strava_pipeline.warehouse.migrate import open_warehouse

    with open_warehouse(settings) as engine, engine.connect() as connection:
        login, more = engine.url.username, superfluous_rights(connection)
        if more:
            raise Advice(
                f"{login} has more rights than the pipeline needs ({', '.join(more)}): put it into"
                " STRAVA_DATABASE_OWNER_URL, for migrate and analysts add, and a plain login into STRAVA_DATABASE_URL,"
                " to which migrate grants its rights"
            )
        if advice := what_analysts_may_take(connection):
            raise Advice(advice)
    for reader in (Login.SQL, Login.SQL_AS_ANALYST):
        try:
            ensure_sql_url(settings, reader)
        except ConfigurationError as error:
            raise Advice(str(error)) from None
    return f"{login} for the pipeline, {sql_login(settings, Login.SQL)} for sql, each with the rights it needs"


def _tokens(settings: Settings) -> str:
    """Check that the keys are the right ones, and decrypt the tokens of every connected athlete."""
    from strava_pipeline.sync.access import open_tokens
    from strava_pipeline.warehouse.migrate import open_warehouse
    from strava_pipeline.warehouse.tokens.grants import active_athletes

    with open_warehouse(settings) as engine:
        store = open_tokens(settings, engine)
        with engine.connect() as connection:
            athletes = active_athletes(connection)
        for athlete_id in athletes:
            store.token_pair(athlete_id)
    return f"{len(athletes)} connected athletes, the tokens of each can be decrypted"


def _strava(settings: Settings) -> str:
    """Check that Strava's consent page answers, whatever its status; it counts against no limit."""
    import requests

    try:
        answer = requests.get(f"{settings.oauth_url}/authorize", timeout=TIMEOUT_SECONDS, allow_redirects=False)
    except requests.RequestException as error:
        raise ConfigurationError(f"{settings.oauth_url} cannot be reached: {type(error).__name__}") from None
    return f"{settings.oauth_url} answers ({answer.status_code})"


def _bridge(settings: Settings) -> str:
    from webhook_bridge.app import check_settings

    check_settings(settings)
    return f"signatures {settings.webhook_signature}, port {settings.bridge_port}"


def _proxy(settings: Settings) -> str:
    """Check that a public bridge trusts its proxies: it speaks plain HTTP, so it has at least one in front."""
    public = urlsplit(settings.bridge_public_url or "http://localhost").hostname not in LOOPBACK_HOSTS
    if public and origin_of("trusted_proxies", settings.home) == "default":
        raise Advice(
            "STRAVA_TRUSTED_PROXIES is not set, though STRAVA_BRIDGE_PUBLIC_URL is public: all senders count as one, so"
            " that wrong tokens are not limited per sender; set it to the number of proxies in front, mostly 1"
        )
    return f"{settings.trusted_proxies} in front of the bridge are trusted"


def _operator(settings: Settings) -> str:
    """Check that the operator's pages ask for a login, and that their token cannot be guessed."""
    from strava_pipeline.web.operator_door import OPEN_WITHOUT_LOGIN, operator_token

    if settings.dangerously_open_without_login:
        raise Advice(OPEN_WITHOUT_LOGIN)
    token = operator_token(settings)
    if token is None:
        raise Advice("STRAVA_OPERATOR_TOKEN is not set: the bridge's pages are closed; strava-pipeline up makes one")
    if len(set(token)) < FEWEST_CHARACTERS:
        raise Advice(
            f"STRAVA_OPERATOR_TOKEN has fewer than {FEWEST_CHARACTERS} different characters: it can be guessed;"
            " remove it, and strava-pipeline up makes a long random one"
        )
    return "a login is asked for"


def _dagster(settings: Settings) -> str:
    from strava_pipeline.cli.instance import prepare_dagster_environment

    return f"instance in {prepare_dagster_environment(settings)['DAGSTER_HOME']}, storage there"


def _mail(settings: Settings) -> str:
    """Check that the mail settings are valid; no mail is sent."""
    from strava_pipeline.notifications.outbox import open_outbox

    outbox = open_outbox(settings)
    if outbox is None:
        return "off: STRAVA_SMTP_URL is not set"
    return f"ride summaries by {outbox.server}, from {outbox.sender.addr_spec}"


def _upkeep(settings: Settings) -> str:
    """Check that upkeep's share of the quota suffices for all connected athletes."""
    from strava_pipeline.warehouse.engine import now
    from strava_pipeline.warehouse.migrate import open_warehouse
    from strava_pipeline.warehouse.upkeep.load import upkeep_load

    with open_warehouse(settings) as engine, engine.connect() as connection:
        load = upkeep_load(connection, settings, now(connection))
    if load.times_share > 1:
        raise Advice(str(load), "STRAVA_UPKEEP_SHARE and STRAVA_UPKEEP_RECENT_HOURS change that; see docs/upkeep.md")
    return str(load)


def _files(settings: Settings) -> str:
    from strava_pipeline.local.home_folder import describe_openings

    found = describe_openings(settings)
    if found:
        raise Advice(*found)
    others = f" but the group {settings.file_group}" if settings.file_group else ""
    return f"no other user{others} has access to {settings.home}"


CHECKS: dict[str, Callable[[Settings], str]] = {
    "Strava app": _app,
    "files": _files,
    "token keys": _keys,
    "database": _database,
    "logins": _logins,
    "stored tokens": _tokens,
    "Dagster": _dagster,
    "bridge settings": _bridge,
    "operator": _operator,
    "proxies": _proxy,
    "mail": _mail,
    "upkeep": _upkeep,
    "Strava": _strava,
}
