"""Loads the templates of mails and reports. Values are escaped in HTML, but not in text."""

from __future__ import annotations

from collections.abc import Mapping
from email.message import EmailMessage
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from strava_pipeline.notifications.wording import isolated


@cache
def templates() -> Environment:
    """Return the environment in which all templates are rendered."""
    environment = Environment(
        loader=PackageLoader("strava_pipeline.notifications"),
        autoescape=select_autoescape(enabled_extensions=("html.j2",)),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["isolated"] = isolated
    return environment


def add_bodies(mail: EmailMessage, name: str, told: Mapping[str, Any]) -> None:
    """Add a mail's text and its HTML alternative, from the templates of this name.

    Each line is ASCII of at most 76 characters, which every server accepts.
    """
    mail.set_content(templates().get_template(f"{name}.txt.j2").render(told), cte="quoted-printable")
    html = templates().get_template(f"{name}.html.j2").render(told)
    mail.add_alternative(html, subtype="html", cte="quoted-printable")
