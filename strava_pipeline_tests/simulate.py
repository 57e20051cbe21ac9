"""Simulates a year of an installation, with its troubles: ``make simulate SEED=7``."""

from __future__ import annotations

import os
import secrets
import sys
from tempfile import TemporaryDirectory

import click

from benchmarks.database import migrated_server, owner_url
from strava_pipeline.keyring import generate_key
from strava_pipeline.settings import load_settings
from strava_pipeline.warehouse.engine import open_engine
from strava_pipeline_tests.simulated.year import Form, Year, simulated_settings, small_form


@click.command()
@click.option("--seed", type=int, default=lambda: secrets.randbelow(2**32), help="Which year; drawn if not given.")
@click.option("--small", is_flag=True, help="Three athletes and sixty days, as in make test.")
def main(seed: int, small: bool) -> None:
    """Print what happens, and exit with 1 if the tables do not become Strava's."""
    command = f"{sys.executable} -m strava_pipeline_tests.simulate --seed {seed}{' --small' if small else ''}"
    click.echo(f"seed {seed}; once more: {command}")
    form = small_form(seed) if small else Form(seed)
    with migrated_server() as server, TemporaryDirectory() as lake:
        variables = {
            "STRAVA_LAKE_URL": lake,
            "STRAVA_DATABASE_URL": owner_url(server).render_as_string(hide_password=False),
            "STRAVA_CLIENT_ID": "4711",
            "STRAVA_CLIENT_SECRET": "secret",
            "STRAVA_TOKEN_KEYS": generate_key(),
        }
        os.environ |= variables | simulated_settings(form)
        engine, owner_engine = open_engine(owner_url(server)), open_engine(owner_url(server))
        report = Year(form, load_settings(), engine, owner_engine, click.echo).run()
    for name, value in vars(report).items():
        click.echo(f"{name}: {len(value) if name == 'faults' else value}")
    for fault in report.faults:
        click.echo(fault)
    sys.exit(1 if report.faults else 0)


if __name__ == "__main__":
    main()
