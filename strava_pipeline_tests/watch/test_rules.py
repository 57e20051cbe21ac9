"""The table of rules is complete and unambiguous."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path

import click
import pytest

from strava_pipeline.cli import cli
from strava_pipeline.names import ALL_ASSETS
from strava_pipeline.warehouse.states import Severity
from strava_pipeline.watch.rules import DOCS, RULES, RULES_BY_NAME, Rule


def test_names_are_unique_and_make_anchors() -> None:
    assert len(RULES_BY_NAME) == len(RULES)
    assert all(rule.name.replace("_", "").isalpha() and rule.name.islower() for rule in RULES)
    assert RULES_BY_NAME["strava_away"].anchor == "strava-away"


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_each_rule_says_when_and_what_to_do(rule: Rule) -> None:
    assert rule.asset in ALL_ASSETS
    assert rule.summary
    assert not rule.summary.endswith(".")
    assert rule.what_to_do.endswith((".", "?"))
    assert rule.threshold
    # A condition that holds for one look and not for the next must not make two messages within a minute.
    assert rule.fires_after + rule.clears_after >= timedelta(minutes=1)


def test_only_warnings_are_about_single_athletes() -> None:
    assert {rule.severity for rule in RULES if rule.per_athlete} == {Severity.WARNING}


def test_each_command_that_is_named_exists() -> None:
    named = {
        found for rule in RULES for found in re.findall(r"strava-pipeline ([a-z-]+)(?: ([a-z]+))?", rule.what_to_do)
    }
    context = click.Context(cli)
    for group, command in named:
        found = cli.get_command(context, group)
        assert found is not None, group
        if isinstance(found, click.Group):
            assert command in found.list_commands(context), (group, command)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_docs_say_when_each_alert_fires(rule: Rule) -> None:
    docs = " ".join((Path(__file__).parents[2] / DOCS).read_text(encoding="utf-8").split())
    assert f"### {rule.anchor} {rule.severity.capitalize()}: {rule.threshold}. " in docs
