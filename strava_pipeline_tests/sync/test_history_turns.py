"""A long history is compared in turns: none holds up what else is due, and each goes on where the last one stopped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, func, select, update

from strava_pipeline.errors import GrantChanged, NotAnswered, QuotaExhausted, RejectedRequest, StravaAway
from strava_pipeline.keyring import Keyring
from strava_pipeline.months import add_months, month_span, month_start
from strava_pipeline.secret import Secret
from strava_pipeline.settings import Settings
from strava_pipeline.strava import client, pagination
from strava_pipeline.strava.oauth import TokenGrant
from strava_pipeline.warehouse.activities import activity_store
from strava_pipeline.warehouse.imports.histories import note_history
from strava_pipeline.warehouse.schema.tables import activities
from strava_pipeline.warehouse.schema.upkeep_tables import upkeep, upkeep_pages
from strava_pipeline.warehouse.states import UpkeepKind
from strava_pipeline.warehouse.tokens.token_store import PostgresTokenStore
from strava_pipeline.warehouse.upkeep import due
from strava_pipeline_tests.inbox import connect_riders
from strava_pipeline_tests.strava_stand_in import RIDER, StravaStandIn, import_listed
from strava_pipeline_tests.upkeeping import LONG_AGO, YESTERDAY, make_due, rest, rows, work
from strava_pipeline_tests.wishes import FLOOR

HISTORY, PROFILE = UpkeepKind.HISTORY, UpkeepKind.PROFILE
LISTED, SPENT = "/athlete/activities", QuotaExhausted("none left", retry_at=LONG_AGO)
PAGE, STORED = 3, 9
MONTH = month_span(RIDER, add_months(month_start(YESTERDAY.date()), -3))


@pytest.fixture
def strava(settings: Settings, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> StravaStandIn:
    """A history of some pages, of which all activities were edited; its comparison is due."""
    for module in (client, pagination):
        monkeypatch.setattr(module, "PAGE_SIZE", PAGE)
    connect_riders(engine, RIDER)
    strava = StravaStandIn()
    for number in range(1, STORED + 1):
        strava.add(number, MONTH.start + timedelta(days=number))
    import_listed(strava.sync(engine), [MONTH])
    work(strava, engine)
    for number in range(1, STORED + 1):
        strava.edit(number, name="edited")
    make_due(engine, upkeep.c.kind == HISTORY)
    strava.new_requests()
    return strava


def after(pages: int, error: Exception) -> Callable[..., Any]:
    """Strava's answers: this error instead of the answer after so many further pages."""
    answer = StravaStandIn.get
    read = 0

    def get(self: StravaStandIn, athlete_id: int, path: str, *more: Any, **others: Any) -> Any:
        nonlocal read
        if path == LISTED:
            read += 1
            if read == pages + 1:
                raise error
        return answer(self, athlete_id, path, *more, **others)

    return get


def edited(engine: Engine) -> int:
    with engine.connect() as connection:
        query = select(func.count()).select_from(activities).where(activities.c.name == "edited")
        return connection.execute(query).scalar_one()


def kept(engine: Engine) -> int:
    with engine.connect() as connection:
        return connection.execute(select(func.count()).select_from(upkeep_pages)).scalar_one()


def whole_listing(strava: StravaStandIn, engine: Engine) -> int:
    """How many requests the comparison takes in one turn, with the one for the last days."""
    work(strava, engine)
    requests = len(strava.new_requests())
    make_due(engine, upkeep.c.kind == HISTORY)
    for number in range(1, STORED + 1):
        strava.edit(number, name="edited again")
        strava.edit(number, name="edited")
    return requests


