"""Mails where some assets are left out: they tell what there is."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Engine, delete, func, select

from strava_pipeline.kept_assets import kept_of
from strava_pipeline.notifications.outbox import send_due
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.schema.analysis_tables import ANALYSIS_TABLES, training_load
from strava_pipeline.warehouse.schema.tables import activity_streams, athletes
from strava_pipeline_tests.mail_server import MailServerStandIn

SUMMARIES = kept_of(["activities"])
ANALYSES = kept_of(["activities", "activity_details", "activity_streams", "route_analyses"])


@pytest.fixture
def ride(add_ride: Callable[..., None], announce_ride: Callable[[int], None]) -> None:
    add_ride(1, name="Evening loop")
    announce_ride(1)


def told(smtp: MailServerStandIn) -> str:
    """The text of the last mail."""
    mail = smtp.mails[-1]
    part = mail.get_body(("plain",))
    assert part is not None
    text: str = part.get_content()
    return text


@pytest.mark.usefixtures("ride")
def test_a_mail_without_training_load_computes_none_and_tells_none(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn
) -> None:
    assert [result.state for result in send_due(engine, mail_settings, ANALYSES)] == ["sent"]
    text = told(smtp)
    assert "Normalized power" in text or "Climbs" in text
    assert "Fitness" not in text
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(training_load)).scalar_one() == 0


@pytest.mark.usefixtures("ride")
def test_load_that_is_stored_from_before_is_not_told(
    engine: Engine,
    mail_settings: Settings,
    smtp: MailServerStandIn,
    add_ride: Callable[..., None],
    announce_ride: Callable[[int], None],
) -> None:
    assert [result.state for result in send_due(engine, mail_settings)] == ["sent"]
    assert "Fitness" in told(smtp)
    add_ride(2, name="Morning loop")
    announce_ride(2)
    assert [result.state for result in send_due(engine, mail_settings, ANALYSES)] == ["sent"]
    assert "Fitness" not in told(smtp)


@pytest.mark.usefixtures("ride")
def test_a_mail_of_a_summary_alone_is_sent(engine: Engine, mail_settings: Settings, smtp: MailServerStandIn) -> None:
    with engine.begin() as connection:
        for table in (*ANALYSIS_TABLES, activity_streams, athletes):
            connection.execute(delete(table))
    assert [result.state for result in send_due(engine, mail_settings, SUMMARIES)] == ["sent"]
    text = told(smtp)
    assert "Evening loop" in text
    assert "Distance:" in text
    assert "Fitness" not in text
