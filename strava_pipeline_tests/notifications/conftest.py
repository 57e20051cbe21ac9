from __future__ import annotations

from collections.abc import Iterator

import pytest

from strava_pipeline_tests.mail_server import MailServerStandIn, mail_server


@pytest.fixture
def smtp() -> Iterator[MailServerStandIn]:
    with mail_server() as server:
        yield server
