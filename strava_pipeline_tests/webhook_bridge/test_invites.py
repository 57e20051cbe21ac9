"""Links by which others connect: each serves as many people as it was made for, and nobody twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import Engine, event, func, select, update
from werkzeug.test import TestResponse

from strava_pipeline.settings import Settings, load_settings
from strava_pipeline.sync.disconnect import disconnect
from strava_pipeline.warehouse.access.operator_audit import Actor
from strava_pipeline.warehouse.athletes.invites import MOST_ATTEMPTS
from strava_pipeline.warehouse.schema.access_tables import invites, operator_audit
from strava_pipeline.warehouse.schema.access_tables import oauth_states as oauth_states_table
from strava_pipeline.warehouse.schema.grant_tables import token_audit, users
from strava_pipeline.warehouse.tokens import oauth_states
from strava_pipeline_tests.erasing import disconnect_and_erase
from strava_pipeline_tests.eventually import PATIENCE_SECONDS
from strava_pipeline_tests.strava.loopback import Loopback, Reply, reply
from strava_pipeline_tests.webhook_bridge.browser import Browser, csrf_in, state_in, words_of
from webhook_bridge.app import create_app

PUBLIC = "https://rides.example.org"
ALL = "read,activity:read_all,profile:read_all"


def tokens(athlete: int) -> Reply:
    body = {"access_token": f"access-{athlete}", "refresh_token": f"refresh-{athlete}", "expires_at": 4102444800}
    return reply(body | {"athlete": {"id": athlete, "firstname": "Mira"}})


@pytest.fixture
def strava(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    with Loopback() as loopback:
        monkeypatch.setenv("STRAVA_OAUTH_URL", f"{loopback.url}/oauth")
        monkeypatch.setenv("STRAVA_BRIDGE_PUBLIC_URL", PUBLIC)
        loopback.answers(tokens(1))
        yield loopback


@pytest.fixture
def operator(strava: Loopback, engine: Engine) -> Browser:
    return Browser(create_app(load_settings(), engine), host="rides.example.org", scheme="https").logged_in()


def new_link(operator: Browser, people: str = "1") -> str:
    """The path of a new link, as the operator's page shows it."""
    assert operator.submit("/", "/invites", {"people": people}).status_code == 303
    link = urlsplit(operator.get("/").text.split('readonly value="')[1].split('"')[0])
    assert f"{link.scheme}://{link.netloc}" == PUBLIC
    return f"{link.path}?{link.query}"


def guest_of(operator: Browser, link: str) -> Browser:
    guest = Browser(operator.app, operator.host, "203.0.113.7", operator.scheme)
    assert guest.get(link).status_code == 200
    return guest


def finish(guest: Browser, state: str) -> TestResponse:
    return guest.get(f"/oauth/callback?state={state}&code=c&scope={ALL}")


def connect(guest: Browser) -> TestResponse:
    return finish(guest, state_in(guest.get("/oauth/connect")))


def connected(engine: Engine) -> list[int]:
    with engine.connect() as connection:
        return list(connection.execute(select(users.c.athlete_id).order_by(users.c.athlete_id)).scalars())


def test_a_link_is_used_up_by_a_connection_and_not_by_a_look(operator: Browser, engine: Engine) -> None:
    link = new_link(operator)
    guests = [guest_of(operator, link) for _ in range(3)]
    assert connect(guests[0]).status_code == 303
    assert connected(engine) == [1]
    late = Browser(operator.app, operator.host, scheme="https").get(link)
    assert late.status_code == 403
    assert "As many have connected" in words_of(late)
    assert guests[1].get("/oauth/connect").status_code == 403
    # Its athlete may still connect again by it, so that it can be withdrawn still.
    assert "1 of 1" in words_of(operator.get("/"))
    name = operator.get("/").text.split('name="name" value="')[1].split('"')[0]
    assert operator.submit("/", "/invites/cancel", {"name": name}).status_code == 303
    assert guests[0].get("/oauth/connect").status_code == 403
    assert "Link made" not in words_of(operator.get("/"))


def test_who_began_before_it_was_used_up_is_told_before_a_code_is_spent(
    operator: Browser, engine: Engine, strava: Loopback
) -> None:
    link = new_link(operator)
    first, second = guest_of(operator, link), guest_of(operator, link)
    states = [state_in(guest.get("/oauth/connect")) for guest in (first, second)]
    assert finish(first, states[0]).status_code == 303
    strava.answers(tokens(2))
    answer = finish(second, states[1])
    assert answer.status_code == 410
    assert "used up" in words_of(answer)
    assert len(strava.asked) == 1
    assert connected(engine) == [1]


