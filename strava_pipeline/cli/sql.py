"""``strava-pipeline sql``: runs one query on the tables."""

from __future__ import annotations

import click

from strava_pipeline.cli.command_settings import command_settings
from strava_pipeline.cli.rows import PRINTERS

SECONDS = 120.0
# A table is held in memory to learn how wide its columns must be.
ROWS_IN_TABLE = 10_000
CHARACTERS_IN_TABLE = 50_000_000


@click.command()
@click.argument("query")
@click.option(
    "--format", "form", type=click.Choice(list(PRINTERS)), default="table", show_default=True,
    help="How to print the rows: csv is safe for spreadsheets and terminals, csv-exact and json hold every character.",
)  # fmt: skip
@click.option("--as-analyst", is_flag=True, help="Run it with the analysts' rights: schema strava and nothing else.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.1), default=SECONDS, show_default=True,
    help="Time limit in s, until the last row is printed.",
)  # fmt: skip
def sql(query: str, form: str, as_analyst: bool, timeout: float) -> None:
    """Run QUERY, which may only read, and print its rows; a table shows at most the first 10,000."""
    from strava_pipeline.cli.reading import sql_url
    from strava_pipeline.local.logins import Login
    from strava_pipeline.warehouse.access.read_only_query import Cut, answering

    url = sql_url(command_settings(), Login.SQL_AS_ANALYST if as_analyst else Login.SQL)
    with answering(url, query, timeout) as answer:
        if form != "table":
            PRINTERS[form](answer.names, answer.rows)
            return
        held = Cut(answer.rows, ROWS_IN_TABLE, CHARACTERS_IN_TABLE)
        PRINTERS[form](answer.names, held)
        if held.is_short:
            click.echo("there are more rows than a table shows: use --format csv or json to see all", err=True)
