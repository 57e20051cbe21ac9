"""``strava-pipeline keys``: makes keys for the stored tokens, shows their use, and re-encrypts with a new one."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.console import say
from strava_pipeline.errors import ConfigurationError, WarehouseError

if TYPE_CHECKING:
    from strava_pipeline.keyring import Keyring
    from strava_pipeline.warehouse.tokens.key_checks import KeyUse

COLUMNS = "{:34}{:16}{:>12}{:>14}   {}"


@click.group()
def keys() -> None:
    """Manage the keys that encrypt the stored tokens (STRAVA_TOKEN_KEYS)."""


@keys.command()
def generate() -> None:
    """Print a fresh entry for STRAVA_TOKEN_KEYS. The first entry encrypts; all entries decrypt."""
    from strava_pipeline.keyring import generate_key

    click.echo(generate_key())


@keys.command()
def status() -> None:
    """List the keys, and how many rows need each.

    Shows which keys are configured, which one writes, and which you may remove. Fails if a key is missing, or has
    another value than before.
    """
    from strava_pipeline.keyring import Keyring
    from strava_pipeline.warehouse.migrate import open_warehouse
    from strava_pipeline.warehouse.tokens.key_checks import read_use, refuse_wrong_keys

    settings = command_settings()
    keyring = Keyring.parse(settings.required("token_keys"))
    with open_warehouse(settings) as engine, engine.connect() as connection:
        use = read_use(connection)
    say(COLUMNS.format("key id", "configured", "athletes", "journal rows", "first seen (UTC)"))
    for key_id in dict.fromkeys((*keyring.keys, *sorted(use.check_values), *use.missing(keyring))):
        seen = f"{use.first_seen[key_id]:%Y-%m-%d %H:%M}" if key_id in use.first_seen else "-"
        say(COLUMNS.format(key_id, _role(key_id, keyring, use), use.users[key_id], use.journal[key_id], seen))
    for key_id in list(keyring.keys)[1:]:
        say(_advice(key_id, use))
    refuse_wrong_keys(use, keyring)


@keys.command()
@click.option("--dry-run", is_flag=True, help="Only decrypt and count the rows; change nothing.")
def rotate(dry_run: bool) -> None:
    """Re-encrypt all stored tokens with the first key.

    That is the first entry of STRAVA_TOKEN_KEYS. Other processes may go on running. If this command is interrupted, run
    it again.
    """
    from strava_pipeline.sync.access import open_tokens
    from strava_pipeline.warehouse.after_restore import all_athletes
    from strava_pipeline.warehouse.erasure_list import renew
    from strava_pipeline.warehouse.migrate import open_warehouse
    from strava_pipeline.warehouse.tokens import key_rotation
    from strava_pipeline.warehouse.tokens.key_checks import read_use

    settings = command_settings()
    done: Counter[str] = Counter()
    unreadable = 0
    with open_warehouse(settings) as engine:
        keyring = open_tokens(settings, engine).keyring
        for row in key_rotation.rotate(engine, keyring, dry_run=dry_run):
            if row.reason is None:
                done[row.old_key_id] += 1
            else:
                unreadable += 1
                say(f"not re-encrypted: {row.reason}", err=True)
        with engine.connect() as connection:
            use = read_use(connection)
            everybody = all_athletes(connection)
        renewed = 0 if dry_run else renew(keyring, settings.erasures_location(), everybody)
    verb = "would be re-encrypted" if dry_run else "re-encrypted"
    for key_id, rows in sorted(done.items()):
        say(f"{_rows(rows)} of key {key_id} {verb} with key {keyring.writing_key_id}")
    if not done:
        say(f"nothing to do: key {keyring.writing_key_id} wrote all {_rows(use.rows(keyring.writing_key_id))}")
    if renewed:
        say(f"{renewed} departures in the list of erasures are hashed with key {keyring.writing_key_id} now")
    if unreadable:
        raise ConfigurationError(f"{_rows(unreadable)} cannot be decrypted: connect these athletes again")
    left = sum(use.rows(key_id) for key_id in use.needed() if key_id != keyring.writing_key_id)
    if left and not dry_run:
        raise WarehouseError(
            f"{_rows(left)} written with another key meanwhile: restart the processes that still have it first"
            " in STRAVA_TOKEN_KEYS, and run this again"
        )


def _role(key_id: str, keyring: Keyring, use: KeyUse) -> str:
    if key_id not in keyring.keys:
        return "LACKING" if use.rows(key_id) else "no"
    if key_id in use.different(keyring):
        return "ANOTHER VALUE"
    return "writes" if key_id == keyring.writing_key_id else "reads"


def _advice(key_id: str, use: KeyUse) -> str:
    rows = use.rows(key_id)
    if rows:
        return f"key {key_id}: needed by {_rows(rows)}; run strava-pipeline keys rotate before you remove it"
    return f"key {key_id}: no row needs it; remove it once no process writes with it (backups may still need it)"


def _rows(count: int) -> str:
    return f"{count} row{'s' * (count != 1)}"
