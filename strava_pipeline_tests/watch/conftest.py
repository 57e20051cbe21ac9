from __future__ import annotations

import pytest
from sqlalchemy import Engine

from strava_pipeline.settings import Settings
from strava_pipeline_tests.watch.watched import Watched


@pytest.fixture
def watched(engine: Engine, settings: Settings) -> Watched:
    """The tables with a dispatcher that is alive."""
    watched = Watched(engine, settings)
    watched.give_sign_of_life()
    return watched
