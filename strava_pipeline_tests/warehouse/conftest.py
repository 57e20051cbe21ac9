from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from sqlalchemy import Engine

from strava_pipeline_tests.later_revisions import later_revision
from strava_pipeline_tests.warehouse.quota.ledgers import Clock


@pytest.fixture
def clock(engine: Engine) -> Clock:
    """The database's clock, standing at 12:05, known to be Strava's as well."""
    clock = Clock(engine)
    clock.agree()
    return clock


@pytest.fixture
def add_revision(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Makes a revision of these statements the newest, until the test ends; returns its name."""
    with ExitStack() as until_the_end:

        def add(*statements: str) -> str:
            return until_the_end.enter_context(later_revision(tmp_path, "9999", *statements))

        yield add
