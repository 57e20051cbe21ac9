"""Uploads by browser: in parts, by the operator or a link, for one athlete, with an end in any case."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask import Flask
from sqlalchemy import Engine, insert, select, update

from strava_pipeline.keyring import KeyPurpose
from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.sync.erasing import finish_erasure
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.archives.imports import end_import, fail_import, list_imports
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.schema.access_tables import operator_audit
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.upload_tables import upload_links, uploads
from strava_pipeline.warehouse.states import ArchiveState, CameBy
from strava_pipeline.warehouse.upload_files import RESERVE_BYTES, FolderFiles, fetched
from strava_pipeline_tests.webhook_bridge.browser import Browser, csrf_in, words_of
from strava_pipeline_tests.webhook_bridge.uploads import Uploader, archive, json_of
from webhook_bridge import handed_in, uploading
from webhook_bridge.app import create_app
from webhook_bridge.current import bridge_of
from webhook_bridge.dagster_tasks import DagsterTasks
from webhook_bridge.upload_tickets import PART_BYTES

ADA, BOB = 11, 12
PAGE = f"/athletes/{ADA}/archive"
CONTENT = archive(ADA, 2 * PART_BYTES)


@pytest.fixture
def app(settings: Settings, engine: Engine) -> Flask:
    return create_app(settings, engine)


@pytest.fixture
def operator(app: Flask) -> Browser:
    return Browser(app).logged_in()


def uploader(browser: Browser, page: str = PAGE, content: bytes = CONTENT) -> Uploader:
    """Somebody who has loaded an upload page."""

    def send(
        method: str, path: str, headers: Mapping[str, str], body: bytes | dict[str, str]
    ) -> tuple[int, dict[str, Any]]:
        told = {"Origin": f"{browser.scheme}://{browser.host}", **headers}
        answer = browser._open(method, path, told, body)
        return answer.status_code, json_of(answer.text)

    return Uploader(send, page, csrf_in(browser.get(page)), content)


def link_for(operator: Browser, athlete_id: int = ADA) -> str:
    """The path of a new link for an athlete."""
    page = f"/athletes/{athlete_id}/archive"
    assert operator.submit(page, f"{page}/links").status_code == 303
    address = operator.get(page).text.partition('id="new-link" type="text" readonly value="')[2].partition('"')[0]
    return urlsplit(address).path


def stored_files(settings: Settings) -> list[str]:
    return sorted(path.name for path in Path(settings.upload_location()).rglob("*.zip"))


def rows_of(engine: Engine) -> list[tuple[int, int, str]]:
    with engine.connect() as connection:
        found = select(uploads.c.athlete_id, uploads.c.received_bytes, uploads.c.state).order_by(uploads.c.id)
        return [(row.athlete_id, row.received_bytes, row.state) for row in connection.execute(found)]


def audited(engine: Engine) -> list[tuple[str, str, str]]:
    with engine.connect() as connection:
        found = select(operator_audit.c.actor, operator_audit.c.action, operator_audit.c.detail)
        return [(row.actor, row.action, row.detail or "") for row in connection.execute(found)]


def test_the_operator_uploads_an_archive_that_waits_for_its_import(
    operator: Browser, engine: Engine, settings: Settings
) -> None:
    upload = uploader(operator)
    assert upload.begin()[0] == 200
    upload.put_rest()
    status, told = upload.finish()
    assert (status, told) == (
        200,
        {"told": "export_11.zip is here. It is imported now, the newest month first. You may close this page."},
    )
    with engine.connect() as connection:
        (waiting,) = list_imports(connection, ADA)
        state = connection.execute(select(users.c.state).where(users.c.athlete_id == ADA)).scalar_one()
    assert (waiting.state, waiting.came_by, waiting.name) == (ArchiveState.WAITING, CameBy.UPLOAD, "export_11.zip")
    assert state == "archive_only"
    assert waiting.place is not None
    with fetched(waiting.place) as path:
        assert path.read_bytes() == CONTENT
    assert rows_of(engine) == [(ADA, len(CONTENT), "handed_in")]
    assert ("operator", "upload", f"archive import {waiting.id}") in audited(engine)
    assert "waits for its run" in words_of(operator.get(PAGE))
    # To finish again changes nothing.
    assert upload.finish()[0] == 200
    assert len(rows_of(engine)) == 1


def test_an_athlete_uploads_by_a_link_and_needs_no_login(operator: Browser, app: Flask, engine: Engine) -> None:
    link = link_for(operator)
    athlete = Browser(app)
    assert f"for athlete {ADA} alone" in words_of(athlete.get(link))
    upload = uploader(athlete, link)
    upload.begin()
    upload.put_rest()
    assert upload.finish()[0] == 200
    assert next(row for row in audited(engine) if row[1] == "upload")[0] == "athlete"
    # The link permits nothing else.
    for path in ("/", PAGE, f"/athletes/{BOB}/archive"):
        assert athlete.get(path).status_code == 303
    assert athlete.post(f"{PAGE}/links", {"csrf": upload.csrf}).status_code == 403
    assert athlete.post(f"{PAGE}/begin", {"csrf": upload.csrf}).status_code == 403


def test_after_a_reload_the_same_file_goes_on(operator: Browser) -> None:
    first = uploader(operator)
    first.begin()
    first.put()
    assert f"is on its way: {100 * PART_BYTES // len(CONTENT)} % is here" in words_of(operator.get(PAGE))
    again = uploader(operator)
    status, told = again.begin()
    assert (status, told["offset"]) == (200, PART_BYTES)
    again.put_rest()
    assert again.finish()[0] == 200


def test_another_file_does_not_go_on_with_it(operator: Browser) -> None:
    first = uploader(operator)
    first.begin()
    first.put()
    other = uploader(operator, content=archive(ADA, PART_BYTES, seed=2))
    status, told = other.begin()
    assert status == 409
    assert told["error"].startswith("Another upload is not finished: export_11.zip, ")
    first.cancel()
    assert other.begin()[0] == 200


def test_a_part_at_a_wrong_place_is_told_the_right_one(operator: Browser, settings: Settings) -> None:
    upload = uploader(operator)
    upload.begin()
    early = dict(upload.standing or {})
    upload.put()
    # The first part again, by its own ticket, whose answer was lost.
    upload.standing, now = early, upload.standing
    status, told = upload.put()
    assert (status, told["offset"]) == (409, PART_BYTES)
    assert [path.stat().st_size for path in Path(settings.upload_location()).rglob("*.zip")] == [PART_BYTES]
    upload.standing = now
    upload.put_rest()
    assert upload.finish()[0] == 200


def test_a_part_that_was_damaged_on_its_way_is_refused(operator: Browser, engine: Engine) -> None:
    upload = uploader(operator)
    upload.begin()
    for checksum in ("", "0" * 64, "\u00e9"):
        status, told = upload.put(Upload_Checksum=checksum)
        assert (status, told["offset"]) == (422, 0)
    assert rows_of(engine) == [(ADA, 0, "open")]
    upload.put_rest()


def test_a_part_that_is_empty_or_too_long_is_refused(operator: Browser, engine: Engine) -> None:
    upload = uploader(operator, content=CONTENT[:100])
    upload.begin()
    assert upload.put(b"")[0] == 400
    assert upload.put(CONTENT[:101])[0] == 400
    assert upload.put(CONTENT[: PART_BYTES + 1])[0] == 413
    assert rows_of(engine) == [(ADA, 0, "open")]


@pytest.mark.parametrize("ticket", ["", "x", "of another upload"])
def test_without_its_ticket_no_part_is_taken(operator: Browser, app: Flask, ticket: str) -> None:
    upload = uploader(operator)
    upload.begin()
    other = uploader(operator, f"/athletes/{BOB}/archive")
    other.begin()
    assert upload.standing is not None
    assert other.standing is not None
    given = other.standing["ticket"] if ticket == "of another upload" else ticket
    assert upload.put(Upload_Ticket=given)[0] == 403


def test_a_ticket_of_the_operators_is_worth_nothing_to_others(operator: Browser, app: Flask, engine: Engine) -> None:
    upload = uploader(operator)
    upload.begin()
    stranger = uploader(Browser(app), link_for(operator, BOB))
    stranger.standing = upload.standing
    assert stranger.put()[0] == 403
    assert stranger.finish()[0] == 404
    assert stranger.cancel() == (200, {"told": "It was gone before."})
    assert rows_of(engine) == [(ADA, 0, "open")]


def test_no_form_of_another_site_begins_ends_or_cancels_an_upload(operator: Browser, engine: Engine) -> None:
    upload = uploader(operator)
    upload.begin()
    foreign = {"csrf": upload.csrf, "upload": str((upload.standing or {})["upload"])}
    for what in ("begin", "finish", "cancel"):
        assert operator.post(f"{PAGE}/{what}", foreign, Origin="https://evil.example").status_code == 403
        assert operator.post(f"{PAGE}/{what}", foreign | {"csrf": "0"}).status_code == 403
    assert len(rows_of(engine)) == 1


def test_cancel_deletes_what_was_here(operator: Browser, engine: Engine, settings: Settings) -> None:
    upload = uploader(operator)
    upload.begin()
    upload.put()
    assert stored_files(settings) == ["export_11.zip"]
    assert upload.cancel() == (200, {"told": "The upload is canceled, and what was here of it is deleted."})
    assert (rows_of(engine), stored_files(settings)) == ([], [])
    status, told = upload.put()
    assert (status, told["error"]) == (404, "This upload was canceled, or is too old. Begin again.")


@pytest.mark.parametrize("ending", ["canceled", "over", "left", "another token"])
def test_a_link_that_has_ended_opens_nothing_not_even_for_a_part(
    operator: Browser, app: Flask, engine: Engine, ending: str
) -> None:
    link = link_for(operator)
    upload = uploader(Browser(app), link)
    upload.begin()
    upload.put()
    with engine.begin() as connection:
        number = connection.execute(select(upload_links.c.id)).scalar_one()
        if ending == "over":
            connection.execute(update(upload_links).values(expires_at=database_time()))
        elif ending == "another token":
            connection.execute(update(upload_links).values(proof="of another token"))
        elif ending == "left":
            connection.execute(insert(users).values(athlete_id=ADA, scopes=[], state="active", generation=1))
    if ending == "canceled":
        assert operator.submit(PAGE, f"{PAGE}/links/{number}/cancel").status_code == 303
    elif ending == "left":
        begin_erasure(engine, ADA, keep_data=True, actor=Actor.OPERATOR, cause="a test")
    assert upload.put()[0] in {404, 410}
    assert upload.begin()[0] == 410
    assert Browser(app).get(link).status_code == 410


@pytest.mark.parametrize("wrong", ["x", "x.y", "{secret}", "{secret}.{other}", "%ff.%00", "{secret}%ff.x"])
def test_a_link_that_is_made_up_opens_nothing(operator: Browser, app: Flask, wrong: str) -> None:
    path, _, signed = link_for(operator).rpartition("/")
    secret = signed.rpartition(".")[0]
    other = bridge_of(app).keyring.signer(KeyPurpose.INVITE_LINK).sign(secret).decode().rpartition(".")[2]
    answer = Browser(app).get(f"{path}/{wrong.format(secret=secret, other=other)}")
    assert answer.status_code == 410


def test_after_a_logout_no_part_is_taken(operator: Browser) -> None:
    upload = uploader(operator)
    upload.begin()
    assert operator.submit(PAGE, "/logout").status_code == 303
    assert upload.put()[0] == 403


def test_a_file_that_is_too_large_is_refused_before_its_first_part(
    app: Flask, operator: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.environ["STRAVA_UPLOAD_MAX_GIB"] = "0.001"
    small = Browser(create_app(load_settings(), bridge_of(app).engine)).logged_in()
    status, told = uploader(small).begin()
    assert (status, told["error"]) == (413, "The file is larger than 0.001 GiB, the most that is taken here.")


def test_without_room_an_upload_does_not_begin_and_others_are_counted(
    operator: Browser, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = RESERVE_BYTES + 3 * len(CONTENT) // 2
    monkeypatch.setattr(FolderFiles, "free_bytes", lambda _: free)
    assert uploader(operator).begin()[0] == 200
    status, told = uploader(operator, f"/athletes/{BOB}/archive").begin()
    assert (status, told["error"]) == (507, "There is not enough room here. Tell the operator.")
    assert [athlete_id for athlete_id, _, _ in rows_of(engine)] == [ADA]


def test_a_file_that_is_gone_from_the_disk_begins_anew(operator: Browser, settings: Settings) -> None:
    upload = uploader(operator)
    upload.begin()
    upload.put()
    next(Path(settings.upload_location()).rglob("*.zip")).unlink()
    status, told = upload.put()
    assert (status, told["offset"]) == (409, 0)
    upload.begin()
    upload.put_rest()
    assert upload.finish()[0] == 200


def test_an_upload_that_is_not_whole_is_not_handed_in(operator: Browser, engine: Engine) -> None:
    upload = uploader(operator)
    upload.begin()
    upload.put()
    status, told = upload.finish()
    assert (status, told["offset"]) == (409, PART_BYTES)
    with engine.connect() as connection:
        assert list_imports(connection) == []


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (archive(BOB), "is the archive of athlete 12, not of athlete 11: nothing of it is stored"),
        (archive(ADA)[:-30], "download"),
    ],
    ids=["of another", "cut off"],
)
def test_what_cannot_be_imported_is_deleted_and_said_at_once(
    operator: Browser, engine: Engine, settings: Settings, content: bytes, why: str
) -> None:
    upload = uploader(operator, content=content)
    upload.begin()
    upload.put_rest()
    status, told = upload.finish()
    assert status == 400
    assert why in told["error"]
    assert (rows_of(engine), stored_files(settings)) == ([], [])


def test_the_operator_alone_may_say_whose_an_archive_without_a_profile_is(
    operator: Browser, app: Flask, engine: Engine, settings: Settings
) -> None:
    content = archive(None)
    link = link_for(operator)
    athlete = Browser(app)
    assert 'name="trust"' in operator.get(PAGE).text
    assert "trust" not in athlete.get(link).text
    for browser, page, trust in ((athlete, link, {"trust": "yes"}), (operator, PAGE, {})):
        refused = uploader(browser, page, content)
        refused.begin()
        refused.put_rest()
        status, told = refused.finish(**trust)
        assert status == 400
        assert "no profile.csv that tells whose it is" in told["error"]
        assert (rows_of(engine), stored_files(settings)) == ([], [])
    upload = uploader(operator, content=content)
    upload.begin()
    upload.put_rest()
    assert upload.finish(trust="yes")[0] == 200
    with engine.connect() as connection:
        (waiting,) = list_imports(connection, ADA)
    assert waiting.options["trust_athlete"] is True
    assert ("operator", "upload", f"archive import {waiting.id}, trusted") in audited(engine)


def test_trust_does_not_help_the_archive_of_another(operator: Browser, engine: Engine) -> None:
    upload = uploader(operator, content=archive(BOB))
    upload.begin()
    upload.put_rest()
    status, told = upload.finish(trust="yes")
    assert status == 400
    assert "is the archive of athlete 12" in told["error"]


@pytest.mark.parametrize(
    ("failure", "is_told"),
    [
        ("the uploads at /srv/my data/uploads cannot be stored or read: no space left", False),
        ("the upload at s3://bucket/uploads/11/1 is gone", False),
        ("an upload has no room at '/tmp': free some", False),
        ("activities/1.fit.gz and/or the rest: cut off, download it again", True),
    ],
)
def test_an_athlete_is_told_why_an_import_failed_without_our_paths(
    operator: Browser, app: Flask, engine: Engine, failure: str, is_told: bool
) -> None:
    upload = uploader(operator)
    upload.begin()
    upload.put_rest()
    upload.finish()
    with engine.begin() as connection:
        (waiting,) = list_imports(connection, ADA)
        fail_import(connection, waiting.id, failure)
    shown = words_of(Browser(app).get(link_for(operator)))
    assert (failure in shown) is is_told
    assert ("The operator's page says why." in shown) is not is_told
    assert failure in words_of(operator.get(PAGE))


def test_what_was_imported_before_is_not_kept_again(operator: Browser, engine: Engine, settings: Settings) -> None:
    first = uploader(operator)
    first.begin()
    first.put_rest()
    first.finish()
    with engine.begin() as connection:
        (waiting,) = list_imports(connection, ADA)
        end_import(connection, waiting.id, {})
    second = uploader(operator)
    second.begin()
    # With the next upload that begins, what was imported is deleted.
    assert stored_files(settings) == []
    second.put_rest()
    status, told = second.finish()
    assert status == 400
    assert f"was imported before, by archive import {waiting.id}: nothing was changed" in told["error"]
    assert (rows_of(engine), stored_files(settings)) == ([], [])


def test_in_a_container_without_an_address_for_uploads_none_is_taken(app: Flask) -> None:
    os.environ["STRAVA_DATA_IN_HOME"] = "false"
    contained = Browser(create_app(load_settings(), bridge_of(app).engine)).logged_in()
    answer = contained.get(PAGE)
    assert answer.status_code == 200
    assert "Nothing can be uploaded here yet: STRAVA_UPLOAD_URL is not set" in words_of(answer)
    assert "upload.js" not in answer.text
    assert contained.submit(PAGE, f"{PAGE}/begin", {"name": "a", "size": "1", "ends": "0" * 64}).status_code == 500


def test_the_page_allows_one_script_of_ours_and_no_other(operator: Browser, app: Flask) -> None:
    for answer in (operator.get(PAGE), Browser(app).get(link_for(operator))):
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self'; connect-src 'self'" in policy
        assert "unsafe" not in policy
        assert answer.text.count("<script") == 1
        assert "<script src=" in answer.text
        assert "To upload, this page needs JavaScript" in answer.text
    script = operator.get("/static/upload.js")
    assert (script.status_code, script.mimetype) == (200, "text/javascript")
    assert "script-src" not in operator.get("/").headers["Content-Security-Policy"]


def test_the_status_page_leads_to_an_athletes_archive(operator: Browser) -> None:
    assert operator.get(f"/athletes/archive?athlete={ADA}").headers["Location"] == PAGE
    for wrong in ("", "0", "x", "1" * 19, "\u0661"):
        assert operator.get(f"/athletes/archive?athlete={wrong}").status_code == 400


def test_hostile_names_reach_nobody(operator: Browser) -> None:
    upload = uploader(operator)
    upload.name = "<script>\u202e\n" + "x" * 500
    upload.begin()
    page = operator.get(PAGE).text
    assert "&lt;script&gt; xx" in page or "&lt;script&gt;" in page
    assert "\u202e" not in page
    assert "x" * 300 not in page


def test_the_bridge_deletes_an_upload_once_it_was_imported(
    operator: Browser, engine: Engine, settings: Settings
) -> None:
    upload = uploader(operator)
    upload.begin()
    upload.put_rest()
    upload.finish()
    tasks = DagsterTasks(settings, engine)
    tasks._end_uploads()
    assert stored_files(settings) == ["export_11.zip"]
    with engine.begin() as connection:
        (waiting,) = list_imports(connection, ADA)
        end_import(connection, waiting.id, {})
    tasks._end_uploads()
    assert (rows_of(engine), stored_files(settings)) == ([], [])


def test_an_athlete_who_leaves_takes_the_files_along(operator: Browser, engine: Engine, settings: Settings) -> None:
    with engine.begin() as connection:
        connection.execute(insert(users).values(athlete_id=ADA, scopes=[], state="active", generation=1))
    upload = uploader(operator)
    upload.begin()
    upload.put()
    begin_erasure(engine, ADA, keep_data=False, actor=Actor.OPERATOR, cause="a test")
    assert upload.put()[0] == 404
    finish_erasure(settings, engine, ADA)
    assert (rows_of(engine), stored_files(settings)) == ([], [])


def test_one_file_is_looked_at_at_a_time(operator: Browser, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else whoever asks often enough would hold all threads, which webhooks need."""
    upload, other = uploader(operator), uploader(operator, f"/athletes/{BOB}/archive", archive(BOB))
    for each in (upload, other):
        each.begin()
        each.put_rest()
    meanwhile: list[tuple[int, str]] = []

    def look(place: str, athlete_id: int, *, is_trusted: bool) -> handed_in.Content:
        if not meanwhile:
            meanwhile.append((0, ""))
            meanwhile[:] = [(status, told.get("error", "")) for status, told in (upload.finish(), other.finish())]
        return handed_in.look_at(place, athlete_id, is_trusted=is_trusted)

    monkeypatch.setattr(uploading, "look_at", look)
    assert upload.finish()[0] == 200
    assert meanwhile == [(503, "Another file is looked at just now. Try again in a few seconds.")] * 2
    assert other.finish()[0] == 200
    assert [state for _, _, state in rows_of(engine)] == ["handed_in"] * 2


def test_a_look_that_fails_lets_the_next_one_be(operator: Browser) -> None:
    for _ in range(2):
        upload = uploader(operator, content=b"neither")
        upload.begin()
        upload.put_rest()
        assert upload.finish()[0] in {200, 400}


def test_a_storage_that_refuses_tells_athletes_no_path(
    operator: Browser, app: Flask, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    upload = uploader(Browser(app), link_for(operator))
    upload.begin()
    root = Path(settings.upload_location())
    root.mkdir(parents=True, exist_ok=True)
    (root / str(ADA)).touch()
    status, told = upload.put()
    assert (status, told) == (503, {"error": "Files cannot be stored here just now. Tell the operator."})
    assert str(root) in caplog.text
