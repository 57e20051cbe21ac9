"""The mail that tells an athlete of an imported archive: what it says, when it goes out, and when it does not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from sqlalchemy import Engine, Row, func, insert, select, update

from strava_pipeline.keyring import Keyring
from strava_pipeline.notifications.mail_links import read_unsubscribe_link
from strava_pipeline.notifications.outbox import send_due
from strava_pipeline.settings import Settings
from strava_pipeline.warehouse.archives.imports import end_import
from strava_pipeline.warehouse.mail.consent import end_mails
from strava_pipeline.warehouse.mail.history import tell_history
from strava_pipeline.warehouse.schema.archive_tables import archive_files, archive_imports, archive_rows
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline_tests.mail_consent import with_address
from strava_pipeline_tests.mail_server import MailServerStandIn
from strava_pipeline_tests.notifications.conftest import ADDRESS
from strava_pipeline_tests.strava_stand_in import RIDER

Stored = Callable[[], Row[Any]]
HOSTILE = "<b>\r\nBcc: everybody@example.org"


def archive(engine: Engine, *, state: str = "done", kind: str = "archive") -> int:
    """An archive import of three activities, of which two have a recording; one is stored no more."""
    with engine.begin() as connection:
        number: int = connection.execute(
            insert(archive_imports)
            .values(
                athlete_id=RIDER,
                kind=kind,
                name=HOSTILE,
                content_hash="0" * 64,
                taken_at=datetime(2026, 11, 1, tzinfo=UTC),
                came_by="command",
                options={},
                state=state,
            )
            .returning(archive_imports.c.id)
        ).scalar_one()
        for activity_id, month in ((11, 3), (12, 7), (13, 9)):
            body = {"import_id": number, "activity_id": activity_id, "athlete_id": RIDER, "body": {}, "digest": ""}
            connection.execute(insert(archive_rows).values(body))
            if activity_id != 13:
                connection.execute(
                    insert(activities).values(
                        id=activity_id,
                        athlete_id=RIDER,
                        name=HOSTILE,
                        type="Ride",
                        sport_type="Ride",
                        start_date=datetime(2014, month, 1, 12, tzinfo=UTC),
                        resource_state=2,
                        fetched_at=datetime(2026, 11, 2, tzinfo=UTC),
                    )
                )
        for recording_id, of in ((101, 11), (102, 11), (103, None)):
            found = {"import_id": number, "recording_id": recording_id, "name": f"{recording_id}.fit"}
            connection.execute(insert(archive_files).values(found | {"athlete_id": RIDER, "activity_id": of}))
    return number


@pytest.fixture
def athlete(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(insert(users).values(with_address(RIDER, ADDRESS)))


def tell(engine: Engine, number: int) -> bool:
    with engine.begin() as connection:
        return tell_history(connection, number)


def body(mail: EmailMessage, kind: str) -> str:
    part = mail.get_body((kind,))
    assert part is not None
    return str(part.get_content()).replace("\r\n", "\n")


def sent(engine: Engine, settings: Settings) -> list[str]:
    return [str(result) for result in send_due(engine, settings)]


@pytest.mark.usefixtures("athlete")
def test_it_tells_counts_and_months_and_nothing_that_anybody_has_chosen(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn, keyring: Keyring
) -> None:
    number = archive(engine)
    assert tell(engine, number)
    assert sent(engine, mail_settings) == [f"mail that tells athlete {RIDER} of archive import {number}: sent"]
    (mail,) = smtp.mails
    assert smtp.recipients == [ADDRESS]
    assert mail["Subject"] == "Your history is here"
    assert mail["Message-ID"] == f"<history-{number}@example.org>"
    assert [part.get_content_type() for part in mail.walk()] == ["multipart/alternative", "text/plain", "text/html"]
    text, html = (body(mail, kind) for kind in ("plain", "html"))
    for line in (
        "bridge.example.org\nhas imported the archive",
        "Activities:          2\n",
        "With a recording:    1\n",
        "First one:           March 2014\n",
        "Last one:            July 2014\n",
    ):
        assert line in text
    for told in ("bridge.example.org", "March 2014", "July 2014"):
        assert told in html
    end = mail["List-Unsubscribe"].strip("<>")
    assert read_unsubscribe_link(end.rpartition("/")[2], keyring) is not None
    assert end in text
    assert end in html
    assert "everybody" not in text + html
    assert "strava.com" not in text + html


@pytest.mark.usefixtures("athlete")
def test_an_archive_import_is_told_once_and_another_one_again(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn
) -> None:
    first = archive(engine)
    assert [tell(engine, first), tell(engine, first)] == [True, False]
    sent(engine, mail_settings)
    assert not tell(engine, first)
    with engine.begin() as connection:
        connection.execute(activities.delete())
    assert tell(engine, archive(engine))
    sent(engine, mail_settings)
    assert len(smtp.mails) == 2


@pytest.mark.usefixtures("athlete")
def test_an_archive_import_that_ends_queues_it(engine: Engine, stored: Stored) -> None:
    number = archive(engine, state="running")
    for _ in range(2):
        with engine.begin() as connection:
            end_import(connection, number, {})
    assert (stored().kind, stored().import_id, stored().state) == ("history", number, "pending")


@pytest.mark.usefixtures("athlete")
@pytest.mark.parametrize("options", [{"kind": "files"}, {"state": "failed"}, {"state": "running"}, {"state": "undone"}])
def test_neither_single_files_nor_what_is_not_done_is_told(engine: Engine, options: dict[str, str]) -> None:
    assert not tell(engine, archive(engine, **options))


@pytest.mark.parametrize("given", [{}, with_address(RIDER, ADDRESS, is_confirmed=False)])
def test_without_a_confirmed_address_there_is_no_mail(engine: Engine, given: dict[str, Any]) -> None:
    if given:
        with engine.begin() as connection:
            connection.execute(insert(users).values(given))
    assert not tell(engine, archive(engine))
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(notifications)).scalar() == 0


def undo(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(update(archive_imports).values(state="undone"))


def unsubscribe(engine: Engine) -> None:
    with engine.begin() as connection:
        end_mails(connection, RIDER, f"unsubscribe-{RIDER}")


@pytest.mark.usefixtures("athlete")
@pytest.mark.parametrize(
    ("happens", "reason"),
    [(undo, "the archive import was undone"), (unsubscribe, "the athlete wants no mails")],
)
def test_what_happens_before_it_is_sent_counts(
    engine: Engine,
    mail_settings: Settings,
    smtp: MailServerStandIn,
    stored: Stored,
    happens: Callable[[Engine], None],
    reason: str,
) -> None:
    tell(engine, archive(engine))
    happens(engine)
    sent(engine, mail_settings)
    assert smtp.mails == []
    assert (stored().state, stored().reason) == ("skipped", reason)


@pytest.mark.usefixtures("athlete")
def test_it_waits_a_week_for_the_mail_server(
    engine: Engine, mail_settings: Settings, smtp: MailServerStandIn, stored: Stored
) -> None:
    tell(engine, archive(engine))
    smtp.data += ["451 later", "451 later"]
    sent(engine, mail_settings)
    assert (stored().state, stored().attempts) == ("pending", 1)
    with engine.begin() as connection:
        week_old = func.clock_timestamp() - timedelta(days=7)
        connection.execute(update(notifications).values(next_try_at=func.clock_timestamp(), created_at=week_old))
    sent(engine, mail_settings)
    assert stored().state == "failed"
