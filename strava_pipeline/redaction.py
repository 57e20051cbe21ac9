"""Keeps secrets out of what is logged.

Two rules: known secrets are masked wherever they stand; and where secrets usually stand, such as in the query of an
address, any text is masked.

Our own loggers (:func:`get_logger`) and errors redact in every process. A process that runs nothing but our program
calls :func:`install`, which also redacts what libraries log: requests, urllib3, werkzeug, waitress, Dagster. Other
processes are left as they are.
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

from strava_pipeline.printable import below_one_another, printable


class SecretPath(StrEnum):
    """The bridge's paths whose next part is a secret: whoever has it can act for its owner."""

    WEBHOOK = "/webhooks/strava"
    LOGIN = "/login/once"
    CONFIRM = "/mail/confirm"
    UNSUBSCRIBE = "/mail/unsubscribe"
    RECONNECT = "/mail/reconnect"
    UPLOAD = "/archive/upload"


_ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
_OURS = ("strava_pipeline", "webhook_bridge")
_LONGEST_MESSAGE = 4000
# A mark on a record.
_WRITTEN = "strava_pipeline_written"
MASK: Final = "********"
# Characters. A shorter text is not masked: it would turn up by chance, and is no secret.
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
# Each of those places contains one of these. Most log lines contain none, and skip a search that costs ten times more.
_SIGNS = ("=", "://", "secret", "token", "password", "bearer", "basic", *(f"{path}/" for path in SecretPath))
# Without a lock, since a finalizer may delete a secret at any moment, also while its thread would hold the lock. Every
# access is a single operation of the dictionary, which is atomic.
_known: dict[int | str, frozenset[str]] = {}
# A new number after each change of ``_known``; forms that were sorted under an older number are not used any more.
_versions = itertools.count(1)
_version = 0
_sorted: tuple[int, tuple[str, ...]] = (0, ())


def register_secret(text: str, owner: object | None = None) -> None:
    """Mask this text from now on wherever it is logged; if an ``owner`` is given, as long as it lives."""
    if len(text) < SHORTEST:
        return
    key = text if owner is None else id(owner)
    _known[key] = frozenset(_forms(text))
    _note_change()
    if owner is not None:
        weakref.finalize(owner, _forget, key).atexit = False


def redact(text: str) -> str:
    """Return the text with its secrets masked."""
    for form in _known_forms():
        if form in text:
            text = text.replace(form, MASK)
    return _PLACES.sub(_mask, text) if _may_have_a_place(text) else text


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a module of ours; its records contain no secrets, whichever handler takes them.

    A handler that fails does not end the work that is logged: the record goes to standard error instead.
    """
    logger = logging.getLogger(name)  # noqa: TID251  redaction is added here
    logger.__class__ = _SteadyLogger
    logger.addFilter(_redact_record)
    return logger


def install() -> None:
    """Redact everything that this process logs, and its uncaught exceptions; only for processes of our own.

    A second call changes nothing.
    """
    if not is_installed():
        logging.setLogRecordFactory(_RedactedRecord)
        sys.excepthook = _print_redacted
        threading.excepthook = _print_thread_redacted


def is_installed() -> bool:
    """Whether this process is one of our own: :func:`install` was called."""
    return logging.getLogRecordFactory() is _RedactedRecord


class _SteadyLogger(logging.Logger):
    """A logger that survives its handlers. Dagster's handler writes to a database, and raises while that is away."""

    def callHandlers(self, record: logging.LogRecord) -> None:  # noqa: N802  the name is logging's
        try:
            super().callHandlers(record)
        except Exception:  # noqa: BLE001  whatever a host's handler raises
            last = logging.lastResort
            if last is not None and record.levelno >= last.level and not is_written(record):
                last.handle(record)


class _RedactedRecord(logging.LogRecord):
    """A record whose message and traceback are redacted for every handler."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.exc_info and self.exc_info[0] is not None:
            # Formatters print ``exc_text`` if it is set, and then do not format the exception themselves.
            self.exc_text = redacted_traceback(self.exc_info)
        if self.stack_info:
            self.stack_info = redact(self.stack_info)

    def getMessage(self) -> str:  # noqa: N802  the name is logging's
        message = redact(super().getMessage())
        # Messages of libraries may have several lines; in processes of our own, ``TextLines`` indents these.
        # ``logging.makeLogRecord`` gives no name.
        return printable(message) if (self.name or "").startswith(_OURS) else message


def _redact_record(record: logging.LogRecord) -> bool:
    """Let a record of ours pass, without its secrets.

    Everything that could contain a secret is replaced by text, since some handlers use the arguments or the exception.
    """
    if not isinstance(record, _RedactedRecord):
        record.msg, record.args = printable(redact(record.getMessage())), None
        if record.exc_info and record.exc_info[0] is not None:
            record.exc_text, record.exc_info = redacted_traceback(record.exc_info), None
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
    return True


def note_written(record: logging.LogRecord) -> None:
    """Note that a handler of ours has written a record; Dagster copies the note to records that it makes from it."""
    setattr(record, _WRITTEN, True)


def is_written(record: logging.LogRecord) -> bool:
    """Whether a handler of ours has written this record."""
    return bool(getattr(record, _WRITTEN, False))


def is_redacted(record: logging.LogRecord) -> bool:
    """Whether what this record says of itself holds no secret."""
    return isinstance(record, _RedactedRecord)


def redacted_traceback(error: _ExcInfo) -> str:
    """Return the traceback of an exception, without secrets."""
    return redact("".join(traceback.format_exception(*error)).rstrip("\n"))


def _print_redacted(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    told = redact("".join(traceback.format_exception(kind, error, trace))).rstrip("\n")
    sys.stderr.write(f"{below_one_another(told, _LONGEST_MESSAGE)}\n")


def _print_thread_redacted(details: threading.ExceptHookArgs) -> None:
    if details.exc_value is not None and details.exc_type is not SystemExit:
        _print_redacted(details.exc_type, details.exc_value, details.exc_traceback)


def _may_have_a_place(text: str) -> bool:
    """Whether the text may contain a place of secrets.

    Text that is not ASCII may: where letter case is ignored, some of its letters match ASCII letters.
    """
    lowered = text.lower()
    return not text.isascii() or any(sign in lowered for sign in _SIGNS)


def _known_forms() -> tuple[str, ...]:
    """All forms of all known secrets, the longest first."""
    global _sorted  # noqa: PLW0603  replaced as a whole, by any thread
    version, forms = _sorted
    if version != _version:
        # Read before the secrets: if these change meanwhile, so does the version, and the next call sorts again.
        version = _version
        forms = tuple(sorted(frozenset[str]().union(*_known.copy().values()), key=len, reverse=True))
        _sorted = (version, forms)
    return forms


def _note_change() -> None:
    global _version, _sorted  # noqa: PLW0603  see above
    _version = next(_versions)
    # A deleted secret must not stay here either.
    _sorted = (0, ())


def _forget(key: int | str) -> None:
    _known.pop(key, None)
    _note_change()


def _forms(text: str) -> Iterator[str]:
    """The text, and the encodings in which it may be sent."""
    yield text
    yield quote(text, safe="")
    raw = text.encode()
    yield raw.hex()
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        yield encode(raw).decode().rstrip("=")


def _mask(match: re.Match[str]) -> str:
    kept = next((part for part in match.groups() if part is not None), "")
    return f"{kept}{MASK}"
