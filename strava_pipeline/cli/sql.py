"""``strava-pipeline sql``: one query on the tables."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from itertools import chain, islice
from typing import Any, cast

import click

from strava_pipeline.cli.rows import PRINTERS
from strava_pipeline.errors import WarehouseError
from strava_pipeline.settings import load_settings

ROWS_AT_ONCE = 1000


@click.command()
@click.argument("query")
@click.option(
    "--format", "form", type=click.Choice(list(PRINTERS)), default="table", show_default=True,
    help="How to print the rows: csv is safe for spreadsheets and terminals, csv-exact and json hold every character.",
)  # fmt: skip
@click.option("--as-analyst", is_flag=True, help="See what the analysts' role sees: schema strava and nothing else.")
def sql(query: str, form: str, as_analyst: bool) -> None:
    """Run QUERY, which may only read, and print its rows."""
    from psycopg import Error
    from sqlalchemy import text

    from strava_pipeline.warehouse.analyst import become_analyst, can_read, ensure_analyst_role
    from strava_pipeline.warehouse.bulk import driver_of
    from strava_pipeline.warehouse.migrate import open_warehouse

    settings = load_settings()
    with open_warehouse(settings) as engine, engine.connect() as connection:
        if as_analyst and not can_read(connection, settings.analyst_role):
            ensure_analyst_role(engine, settings.analyst_role)
        connection.rollback()
        connection.execute(text("SET TRANSACTION READ ONLY"))
        if as_analyst:
            become_analyst(connection, settings.analyst_role)
        elif connection.execute(text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")).scalar():
            # A read-only transaction still lets a superuser write files and run programs by COPY.
            connection.execute(text("SET LOCAL ROLE pg_read_all_data"))
        try:
            # Streamed, so that size does not matter; and by the protocol that takes one statement only, not a second
            # one that ends the read-only transaction. Closed whatever happens, a closed pipe included: a stream left
            # open holds the connection for ever.
            with (
                driver_of(connection).cursor() as cursor,
                closing(cast("Generator[Any]", cursor.stream(query, size=ROWS_AT_ONCE))) as rows,
            ):
                first = list(islice(rows, 1))
                # A stream without rows tells no columns.
                described = cursor if first else cursor.execute(query, prepare=True)
                names = [column.name for column in described.description or ()]
                PRINTERS[form](names, chain(first, rows))
        except (Error, UnicodeError) as error:
            raise WarehouseError(f"the query failed: {str(error).strip().splitlines()[0]}") from None
