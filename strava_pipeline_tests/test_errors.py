from __future__ import annotations

import gc
import inspect
import pickle
import re

import pytest

from strava_pipeline import errors
from strava_pipeline.errors import FaultDetail, QuotaExhausted, StravaError, StravaFault, StravaPipelineError
from strava_pipeline.secret import Secret
from strava_pipeline_tests.strava.stand_ins import NOW

_LINE = re.compile(r"    (?P<branch>[│├└─ ]*)(?P<name>[A-Z][A-Za-z]+)")
_STEP = 3


def drawn_parents() -> dict[str, str | None]:
    """Class -> parent, as the tree in the module's docstring has it."""
    parents: dict[str, str | None] = {}
    above: list[str] = []
    for line in inspect.cleandoc(errors.__doc__ or "").splitlines():
        if match := _LINE.match(line):
            depth = len(match["branch"]) // _STEP
            above[depth:] = [match["name"]]
            parents[match["name"]] = above[depth - 1] if depth else None
    return parents


def test_the_drawn_tree_is_the_tree() -> None:
    classes = {
        name: found
        for name, found in vars(errors).items()
        if inspect.isclass(found) and issubclass(found, StravaPipelineError)
    }
    actual = {
        name: None if found is StravaPipelineError else found.__bases__[0].__name__ for name, found in classes.items()
    }
    assert drawn_parents() == actual


def test_the_root_is_an_exception_and_each_class_has_one_parent() -> None:
    assert StravaPipelineError.__bases__ == (Exception,)
    for name in drawn_parents():
        assert len(getattr(errors, name).__bases__) == 1


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (StravaFault(), "no fault body"),
        (StravaFault("error"), "error"),
        (StravaFault("Bad Request", (FaultDetail("Application", "", "invalid"),)), "Bad Request (Application invalid)"),
        (StravaFault("", (FaultDetail("Activity", "", "not found"),)), "no message (Activity not found)"),
        (
            StravaFault("Bad Request", (FaultDetail("Activity", "name", "missing"), FaultDetail(code="odd"))),
            "Bad Request (Activity name missing; odd)",
        ),
    ],
)
def test_a_fault_reads_as_a_line(fault: StravaFault, text: str) -> None:
    assert str(fault) == text


def test_no_secret_stands_in_an_error_even_after_it_is_forgotten() -> None:
    secret = Secret("canary-in-an-error")
    error = StravaError(f"refused: {secret.reveal()}", status=401)
    del secret
    gc.collect()
    assert "canary" not in f"{error} {error!r} {error.args} {pickle.dumps(error)!r}"
    assert str(error) == "refused: ********"


def test_an_error_keeps_status_and_fault() -> None:
    error = StravaError("it failed", status=500, fault=StravaFault("error"))
    assert (str(error), error.status, error.fault) == ("it failed", 500, StravaFault("error"))
    assert (StravaError("it failed").status, StravaError("it failed").fault) == (None, StravaFault())


def test_a_used_up_quota_says_until_when() -> None:
    error = QuotaExhausted("wait", retry_at=NOW, status=429, fault=StravaFault("Rate Limit Exceeded"))
    assert (error.retry_at, error.status, error.fault.message) == (NOW, 429, "Rate Limit Exceeded")
