"""Runs the property tests of the tables' truth on ever new histories: ``make soak MINUTES=10``.

Each run has a Postgres of its own and a seed, which gives the same histories again.
"""

from __future__ import annotations

import re
import secrets
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import click

from strava_pipeline_tests.histories import SOAK

TESTS = (
    "strava_pipeline_tests/sync/test_month_is_stravas_truth.py::test_a_backfill_ends_in_tables_equal_to_strava",
    "strava_pipeline_tests/sync/test_webhook_orders.py::test_the_tables_end_as_strava_is",
)
_PASSING = re.compile(r"(\d+) passing")


@dataclass(frozen=True)
class Run:
    """One run of a test: the examples that passed, the time it took, and its output, if it failed."""

    test: str
    seed: int
    examples: int
    seconds: float
    failure: str

    def line(self) -> str:
        """Return the run in one line."""
        outcome = "FAILED" if self.failure else "passed"
        return f"{_name(self.test)}: seed {self.seed}, {self.examples} examples, {self.seconds:.0f} s, {outcome}"


def command(test: str, seed: int) -> list[str]:
    """Return the command that runs the histories of a seed."""
    return [sys.executable, "-m", "pytest", test, f"--hypothesis-profile={SOAK}", f"--hypothesis-seed={seed}"]


def run(test: str, seed: int) -> Run:
    """Run the histories of a seed."""
    began = time.monotonic()
    quietly = ["-q", "--hypothesis-show-statistics", "-p", "no:cacheprovider"]
    ended = subprocess.run([*command(test, seed), *quietly], capture_output=True, text=True, check=False)
    examples = sum(map(int, _PASSING.findall(ended.stdout)))
    failure = f"{ended.stdout}\n{ended.stderr}" if ended.returncode or not examples else ""
    return Run(test, seed, examples, time.monotonic() - began, failure)


def soak(test: str, until: float) -> list[Run]:
    """Run one test with new seeds until that time (monotonic, in seconds), or until it fails; print each run."""
    runs: list[Run] = []
    while time.monotonic() < until and not (runs and runs[-1].failure):
        latest = run(test, secrets.randbelow(2**32))
        runs.append(latest)
        click.echo(latest.line())
        if latest.failure:
            click.echo(f"{latest.failure}\nonce more: {' '.join(command(test, latest.seed))}")
    return runs


def _name(test: str) -> str:
    return test.rpartition("::")[2]


@click.command()
@click.argument("minutes", type=click.FloatRange(min=0, min_open=True))
def main(minutes: float) -> None:
    """Run both tests side by side; after so many MINUTES no new run begins."""
    until = time.monotonic() + 60 * minutes
    with ThreadPoolExecutor(len(TESTS)) as pool:
        runs_by_test = dict(zip(TESTS, pool.map(lambda test: soak(test, until), TESTS), strict=True))
    for test, runs in runs_by_test.items():
        click.echo(f"{_name(test)}: {sum(each.examples for each in runs)} examples, runs: {len(runs)}")
    if any(each.failure for runs in runs_by_test.values() for each in runs):
        sys.exit(1)


if __name__ == "__main__":
    main()
