"""The sender of the mails, ``STRAVA_MAIL_FROM``: checked before any mail is written, and formatted as a header.

The standard library parses the sender, since email-validator does not read encoded names, and refuses hosts that mail
servers accept.
"""

from __future__ import annotations

from email.errors import MessageError
from email.header import Header, decode_header, make_header
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from typing import Any

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.notifications.headers import ENCODED_LINE, POLICY
from strava_pipeline.printable import WHOLE, printable
from strava_pipeline.settings import Settings


def sender_of(text: str) -> Address:
    """Return the sender in ``Name <name@host>``, its name in any script, or encoded; else ``ConfigurationError``."""
    try:
        return _checked(text)
    except (ValueError, LookupError, MessageError):
        raise ConfigurationError(
            "STRAVA_MAIL_FROM is not usable: write Name <name@example.org>, the name in quotes if it holds . , : ; ( )"
            " @, the address in ASCII"
        ) from None


def check_sender(settings: Settings) -> None:
    """Raise ``ConfigurationError`` if mails are on and their sender does not fit into a header."""
    if settings.smtp_url is not None and settings.mail_from is not None:
        sender_of(settings.mail_from)


def sender_header(sender: Address) -> str:
    """Return the value of ``From``: the name encoded (RFC 2047) where needed, the address never."""
    plain = str(sender)
    if plain.isascii() and "=?" not in sender.display_name:
        return plain
    words = Header(sender.display_name, "utf-8", maxlinelen=ENCODED_LINE, header_name="From").encode().split()
    return f"{' '.join(words)} <{sender.addr_spec}>"


def _checked(text: str) -> Address:
    if printable(text, WHOLE) != text:
        raise ValueError("it holds what nobody sees")
    header: Any = default.header_factory("From", text)
    if header.defects or len(header.addresses) != 1:
        raise ValueError("it is not one address")
    given: Address = header.addresses[0]
    if not given.username or not given.domain or not given.addr_spec.isascii():
        raise ValueError("the address is not whole, or not in ASCII")
    found = Address(_name_in(text) if "=?" in text else given.display_name, addr_spec=given.addr_spec)
    if printable(found.display_name, WHOLE) != found.display_name:
        raise ValueError("the name, decoded, holds what nobody sees")
    EmailMessage(policy=POLICY)["From"] = sender_header(found)
    return found


def _name_in(text: str) -> str:
    """The name, decoded. The parser of addresses would put a space between two encoded words, where none belongs."""
    return str(make_header(decode_header(text.rpartition("<")[0].strip())))