def test_of_two_at_once_one_connects(operator: Browser, engine: Engine, strava: Loopback) -> None:
    link = new_link(operator)
    guests = [guest_of(operator, link) for _ in range(2)]
    states = [state_in(guest.get("/oauth/connect")) for guest in guests]
    asked, may_answer = threading.Event(), threading.Event()

    def slow(_: Any) -> Reply:
        asked.set()
        assert may_answer.wait(PATIENCE_SECONDS)
        return tokens(1)

    strava.answer = slow
    told: list[int] = []
    first = threading.Thread(target=lambda: told.append(finish(guests[0], states[0]).status_code))
    first.start()
    assert asked.wait(PATIENCE_SECONDS)
    # The other one is told while the first is still under way.
    assert finish(guests[1], states[1]).status_code == 410
    may_answer.set()
    first.join(PATIENCE_SECONDS)
    assert told == [303]
    assert len(strava.asked) == 1
    assert connected(engine) == [1]


def test_a_mishap_leaves_the_link_good(operator: Browser, engine: Engine, strava: Loopback) -> None:
    link = new_link(operator)
    guest = guest_of(operator, link)
    strava.answers(reply({}, 503))
    assert connect(guest).status_code == 503
    state = state_in(guest.get("/oauth/connect"))
    assert guest.get(f"/oauth/callback?state={state}&error=access_denied").status_code == 403
    strava.answers(tokens(1))
    assert connect(guest).status_code == 303
    assert connected(engine) == [1]


def test_the_same_athlete_may_allow_more_by_the_same_link_but_nobody_else(
    operator: Browser, engine: Engine, strava: Loopback
) -> None:
    link = new_link(operator)
    guest = guest_of(operator, link)
    state = state_in(guest.get("/oauth/connect"))
    lacking = guest.get(f"/oauth/callback?state={state}&code=c&scope=activity:read_all")
    assert "lacks=" in lacking.headers["Location"]
    assert connect(guest).status_code == 303
    strava.answers(tokens(2))
    answer = connect(guest)
    assert answer.status_code == 410
    assert connected(engine) == [1]
    with engine.connect() as connection:
        assert connection.execute(select(users.c.scopes)).scalar_one() == ALL.split(",")


def test_a_cookie_from_before_the_connection_brings_nobody_else(
    operator: Browser, engine: Engine, strava: Loopback
) -> None:
    guest = guest_of(operator, new_link(operator))
    before = guest.cookies()
    assert connect(guest).status_code == 303
    strava.answers(tokens(2))
    for name, value in before.items():
        guest.keep(name, value)
    assert guest.get("/oauth/connect").status_code == 403
    assert connected(engine) == [1]


def test_a_link_for_several_serves_so_many(operator: Browser, engine: Engine, strava: Loopback) -> None:
    link = new_link(operator, "3")
    for athlete in (1, 2, 3):
        guest = guest_of(operator, link)
        strava.answers(tokens(athlete))
        assert connect(guest).status_code == 303
        assert f"{athlete} of 3" in words_of(operator.get("/"))
    assert connected(engine) == [1, 2, 3]
    assert Browser(operator.app, operator.host, scheme="https").get(link).status_code == 403


@pytest.mark.parametrize("people", ["", "0", "101", "-1", "x", "\uff11", "1.5", "9" * 5000, "1\0"])
def test_a_number_that_makes_no_sense_makes_no_link(operator: Browser, engine: Engine, people: str) -> None:
    assert operator.submit("/", "/invites", {"people": people}).status_code == 400
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(invites)).scalar_one() == 0


def test_a_link_is_withdrawn(operator: Browser, engine: Engine) -> None:
    link = new_link(operator)
    guest = guest_of(operator, link)
    state = state_in(guest.get("/oauth/connect"))
    name = operator.get("/").text.split('name="name" value="')[1].split('"')[0]
    assert name not in link
    assert operator.submit("/", "/invites/cancel", {"name": name}).status_code == 303
    assert finish(guest, state).status_code == 410
    assert Browser(operator.app, operator.host, scheme="https").get(link).status_code == 403
    assert connected(engine) == []
    assert operator.submit("/", "/invites/cancel", {"name": name}).status_code == 303
    with engine.connect() as connection:
        rows = connection.execute(select(operator_audit.c.action, operator_audit.c.outcome).order_by("id"))
        assert [tuple(row) for row in rows] == [("invite", "ok"), ("cancel", "ok"), ("cancel", "failed")]


@pytest.mark.parametrize("name", ["", "\0", "%", "x' OR 1=1"])
def test_what_names_no_link_withdraws_none(operator: Browser, engine: Engine, name: str) -> None:
    new_link(operator)
    assert operator.submit("/", "/invites/cancel", {"name": name}).status_code == 400
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(invites)).scalar_one() == 1


