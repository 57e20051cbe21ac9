"""An athlete who never connected: what asks Strava leaves them out, what works with stored rows keeps them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pytest
from sqlalchemy import Connection, Engine, select, update

from strava_pipeline.errors import ConfigurationError, NeedsReauthorization, UnknownAthlete
from strava_pipeline.keyring import Keyring
from strava_pipeline.months import month_span, month_start
from strava_pipeline.settings import Settings
from strava_pipeline.sync.access import NoTokens
from strava_pipeline.sync.disconnect import disconnect
from strava_pipeline.sync.restore_check import asks_for_anybody
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.activities.lake_months import mark_outdated, outdated_months
from strava_pipeline.warehouse.activities.outdated import oldest_detail
from strava_pipeline.warehouse.activities.quality import silences
from strava_pipeline.warehouse.after_restore import athletes_to_check
from strava_pipeline.warehouse.analysis.month_view import month_view
from strava_pipeline.warehouse.analysis.training_load import connected_with_load
from strava_pipeline.warehouse.athletes.athlete_status import athlete_statuses
from strava_pipeline.warehouse.engine import now
from strava_pipeline.warehouse.imports.everybody import count_without_import
from strava_pipeline.warehouse.imports.launches import claim_launch
from strava_pipeline.warehouse.imports.wishes import any_wants_quota, ask_for_rest, make_import
from strava_pipeline.warehouse.inbox.events import Stored
from strava_pipeline.warehouse.progress.import_status import import_statuses
from strava_pipeline.warehouse.revoked import refuse_rows_of_revoked
from strava_pipeline.warehouse.schema.grant_tables import token_audit, users
from strava_pipeline.warehouse.states import HISTORY_STEPS, MadeBy
from strava_pipeline.warehouse.tokens.grants import is_archive_only
from strava_pipeline.warehouse.tokens.stored_tokens import read_active_tokens
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore, has_tokens
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline.warehouse.upkeep.due import Periods
from strava_pipeline.warehouse.watch.situation import read_situation
from strava_pipeline_tests.erasing import DAY, OTHER, current_mark, data_of, delete_some_rows, grant, rows_of
from strava_pipeline_tests.inbox import an_event, store_event
from strava_pipeline_tests.strava_stand_in import RIDER

MONTH = DAY.date().replace(day=1)
Found = Iterable[int]


@pytest.fixture
def handed_in(store: PostgresTokenStore) -> Engine:
    """RIDER's history was handed in, OTHER is connected; both have whole activities, and nobody an event."""
    nothing = dict.fromkeys(("strava_access_token", "strava_refresh_token", "strava_token_expires_at", "granted_at"))
    values = nothing | {"state": "archive_only", "scopes": [], "generation": 0}
    with store.engine.begin() as connection:
        connection.execute(update(users).where(users.c.athlete_id == RIDER).values(values))
        connection.exec_driver_sql("DELETE FROM ops.webhook_events")
        connection.exec_driver_sql("DELETE FROM ops.upkeep")
    return store.engine


@dataclass(frozen=True)
class Use:
    """A use of the grant's state: the athletes that it finds, and whether one who never connected is among them."""

    name: str
    find: Callable[[Connection], Found]
    keeps: bool


def tasks(connection: Connection) -> Found:
    due.add_missing(connection)
    taken = iter(lambda: due.take_due(connection), None)
    return [task.athlete_id for task in taken]


def needing(connection: Connection) -> Found:
    due.add_missing(connection)
    return due.needs(connection, Periods.from_settings(Settings()))


def launched(connection: Connection) -> Found:
    for athlete_id in (RIDER, OTHER):
        make_import(connection, athlete_id, None, None, HISTORY_STEPS, profile=True, by=MadeBy.CONNECT)
    launches = iter(lambda: claim_launch(connection, MONTH.replace(year=2008)), None)
    return [launch.athlete_id for launch in launches]


def oldest(connection: Connection) -> Found:
    found = (oldest_detail(connection, DAY - DAY, without) for without in ([], [OTHER]))
    return [old.athlete_id for old in found if old is not None]


def in_lake(connection: Connection) -> Found:
    mark_outdated(connection, {(RIDER, MONTH), (OTHER, MONTH)})
    return [span.athlete_id for span in outdated_months(connection, is_set=True)]


USES = (
    Use("tokens are refreshed and decrypted", lambda c: [t.athlete_id for t in read_active_tokens(c)], keeps=False),
    Use("upkeep has tasks", tasks, keeps=False),
    Use("upkeep's load is told", needing, keeps=False),
    Use("old details are fetched anew", oldest, keeps=False),
    Use("imports are launched", launched, keeps=False),
    Use("athletes are heard of", lambda c: [each.athlete_id for each in silences(c)], keeps=False),
    Use("training load is compared", connected_with_load, keeps=True),
    Use("the lake is written", in_lake, keeps=True),
    Use("athletes are listed", lambda c: [each.athlete_id for each in athlete_statuses(c)], keeps=True),
    Use("a restore erases who had left", lambda c: [each.athlete_id for each in athletes_to_check(c)], keeps=True),
)


