"""Simulates a year of an installation, with its troubles: ``make simulate SEED=7``."""

from __future__ import annotations

import os
import secrets
import sys

import click

from benchmarks.database import migrated_server, owner_url
from strava_pipeline.keyring import generate_key
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline_tests.simulated.year import Form, Year, simulated_settings


@click.command()
@click.option("--seed", type=int, default=lambda: secrets.randbelow(2**32), help="Which year; drawn if not given.")
@click.option("--athletes", type=click.IntRange(1), default=10, show_default=True)
@click.option("--days", type=click.IntRange(36), default=365, show_default=True)
@click.option("--years", type=click.IntRange(1), default=10, show_default=True)
@click.option("--upkeep/--no-upkeep", default=True)
def main(seed: int, athletes: int, days: int, years: int, upkeep: bool) -> None:
    """Print what happens, and exit with 1 if the tables do not become Strava's."""
    again = f"--seed {seed} --athletes {athletes} --days {days} --years {years}{'' if upkeep else ' --no-upkeep'}"
    click.echo(f"seed {seed}; once more: {sys.executable} -m strava_pipeline_tests.simulate {again}")
    with migrated_server() as server:
        variables = {
            "STRAVA_DATABASE_URL": owner_url(server).render_as_string(hide_password=False),
            "STRAVA_CLIENT_ID": "4711",
            "STRAVA_CLIENT_SECRET": "secret",
            "STRAVA_TOKEN_KEYS": generate_key(),
        }
        os.environ |= variables | simulated_settings(years)
        engine, owner_engine = open_engine(owner_url(server)), open_engine(owner_url(server))
        form = Form(seed, athletes=athletes, days=days, years=years, has_upkeep=upkeep)
        report = Year(form, load_settings(), engine, owner_engine, click.echo).run()
        for name, value in vars(report).items():
            click.echo(f"{name}: {value if name != 'late' else len(report.late)}")
    sys.exit(1 if report.late or report.refused else 0)


if __name__ == "__main__":
    main()