def test_a_link_ends_after_a_week_and_with_the_token(
    operator: Browser, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    links = [new_link(operator) for _ in range(2)]
    with engine.begin() as connection:
        lasts = connection.execute(select(func.min(invites.c.expires_at) - func.now())).scalar_one()
        assert 6.9 < lasts.total_seconds() / 86_400 <= 7
        oldest = invites.c.id == select(func.min(invites.c.id)).scalar_subquery()
        connection.execute(update(invites).where(oldest).values(expires_at=func.now()))
    stranger = Browser(operator.app, operator.host, scheme="https")
    assert stranger.get(links[0]).status_code == 403
    assert stranger.get(links[1]).status_code == 200
    monkeypatch.setenv("STRAVA_OPERATOR_TOKEN", "another-token-of-the-operator")
    late = Browser(create_app(load_settings(), engine), operator.host, scheme="https")
    assert late.get(links[1]).status_code == 403


@pytest.mark.parametrize("invite", ["", "x", "%00", "%ff", "a" * 5000])
def test_a_link_made_up_invites_nobody(operator: Browser, invite: str) -> None:
    new_link(operator)
    stranger = Browser(operator.app, operator.host, scheme="https")
    assert stranger.get(f"/connect?invite={invite}").status_code == 403
    assert stranger.post("/oauth/connect", {"csrf": csrf_in(stranger.get("/login"))}).status_code == 403


def test_a_link_that_is_not_whole_is_refused_without_the_database(operator: Browser, engine: Engine) -> None:
    given = new_link(operator).rpartition("=")[2]
    stranger = Browser(operator.app, operator.host, scheme="https")
    statements: list[str] = []
    event.listen(engine, "before_cursor_execute", lambda *told: statements.append(told[2]))
    for odd in (given[:-1], f"x{given}", f"{given}x", f"{given.partition('.')[0]}.", ".", "a.b", "%ff.x"):
        answer = stranger.get(f"/connect?invite={odd}")
        assert answer.status_code == 403
        assert "incomplete" in words_of(answer)
    assert statements == []
    assert stranger.get(f"/connect?invite={given}").status_code == 200


def test_a_link_of_the_older_form_is_good_until_it_ends(operator: Browser) -> None:
    secret = new_link(operator).rpartition("=")[2].partition(".")[0]
    stranger = Browser(operator.app, operator.host, scheme="https")
    assert stranger.get(f"/connect?invite={secret}").status_code == 200
    assert stranger.get(f"/connect?invite={secret[:-1]}").status_code == 403


def test_who_reads_the_table_can_invite_nobody(operator: Browser, engine: Engine) -> None:
    link = new_link(operator)
    with engine.connect() as connection:
        row = connection.execute(select(invites)).one()
    assert link.rpartition("=")[2].partition(".")[0] not in str(row)
    stranger = Browser(operator.app, operator.host, scheme="https")
    assert stranger.get(f"/connect?invite={row.secret_hash}").status_code == 403


def disconnect_by_page(operator: Browser, engine: Engine) -> None:
    assert operator.submit("/", "/oauth/disconnect", {"athlete": "1"}).status_code == 303


def forget_by_command(operator: Browser, engine: Engine) -> None:
    disconnect(load_settings(), engine, 1, keep_data=False, actor=Actor.COMMAND)


def withdraw_at_strava(operator: Browser, engine: Engine) -> None:
    disconnect_and_erase(engine, 1, keep_data=True, actor=Actor.STRAVA, cause="withdrawn")


def state_of(engine: Engine, athlete: int) -> str:
    with engine.connect() as connection:
        state: str = connection.execute(select(users.c.state).where(users.c.athlete_id == athlete)).scalar_one()
    return state


WAYS_TO_GO = [disconnect_by_page, forget_by_command, withdraw_at_strava]


@pytest.mark.parametrize("go", WAYS_TO_GO)
def test_who_was_disconnected_does_not_come_back_by_the_same_link(
    operator: Browser, engine: Engine, strava: Loopback, go: Callable[[Browser, Engine], None]
) -> None:
    link = new_link(operator)
    guest = guest_of(operator, link)
    assert connect(guest).status_code == 303
    begun = state_in(guest.get("/oauth/connect"))
    go(operator, engine)
    asked = len(strava.asked)
    assert finish(guest, begun).status_code == 410
    assert len(strava.asked) == asked
    refused = guest.get("/oauth/connect")
    assert refused.status_code == 403
    assert "you were disconnected since" in words_of(guest.get(link))
    assert state_of(engine, 1) == "revoked"
    # By another link they may.
    assert connect(guest_of(operator, new_link(operator))).status_code == 303
    assert state_of(engine, 1) == "active"


@pytest.mark.parametrize("go", WAYS_TO_GO)
def test_nor_by_a_place_of_it_that_is_free_still(
    operator: Browser, engine: Engine, strava: Loopback, go: Callable[[Browser, Engine], None]
) -> None:
    link = new_link(operator, "3")
    assert connect(guest_of(operator, link)).status_code == 303
    go(operator, engine)
    strava.answers(tokens(1))
    answer = connect(guest_of(operator, link))
    assert answer.status_code == 410
    assert "you were disconnected since" in words_of(answer)
    assert state_of(engine, 1) == "revoked"
    # Somebody else still can.
    strava.answers(tokens(2))
    assert connect(guest_of(operator, link)).status_code == 303


def test_who_is_disconnected_while_they_connect_again_stays_so(
    operator: Browser, engine: Engine, strava: Loopback
) -> None:
    guest = guest_of(operator, new_link(operator))
    assert connect(guest).status_code == 303
    state = state_in(guest.get("/oauth/connect"))

    def meanwhile(_: Any) -> Reply:
        withdraw_at_strava(operator, engine)
        return tokens(1)

    strava.answer = meanwhile
    assert finish(guest, state).status_code == 410
    assert state_of(engine, 1) == "revoked"


def test_a_link_asks_strava_so_often_and_no_more(operator: Browser, engine: Engine, strava: Loopback) -> None:
    link = new_link(operator)
    strava.answers(reply({"message": "Bad Request", "errors": []}, 400))
    for _ in range(MOST_ATTEMPTS):
        assert connect(guest_of(operator, link)).status_code in (400, 502)
    guest = Browser(operator.app, operator.host, scheme="https")
    refused = guest.get(link)
    assert refused.status_code == 403
    assert "tried too often" in words_of(refused)
    assert len(strava.asked) == MOST_ATTEMPTS
    with engine.connect() as connection:
        assert connection.execute(select(func.count()).select_from(token_audit)).scalar_one() == MOST_ATTEMPTS
    # The operator, and whoever has another link, go on.
    strava.answers(tokens(1))
    assert connect(operator).status_code == 303
    assert connect(guest_of(operator, new_link(operator))).status_code == 303


def test_states_that_were_begun_before_ask_strava_no_more_often(
    operator: Browser, engine: Engine, strava: Loopback
) -> None:
    link = new_link(operator)
    strava.answers(reply({"message": "Bad Request", "errors": []}, 400))
    guests = [guest_of(operator, link) for _ in range(MOST_ATTEMPTS + 3)]
    begun = [(guest, state_in(guest.get("/oauth/connect"))) for guest in guests]
    answers = [finish(guest, state).status_code for guest, state in begun]
    assert answers[MOST_ATTEMPTS:] == [410] * 3
    assert len(strava.asked) == MOST_ATTEMPTS


def test_a_link_begins_so_many_connections_at_a_time_and_no_more(operator: Browser, engine: Engine) -> None:
    link = new_link(operator)
    for number in range(oauth_states.MOST_OF_A_LINK):
        guest = guest_of(operator, link)
        assert guest.submit("/connect", "/oauth/connect", {"email": f"s{number}@example.org"}).status_code == 303
    refused = guest_of(operator, link).get("/oauth/connect")
    assert refused.status_code == 429
    assert "Try again in ten minutes" in words_of(refused)
    assert len(emails(engine)) == oauth_states.MOST_OF_A_LINK
    assert operator.get("/oauth/connect").status_code == 302
    assert guest_of(operator, new_link(operator)).get("/oauth/connect").status_code == 302
    with engine.begin() as connection:
        connection.execute(update(oauth_states_table).values(expires_at=func.now()))
    assert guest_of(operator, link).get("/oauth/connect").status_code == 302
    assert len(emails(engine)) == oauth_states.MOST_OF_A_LINK + 2


def emails(engine: Engine) -> list[str | None]:
    with engine.connect() as connection:
        return list(connection.execute(select(oauth_states_table.c.email)).scalars())


def test_of_one_browser_the_newest_states_are_kept(operator: Browser, engine: Engine) -> None:
    guest = guest_of(operator, new_link(operator))
    for browser in (guest, operator):
        states = [state_in(browser.get("/oauth/connect")) for _ in range(oauth_states.MOST_OF_A_BROWSER + 5)]
        assert finish(browser, states[0]).status_code == 400
        assert finish(browser, states[-1]).status_code == 303
    assert len(emails(engine)) == 2 * (oauth_states.MOST_OF_A_BROWSER - 1)