@pytest.mark.parametrize("use", USES, ids=lambda use: use.name)
def test_who_never_connected_is_found_only_where_nothing_is_asked_of_strava(handed_in: Engine, use: Use) -> None:
    with handed_in.begin() as connection:
        found = set(use.find(connection))
    assert found == ({RIDER, OTHER} if use.keeps else {OTHER})


def test_no_delivery_is_theirs(handed_in: Engine) -> None:
    assert store_event(handed_in, an_event(owner_id=RIDER)) is Stored.UNKNOWN_OWNER
    assert store_event(handed_in, an_event(owner_id=OTHER)) is Stored.NEW


def test_their_rows_are_stored_as_everybodys(handed_in: Engine) -> None:
    with handed_in.begin() as connection:
        refuse_rows_of_revoked(connection, [RIDER])
        assert is_archive_only(connection, RIDER)
        assert not is_archive_only(connection, OTHER)


def test_alerts_count_no_grant_of_theirs(handed_in: Engine, settings: Settings) -> None:
    with handed_in.begin() as connection:
        connection.execute(update(users).where(users.c.athlete_id == OTHER).values(state="needs_reauth"))
        situation = read_situation(connection, settings)
    assert [lost.athlete_id for lost in situation.lost_grants] == [OTHER]


def test_no_import_is_asked_for_by_a_run_or_for_all(handed_in: Engine) -> None:
    with handed_in.begin() as connection:
        assert count_without_import(connection) == 1
        with pytest.raises(NeedsReauthorization, match=f"athlete {RIDER} never connected"):
            ask_for_rest(connection, RIDER, MONTH, MONTH, HISTORY_STEPS, asked_at=now(connection))


def test_an_import_that_somebody_asked_for_waits_for_the_connection(handed_in: Engine) -> None:
    with handed_in.begin() as connection:
        make_import(connection, RIDER, None, None, HISTORY_STEPS, profile=True, by=MadeBy.COMMAND)
        assert not any_wants_quota(connection)
        (told,) = import_statuses(connection, [RIDER])
    assert str(told) == "goes on once the athlete connects"


def test_their_tokens_are_not_asked_for(handed_in: Engine, keyring: Keyring) -> None:
    assert not has_tokens(handed_in, RIDER)
    with pytest.raises(NeedsReauthorization, match=r"never connected.*strava-pipeline connect"):
        PostgresTokenStore(handed_in, keyring).access_token(RIDER)


def test_a_restored_database_of_handed_in_histories_alone_asks_strava_nothing(handed_in: Engine) -> None:
    assert asks_for_anybody(handed_in)
    with handed_in.begin() as connection:
        connection.execute(update(users).values(state="archive_only"))
    assert not asks_for_anybody(handed_in)


def test_their_months_are_shown(handed_in: Engine) -> None:
    with handed_in.connect() as connection:
        shown = month_view(connection, month_span(RIDER, month_start(DAY)))
    assert shown is not None
    assert not shown.is_disconnected


def test_connecting_turns_the_state_and_counts_as_the_first_connection(handed_in: Engine, keyring: Keyring) -> None:
    before = rows_of(handed_in, RIDER)
    with handed_in.begin() as connection:
        connection.execute(update(users).where(users.c.athlete_id == RIDER).values(connected_at=DAY))
    PostgresTokenStore(handed_in, keyring).connect(grant(RIDER, 7), ["read", "activity:read_all"])
    with handed_in.connect() as connection:
        row = connection.execute(select(users).where(users.c.athlete_id == RIDER)).one()
    assert (row.state, row.generation) == ("active", 1)
    assert row.connected_at > DAY
    assert PostgresTokenStore(handed_in, keyring).access_token(RIDER) == grant(RIDER, 7).access_token
    assert rows_of(handed_in, RIDER)["activities"] == before["activities"]


def test_they_are_disconnected_and_erased_without_a_call(handed_in: Engine, settings: Settings) -> None:
    gone = disconnect(settings, handed_in, RIDER, keep_data=False, actor=Actor.COMMAND)
    assert gone.left_at_strava is None
    assert gone.erasure.deletes_data
    with handed_in.connect() as connection:
        revoked = select(token_audit.c.id).where(token_audit.c.operation == "revoke")
        assert connection.execute(revoked).first() is None
        row = connection.execute(select(users).where(users.c.athlete_id == RIDER)).one()
    assert (row.state, row.dagster_task) == ("revoked", "erase")
    assert current_mark(handed_in, RIDER).athlete_id == RIDER
    delete_some_rows(handed_in, RIDER, 1000)
    assert not data_of(handed_in, RIDER).keys() - {"erasures"}


def test_without_keys_nobody_is_asked_for(handed_in: Engine) -> None:
    with pytest.raises(ConfigurationError, match=f"STRAVA_TOKEN_KEYS is not set.* athlete {OTHER}"):
        NoTokens().access_token(OTHER)
    with pytest.raises(UnknownAthlete):
        has_tokens(handed_in, 3003)