@pytest.mark.parametrize(
    "error",
    [SPENT, StravaAway("away", since=LONG_AGO, retry_at=LONG_AGO), NotAnswered("odd", answered=False)],
    ids=repr,
)
def test_the_next_turn_goes_on_where_this_one_stopped(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    requests = whole_listing(strava, engine)
    with monkeypatch.context() as patch:
        patch.setattr(StravaStandIn, "get", after(3, error))  # the last days, and two pages
        assert HISTORY not in work(strava, engine).done
    assert kept(engine) == 2
    make_due(engine, upkeep.c.kind == HISTORY)
    strava.new_requests()
    assert work(strava, engine).done == {HISTORY: 1}
    assert strava.new_requests() == [LISTED] * (requests - 3)
    assert (edited(engine), kept(engine)) == (STORED, 0)
    assert (rows(engine)[HISTORY, ""].requests, rest(engine, HISTORY)) == (requests - 1, timedelta(days=30))


def test_a_turn_reads_one_page_at_least_and_ends_with_the_runs_time(strava: StravaStandIn, engine: Engine) -> None:
    requests, turns = whole_listing(strava, engine), 0
    before = rows(engine)[HISTORY, ""].due_at
    while HISTORY not in (worked := work(strava, engine, tasks=1)).done:
        assert (worked.stopped, worked.failed) == ("its time is up", {})
        assert rows(engine)[HISTORY, ""].due_at == before
        turns += 1
    assert turns == requests - 2
    assert strava.new_requests() == [LISTED] * requests
    assert (edited(engine), kept(engine)) == (STORED, 0)


def test_an_athlete_whose_own_quota_is_used_up_by_a_history_holds_up_nobody(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STRAVA_QUOTA_SCOPE", "athlete")
    make_due(engine, upkeep.c.kind == PROFILE)
    with engine.begin() as connection:
        connection.execute(update(upkeep).where(upkeep.c.kind == PROFILE).values(due_at=YESTERDAY))
    monkeypatch.setattr(StravaStandIn, "get", after(3, SPENT))
    worked = work(strava, engine)
    assert (worked.done, worked.failed, worked.stopped) == ({PROFILE: 1}, {}, None)
    assert kept(engine) == 2


def test_what_changed_since_the_first_page_was_read_is_neither_overwritten_nor_deleted(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(StravaStandIn, "get", after(3, SPENT))
        work(strava, engine)
    # The newest activity is on the first page; one that is added now would be.
    strava.edit(STORED, name="newer")
    strava.add(STORED + 1, MONTH.start + timedelta(days=STORED + 1))
    import_listed(strava.sync(engine), [MONTH])
    make_due(engine, upkeep.c.kind == HISTORY)
    assert work(strava, engine).done[HISTORY] == 1
    with engine.connect() as connection:
        names = {row.id: row.name for row in connection.execute(select(activities.c.id, activities.c.name))}
    assert names[STORED] == "newer"
    assert STORED + 1 in names


def test_a_listing_of_another_span_or_of_long_ago_is_begun_anew(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = whole_listing(strava, engine)
    ahead = YESTERDAY + timedelta(days=365)
    for outdated in (
        {"asked_at": LONG_AGO},
        {"asked_at": ahead},
        {"listed_from": LONG_AGO},
        {"listed_from": LONG_AGO, "listed_to": LONG_AGO},
    ):
        with monkeypatch.context() as patch:
            patch.setattr(StravaStandIn, "get", after(3, SPENT))
            work(strava, engine)
        with engine.begin() as connection:
            connection.execute(update(upkeep_pages).values(outdated))
        make_due(engine, upkeep.c.kind == HISTORY)
        strava.new_requests()
        assert work(strava, engine).done[HISTORY] == 1
        # A first turn looks at the last days.
        is_first = outdated == {"asked_at": LONG_AGO} or "listed_to" in outdated
        assert len(strava.new_requests()) == requests - (not is_first)
        make_due(engine, upkeep.c.kind == HISTORY)


def test_who_connects_again_is_listed_anew(
    strava: StravaStandIn, engine: Engine, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = whole_listing(strava, engine)
    with monkeypatch.context() as patch:
        patch.setattr(StravaStandIn, "get", after(3, SPENT))
        work(strava, engine)
    assert kept(engine) == 2
    # The pages may lack what the grant of then did not show.
    connect(engine, keyring)
    make_due(engine, upkeep.c.kind == HISTORY)
    strava.new_requests()
    assert work(strava, engine).done[HISTORY] == 1
    assert strava.new_requests().count(LISTED) == requests - 1


def test_who_connects_again_during_a_listing_loses_nothing_that_the_grant_of_then_did_not_show(
    strava: StravaStandIn, engine: Engine, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = StravaStandIn.get

    def get(self: StravaStandIn, athlete_id: int, path: str, *more: Any, **others: Any) -> Any:
        found = answer(self, athlete_id, path, *more, **others)
        if path != LISTED:
            return found
        connect(engine, keyring)
        return [body for body in found if body["id"] != 1]

    with monkeypatch.context() as patch:
        patch.setattr(StravaStandIn, "get", get)
        (reason,) = work(strava, engine).failed.values()
        with pytest.raises(GrantChanged):
            import_listed(strava.sync(engine), [MONTH])
    assert reason == f"athlete {RIDER} connected again while Strava was asked: it is asked anew"
    with engine.connect() as connection:
        assert activity_store.which_are_stored(connection, {1}) == {1}
    assert edited(engine) == 0
    make_due(engine, upkeep.c.kind == HISTORY)
    assert work(strava, engine).done[HISTORY] == 1
    assert edited(engine) == STORED


def connect(engine: Engine, keyring: Keyring) -> None:
    grant = TokenGrant(Secret("access"), Secret("refresh"), YESTERDAY, {"id": RIDER})
    PostgresTokenStore(engine, keyring).connect(grant, ["read", "activity:read_all"])


def test_an_answer_that_cannot_be_used_is_asked_for_anew(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(StravaStandIn, "get", after(3, RejectedRequest("an activity without an id")))
        assert list(work(strava, engine).failed.values()) == ["an activity without an id"]
    assert kept(engine) == 0


def test_a_fault_of_ours_keeps_no_page(strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StravaStandIn, "get", after(3, KeyError("broken")))
    with pytest.raises(KeyError):
        work(strava, engine)
    assert kept(engine) == 0


def test_a_month_that_keeps_failing_is_compared_after_growing_pauses(
    strava: StravaStandIn, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with engine.begin() as connection:
        note_history(connection, RIDER, MONTH.start.date(), YESTERDAY, FLOOR)

    def fails(*_given: object, **_more: object) -> None:
        raise RejectedRequest("odd")

    monkeypatch.setattr(activity_store, "replace_span", fails)
    pauses = []
    for _ in range(due.OFTEN):
        make_due(engine, upkeep.c.kind == HISTORY)
        assert "odd" in "".join(work(strava, engine).failed.values())
        pauses.append(rest(engine, HISTORY))
    assert pauses == [timedelta(minutes=minutes) for minutes in (10, 20, 40)]
    monkeypatch.undo()
    make_due(engine, upkeep.c.kind == HISTORY)
    assert work(strava, engine).done[HISTORY] == 1
    assert (edited(engine), rest(engine, HISTORY)) == (STORED, timedelta(days=30))
