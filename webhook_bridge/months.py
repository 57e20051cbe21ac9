"""Blueprint: the page of an athlete's month, to which Dagster's materializations link.

It draws from the tables when it is looked at. So it shows what is stored now, and nothing of it is kept elsewhere.
"""

from __future__ import annotations

from functools import partial
from http import HTTPStatus

from flask import Blueprint

from strava_pipeline.months import month_span, parse_month
from strava_pipeline.units import duration, units_of
from strava_pipeline.warehouse.analysis.month_view import month_view
from webhook_bridge.current import current_bridge
from webhook_bridge.drawings import draw_profile, draw_route
from webhook_bridge.operator_login import operator_gate
from webhook_bridge.pages import Answer, install_pages, message, page

months = Blueprint("months", __name__, template_folder="templates")
months.before_request(operator_gate)
install_pages(months)


@months.get("/months/<int(max=9223372036854775807):athlete_id>/<month>")
def show(athlete_id: int, month: str) -> Answer:
    """Show a month: how many activities are stored, and route and elevation of the newest one that has a route."""
    try:
        span = month_span(athlete_id, parse_month(month))
    except (ValueError, OverflowError):
        return message("No such month", "An address of a month ends like 2024-05.", HTTPStatus.NOT_FOUND)
    reading = current_bridge().reader.read(partial(month_view, span=span))
    view = reading.value
    if view is None:
        text = f"Athlete {athlete_id} has never connected here."
        return message("No such athlete", text, HTTPStatus.NOT_FOUND)
    newest = view.newest
    return page(
        "month.html",
        athlete_id=athlete_id,
        month=span.start,
        view=view,
        replica=reading.replica,
        units=units_of(view.preference),
        duration=duration,
        route=None if newest is None else draw_route(newest.route),
        profile=None if newest is None else draw_profile(newest.along_m, newest.altitude_m),
    )
