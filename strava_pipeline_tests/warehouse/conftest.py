from __future__ import annotations

import pytest
from sqlalchemy import Engine

from strava_pipeline_tests.warehouse.quota.ledgers import Clock


@pytest.fixture
def clock(engine: Engine) -> Clock:
    """The database's clock, standing at 12:05, known to be Strava's as well."""
    clock = Clock(engine)
    clock.agree()
    return clock
