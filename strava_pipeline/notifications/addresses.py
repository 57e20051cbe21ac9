"""Checks the addresses of mails: they have a form that every mail server accepts, and one spelling."""

from __future__ import annotations

from email_validator import EmailNotValidError, validate_email

# Domains of mailboxes on a mail server at home (RFC 6761, 6762, 8375).
HOME_DOMAINS = ("localhost", "local", "home.arpa")
# email-validator refuses these domains, unless a list is changed that the whole process shares. So this ending is
# appended for the check.
STAND_IN = ".org"


def checked_address(given: str) -> str:
    """Return the address in ASCII, its domain in lower case (IDNA); ``ValueError`` for anything else.

    Also refused: quotes, brackets, a local part that not every server accepts (RFC 6531), names for private use other
    than :data:`HOME_DOMAINS`. The network is not used.
    """
    suffix = STAND_IN if _is_at_home(given) else ""
    try:
        found = validate_email(
            given + suffix,
            allow_smtputf8=False,
            allow_quoted_local=False,
            allow_domain_literal=False,
            allow_display_name=False,
            strict=True,
            check_deliverability=False,
        )
    except EmailNotValidError as error:
        raise ValueError("that is no e-mail address") from error
    if found.ascii_email is None:
        raise ValueError("that is no e-mail address")
    return found.ascii_email.removesuffix(suffix)


def _is_at_home(given: str) -> bool:
    domain = given.rpartition("@")[2].lower()
    return domain in HOME_DOMAINS or domain.endswith(tuple(f".{name}" for name in HOME_DOMAINS))
