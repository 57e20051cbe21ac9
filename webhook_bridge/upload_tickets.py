"""Tickets for parts of uploads: who has one may send one part, which the server knows from the head of the request.

A ticket is given once session or link, room and place were found to be good. It is signed, and good for one place in
one upload for two minutes. So the server can tell a part that it waits for from a stranger's body without asking the
database, and before it takes any of it. Whether the link is still good is looked up again before a part is stored.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus

from itsdangerous import BadSignature

from strava_pipeline.keyring import KeyPurpose, Keyring
from strava_pipeline.local.large_bodies import Admitted, Head, Refused
from strava_pipeline.warehouse.uploads.rows import MOST_AT_ONCE

PARTS_PATH = "/archive/parts"
PART_BYTES = 4 * 2**20
# From the first byte of a part to its last: 4 MiB in this time is 280 kbit/s.
PART_SECONDS = 120.0
TICKET_SECONDS = 120
TICKET_HEADER = "Upload-Ticket"
LONGEST_TICKET = 200
_FORM = re.compile(r"([0-9]{1,18})\.([0-9]{1,18})\.([0-9]{0,18})\.([0-9]{1,12})", re.ASCII)
_NO_TICKET = Refused(HTTPStatus.FORBIDDEN, "no ticket for this part, or too old a one: ask for another")
_NO_LENGTH = Refused(HTTPStatus.LENGTH_REQUIRED, "a part has a length")
_TOO_LARGE = Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a part has at most {PART_BYTES} bytes")


@dataclass(frozen=True)
class Ticket:
    """Allows the part at ``offset``, in bytes; ``link_id``: the athlete's link, ``None``: it is the operator's."""

    upload_id: int
    offset: int
    link_id: int | None


class Tickets:
    """Makes and reads tickets. ``clock``: unix time, s."""

    def __init__(self, keyring: Keyring, clock: Callable[[], float] = time.time) -> None:
        self._signer = keyring.signer(KeyPurpose.UPLOAD_TICKET)
        self._clock = clock

    def give(self, ticket: Ticket) -> str:
        """Return the text of a ticket that is good from now on."""
        link = "" if ticket.link_id is None else ticket.link_id
        ends_at = int(self._clock()) + TICKET_SECONDS
        return self._signer.sign(f"{ticket.upload_id}.{ticket.offset}.{link}.{ends_at}").decode()

    def read(self, text: str) -> Ticket | None:
        """Return the ticket in a text; ``None`` if it is not ours."""
        ticket, _ = self._read(text)
        return ticket

    def read_good(self, text: str) -> Ticket | None:
        """Return the ticket in a text; ``None`` if it is not ours, or not good any more."""
        ticket, ends_at = self._read(text)
        return ticket if ends_at > self._clock() else None

    def _read(self, text: str) -> tuple[Ticket | None, int]:
        if len(text) > LONGEST_TICKET or not text.isascii():
            return None, 0
        try:
            found = _FORM.fullmatch(self._signer.unsign(text).decode())
        except BadSignature:
            return None, 0
        if found is None:
            return None, 0
        upload_id, offset, link, ends_at = found.groups()
        return Ticket(int(upload_id), int(offset), int(link) if link else None), int(ends_at)


class UploadBodies:
    """Lets the server take parts of uploads from whoever has a ticket, and no other large body."""

    most_at_once = MOST_AT_ONCE

    def __init__(self, tickets: Tickets) -> None:
        self._tickets = tickets

    def judge(self, head: Head) -> Admitted | Refused | None:
        """Whether the request is a part with its ticket; ``None`` for all that is sent elsewhere."""
        if not head.path.startswith(f"{PARTS_PATH}/"):
            return None
        ticket = self._tickets.read_good(head.headers.get("UPLOAD_TICKET", ""))
        if ticket is None or head.method != "PUT" or head.path != f"{PARTS_PATH}/{ticket.upload_id}":
            return _NO_TICKET
        if head.length is None:
            return _NO_LENGTH
        if head.length > PART_BYTES:
            return _TOO_LARGE
        return Admitted(f"upload {ticket.upload_id}", PART_BYTES, PART_SECONDS)
