"""A ticket lets one part in, for two minutes, and nothing else."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from strava_pipeline.keyring import Keyring, generate_key
from strava_pipeline.local.large_bodies import Admitted, Head, Refused
from webhook_bridge.upload_tickets import (
    LONGEST_TICKET,
    PART_BYTES,
    PARTS_PATH,
    TICKET_SECONDS,
    Ticket,
    Tickets,
    UploadBodies,
)

KEYS = Keyring.parse(generate_key())
TICKET = Ticket(17, 3 * PART_BYTES, None)
PART = f"{PARTS_PATH}/17"


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tickets(clock: Clock) -> Tickets:
    return Tickets(KEYS, clock)


def judged(tickets: Tickets, text: str, path: str = PART, method: str = "PUT", length: int | None = 5) -> object:
    headers = {"UPLOAD_TICKET": text} if text else {}
    return UploadBodies(tickets).judge(Head(method, path, headers, length))


@pytest.mark.parametrize("ticket", [TICKET, Ticket(1, 0, 5), Ticket(10**18 - 1, 10**18 - 1, 10**18 - 1)])
def test_a_ticket_tells_what_it_was_given_for(tickets: Tickets, ticket: Ticket) -> None:
    text = tickets.give(ticket)
    assert len(text) <= LONGEST_TICKET
    assert (tickets.read(text), tickets.read_good(text)) == (ticket, ticket)


def test_a_ticket_is_good_for_two_minutes(tickets: Tickets, clock: Clock) -> None:
    text = tickets.give(TICKET)
    clock.now += TICKET_SECONDS
    assert (tickets.read(text), tickets.read_good(text)) == (TICKET, None)
    assert isinstance(judged(tickets, text), Refused)


def test_nobody_else_makes_tickets(tickets: Tickets, clock: Clock) -> None:
    text = tickets.give(TICKET)
    of_others = Tickets(Keyring.parse(generate_key()), clock).give(TICKET)
    for wrong in ("", ".", text[:-1], text.replace("17.", "18.", 1), of_others, f"{text}x", "\u0661" * 9, "x" * 10**6):
        assert tickets.read(wrong) is None
        assert judged(tickets, wrong) == judged(tickets, "")


def test_tickets_of_a_former_key_are_good_after_a_rotation(clock: Clock) -> None:
    (old,), new = KEYS.keys.items(), Keyring.parse(generate_key()).keys
    text = Tickets(KEYS, clock).give(TICKET)
    assert Tickets(Keyring(new | dict([old])), clock).read_good(text) == TICKET


def test_a_part_with_its_ticket_is_let_in(tickets: Tickets) -> None:
    assert isinstance(judged(tickets, tickets.give(TICKET), length=PART_BYTES), Admitted)


@pytest.mark.parametrize(
    ("path", "method", "length", "status"),
    [
        (f"{PARTS_PATH}/18", "PUT", 5, HTTPStatus.FORBIDDEN),
        (f"{PARTS_PATH}/017", "PUT", 5, HTTPStatus.FORBIDDEN),
        (f"{PART}/", "PUT", 5, HTTPStatus.FORBIDDEN),
        (PART, "POST", 5, HTTPStatus.FORBIDDEN),
        (PART, "PUT", None, HTTPStatus.LENGTH_REQUIRED),
        (PART, "PUT", PART_BYTES + 1, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    ],
)
def test_what_is_no_part_is_refused_with_any_ticket(
    tickets: Tickets, path: str, method: str, length: int | None, status: HTTPStatus
) -> None:
    refused = judged(tickets, tickets.give(TICKET), path, method, length)
    assert isinstance(refused, Refused)
    assert refused.status is status


@pytest.mark.parametrize("path", ["/", PARTS_PATH, "/webhooks/strava", f"/x{PART}", f"/{PART}"])
def test_elsewhere_a_ticket_is_worth_nothing(tickets: Tickets, path: str) -> None:
    assert judged(tickets, tickets.give(TICKET), path) is None
