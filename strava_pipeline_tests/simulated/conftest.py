"""A simulation on a test's database."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline_tests.simulated.year import Form, Year, simulated_settings


@pytest.fixture
def simulated(
    settings: Settings, engine: Engine, owner_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Form], Year]:
    """A simulation of a form, on this test's database."""

    def make(form: Form) -> Year:
        for name, value in simulated_settings(form).items():
            monkeypatch.setenv(name, value)
        return Year(form, load_settings(), engine, owner_engine)

    return make
