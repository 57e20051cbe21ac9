"""Sends one mail, to one address or several, through the mail server that a URL names."""

from __future__ import annotations

import contextlib
import re
import smtplib
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from email.message import EmailMessage
from enum import StrEnum
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from strava_pipeline.errors import ConfigurationError, MailDelayed, MailError, MailRefused
from strava_pipeline.notifications.wording import shown
from strava_pipeline.secret import Secret
from strava_pipeline.settings_values import LOOPBACK_HOSTS

# The longest wait for each answer of the server; a mail with pictures has some 300 kB.
TIMEOUT_SECONDS = 30
PERMANENT = 500
LONGEST_WORDS = 300


class Security(StrEnum):
    """How the connection is secured: the URL's scheme."""

    PLAIN = "smtp"
    STARTTLS = "smtp+starttls"
    TLS = "smtps"


PORTS = {Security.PLAIN: 25, Security.STARTTLS: 587, Security.TLS: 465}
FORMS = (
    "smtp+starttls://user:password@host:587, smtps://user:password@host:465, or smtp://127.0.0.1:25 on this machine;"
    " write @ : / in a name or password as %40 %3A %2F"
)


@dataclass(frozen=True)
class MailServer:
    """The server to which mails are sent; without ``username`` there is no login.

    ``ca_bundle``: a file of authorities whose certificates are trusted beside the system's.
    """

    security: Security
    host: str
    port: int
    username: str | None = None
    password: Secret | None = None
    ca_bundle: Path | None = None

    def __str__(self) -> str:
        return f"{self.security}://{self.host}:{self.port}"


def parse_smtp_url(text: str, ca_bundle: Path | None = None) -> MailServer:
    """Return the server in ``STRAVA_SMTP_URL``; ``ConfigurationError`` shows the right forms, never the value."""
    try:
        parts = urlsplit(text)
        security, port = Security(parts.scheme), parts.port
        username, password = _login(parts)
    except ValueError:
        raise ConfigurationError(f"STRAVA_SMTP_URL is not usable: write {FORMS}") from None
    if not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ConfigurationError(f"STRAVA_SMTP_URL is not usable: write {FORMS}")
    if security is Security.PLAIN and parts.hostname not in LOOPBACK_HOSTS:
        raise ConfigurationError(
            "STRAVA_SMTP_URL: plain smtp is allowed to this machine only; use smtp+starttls or smtps"
        )
    return MailServer(security, parts.hostname, port or PORTS[security], username, password, ca_bundle)


def _login(parts: SplitResult) -> tuple[str | None, Secret | None]:
    if parts.username is None and parts.password is None:
        return None, None
    if not parts.username or not parts.password:
        raise ValueError("a login takes both")
    return unquote(parts.username, errors="strict"), Secret(unquote(parts.password, errors="strict"))


def send(server: MailServer, message: EmailMessage, *, sender: str, recipient: str) -> None:
    """Send a mail; return once the server has accepted it.

    ``MailRefused`` if the server will never accept this mail, ``MailDelayed`` for a fault that may pass or be fixed.
    """
    send_to_all(server, message, sender=sender, recipients=[recipient])


def send_to_all(server: MailServer, message: EmailMessage, *, sender: str, recipients: Sequence[str]) -> list[str]:
    """Send one mail to several addresses; return once the server has accepted it for one of them at least.

    Returns what the server said of the addresses that it refused. Errors as :func:`send`.
    """
    try:
        connection = _connect(server)
    except (OSError, smtplib.SMTPException) as error:
        raise MailDelayed(f"{server}: {_told(error, recipients)}") from None
    try:
        refused = connection.send_message(message, from_addr=sender, to_addrs=recipients)
    except smtplib.SMTPException as error:
        raise _verdict(server, error, recipients) from None
    except OSError as error:
        raise MailDelayed(f"{server}: {_told(error, recipients)}") from None
    finally:
        # The result is known by now: a fault at the end of the session does not change it.
        with contextlib.suppress(OSError, smtplib.SMTPException):
            connection.quit()
        connection.close()
    return [_reply(code, words, recipients) for code, words in refused.values()]


def check_login(server: MailServer, timeout_s: float) -> None:
    """Connect and log in as for a mail, and send none. ``MailDelayed`` with the reason if that fails.

    ``timeout_s``: the longest wait for each answer of the server.
    """
    try:
        connection = _connect(server, timeout_s)
    except (OSError, smtplib.SMTPException) as error:
        raise MailDelayed(f"{server}: {_told(error)}") from None
    with contextlib.suppress(OSError, smtplib.SMTPException):
        connection.quit()
    connection.close()


def _connect(server: MailServer, timeout_s: float = TIMEOUT_SECONDS) -> smtplib.SMTP:
    """A session in which mails can be sent."""
    context = ssl.create_default_context()
    if server.ca_bundle is not None:
        context.load_verify_locations(server.ca_bundle)
    if server.security is Security.TLS:
        connection: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=timeout_s, context=context)
    else:
        connection = smtplib.SMTP(server.host, server.port, timeout=timeout_s)
    try:
        if server.security is Security.STARTTLS:
            connection.starttls(context=context)
        if server.username is not None and server.password is not None:
            connection.login(server.username, server.password.reveal())
    except (OSError, smtplib.SMTPException):
        connection.close()
        raise
    return connection


def _verdict(server: MailServer, error: smtplib.SMTPException, recipients: Sequence[str]) -> MailError:
    told = f"{server}: {_told(error, recipients)}"
    code = 0
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        # One that may be taken later is worth another try.
        code = min(code for code, _ in error.recipients.values())
    elif isinstance(error, smtplib.SMTPResponseException):
        code = error.smtp_code
    if code >= PERMANENT or isinstance(error, smtplib.SMTPNotSupportedError):
        return MailRefused(told)
    return MailDelayed(told)


def _told(error: Exception, recipients: Sequence[str] = ()) -> str:
    """The server's words, or the error's, in one line and without an address."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return _reply(*next(iter(error.recipients.values())), recipients)
    if isinstance(error, smtplib.SMTPResponseException):
        return _reply(error.smtp_code, error.smtp_error, recipients)
    reason = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error)
    return _reply(0, f"{type(error).__name__}: {reason}", recipients)


def _reply(code: int, text: bytes | str, recipients: Sequence[str]) -> str:
    words = text.decode(errors="replace") if isinstance(text, bytes) else text
    for recipient in recipients:
        words = re.sub(re.escape(recipient), "the recipient's address", words, flags=re.IGNORECASE)
    line = shown(words, LONGEST_WORDS)
    return f"{code} {line}" if code else line
