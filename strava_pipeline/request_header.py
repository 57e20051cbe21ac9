"""A header that is sent with each request to a server behind a login proxy, given as ``Name: value``."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from typing import Self

from strava_pipeline.secret import Secret

# A token, and what may follow it: RFC 9110, 5.1 and 5.5, without the obsolete bytes above ASCII.
_FORM = re.compile(r"(?P<name>[A-Za-z0-9!#$%&'*+.^_`|~-]+):[ \t]*(?P<value>[!-~](?:[ \t!-~]*[!-~])?)")
# Those that say where a request goes, and where its body ends: the sender makes them itself.
_OF_THE_SENDER = frozenset({
    "connection", "content-encoding", "content-length", "content-type", "expect", "host", "te", "trailer",
    "transfer-encoding", "upgrade",
})  # fmt: skip


@dataclass(frozen=True)
class RequestHeader:
    """A header's name, and its value, which opens the server behind the proxy to whoever has it."""

    name: str
    value: Secret

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the header in ``Name: value``. ``ValueError``, without the text, if it is none that may be sent."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise ValueError("a header as it is sent is needed: 'Name: value', in one line of ASCII")
        if match["name"].lower() in _OF_THE_SENDER:
            raise ValueError("that header belongs to the request itself; name the one that the login proxy asks for")
        return cls(match["name"], Secret(match["value"]))

    def secret_parts(self) -> list[str]:
        """The parts of the value that must not show: a token behind its scheme, cookies, a password."""
        value = self.value.reveal()
        scheme, _, rest = value.partition(" ")
        pairs = re.split(r"[;,\s]+", value)
        password = _password_in(rest) if scheme.lower() == "basic" else ""
        return [value, rest.strip(), password, *(pair.partition("=")[2].strip('"') for pair in pairs)]


def _password_in(credentials: str) -> str:
    """The password in the credentials of ``Basic``, RFC 7617; '' if they are none."""
    try:
        return base64.b64decode(credentials.strip(), validate=True).decode().partition(":")[2]
    except ValueError:
        return ""
