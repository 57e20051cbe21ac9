"""Signatures of our own processes: each serves for one request, for a minute, and for nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest
from sqlalchemy import Engine
from starlette.types import Message

from strava_pipeline.dagster_guard import signatures as signing
from strava_pipeline.dagster_guard.asked import request_head
from strava_pipeline.dagster_guard.bodies import Body
from strava_pipeline.dagster_guard.guard import Guard
from strava_pipeline.dagster_guard.rules import Refusal
from strava_pipeline.dagster_guard.sessions import Sessions
from strava_pipeline.dagster_guard.signatures import BODY_CAP_BYTES, VALID_SECONDS, UsedSignatures
from strava_pipeline.secret import Secret
from strava_pipeline.warehouse.access import operator_sessions
from strava_pipeline.web.request_signature import HEADER, SIGNED_PATHS, Signature
from strava_pipeline_tests.dagster_guard.asking import (
    COOKIE,
    HOST,
    JSON,
    KEY,
    Answer,
    Dagster,
    ask,
    door,
    gen_answer,
    scope_of,
    signed,
)

BODY = b'{"query": "{ runs }"}'


@pytest.fixture
def dagster() -> Dagster:
    return Dagster()


@pytest.fixture
def guard(dagster: Dagster, engine: Engine) -> Guard:
    return Guard(dagster, door(), Sessions(engine, "proof"))


def send(guard: Guard, header: tuple[str, str], body: bytes | Sequence[bytes] = BODY) -> Answer:
    return ask(guard, "POST", "/graphql", JSON, header, body=body)


@pytest.mark.parametrize("parts", [BODY, [BODY[:3], BODY[3:]], [*(BODY[at : at + 1] for at in range(len(BODY))), b""]])
def test_what_is_signed_passes_with_its_body(guard: Guard, dagster: Dagster, parts: bytes | list[bytes]) -> None:
    assert send(guard, signed(BODY), parts).status == 200
    assert dagster.bodies == [BODY]


def test_a_signature_serves_once(guard: Guard, dagster: Dagster) -> None:
    header = signed(BODY)
    assert [send(guard, header).status for _ in range(3)] == [200, 401, 401]
    # Another request may say the same in the same second.
    assert [send(guard, signed(BODY)).status for _ in range(3)] == [200] * 3
    assert len(dagster.reached) == 4


def test_of_two_that_come_at_once_one_passes(guard: Guard) -> None:
    async def both() -> list[int]:
        header = signed(BODY)
        answers = [gen_answer(guard, "POST", "/graphql", JSON, header, body=[BODY, b""]) for _ in range(2)]
        return sorted(answer.status for answer in await asyncio.gather(*answers))

    assert asyncio.run(both()) == [200, 401]


def strangers(good: Signature) -> list[Signature]:
    """What looks like a good signature, and is none."""
    return [
        replace(good, at=good.at + 1),
        replace(good, nonce="0" * 32),
        replace(good, digest=Signature.of(b"", KEY).digest),
        replace(good, code="0" * 64),
        Signature.of(BODY, Secret("another-key")),
    ]


def test_a_signature_is_of_one_body_time_nonce_and_key(guard: Guard, dagster: Dagster) -> None:
    good = Signature.of(BODY, KEY)
    for other in strangers(good):
        assert send(guard, (HEADER, str(other))).status == 401
    for body in (b"", BODY + b" ", BODY[:-1], BODY.replace(b"runs", b"wipe")):
        header = signed(BODY)
        # With another body it is used up all the same.
        assert [send(guard, header, sent).status for sent in (body, BODY)] == [401, 401]
    assert dagster.reached == []
    assert send(guard, (HEADER, str(good))).status == 200


def test_of_a_stranger_nothing_is_read(guard: Guard, dagster: Dagster) -> None:
    used = signed(BODY)
    assert send(guard, used).status == 200
    late = Signature.of(BODY, KEY)
    for header in (used, *((HEADER, str(other)) for other in strangers(late)), (HEADER, "no signature")):
        assert unread_answer(guard, header).status == 401
    assert len(dagster.reached) == 1


@pytest.mark.parametrize("shape", ["", " ", "{}, {}", "{} ", " {}", "{},v1=00", "v1=00,{}", "X{}", "{}x", "t=+{}", "é"])
def test_what_is_no_signature_is_none(guard: Guard, dagster: Dagster, shape: str) -> None:
    good = signed(BODY)[1]
    assert send(guard, (HEADER, shape.replace("{}", good))).status == 401
    for other in (good.upper(), good.replace("t=", "t=0x"), good.replace("t=", "t=-"), good.replace("v1", "v0")):
        assert send(guard, (HEADER, other)).status == 401
    assert dagster.reached == []


def test_only_graphql_by_post_is_signed(guard: Guard, dagster: Dagster) -> None:
    for method, target in (
        ("GET", "/"),
        ("GET", "/server_info"),
        ("HEAD", "/"),
        ("PUT", "/graphql"),
        ("POST", "/graphql?query=mutation"),
        ("POST", "/graphql/"),
        ("POST", "//graphql"),
        ("POST", "/%67raphql"),
        ("POST", "/report_asset_materialization/a"),
    ):
        assert ask(guard, method, target, JSON, signed(BODY), body=BODY).status == 401
    assert ask(guard, "GET", "/graphql", signed(), websocket=True).status == 401
    assert dagster.reached == []


def test_a_wrong_signature_is_not_made_good_by_a_session(guard: Guard, dagster: Dagster, engine: Engine) -> None:
    with engine.begin() as connection:
        cookie = ("Cookie", f"{COOKIE}={operator_sessions.open_session(connection, 'proof')}")
    assert ask(guard, "POST", "/graphql", JSON, cookie, (HEADER, "x"), body=BODY).status == 401
    assert dagster.reached == []


def test_no_token_is_needed_for_it(dagster: Dagster, engine: Engine) -> None:
    guard = Guard(dagster, door(token=None), Sessions(engine, "proof"))
    assert send(guard, signed(BODY)).status == 200


class Clock:
    """Shows what a test sets, unix s."""

    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def look(used: UsedSignatures, signature: Signature, body: bytes = BODY) -> Refusal | None:
    async def receive() -> Message:
        return {"type": "http.request", "body": body}

    asked = request_head(scope_of("POST", "/graphql", (HOST, JSON, (HEADER, str(signature)))))
    return asyncio.run(used.check(asked, Body(receive)))


@pytest.mark.parametrize(("late", "passes"), [(-61, False), (-60, True), (0, True), (60, True), (61, False)])
def test_a_signature_is_good_for_a_minute_either_way(late: float, passes: bool) -> None:
    signature = Signature.of(BODY, KEY)
    clock = Clock(signature.at - 1000)
    used = UsedSignatures(KEY, clock)
    clock.now = signature.at + late
    assert (look(used, signature) is None) is passes


def test_none_serves_again_as_long_as_it_is_good() -> None:
    signature = Signature.of(BODY, KEY)
    clock = Clock(signature.at - VALID_SECONDS)
    used = UsedSignatures(KEY, clock)
    assert look(used, signature) is None
    for seconds in range(2 * VALID_SECONDS + 2):
        clock.now = signature.at - VALID_SECONDS + seconds
        look(used, Signature.of(BODY, KEY))
        assert look(used, signature) is not None


def test_none_from_before_the_guard_began_serves() -> None:
    signature = Signature.of(BODY, KEY)
    assert look(UsedSignatures(KEY, Clock(signature.at + 1)), signature) is not None
    assert look(UsedSignatures(KEY, Clock(signature.at + 0.9)), signature) is None


def test_a_clock_put_back_keeps_nobody_out() -> None:
    signature = Signature.of(BODY, KEY)
    clock = Clock(signature.at + 7200)
    used = UsedSignatures(KEY, clock)
    clock.now = signature.at
    assert look(used, signature) is None


def test_what_is_kept_is_bounded_and_never_forgotten_early(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "MOST_KEPT", 3)
    first = Signature.of(BODY, KEY)
    clock = Clock(first.at)
    used = UsedSignatures(KEY, clock)
    assert [look(used, each) for each in (first, *(Signature.of(BODY, KEY) for _ in range(2)))] == [None] * 3
    assert look(used, first) is not None
    assert look(used, Signature.of(BODY, KEY)) is not None
    # Strangers fill nothing.
    assert look(used, Signature.of(BODY, Secret("another-key"))) is not None
    assert len(used._used) == 3
    clock.now += 2 * VALID_SECONDS
    look(used, first)
    assert len(used._used) == 0


def test_a_body_too_large_is_not_read_to_its_end(guard: Guard, dagster: Dagster) -> None:
    sent = 0

    async def receive() -> Message:
        nonlocal sent
        sent += 1
        return {"type": "http.request", "body": b"x" * 65_536, "more_body": True}

    answer = Answer()

    async def take(message: Message) -> None:
        answer.take(message)

    asyncio.run(guard(scope_of("POST", "/graphql", (HOST, JSON, signed(b"x"))), receive, take))
    assert (answer.status, dagster.reached) == (413, [])
    assert sent == BODY_CAP_BYTES // 65_536 + 1


def test_a_body_that_does_not_come_is_not_waited_for(
    guard: Guard, dagster: Dagster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "BODY_SECONDS", 0.05)
    answer = Answer()

    async def receive() -> Message:
        await asyncio.Event().wait()
        raise AssertionError

    async def take(message: Message) -> None:
        answer.take(message)

    asyncio.run(guard(scope_of("POST", "/graphql", (HOST, JSON, signed(BODY))), receive, take))
    assert (answer.status, dagster.reached) == (408, [])


def test_half_a_body_is_none(guard: Guard, dagster: Dagster) -> None:
    assert send(guard, signed(BODY), []).status == 408
    assert dagster.reached == []


def test_without_a_signature_the_guard_reads_nothing(guard: Guard, dagster: Dagster) -> None:
    assert (unread_answer(guard).status, dagster.reached) == (401, [])


def unread_answer(guard: Guard, *headers: tuple[str, str]) -> Answer:
    """The answer of a guard that may not read the body."""

    async def receive() -> Message:
        raise AssertionError

    answer = Answer()

    async def take(message: Message) -> None:
        answer.take(message)

    asyncio.run(guard(scope_of("POST", "/graphql", (HOST, JSON, *headers)), receive, take))
    return answer


@pytest.mark.parametrize("path", sorted(SIGNED_PATHS))
def test_a_signature_serves_for_one_path(guard: Guard, dagster: Dagster, path: str) -> None:
    (other,) = SIGNED_PATHS - {path}
    assert ask(guard, "POST", other, JSON, signed(BODY, path), body=BODY).status == 401
    assert ask(guard, "POST", f"{path}activities", JSON, signed(BODY, f"{path}activities"), body=BODY).status == 401
    assert dagster.bodies == []
    assert ask(guard, "POST", path, JSON, signed(BODY, path), body=BODY).status == 200
    assert dagster.bodies == [BODY]
