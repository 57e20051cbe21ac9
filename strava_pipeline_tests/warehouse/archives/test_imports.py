"""Archive imports: one at a time for each athlete, each content once, and none is lost with its process."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, select, update

from strava_pipeline.errors import (
    AlreadyImported,
    ArchiveImportRunning,
    NeedsReauthorization,
    UnknownArchiveImport,
)
from strava_pipeline.files.archive.side_tables import Preferences, Profile
from strava_pipeline.process_identity import this_process
from strava_pipeline.warehouse.archives.athletes import ensure_athlete, told_of_athlete
from strava_pipeline.warehouse.archives.imports import (
    LEASE,
    ArchiveImport,
    beat,
    begin_import,
    end_import,
    fail_import,
    list_imports,
    load_import,
    take_up,
)
from strava_pipeline.warehouse.archives.undo import UNDOING
from strava_pipeline.warehouse.archives.unknown_athletes import let_go_of_unknown
from strava_pipeline.warehouse.athletes.told_profiles import FILLED, TOLD, settle_profile
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.schema.archive_tables import archive_imports
from strava_pipeline.warehouse.schema.columns import database_time
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.tables import athletes
from strava_pipeline.warehouse.states import ArchiveKind, ArchiveState, CameBy, DagsterTask, GrantState
from strava_pipeline_tests.warehouse.sessions import wait_for_a_lock

RIDER = 7
TAKEN = datetime(2025, 11, 1, tzinfo=UTC)


@pytest.fixture
def begin(engine: Engine) -> Callable[..., ArchiveImport]:
    def begin(content: str = "a", **more: Any) -> ArchiveImport:
        given: dict[str, Any] = {
            "athlete_id": RIDER,
            "kind": ArchiveKind.ARCHIVE,
            "name": f"export_{content}.zip",
            "content_hash": content * 64,
            "taken_at": TAKEN,
            "came_by": CameBy.COMMAND,
        }
        with engine.begin() as connection:
            return begin_import(connection, **(given | more))

    return begin


def test_an_import_is_at_work_until_it_ends(engine: Engine, begin: Callable[..., ArchiveImport]) -> None:
    begun = begin(place="/x/export.zip", options={"timezone": "Europe/Berlin"})
    assert begun.state is ArchiveState.RUNNING
    assert begun.options == {"timezone": "Europe/Berlin"}
    with engine.begin() as connection:
        beat(connection, begun.id)
        end_import(connection, begun.id, {"rows": 3})
        done = load_import(connection, begun.id)
        assert list_imports(connection) == list_imports(connection, RIDER) == [done]
        assert list_imports(connection, 8) == []
    assert (done.state, done.report, done.place) == (ArchiveState.DONE, {"rows": 3}, None)
    assert done.ended_at is not None


def test_the_same_content_twice_is_refused_and_changes_nothing(
    engine: Engine, begin: Callable[..., ArchiveImport]
) -> None:
    begun = begin()
    with engine.begin() as connection:
        end_import(connection, begun.id, {})
    with pytest.raises(AlreadyImported, match=r"imported before, by archive import \d+: nothing was changed") as caught:
        begin(name="renamed.zip")
    assert caught.value.import_id == begun.id
    assert begin(athlete_id=8).id != begun.id


def test_only_one_import_of_an_athlete_is_at_work(engine: Engine, begin: Callable[..., ArchiveImport]) -> None:
    first = begin("a")
    for content in "ab":
        with pytest.raises(ArchiveImportRunning, match="is at work: try again once it has ended") as caught:
            begin(content)
        assert caught.value.import_id == first.id
    waiting = begin("b", waiting=True)
    assert waiting.state is ArchiveState.WAITING
    assert begin("b", waiting=True).id == waiting.id
    with engine.begin() as connection:
        end_import(connection, first.id, {})
    taken_up = begin("b")
    assert (taken_up.id, taken_up.state) == (waiting.id, ArchiveState.RUNNING)


def test_an_import_whose_process_died_is_taken_up(engine: Engine, begin: Callable[..., ArchiveImport]) -> None:
    first = begin("a")
    with engine.begin() as connection:
        long_ago = database_time() - LEASE
        connection.execute(update(archive_imports).values(alive_at=long_ago))
    assert begin("a").id == first.id
    with engine.begin() as connection:
        connection.execute(update(archive_imports).values(alive_at=database_time() - LEASE))
    second = begin("b")
    with engine.begin() as connection:
        assert load_import(connection, first.id).state is ArchiveState.FAILED
        # The one that was thought dead finds out.
        with pytest.raises(ArchiveImportRunning, match="is failed: this process ends its work"):
            beat(connection, first.id)
        fail_import(connection, second.id, "the disk is full")
        assert load_import(connection, second.id).failure == "the disk is full"
    assert begin("b").id == second.id


def test_an_import_that_is_undone_after_a_long_silence_finds_out(
    engine: Engine, begin: Callable[..., ArchiveImport]
) -> None:
    first = begin("a", place="/x/export.zip")
    with engine.begin() as connection:
        connection.execute(update(archive_imports).values(alive_at=database_time() - LEASE))
        take_up(connection, first.id, note=UNDOING)
        assert load_import(connection, first.id).place is None
    with engine.begin() as connection:
        with pytest.raises(ArchiveImportRunning, match="is taken up by another process: this process ends its work"):
            beat(connection, first.id)
        beat(connection, first.id, note=UNDOING)
    # And the other way round.
    with engine.begin() as connection:
        connection.execute(update(archive_imports).values(alive_at=database_time() - LEASE))
    assert begin("a").id == first.id
    with engine.begin() as connection, pytest.raises(ArchiveImportRunning, match="is taken up by another process"):
        beat(connection, first.id, note=UNDOING)


def test_an_import_whose_process_is_gone_is_taken_up_at_once(
    engine: Engine, begin: Callable[..., ArchiveImport]
) -> None:
    """Only if that is certain: a process of another host cannot be seen, and has its lease."""
    first = begin("a", options={"timezone": "Europe/Berlin"})
    assert first.process == this_process()
    with pytest.raises(ArchiveImportRunning):
        begin("a")
    here, number, start = this_process().split(" ")
    note_process(engine, f"another/{here} {number} 1")
    for content in "ab":
        with pytest.raises(ArchiveImportRunning):
            begin(content)
    note_process(engine, f"{here} {number} {start}0")  # the number was given to another process since
    again = begin("a", options={"timezone": "Europe/Berlin"})
    assert (again.id, again.process, again.options) == (first.id, this_process(), first.options)
    note_process(engine, f"{here} {number} 1")
    second = begin("b")
    with engine.begin() as connection:
        dead = load_import(connection, first.id)
        end_import(connection, second.id, {})
        done = load_import(connection, second.id)
    assert (dead.state, dead.process, dead.options) == (ArchiveState.FAILED, None, first.options)
    assert (done.state, done.process) == (ArchiveState.DONE, None)


def test_an_import_that_goes_on_names_its_process_also_if_it_has_filled_in_a_profile(
    engine: Engine, begin: Callable[..., ArchiveImport]
) -> None:
    begin("a", options={TOLD: {"city": "Bonn"}})
    with engine.begin() as connection:
        ensure_athlete(connection, RIDER)
        settle_profile(connection, RIDER)
    note_process(engine, this_process() + "0")
    again = begin("a", options={TOLD: {"city": "Bonn"}})
    assert again.options == {TOLD: {"city": "Bonn"}, FILLED: ["city"]}
    assert again.process == this_process()


def test_an_import_that_another_process_goes_on_with_finds_out(
    engine: Engine, begin: Callable[..., ArchiveImport]
) -> None:
    """Such as one that was asleep for longer than its lease, and was handed in again elsewhere."""
    first = begin("a")
    note_process(engine, "another/host 1 1")
    with engine.begin() as connection, pytest.raises(ArchiveImportRunning, match="is taken up by another process"):
        beat(connection, first.id)


def note_process(engine: Engine, process: str) -> None:
    """Let imports that are at work be those of another process."""
    with engine.begin() as connection:
        running = archive_imports.c.state == ArchiveState.RUNNING
        (import_id, options) = connection.execute(
            select(archive_imports.c.id, archive_imports.c.options).where(running)
        ).one()
        changing = update(archive_imports).where(archive_imports.c.id == import_id)
        connection.execute(changing.values(options=options | {"process": process}))


def test_a_sign_of_life_from_ahead_is_none(engine: Engine, begin: Callable[..., ArchiveImport]) -> None:
    first = begin("a")
    with engine.begin() as connection:
        connection.execute(update(archive_imports).values(alive_at=database_time() + timedelta(days=1)))
    assert begin("a").id == first.id


def test_no_import_tells_of_the_future(engine: Engine, begin: Callable[..., ArchiveImport]) -> None:
    begun = begin(taken_at=datetime(2090, 1, 1, tzinfo=UTC))
    with engine.connect() as connection:
        assert begun.taken_at <= now(connection)


def test_what_is_unknown_is_said(engine: Engine) -> None:
    with engine.connect() as connection, pytest.raises(UnknownArchiveImport, match="no archive import 9"):
        load_import(connection, 9)


def test_nothing_is_imported_for_who_has_disconnected(engine: Engine, begin: Callable[..., ArchiveImport]) -> None:
    with engine.begin() as connection:
        ensure_athlete(connection, RIDER)
        connection.execute(update(users).values(state=GrantState.REVOKED))
    with pytest.raises(NeedsReauthorization, match="athlete 7 has disconnected"):
        begin()
    with engine.begin() as connection, pytest.raises(NeedsReauthorization):
        ensure_athlete(connection, RIDER)


def test_an_athlete_without_a_grant_gets_a_row_a_profile_and_a_partition(
    engine: Engine, begin: Callable[..., ArchiveImport]
) -> None:
    profile = Profile(athlete_id=RIDER, firstname="Ada", city="Bonn", weight_kg=61.0)
    told = told_of_athlete(profile, Preferences(measurement_preference="meters", ftp_w=250))
    with engine.begin() as connection:
        ensure_athlete(connection, RIDER)
        user = connection.execute(select(users)).one()
    assert (user.state, user.dagster_task, user.scopes) == (GrantState.ARCHIVE_ONLY, DagsterTask.REGISTER, [])
    first = begin(options={TOLD: told})
    with engine.begin() as connection:
        end_import(connection, first.id, {})
    begin("b", taken_at=TAKEN + timedelta(days=1), options={TOLD: {"city": "Köln"}})
    with engine.begin() as connection:
        settle_profile(connection, RIDER)
        athlete = connection.execute(select(athletes)).one()
    assert (athlete.firstname, athlete.city, athlete.weight, athlete.ftp) == ("Ada", "Köln", 61.0, 250)


def test_an_athlete_whom_somebody_lets_go_of_just_now_has_a_row_again(engine: Engine) -> None:
    def ensure() -> None:
        with engine.begin() as connection:
            ensure_athlete(connection, RIDER)

    ensure()
    with ThreadPoolExecutor(1) as other:
        with engine.begin() as connection:
            connection.execute(select(users).with_for_update()).all()
            work = other.submit(ensure)
            wait_for_a_lock(engine, 1)
            assert let_go_of_unknown(connection, RIDER)
        work.result()
    with engine.connect() as connection:
        assert connection.execute(select(users.c.athlete_id)).scalars().all() == [RIDER]


def test_what_the_api_told_of_an_athlete_stays(engine: Engine, begin: Callable[..., ArchiveImport]) -> None:
    with engine.begin() as connection:
        ensure_athlete(connection, RIDER)
        connection.execute(update(athletes).values(city="Bonn", fetched_at=TAKEN))
    begin(options={TOLD: {"city": "Köln", "state": "NRW"}})
    with engine.begin() as connection:
        settle_profile(connection, RIDER)
        athlete = connection.execute(select(athletes)).one()
    assert (athlete.city, athlete.state, athlete.fetched_at) == ("Bonn", "NRW", TAKEN)
