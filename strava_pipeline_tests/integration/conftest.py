"""Fixtures of whole installations, which the tests of ``e2e`` use, too."""

from __future__ import annotations

from strava_pipeline_tests.e2e.conftest import embedded, installation, start_mock

__all__ = ["embedded", "installation", "start_mock"]
