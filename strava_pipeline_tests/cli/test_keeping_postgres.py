"""What ``up`` does when the embedded Postgres goes away under it."""

from __future__ import annotations

import pytest

from strava_pipeline.cli.up import _keep_postgres
from strava_pipeline.errors import WarehouseError
from strava_pipeline.local import postgres
from strava_pipeline.local.postgres import ServerMoved
from strava_pipeline.settings import load_settings


def failing(error: WarehouseError, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: object) -> bool:
        raise error

    monkeypatch.setattr(postgres, "revive_server", refuse)


def test_one_that_does_not_start_is_told_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    failing(WarehouseError("it did not start"), monkeypatch)
    _keep_postgres(load_settings())
    assert capsys.readouterr().err == "it did not start; trying again\n"


def test_one_that_listens_elsewhere_by_now_ends_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """The services would look for it at its old place for good."""
    failing(ServerMoved("it has another name now"), monkeypatch)
    with pytest.raises(ServerMoved):
        _keep_postgres(load_settings())
