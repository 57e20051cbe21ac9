"""``strava-pipeline connect`` and ``athletes``: connect, list and disconnect athletes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

from strava_pipeline.cli.athlete_export import export_athlete, restore_athlete
from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import add_row, new_table, print_table, say, say_json
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.states import GrantState

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from strava_pipeline.warehouse.athletes.athlete_status import AthleteStatus

# As the list names states that are more than one word.
STATE_WORDS = {GrantState.ARCHIVE_ONLY: "archive only"}


@click.command()
@click.option("--code", help="The code, or the whole address the browser ended on; asked for if not given.")
def connect(code: str | None) -> None:
    """Connect an athlete: exchange an authorization code, store the tokens, create the partitions.

    Prints {"athlete_id": ...}.
    """
    from strava_pipeline.strava.oauth import authorize_url
    from strava_pipeline.warehouse.migrate import open_warehouse

    settings = command_settings()
    for needed in ("client_id", "client_secret", "token_keys"):
        settings.required(needed)
    with open_warehouse(settings) as engine:
        if code is None:
            click.echo("Open this page, allow access, and paste the address the browser ends on:", err=True)
            click.echo(f"  {authorize_url(settings)}", err=True)
            code = click.prompt("address or code", err=True)
        athlete_id = connect_athlete(settings, engine, code)
    click.echo(json.dumps({"athlete_id": athlete_id}))


def connect_athlete(settings: Settings, engine: Engine, pasted: str) -> int:
    """Exchange a code, store tokens and profile, and create the athlete's partitions; returns the athlete's id."""
    from strava_pipeline.cli.athlete_in_dagster import AthleteInDagster
    from strava_pipeline.strava import oauth
    from strava_pipeline.strava.http import new_session
    from strava_pipeline.strava.mapping.athlete import athlete_row
    from strava_pipeline.sync.access import open_tokens
    from strava_pipeline.sync.erasing import finish_erasure
    from strava_pipeline.warehouse.athletes.profiles import store_athlete
    from strava_pipeline.warehouse.engine import now
    from strava_pipeline.warehouse.imports.wishes import poke

    def exchange() -> oauth.TokenGrant:
        grant = oauth.exchange_code(settings, new_session(settings.ca_bundle), code)
        # Of an athlete who is back nothing old is left, and nothing new is deleted.
        finish_erasure(settings, engine, (grant.athlete or {})["id"])
        return grant

    # A code works once: keys and input are checked before the exchange uses it up.
    store = open_tokens(settings, engine)
    code, scopes = oauth.parse_redirect(pasted)
    with AthleteInDagster.opened(settings) as dagster:
        athlete_id, grant = store.store_exchange(exchange, scopes, also=poke)
        with engine.begin() as connection:
            store_athlete(connection, athlete_row(grant.athlete or {}), now(connection))
        dagster.add(athlete_id)
    return athlete_id


@click.group()
def athletes() -> None:
    """List the athletes who are or were connected; disconnect, export or restore one; cancel the links in mails."""


athletes.add_command(export_athlete)
athletes.add_command(restore_athlete)


@athletes.command("list")
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="How to print it.",
)
def list_athletes(form: str) -> None:
    """List athletes with their state and number of activities.

    Shows missing permissions, the state of mails, and the last event as well.
    """
    from strava_pipeline.cli.reading import read
    from strava_pipeline.warehouse.athletes.athlete_status import athlete_statuses

    found = read(command_settings(), athlete_statuses)
    if form == "json":
        say_json([_as_json(status) for status in found])
    elif not found:
        click.echo(
            "nobody is connected: run strava-pipeline connect, open the bridge's page, or hand in an archive with"
            " strava-pipeline archive import"
        )
    else:
        _print(found)


@athletes.command("disconnect")
@click.argument("athlete_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
@click.option("--keep-data", is_flag=True, help="Erase tokens and address only; keep the athlete's data.")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def disconnect_athlete(athlete_id: int, keep_data: bool, yes: bool) -> None:
    """Disconnect an athlete, and erase the athlete's data.

    Revokes the grant at Strava, and erases tokens, address and data. From then on runs under way can store nothing
    more of the athlete. Dagster's runs of the athlete are deleted with the data. If this command is interrupted after
    the tokens were erased, the bridge or upkeep deletes the rest; to finish at once, run it again.
    """
    from strava_pipeline.cli.athlete_in_dagster import AthleteInDagster
    from strava_pipeline.cli.made_settings import with_token_keys
    from strava_pipeline.sync.disconnect import disconnect
    from strava_pipeline.sync.erasing import finish_erasure
    from strava_pipeline.warehouse.access.operator_audit import Actor
    from strava_pipeline.warehouse.athletes.dagster_tasks import partition_removed
    from strava_pipeline.warehouse.migrate import open_warehouse

    settings = command_settings()
    what = "tokens and address" if keep_data else "tokens, address and all data"
    if not yes:
        click.confirm(f"disconnect athlete {athlete_id}, and erase {what}?", abort=True, err=True)
    with open_warehouse(settings) as engine:
        settings = with_token_keys(settings, engine)
        gone = disconnect(settings, engine, athlete_id, keep_data=keep_data, actor=Actor.COMMAND)
        if keep_data and gone.erasure.deletes_data:
            say(f"the data of athlete {athlete_id} are being deleted already, and cannot be kept", err=True)
        rows = finish_erasure(settings, engine, athlete_id)
        with AthleteInDagster.opened(settings) as dagster:
            dagster.remove(athlete_id)
            left = dagster.delete_runs(athlete_id) if gone.erasure.deletes_data else 0
        if not left and dagster.was_there:
            partition_removed(engine, athlete_id)
    click.echo(
        f"athlete {athlete_id}: {rows} rows deleted; webhook events that were waiting and now have no effect:"
        f" {gone.erasure.events}"
    )
    if dagster.is_hosts and gone.erasure.deletes_data:
        click.echo(
            "this Dagster is not the pipeline's own: runs that made assets of others stay in it, and so does what those"
            " assets have stored of the athlete; they are yours to delete"
        )
    if not dagster.was_there:
        click.echo(
            "Dagster's webserver does not answer, and this machine has no Dagster of the pipeline: the bridge deletes"
            " the athlete's partitions and runs where they are; without a bridge, run this command again then",
            err=True,
        )
    elif left:
        click.echo(
            f"{left} of the athlete's runs are still at work: the bridge deletes them when they have ended; without a"
            " bridge, run this command again",
            err=True,
        )
    if gone.left_at_strava is not None:
        say(
            f"the grant still stands at Strava ({gone.left_at_strava}): ask the athlete to end it at"
            " https://www.strava.com/settings/apps",
            err=True,
        )


# Its earlier name, until the first release.
athletes.add_command(
    click.Command(
        "forget",
        params=disconnect_athlete.params,
        callback=disconnect_athlete.callback,
        hidden=True,
        deprecated="use athletes disconnect",
    )
)


@athletes.command("renew-links")
@click.argument("athlete_id", metavar="ID", type=click.IntRange(1, 2**63 - 1))
def renew_links(athlete_id: int) -> None:
    """Cancel the links to end mails in an athlete's mails so far.

    Use this when a link got into the wrong hands. The next mail has a new link.
    """
    from strava_pipeline.errors import UnknownAthlete
    from strava_pipeline.warehouse.access.operator_audit import Actor, note_action
    from strava_pipeline.warehouse.mail import consent
    from strava_pipeline.warehouse.migrate import open_warehouse

    with open_warehouse(command_settings()) as engine, engine.begin() as connection:
        renewed = consent.renew_links(connection, athlete_id)
        note_action(connection, Actor.COMMAND, "renew-links", f"athlete {athlete_id}", ok=renewed)
    if not renewed:
        raise UnknownAthlete(f"athlete {athlete_id} has no address here, so there is no link to cancel")
    click.echo(f"athlete {athlete_id}: all links that end the mails are canceled; the next mail has a new one")


def _as_json(status: AthleteStatus) -> dict[str, Any]:
    return {
        "athlete_id": status.athlete_id,
        "name": status.name,
        "state": status.state,
        "missing_scopes": list(status.missing) if status.state is GrantState.ACTIVE else [],
        "activities": status.activity_count,
        "mails": status.mails,
        "connected_at": status.connected_at.isoformat(),
        "last_event_at": status.last_event_at.isoformat() if status.last_event_at else None,
    }


def _print(found: list[AthleteStatus]) -> None:
    table = new_table(("athlete", "name", "state", "lacks", "activities", "mails", "connected", "last event"))
    for status in found:
        entry = _as_json(status)
        add_row(
            table,
            str(status.athlete_id),
            status.name,
            STATE_WORDS.get(status.state, status.state),
            ", ".join(entry["missing_scopes"]),
            str(status.activity_count),
            status.mails,
            f"{status.connected_at:%Y-%m-%d}",
            f"{status.last_event_at:%Y-%m-%d %H:%M}" if status.last_event_at else "",
        )
    print_table(table)
