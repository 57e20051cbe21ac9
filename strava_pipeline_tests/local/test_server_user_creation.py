"""The user that runs the embedded Postgres is created once."""

from __future__ import annotations

import pwd
import subprocess
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, local

import pytest

from strava_pipeline.local import server_user
from strava_pipeline_tests.eventually import PATIENCE_SECONDS


def test_two_first_starts_at_once_create_one_user(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = pwd.getpwuid(0)
    created, seen, both_found_none = list[str](), local(), Barrier(2, timeout=PATIENCE_SECONDS)

    def getpwnam(name: str) -> pwd.struct_passwd:
        is_first, seen.before = not hasattr(seen, "before"), True
        if is_first:
            both_found_none.wait()
            raise KeyError(name)
        if not created:
            raise KeyError(name)
        return entry

    def useradd(command: list[str], **_: object) -> None:
        created.append(command[-1])

    monkeypatch.setattr(server_user, "server_user", lambda: server_user.SERVER_USER)
    monkeypatch.setattr(pwd, "getpwnam", getpwnam)
    monkeypatch.setattr(subprocess, "run", useradd)
    with ThreadPoolExecutor(2) as threads:
        ids = list(threads.map(lambda _: server_user.server_ids(), range(2)))
    assert ids == [(entry.pw_uid, entry.pw_gid)] * 2
    assert created == [server_user.SERVER_USER]
