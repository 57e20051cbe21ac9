"""An export restored into empty tables gives equal tables; into others it takes nothing from anybody."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from sqlalchemy import Engine, insert, select, text, update

from strava_pipeline.errors import ConfigurationError, ErasureUnderWay, UnknownAthlete
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.access.rights import is_hidden
from strava_pipeline.warehouse.athlete_export.exported_tables import exported_tables
from strava_pipeline.warehouse.athlete_export.layout import LEFT_OUT, NOT_SECRET
from strava_pipeline.warehouse.athletes.erasure import begin_erasure
from strava_pipeline.warehouse.athletes.owned_tables import owned_tables
from strava_pipeline.warehouse.schema.archive_tables import archive_files, archive_imports, archive_rows
from strava_pipeline.warehouse.schema.grant_tables import users
from strava_pipeline.warehouse.schema.import_tables import import_months
from strava_pipeline.warehouse.schema.notification_tables import notifications
from strava_pipeline.warehouse.schema.tables import activity_streams, metadata, segments
from strava_pipeline.warehouse.schema.wish_tables import imports
from strava_pipeline_tests.erasing import OTHER, disconnect_and_erase
from strava_pipeline_tests.strava_stand_in import RIDER
from strava_pipeline_tests.warehouse.athlete_export.exports import (
    RECORDING,
    RECORDING_ID,
    cells,
    export,
    is_untouched,
    restore,
)


@pytest.mark.parametrize("name", ["copy", "copy.zip"])
def test_everything_comes_back(whole: Engine, engine: Engine, tmp_path: Path, name: str) -> None:
    before = cells(whole, RIDER)
    assert [table for table, rows in before.items() if not rows] == []
    export(whole, tmp_path / name)
    back = restore(engine, tmp_path / name)
    assert (back.athlete_id, back.had_grant, back.activities) == (RIDER, True, 2)
    assert back.rows == sum(map(len, before.values()))
    assert cells(engine, RIDER) == before
    assert not any(rows for table, rows in cells(engine, OTHER).items() if table != "strava.segments")
    with engine.connect() as connection:
        row = connection.execute(select(users)).one()
    assert (row.state, row.scopes, row.strava_access_token, row.dagster_task) == ("archive_only", [], None, "register")


def test_every_table_that_names_an_athlete_is_exported_or_told_of(engine: Engine) -> None:
    with engine.connect() as connection:
        exported = {table.full_name for table in exported_tables(connection)}
        owned = {str(table.target.fullname) for table in owned_tables(connection)}
    named = {
        table.fullname
        for table in metadata.tables.values()
        if {"athlete_id", "activity_id", "owner_id"} & {column.name for column in table.columns}
    }
    told = {name.partition(" ")[0] for name in LEFT_OUT}
    assert owned <= exported | told
    assert named - exported == told
    assert "strava.segments" in exported


def test_the_page_names_every_table_that_is_left_out() -> None:
    page = Path(__file__).parents[3] / "docs/athlete-export.md"
    told = page.read_text(encoding="utf-8")
    assert [name for name in LEFT_OUT if f"`{name.partition(' ')[0]}`" not in told] == []


def test_no_secret_is_exported(copy: Path, engine: Engine) -> None:
    with engine.connect() as connection:
        # One with a secret would come without it, and could not be restored.
        assert [table.full_name for table in exported_tables(connection) if not table.has_all] == []
        columns = {f"{table.full_name}.{name}" for table in exported_tables(connection) for name in table.names}
    assert {name for name in columns if name.startswith("ops.") and is_hidden(name.rpartition(".")[2])} == NOT_SECRET
    account = json.loads((copy / "account.json").read_text())
    assert set(account) >= {"state", "scopes", "email", "connected_at"}
    assert not [name for name in account if "token" in name or "nonce" in name]


def test_a_table_that_was_added_later_is_exported_and_restored(
    engine: Engine, owner_engine: Engine, copy: Path, tmp_path: Path
) -> None:
    restore(engine, copy)
    with owner_engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE strava.moods (activity_id bigint PRIMARY KEY, mood text, host inet, note uuid)")
        )
        connection.execute(
            text("INSERT INTO strava.moods SELECT id, 'fine', '10.0.0.1', gen_random_uuid() FROM strava.activities")
        )
        connection.execute(text("GRANT ALL ON strava.moods TO strava_pipeline"))
    before = cells(engine, RIDER)
    assert len(before["strava.moods"]) == 2
    export(engine, tmp_path / "second")
    disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="test")
    restore(engine, tmp_path / "second", again=True)
    after = cells(engine, RIDER)
    assert after["strava.moods"] == before["strava.moods"]


def test_beside_others_rows_get_numbers_that_nobody_has(engine: Engine, copy: Path, whole: Engine) -> None:
    with engine.begin() as connection:
        for athlete in (5, 6, 7):
            values = {"kind": "files", "name": "a", "content_hash": "0", "came_by": "command", "options": {}}
            when = "2025-01-01T00:00Z"
            connection.execute(
                insert(archive_imports).values(athlete_id=athlete, state="done", taken_at=when, **values)
            )
    restore(engine, copy)
    with engine.connect() as connection:
        (number,) = connection.execute(
            select(archive_imports.c.id).where(archive_imports.c.athlete_id == RIDER)
        ).scalars()
        assert number > 3
        assert set(connection.execute(select(archive_rows.c.import_id)).scalars()) == {number}
        assert set(connection.execute(select(archive_files.c.import_id)).scalars()) == {number}
    with whole.connect() as connection:
        assert connection.execute(select(archive_rows.c.import_id).distinct()).scalars().all() != [number]
    # Whoever comes next gets a number that is free as well.
    with engine.begin() as connection:
        taken = set(connection.execute(select(imports.c.id)).scalars())
        assert connection.execute(text("SELECT nextval('ops.imports_id_seq')")).scalar_one() not in taken


def test_a_segment_that_is_here_already_stays_as_it_is(engine: Engine, copy: Path, whole: Engine) -> None:
    with whole.connect() as connection:
        row = dict(connection.execute(select(segments)).mappings().first() or {})
    with engine.begin() as connection:
        connection.execute(insert(segments).values(row | {"name": "as another athlete was told"}))
    restore(engine, copy)
    with engine.connect() as connection:
        names = connection.execute(select(segments.c.name).where(segments.c.id == row["id"])).scalars().all()
    assert names == ["as another athlete was told"]


def test_what_was_under_way_has_ended(engine: Engine, copy: Path, tmp_path: Path) -> None:
    restore(engine, copy)
    with engine.begin() as connection:
        connection.execute(update(archive_imports).values(state="running", place="/of/another/machine"))
        connection.execute(update(imports).values(state="running", lease_until="2030-01-01T00:00Z"))
        connection.execute(
            update(notifications)
            .where(notifications.c.athlete_id == RIDER)
            .values(state="pending", next_try_at="2030-01-01T00:00Z")
        )
    export(engine, tmp_path / "second", gpx=False, parquet=False)
    disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="test")
    restore(engine, tmp_path / "second", again=True)
    with engine.connect() as connection:
        archive = connection.execute(select(archive_imports).where(archive_imports.c.athlete_id == RIDER)).one()
        wish = connection.execute(select(imports).where(imports.c.athlete_id == RIDER)).one()
        mails = connection.execute(select(notifications.c.state).where(notifications.c.athlete_id == RIDER)).scalars()
        assert (archive.state, archive.place) == ("failed", None)
        assert (wish.state, wish.lease_until) == ("due", None)
        assert set(mails) == {"skipped"}


def test_the_lake_is_written_anew(engine: Engine, copy: Path) -> None:
    restore(engine, copy)
    with engine.connect() as connection:
        months = connection.execute(select(import_months).where(import_months.c.lake_outdated_at.is_not(None))).all()
        assert len(months) == 1
        assert connection.execute(select(import_months).where(import_months.c.lake_at.is_not(None))).all() == []


def test_an_athlete_who_is_here_is_not_overwritten(whole: Engine, copy: Path) -> None:
    before = cells(whole, RIDER)
    with pytest.raises(ConfigurationError, match=r"athlete 1001 is in these tables already.*disconnect 1001"):
        restore(whole, copy, again=True)
    assert cells(whole, RIDER) == before


def test_an_athlete_who_has_left_comes_back_only_on_request(engine: Engine, copy: Path) -> None:
    restore(engine, copy)
    before = cells(engine, RIDER)
    begin_erasure(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="test")
    with pytest.raises(ErasureUnderWay, match="still being deleted"):
        restore(engine, copy, again=True)
    disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="test")
    with pytest.raises(ConfigurationError, match=r"athlete 1001 has left.*--again"):
        restore(engine, copy)
    assert restore(engine, copy, again=True).rows == sum(map(len, before.values()))
    after = cells(engine, RIDER)
    assert {name: len(rows) for name, rows in after.items()} == {name: len(rows) for name, rows in before.items()}
    assert after["strava.activity_streams"] == before["strava.activity_streams"]


def test_an_export_is_as_of_one_moment(engine: Engine, copy: Path, tmp_path: Path) -> None:
    restore(engine, copy)
    before = cells(engine, RIDER)

    def meanwhile(step: str) -> None:
        if step == "strava.activities":
            disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="test")

    made = export(engine, tmp_path / "second", told=meanwhile)
    assert made.rows == sum(map(len, before.values()))
    with pytest.raises(ConfigurationError, match="has left"):
        restore(engine, tmp_path / "second")


def test_nobody_and_somebody_who_is_being_erased_have_no_export(engine: Engine, copy: Path, tmp_path: Path) -> None:
    with pytest.raises(UnknownAthlete, match="nothing is stored of athlete 1001"):
        export(engine, tmp_path / "second")
    restore(engine, copy)
    begin_erasure(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="test")
    with pytest.raises(ErasureUnderWay):
        export(engine, tmp_path / "second")
    assert list(tmp_path.iterdir()) == []


def test_an_athlete_who_never_connected_is_exported_too(engine: Engine, copy: Path, tmp_path: Path) -> None:
    restore(engine, copy)
    before = cells(engine, RIDER)
    export(engine, tmp_path / "second")
    disconnect_and_erase(engine, RIDER, keep_data=False, actor=Actor.COMMAND, cause="test")
    assert not restore(engine, tmp_path / "second", again=True).had_grant
    after = cells(engine, RIDER)
    assert after["strava.activities"] == before["strava.activities"]


def test_a_recording_is_the_file_as_it_came(copy: Path) -> None:
    raw = (copy / f"files/{RECORDING_ID}.fit.gz").read_bytes()
    assert gzip.decompress(raw) == RECORDING


def test_a_process_that_dies_while_it_restores_leaves_nothing(engine: Engine, copy: Path) -> None:
    class Died(BaseException):
        pass

    def die(step: str) -> None:
        if step == "writing strava.segments":
            raise Died

    with pytest.raises(Died):
        restore(engine, copy, told=die)
    assert is_untouched(engine)
    restore(engine, copy)
    with engine.connect() as connection:
        assert len(connection.execute(select(activity_streams)).all()) == 2
