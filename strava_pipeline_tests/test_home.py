from __future__ import annotations

import os
from pathlib import Path

import pytest

from strava_pipeline.errors import ConfigurationError
from strava_pipeline.home import home_from_environment
from strava_pipeline.settings import load_settings


@pytest.mark.parametrize(("given", "below"), [("~/strava", "the user's"), ("relative/strava", "the current")])
def test_the_home_is_the_same_wherever_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, below: str
) -> None:
    folders = {"the user's": tmp_path / "user", "the current": tmp_path / "here"}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.setenv("HOME", str(folders["the user's"]))
    monkeypatch.chdir(folders["the current"])
    monkeypatch.setenv("STRAVA_HOME", given)
    expected = folders[below] / given.removeprefix("~/")
    assert home_from_environment() == expected
    assert load_settings().home == expected


def test_without_a_home_it_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STRAVA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_settings().home == home_from_environment() == tmp_path / ".strava-pipeline"


@pytest.mark.parametrize("link", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        b"br\neak",
        b"car\rriage",
        b"esc\x1b[2J",
        b"\xff\xfe",
        b'quo"te',
        b"d$HOME",
        b"b`id`",
        b"back\\s",
        "br\u2028eak".encode(),
    ],
)
def test_a_home_that_postgres_programs_cannot_be_told_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: bytes, link: bool
) -> None:
    home = tmp_path / os.fsdecode(name)
    if link:
        (tmp_path / "link").symlink_to(home)
    monkeypatch.setenv("STRAVA_HOME", str(tmp_path / "link" if link else home))
    for asked in (home_from_environment, load_settings):
        with pytest.raises(ConfigurationError, match=r"STRAVA_HOME .* which Postgres' programs do not accept") as told:
            asked()
        assert str(told.value).isprintable()
    assert not home.exists()


def test_a_home_of_an_unknown_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRAVA_HOME", "~nobody-of-this-name/data")
    with pytest.raises(ConfigurationError, match="STRAVA_HOME names the home of an unknown user"):
        home_from_environment()
