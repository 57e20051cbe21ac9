"""Secrets stay out of every log and traceback, whoever writes it."""

from __future__ import annotations

import base64
import gc
import io
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strava_pipeline import redaction
from strava_pipeline.redaction import _PLACES, MASK, _mask, get_logger, redact
from strava_pipeline.secret import Secret

CANARY = "canary/ünï+5ecret&value"


@pytest.fixture(autouse=True)
def installed() -> Iterator[None]:
    before = logging.getLogRecordFactory(), sys.excepthook, threading.excepthook
    redaction.install()
    yield
    logging.setLogRecordFactory(before[0])
    sys.excepthook, threading.excepthook = before[1:]


@pytest.fixture
def log() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    """A logger with a handler of its own, as any library has it."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    logger = logging.getLogger("somebody.elses.library")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield logger, written
    logger.removeHandler(handler)


@pytest.mark.parametrize(
    "shape",
    [
        CANARY,
        quote(CANARY, safe=""),
        CANARY.encode().hex(),
        base64.b64encode(CANARY.encode()).decode().rstrip("="),
        base64.urlsafe_b64encode(CANARY.encode()).decode().rstrip("="),
    ],
    ids=["raw", "URL", "hex", "base64", "URL-safe base64"],
)
def test_a_living_secret_is_masked_in_every_shape(shape: str) -> None:
    secret = Secret(CANARY)
    assert redact(f"before {shape} after") == f"before {MASK} after"
    assert secret.reveal() == CANARY


def test_a_secret_that_is_gone_is_forgotten() -> None:
    secret = Secret("short-lived-token")
    assert redact("short-lived-token") == MASK
    del secret
    gc.collect()
    assert redact("short-lived-token") == "short-lived-token"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GET /push?client_id=1&client_secret=abc HTTP/1.1", f"GET /push?client_id=1&client_secret={MASK} HTTP/1.1"),
        ("code=42 is the exit code", "code=42 is the exit code"),
        ("http://localhost/?state=&code=abc&scope=read", f"http://localhost/?state=&code={MASK}&scope=read"),
        ('{"access_token": "abc", "expires_in": 5}', f'{{"access_token": "{MASK}", "expires_in": 5}}'),
        ("{'refresh_token': 'abc'}", f"{{'refresh_token': '{MASK}'}}"),
        ("Authorization: Bearer abc.def-1", f"Authorization: Bearer {MASK}"),
        ("postgresql://me:pa55@db/x", f"postgresql://me:{MASK}@db/x"),
        ("POST /webhooks/strava/unguessable HTTP/1.1", f"POST /webhooks/strava/{MASK} HTTP/1.1"),
        ("hub.verify_token=abc&hub.mode=subscribe", f"hub.verify_token={MASK}&hub.mode=subscribe"),
        ("GET /athlete/activities?page=2&per_page=200", "GET /athlete/activities?page=2&per_page=200"),
    ],
)  # fmt: skip
def test_places_where_secrets_stand_are_masked_whatever_stands_there(text: str, expected: str) -> None:
    assert redact(text) == expected


def test_message_arguments_traceback_and_stack_are_masked(log: tuple[logging.Logger, io.StringIO]) -> None:
    secret = Secret(CANARY)
    logger, written = log
    try:
        int(secret.reveal())
    except ValueError:
        logger.exception("asked with %s", {"token": secret.reveal()}, stack_info=True)
    assert "canary" not in written.getvalue()
    assert "ValueError: invalid literal for int() with base 10: '********'" in written.getvalue()


def test_an_uncaught_exception_is_masked() -> None:
    program = (
        "from strava_pipeline import redaction; from strava_pipeline.secret import Secret; import threading\n"
        "redaction.install(); secret = Secret('canary-of-a-process')\n"
        "def fail(): raise RuntimeError('in a thread ' + secret.reveal())\n"
        "thread = threading.Thread(target=fail); thread.start(); thread.join()\n"
        "raise RuntimeError('in the main thread ' + secret.reveal())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "canary-of-a-process" not in done.stderr.replace(program, "")
    assert "in a thread ********" in done.stderr
    assert "in the main thread ********" in done.stderr


OURS_IN_A_HOST = """
import json, logging, sys
from strava_pipeline.errors import StravaError
from strava_pipeline.redaction import get_logger
from strava_pipeline.secret import Secret

class Everything(logging.Handler):
    def emit(self, record):
        print(json.dumps(vars(record), default=repr), record.getMessage(), logging.Formatter().format(record))

logging.basicConfig(level=logging.DEBUG, handlers=[Everything()])
secret = Secret("canary-of-a-host")
ours, theirs = get_logger("strava_pipeline.some.module"), logging.getLogger("theirs")
ours.info("asked with %s", {"token": secret.reveal()})
ours.info("at %s", "https://example.org/?code=canary-of-nobody")
try:
    raise StravaError("refused: " + secret.reveal()) from ValueError(secret.reveal())
