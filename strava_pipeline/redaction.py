"""Keeps secrets out of what is logged.

Two nets: texts known to be secret, wherever they stand; and places where secrets stand, such as the query of
an address, whatever their text.

Our own loggers (:func:`get_logger`) and errors redact in every process. A process that is ours alone calls
:func:`install`, which redacts what any library logs there as well: requests, urllib3, werkzeug, waitress, Dagster.
A process of somebody else is left as it is.
"""

from __future__ import annotations

import base64
import itertools
import logging
import re
import sys
import threading
import traceback
import weakref
from collections.abc import Iterator
from enum import StrEnum
from types import TracebackType
from typing import Any, Final
from urllib.parse import quote

from strava_pipeline.printable import printable, printable_lines


class SecretPath(StrEnum):
    """The bridge's paths whose next part is a secret: whoever has it can act for its owner."""

    WEBHOOK = "/webhooks/strava"
    LOGIN = "/login/once"
    CONFIRM = "/mail/confirm"
    UNSUBSCRIBE = "/mail/unsubscribe"


_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
_OURS = ("strava_pipeline", "webhook_bridge")
_LONGEST_MESSAGE = 4000
_INDENT = "    "
MASK: Final = "********"
# A shorter text would turn up by chance, and is no secret.
SHORTEST = 8
_NAMES = r"client_secret|access_token|refresh_token|(?:hub[._])?verify_token|signing_secrets?|token_keys|password"
_PLACES = re.compile(
    # a field of a query or a form
    rf"(?P<field>(?:^|[?&\s\"'])(?:{_NAMES})=|[?&](?:code|token|invite)=)[^&\s\"'<>]+"
    # a field of JSON, or of a dictionary as Python prints it
    rf"|(?P<json>[\"'](?:{_NAMES})[\"']\s*:\s*[\"'])[^\"']+"
    # a header
    r"|(?P<header>\b(?:Bearer|Basic)\s+)[A-Za-z0-9._~+/=-]+"
    # the password of an address
    r"|(?P<address>://[^\s:/@]*:)[^\s/@]+(?=@)"
    # the part of a path that is a secret
    rf"|(?P<path>(?:{'|'.join(SecretPath)})/)[^\s?\"'<>]+",
    re.IGNORECASE,
)
# In each of those places stands one of these: most log lines have none, and are not searched at ten times the cost.
_SIGNS = ("=", "://", "secret", "token", "password", "bearer", "basic", *(f"{path}/" for path in SecretPath))
# No lock guards it: a secret may be forgotten at any moment, by a finalizer that runs in the midst of anything. Every
# access is one operation of the dictionary, which is whole by itself.
_known: dict[int | str, frozenset[str]] = {}
# Raised after each change of what is known. What was sorted before that is not used any more.
_versions = itertools.count(1)
_version = 0
_sorted: tuple[int, tuple[str, ...]] = (0, ())


def register_secret(text: str, owner: object | None = None) -> None:
    """From now on, mask this text wherever it is logged; for as long as ``owner`` lives, if there is one."""
    if len(text) < SHORTEST:
        return
    key = text if owner is None else id(owner)
    _known[key] = frozenset(_forms(text))
    _note_change()
    if owner is not None:
        weakref.finalize(owner, _forget, key).atexit = False


def redact(text: str) -> str:
    """The text without its secrets."""
    for form in _known_forms():
        if form in text:
            text = text.replace(form, MASK)
    return _PLACES.sub(_mask, text) if _may_have_a_place(text) else text


def get_logger(name: str) -> logging.Logger:
    """The logger of a module of ours: whichever handler takes its records gets no secret with them."""
    logger = logging.getLogger(name)  # noqa: TID251  here they get what redacts
    logger.addFilter(_redact_record)
    return logger


def install() -> None:
    """Redact all that this process logs, and its uncaught exceptions; for the entry points of processes of ours.

    A second call changes nothing.
    """
    if logging.getLogRecordFactory() is not _RedactedRecord:
        logging.setLogRecordFactory(_RedactedRecord)
        sys.excepthook = _print_redacted
        threading.excepthook = _print_thread_redacted


class _RedactedRecord(logging.LogRecord):
    """A record whose message and traceback come redacted to every handler there is."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0] is not None:
            # Formatters print what stands here rather than formatting the exception themselves.
            self.exc_text = _redacted_traceback(self.exc_info)
        if self.stack_info:
            self.stack_info = redact(self.stack_info)

    def getMessage(self) -> str:  # noqa: N802  the name is logging's
        message = redact(super().getMessage())
        # What others log is theirs, and may have lines; where a process is ours, its log's format sees to them.
        return printable(message) if self.name.startswith(_OURS) else message


class LogFormat(logging.Formatter):
    """The format of the logs of our own processes: nothing in them that a terminal obeys, one line per record.

    Further lines, such as those of a traceback, are indented: no text of others can look like a record of its own.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  the name is logging's
        return printable(super().formatMessage(record), _LONGEST_MESSAGE)

    def format(self, record: logging.LogRecord) -> str:
        """The record's line, and its traceback below."""
        text = super().format(record)
        # One line alone is printable already.
        return _below_one_another(text) if "\n" in text else text


def _redact_record(record: logging.LogRecord) -> bool:
    """Let a record of ours pass, without its secrets.

    All that could hold one is replaced by text: handlers of others also look at arguments and at the exception itself.
    """
    if not isinstance(record, _RedactedRecord):
        record.msg, record.args = printable(redact(record.getMessage())), None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text, record.exc_info = _redacted_traceback(record.exc_info), None
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
    return True


def _redacted_traceback(error: _ExcInfo) -> str:
    return redact("".join(traceback.format_exception(*error)).rstrip("\n"))


def _print_redacted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    told = redact("".join(traceback.format_exception(kind, error, trace))).rstrip("\n")
    sys.stderr.write(f"{_below_one_another(told)}\n")


def _print_thread_redacted(details: threading.ExceptHookArgs) -> None:
    if details.exc_value is not None and details.exc_type is not SystemExit:
        _print_redacted(details.exc_type, details.exc_value, details.exc_traceback)


def _below_one_another(text: str) -> str:
    """Lines that belong together: those after the first are indented."""
    return printable_lines(text, _LONGEST_MESSAGE).replace("\n", f"\n{_INDENT}")


def _may_have_a_place(text: str) -> bool:
    """Whether a place where secrets stand can be in the text; beyond ASCII other letters count as some of its."""
    lowered = text.lower()
    return not text.isascii() or any(sign in lowered for sign in _SIGNS)


def _known_forms() -> tuple[str, ...]:
    """Every form of every secret that is known, the longest first."""
    global _sorted  # noqa: PLW0603  replaced as a whole, by any thread
    version, forms = _sorted
    if version != _version:
        # Read before the secrets are: who keeps another one out meanwhile raises it, and this is sorted anew.
        version = _version
        forms = tuple(sorted(frozenset[str]().union(*_known.copy().values()), key=len, reverse=True))
        _sorted = (version, forms)
    return forms


def _note_change() -> None:
    global _version, _sorted  # noqa: PLW0603  see above
    _version = next(_versions)
    # What is forgotten does not stay here either.
    _sorted = (0, ())


def _forget(key: int | str) -> None:
    _known.pop(key, None)
    _note_change()


def _forms(text: str) -> Iterator[str]:
    """The text, and the shapes in which it travels."""
    yield text
    yield quote(text, safe="")
    raw = text.encode()
    yield raw.hex()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw).decode().rstrip("=")


def _mask(match: re.Match[str]) -> str:
    kept = next((part for part in match.groups() if part is not None), "")
    return f"{kept}{MASK}"
