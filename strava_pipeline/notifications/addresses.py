"""Addresses that mails can go to: of a form that every mail server takes, and spelled in one way."""

from __future__ import annotations

from email_validator import EmailNotValidError, validate_email


def checked_address(given: str) -> str:
    """The address in ASCII, its domain in lower case (IDNA). ``ValueError`` if it is none; nobody is asked by network.

    Refused as well: quotes, brackets, a local part that not every server takes (RFC 6531), names for private use.
    """
    try:
        found = validate_email(
            given,
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
    return found.ascii_email