except StravaError as error:
    ours.error("failed: %s", error, exc_info=True, stack_info=True)
    print(error, repr(error), error.args)
print("-- theirs")
theirs.info("at %s", "https://theirs.example/?code=theirs-to-log")
raise RuntimeError("theirs-to-raise, token=theirs-to-print")
"""


def test_in_a_process_of_somebody_else_our_loggers_and_errors_redact_and_theirs_do_not() -> None:
    done = subprocess.run([sys.executable, "-c", OURS_IN_A_HOST], capture_output=True, text=True, check=False)
    ours, _, theirs = done.stdout.partition("-- theirs")
    assert "canary" not in ours
    assert "asked with {'token': '********'}" in ours
    assert "ValueError: ********" in ours
    assert "https://theirs.example/?code=theirs-to-log" in theirs
    assert done.stderr.endswith("RuntimeError: theirs-to-raise, token=theirs-to-print\n")


def test_every_logger_of_ours_redacts() -> None:
    program = (
        "import importlib, logging, pkgutil, strava_pipeline, webhook_bridge\n"
        "from strava_pipeline.redaction import _redact_record\n"
        "for package in (strava_pipeline, webhook_bridge):\n"
        "    for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
        "        if '.migrations' not in module.name and '__main__' not in module.name:\n"
        "            importlib.import_module(module.name)\n"
        "loggers = logging.root.manager.loggerDict\n"
        "ours = [name for name in loggers if name.startswith(('strava_pipeline.', 'webhook_bridge.'))]\n"
        "made = [name for name in ours if isinstance(loggers[name], logging.Logger)]\n"
        "assert len(made) > 20\n"
        "assert [name for name in made if _redact_record not in loggers[name].filters] == []\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_secret_shows_in_no_form_and_is_not_pickled() -> None:
    secret = Secret(CANARY)
    assert {str(secret), repr(secret), f"{secret:>40}", f"{secret!r}", "%s" % secret} == {MASK}  # noqa: UP031  another way to print
    with pytest.raises(TypeError):
        secret.__reduce__()
    assert secret == Secret(CANARY)
    assert secret != Secret("another secret")
    assert secret != CANARY


def test_secrets_may_be_forgotten_in_the_midst_of_anything() -> None:
    class Cycle:
        """Only the collector frees it, and that runs whenever something is made."""

        def __init__(self, number: int) -> None:
            self.itself = self
            self.secret = Secret(f"secret-number-{number}")

    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for number in range(200):
            Cycle(number)
            redact("a text")
    finally:
        gc.set_threshold(*before)
    gc.collect()
    assert redact("secret-number-7") == "secret-number-7"


_FRAGMENTS = [
    *"=:/?&\"' @sSkK\u017f\u212a",
    *(
        "client_secret",
        "Refresh_Token",
        "hub.verify_token",
        "code",
        "token",
        "signing_secrets",
        "token_keys",
        "password",
    ),
    *("Bearer ", "basic ", "://", "/webhooks/strava/", "/Login/once/", "PA\u017f\u017fword", "to\u212aen", "abc"),
]


@given(st.lists(st.sampled_from(_FRAGMENTS)).map("".join))
def test_only_texts_in_which_no_place_can_be_are_not_searched(text: str) -> None:
    assert redact(text) == _PLACES.sub(_mask, text)


@given(st.text())
def test_redaction_takes_any_text(text: str) -> None:
    assert isinstance(redact(text), str)


@given(st.text(alphabet="abcdefghij0123456789", min_size=8), st.text(), st.text())
def test_no_secret_survives_in_the_midst_of_any_text(token: str, before: str, after: str) -> None:
    secret = Secret(token)
    assert secret.reveal() not in redact(before + token + after)


def test_a_record_without_a_name_has_its_message() -> None:
    """As queues and sockets make them."""
    assert logging.makeLogRecord({"msg": "3 lines"}).getMessage() == "3 lines"


class FailingHandler(logging.Handler):
    """As Dagster's, whose database is away."""

    def emit(self, record: logging.LogRecord) -> None:
        raise ConnectionError(record.name)


def test_a_handler_that_fails_ends_no_work_and_what_matters_goes_to_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logger = get_logger("strava_pipeline.some.steady.module")
    parent = logging.getLogger("strava_pipeline.some")
    handler = FailingHandler()
    parent.addHandler(handler)
    secret = Secret("canary-of-a-log")
    try:
        logger.info("not important")
        logger.warning("waiting: %s", secret.reveal())
    finally:
        parent.removeHandler(handler)
    assert capsys.readouterr().err == f"waiting: {MASK}\n"
