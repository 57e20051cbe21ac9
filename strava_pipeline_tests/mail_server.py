"""A real mail server on this machine: keeps what it is given, and answers as a test wants."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from strava_pipeline_tests.eventually import eventually
from strava_pipeline_tests.ports import free_port

USER, PASSWORD = "rides@example.org", "p@ss:w/rd"
TAKEN = "250 taken"


class _Listener(Controller):
    """Knows who is connected."""

    def __init__(self, *args: Any, **options: Any) -> None:
        self.sessions: set[SMTP] = set()
        super().__init__(*args, **options)

    def factory(self) -> SMTP:
        """Make what talks to one client."""
        return _Session(self.sessions, self.handler, **self.SMTP_kwargs)

    def stop_when_idle(self) -> None:
        """Let no further client in, wait until those who are there have gone, and end."""
        assert self.server is not None
        self.loop.call_soon_threadsafe(self.server.close)
        eventually(lambda: not self.sessions, "the end of what is being mailed")
        self.stop()


class _Session(SMTP):
    def __init__(self, sessions: set[SMTP], *args: Any, **options: Any) -> None:
        self._sessions = sessions
        super().__init__(*args, **options)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._sessions.add(self)
        super().connection_made(transport)

    def connection_lost(self, error: Exception | None) -> None:
        super().connection_lost(error)
        self._sessions.discard(self)


@dataclass
class MailServerStandIn:
    """``rcpt`` and ``data``: answers to give, first come first; after them every mail is taken."""

    port: int
    rcpt: list[str] = field(default_factory=list)
    data: list[str] = field(default_factory=list)
    hang_up_after_data: bool = False
    recipients: list[str] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    secure: list[bool] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    # How it listens.
    options: dict[str, Any] = field(default_factory=dict)
    controller: _Listener | None = None

    def start(self) -> None:
        """Listen, for the first time or again."""
        self.controller = _Listener(self, hostname="127.0.0.1", port=self.port, **self.options)
        self.controller.start()

    def stop(self) -> None:
        """Listen no more; whoever connects is refused. A mail under way is taken, and its sender hears of that."""
        if self.controller is not None:
            self.controller.stop_when_idle()
        self.controller = None

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def mails(self) -> list[EmailMessage]:
        """What was taken, parsed."""
        parsed = [message_from_bytes(raw, policy=default) for raw in self.raw]
        return [mail for mail in parsed if isinstance(mail, EmailMessage)]

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:  # noqa: N802  aiosmtpd's name
        if self.rcpt:
            return self.rcpt.pop(0).format(address)
        envelope.rcpt_tos.append(address)
        return TAKEN

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  aiosmtpd's name
        answer = self.data.pop(0) if self.data else TAKEN
        if answer == TAKEN:
            self.raw.append(envelope.content)
            self.recipients += envelope.rcpt_tos
            self.secure.append(session.ssl is not None)
        if self.hang_up_after_data:
            asyncio.get_running_loop().call_later(0.01, server.transport.abort)
        return answer

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and data == LoginPassword(USER.encode(), PASSWORD.encode())
        self.logins.append("good" if good else "bad")
        return AuthResult(success=good, handled=False)


@contextmanager
def mail_server(
    *, starttls: ssl.SSLContext | None = None, tls: ssl.SSLContext | None = None, login: bool = False
) -> Iterator[MailServerStandIn]:
    """A server that is listening, and gone afterwards."""
    server = MailServerStandIn(free_port())
    more: dict[str, Any] = {"tls_context": starttls, "require_starttls": starttls is not None, "ssl_context": tls}
    if login:
        # Behind TLS from the first byte the server does not know that it is, and warns of logins in the clear.
        only_behind_starttls = tls is None
        more |= {
            "authenticator": server.authenticate,
            "auth_required": only_behind_starttls,
            "auth_require_tls": only_behind_starttls,
        }
    server.options = more
    server.start()
    yield server
    server.stop()
